//! The loops over the values of a segment, compiled for every instruction set. `sums` are
//! `[kind][row]`, tables are `[constant][length]`.

use crate::gelu::normal::Normal;
use crate::multiversion::{fma, multiversion};
use crate::rows::{Sums, TILE};

/// The function that the values pass through before they are normalised.
pub(super) trait Activation {
    /// Whether it is the identity, of which nothing is kept from pass to pass.
    const IDENTITY: bool;
    /// Its value and slope, for the first pass over an image.
    fn value_and_slope<const FMA: bool>(h: f32) -> [f32; 2];
    /// Its value and curvature once the first pass has kept the slope.
    fn value_and_curvature<const FMA: bool>(h: f32, slope: f32) -> [f32; 2];
}

pub(super) struct Identity;

impl Activation for Identity {
    const IDENTITY: bool = true;

    #[inline(always)]
    fn value_and_slope<const FMA: bool>(h: f32) -> [f32; 2] {
        [h, 1.0]
    }

    #[inline(always)]
    fn value_and_curvature<const FMA: bool>(h: f32, _: f32) -> [f32; 2] {
        [h, 0.0]
    }
}

pub(super) struct Gelu;

impl Activation for Gelu {
    const IDENTITY: bool = false;

    #[inline(always)]
    fn value_and_slope<const FMA: bool>(h: f32) -> [f32; 2] {
        let normal = Normal::new::<FMA>(h);
        [normal.gelu::<FMA>(), normal.slope::<FMA>()]
    }

    #[inline(always)]
    fn value_and_curvature<const FMA: bool>(h: f32, slope: f32) -> [f32; 2] {
        let normal = Normal::from_slope::<FMA>(h, slope);
        [normal.gelu::<FMA>(), normal.curvature::<FMA>()]
    }
}

/// The rows of `table` as slices.
#[inline(always)]
fn rows<const N: usize>(table: &[f32]) -> [&[f32]; N] {
    let row = table.len() / N;
    std::array::from_fn(|i| &table[i * row..][..row])
}

multiversion! {
    /// Sums of `x` and `x^2`. In double precision, so that a mean far from zero costs no digits of
    /// the variance; the cost is hidden by that of memory.
    pub(super) fn moments(x: &[f32], row: usize, sums: &mut [f64]) {
        for start in (0..row).step_by(TILE) {
            let mut acc = Sums([[0.0f64; TILE]; 2]);
            for at in (start..x.len()).step_by(row) {
                let n = TILE.min(row - start).min(x.len() - at);
                let x = &x[at..at + n];
                for j in 0..n {
                    let x = f64::from(x[j]);
                    acc.0[0][j] += x;
                    acc.0[1][j] += x * x;
                }
            }
            acc.add_to(sums, start, row);
        }
    }
}

multiversion! {
    /// `y = xh*gamma + beta` from a table of the mean, the scale and the shift.
    pub(super) fn scale(x: &[f32], table: &[f32], y: &mut [f32]) {
        let [mu, scale, shift] = rows(table);
        let row = mu.len();
        for (y, x) in y.chunks_mut(row).zip(x.chunks(row)) {
            let n = y.len();
            let (x, mu, scale, shift) = (&x[..n], &mu[..n], &scale[..n], &shift[..n]);
            for j in 0..n {
                y[j] = fma::<FMA>(x[j] - mu[j], scale[j], shift[j]);
            }
        }
    }
}

multiversion! {
    /// As [`scale`], in place.
    pub(super) fn scale_in_place(table: &[f32], y: &mut [f32]) {
        let [mu, scale, shift] = rows(table);
        let row = mu.len();
        for y in y.chunks_mut(row) {
            let n = y.len();
            let (mu, scale, shift) = (&mu[..n], &scale[..n], &shift[..n]);
            for j in 0..n {
                y[j] = fma::<FMA>(y[j] - mu[j], scale[j], shift[j]);
            }
        }
    }
}

multiversion! {
    /// Sums of `g` and `g*(x - mean)`. `kept` receives the slopes unless they are one.
    pub(super) fn adjoint_sums<A: Activation>(
        h: &[f32], g: &[f32], mu: &[f32], kept: &mut [f32], sums: &mut [f64],
    ) {
        let row = mu.len();
        for start in (0..row).step_by(TILE) {
            let mut acc = Sums([[0.0f32; TILE]; 2]);
            for at in (start..h.len()).step_by(row) {
                let n = TILE.min(row - start).min(h.len() - at);
                let (h, g, mu) = (&h[at..at + n], &g[at..at + n], &mu[start..start + n]);
                let kept = &mut kept[at..at + n];
                for j in 0..n {
                    let [x, slope] = A::value_and_slope::<FMA>(h[j]);
                    let x = x - mu[j];
                    if !A::IDENTITY {
                        kept[j] = slope;
                    }
                    acc.0[0][j] += g[j];
                    acc.0[1][j] = fma::<FMA>(g[j], x, acc.0[1][j]);
                }
            }
            acc.add_to(sums, start, row);
        }
    }
}

