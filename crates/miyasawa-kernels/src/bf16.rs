//! Rounding to bfloat16, the upper half of a float32.

/// The bfloat16 nearest to a value, ties to even; infinities stay as they are and NaN stays NaN.
#[inline(always)]
pub(crate) fn nearest_bf16(value: f32) -> f32 {
    let bits = value.to_bits();
    // Adds half a unit in the last place, less 1 where the last kept bit is 0: exactly the values
    // that round up carry into the kept bits.
    let up = bits.wrapping_add(0x7FFF + (bits >> 16 & 1)) & 0xFFFF_0000;
    // A carry out of the payload of a NaN would change its sign or exponent.
    f32::from_bits(if value.is_nan() { bits & 0xFFFF_0000 | 0x0040_0000 } else { up })
}
