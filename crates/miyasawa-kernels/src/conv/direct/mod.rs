//! Convolution as patches times packed weights, for any kernel, stride and padding.
//!
//! A patch is the part of the input that one output pixel depends on: `kernel*kernel` taps of all
//! channels. Patches are gathered for a few dozen pixels at a time, in the blocked layout of
//! [`crate::gemm`], so that they stay in the cache until they are used up. The adjoint multiplies
//! first and scatters the patches afterwards.
//!
//! With few channels a block of a patch holds an entire row of taps (its channels are contiguous in
//! memory) instead of one tap, so that 3 channels of a 3x3 kernel fill 9 lanes, not 3.

mod adjoint;
mod grad;
mod pack;

use std::mem::MaybeUninit;

use crate::gemm::{self, Fill};
use crate::isa::Isa;
use crate::scratch::{Scratch, SharedMut};
use crate::simd::{Kernel, Simd};

use super::ConvShape;
pub(super) use adjoint::adjoint;
pub(super) use grad::weight_grad;

/// Values of a patch buffer of one task: half of a usual second-level cache with the weights beside
/// it.
const PATCH_BUDGET: usize = 160 * 1024;
/// Tasks that a pass aims for, so that threads balance; never a function of the number of threads.
const TASKS: usize = 16;

/// How the values of a patch are cut into blocks.
#[derive(Clone, Copy)]
struct Patch {
    /// A block is a row of taps, not one tap.
    rows: bool,
    /// Rows of taps or taps.
    groups: usize,
    fill: Fill,
}

impl Patch {
    fn new(s: &ConvShape, lanes: usize) -> Self {
        let row = s.kernel * s.in_channels;
        if row <= lanes {
            let fill = Fill { blocks: s.kernel, period: 1, last: row };
            return Self { rows: true, groups: s.kernel, fill };
        }
        let dense = Fill::dense(s.in_channels, lanes);
        let groups = s.kernel * s.kernel;
        Self { rows: false, groups, fill: Fill { blocks: groups * dense.blocks, ..dense } }
    }
}

/// Number of values between blocks of `rows` rows; the extra row keeps blocks out of each other's
/// cache sets.
fn block_stride(rows: usize, lanes: usize) -> usize {
    (rows + 1) * lanes
}

/// Position of an output pixel, advanced one by one.
#[derive(Clone, Copy)]
struct Pixel {
    n: usize,
    y: usize,
    x: usize,
}

impl Pixel {
    fn at(s: &ConvShape, m: usize) -> Self {
        let (ow, oh) = (s.out_width(), s.out_height());
        Self { n: m / (ow * oh), y: m / ow % oh, x: m % ow }
    }

    fn step(&mut self, oh: usize, ow: usize) {
        self.x += 1;
        if self.x == ow {
            (self.x, self.y) = (0, self.y + 1);
            if self.y == oh {
                (self.y, self.n) = (0, self.n + 1);
            }
        }
    }
}

/// Gathers the groups `groups` of the patches of output pixels `start..start + count`.
///
/// # Safety
/// `a` has `block_stride(count)`-many values for each block of the groups; the pixels exist in `x`.
#[inline(always)]
unsafe fn gather<S: Simd>(
    s: &ConvShape,
    patch: &Patch,
    x: &[f32],
    (start, count): (usize, usize),
    groups: (usize, usize),
    (a, a_block): (*mut f32, usize),
) {
    let (oh, ow) = (s.out_height(), s.out_width());
    let mut pixel = Pixel::at(s, start);
    for m in 0..count {
        let (y0, x0) = ((pixel.y * s.stride) as isize, (pixel.x * s.stride) as isize);
        let (y0, x0) = (y0 - s.padding as isize, x0 - s.padding as isize);
        // SAFETY: a pixel is read only where it is inside the image, and only its own values.
        unsafe {
            let mut out = a.add(m * S::LANES);
            let image = x.as_ptr().add(pixel.n * s.height * s.width * s.in_channels);
            let inside_y = |y: isize| y >= 0 && y < s.height as isize;
            let inside_x = |x: isize| x >= 0 && x < s.width as isize;
            let at =
                |y: isize, x: isize| image.add((y as usize * s.width + x as usize) * s.in_channels);
            if patch.rows {
                let inside = x0 >= 0 && x0 + s.kernel as isize <= s.width as isize;
                for g in groups.0..groups.1 {
                    let y = y0 + g as isize;
                    if !inside_y(y) {
                        S::store(out, S::splat(0.0));
                    } else if inside {
                        S::store(out, S::load_part(at(y, x0), patch.fill.last));
                    } else {
                        S::store(out, S::splat(0.0));
                        for kx in (0..s.kernel).filter(|&kx| inside_x(x0 + kx as isize)) {
                            let source = at(y, x0 + kx as isize);
                            let target = out.add(kx * s.in_channels);
                            (0..s.in_channels).for_each(|c| *target.add(c) = *source.add(c));
                        }
                    }
                    out = out.add(a_block);
                }
            } else {
                for g in groups.0..groups.1 {
                    let (y, x) = (y0 + (g / s.kernel) as isize, x0 + (g % s.kernel) as isize);
                    if inside_y(y) && inside_x(x) {
                        reblock::<S>(at(y, x), s.in_channels, out, a_block);
                        out = out.add(patch.fill.period * a_block);
                    } else {
                        for _ in 0..patch.fill.period {
                            S::store(out, S::splat(0.0));
                            out = out.add(a_block);
                        }
                    }
                }
            }
        }
        pixel.step(oh, ow);
    }
}

