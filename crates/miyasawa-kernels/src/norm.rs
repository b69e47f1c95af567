//! Group normalisation (Wu & He 2018) with a scale and shift for every image and channel, and its
//! first- and second-order adjoints.
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

use rayon::prelude::*;

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
            self.groups > 0 && self.channels.is_multiple_of(self.groups),
            "{name}: {} channels in {} groups",
            self.channels,
            self.groups
        );
        let image = self.batch * self.channels;
        for (lens, expected) in
            [(activations, image * self.pixels), (per_channel, image), (stats, self.batch * self.groups)]
        {
            for &len in lens {
                assert_eq!(len, expected, "{name}: length of a slice for {self:?}");
            }
        }
    }

    fn image(&self) -> usize {
        self.pixels * self.channels
    }

    /// Calls `visit(flat index in the image, channel)` for the values of a group.
    fn each(&self, group: usize, mut visit: impl FnMut(usize, usize)) {
        let width = self.channels / self.groups;
        for p in 0..self.pixels {
            for c in group * width..(group + 1) * width {
                visit(p * self.channels + c, c);
            }
        }
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
    s.check("norm::forward", &[x.len(), y.len()], &[gamma.len(), beta.len()], &[mean.len(), rstd.len()]);
    let count = (s.image() / s.groups) as f64;
    y.par_chunks_mut(s.image())
        .zip(x.par_chunks(s.image()))
        .zip(gamma.par_chunks(s.channels).zip(beta.par_chunks(s.channels)))
        .zip(mean.par_chunks_mut(s.groups).zip(rstd.par_chunks_mut(s.groups)))
        .for_each(|(((y, x), (gamma, beta)), (mean, rstd))| {
            for group in 0..s.groups {
                let mut sum = 0.0f64;
                s.each(group, |i, _| sum += f64::from(x[i]));
                let mu = sum / count;
                let mut square = 0.0f64;
                s.each(group, |i, _| square += (f64::from(x[i]) - mu).powi(2));
                let r = 1.0 / (square / count + f64::from(EPSILON)).sqrt();
                (mean[group], rstd[group]) = (mu as f32, r as f32);
                s.each(group, |i, c| y[i] = (x[i] - mu as f32) * r as f32 * gamma[c] + beta[c]);
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
    s.check("norm::adjoint", &[x.len(), g.len(), y.len()], &[gamma.len()], &[mean.len(), rstd.len()]);
    let count = (s.image() / s.groups) as f64;
    y.par_chunks_mut(s.image())
        .zip(x.par_chunks(s.image()))
        .zip(g.par_chunks(s.image()))
        .enumerate()
        .for_each(|(n, ((y, x), g))| {
            for group in 0..s.groups {
                let (mu, r) = (mean[n * s.groups + group], rstd[n * s.groups + group]);
                let gamma = &gamma[n * s.channels..][..s.channels];
                let (mut q_sum, mut qx_sum) = (0.0f64, 0.0f64);
                s.each(group, |i, c| {
                    let q = f64::from(gamma[c] * g[i]);
                    q_sum += q;
                    qx_sum += q * f64::from((x[i] - mu) * r);
                });
                let (q_mean, qx_mean) = ((q_sum / count) as f32, (qx_sum / count) as f32);
                s.each(group, |i, c| y[i] = r * (gamma[c] * g[i] - q_mean - (x[i] - mu) * r * qx_mean));
            }
        });
    let Some((d_gamma, d_beta)) = affine else { return };
    s.check("norm::adjoint", &[], &[d_gamma.len(), d_beta.len()], &[]);
    d_gamma.par_chunks_mut(s.channels).zip(d_beta.par_chunks_mut(s.channels)).enumerate().for_each(
        |(n, (d_gamma, d_beta))| {
            let (x, g) = (&x[n * s.image()..][..s.image()], &g[n * s.image()..][..s.image()]);
            d_gamma.fill(0.0);
            d_beta.fill(0.0);
            for group in 0..s.groups {
                let (mu, r) = (mean[n * s.groups + group], rstd[n * s.groups + group]);
                s.each(group, |i, c| {
                    d_gamma[c] += g[i] * (x[i] - mu) * r;
                    d_beta[c] += g[i];
                });
            }
        },
    );
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
    s.check(
        "norm::adjoint_reverse",
        &[x.len(), g.len(), v.len(), dg.len(), dx.len()],
        &[gamma.len(), d_gamma.len()],
        &[mean.len(), rstd.len()],
    );
    let count = (s.image() / s.groups) as f64;
    dx.par_chunks_mut(s.image())
        .zip(dg.par_chunks_mut(s.image()))
        .zip(d_gamma.par_chunks_mut(s.channels))
        .enumerate()
        .for_each(|(n, ((dx, dg), d_gamma))| {
            let at = n * s.image()..(n + 1) * s.image();
            let (x, g, v) = (&x[at.clone()], &g[at.clone()], &v[at]);
            let gamma = &gamma[n * s.channels..][..s.channels];
            d_gamma.fill(0.0);
            for group in 0..s.groups {
                let (mu, r) = (mean[n * s.groups + group], rstd[n * s.groups + group]);
                let mut sums = [0.0f64; 5];
                s.each(group, |i, c| {
                    let (q, v) = (f64::from(gamma[c] * g[i]), f64::from(v[i]));
                    let xh = f64::from((x[i] - mu) * r);
                    for (sum, value) in sums.iter_mut().zip([q, q * xh, v, v * xh, v * q]) {
                        *sum += value;
                    }
                });
                let [q_mean, m, v_mean, k, vq_mean] = sums.map(|sum| sum / count);
                let spread = (vq_mean - v_mean * q_mean - m * k) as f32;
                let [q_mean, m, v_mean, k] = [q_mean, m, v_mean, k].map(|value| value as f32);
                s.each(group, |i, c| {
                    let xh = (x[i] - mu) * r;
                    let a_q = r * (gamma[c] * g[i] - q_mean - xh * m);
                    let a_v = r * (v[i] - v_mean - xh * k);
                    dg[i] = gamma[c] * a_v;
                    d_gamma[c] += g[i] * a_v;
                    dx[i] = -r * r * xh * spread - r * (k * a_q + m * a_v);
                });
            }
        });
}
