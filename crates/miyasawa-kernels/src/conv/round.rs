//! The operands of a convolution, rounded to bfloat16 for [`Operands::Bf16`].

use std::ops::Deref;

use crate::bf16::nearest_bf16;
use crate::isa::Isa;
use crate::multiversion::multiversion;
use crate::scratch::Scratch;
use crate::tasks;

use super::Operands;

/// Values that one task rounds.
const CHUNK: usize = 16 * 1024;

/// The values of an operand, copied only if they are rounded.
pub(super) enum Rounded<'a> {
    Unchanged(&'a [f32]),
    Copied(Scratch),
}

impl Deref for Rounded<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match self {
            Self::Unchanged(values) => values,
            Self::Copied(values) => values,
        }
    }
}

/// The values as the products take them, rounded if `operands` says so; the algorithms that move
/// operands vector by vector round on the way instead.
pub(super) fn rounded(isa: Isa, operands: Operands, values: &[f32]) -> Rounded<'_> {
    if operands != Operands::Bf16 {
        return Rounded::Unchanged(values);
    }
    let mut new = Scratch::new(values.len());
    tasks::chunks(&mut new, CHUNK, values.len(), |i, new| {
        round_values(isa, &values[i * CHUNK..][..new.len()], new)
    });
    Rounded::Copied(new)
}

multiversion! {
    fn round_values(from: &[f32], to: &mut [f32]) {
        for (to, from) in to.iter_mut().zip(from) {
            *to = nearest_bf16(*from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition: the nearer of the two neighbours with sixteen bits less.
    fn definition(value: f32) -> f32 {
        if !value.is_finite() {
            return value;
        }
        let below = value.to_bits() & 0xFFFF_0000;
        let number = |bits: u32| match f64::from(f32::from_bits(bits)) {
            v if v.is_infinite() => v.signum() * 2f64.powi(128),
            v => v,
        };
        let (low, high) = (number(below), number(below + 0x1_0000));
        let (down, up) = ((f64::from(value) - low).abs(), (high - f64::from(value)).abs());
        let even = below & 0x1_0000 == 0;
        f32::from_bits(if down < up || down == up && even { below } else { below + 0x1_0000 })
    }

    fn round_on_all(values: &[f32]) -> Vec<Vec<f32>> {
        Isa::available()
            .into_iter()
            .map(|isa| rounded(isa, Operands::Bf16, values).to_vec())
            .collect()
    }

    #[test]
    fn particular_values() {
        let values = [
            0.0,
            -0.0,
            1.0,
            1.003_906_3,
            1.011_718_8,
            -1.003_906_3,
            f32::MAX,
            f32::MIN_POSITIVE,
            1e-40,
            1e-45,
        ];
        for got in round_on_all(&values) {
            for (value, got) in values.iter().zip(got) {
                assert_eq!(got.to_bits(), definition(*value).to_bits(), "{value}");
            }
        }
        for got in
            round_on_all(&[f32::NAN, f32::from_bits(0x7F80_0001), f32::INFINITY, f32::NEG_INFINITY])
        {
            assert!(got[0].is_nan() && got[1].is_nan());
            assert_eq!(got[2..], [f32::INFINITY, f32::NEG_INFINITY]);
        }
    }

    proptest! {
        #[test]
        fn any_value(bits: u32) {
            let value = f32::from_bits(bits);
            for got in round_on_all(&[value]) {
                let equal = got[0].to_bits() == definition(value).to_bits();
                prop_assert!(equal || value.is_nan() && got[0].is_nan());
            }
        }
    }
}
