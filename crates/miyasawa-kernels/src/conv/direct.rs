//! Convolution as patches times packed weights, for any kernel, stride and padding.
//!
//! A patch is what one output pixel sees of the input: `kernel*kernel` taps of all channels. Patches are
//! gathered for a few dozen pixels at a time, in the blocked layout of [`crate::gemm`], so that they stay
//! in the cache until they are used up. The adjoint multiplies first and scatters the patches afterwards.
//!
//! With few channels a block of a patch holds a whole row of taps (its channels are contiguous in memory)
//! instead of one tap, so that 3 channels of a 3x3 kernel fill 9 lanes, not 3.

use crate::gemm::{self, Fill};
use crate::isa::Isa;
use crate::scratch::{Scratch, SharedMut};
use crate::simd::{Kernel, Simd};

use super::ConvShape;

/// Values of a patch buffer of one task: half of a usual second-level cache with the weights beside it.
const PATCH_BUDGET: usize = 160 * 1024;
/// Tasks that a pass aims for, so that threads balance; never a function of the number of threads.
const TASKS: usize = 16;

/// How the values of a patch are cut into blocks.
#[derive(Clone, Copy)]
pub(super) struct Patch {
    /// A block is a row of taps, not one tap.
    rows: bool,
    /// Rows of taps or taps.
    groups: usize,
    fill: Fill,
}

