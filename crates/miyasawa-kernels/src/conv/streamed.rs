//! Convolution of a few pixels: reading the weights, once and in their stored order, costs more
//! than the products.
//!
//! With the taps of each patch in the weights' order, an output is the product of two contiguous
//! rows, and nothing is packed or transformed. The adjoint copies a few channels' weights at a
//! time, multiplies, and adds the patches up.

use std::mem::MaybeUninit;

use crate::gemm::{self, Fill};
use crate::isa::Isa;
use crate::scratch::{Scratch, SharedMut};
use crate::simd::{Kernel, Simd};
use crate::tasks;

use super::ConvShape;

/// Pixels and outputs that a tile of the forward pass keeps in registers, where there are
/// thirty-two of them; half as many outputs else.
const TILE: (usize, usize) = (4, 6);
/// Outputs of a task of the forward pass.
const OUTPUTS: usize = 12;
/// Values of a row that are multiplied at a time: a tile's weights stay in the first-level cache
/// for all pixels.
const DEPTH: usize = 512;
/// Input channels of a task of the adjoint, and how many outputs' weights it copies at a time.
const CHANNELS: usize = 32;
const COPIED: usize = 128;
/// Rows of weights that the adjoint prefetches before it copies them.
const AHEAD: usize = 4;

/// Most output pixels for which the weights' transform or packing would cost more than they save,
/// measured with 256 and 512 channels.
const PIXELS: usize = 48;
/// Fewer weights than this are packed at negligible cost.
const WEIGHTS: usize = 64 * 1024;

pub(super) fn is_fastest(s: &ConvShape) -> bool {
    s.batch * s.out_height() * s.out_width() <= PIXELS && s.weight_len() >= WEIGHTS
}

fn taps(s: &ConvShape) -> usize {
    s.kernel * s.kernel
}

/// Calls `f` with the index of the first input channel for every tap of the output pixel that is
/// inside the image.
#[inline(always)]
fn each_tap(s: &ConvShape, pixel: usize, mut f: impl FnMut(usize, usize)) {
    let (ow, oh) = (s.out_width(), s.out_height());
    let (n, y, x) = (pixel / (ow * oh), pixel / ow % oh, pixel % ow);
    for ky in 0..s.kernel {
        let Some(row) = s.tap(y, ky, s.height) else { continue };
        for kx in 0..s.kernel {
            if let Some(column) = s.tap(x, kx, s.width) {
                f(ky * s.kernel + kx, ((n * s.height + row) * s.width + column) * s.in_channels);
            }
        }
    }
}

pub(super) fn forward(
    isa: Isa,
    s: &ConvShape,
    x: &[f32],
    w: &[f32],
    addend: Option<&[f32]>,
    y: &mut [MaybeUninit<f32>],
) {
    let pixels = s.batch * s.out_height() * s.out_width();
    let depth = s.in_channels * taps(s);
    let mut patches = Scratch::new(pixels * depth);
    tasks::chunks(&mut patches, depth, pixels * depth, |pixel, patch| {
        patch.fill(0.0);
        each_tap(s, pixel, |tap, at| {
            let to = patch[tap..].iter_mut().step_by(taps(s));
            to.zip(&x[at..at + s.in_channels]).for_each(|(to, x)| *to = *x);
        });
    });
    let (patches, y) = (&patches[..], SharedMut::unwritten(y));
    tasks::run(s.out_channels.div_ceil(OUTPUTS), |i| {
        let outputs = (i * OUTPUTS, s.out_channels.min((i + 1) * OUTPUTS));
        isa.run(Forward {
            pixels,
            depth,
            channels: s.out_channels,
            outputs,
            patches,
            w,
            addend,
            y,
        });
    });
}

