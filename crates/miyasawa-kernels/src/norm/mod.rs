//! Group normalisation (Wu & He 2018) with a scale and shift for every image and channel, and its
//! first- and second-order adjoints; alone, and of a GELU.
//!
//! For one image and one group of `channels / groups` channels over all pixels, with `mean` over
//! the group:
//!
//! ```text
//! xh  = (x - mean x)*r,      r = 1/sqrt(mean (x - mean x)^2 + EPSILON)
//! y   = xh*gamma + beta
//! A(q) = r*(q - mean q - xh*mean(q*xh))            linear and symmetric in q
//! ```
//!
//! The adjoint for a cotangent `g` is `A(gamma*g)`. Its reverse for a cotangent `v`, with
//! `q = gamma*g`, `m = mean(q*xh)`, `k = mean(v*xh)`:
//!
//! ```text
//! dg     = gamma*A(v)
//! dgamma = sum over pixels of g*A(v)
//! dx     = -r^2*xh*(mean(v*q) - mean v*mean q - m*k) - r*(k*A(q) + m*A(v))
//! ```
//!
//! With `gelu` set, the functions are those of `norm(gelu(h))`: they read `h` alone, so that
//! nothing else of an activation needs to be saved or moved. The adjoint is `gelu'(h)*A(gamma*g)`
//! with `x = gelu(h)`, and its reverse takes `w = gelu'(h)*v` for `v` above and adds one term:
//!
//! ```text
//! dh     = gelu'(h)*dx + gelu''(h)*v*A(q)
//! ```
//!
//! Each function makes two passes over an image, sums and then values. All sums are over the pixels
//! of each channel; those of a group and the gradients of the scale and shift follow from them.
//! Behind a GELU the first pass leaves its value or slope in the output, where the second one finds
//! it in the cache.

use crate::isa::Isa;
use crate::rows::Rows;
use loops::{Gelu, Identity};
pub use miyasawa_shapes::{EPSILON, NormShape, Statistics};

mod adjoint;
mod forward;
mod loops;
mod reverse;
#[cfg(test)]
mod tests;

fn rows(s: &NormShape) -> Rows {
    Rows::new(s.batch, s.pixels, s.channels, s.groups)
}

/// The means over the groups of sums of each channel, which [`Statistics::Fixed`] has no use for.
fn means<const K: usize>(s: &NormShape, of: impl Fn(usize) -> [f64; K]) -> Vec<[f64; K]> {
    match s.statistics {
        Statistics::Group { .. } => rows(s).means(of),
        Statistics::Fixed => vec![[0.0; K]; s.groups],
    }
}

/// The inputs and results of a forward pass that its adjoint and the reverse of that need.
#[derive(Clone, Copy, Debug)]
pub struct Saved<'a> {
    /// The input of the forward pass, before the GELU if there was one.
    pub h: &'a [f32],
    /// The scale.
    pub gamma: &'a [f32],
    /// The mean of every group.
    pub mean: &'a [f32],
    /// One over the deviation of every group, with [`EPSILON`] in it.
    pub rstd: &'a [f32],
}

impl<'a> Saved<'a> {
    fn check(&self, name: &str, s: &NormShape, activations: &[&[f32]]) {
        s.check(name, &[self.h], &[self.gamma], &[self.mean, self.rstd]);
        s.check(name, activations, &[], &[]);
    }

    /// That of image `n`.
    fn image(&self, s: &NormShape, n: usize) -> Self {
        Self {
            h: part(self.h, n, s.image_len()),
            gamma: part(self.gamma, n, s.channels),
            mean: part(self.mean, n, s.groups),
            rstd: part(self.rstd, n, s.groups),
        }
    }

    /// The mean and one over the deviation of a group.
    fn statistics(&self, group: usize) -> [f64; 2] {
        [self.mean[group], self.rstd[group]].map(f64::from)
    }
}

/// The `n`th part of `len` values.
fn part(values: &[f32], n: usize, len: usize) -> &[f32] {
    &values[n * len..][..len]
}

/// Computes `y = xh*gamma + beta`, and the statistics of every group for the adjoints:
/// `[y, mean, rstd]`.
///
/// ```
/// use miyasawa_kernels::norm::{self, NormShape, Saved, Statistics};
///
/// let statistics = Statistics::default();
/// let s = NormShape { batch: 1, pixels: 2, channels: 2, groups: 1, statistics };
/// let (h, gamma) = ([1.0, 3.0, 3.0, 1.0], [1.0, 2.0]);
/// let [y, mean, rstd] = norm::forward(&s, &h, &gamma, &[0.0, 0.5], false);
/// assert_eq!(mean, [2.0]);
/// assert!(y.iter().zip([-1.0, 2.5, 1.0, -1.5]).all(|(y, want)| (y - want).abs() < 1e-4));
/// // The gradient of the sum of all values is 0: adding a constant to a group changes nothing.
/// let saved = Saved { h: &h, gamma: &gamma, mean: &mean, rstd: &rstd };
/// let [_, d_gamma, d_beta] = norm::adjoint(&s, saved, &[1.0; 4], false);
/// assert!(d_gamma.iter().all(|d| d.abs() < 1e-5));
/// assert_eq!(d_beta, [2.0, 2.0]);
/// ```
///
/// # Panics
/// If a slice does not have the length that the shape says, or the groups do not divide the
/// channels.
pub fn forward(s: &NormShape, h: &[f32], gamma: &[f32], beta: &[f32], gelu: bool) -> [Vec<f32>; 3] {
    forward_on(Isa::current(), s, h, gamma, beta, gelu)
}

fn forward_on(
    isa: Isa,
    s: &NormShape,
    h: &[f32],
    gamma: &[f32],
    beta: &[f32],
    gelu: bool,
) -> [Vec<f32>; 3] {
    let pass = if gelu { forward::forward::<Gelu> } else { forward::forward::<Identity> };
    pass(isa, s, h, gamma, beta)
}

/// Computes `A(gamma*g)`, behind a GELU `gelu'(h)*A(gamma*g)`: the gradient for `h`; and those for
/// the scale and the shift, `sum g*xh` and `sum g` over the pixels: `[dh, d_gamma, d_beta]`.
///
/// # Panics
/// As [`forward`].
pub fn adjoint(s: &NormShape, saved: Saved, g: &[f32], gelu: bool) -> [Vec<f32>; 3] {
    adjoint_on(Isa::current(), s, saved, g, gelu)
}

fn adjoint_on(isa: Isa, s: &NormShape, saved: Saved, g: &[f32], gelu: bool) -> [Vec<f32>; 3] {
    let pass = if gelu { adjoint::adjoint::<Gelu> } else { adjoint::adjoint::<Identity> };
    pass(isa, s, saved, g)
}

/// Computes the reverse of [`adjoint`]'s first result for the cotangent `v`, by the formulas of
/// this module's page: `[dg, d_gamma, dh]`.
///
/// # Panics
/// As [`forward`].
pub fn adjoint_reverse(
    s: &NormShape,
    saved: Saved,
    g: &[f32],
    v: &[f32],
    gelu: bool,
) -> [Vec<f32>; 3] {
    adjoint_reverse_on(Isa::current(), s, saved, g, v, gelu)
}

fn adjoint_reverse_on(
    isa: Isa,
    s: &NormShape,
    saved: Saved,
    g: &[f32],
    v: &[f32],
    gelu: bool,
) -> [Vec<f32>; 3] {
    let pass = if gelu { reverse::reverse::<Gelu> } else { reverse::reverse::<Identity> };
    pass(isa, s, saved, g, v)
}
