//! The forward pass: the statistics of every group, and the normalised values.

use crate::isa::Isa;
use crate::uninit::{self, zeroed};

use super::loops::{self, Activation};
use super::{NormShape, Statistics, means, part, rows};

pub(super) fn forward<A: Activation>(
    isa: Isa,
    s: &NormShape,
    h: &[f32],
    gamma: &[f32],
    beta: &[f32],
) -> [Vec<f32>; 3] {
    s.check("norm::forward", &[h], &[gamma, beta], &[]);
    let (rows, statistics) = (rows(s), s.batch * s.groups);
    let (mut mean, mut rstd) = (vec![0.0; statistics], vec![0.0; statistics]);
    let image = |n: usize, y: &mut [f32], mean: &mut [f32], rstd: &mut [f32]| {
        let h = part(h, n, s.image_len());
        let (gamma, beta) = (part(gamma, n, s.channels), part(beta, n, s.channels));
        let sums = rows.sums::<2>(y, |at, y, sums| {
            if A::IDENTITY {
                loops::moments(isa, &h[at], rows.row, sums);
            } else {
                crate::gelu::forward_chunk(isa, &h[at], y);
                loops::moments(isa, y, rows.row, sums);
            }
        });
        let (sums, squares) = sums.split_at(s.channels);
        for (group, [mu, square]) in means(s, |c| [sums[c], squares[c]]).into_iter().enumerate() {
            let variance = match s.statistics {
                Statistics::Group { epsilon } => (square - mu * mu).max(0.0) + f64::from(epsilon),
                Statistics::Fixed => 1.0,
            };
            (mean[group], rstd[group]) = (mu as f32, (1.0 / variance.sqrt()) as f32);
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
    };
    // SAFETY: every value is written.
    let [y] = unsafe {
        uninit::vectors([h.len()], |[y]| {
            let images = y
                .chunks_mut(s.image_len())
                .zip(mean.chunks_mut(s.groups))
                .zip(rstd.chunks_mut(s.groups));
            rows.images(images.collect(), |n, ((y, mean), rstd)| image(n, zeroed(y), mean, rstd));
        })
    };
    [y, mean, rstd]
}
