//! Mean over the pixels of an image, and its adjoint.

use rayon::prelude::*;

/// `y[n, c] = mean over pixels of x[n, p, c]`; `x` is `[batch, pixels, channels]`, `y` is `[batch, channels]`.
///
/// # Panics
/// If a slice does not have the length that the shape says.
pub fn forward(batch: usize, pixels: usize, channels: usize, x: &[f32], y: &mut [f32]) {
    assert_eq!(x.len(), batch * pixels * channels, "pool::forward: length of x");
    assert_eq!(y.len(), batch * channels, "pool::forward: length of y");
    let scale = 1.0 / pixels as f32;
    y.par_chunks_mut(channels).zip(x.par_chunks(pixels * channels)).for_each(|(y, x)| {
        y.fill(0.0);
        for row in x.chunks_exact(channels) {
            for (y, x) in y.iter_mut().zip(row) {
                *y += x;
            }
        }
        for y in y {
            *y *= scale;
        }
    });
}

/// `x[n, p, c] = g[n, c] / pixels (+ addend[n, p, c])`: the adjoint of [`forward`], fused with the sum
/// that a network with several heads takes of it.
///
/// # Panics
/// If a slice does not have the length that the shape says.
pub fn adjoint(
    batch: usize,
    pixels: usize,
    channels: usize,
    g: &[f32],
    addend: Option<&[f32]>,
    x: &mut [f32],
) {
    assert_eq!(g.len(), batch * channels, "pool::adjoint: length of g");
    assert_eq!(x.len(), batch * pixels * channels, "pool::adjoint: length of x");
    if let Some(a) = addend {
        assert_eq!(a.len(), x.len(), "pool::adjoint: length of addend");
    }
    let scale = 1.0 / pixels as f32;
    let image = pixels * channels;
    x.par_chunks_mut(image).zip(g.par_chunks(channels)).enumerate().for_each(|(n, (x, g))| {
        let rows = x.chunks_exact_mut(channels);
        match addend {
            None => rows.for_each(|row| row.iter_mut().zip(g).for_each(|(x, g)| *x = g * scale)),
            Some(a) => rows.zip(a[n * image..][..image].chunks_exact(channels)).for_each(|(row, a)| {
                for ((x, g), a) in row.iter_mut().zip(g).zip(a) {
                    *x = g * scale + a;
                }
            }),
        }
    });
}