struct Forward<'a> {
    pixels: usize,
    depth: usize,
    /// Of the output.
    channels: usize,
    outputs: (usize, usize),
    patches: &'a [f32],
    w: &'a [f32],
    addend: Option<&'a [f32]>,
    y: SharedMut,
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { pixels, depth, outputs, .. } = self;
        // Kept here until they are complete: neighbouring tasks' results share cache lines.
        let mut sums = Scratch::new(pixels * OUTPUTS);
        sums.fill(0.0);
        for start in (0..depth).step_by(DEPTH) {
            let count = DEPTH.min(depth - start);
            let mut output = outputs.0;
            while output < outputs.1 {
                let left = outputs.1 - output;
                // Thirty-two registers hold twice the tile of sixteen.
                let n = if S::ROWS >= 8 && left >= TILE.1 { TILE.1 } else { left.min(TILE.1 / 2) };
                for pixel in (0..pixels).step_by(TILE.0) {
                    let m = TILE.0.min(pixels - pixel);
                    // SAFETY: these pixels and outputs exist and have `count` values from `start`
                    // on.
                    unsafe {
                        let a = self.patches.as_ptr().add(pixel * depth + start);
                        let b = self.w.as_ptr().add(output * depth + start);
                        // While these weights serve several pixels, the next ones come from memory,
                        // a row for each tile of pixels. The address may be any.
                        let row = (output + n + pixel / TILE.0).min(outputs.1);
                        let next = self.w.as_ptr().wrapping_add(row * depth + start);
                        let tile = match (m, n) {
                            (4, 6) => tile::<S, 4, 6>(a, b, depth, count, next),
                            (4, 3) => tile::<S, 4, 3>(a, b, depth, count, next),
                            (4, 2) => tile::<S, 4, 2>(a, b, depth, count, next),
                            (4, _) => tile::<S, 4, 1>(a, b, depth, count, next),
                            (_, 6) => part::<S, 6>(m, a, b, depth, count),
                            (_, 3) => part::<S, 3>(m, a, b, depth, count),
                            (_, 2) => part::<S, 2>(m, a, b, depth, count),
                            _ => part::<S, 1>(m, a, b, depth, count),
                        };
                        for (sums, tile) in
                            sums[pixel * OUTPUTS..].chunks_mut(OUTPUTS).zip(&tile[..m])
                        {
                            let sums = &mut sums[output - outputs.0..][..n];
                            sums.iter_mut().zip(tile).for_each(|(sum, value)| *sum += value);
                        }
                    }
                }
                output += n;
            }
        }
        for (pixel, sums) in sums.chunks(OUTPUTS).enumerate() {
            for (output, sum) in (outputs.0..outputs.1).zip(sums) {
                let at = pixel * self.channels + output;
                // SAFETY: these outputs are only this task's.
                unsafe { *self.y.at(at) = sum + self.addend.map_or(0.0, |a| a[at]) };
            }
        }
    }
}

/// Products of `M` rows of `a` and `N` of `b`, `stride` apart, over `count` values; prefetches
/// those at `next` meanwhile.
///
/// # Safety
/// The rows have that many values.
#[inline(always)]
unsafe fn tile<S: Simd, const M: usize, const N: usize>(
    a: *const f32,
    b: *const f32,
    stride: usize,
    count: usize,
    next: *const f32,
) -> [[f32; TILE.1]; TILE.0] {
    let mut sums = [[0.0; TILE.1]; TILE.0];
    // SAFETY: the caller's promise.
    unsafe {
        let mut acc = [[S::splat(0.0); N]; M];
        let vectors = count / S::LANES * S::LANES;
        let mut k = 0;
        while k < vectors {
            S::prefetch(next.wrapping_add(k));
            let b: [S::V; N] = std::array::from_fn(|n| S::load(b.add(n * stride + k)));
            for (m, acc) in acc.iter_mut().enumerate() {
                let a = S::load(a.add(m * stride + k));
                for (n, acc) in acc.iter_mut().enumerate() {
                    *acc = S::fma(a, b[n], *acc);
                }
            }
            k += S::LANES;
        }
        if k < count {
            for (m, acc) in acc.iter_mut().enumerate() {
                let a = S::load_part(a.add(m * stride + k), count - k);
                for (n, acc) in acc.iter_mut().enumerate() {
                    *acc = S::fma(a, S::load_part(b.add(n * stride + k), count - k), *acc);
                }
            }
        }
        for (sums, acc) in sums.iter_mut().zip(acc) {
            for (sum, acc) in sums.iter_mut().zip(acc) {
                *sum = S::sum(acc);
            }
        }
    }
    sums
}

/// [`tile`] of fewer than four rows.
///
/// # Safety
/// As [`tile`].
#[inline(always)]
unsafe fn part<S: Simd, const N: usize>(
    m: usize,
    a: *const f32,
    b: *const f32,
    stride: usize,
    count: usize,
) -> [[f32; TILE.1]; TILE.0] {
    let mut sums = [[0.0; TILE.1]; TILE.0];
    for (i, sums) in sums.iter_mut().enumerate().take(m) {
        // SAFETY: the caller's promise.
        *sums = unsafe { tile::<S, 1, N>(a.add(i * stride), b, stride, count, b)[0] };
    }
    sums
}

