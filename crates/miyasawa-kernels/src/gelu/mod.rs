//! The exact Gaussian error linear unit (Hendrycks & Gimpel 2016), `gelu(h) = h*Phi(h)`, and its
//! first- and second-order adjoints.
//!
//! With `phi` and `Phi` the density and the distribution function of the standard normal:
//! `gelu' = Phi + h*phi` and `gelu'' = phi*(2 - h^2)`.
//!
//! `Phi` is within 1e-7 of its exact value everywhere and within 3e-6 of its size in the lower tail
//! (7e-6 where there is no fused MAC). The functions have their limits at the infinities
//! (`gelu(-inf) = 0`, not NaN), and NaN stays NaN.

use crate::isa::Isa;
use crate::multiversion::multiversion;
use crate::tasks;
use crate::uninit::{self, zeroed};
use normal::Normal;

pub(crate) mod normal;
#[cfg(test)]
mod tests;

/// Elements that one task handles: five slices of them fit in the second-level cache of any
/// processor, and a task costs little beside them. Shorter slices run on the calling thread.
const CHUNK: usize = 16 * 1024;

multiversion! {
    pub(crate) fn forward_chunk(h: &[f32], y: &mut [f32]) {
        for (y, &h) in y.iter_mut().zip(h) {
            *y = Normal::new::<FMA>(h).gelu::<FMA>();
        }
    }
}

multiversion! {
    fn adjoint_chunk(h: &[f32], g: &[f32], y: &mut [f32]) {
        for ((y, &h), &g) in y.iter_mut().zip(h).zip(g) {
            *y = g * Normal::new::<FMA>(h).slope::<FMA>();
        }
    }
}

multiversion! {
    fn adjoint_reverse_chunk(h: &[f32], g: &[f32], v: &[f32], dg: &mut [f32], dh: &mut [f32]) {
        for ((((dg, dh), &h), &g), &v) in dg.iter_mut().zip(dh).zip(h).zip(g).zip(v) {
            let normal = Normal::new::<FMA>(h);
            *dg = v * normal.slope::<FMA>();
            *dh = v * g * normal.curvature::<FMA>();
        }
    }
}

/// Computes `y = gelu(h)` of every value.
pub fn forward(h: &[f32]) -> Vec<f32> {
    forward_on(Isa::current(), h)
}

fn forward_on(isa: Isa, h: &[f32]) -> Vec<f32> {
    // SAFETY: every value is written.
    let [y] = unsafe {
        uninit::vectors([h.len()], |[y]| {
            let chunks = y.chunks_mut(CHUNK).zip(h.chunks(CHUNK));
            tasks::items(chunks, |_, (y, h)| forward_chunk(isa, h, zeroed(y)));
        })
    };
    y
}

/// Computes `y = g*gelu'(h)`: the gradient for `h`, where `g` is the gradient for `gelu(h)`.
///
/// # Panics
/// If the lengths differ.
pub fn adjoint(h: &[f32], g: &[f32]) -> Vec<f32> {
    adjoint_on(Isa::current(), h, g)
}

fn adjoint_on(isa: Isa, h: &[f32], g: &[f32]) -> Vec<f32> {
    assert_eq!(g.len(), h.len(), "gelu::adjoint: length of g");
    // SAFETY: every value is written.
    let [y] = unsafe {
        uninit::vectors([h.len()], |[y]| {
            let chunks = y.chunks_mut(CHUNK).zip(h.chunks(CHUNK)).zip(g.chunks(CHUNK));
            tasks::items(chunks, |_, ((y, h), g)| adjoint_chunk(isa, h, g, zeroed(y)));
        })
    };
    y
}

/// Computes the reverse of [`adjoint`] for the cotangent `v`: `[dg, dh]` with `dg = v*gelu'(h)` and
/// `dh = v*g*gelu''(h)`.
///
/// # Panics
/// If the lengths differ.
pub fn adjoint_reverse(h: &[f32], g: &[f32], v: &[f32]) -> [Vec<f32>; 2] {
    adjoint_reverse_on(Isa::current(), h, g, v)
}

fn adjoint_reverse_on(isa: Isa, h: &[f32], g: &[f32], v: &[f32]) -> [Vec<f32>; 2] {
    for (name, len) in [("g", g.len()), ("v", v.len())] {
        assert_eq!(len, h.len(), "gelu::adjoint_reverse: length of {name}");
    }
    // SAFETY: every value is written.
    unsafe {
        uninit::vectors([h.len(); 2], |[dg, dh]| {
            let outputs = dg.chunks_mut(CHUNK).zip(dh.chunks_mut(CHUNK));
            let chunks = outputs.zip(h.chunks(CHUNK).zip(g.chunks(CHUNK)).zip(v.chunks(CHUNK)));
            tasks::items(chunks, |_, ((dg, dh), ((h, g), v))| {
                adjoint_reverse_chunk(isa, h, g, v, zeroed(dg), zeroed(dh));
            });
        })
    }
}
