//! The transforms: one dimension of each, applied to the columns and then the rows of a square.
//!
//! F(4x4, 3x3) for stride 1: a tile of 4x4 outputs depends on 6x6 inputs through a 3x3 kernel. The
//! interpolation points are 0, ±1/√2, ±√2 and infinity. The usual 0, ±1, ±2 lose three times as
//! much precision (5e-6 against 1.3e-6 of the largest value, on random data with 64 channels), and
//! since the squares are 1/2 and 2 their products stay simple. For points ±p with p² = P and Q the
//! other pair's square the rows of the matrices are
//!
//! ```text
//! input   Bᵀ: (d4 - Q d2) ± p (d3 - Q d1)     0: d4 - 5/2 d2 + d0;   ∞: d5 - 5/2 d3 + d1
//! weight  G:  (g0 + P g2 ± p g1) / N          0: g0;   ∞: g2;   N = 2P(P - Q), that is -3/2 and 6
//! output  Aᵀ: y_i = sum of p^i m_p            0 counts for y0, ∞ for y3
//! ```
//!
//! Stride 2: outputs `y_i = D_i g0 + D_{i+1} g2 + E_i g1` of the inputs `D` at odd and `E` at even
//! distance. The first two terms are F(4, 2) with the five finite points, the last one is four
//! plain products, so that four outputs take nine products instead of twelve (81 for 144 in two
//! dimensions), of six different weights.

use std::f32::consts::{FRAC_1_SQRT_2, SQRT_2};

use crate::simd::Simd;

/// Transformed weights a side.
pub(super) const SIDE: usize = 6;
/// Transformed weights of a kernel.
pub(super) const WEIGHTS: usize = SIDE * SIDE;
/// Outputs a side of a tile of `Unit` and `Down`, and of `g` in the weight gradient.
pub(super) const TILE: usize = 4;

/// The three bilinear algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tiling {
    /// Stride 1: windows of 6x6 to tiles of 4x4.
    Unit,
    /// Stride 2 with padding 1: windows of 9x9 to tiles of 4x4.
    Down,
    /// The adjoint of `Down`: windows of 5x5 to tiles of 8x8.
    Up,
}

impl Tiling {
    /// Products a side of a tile.
    pub(super) fn side(self) -> usize {
        if self == Self::Unit { 6 } else { 9 }
    }

    /// Products of a tile.
    pub(super) fn products(self) -> usize {
        self.side() * self.side()
    }

    /// Pixels between windows.
    pub(super) fn step(self) -> usize {
        if self == Self::Down { 8 } else { 4 }
    }

    /// Pixels a side of a tile.
    pub(super) fn tile(self) -> usize {
        if self == Self::Up { 8 } else { 4 }
    }

    /// Product and transformed weight of each product, ordered by weight.
    pub(super) fn order(self) -> Order {
        let mut pairs = [(0, 0); 81];
        for (product, pair) in pairs.iter_mut().enumerate().take(self.products()) {
            let (row, column) = (product / self.side(), product % self.side());
            *pair = (product, row.min(SIDE - 1) * SIDE + column.min(SIDE - 1));
        }
        pairs[..self.products()].sort_by_key(|&(product, weight)| (weight, product));
        Order { pairs, count: self.products() }
    }
}

/// The result of [`Tiling::order`].
#[derive(Clone, Copy)]
pub(super) struct Order {
    pairs: [(usize, usize); 81],
    count: usize,
}

impl Order {
    /// Pairs of product and transformed weight; those of a weight are neighbours.
    pub(super) fn pairs(&self) -> &[(usize, usize)] {
        &self.pairs[..self.count]
    }
}

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
pub(super) unsafe fn both_dimensions<S: Simd, T: Linear<I, O>, const I: usize, const O: usize>(
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

/// The rows of `Bᵀ` for the finite points.
struct Finite;

impl Linear<5, 5> for Finite {
    #[inline(always)]
    unsafe fn apply<S: Simd>(d: [S::V; 5]) -> [S::V; 5] {
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
            ]
        }
    }
}

/// `Bᵀ` of `Unit`.
pub(super) struct Input;

impl Linear<6, 6> for Input {
    #[inline(always)]
    unsafe fn apply<S: Simd>(d: [S::V; 6]) -> [S::V; 6] {
        // SAFETY: the caller's promise.
        unsafe {
            let [v0, v1, v2, v3, v4] = Finite::apply::<S>([d[0], d[1], d[2], d[3], d[4]]);
            [v0, v1, v2, v3, v4, S::fnma(S::splat(2.5), d[3], S::add(d[5], d[1]))]
        }
    }
}

/// `Bᵀ` of `Down`.
pub(super) struct InputDown;

impl Linear<9, 9> for InputDown {
    #[inline(always)]
    unsafe fn apply<S: Simd>(d: [S::V; 9]) -> [S::V; 9] {
        // SAFETY: the caller's promise.
        let [v0, v1, v2, v3, v4] = unsafe { Finite::apply::<S>([d[0], d[2], d[4], d[6], d[8]]) };
        [v0, v1, v2, v3, v4, d[1], d[3], d[5], d[7]]
    }
}

/// `Bᵀ` of `Up`.
pub(super) struct InputUp;

impl Linear<5, 9> for InputUp {
    #[inline(always)]
    unsafe fn apply<S: Simd>(g: [S::V; 5]) -> [S::V; 9] {
        // SAFETY: the caller's promise.
        let [v0, v1, v2, v3, v4] = unsafe { Finite::apply::<S>(g) };
        [v0, v1, v2, v3, v4, g[0], g[1], g[2], g[3]]
    }
}

