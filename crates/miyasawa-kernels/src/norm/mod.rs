//! Group normalisation (Wu & He 2018) with a scale and shift for every image and channel, and its
//! first- and second-order adjoints; alone, and of a GELU.
//!
//! For one image and one group of `channels / groups` channels over all pixels, with `mean` over the group:
//!
//! ```text
//! xh  = (x - mean x)*r,      r = 1/sqrt(mean (x - mean x)^2 + EPSILON)
//! y   = xh*gamma + beta
//! A(q) = r*(q - mean q - xh*mean(q*xh))            linear and symmetric in q
//! ```
//!
//! The adjoint for a cotangent `g` is `A(gamma*g)`. Its reverse for a cotangent `v`, with `q = gamma*g`,
//! `m = mean(q*xh)`, `k = mean(v*xh)`:
//!
//! ```text
//! dg     = gamma*A(v)
//! dgamma = sum over pixels of g*A(v)
//! dx     = -r^2*xh*(mean(v*q) - mean v*mean q - m*k) - r*(k*A(q) + m*A(v))
//! ```
//!
//! The functions named `gelu_*` are those of `norm(gelu(h))`: they read `h` alone, so that nothing else
//! of an activation needs to be saved or moved. Their adjoint is `gelu'(h)*A(gamma*g)` with `x = gelu(h)`,
//! and its reverse takes `w = gelu'(h)*v` for `v` above and adds one term:
//!
//! ```text
//! dh     = gelu'(h)*dx + gelu''(h)*v*A(q)
//! ```
//!
//! Each function makes two passes over an image, sums and then values. All sums are over the pixels of
//! each channel; those of a group and the gradients of the scale and shift follow from them. Behind a GELU
//! the first pass leaves its value or slope in the output, where the second one finds it in the cache.

use std::mem::MaybeUninit;

use crate::fresh::{self, as_unwritten, zeroed};
use crate::isa::Isa;
use crate::rows::Rows;
use loops::{Activation, Gelu, Identity, REVERSE};

mod loops;
#[cfg(test)]
mod tests;

/// Added to the variance; PyTorch's default.
pub const EPSILON: f32 = 1e-5;

/// What the slices hold: activations `[batch, pixels, channels]`, `gamma`, `beta` and their gradients
/// `[batch, channels]`, statistics `[batch, groups]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NormShape {
    /// Images.
    pub batch: usize,
    /// Height times width.
    pub pixels: usize,
    /// Channels, a multiple of `groups`.
    pub channels: usize,
    /// Groups that are normalised together.
    pub groups: usize,
}

impl NormShape {
    fn check(&self, name: &str, activations: &[usize], per_channel: &[usize], stats: &[usize]) {
        assert!(
            self.groups > 0 && self.channels > 0 && self.channels.is_multiple_of(self.groups),
            "{name}: {} channels in {} groups",
            self.channels,
            self.groups
        );
        assert!(self.pixels > 0, "{name}: no pixels");
        let image = self.batch * self.channels;
        for (lens, expected) in
            [(activations, image * self.pixels), (per_channel, image), (stats, self.batch * self.groups)]
        {
            for &len in lens {
                assert_eq!(len, expected, "{name}: length of a slice for {self:?}");
            }
        }
    }

    fn rows(&self) -> Rows {
        Rows::new(self.batch, self.pixels, self.channels, self.groups)
    }

    fn image(&self) -> usize {
        self.pixels * self.channels
    }
}

/// `y = xh*gamma + beta`; `mean` and `rstd` receive the statistics of every group for the adjoints.
///
/// # Panics
/// If a slice does not have the length that the shape says, or the groups do not divide the channels.
#[allow(clippy::too_many_arguments)]
pub fn forward(
    s: &NormShape,
    x: &[f32],
    gamma: &[f32],
    beta: &[f32],
    y: &mut [f32],
    mean: &mut [f32],
    rstd: &mut [f32],
) {
    forward_on::<Identity>(Isa::current(), s, x, gamma, beta, y, mean, rstd);
}

