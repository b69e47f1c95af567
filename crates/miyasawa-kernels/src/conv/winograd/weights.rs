//! Weights in and out of the transformed domain.

use crate::conv::Operands;
use crate::simd::Simd;

use super::transform::{
    self, SIDE, Source, Tiling, WEIGHTS, Weight, WeightBack, WeightSplit, WeightSplitBack,
};

/// Taps of the kernel.
const TAPS: usize = 9;

/// How many outputs ahead the adjoint prefetches weights: transforming one output takes less time
/// than memory does.
const AHEAD: usize = 8;

/// Which channels of the `[out, in, 3, 3]` weights the products sum over.
#[derive(Clone, Copy)]
pub(super) struct Weights {
    pub(super) kind: Tiling,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// Sums over output channels, with the taps in reverse.
    pub(super) adjoint: bool,
    pub(super) operands: Operands,
}

impl Weights {
    /// Channels that the products sum over.
    pub(super) fn depth(&self) -> usize {
        if self.adjoint { self.outputs } else { self.inputs }
    }

    /// Channels of the result.
    pub(super) fn results(&self) -> usize {
        if self.adjoint { self.inputs } else { self.outputs }
    }
}

/// Values between the transformed weights of `depth` depths of `row` values: an odd number of
/// vectors, since all 36 are written at once and would evict each other at a distance of a power of
/// two.
pub(super) fn stride(depth: usize, row: usize, lanes: usize) -> usize {
    ((depth * row / lanes) | 1) * lanes
}

/// Values of a panel of two blocks.
pub(super) fn panel(depth: usize, lanes: usize) -> usize {
    WEIGHTS * stride(depth, 2 * lanes, lanes)
}

struct Taps<'a>(&'a [f32]);

impl<S: Simd> Source<S> for Taps<'_> {
    #[inline(always)]
    unsafe fn at(&self, r: usize, c: usize) -> S::V {
        // SAFETY: the slice has nine vectors.
        unsafe { S::load(self.0.as_ptr().add((r * 3 + c) * S::LANES)) }
    }
}

struct Sums {
    p: *const f32,
    stride: usize,
}

impl<S: Simd> Source<S> for Sums {
    #[inline(always)]
    unsafe fn at(&self, r: usize, c: usize) -> S::V {
        // SAFETY: there is a vector for each weight.
        unsafe { S::load(self.p.add((r * SIDE + c) * self.stride)) }
    }
}

/// Transforms depths `start..end` and the results of one block into `out`, where depth `start` has
/// its first vector, `row` values lie between depths and `stride` between transformed weights. Each
/// result fills `P` lanes.
///
/// `taps` is working memory of `9*LANES*LANES` values.
///
/// # Safety
/// `out` is valid for these writes.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
pub(super) unsafe fn transform<S: Simd, const P: usize>(
    shape: &Weights,
    w: &[f32],
    (start, end): (usize, usize),
    block: usize,
    taps: &mut [f32],
    out: *mut f32,
    row: usize,
    stride: usize,
) {
    let mut depth = start;
    while depth < end {
        let count = S::LANES.min(end - depth);
        // SAFETY: `taps` is long enough for `count <= LANES` depths; `out` is the caller's promise.
        unsafe {
            read_taps::<S, P>(shape, w, (depth, count), block, taps);
            if shape.operands == Operands::Bf16 {
                for tap in taps[..count * TAPS * S::LANES].chunks_exact_mut(S::LANES) {
                    S::store(tap.as_mut_ptr(), S::round_bf16(S::load(tap.as_ptr())));
                }
            }
            for i in 0..count {
                let source = Taps(&taps[i * TAPS * S::LANES..][..TAPS * S::LANES]);
                let v = if shape.kind == Tiling::Unit {
                    transform::both_dimensions::<S, Weight, 3, SIDE>(&source)
                } else {
                    transform::both_dimensions::<S, WeightSplit, 3, SIDE>(&source)
                };
                let out = out.add((depth - start + i) * row);
                for (f, v) in v.as_flattened().iter().enumerate() {
                    S::store(out.add(f * stride), *v);
                }
            }
        }
        depth += count;
    }
}

