//! The standard normal distribution at one point, in single precision and without branches, so that a loop
//! over it vectorises.

use crate::multiversion::fma;

/// `1/sqrt(2*pi)`.
const DENSITY_AT_0: f32 = 0.398_942_3;

/// From here on `exp(-h^2/2)` is zero to single precision, denormals left out; it must round the exponent
/// to -127 and not below.
const FAR: f32 = 13.25;

/// `1.5 * 2^23`: adding it leaves the nearest integer in the low bits of a float.
const ROUND: f32 = 12_582_912.0;

/// `ln 2` in two parts; an integer below 2^11 times the first is exact.
const LN_2: [f32; 2] = [0.693_359_375, -2.121_944_4e-4];

/// `(exp(r) - 1 - r)/r^2` for `|r| <= ln 2 / 2`, ascending: `exp` within 3e-9 before rounding.
const EXP: [f32; 5] = [0.499_999_94, 0.166_665_21, 0.041_668_39, 0.008_368_717_5, 0.001_381_459];

/// Where the variable of [`TAIL`] changes its sign.
const TAIL_CENTER: f32 = 3.0;

/// `Q` in `exp(a^2/2)*Phi(-a) = 1/2 - z*Q(2*z - 1)`, `z = a/(a + TAIL_CENTER)`, ascending: the minimax
/// polynomial for the relative error (7e-9) of the whole on `0 <= a <= 13.4`, by Remez exchange in 40 digits.
const TAIL: [f32; 9] = [
    0.756_972_13,
    -0.344_166_87,
    0.097_716_81,
    -0.005_290_215_4,
    -0.006_973_994,
    0.001_164_792_7,
    0.000_802_978_4,
    -0.000_123_753_34,
    -0.000_107_626_7,
];

/// What the GELU and its derivatives need of a point `h`.
///
/// All is kept for `a = min(|h|, FAR)` and mirrored at the end: the lower tail holds its relative precision,
/// the upper side is one minus it.
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

impl Normal {
    #[inline(always)]
    pub(crate) fn new<const FMA: bool>(h: f32) -> Self {
        // Not `f32::min`, which drops NaN.
        let a = if h.abs() > FAR { FAR } else { h.abs() };

        // exp(-a^2/2) = 2^n*exp(r). With fused multiply-add `r` never sees the rounding of a^2, which alone
        // would cost the tail six bits.
        let shifted = fma::<FMA>(a * a, -0.5 * std::f32::consts::LOG2_E, ROUND);
        let n = shifted - ROUND;
        let r = fma::<FMA>(-0.5 * a, a, -(n * LN_2[0]));
        let r = fma::<FMA>(n, -LN_2[1], r);
        let exp = fma::<FMA>(polynomial::<FMA, 5>(&EXP, r) * r, r, r) + 1.0;
        // The integer's low bits move into the exponent; -127 gives zero.
        let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
        let exp = exp * scale;

        let z = a / (a + TAIL_CENTER);
        let q = polynomial::<FMA, 9>(&TAIL, fma::<FMA>(2.0, z, -1.0));
        Self { h, a, tail: exp * fma::<FMA>(-z, q, 0.5), density: exp * DENSITY_AT_0 }
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
