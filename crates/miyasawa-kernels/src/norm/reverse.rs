//! The reverse of the adjoint.

use crate::isa::Isa;
use crate::uninit::{self, zeroed};

use super::loops::{self, Activation, REVERSE};
use super::{NormShape, Saved, means, part, rows};

pub(super) fn reverse<A: Activation>(
    isa: Isa,
    s: &NormShape,
    saved: Saved,
    g: &[f32],
    v: &[f32],
) -> [Vec<f32>; 3] {
    saved.check("norm::adjoint_reverse", s, &[g, v]);
    let (rows, mut d_gamma) = (rows(s), vec![0.0; s.batch * s.channels]);
    let image = |n: usize, dg: &mut [f32], dh: &mut [f32], d_gamma: &mut [f32]| {
        let saved = saved.image(s, n);
        let (h, g, v) = (saved.h, part(g, n, s.image_len()), part(v, n, s.image_len()));
        let mu = rows.along_row(|c| saved.statistics(rows.group(c))[0]);
        let sums = rows.sums::<5>(dh, |at, dh, sums| {
            loops::reverse_sums::<A>(isa, &h[at.clone()], &g[at.clone()], &v[at], &mu, dh, sums);
        });
        // Of g, g*xh, v, v*xh, v*g, with gelu'(h)*v for v behind a GELU.
        let channel = |c: usize| {
            let [_, r] = saved.statistics(rows.group(c));
            let [g, gx, v, vx, vg] = std::array::from_fn(|kind| sums[kind * s.channels + c]);
            [g, gx * r, v, vx * r, vg]
        };
        let means = means(s, |c| {
            let ([g, gx, v, vx, vg], gamma) = (channel(c), f64::from(saved.gamma[c]));
            [gamma * g, gamma * gx, v, vx, gamma * vg]
        });
        // A(q) = r*gamma*g - r^2*m*(x - mean) - r*mean q and likewise A(v); the lines below collect
        // the factors of each input.
        let table = rows.tables::<REVERSE>(|c| {
            let (group, gamma) = (rows.group(c), f64::from(saved.gamma[c]));
            let ([mu, r], [q_mean, m, v_mean, k, vq_mean]) =
                (saved.statistics(group), means[group]);
            let spread = vq_mean - v_mean * q_mean - m * k;
            let a_g = r * gamma;
            let a_x = -r * r * m;
            let a_1 = -r * q_mean;
            let [dg_v, dg_x, dg_1] = [gamma * r, -gamma * r * r * k, -gamma * r * v_mean];
            let [dx_x, dx_1] =
                [r.powi(3) * (2.0 * k * m - spread), r * r * (k * q_mean + m * v_mean)];
            [mu, dg_v, dg_x, dg_1, dx_x, -r * k * a_g, a_x, dx_1, a_g, a_1]
        });
        rows.write([dg, dh], |at, [dg, dh]| {
            loops::reverse_write::<A>(isa, &h[at.clone()], &g[at.clone()], &v[at], &table, dg, dh);
        });
        for (c, d_gamma) in d_gamma.iter_mut().enumerate() {
            let (group, [g, gx, _, _, vg]) = (rows.group(c), channel(c));
            let ([_, r], [_, _, v_mean, k, _]) = (saved.statistics(group), means[group]);
            *d_gamma = (r * (vg - v_mean * g - k * gx)) as f32;
        }
    };
    // SAFETY: every value is written.
    let [dg, dh] = unsafe {
        uninit::vectors([g.len(); 2], |[dg, dh]| {
            let outputs = dg
                .chunks_mut(s.image_len())
                .zip(dh.chunks_mut(s.image_len()))
                .zip(d_gamma.chunks_mut(s.channels));
            rows.images(outputs.collect(), |n, ((dg, dh), d_gamma)| {
                image(n, zeroed(dg), zeroed(dh), d_gamma)
            });
        })
    };
    [dg, d_gamma, dh]
}