/// `taps[(i*9 + t)*LANES + lane]`: tap `t` of depth `depth + i`.
#[inline(always)]
unsafe fn read_taps<S: Simd, const P: usize>(
    shape: &Weights,
    w: &[f32],
    (depth, count): (usize, usize),
    block: usize,
    taps: &mut [f32],
) {
    let lanes = S::LANES;
    let taps = &mut taps[..TAPS * lanes * lanes];
    let first = block * lanes;
    let full = P == 1 && first + lanes <= shape.results();
    if full && !shape.adjoint && count == lanes {
        // Nine squares of `lanes` outputs times `lanes` values of (input, tap), which are
        // contiguous.
        let from = (first * shape.inputs + depth) * TAPS;
        // Outputs are too far apart in memory for the processor to prefetch their next inputs by
        // itself.
        for lane in 0..lanes {
            for line in 0..(TAPS * lanes).div_ceil(16) {
                let next = from + (lane * shape.inputs + lanes) * TAPS + line * 16;
                // SAFETY: a hint.
                unsafe { S::prefetch(w.as_ptr().wrapping_add(next)) };
            }
        }
        for square in 0..TAPS {
            let source = &w[from + square * lanes..];
            assert!(source.len() >= (lanes - 1) * shape.inputs * TAPS + lanes);
            // SAFETY: just checked; `taps` has nine squares.
            unsafe {
                let to = taps.as_mut_ptr().add(square * lanes * lanes);
                S::transpose(source.as_ptr(), shape.inputs * TAPS, to);
            }
        }
        return;
    }
    for i in 0..count {
        let taps = &mut taps[i * TAPS * lanes..][..TAPS * lanes];
        if full && shape.adjoint {
            let from = ((depth + i) * shape.inputs + first) * TAPS;
            for line in 0..(TAPS * lanes).div_ceil(16) {
                let next = from + AHEAD * shape.inputs * TAPS + line * 16;
                // SAFETY: a hint.
                unsafe { S::prefetch(w.as_ptr().wrapping_add(next)) };
            }
            let source = &w[from..];
            if scatter_reversed::<S>(source, taps) {
                continue;
            }
        }
        for (t, taps) in taps.chunks_exact_mut(lanes).enumerate() {
            for (lane, tap) in taps.iter_mut().enumerate() {
                let result = block * (lanes / P) + lane / P;
                *tap = if result >= shape.results() {
                    0.0
                } else if shape.adjoint {
                    w[((depth + i) * shape.inputs + result) * TAPS + TAPS - 1 - t]
                } else {
                    w[(result * shape.inputs + depth + i) * TAPS + t]
                };
            }
        }
    }
}

/// The taps of one output and `LANES` inputs, in reverse, unless the source ends too soon after
/// them.
#[inline(always)]
fn scatter_reversed<S: Simd>(source: &[f32], taps: &mut [f32]) -> bool {
    let lanes = S::LANES;
    // Squares may be wider than nine (then they read into the next input) or narrower (then there
    // are several).
    let squares = TAPS.div_ceil(lanes);
    let mut square = [0.0f32; 16 * 16];
    if source.len() < (lanes - 1) * TAPS + squares * lanes {
        return false;
    }
    for j in 0..squares {
        // SAFETY: the source was checked; a square has at most sixteen lanes a side.
        unsafe { S::transpose(source.as_ptr().add(j * lanes), TAPS, square.as_mut_ptr()) };
        for t in j * lanes..TAPS.min((j + 1) * lanes) {
            let from = &square[(t - j * lanes) * lanes..][..lanes];
            taps[(TAPS - 1 - t) * lanes..][..lanes].copy_from_slice(from);
        }
    }
    true
}

/// Turns sums over tiles into `taps[(i*9 + t)*LANES + lane]` for `count <= LANES` depths: the sum
/// of `parts` matrices that lie `part` values apart, each with `row` values between depths and
/// `stride` between transformed weights.
///
/// # Safety
/// `sums` is valid for these reads. The sums are overwritten.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
pub(super) unsafe fn transform_back<S: Simd>(
    kind: Tiling,
    sums: *mut f32,
    (parts, part): (usize, usize),
    count: usize,
    row: usize,
    stride: usize,
    taps: &mut [f32],
) {
    let taps = &mut taps[..TAPS * S::LANES * count];
    for i in 0..count {
        // SAFETY: the caller's promise; `taps` has nine vectors for each depth.
        unsafe {
            let p = sums.add(i * row);
            if parts > 1 {
                for f in 0..WEIGHTS {
                    let mut v = S::load(p.add(f * stride));
                    for j in 1..parts {
                        v = S::add(v, S::load(p.add(f * stride + j * part)));
                    }
                    S::store(p.add(f * stride), v);
                }
            }
            let source = Sums { p, stride };
            let v = if kind == Tiling::Unit {
                transform::both_dimensions::<S, WeightBack, SIDE, 3>(&source)
            } else {
                transform::both_dimensions::<S, WeightSplitBack, SIDE, 3>(&source)
            };
            for (t, v) in v.as_flattened().iter().enumerate() {
                S::store(taps.as_mut_ptr().add((i * TAPS + t) * S::LANES), *v);
            }
        }
    }
}