/// [`forward`] of `x = gelu(h)`.
///
/// # Panics
/// As [`forward`].
#[allow(clippy::too_many_arguments)]
pub fn gelu_forward(
    s: &NormShape,
    h: &[f32],
    gamma: &[f32],
    beta: &[f32],
    y: &mut [f32],
    mean: &mut [f32],
    rstd: &mut [f32],
) {
    forward_on::<Gelu>(Isa::current(), s, h, gamma, beta, y, mean, rstd);
}

/// [`forward`], or [`gelu_forward`] if `gelu` is set, into new memory: `[y, mean, rstd]`.
///
/// # Panics
/// As [`forward`].
pub fn forward_new(s: &NormShape, x: &[f32], gamma: &[f32], beta: &[f32], gelu: bool) -> [Vec<f32>; 3] {
    let (isa, stats) = (Isa::current(), s.batch * s.groups);
    let (mut mean, mut rstd) = (vec![0.0; stats], vec![0.0; stats]);
    let to = if gelu { forward_to::<Gelu> } else { forward_to::<Identity> };
    // SAFETY: every value is written.
    let [y] = unsafe { fresh::vectors([x.len()], |[y]| to(isa, s, x, gamma, beta, y, &mut mean, &mut rstd)) };
    [y, mean, rstd]
}

#[allow(clippy::too_many_arguments)]
fn forward_on<A: Activation>(
    isa: Isa,
    s: &NormShape,
    h: &[f32],
    gamma: &[f32],
    beta: &[f32],
    y: &mut [f32],
    mean: &mut [f32],
    rstd: &mut [f32],
) {
    // SAFETY: values are written.
    forward_to::<A>(isa, s, h, gamma, beta, unsafe { as_unwritten(y) }, mean, rstd);
}

/// Writes every value of `y`.
#[allow(clippy::too_many_arguments)]
fn forward_to<A: Activation>(
    isa: Isa,
    s: &NormShape,
    h: &[f32],
    gamma: &[f32],
    beta: &[f32],
    y: &mut [MaybeUninit<f32>],
    mean: &mut [f32],
    rstd: &mut [f32],
) {
    s.check("norm::forward", &[h.len(), y.len()], &[gamma.len(), beta.len()], &[mean.len(), rstd.len()]);
    let rows = s.rows();
    let images = y.chunks_mut(s.image()).zip(mean.chunks_mut(s.groups)).zip(rstd.chunks_mut(s.groups));
    rows.images(images.collect(), |n, ((y, mean), rstd)| {
        let y = zeroed(y);
        let h = &h[n * s.image()..][..s.image()];
        let (gamma, beta) = (&gamma[n * s.channels..][..s.channels], &beta[n * s.channels..][..s.channels]);
        let sums = rows.sums::<2>(y, |at, y, sums| {
            if A::IDENTITY {
                loops::moments(isa, &h[at], rows.row, sums);
            } else {
                crate::gelu::forward_chunk(isa, &h[at], y);
                loops::moments(isa, y, rows.row, sums);
            }
        });
        let (sums, squares) = sums.split_at(s.channels);
        for (group, [mu, square]) in rows.means(|c| [sums[c], squares[c]]).into_iter().enumerate() {
            let variance = (square - mu * mu).max(0.0);
            (mean[group], rstd[group]) = (mu as f32, (1.0 / (variance + f64::from(EPSILON)).sqrt()) as f32);
        }
        let table = rows.tables(|c| {
            let group = rows.group(c);
            [mean[group], rstd[group] * gamma[c], beta[c]].map(f64::from)
        });
        if A::IDENTITY {
            rows.write([y], |at, [y]| loops::scale(isa, &h[at], &table, y));
        } else {
            rows.write([y], |_, [y]| loops::scale_in_place(isa, &table, y));
        }
    });
}

