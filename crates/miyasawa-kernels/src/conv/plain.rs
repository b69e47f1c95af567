//! The definition of the three passes in plain loops: the reference for every other implementation.

use rayon::prelude::*;

use super::ConvShape;

/// `y = conv(x, w) (+ addend)`.
pub(super) fn forward(s: &ConvShape, x: &[f32], w: &[f32], addend: Option<&[f32]>, y: &mut [f32]) {
    let (kk, row_len) = (s.kernel * s.kernel, s.out_width() * s.out_channels);
    // [tap][in][out], so that the innermost loop runs over output channels.
    let mut packed = vec![0.0; w.len()];
    for o in 0..s.out_channels {
        for i in 0..s.in_channels {
            for t in 0..kk {
                packed[(t * s.in_channels + i) * s.out_channels + o] =
                    w[(o * s.in_channels + i) * kk + t];
            }
        }
    }
    y.par_chunks_mut(row_len).enumerate().for_each(|(row, y)| {
        let (n, oy) = (row / s.out_height(), row % s.out_height());
        match addend {
            Some(a) => y.copy_from_slice(&a[row * row_len..][..row_len]),
            None => y.fill(0.0),
        }
        for (ox, y) in y.chunks_exact_mut(s.out_channels).enumerate() {
            for ky in 0..s.kernel {
                let Some(iy) = s.tap(oy, ky, s.height) else { continue };
                for kx in 0..s.kernel {
                    let Some(ix) = s.tap(ox, kx, s.width) else { continue };
                    let x =
                        &x[((n * s.height + iy) * s.width + ix) * s.in_channels..][..s.in_channels];
                    let w = &packed[(ky * s.kernel + kx) * s.in_channels * s.out_channels..];
                    for (x, w) in x.iter().zip(w.chunks_exact(s.out_channels)) {
                        for (y, w) in y.iter_mut().zip(w) {
                            *y += x * w;
                        }
                    }
                }
            }
        }
    });
}

/// `x = conv^T(g, w) (+ addend)`: the gradient for the input of a convolution with the shape `s`.
pub(super) fn adjoint(s: &ConvShape, g: &[f32], w: &[f32], addend: Option<&[f32]>, x: &mut [f32]) {
    let kk = s.kernel * s.kernel;
    // [tap][out][in], so that the innermost loop runs over input channels.
    let mut packed = vec![0.0; w.len()];
    for o in 0..s.out_channels {
        for i in 0..s.in_channels {
            for t in 0..kk {
                packed[(t * s.out_channels + o) * s.in_channels + i] =
                    w[(o * s.in_channels + i) * kk + t];
            }
        }
    }
    let (image, (oh, ow)) = (s.height * s.width * s.in_channels, (s.out_height(), s.out_width()));
    x.par_chunks_mut(image).enumerate().for_each(|(n, x)| {
        match addend {
            Some(a) => x.copy_from_slice(&a[n * image..][..image]),
            None => x.fill(0.0),
        }
        for oy in 0..oh {
            for ox in 0..ow {
                let g = &g[((n * oh + oy) * ow + ox) * s.out_channels..][..s.out_channels];
                for ky in 0..s.kernel {
                    let Some(iy) = s.tap(oy, ky, s.height) else { continue };
                    for kx in 0..s.kernel {
                        let Some(ix) = s.tap(ox, kx, s.width) else { continue };
                        let x = &mut x[(iy * s.width + ix) * s.in_channels..][..s.in_channels];
                        let w = &packed[(ky * s.kernel + kx) * s.in_channels * s.out_channels..];
                        for (g, w) in g.iter().zip(w.chunks_exact(s.in_channels)) {
                            for (x, w) in x.iter_mut().zip(w) {
                                *x += g * w;
                            }
                        }
                    }
                }
            }
        }
    });
}

/// `dw[o, i, ky, kx] = sum over images and pixels of g[., o]*x[., i]` at the tap's offset.
pub(super) fn weight_grad(s: &ConvShape, x: &[f32], g: &[f32], dw: &mut [f32]) {
    let (oh, ow, kk) = (s.out_height(), s.out_width(), s.kernel * s.kernel);
    dw.par_chunks_mut(s.in_channels * kk).enumerate().for_each(|(o, dw)| {
        let mut sums = vec![0.0f32; dw.len()];
        for n in 0..s.batch {
            for oy in 0..oh {
                for ox in 0..ow {
                    let g = g[((n * oh + oy) * ow + ox) * s.out_channels + o];
                    for ky in 0..s.kernel {
                        let Some(iy) = s.tap(oy, ky, s.height) else { continue };
                        for kx in 0..s.kernel {
                            let Some(ix) = s.tap(ox, kx, s.width) else { continue };
                            let x = &x[((n * s.height + iy) * s.width + ix) * s.in_channels..]
                                [..s.in_channels];
                            let sums =
                                &mut sums[(ky * s.kernel + kx) * s.in_channels..][..s.in_channels];
                            for (sum, x) in sums.iter_mut().zip(x) {
                                *sum += g * x;
                            }
                        }
                    }
                }
            }
        }
        for (t, sums) in sums.chunks_exact(s.in_channels).enumerate() {
            for (i, sum) in sums.iter().enumerate() {
                dw[i * kk + t] = *sum;
            }
        }
    });
}
