//! The loops over the values of a segment, compiled for every instruction set. `sums` are `[kind][row]`,
//! tables are `[constant][row]`.

use super::rows::TILE;
use crate::gelu::normal::Normal;
use crate::multiversion::{fma, multiversion};

/// The function that the values pass through before they are normalised.
pub(super) trait Activation {
    /// Whether it is the identity, whose slope is one.
    const IDENTITY: bool;
    /// Its value.
    fn value<const FMA: bool>(h: f32) -> f32;
    /// Its value, first and second derivative.
    fn derivatives<const FMA: bool>(h: f32) -> [f32; 3];
}

pub(super) struct Identity;

impl Activation for Identity {
    const IDENTITY: bool = true;

    #[inline(always)]
    fn value<const FMA: bool>(h: f32) -> f32 {
        h
    }

    #[inline(always)]
    fn derivatives<const FMA: bool>(h: f32) -> [f32; 3] {
        [h, 1.0, 0.0]
    }
}

pub(super) struct Gelu;

impl Activation for Gelu {
    const IDENTITY: bool = false;

    #[inline(always)]
    fn value<const FMA: bool>(h: f32) -> f32 {
        Normal::new::<FMA>(h).gelu::<FMA>()
    }

    #[inline(always)]
    fn derivatives<const FMA: bool>(h: f32) -> [f32; 3] {
        let normal = Normal::new::<FMA>(h);
        [normal.gelu::<FMA>(), normal.slope::<FMA>(), normal.curvature::<FMA>()]
    }
}

/// The rows of `table` as slices.
#[inline(always)]
fn rows<const N: usize>(table: &[f32]) -> [&[f32]; N] {
    let row = table.len() / N;
    std::array::from_fn(|i| &table[i * row..][..row])
}

/// Adds accumulators of the places from `start` on to `sums`.
#[inline(always)]
fn flush<T: Copy + Into<f64>, const K: usize>(
    acc: &[[T; TILE]; K],
    start: usize,
    row: usize,
    sums: &mut [f64],
) {
    let width = TILE.min(row - start);
    for (kind, acc) in acc.iter().enumerate() {
        let sums = &mut sums[kind * row + start..][..width];
        sums.iter_mut().zip(acc).for_each(|(sum, &value)| *sum += value.into());
    }
}

