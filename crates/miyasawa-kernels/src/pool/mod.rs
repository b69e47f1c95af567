//! Mean over the pixels of an image, and its adjoint.

use crate::isa::Isa;
use crate::multiversion::multiversion;
use crate::rows::{Rows, Sums, TILE};
use crate::uninit::{self, zeroed};

#[cfg(test)]
mod tests;

multiversion! {
    /// Sums of `x` for every position in a row.
    fn add_sums(x: &[f32], row: usize, sums: &mut [f64]) {
        for start in (0..row).step_by(TILE) {
            let mut acc = Sums([[0.0f32; TILE]; 1]);
            for at in (start..x.len()).step_by(row) {
                let n = TILE.min(row - start).min(x.len() - at);
                acc.0[0].iter_mut().zip(&x[at..at + n]).for_each(|(acc, x)| *acc += x);
            }
            acc.add_to(sums, start, row);
        }
    }
}

multiversion! {
    /// `x = table + addend`, the table repeated.
    fn spread(table: &[f32], addend: &[f32], x: &mut [f32]) {
        for (x, a) in x.chunks_mut(table.len()).zip(addend.chunks(table.len())) {
            for ((x, a), t) in x.iter_mut().zip(a).zip(table) {
                *x = t + a;
            }
        }
    }
}

fn rows(name: &str, batch: usize, pixels: usize, channels: usize) -> Rows {
    assert!(pixels > 0 && channels > 0, "{name}: no pixels or no channels");
    Rows::new(batch, pixels, channels, 1)
}

/// Computes `y[n, c] = mean over pixels of x[n, p, c]`; `x` is `[batch, pixels, channels]`, `y` is
/// `[batch, channels]`.
///
/// # Panics
/// If a slice does not have the length that the shape says.
pub fn forward(batch: usize, pixels: usize, channels: usize, x: &[f32]) -> Vec<f32> {
    forward_on(Isa::current(), batch, pixels, channels, x)
}

fn forward_on(isa: Isa, batch: usize, pixels: usize, channels: usize, x: &[f32]) -> Vec<f32> {
    assert_eq!(x.len(), batch * pixels * channels, "pool::forward: length of x");
    let rows = rows("pool::forward", batch, pixels, channels);
    let mut y = vec![0.0; batch * channels];
    rows.images(y.chunks_mut(channels).collect(), |n, y| {
        let x = &x[n * pixels * channels..][..pixels * channels];
        let totals = rows.read_sums::<1>(|at, lanes| add_sums(isa, &x[at], rows.row, lanes));
        for (y, total) in y.iter_mut().zip(totals) {
            *y = (total / pixels as f64) as f32;
        }
    });
    y
}

/// Computes `x[n, p, c] = g[n, c] / pixels (+ addend[n, p, c])`: the adjoint of [`forward`], fused
/// with the addition of another gradient, as networks with several heads need it.
///
/// # Panics
/// If a slice does not have the length that the shape says.
pub fn adjoint(
    batch: usize,
    pixels: usize,
    channels: usize,
    g: &[f32],
    addend: Option<&[f32]>,
) -> Vec<f32> {
    adjoint_on(Isa::current(), batch, pixels, channels, g, addend)
}

fn adjoint_on(
    isa: Isa,
    batch: usize,
    pixels: usize,
    channels: usize,
    g: &[f32],
    addend: Option<&[f32]>,
) -> Vec<f32> {
    let image = pixels * channels;
    assert_eq!(g.len(), batch * channels, "pool::adjoint: length of g");
    if let Some(a) = addend {
        assert_eq!(a.len(), batch * image, "pool::adjoint: length of addend");
    }
    let rows = rows("pool::adjoint", batch, pixels, channels);
    // SAFETY: every value is written.
    let [x] = unsafe {
        uninit::vectors([batch * image], |[x]| {
            rows.images(x.chunks_mut(image).collect(), |n, x| {
                let x = zeroed(x);
                let g = &g[n * channels..][..channels];
                let table = rows.tables(|c| [f64::from(g[c]) / pixels as f64]);
                let addend = addend.map(|a| &a[n * image..][..image]);
                rows.write([x], |at, [x]| match addend {
                    Some(a) => spread(isa, &table, &a[at], x),
                    None => {
                        x.chunks_mut(table.len()).for_each(|x| x.copy_from_slice(&table[..x.len()]))
                    }
                });
            });
        })
    };
    x
}
