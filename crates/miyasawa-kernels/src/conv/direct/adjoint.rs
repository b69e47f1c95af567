//! The adjoint: products first, patches scattered afterwards.

use std::mem::MaybeUninit;

use crate::gemm::{self, Fill};
use crate::isa::Isa;
use crate::scratch::{Scratch, SharedMut};
use crate::simd::{Kernel, Simd};

use super::super::ConvShape;
use super::{Patch, Pixel, TASKS, block_stride, pack, part, pixels_per_task, reblock};

pub(in super::super) fn adjoint(
    isa: Isa,
    s: &ConvShape,
    g: &[f32],
    w: &[f32],
    addend: Option<&[f32]>,
    x: &mut [MaybeUninit<f32>],
) {
    let lanes = isa.lanes();
    let patch = Patch::new(s, lanes);
    // Channel blocks are split over tasks when there are too few images; rows when there are too
    // few of those.
    let blocks = if patch.rows { 1 } else { patch.fill.period };
    let splits = TASKS.div_ceil(s.batch).min(blocks.div_ceil(2));
    let bands = TASKS
        .div_ceil(s.batch * splits)
        .min(s.height.div_ceil(4 * s.stride))
        .max(s.height / 64)
        .max(1);
    let mut packed = Scratch::new(patch.fill.blocks * lanes * s.out_channels);
    pack::adjoint(s, &patch, lanes, w, &mut packed);
    let (packed, x) = (&packed[..], SharedMut::unwritten(x));
    crate::tasks::run(s.batch * splits * bands, |i| {
        let (n, band, split) = (i / bands / splits, i / splits % bands, i % splits);
        let rows = part(s.height, bands, band);
        isa.run(Adjoint {
            s,
            patch,
            g,
            packed,
            addend,
            x,
            n,
            rows,
            blocks: part(blocks, splits, split),
        });
    });
}

struct Adjoint<'a> {
    s: &'a ConvShape,
    patch: Patch,
    g: &'a [f32],
    packed: &'a [f32],
    addend: Option<&'a [f32]>,
    x: SharedMut,
    n: usize,
    rows: (usize, usize),
    blocks: (usize, usize),
}

impl Kernel for Adjoint<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { s, patch, n, rows, blocks, .. } = self;
        let (lanes, ci, co) = (S::LANES, s.in_channels, s.out_channels);
        let (oh, ow) = (s.out_height(), s.out_width());
        let channels =
            if patch.rows { (0, ci) } else { (blocks.0 * lanes, ci.min(blocks.1 * lanes)) };
        let image = n * s.height * s.width * ci;
        // All channels of these rows are contiguous, some of them only pixel by pixel.
        let (pixels, len) = ((rows.1 - rows.0) * s.width, channels.1 - channels.0);
        let (pieces, len) = if len == ci { (1, pixels * ci) } else { (pixels, len) };
        for piece in 0..pieces {
            let at = image + rows.0 * s.width * ci + piece * ci + channels.0;
            // SAFETY: these rows and channels of `x` belong to this task.
            let x = unsafe { std::slice::from_raw_parts_mut(self.x.at(at).cast(), len) };
            crate::conv::fill(self.addend.map(|addend| &addend[at..][..len]), x);
        }
        // The output rows with a tap in these rows.
        let first = (rows.0 + s.padding).saturating_sub(s.kernel - 1).div_ceil(s.stride);
        let last = oh.min((rows.1 - 1 + s.padding) / s.stride + 1);
        if first >= last {
            return;
        }
        let fill = Fill::dense(co, lanes);
        let pixels = (last - first) * ow;
        let step = pixels_per_task(co).min(pixels);
        let stride = block_stride(step, lanes);
        let (mut a, mut c) = (Scratch::new(fill.blocks * stride), Scratch::new(stride));
        let (a, c) = (a.as_mut_ptr(), c.as_mut_ptr());
        let per_block =
            if patch.rows { patch.groups } else { patch.groups * (blocks.1 - blocks.0) };
        let packed = blocks.0 * patch.groups * co * lanes;
        let mut start = 0;
        while start < pixels {
            let count = step.min(pixels - start);
            // SAFETY: `a` and `c` have a stride for each block; a pixel of `x` is written only if
            // it is in this task's rows, and then only this task's channels.
            unsafe {
                for m in 0..count {
                    let pixel = (n * oh + first) * ow + start + m;
                    reblock::<S>(self.g.as_ptr().add(pixel * co), co, a.add(m * lanes), stride);
                }
                for j in 0..per_block {
                    let b = self.packed.as_ptr().add(packed + j * co * lanes);
                    gemm::nn::<S, 1>(count, fill, (a, stride), b, 1, (c, stride), false);
                    let (ky, kx, channel) = if patch.rows {
                        (j, 0, 0)
                    } else {
                        let tap = j % patch.groups;
                        (tap / s.kernel, tap % s.kernel, channels.0 + j / patch.groups * lanes)
                    };
                    self.scatter::<S>((first * ow + start, count), (ky, kx), channel, c);
                }
            }
            start += count;
        }
    }
}

impl Adjoint<'_> {
    /// Adds a block of the patches of pixels `start..start + count` of this image to `x`.
    ///
    /// # Safety
    /// `c` has a vector for each pixel.
    #[inline(always)]
    unsafe fn scatter<S: Simd>(
        &self,
        (start, count): (usize, usize),
        (ky, kx): (usize, usize),
        channel: usize,
        c: *const f32,
    ) {
        let s = self.s;
        let image = self.n * s.height * s.width;
        let len = if self.patch.rows {
            self.patch.fill.last
        } else {
            (s.in_channels - channel).min(S::LANES)
        };
        let mut pixel = Pixel { n: 0, ..Pixel::at(s, start) };
        for m in 0..count {
            let y = (pixel.y * s.stride + ky) as isize - s.padding as isize;
            let x = (pixel.x * s.stride + kx) as isize - s.padding as isize;
            pixel.step(usize::MAX, s.out_width());
            if y < self.rows.0 as isize || y >= self.rows.1 as isize {
                continue;
            }
            let row = image + y as usize * s.width;
            // SAFETY: the pixels written are in this task's rows; `c` has vector `m`.
            unsafe {
                let from = c.add(m * S::LANES);
                let span = if self.patch.rows { s.kernel } else { 1 };
                if x >= 0 && x + span as isize <= s.width as isize {
                    let to = self.x.at((row + x as usize) * s.in_channels + channel);
                    if len == S::LANES {
                        S::store(to, S::add(S::load(to), S::load(from)));
                        continue;
                    }
                    S::store_part(to, S::add(S::load_part(to, len), S::load(from)), len);
                } else if self.patch.rows {
                    let inside = |k: &usize| (0..s.width as isize).contains(&(x + *k as isize));
                    for k in (0..s.kernel).filter(inside) {
                        let to = self.x.at((row + (x + k as isize) as usize) * s.in_channels);
                        (0..s.in_channels)
                            .for_each(|i| *to.add(i) += *from.add(k * s.in_channels + i));
                    }
                }
            }
        }
    }
}
