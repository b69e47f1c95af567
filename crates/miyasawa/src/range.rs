//! The ranges of values: 8 bits in files, [-1, 1] in networks, [0, 1] in attacks and certificates.
//!
//! ```
//! use miyasawa::range::{denormalise, from_unit, normalise, to_unit};
//!
//! assert_eq!((normalise(0), normalise(255)), (-1.0, 1.0));
//! assert!((0..=255).all(|value| denormalise(normalise(value)) == value));
//! assert_eq!((to_unit(-1.0), to_unit(0.0), from_unit(1.0)), (0.0, 0.5, 1.0));
//! ```

/// Maps an 8-bit value to the networks' range [-1, 1]: v / 127.5 - 1.
#[inline]
pub fn normalise(value: u8) -> f32 {
    f32::from(value) / 127.5 - 1.0
}

/// The 8-bit value nearest to a normalised one; values outside [-1, 1] are clipped, NaN becomes 0.
#[inline]
pub fn denormalise(value: f32) -> u8 {
    // A float-to-integer cast saturates and sends NaN to 0.
    ((value + 1.0) * 127.5).round() as u8
}

/// Maps the networks' range [-1, 1] to [0, 1]: exact at the ends; values outside are clipped.
#[inline]
pub fn to_unit(value: f32) -> f32 {
    (0.5 * value + 0.5).clamp(0.0, 1.0)
}

/// Maps [0, 1] to the networks' range [-1, 1]: exact at the ends.
#[inline]
pub fn from_unit(value: f32) -> f32 {
    2.0 * value - 1.0
}

/// Maps a 16-bit sample to [-1, 1].
///
/// ```
/// use miyasawa::range::{denormalise_16, normalise_16};
/// assert_eq!((normalise_16(0), normalise_16(65_535)), (-1.0, 1.0));
/// assert_eq!([-9.0, -1.0, 1.0].map(denormalise_16), [0, 0, 65_535]);
/// ```
#[inline]
pub fn normalise_16(value: u16) -> f32 {
    f32::from(value) / 32767.5 - 1.0
}

/// Maps a value, clipped to [-1, 1], to the nearest 16-bit sample.
///
/// ```
/// use miyasawa::range::{denormalise_16, normalise_16};
/// assert!((0..=u16::MAX).all(|value| denormalise_16(normalise_16(value)) == value));
/// ```
#[inline]
pub fn denormalise_16(value: f32) -> u16 {
    (value * 32767.5 + 32767.5).round() as u16
}

/// The luma of a colour (ITU-R BT.601).
///
/// ```
/// assert_eq!(miyasawa::range::luma([1.0, 0.0, 0.0]), 0.299);
/// ```
#[inline]
pub fn luma([red, green, blue]: [f32; 3]) -> f32 {
    0.299 * red + 0.587 * green + 0.114 * blue
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalisation_is_exact_at_the_ends_and_inverts() {
        assert_eq!((normalise(0), normalise(255)), (-1.0, 1.0));
        assert!((0..=255u8).all(|v| denormalise(normalise(v)) == v));
        assert_eq!((denormalise(-3.0), denormalise(9.0), denormalise(f32::NAN)), (0, 255, 0));
    }

    #[test]
    fn the_unit_range_is_exact_at_the_ends_and_inverts() {
        assert_eq!((to_unit(-1.0), to_unit(0.0), to_unit(1.0)), (0.0, 0.5, 1.0));
        assert_eq!((to_unit(-3.0), to_unit(9.0)), (0.0, 1.0));
        assert!((0..=255u8).all(|v| denormalise(from_unit(to_unit(normalise(v)))) == v));
    }
}
