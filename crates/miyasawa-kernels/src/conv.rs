//! Square-kernel two-dimensional convolution without bias, its adjoint and its weight gradient.

use rayon::prelude::*;

/// The geometry of a convolution: `x` is `[batch, height, width, in_channels]`, `y` is
/// `[batch, out_height(), out_width(), out_channels]`, `w` is `[out_channels, in_channels, kernel, kernel]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvShape {
    /// Images.
    pub batch: usize,
    /// Height of the input.
    pub height: usize,
    /// Width of the input.
    pub width: usize,
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Side of the kernel.
    pub kernel: usize,
    /// Step between output pixels.
    pub stride: usize,
    /// Zeros around the input.
    pub padding: usize,
}

impl ConvShape {
    /// Height of the output.
    pub fn out_height(&self) -> usize {
        (self.height + 2 * self.padding - self.kernel) / self.stride + 1
    }

    /// Width of the output.
    pub fn out_width(&self) -> usize {
        (self.width + 2 * self.padding - self.kernel) / self.stride + 1
    }

    /// Number of values of the input.
    pub fn input_len(&self) -> usize {
        self.batch * self.height * self.width * self.in_channels
    }

    /// Number of values of the output.
    pub fn output_len(&self) -> usize {
        self.batch * self.out_height() * self.out_width() * self.out_channels
    }

    /// Number of weights.
    pub fn weight_len(&self) -> usize {
        self.out_channels * self.in_channels * self.kernel * self.kernel
    }

    /// Multiply-adds of one pass (forward, adjoint or weight gradient).
    pub fn multiply_adds(&self) -> usize {
        self.output_len() * self.in_channels * self.kernel * self.kernel
    }

    fn check(&self, name: &str, x: usize, w: usize, y: usize) {
        assert!(self.stride > 0 && self.kernel > 0, "{name}: {self:?}");
        assert!(self.height + 2 * self.padding >= self.kernel, "{name}: {self:?}");
        assert!(self.width + 2 * self.padding >= self.kernel, "{name}: {self:?}");
        assert_eq!(x, self.input_len(), "{name}: length of the input for {self:?}");
        assert_eq!(w, self.weight_len(), "{name}: length of the weights for {self:?}");
        assert_eq!(y, self.output_len(), "{name}: length of the output for {self:?}");
    }

    /// The input row or column that output position `o` and kernel tap `k` meet, if it is inside.
    fn tap(&self, o: usize, k: usize, extent: usize) -> Option<usize> {
        (o * self.stride + k).checked_sub(self.padding).filter(|&i| i < extent)
    }
}

/// `y = conv(x, w) (+ addend)`.
///
/// # Panics
/// If a slice does not have the length that the shape says.
pub fn forward(s: &ConvShape, x: &[f32], w: &[f32], addend: Option<&[f32]>, y: &mut [f32]) {
    s.check("conv::forward", x.len(), w.len(), y.len());
    if let Some(a) = addend {
        assert_eq!(a.len(), y.len(), "conv::forward: length of the addend for {s:?}");
    }
    let (kk, row_len) = (s.kernel * s.kernel, s.out_width() * s.out_channels);
    // [tap][in][out], so that the innermost loop runs over output channels.
    let mut packed = vec![0.0; w.len()];
    for o in 0..s.out_channels {
        for i in 0..s.in_channels {
            for t in 0..kk {
                packed[(t * s.in_channels + i) * s.out_channels + o] = w[(o * s.in_channels + i) * kk + t];
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
                    let x = &x[((n * s.height + iy) * s.width + ix) * s.in_channels..][..s.in_channels];
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
///
/// # Panics
/// If a slice does not have the length that the shape says.
pub fn adjoint(s: &ConvShape, g: &[f32], w: &[f32], addend: Option<&[f32]>, x: &mut [f32]) {
    s.check("conv::adjoint", x.len(), w.len(), g.len());
    if let Some(a) = addend {
        assert_eq!(a.len(), x.len(), "conv::adjoint: length of the addend for {s:?}");
    }
    let kk = s.kernel * s.kernel;
    // [tap][out][in], so that the innermost loop runs over input channels.
    let mut packed = vec![0.0; w.len()];
    for o in 0..s.out_channels {
        for i in 0..s.in_channels {
            for t in 0..kk {
                packed[(t * s.out_channels + o) * s.in_channels + i] = w[(o * s.in_channels + i) * kk + t];
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
///
/// # Panics
/// If a slice does not have the length that the shape says.
pub fn weight_grad(s: &ConvShape, x: &[f32], g: &[f32], dw: &mut [f32]) {
    s.check("conv::weight_grad", x.len(), dw.len(), g.len());
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
                            let x =
                                &x[((n * s.height + iy) * s.width + ix) * s.in_channels..][..s.in_channels];
                            let sums = &mut sums[(ky * s.kernel + kx) * s.in_channels..][..s.in_channels];
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
