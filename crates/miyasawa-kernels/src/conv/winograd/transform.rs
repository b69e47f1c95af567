//! The transforms of F(4x4, 3x3): a tile of 4x4 outputs sees 6x6 inputs through a 3x3 kernel.
//!
//! The interpolation points are 0, ±1/√2, ±√2 and infinity. The usual 0, ±1, ±2 lose three times as
//! much precision (5e-6 against 1.3e-6 of the largest value, on random data with 64 channels), and since the
//! squares are 1/2 and 2 their products stay simple. For points ±p with p² = P the rows of the matrices are
//!
//! ```text
//! input   Bᵀ: (d4 - Q d2) ± p (d3 - Q d1)      Q the other pair's square;  0: d4 - 5/2 d2 + d0;  ∞: d5 - 5/2 d3 + d1
//! weight  G:  (g0 + P g2 ± p g1) / N            N = 2P(P - Q): -3/2 and 6;   0: g0;                ∞: g2
//! output  Aᵀ: y_i = sum of p^i m_p              0 counts for y0, ∞ for y3
//! ```

use crate::simd::Simd;

use std::f32::consts::{FRAC_1_SQRT_2, SQRT_2};

/// Outputs a side of a tile.
pub(super) const TILE: usize = 4;
/// Inputs a side of a tile.
pub(super) const WINDOW: usize = 6;
/// Products a tile.
pub(super) const FREQUENCIES: usize = WINDOW * WINDOW;

/// A linear map of `I` to `O` values, applied to each lane.
pub(super) trait Linear<const I: usize, const O: usize> {
    /// # Safety
    /// The processor has the instruction set of `S`.
    unsafe fn apply<S: Simd>(v: [S::V; I]) -> [S::V; O];
}

/// Where the vectors of a square come from.
pub(super) trait Source<S: Simd> {
    /// # Safety
    /// Row and column are inside the square, and the processor has the instruction set of `S`.
    unsafe fn at(&self, row: usize, column: usize) -> S::V;
}

/// Applies a map to the columns of a square and then to its rows.
///
/// # Safety
/// The source has `I` rows and columns, and the processor has the instruction set of `S`.
#[inline(always)]
pub(super) unsafe fn both<S: Simd, T: Linear<I, O>, const I: usize, const O: usize>(
    source: &impl Source<S>,
) -> [[S::V; O]; O] {
    // SAFETY: the caller's promise.
    unsafe {
        let zero = S::splat(0.0);
        let mut half = [[zero; I]; O];
        for c in 0..I {
            let mut column = [zero; I];
            for (r, v) in column.iter_mut().enumerate() {
                *v = source.at(r, c);
            }
            let column = T::apply::<S>(column);
            for (half, v) in half.iter_mut().zip(column) {
                half[c] = v;
            }
        }
        let mut out = [[zero; O]; O];
        for (out, half) in out.iter_mut().zip(half) {
            *out = T::apply::<S>(half);
        }
        out
    }
}

/// `Bᵀ`
pub(super) struct Input;

impl Linear<6, 6> for Input {
    #[inline(always)]
    unsafe fn apply<S: Simd>(d: [S::V; 6]) -> [S::V; 6] {
        // SAFETY: the caller's promise.
        unsafe {
            let (half, two, s) = (S::splat(0.5), S::splat(2.0), S::splat(2.5));
            let (a, b) = (S::splat(FRAC_1_SQRT_2), S::splat(SQRT_2));
            let (even_a, odd_a) = (S::fnma(two, d[2], d[4]), S::fnma(two, d[1], d[3]));
            let (even_b, odd_b) = (S::fnma(half, d[2], d[4]), S::fnma(half, d[1], d[3]));
            [
                S::fnma(s, d[2], S::add(d[4], d[0])),
                S::fma(a, odd_a, even_a),
                S::fnma(a, odd_a, even_a),
                S::fma(b, odd_b, even_b),
                S::fnma(b, odd_b, even_b),
                S::fnma(s, d[3], S::add(d[5], d[1])),
            ]
        }
    }
}

/// `Aᵀ`
pub(super) struct Output;