/// `y = A(gamma*g)`: the gradient for `x`. With `d_gamma` and `d_beta` also the gradients for the scale
/// and the shift, `sum g*xh` and `sum g` over the pixels.
///
/// # Panics
/// If a slice does not have the length that the shape says, or the groups do not divide the channels.
#[allow(clippy::too_many_arguments)]
pub fn adjoint(
    s: &NormShape,
    x: &[f32],
    gamma: &[f32],
    mean: &[f32],
    rstd: &[f32],
    g: &[f32],
    y: &mut [f32],
    affine: Option<(&mut [f32], &mut [f32])>,
) {
    adjoint_on::<Identity>(Isa::current(), s, x, gamma, mean, rstd, g, y, affine);
}

/// `y = gelu'(h)*A(gamma*g)`: the gradient for `h` of [`gelu_forward`], which is its reverse with `affine`.
/// `mean` and `rstd` are the statistics of `gelu(h)`.
///
/// # Panics
/// As [`adjoint`].
#[allow(clippy::too_many_arguments)]
pub fn gelu_adjoint(
    s: &NormShape,
    h: &[f32],
    gamma: &[f32],
    mean: &[f32],
    rstd: &[f32],
    g: &[f32],
    y: &mut [f32],
    affine: Option<(&mut [f32], &mut [f32])>,
) {
    adjoint_on::<Gelu>(Isa::current(), s, h, gamma, mean, rstd, g, y, affine);
}

/// [`adjoint`], or [`gelu_adjoint`] if `gelu` is set, into new memory: `[y, d_gamma, d_beta]`.
///
/// # Panics
/// As [`adjoint`].
pub fn adjoint_new(
    s: &NormShape,
    x: &[f32],
    [gamma, mean, rstd]: [&[f32]; 3],
    g: &[f32],
    gelu: bool,
) -> [Vec<f32>; 3] {
    let (isa, channels) = (Isa::current(), s.batch * s.channels);
    let (mut d_gamma, mut d_beta) = (vec![0.0; channels], vec![0.0; channels]);
    let affine = Some((&mut d_gamma[..], &mut d_beta[..]));
    let to = if gelu { adjoint_to::<Gelu> } else { adjoint_to::<Identity> };
    // SAFETY: every value is written.
    let [y] = unsafe { fresh::vectors([x.len()], |[y]| to(isa, s, x, gamma, mean, rstd, g, y, affine)) };
    [y, d_gamma, d_beta]
}

#[allow(clippy::too_many_arguments)]
fn adjoint_on<A: Activation>(
    isa: Isa,
    s: &NormShape,
    h: &[f32],
    gamma: &[f32],
    mean: &[f32],
    rstd: &[f32],
    g: &[f32],
    y: &mut [f32],
    affine: Option<(&mut [f32], &mut [f32])>,
) {
    // SAFETY: values are written.
    adjoint_to::<A>(isa, s, h, gamma, mean, rstd, g, unsafe { as_unwritten(y) }, affine);
}

/// Writes every value of `y`.
#[allow(clippy::too_many_arguments)]
fn adjoint_to<A: Activation>(
    isa: Isa,
    s: &NormShape,
    h: &[f32],
    gamma: &[f32],
    mean: &[f32],
    rstd: &[f32],
    g: &[f32],
    y: &mut [MaybeUninit<f32>],
    affine: Option<(&mut [f32], &mut [f32])>,
) {
    s.check("norm::adjoint", &[h.len(), g.len(), y.len()], &[gamma.len()], &[mean.len(), rstd.len()]);
    let affine: Vec<_> = match affine {
        None => (0..s.batch).map(|_| None).collect(),
        Some((d_gamma, d_beta)) => {
            s.check("norm::adjoint", &[], &[d_gamma.len(), d_beta.len()], &[]);
            d_gamma.chunks_mut(s.channels).zip(d_beta.chunks_mut(s.channels)).map(Some).collect()
        }
    };
    let rows = s.rows();
    rows.images(y.chunks_mut(s.image()).zip(affine).collect(), |n, (y, affine)| {
        let y = zeroed(y);
        let (h, g) = (&h[n * s.image()..][..s.image()], &g[n * s.image()..][..s.image()]);
        let gamma = &gamma[n * s.channels..][..s.channels];
        let stats = |c: usize| {
            let at = n * s.groups + rows.group(c);
            [mean[at], rstd[at]].map(f64::from)
        };
        let mu = rows.along_row(|c| stats(c)[0]);
        let sums = rows.sums::<2>(y, |at, y, sums| {
            loops::adjoint_sums::<A>(isa, &h[at.clone()], &g[at], &mu, y, sums);
        });
        // From here on every sum of x is one of xh.
        let channel = |c: usize| [sums[c], sums[s.channels + c] * stats(c)[1]];
        let means = rows.means(|c| channel(c).map(|sum| sum * f64::from(gamma[c])));
        let table = rows.tables(|c| {
            let ([q_mean, m], [mu, r]) = (means[rows.group(c)], stats(c));
            [mu, r * f64::from(gamma[c]), -r * r * m, -r * q_mean]
        });
        rows.write([y], |at, [y]| loops::adjoint_write::<A>(isa, &h[at.clone()], &g[at], &table, y));
        if let Some((d_gamma, d_beta)) = affine {
            for c in 0..s.channels {
                (d_beta[c], d_gamma[c]) = (channel(c)[0] as f32, channel(c)[1] as f32);
            }
        }
    });
}