pub(super) fn adjoint(
    isa: Isa,
    s: &ConvShape,
    g: &[f32],
    w: &[f32],
    addend: Option<&[f32]>,
    x: &mut [MaybeUninit<f32>],
) {
    let x = SharedMut::unwritten(x);
    tasks::run(s.in_channels.div_ceil(CHANNELS), |i| {
        let channels = (i * CHANNELS, s.in_channels.min((i + 1) * CHANNELS));
        isa.run(Adjoint { s, channels, g, w, addend, x });
    });
}

struct Adjoint<'a> {
    s: &'a ConvShape,
    channels: (usize, usize),
    g: &'a [f32],
    w: &'a [f32],
    addend: Option<&'a [f32]>,
    x: SharedMut,
}

impl Kernel for Adjoint<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { s, channels, .. } = self;
        let (lanes, taps, co) = (S::LANES, taps(s), s.out_channels);
        let pixels = s.batch * s.out_height() * s.out_width();
        let columns = (channels.1 - channels.0) * taps;
        let (blocks, steps) = (columns.div_ceil(lanes), co.div_ceil(lanes));
        let stride = (pixels + 1) * lanes;
        let mut a = Scratch::new(steps * stride);
        // A line more than a panel, so that the panels' rows are in different sets of the cache.
        let panel_stride = |count: usize| 2 * lanes * count + 16;
        let mut b = Scratch::new(blocks.div_ceil(2) * panel_stride(COPIED.min(co)));
        let mut c = Scratch::new(blocks * stride);
        for (pixel, g) in self.g.chunks_exact(co).enumerate() {
            for (block, g) in g.chunks(lanes).enumerate() {
                a[block * stride + pixel * lanes..][..g.len()].copy_from_slice(g);
            }
        }
        for start in (0..co).step_by(COPIED) {
            let count = COPIED.min(co - start);
            // Panels of two blocks, `[output][panel's lanes]`, the last one of the remaining
            // columns.
            for (o, row) in
                self.w.chunks_exact(s.in_channels * taps).skip(start).take(count).enumerate()
            {
                // Each row is in a separate page, so that the processor does not prefetch by
                // itself.
                let ahead = row.as_ptr().wrapping_add(AHEAD * row.len() + channels.0 * taps);
                for line in (0..columns).step_by(16) {
                    // SAFETY: any address will do.
                    unsafe { S::prefetch(ahead.wrapping_add(line)) };
                }
                let row = &row[channels.0 * taps..][..columns];
                for (panel, row) in row.chunks(2 * lanes).enumerate() {
                    let width = (blocks - 2 * panel).min(2) * lanes;
                    let to = &mut b[panel * panel_stride(count) + o * width..][..width];
                    // SAFETY: `to` has as many blocks as `row` begins.
                    unsafe { copy::<S>(row, to) };
                }
            }
            for panel in 0..blocks.div_ceil(2) {
                let width = (blocks - 2 * panel).min(2);
                // SAFETY: the operands have these rows, columns and depths.
                unsafe {
                    let a = a.as_ptr().add(start / lanes * stride);
                    let b = b.as_ptr().add(panel * panel_stride(count));
                    let c = c.as_mut_ptr().add(2 * panel * stride);
                    let fill = Fill::dense(count, lanes);
                    gemm::nn::<S, 1>(pixels, fill, (a, stride), b, width, (c, stride), start > 0);
                }
            }
        }
        let channels = channels.0..channels.1;
        for pixel in 0..s.batch * s.height * s.width {
            for channel in channels.clone() {
                let at = pixel * s.in_channels + channel;
                // SAFETY: these channels are this task's.
                unsafe { *self.x.at(at) = self.addend.map_or(0.0, |a| a[at]) };
            }
        }
        for pixel in 0..pixels {
            each_tap(s, pixel, |tap, at| {
                for channel in channels.clone() {
                    let column = (channel - channels.start) * taps + tap;
                    let value = c[column / lanes * stride + pixel * lanes + column % lanes];
                    // SAFETY: as above.
                    unsafe { *self.x.at(at + channel) += value };
                }
            });
        }
    }
}

/// Copies a row into full vectors, zeros after its end.
///
/// # Safety
/// `to` holds as many vectors as `row` begins.
#[inline(always)]
unsafe fn copy<S: Simd>(row: &[f32], to: &mut [f32]) {
    for start in (0..row.len()).step_by(S::LANES) {
        let n = S::LANES.min(row.len() - start);
        // SAFETY: the caller's promise.
        unsafe {
            let v = if n == S::LANES {
                S::load(row.as_ptr().add(start))
            } else {
                S::load_part(row.as_ptr().add(start), n)
            };
            S::store(to.as_mut_ptr().add(start), v);
        }
    }
}
