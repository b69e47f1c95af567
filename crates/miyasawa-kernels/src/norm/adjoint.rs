//! The gradients of a forward pass.

use crate::isa::Isa;
use crate::uninit::{self, zeroed};

use super::loops::{self, Activation};
use super::{NormShape, Saved, means, part, rows};

pub(super) fn adjoint<A: Activation>(
    isa: Isa,
    s: &NormShape,
    saved: Saved,
    g: &[f32],
) -> [Vec<f32>; 3] {
    saved.check("norm::adjoint", s, &[g]);
    let (rows, channels) = (rows(s), s.batch * s.channels);
    let (mut d_gamma, mut d_beta) = (vec![0.0; channels], vec![0.0; channels]);
    let image = |n: usize, dh: &mut [f32], d_gamma: &mut [f32], d_beta: &mut [f32]| {
        let saved = saved.image(s, n);
        let (h, g) = (saved.h, part(g, n, s.image_len()));
        let mu = rows.along_row(|c| saved.statistics(rows.group(c))[0]);
        let sums = rows.sums::<2>(dh, |at, dh, sums| {
            loops::adjoint_sums::<A>(isa, &h[at.clone()], &g[at], &mu, dh, sums);
        });
        // From here on every sum of x is one of xh.
        let channel =
            |c: usize| [sums[c], sums[s.channels + c] * saved.statistics(rows.group(c))[1]];
        let means = means(s, |c| channel(c).map(|sum| sum * f64::from(saved.gamma[c])));
        let table = rows.tables(|c| {
            let group = rows.group(c);
            let ([q_mean, m], [mu, r]) = (means[group], saved.statistics(group));
            [mu, r * f64::from(saved.gamma[c]), -r * r * m, -r * q_mean]
        });
        rows.write([dh], |at, [dh]| {
            loops::adjoint_write::<A>(isa, &h[at.clone()], &g[at], &table, dh)
        });
        for c in 0..s.channels {
            [d_beta[c], d_gamma[c]] = channel(c).map(|sum| sum as f32);
        }
    };
    // SAFETY: every value is written.
    let [dh] = unsafe {
        uninit::vectors([g.len()], |[dh]| {
            let affine = d_gamma.chunks_mut(s.channels).zip(d_beta.chunks_mut(s.channels));
            rows.images(
                dh.chunks_mut(s.image_len()).zip(affine).collect(),
                |n, (dh, (d_gamma, d_beta))| {
                    image(n, zeroed(dh), d_gamma, d_beta);
                },
            );
        })
    };
    [dh, d_gamma, d_beta]
}