/// The columns of `Aᵀ` for the finite points.
struct FiniteOutput;

impl Linear<5, 4> for FiniteOutput {
    #[inline(always)]
    unsafe fn apply<S: Simd>(m: [S::V; 5]) -> [S::V; 4] {
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
                S::fma(a3, odd_a, S::mul(b3, odd_b)),
            ]
        }
    }
}

/// `Aᵀ` of `Unit`.
pub(super) struct Output;

impl Linear<6, 4> for Output {
    #[inline(always)]
    unsafe fn apply<S: Simd>(m: [S::V; 6]) -> [S::V; 4] {
        // SAFETY: the caller's promise.
        unsafe {
            let [y0, y1, y2, y3] = FiniteOutput::apply::<S>([m[0], m[1], m[2], m[3], m[4]]);
            [y0, y1, y2, S::add(y3, m[5])]
        }
    }
}

/// `Aᵀ` of `Down`.
pub(super) struct OutputDown;

impl Linear<9, 4> for OutputDown {
    #[inline(always)]
    unsafe fn apply<S: Simd>(m: [S::V; 9]) -> [S::V; 4] {
        // SAFETY: the caller's promise.
        unsafe {
            let [y0, y1, y2, y3] = FiniteOutput::apply::<S>([m[0], m[1], m[2], m[3], m[4]]);
            [S::add(y0, m[5]), S::add(y1, m[6]), S::add(y2, m[7]), S::add(y3, m[8])]
        }
    }
}

/// `Aᵀ` of `Up`.
pub(super) struct OutputUp;

impl Linear<9, 8> for OutputUp {
    #[inline(always)]
    unsafe fn apply<S: Simd>(m: [S::V; 9]) -> [S::V; 8] {
        // SAFETY: the caller's promise.
        let [y0, y1, y2, y3] = unsafe { FiniteOutput::apply::<S>([m[0], m[1], m[2], m[3], m[4]]) };
        [m[5], y0, m[6], y1, m[7], y2, m[8], y3]
    }
}

/// The transpose of `FiniteOutput`.
struct FiniteBack;

impl Linear<4, 5> for FiniteBack {
    #[inline(always)]
    unsafe fn apply<S: Simd>(g: [S::V; 4]) -> [S::V; 5] {
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
            ]
        }
    }
}

/// `A` of `Unit`.
pub(super) struct OutputBack;

impl Linear<4, 6> for OutputBack {
    #[inline(always)]
    unsafe fn apply<S: Simd>(g: [S::V; 4]) -> [S::V; 6] {
        // SAFETY: the caller's promise.
        let [z0, z1, z2, z3, z4] = unsafe { FiniteBack::apply::<S>(g) };
        [z0, z1, z2, z3, z4, g[3]]
    }
}

/// `A` of `Down`.
pub(super) struct OutputDownBack;

impl Linear<4, 9> for OutputDownBack {
    #[inline(always)]
    unsafe fn apply<S: Simd>(g: [S::V; 4]) -> [S::V; 9] {
        // SAFETY: the caller's promise.
        let [z0, z1, z2, z3, z4] = unsafe { FiniteBack::apply::<S>(g) };
        [z0, z1, z2, z3, z4, g[0], g[1], g[2], g[3]]
    }
}

/// 1/N of the two pairs of points.
const SCALE_A: f32 = -1.0 / 1.5;
const SCALE_B: f32 = 1.0 / 6.0;

/// `G` of `Unit`.
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

/// `Gᵀ` of `Unit`.
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

/// `G` of `Down` and `Up`.
pub(super) struct WeightSplit;

impl Linear<3, 6> for WeightSplit {
    #[inline(always)]
    unsafe fn apply<S: Simd>(g: [S::V; 3]) -> [S::V; 6] {
        // SAFETY: the caller's promise.
        unsafe {
            let (a0, b0) = (S::mul(S::splat(SCALE_A), g[0]), S::mul(S::splat(SCALE_B), g[0]));
            let (a1, b1) = (S::splat(FRAC_1_SQRT_2 * SCALE_A), S::splat(SQRT_2 * SCALE_B));
            [
                g[0],
                S::fma(a1, g[2], a0),
                S::fnma(a1, g[2], a0),
                S::fma(b1, g[2], b0),
                S::fnma(b1, g[2], b0),
                g[1],
            ]
        }
    }
}

/// `Gᵀ` of `Down`.
pub(super) struct WeightSplitBack;

impl Linear<6, 3> for WeightSplitBack {
    #[inline(always)]
    unsafe fn apply<S: Simd>(u: [S::V; 6]) -> [S::V; 3] {
        // SAFETY: the caller's promise.
        unsafe {
            let (even_a, odd_a) = (S::add(u[1], u[2]), S::sub(u[1], u[2]));
            let (even_b, odd_b) = (S::add(u[3], u[4]), S::sub(u[3], u[4]));
            let (a0, b0) = (S::splat(SCALE_A), S::splat(SCALE_B));
            let (a1, b1) = (S::splat(FRAC_1_SQRT_2 * SCALE_A), S::splat(SQRT_2 * SCALE_B));
            [
                S::fma(b0, even_b, S::fma(a0, even_a, u[0])),
                u[5],
                S::fma(b1, odd_b, S::mul(a1, odd_a)),
            ]
        }
    }
}