/// The reverse of [`adjoint`] for the cotangent `v`: `dg`, `d_gamma` and `dx` as the module's page states.
///
/// # Panics
/// If a slice does not have the length that the shape says, or the groups do not divide the channels.
#[allow(clippy::too_many_arguments)]
pub fn adjoint_reverse(
    s: &NormShape,
    x: &[f32],
    gamma: &[f32],
    mean: &[f32],
    rstd: &[f32],
    g: &[f32],
    v: &[f32],
    dg: &mut [f32],
    d_gamma: &mut [f32],
    dx: &mut [f32],
) {
    adjoint_reverse_on::<Identity>(Isa::current(), s, x, gamma, mean, rstd, g, v, dg, d_gamma, dx);
}

/// The reverse of [`gelu_adjoint`] for the cotangent `v`: `dg`, `d_gamma` and `dh` as the module's page
/// states.
///
/// # Panics
/// As [`adjoint_reverse`].
#[allow(clippy::too_many_arguments)]
pub fn gelu_adjoint_reverse(
    s: &NormShape,
    h: &[f32],
    gamma: &[f32],
    mean: &[f32],
    rstd: &[f32],
    g: &[f32],
    v: &[f32],
    dg: &mut [f32],
    d_gamma: &mut [f32],
    dh: &mut [f32],
) {
    adjoint_reverse_on::<Gelu>(Isa::current(), s, h, gamma, mean, rstd, g, v, dg, d_gamma, dh);
}

/// [`adjoint_reverse`], or [`gelu_adjoint_reverse`] if `gelu` is set, into new memory: `[dg, d_gamma, dx]`.
///
/// # Panics
/// As [`adjoint_reverse`].
pub fn adjoint_reverse_new(
    s: &NormShape,
    x: &[f32],
    [gamma, mean, rstd]: [&[f32]; 3],
    g: &[f32],
    v: &[f32],
    gelu: bool,
) -> [Vec<f32>; 3] {
    let (isa, mut d_gamma) = (Isa::current(), vec![0.0; s.batch * s.channels]);
    let to = if gelu { adjoint_reverse_to::<Gelu> } else { adjoint_reverse_to::<Identity> };
    // SAFETY: every value is written.
    let [dg, dx] = unsafe {
        fresh::vectors([x.len(); 2], |[dg, dx]| {
            to(isa, s, x, gamma, mean, rstd, g, v, dg, &mut d_gamma, dx);
        })
    };
    [dg, d_gamma, dx]
}

#[allow(clippy::too_many_arguments)]
fn adjoint_reverse_on<A: Activation>(
    isa: Isa,
    s: &NormShape,
    h: &[f32],
    gamma: &[f32],
    mean: &[f32],
    rstd: &[f32],
    g: &[f32],
    v: &[f32],
    dg: &mut [f32],
    d_gamma: &mut [f32],
    dh: &mut [f32],
) {
    // SAFETY: values are written.
    let (dg, dh) = unsafe { (as_unwritten(dg), as_unwritten(dh)) };
    adjoint_reverse_to::<A>(isa, s, h, gamma, mean, rstd, g, v, dg, d_gamma, dh);
}

