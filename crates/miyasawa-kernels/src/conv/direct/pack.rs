//! Weights between PyTorch's order and the panels of [`crate::gemm`].

use crate::isa::Isa;
use crate::simd::{Kernel, Simd};

use super::super::ConvShape;
use super::Patch;

/// `[panel][ky, kx, in][out of the panel]`, zeros after the last output channel.
pub(super) fn forward(isa: Isa, s: &ConvShape, w: &[f32], packed: &mut [f32]) {
    let panel = s.in_channels * s.kernel * s.kernel * 2 * isa.lanes();
    crate::tasks::chunks(packed, panel, w.len(), |j, packed| {
        isa.run(PackForward { s, w, packed, panel: j })
    });
}

struct PackForward<'a> {
    s: &'a ConvShape,
    w: &'a [f32],
    packed: &'a mut [f32],
    panel: usize,
}

impl Kernel for PackForward<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { s, w, packed, panel } = self;
        let (lanes, taps) = (S::LANES, s.kernel * s.kernel);
        let columns = s.in_channels * taps;
        let width = packed.len() / columns;
        let mut square = [0.0f32; 16 * 16];
        for block in 0..width / lanes {
            let first = (2 * panel + block) * lanes;
            let outputs = lanes.min(s.out_channels - first);
            for start in (0..columns).step_by(lanes) {
                let count = lanes.min(columns - start);
                let from = &w[first * columns + start..];
                if outputs == lanes && count == lanes {
                    // SAFETY: `lanes` outputs have this column and `lanes - 1` after it; a square
                    // has at most sixteen lanes a side.
                    unsafe { S::transpose(from.as_ptr(), columns, square.as_mut_ptr()) };
                } else {
                    for (j, square) in square.chunks_exact_mut(lanes).enumerate().take(count) {
                        for (o, v) in square.iter_mut().enumerate() {
                            *v = if o < outputs { from[o * columns + j] } else { 0.0 };
                        }
                    }
                }
                for (j, square) in square.chunks_exact(lanes).enumerate().take(count) {
                    let (i, t) = ((start + j) / taps, (start + j) % taps);
                    let to = (t * s.in_channels + i) * width + block * lanes;
                    packed[to..to + lanes].copy_from_slice(square);
                }
            }
        }
    }
}

/// Blocks of a patch in the adjoint's order: all taps of a block of channels before the next one,
/// so that a task can take a range of channels.
///
/// `[channel block][tap][out][lane]`, or `[ky][out][kx, in]` if a block is a row of taps.
pub(super) fn adjoint(s: &ConvShape, patch: &Patch, lanes: usize, w: &[f32], packed: &mut [f32]) {
    let taps = s.kernel * s.kernel;
    crate::tasks::chunks(packed, s.out_channels * lanes, w.len(), |j, packed| {
        for (o, packed) in packed.chunks_exact_mut(lanes).enumerate() {
            let w = &w[o * s.in_channels * taps..][..s.in_channels * taps];
            if patch.rows {
                for (l, packed) in packed.iter_mut().enumerate() {
                    let (i, kx) = (l % s.in_channels, l / s.in_channels);
                    *packed = if kx < s.kernel { w[i * taps + j * s.kernel + kx] } else { 0.0 };
                }
            } else {
                let (first, t) = (j / patch.groups * lanes, j % patch.groups);
                let count = lanes.min(s.in_channels - first);
                let (values, zeros) = packed.split_at_mut(count);
                if taps == 1 {
                    values.copy_from_slice(&w[first..first + count]);
                } else {
                    let source = w[first * taps + t..].iter().step_by(taps);
                    values.iter_mut().zip(source).for_each(|(v, w)| *v = *w);
                }
                zeros.fill(0.0);
            }
        }
    });
}

/// The reverse of [`forward`]'s order: `total` is `[panel][ky, kx, in][out of the panel]`.
pub(super) fn unpack(isa: Isa, s: &ConvShape, total: &[f32], dw: &mut [f32]) {
    let chunk = s.in_channels * s.kernel * s.kernel * isa.lanes();
    crate::tasks::chunks(dw, chunk, total.len(), |block, dw| {
        isa.run(Unpack { s, total, dw, block })
    });
}

struct Unpack<'a> {
    s: &'a ConvShape,
    total: &'a [f32],
    /// The outputs of one block.
    dw: &'a mut [f32],
    block: usize,
}

impl Kernel for Unpack<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { s, total, dw, block } = self;
        let (lanes, taps) = (S::LANES, s.kernel * s.kernel);
        let columns = s.in_channels * taps;
        let width = (s.out_channels.div_ceil(lanes) - block / 2 * 2).min(2) * lanes;
        let total = &total[block / 2 * columns * 2 * lanes + block % 2 * lanes..];
        let (mut square, mut turned) = ([0.0f32; 16 * 16], [0.0f32; 16 * 16]);
        for start in (0..columns).step_by(lanes) {
            let count = lanes.min(columns - start);
            for (j, square) in square.chunks_exact_mut(lanes).enumerate().take(count) {
                let (i, t) = ((start + j) / taps, (start + j) % taps);
                square.copy_from_slice(&total[(t * s.in_channels + i) * width..][..lanes]);
            }
            // SAFETY: a square has at most sixteen lanes a side.
            unsafe { S::transpose(square.as_ptr(), lanes, turned.as_mut_ptr()) };
            for (dw, turned) in dw.chunks_exact_mut(columns).zip(turned.chunks_exact(lanes)) {
                dw[start..start + count].copy_from_slice(&turned[..count]);
            }
        }
    }
}
