//! The exact Gaussian error linear unit (Hendrycks & Gimpel 2016), `gelu(h) = h*Phi(h)`, and its
//! first- and second-order adjoints.
//!
//! With `phi` and `Phi` the density and the distribution function of the standard normal:
//! `gelu' = Phi + h*phi` and `gelu'' = phi*(2 - h^2)`.

use rayon::prelude::*;

/// Elements that one task handles: small enough for the first-level cache, large enough to pay for a task.
const CHUNK: usize = 4096;

/// `Phi(h)` and `phi(h)`. The tail is written with `erfc`-like symmetry so that it keeps its relative
/// precision: `Phi(-|h|)` comes from a rational approximation times `exp(-h^2/2)`
/// (Abramowitz & Stegun 7.1.26 has 1.5e-7 absolute error).
fn normal(h: f32) -> (f32, f32) {
    let e = (-0.5 * h * h).exp();
    let t = 1.0 / (1.0 + 0.327_591_1 * std::f32::consts::FRAC_1_SQRT_2 * h.abs());
    let poly =
        t * (0.254_829_6 + t * (-0.284_496_74 + t * (1.421_413_7 + t * (-1.453_152 + t * 1.061_405_4))));
    let tail = 0.5 * poly * e;
    let cdf = if h >= 0.0 { 1.0 - tail } else { tail };
    (cdf, e * 0.398_942_3)
}

/// `y = gelu(h)`.
///
/// # Panics
/// If the lengths differ.
pub fn forward(h: &[f32], y: &mut [f32]) {
    assert_eq!(h.len(), y.len(), "gelu::forward: length of y");
    y.par_chunks_mut(CHUNK).zip(h.par_chunks(CHUNK)).for_each(|(y, h)| {
        for (y, &h) in y.iter_mut().zip(h) {
            *y = h * normal(h).0;
        }
    });
}

/// `y = g*gelu'(h)`.
///
/// # Panics
/// If the lengths differ.
pub fn adjoint(h: &[f32], g: &[f32], y: &mut [f32]) {
    assert_eq!(h.len(), y.len(), "gelu::adjoint: length of y");
    assert_eq!(h.len(), g.len(), "gelu::adjoint: length of g");
    y.par_chunks_mut(CHUNK).zip(h.par_chunks(CHUNK)).zip(g.par_chunks(CHUNK)).for_each(|((y, h), g)| {
        for ((y, &h), &g) in y.iter_mut().zip(h).zip(g) {
            let (cdf, pdf) = normal(h);
            *y = g * (cdf + h * pdf);
        }
    });
}

/// The reverse of [`adjoint`] for the cotangent `v`: `dg = v*gelu'(h)` and `dh = v*g*gelu''(h)`.
///
/// # Panics
/// If the lengths differ.
pub fn adjoint_reverse(h: &[f32], g: &[f32], v: &[f32], dg: &mut [f32], dh: &mut [f32]) {
    for (name, len) in [("g", g.len()), ("v", v.len()), ("dg", dg.len()), ("dh", dh.len())] {
        assert_eq!(len, h.len(), "gelu::adjoint_reverse: length of {name}");
    }
    dg.par_chunks_mut(CHUNK)
        .zip(dh.par_chunks_mut(CHUNK))
        .zip(h.par_chunks(CHUNK).zip(g.par_chunks(CHUNK)).zip(v.par_chunks(CHUNK)))
        .for_each(|((dg, dh), ((h, g), v))| {
            for i in 0..h.len() {
                let (cdf, pdf) = normal(h[i]);
                dg[i] = v[i] * (cdf + h[i] * pdf);
                dh[i] = v[i] * g[i] * pdf * (2.0 - h[i] * h[i]);
            }
        });
}