impl Patch {
    pub(super) fn new(s: &ConvShape, lanes: usize) -> Self {
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

/// Number of values between blocks of `rows` rows; the extra row keeps blocks out of each other's cache sets.
pub(super) fn block_stride(rows: usize, lanes: usize) -> usize {
    (rows + 1) * lanes
}

/// Position of an output pixel that is walked one by one.
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
            let at = |y: isize, x: isize| image.add((y as usize * s.width + x as usize) * s.in_channels);
            if patch.rows {
                let whole = x0 >= 0 && x0 + s.kernel as isize <= s.width as isize;
                for g in groups.0..groups.1 {
                    let y = y0 + g as isize;
                    if !inside_y(y) {
                        S::store(out, S::splat(0.0));
                    } else if whole {
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
/// The pointers are valid for what this says.
#[inline(always)]
unsafe fn reblock<S: Simd>(from: *const f32, n: usize, to: *mut f32, block: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let full = n / S::LANES;
        for b in 0..full {
            S::store(to.add(b * block), S::load(from.add(b * S::LANES)));
        }
        if n > full * S::LANES {
            S::store(to.add(full * block), S::load_part(from.add(full * S::LANES), n - full * S::LANES));
        }
    }
}

/// Pixels that a task takes at a time.
fn pixels_per_task(columns: usize) -> usize {
    (PATCH_BUDGET / columns).clamp(24, 96) / 8 * 8
}

/// Splits `0..n` into `parts` nearly equal ranges and gives the `i`-th.
pub(super) fn part(n: usize, parts: usize, i: usize) -> (usize, usize) {
    (i * n / parts, (i + 1) * n / parts)
}

pub(super) fn forward(isa: Isa, s: &ConvShape, x: &[f32], w: &[f32], addend: Option<&[f32]>, y: &mut [f32]) {
    let lanes = isa.lanes();
    let patch = Patch::new(s, lanes);
    let columns = s.in_channels * s.kernel * s.kernel;
    let out_blocks = s.out_channels.div_ceil(lanes);
    let panels = out_blocks.div_ceil(2);
    let mut packed = Scratch::new(columns * out_blocks * lanes);
    pack_forward(s, lanes, w, &mut packed);

    let pixels = s.batch * s.out_height() * s.out_width();
    let step = pixels_per_task(columns).min(pixels.div_ceil(2).next_multiple_of(4));
    let chunks = pixels.div_ceil(step);
    let splits = TASKS.div_ceil(chunks).min(panels);
    let (packed, y) = (&packed[..], SharedMut::new(y));
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

/// `[panel][ky, kx, in][out of the panel]`, zeros after the last output channel.
fn pack_forward(s: &ConvShape, lanes: usize, w: &[f32], packed: &mut [f32]) {
    let (taps, columns) = (s.kernel * s.kernel, s.in_channels * s.kernel * s.kernel);
    let panel = columns * 2 * lanes;
    crate::tasks::chunks(packed, panel, w.len(), |j, packed| {
        let width = packed.len() / columns;
        for l in 0..width {
            let o = j * 2 * lanes + l;
            if o < s.out_channels {
                let w = &w[o * columns..][..columns];
                for (i, w) in w.chunks_exact(taps).enumerate() {
                    for (t, w) in w.iter().enumerate() {
                        packed[(t * s.in_channels + i) * width + l] = *w;
                    }
                }
            } else {
                packed.iter_mut().skip(l).step_by(width).for_each(|p| *p = 0.0);
            }
        }
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
        // SAFETY: `a` and `c` have a stride for each block; the packed weights have all panels; each pixel
        // and channel of `y` belongs to one task.
        unsafe {
            gather::<S>(s, &patch, self.x, (start, count), (0, patch.groups), (a.as_mut_ptr(), stride));
            for panel in self.panels.0..self.panels.1 {
                let width = (blocks - 2 * panel).min(2);
                let b = self.packed.as_ptr().add(panel * columns * 2 * lanes);
                let c = c.as_mut_ptr();
                gemm::nn::<S, 1>(count, patch.fill, (a.as_ptr(), stride), b, width, (c, stride), false);
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

pub(super) fn adjoint(isa: Isa, s: &ConvShape, g: &[f32], w: &[f32], addend: Option<&[f32]>, x: &mut [f32]) {
    let lanes = isa.lanes();
    let patch = Patch::new(s, lanes);
    // Channel blocks are split over tasks when there are too few images; rows when there are too few of those.
    let blocks = if patch.rows { 1 } else { patch.fill.period };
    let splits = TASKS.div_ceil(s.batch).min(blocks.div_ceil(2));
    let bands =
        TASKS.div_ceil(s.batch * splits).min(s.height.div_ceil(4 * s.stride)).max(s.height / 64).max(1);
    let mut packed = Scratch::new(patch.fill.blocks * lanes * s.out_channels);
    pack_adjoint(s, &patch, lanes, w, &mut packed);
    let (packed, x) = (&packed[..], SharedMut::new(x));
    crate::tasks::run(s.batch * splits * bands, |i| {
        let (n, band, split) = (i / bands / splits, i / splits % bands, i % splits);
        let rows = part(s.height, bands, band);
        isa.run(Adjoint { s, patch, g, packed, addend, x, n, rows, blocks: part(blocks, splits, split) });
    });
}

/// Blocks of a patch in the adjoint's order: all taps of a block of channels before the next one, so that a
/// task can take a range of channels.
///
/// `[channel block][tap][out][lane]`, or `[ky][out][kx, in]` if a block is a row of taps.
fn pack_adjoint(s: &ConvShape, patch: &Patch, lanes: usize, w: &[f32], packed: &mut [f32]) {
    let taps = s.kernel * s.kernel;
    crate::tasks::chunks(packed, s.out_channels * lanes, w.len(), |j, packed| {
        for (o, packed) in packed.chunks_exact_mut(lanes).enumerate() {
            let w = &w[o * s.in_channels * taps..][..s.in_channels * taps];
            for (l, packed) in packed.iter_mut().enumerate() {
                let (i, t) = if patch.rows {
                    (l % s.in_channels, j * s.kernel + l / s.in_channels)
                } else {
                    (j / patch.groups * lanes + l, j % patch.groups)
                };
                let valid = if patch.rows { l < patch.fill.last } else { i < s.in_channels };
                *packed = if valid { w[i * taps + t] } else { 0.0 };
            }
        }
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
        let channels = if patch.rows { (0, ci) } else { (blocks.0 * lanes, ci.min(blocks.1 * lanes)) };
        let image = n * s.height * s.width * ci;
        for pixel in rows.0 * s.width..rows.1 * s.width {
            let at = image + pixel * ci + channels.0;
            let len = channels.1 - channels.0;
            // SAFETY: these rows and channels of `x` belong to this task.
            let x = unsafe { std::slice::from_raw_parts_mut(self.x.at(at), len) };
            match self.addend {
                Some(addend) => x.copy_from_slice(&addend[at..][..len]),
                None => x.fill(0.0),
            }
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
        let per_block = if patch.rows { patch.groups } else { patch.groups * (blocks.1 - blocks.0) };
        let packed = blocks.0 * patch.groups * co * lanes;
        let mut start = 0;
        while start < pixels {
            let count = step.min(pixels - start);
            // SAFETY: `a` and `c` have a stride for each block; a pixel of `x` is written only if it is in
            // this task's rows, and then only this task's channels.
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
        let len =
            if self.patch.rows { self.patch.fill.last } else { (s.in_channels - channel).min(S::LANES) };
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
                    S::store_part(to, S::add(S::load_part(to, len), S::load(from)), len);
                } else if self.patch.rows {
                    let inside = |k: &usize| (0..s.width as isize).contains(&(x + *k as isize));
                    for k in (0..s.kernel).filter(inside) {
                        let to = self.x.at((row + (x + k as isize) as usize) * s.in_channels);
                        (0..s.in_channels).for_each(|i| *to.add(i) += *from.add(k * s.in_channels + i));
                    }
                }
            }
        }
    }
}

pub(super) fn weight_grad(isa: Isa, s: &ConvShape, x: &[f32], g: &[f32], dw: &mut [f32]) {
    let lanes = isa.lanes();
    let patch = Patch::new(s, lanes);
    let (taps, columns) = (s.kernel * s.kernel, s.in_channels * s.kernel * s.kernel);
    let out_blocks = s.out_channels.div_ceil(lanes);
    let size = columns * out_blocks * lanes;
    let pixels = s.batch * s.out_height() * s.out_width();
    // Sums over ranges of pixels cost memory, parts of the patch only another gathering of `g`.
    let groups = if size > 64 * 1024 { patch.groups } else { 1 };
    let sums = TASKS.div_ceil(groups).min(pixels.div_ceil(128)).min((1 << 20) / size + 1);
    let mut partial = Scratch::new(size * sums);
    let shared = SharedMut::new(&mut partial);
    crate::tasks::run(sums * groups, |i| {
        let pixels = part(pixels, sums, i / groups);
        let range = part(patch.groups, groups, i % groups);
        // SAFETY: `i / groups < sums`.
        let out = unsafe { shared.offset(i / groups * size) };
        isa.run(WeightGrad { s, patch, x, g, pixels, range, out });
    });
    let (total, others) = partial.split_at_mut(size);
    crate::tasks::chunks(total, 16 * 1024, size * sums, |j, total| {
        for other in others.chunks_exact(size) {
            for (t, o) in total.iter_mut().zip(&other[j * 16 * 1024..]) {
                *t += o;
            }
        }
    });
    let total = &*total;
    crate::tasks::chunks(dw, 2 * lanes * columns, size, |panel, dw| {
        let width = (out_blocks - 2 * panel).min(2) * lanes;
        let total = &total[panel * 2 * lanes * columns..];
        for (l, dw) in dw.chunks_exact_mut(columns).enumerate() {
            for (i, dw) in dw.chunks_exact_mut(taps).enumerate() {
                for (t, dw) in dw.iter_mut().enumerate() {
                    *dw = total[(t * s.in_channels + i) * width + l];
                }
            }
        }
    });
}

struct WeightGrad<'a> {
    s: &'a ConvShape,
    patch: Patch,
    x: &'a [f32],
    g: &'a [f32],
    pixels: (usize, usize),
    /// Groups of the patch.
    range: (usize, usize),
    /// `[panel][ky, kx, in][out of the panel]`, of all groups.
    out: SharedMut,
}

impl Kernel for WeightGrad<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { s, patch, range, .. } = self;
        let (lanes, co) = (S::LANES, s.out_channels);
        let columns = s.in_channels * s.kernel * s.kernel;
        let out_blocks = co.div_ceil(lanes);
        let blocks = patch.fill.blocks / patch.groups * (range.1 - range.0);
        let fill = Fill { blocks, ..patch.fill };
        let before = patch.fill.columns(patch.fill.blocks / patch.groups * range.0, lanes);
        let step = pixels_per_task(fill.columns(blocks, lanes) + co).min(self.pixels.1 - self.pixels.0);
        let stride = block_stride(step, lanes);
        let (mut a, mut b) = (Scratch::new(blocks * stride), Scratch::new(out_blocks * stride));
        let (a, b) = (a.as_mut_ptr(), b.as_mut_ptr());
        let mut start = self.pixels.0;
        while start < self.pixels.1 {
            let count = step.min(self.pixels.1 - start);
            // SAFETY: `a` and `b` have a stride for each block; the rows of these groups in `out` are only
            // this task's.
            unsafe {
                gather::<S>(s, &patch, self.x, (start, count), range, (a, stride));
                for m in 0..count {
                    reblock::<S>(self.g.as_ptr().add((start + m) * co), co, b.add(m * lanes), stride);
                }
                for panel in 0..out_blocks.div_ceil(2) {
                    let width = (out_blocks - 2 * panel).min(2);
                    let b = b.add(2 * panel * stride);
                    let c = self.out.at(2 * panel * lanes * columns + before * width * lanes);
                    gemm::tn::<S, 1>(count, fill, (a, stride), (b, stride), width, c, start > self.pixels.0);
                }
            }
            start += count;
        }
    }
}