multiversion! {
    /// `y = slope*(of_g*g + of_x*(x - mean) + of_1)` from a table of the mean and the three
    /// constants. `y` holds the slopes that [`adjoint_sums`] kept.
    pub(super) fn adjoint_write<A: Activation>(h: &[f32], g: &[f32], table: &[f32], y: &mut [f32]) {
        let [mu, of_g, of_x, of_1] = rows(table);
        let row = mu.len();
        for ((y, h), g) in y.chunks_mut(row).zip(h.chunks(row)).zip(g.chunks(row)) {
            let n = y.len();
            let (h, g, mu) = (&h[..n], &g[..n], &mu[..n]);
            let (of_g, of_x, of_1) = (&of_g[..n], &of_x[..n], &of_1[..n]);
            for j in 0..n {
                let [x, _] = A::value_and_curvature::<FMA>(h[j], y[j]);
                let a = fma::<FMA>(of_g[j], g[j], fma::<FMA>(of_x[j], x - mu[j], of_1[j]));
                y[j] = if A::IDENTITY { a } else { a * y[j] };
            }
        }
    }
}

multiversion! {
    /// With `w = slope*v`, sums of `g`, `g*(x - mean)`, `w`, `w*(x - mean)`, `w*g`. `kept` receives
    /// the slopes unless they are one.
    pub(super) fn reverse_sums<A: Activation>(
        h: &[f32], g: &[f32], v: &[f32], mu: &[f32], kept: &mut [f32], sums: &mut [f64],
    ) {
        let row = mu.len();
        for start in (0..row).step_by(TILE) {
            let mut acc = Sums([[0.0f32; TILE]; 5]);
            for at in (start..h.len()).step_by(row) {
                let n = TILE.min(row - start).min(h.len() - at);
                let (h, g, v) = (&h[at..at + n], &g[at..at + n], &v[at..at + n]);
                let mu = &mu[start..start + n];
                let kept = &mut kept[at..at + n];
                for j in 0..n {
                    let [x, slope] = A::value_and_slope::<FMA>(h[j]);
                    let (x, w) = (x - mu[j], v[j] * slope);
                    if !A::IDENTITY {
                        kept[j] = slope;
                    }
                    acc.0[0][j] += g[j];
                    acc.0[1][j] = fma::<FMA>(g[j], x, acc.0[1][j]);
                    acc.0[2][j] += w;
                    acc.0[3][j] = fma::<FMA>(w, x, acc.0[3][j]);
                    acc.0[4][j] = fma::<FMA>(w, g[j], acc.0[4][j]);
                }
            }
            acc.add_to(sums, start, row);
        }
    }
}

/// Constants of [`reverse_write`].
pub(super) const REVERSE: usize = 10;

multiversion! {
    /// With `w = slope*v` and `x` less its mean, linear combinations for `dg`, `dx` and `a = A(q)`;
    /// then `dh = slope*dx + curvature*v*a`. `dh` holds the slopes that [`reverse_sums`] kept.
    /// `A(q)` and `dx` have the same factor, each of the other's operand: `dx_w = a_x`.
    pub(super) fn reverse_write<A: Activation>(
        h: &[f32], g: &[f32], v: &[f32], table: &[f32], dg: &mut [f32], dh: &mut [f32],
    ) {
        let [mu, dg_w, dg_x, dg_1, dx_x, dx_g, a_x, dx_1, a_g, a_1] = rows::<REVERSE>(table);
        let row = mu.len();
        let inputs = h.chunks(row).zip(g.chunks(row)).zip(v.chunks(row));
        for ((dg, dh), ((h, g), v)) in dg.chunks_mut(row).zip(dh.chunks_mut(row)).zip(inputs) {
            let n = dg.len();
            let (dh, h, g, v) = (&mut dh[..n], &h[..n], &g[..n], &v[..n]);
            let (mu, dg_w, dg_x, dg_1) = (&mu[..n], &dg_w[..n], &dg_x[..n], &dg_1[..n]);
            let (dx_x, dx_g, a_x, dx_1) = (&dx_x[..n], &dx_g[..n], &a_x[..n], &dx_1[..n]);
            let (a_g, a_1) = (&a_g[..n], &a_1[..n]);
            for j in 0..n {
                let slope = if A::IDENTITY { 1.0 } else { dh[j] };
                let [x, curvature] = A::value_and_curvature::<FMA>(h[j], slope);
                let (x, w) = (x - mu[j], v[j] * slope);
                dg[j] = fma::<FMA>(dg_w[j], w, fma::<FMA>(dg_x[j], x, dg_1[j]));
                let dx = fma::<FMA>(dx_x[j], x, dx_1[j]);
                let dx = fma::<FMA>(dx_g[j], g[j], fma::<FMA>(a_x[j], w, dx));
                dh[j] = if A::IDENTITY {
                    dx
                } else {
                    let a = fma::<FMA>(a_g[j], g[j], fma::<FMA>(a_x[j], x, a_1[j]));
                    fma::<FMA>(slope, dx, curvature * v[j] * a)
                };
            }
        }
    }
}