multiversion! {
    /// Sums of `x` and `x^2`. In double precision, so that a mean far from zero costs no digits of the
    /// variance; that hides behind the memory.
    pub(super) fn moments(x: &[f32], row: usize, sums: &mut [f64]) {
        for start in (0..row).step_by(TILE) {
            let mut acc = [[0.0f64; TILE]; 2];
            for at in (start..x.len()).step_by(row) {
                let n = TILE.min(row - start).min(x.len() - at);
                let x = &x[at..at + n];
                for j in 0..n {
                    let x = f64::from(x[j]);
                    acc[0][j] += x;
                    acc[1][j] += x * x;
                }
            }
            flush(&acc, start, row, sums);
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
    /// Sums of `g` and `g*(x - mean)`.
    pub(super) fn adjoint_sums<A: Activation>(h: &[f32], g: &[f32], mu: &[f32], sums: &mut [f64]) {
        let row = mu.len();
        for start in (0..row).step_by(TILE) {
            let mut acc = [[0.0f32; TILE]; 2];
            for at in (start..h.len()).step_by(row) {
                let n = TILE.min(row - start).min(h.len() - at);
                let (h, g, mu) = (&h[at..at + n], &g[at..at + n], &mu[start..start + n]);
                for j in 0..n {
                    let x = A::value::<FMA>(h[j]) - mu[j];
                    acc[0][j] += g[j];
                    acc[1][j] = fma::<FMA>(g[j], x, acc[1][j]);
                }
            }
            flush(&acc, start, row, sums);
        }
    }
}

multiversion! {
    /// `y = slope*(of_g*g + of_x*(x - mean) + of_1)` from a table of the mean and the three constants.
    pub(super) fn adjoint_write<A: Activation>(h: &[f32], g: &[f32], table: &[f32], y: &mut [f32]) {
        let [mu, of_g, of_x, of_1] = rows(table);
        let row = mu.len();
        for ((y, h), g) in y.chunks_mut(row).zip(h.chunks(row)).zip(g.chunks(row)) {
            let n = y.len();
            let (h, g, mu) = (&h[..n], &g[..n], &mu[..n]);
            let (of_g, of_x, of_1) = (&of_g[..n], &of_x[..n], &of_1[..n]);
            for j in 0..n {
                let [x, slope, _] = A::derivatives::<FMA>(h[j]);
                let a = fma::<FMA>(of_g[j], g[j], fma::<FMA>(of_x[j], x - mu[j], of_1[j]));
                y[j] = if A::IDENTITY { a } else { a * slope };
            }
        }
    }
}

multiversion! {
    /// With `w = slope*v`, sums of `g`, `g*(x - mean)`, `w`, `w*(x - mean)`, `w*g`.
    pub(super) fn reverse_sums<A: Activation>(h: &[f32], g: &[f32], v: &[f32], mu: &[f32], sums: &mut [f64]) {
        let row = mu.len();
        for start in (0..row).step_by(TILE) {
            let mut acc = [[0.0f32; TILE]; 5];
            for at in (start..h.len()).step_by(row) {
                let n = TILE.min(row - start).min(h.len() - at);
                let (h, g, v, mu) = (&h[at..at + n], &g[at..at + n], &v[at..at + n], &mu[start..start + n]);
                for j in 0..n {
                    let [x, slope, _] = A::derivatives::<FMA>(h[j]);
                    let (x, w) = (x - mu[j], v[j] * slope);
                    acc[0][j] += g[j];
                    acc[1][j] = fma::<FMA>(g[j], x, acc[1][j]);
                    acc[2][j] += w;
                    acc[3][j] = fma::<FMA>(w, x, acc[3][j]);
                    acc[4][j] = fma::<FMA>(w, g[j], acc[4][j]);
                }
            }
            flush(&acc, start, row, sums);
        }
    }
}

/// Constants of [`reverse_write`].
pub(super) const REVERSE: usize = 11;

multiversion! {
    /// With `w = slope*v` and `x` less its mean, linear combinations for `dg`, `dx` and `a = A(q)`; then
    /// `dh = slope*dx + curvature*v*a`.
    pub(super) fn reverse_write<A: Activation>(
        h: &[f32], g: &[f32], v: &[f32], table: &[f32], dg: &mut [f32], dh: &mut [f32],
    ) {
        let [mu, dg_w, dg_x, dg_1, dx_x, dx_g, dx_w, dx_1, a_g, a_x, a_1] = rows::<REVERSE>(table);
        let row = mu.len();
        let inputs = h.chunks(row).zip(g.chunks(row)).zip(v.chunks(row));
        for ((dg, dh), ((h, g), v)) in dg.chunks_mut(row).zip(dh.chunks_mut(row)).zip(inputs) {
            let n = dg.len();
            let (dh, h, g, v) = (&mut dh[..n], &h[..n], &g[..n], &v[..n]);
            let (mu, dg_w, dg_x, dg_1) = (&mu[..n], &dg_w[..n], &dg_x[..n], &dg_1[..n]);
            let (dx_x, dx_g, dx_w, dx_1) = (&dx_x[..n], &dx_g[..n], &dx_w[..n], &dx_1[..n]);
            let (a_g, a_x, a_1) = (&a_g[..n], &a_x[..n], &a_1[..n]);
            for j in 0..n {
                let [x, slope, curvature] = A::derivatives::<FMA>(h[j]);
                let (x, w) = (x - mu[j], v[j] * slope);
                dg[j] = fma::<FMA>(dg_w[j], w, fma::<FMA>(dg_x[j], x, dg_1[j]));
                let dx = fma::<FMA>(dx_x[j], x, dx_1[j]);
                let dx = fma::<FMA>(dx_g[j], g[j], fma::<FMA>(dx_w[j], w, dx));
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