/// Copies a row of `n` values into blocks, zeros after them.
///
/// # Safety
/// `from` is valid for `n` reads, `to` for the writes of its blocks.
#[inline(always)]
unsafe fn reblock<S: Simd>(from: *const f32, n: usize, to: *mut f32, block: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let full = n / S::LANES;
        for b in 0..full {
            S::store(to.add(b * block), S::load(from.add(b * S::LANES)));
        }
        if n > full * S::LANES {
            S::store(
                to.add(full * block),
                S::load_part(from.add(full * S::LANES), n - full * S::LANES),
            );
        }
    }
}

/// Pixels that a task takes at a time.
fn pixels_per_task(columns: usize) -> usize {
    (PATCH_BUDGET / columns).clamp(24, 96) / 8 * 8
}

/// Splits `0..n` into `parts` nearly equal ranges and returns the `i`-th.
pub(super) fn part(n: usize, parts: usize, i: usize) -> (usize, usize) {
    (i * n / parts, (i + 1) * n / parts)
}

pub(super) fn forward(
    isa: Isa,
    s: &ConvShape,
    x: &[f32],
    w: &[f32],
    addend: Option<&[f32]>,
    y: &mut [MaybeUninit<f32>],
) {
    let lanes = isa.lanes();
    let patch = Patch::new(s, lanes);
    let columns = s.in_channels * s.kernel * s.kernel;
    let out_blocks = s.out_channels.div_ceil(lanes);
    let panels = out_blocks.div_ceil(2);
    let mut packed = Scratch::new(columns * out_blocks * lanes);
    pack::forward(isa, s, w, &mut packed);

    let pixels = s.batch * s.out_height() * s.out_width();
    let step = pixels_per_task(columns).min(pixels.div_ceil(2).next_multiple_of(4));
    let chunks = pixels.div_ceil(step);
    let splits = TASKS.div_ceil(chunks).min(panels);
    let (packed, y) = (&packed[..], SharedMut::unwritten(y));
    crate::tasks::run(chunks * splits, |i| {
        let start = i / splits * step;
        let count = step.min(pixels - start);
        isa.run(Forward {
            s,
            patch,
            x,
            packed,
            addend,
            y,
            start,
            count,
            panels: part(panels, splits, i % splits),
        });
    });
}

struct Forward<'a> {
    s: &'a ConvShape,
    patch: Patch,
    x: &'a [f32],
    packed: &'a [f32],
    addend: Option<&'a [f32]>,
    y: SharedMut,
    start: usize,
    count: usize,
    panels: (usize, usize),
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { s, patch, start, count, .. } = self;
        let (lanes, co) = (S::LANES, s.out_channels);
        let (blocks, columns) = (co.div_ceil(lanes), s.in_channels * s.kernel * s.kernel);
        let stride = block_stride(count, lanes);
        let (mut a, mut c) = (Scratch::new(patch.fill.blocks * stride), Scratch::new(2 * stride));
        // SAFETY: `a` and `c` have a stride for each block; the packed weights have all panels;
        // each pixel and channel of `y` belongs to one task.
        unsafe {
            gather::<S>(
                s,
                &patch,
                self.x,
                (start, count),
                (0, patch.groups),
                (a.as_mut_ptr(), stride),
            );
            for panel in self.panels.0..self.panels.1 {
                let width = (blocks - 2 * panel).min(2);
                let b = self.packed.as_ptr().add(panel * columns * 2 * lanes);
                let c = c.as_mut_ptr();
                gemm::nn::<S, 1>(
                    count,
                    patch.fill,
                    (a.as_ptr(), stride),
                    b,
                    width,
                    (c, stride),
                    false,
                );
                for block in 0..width {
                    let channel = (2 * panel + block) * lanes;
                    let n = (co - channel).min(lanes);
                    for m in 0..count {
                        let at = (start + m) * co + channel;
                        let mut v = S::load(c.add(block * stride + m * lanes));
                        if let Some(addend) = self.addend {
                            v = S::add(v, S::load_part(addend.as_ptr().add(at), n));
                        }
                        S::store_part(self.y.at(at), v, n);
                    }
                }
            }
        }
    }
}
