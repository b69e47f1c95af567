//! The standard normal distribution at one point, in single precision and without branches, so that
//! a loop over it vectorises.

use crate::multiversion::fma;

/// `1/sqrt(2*pi)`.
const DENSITY_AT_0: f32 = 0.398_942_3;

/// From here on `exp(-h^2/2)` is zero to single precision, denormals left out; it must round the
/// exponent to -127 and not below.
const FAR: f32 = 13.25;

/// `1.5 * 2^23 + 127`: adding it leaves the nearest integer, as the biased exponent of a power of
/// two, in the low bits of a float.
const ROUND: f32 = 12_583_039.0;

/// `2*ln 2` in two parts; an integer below 2^10 times the first is exact.
const LN_4: [f32; 2] = [1.386_718_8, -4.243_888_8e-4];

/// `exp(r/2)` for `|r| <= ln 2`, ascending: within 3e-9 before rounding.
const EXP: [f32; 7] = [
    1.0,
    0.5,
    0.499_999_94 / 4.0,
    0.166_665_21 / 8.0,
    0.041_668_39 / 16.0,
    0.008_368_717_5 / 32.0,
    0.001_381_459 / 64.0,
];

/// `exp(a^2/2)*Phi(-a)` in `z = a/(a + TAIL_SHIFT)`, ascending: the minimax polynomial for the
/// relative error (7e-9) on `0 <= a <= 13.4` that is exact at 0, by Remez exchange in 40 digits.
const TAIL: [f32; 10] = [
    0.5,
    -1.196_826_3,
    1.053_148_6,
    -0.286_902_07,
    -0.159_118_77,
    0.063_292_526,
    0.007_193_688,
    0.086_034_93,
    -0.094_369_315,
    0.027_552_435,
];

/// The scale on which `a` becomes `z`.
const TAIL_SHIFT: f32 = 3.0;

/// The values at a point `h` from which the GELU and its derivatives are computed.
///
/// All is kept for `a = min(|h|, FAR)` and mirrored at the end: the lower tail holds its relative
/// precision, the upper side is one minus it.
#[derive(Clone, Copy)]
pub(crate) struct Normal {
    h: f32,
    a: f32,
    /// `Phi(-a)`.
    tail: f32,
    /// `phi(a)`.
    density: f32,
}

#[inline(always)]
fn polynomial<const FMA: bool, const N: usize>(coefficients: &[f32; N], x: f32) -> f32 {
    let mut sum = coefficients[N - 1];
    for i in (0..N - 1).rev() {
        sum = fma::<FMA>(sum, x, coefficients[i]);
    }
    sum
}

/// `a = min(|h|, FAR)` and `exp(-a^2/2)`.
#[inline(always)]
fn exp<const FMA: bool>(h: f32) -> (f32, f32) {
    // Not `f32::min`, which drops NaN.
    let a = if h.abs() > FAR { FAR } else { h.abs() };

    // exp(-a^2/2) = 2^n*exp(r/2). With fused MAC `r` is not affected by the rounding of a^2, which
    // alone would cost the tail six bits.
    let shifted = fma::<FMA>(a * a, -0.5 * std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = fma::<FMA>(-a, a, -(n * LN_4[0]));
    let r = fma::<FMA>(n, -LN_4[1], r);
    // A biased exponent of zero is zero.
    (a, polynomial::<FMA, 7>(&EXP, r) * f32::from_bits(shifted.to_bits() << 23))
}

impl Normal {
    #[inline(always)]
    pub(crate) fn new<const FMA: bool>(h: f32) -> Self {
        let (a, exp) = exp::<FMA>(h);
        let z = a / (a + TAIL_SHIFT);
        Self { h, a, tail: exp * polynomial::<FMA, 10>(&TAIL, z), density: exp * DENSITY_AT_0 }
    }

    /// The same from the slope at `h`, for half the work. The tail is a difference, so
    /// that it is as exact as a slope but not relative to its size.
    #[inline(always)]
    pub(crate) fn from_slope<const FMA: bool>(h: f32, slope: f32) -> Self {
        let (a, exp) = exp::<FMA>(h);
        let density = exp * DENSITY_AT_0;
        let below = if h >= 0.0 { 1.0 - slope } else { slope };
        Self { h, a, tail: fma::<FMA>(a, density, below), density }
    }

    /// `gelu(h) = max(h, 0) - a*Phi(-a)`.
    #[inline(always)]
    pub(crate) fn gelu<const FMA: bool>(self) -> f32 {
        let ramp = if self.h > 0.0 { self.h } else { 0.0 };
        fma::<FMA>(-self.a, self.tail, ramp)
    }

    /// `gelu'(h)`.
    #[inline(always)]
    pub(crate) fn slope<const FMA: bool>(self) -> f32 {
        let below = fma::<FMA>(-self.a, self.density, self.tail);
        if self.h >= 0.0 { 1.0 - below } else { below }
    }

    /// `gelu''(h)`.
    #[inline(always)]
    pub(crate) fn curvature<const FMA: bool>(self) -> f32 {
        self.density * fma::<FMA>(-self.a, self.a, 2.0)
    }
}