/// Writes every value of `dg` and `dh`.
#[allow(clippy::too_many_arguments)]
fn adjoint_reverse_to<A: Activation>(
    isa: Isa,
    s: &NormShape,
    h: &[f32],
    gamma: &[f32],
    mean: &[f32],
    rstd: &[f32],
    g: &[f32],
    v: &[f32],
    dg: &mut [MaybeUninit<f32>],
    d_gamma: &mut [f32],
    dh: &mut [MaybeUninit<f32>],
) {
    s.check(
        "norm::adjoint_reverse",
        &[h.len(), g.len(), v.len(), dg.len(), dh.len()],
        &[gamma.len(), d_gamma.len()],
        &[mean.len(), rstd.len()],
    );
    let rows = s.rows();
    let outputs = dg.chunks_mut(s.image()).zip(dh.chunks_mut(s.image())).zip(d_gamma.chunks_mut(s.channels));
    rows.images(outputs.collect(), |n, ((dg, dh), d_gamma)| {
        let (dg, dh) = (zeroed(dg), zeroed(dh));
        let image = n * s.image()..(n + 1) * s.image();
        let (h, g, v) = (&h[image.clone()], &g[image.clone()], &v[image]);
        let gamma = &gamma[n * s.channels..][..s.channels];
        let stats = |c: usize| {
            let at = n * s.groups + rows.group(c);
            [mean[at], rstd[at]].map(f64::from)
        };
        let mu = rows.along_row(|c| stats(c)[0]);
        let sums = rows.sums::<5>(dh, |at, dh, sums| {
            loops::reverse_sums::<A>(isa, &h[at.clone()], &g[at.clone()], &v[at], &mu, dh, sums);
        });
        // Of g, g*xh, v, v*xh, v*g, with gelu'(h)*v for v behind a GELU.
        let channel = |c: usize| {
            let [_, r] = stats(c);
            let [g, gx, v, vx, vg] = std::array::from_fn(|kind| sums[kind * s.channels + c]);
            [g, gx * r, v, vx * r, vg]
        };
        let means = rows.means(|c| {
            let ([g, gx, v, vx, vg], gamma) = (channel(c), f64::from(gamma[c]));
            [gamma * g, gamma * gx, v, vx, gamma * vg]
        });
        // A(q) = r*gamma*g - r^2*m*(x - mean) - r*mean q and likewise A(v); what follows collects the
        // factors of each input.
        let table = rows.tables::<REVERSE>(|c| {
            let ([mu, r], gamma) = (stats(c), f64::from(gamma[c]));
            let [q_mean, m, v_mean, k, vq_mean] = means[rows.group(c)];
            let spread = vq_mean - v_mean * q_mean - m * k;
            let a_g = r * gamma;
            let a_x = -r * r * m;
            let a_1 = -r * q_mean;
            let [dg_v, dg_x, dg_1] = [gamma * r, -gamma * r * r * k, -gamma * r * v_mean];
            let [dx_x, dx_1] = [r.powi(3) * (2.0 * k * m - spread), r * r * (k * q_mean + m * v_mean)];
            [mu, dg_v, dg_x, dg_1, dx_x, -r * k * a_g, a_x, dx_1, a_g, a_1]
        });
        rows.write([dg, dh], |at, [dg, dh]| {
            loops::reverse_write::<A>(isa, &h[at.clone()], &g[at.clone()], &v[at], &table, dg, dh);
        });
        for (c, d_gamma) in d_gamma.iter_mut().enumerate() {
            let ([_, r], [g, gx, _, _, vg]) = (stats(c), channel(c));
            let [_, _, v_mean, k, _] = means[rows.group(c)];
            *d_gamma = (r * (vg - v_mean * g - k * gx)) as f32;
        }
    });
}