impl Linear<6, 4> for Output {
    #[inline(always)]
    unsafe fn apply<S: Simd>(m: [S::V; 6]) -> [S::V; 4] {
        // SAFETY: the caller's promise.
        unsafe {
            let (half, two) = (S::splat(0.5), S::splat(2.0));
            let (a, b) = (S::splat(FRAC_1_SQRT_2), S::splat(SQRT_2));
            let (a3, b3) = (S::splat(0.5 * FRAC_1_SQRT_2), S::splat(2.0 * SQRT_2));
            let (even_a, odd_a) = (S::add(m[1], m[2]), S::sub(m[1], m[2]));
            let (even_b, odd_b) = (S::add(m[3], m[4]), S::sub(m[3], m[4]));
            [
                S::add(m[0], S::add(even_a, even_b)),
                S::fma(a, odd_a, S::mul(b, odd_b)),
                S::fma(half, even_a, S::mul(two, even_b)),
                S::fma(a3, odd_a, S::fma(b3, odd_b, m[5])),
            ]
        }
    }
}

/// `A`, the transpose of `Output`.
pub(super) struct OutputBack;

impl Linear<4, 6> for OutputBack {
    #[inline(always)]
    unsafe fn apply<S: Simd>(g: [S::V; 4]) -> [S::V; 6] {
        // SAFETY: the caller's promise.
        unsafe {
            let (half, two) = (S::splat(0.5), S::splat(2.0));
            let (a, b) = (S::splat(FRAC_1_SQRT_2), S::splat(SQRT_2));
            let (even_a, odd_a) = (S::fma(half, g[2], g[0]), S::fma(half, g[3], g[1]));
            let (even_b, odd_b) = (S::fma(two, g[2], g[0]), S::fma(two, g[3], g[1]));
            [
                g[0],
                S::fma(a, odd_a, even_a),
                S::fnma(a, odd_a, even_a),
                S::fma(b, odd_b, even_b),
                S::fnma(b, odd_b, even_b),
                g[3],
            ]
        }
    }
}

/// 1/N of the two pairs of points.
const SCALE_A: f32 = -1.0 / 1.5;
const SCALE_B: f32 = 1.0 / 6.0;

/// `G`
pub(super) struct Weight;

impl Linear<3, 6> for Weight {
    #[inline(always)]
    unsafe fn apply<S: Simd>(g: [S::V; 3]) -> [S::V; 6] {
        // SAFETY: the caller's promise.
        unsafe {
            let (a0, a2, b0, b2) = (SCALE_A, 0.5 * SCALE_A, SCALE_B, 2.0 * SCALE_B);
            let even_a = S::fma(S::splat(a2), g[2], S::mul(S::splat(a0), g[0]));
            let even_b = S::fma(S::splat(b2), g[2], S::mul(S::splat(b0), g[0]));
            let (a1, b1) = (S::splat(FRAC_1_SQRT_2 * SCALE_A), S::splat(SQRT_2 * SCALE_B));
            [
                g[0],
                S::fma(a1, g[1], even_a),
                S::fnma(a1, g[1], even_a),
                S::fma(b1, g[1], even_b),
                S::fnma(b1, g[1], even_b),
                g[2],
            ]
        }
    }
}

/// `Gᵀ`
pub(super) struct WeightBack;

impl Linear<6, 3> for WeightBack {
    #[inline(always)]
    unsafe fn apply<S: Simd>(u: [S::V; 6]) -> [S::V; 3] {
        // SAFETY: the caller's promise.
        unsafe {
            let (even_a, odd_a) = (S::add(u[1], u[2]), S::sub(u[1], u[2]));
            let (even_b, odd_b) = (S::add(u[3], u[4]), S::sub(u[3], u[4]));
            let (a0, a2) = (S::splat(SCALE_A), S::splat(0.5 * SCALE_A));
            let (b0, b2) = (S::splat(SCALE_B), S::splat(2.0 * SCALE_B));
            let (a1, b1) = (S::splat(FRAC_1_SQRT_2 * SCALE_A), S::splat(SQRT_2 * SCALE_B));
            [
                S::fma(b0, even_b, S::fma(a0, even_a, u[0])),
                S::fma(b1, odd_b, S::mul(a1, odd_a)),
                S::fma(b2, even_b, S::fma(a2, even_a, u[5])),
            ]
        }
    }
}
