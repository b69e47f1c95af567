//! From the sums over tiles back to the weights: `Gᵀ[..]G`.

use super::super::weights;
use super::Pass;
use crate::isa::Isa;
use crate::scratch::{Scratch, SharedMut};
use crate::simd::{Kernel, Simd};
use crate::tasks;

/// Turns all sums into weights, `parts` times as many as `parts.1` values.
pub(super) fn weights_from_sums(
    isa: Isa,
    pass: Pass,
    sums: SharedMut,
    parts: (usize, usize),
    dw: SharedMut,
) {
    let (s, lanes) = (pass.s, isa.lanes());
    let (steps, blocks) =
        (s.in_channels.div_ceil(lanes), s.out_channels.div_ceil(lanes / pass.per_vector));
    tasks::run_if(parts.0 * parts.1 > 64 * 1024, blocks * steps, |i| {
        let start = i % steps * lanes;
        let depths = (start, s.in_channels.min(start + lanes));
        isa.run(Finish { pass, sums, parts, block: i / steps, depths, dw });
    });
}

/// Turns the sums of a block of outputs and a few inputs into weights.
struct Finish<'a> {
    pass: Pass<'a>,
    sums: SharedMut,
    /// Number of ranges and distance between their sums.
    parts: (usize, usize),
    block: usize,
    depths: (usize, usize),
    dw: SharedMut,
}

impl Finish<'_> {
    #[inline(always)]
    unsafe fn run_tiles<S: Simd, const P: usize>(self) {
        let (s, panel) = (self.pass.s, self.block / 2);
        let out_blocks = s.out_channels.div_ceil(S::LANES / P);
        let row = (out_blocks - 2 * panel).min(2) * S::LANES;
        // SAFETY: the sums have all panels and depths; these outputs and inputs of `dw` are only
        // this task's.
        unsafe {
            let offset = panel * weights::panel(s.in_channels, S::LANES);
            let sums = self.sums.at(offset + self.depths.0 * row + self.block % 2 * S::LANES);
            let strides = (row, weights::stride(s.in_channels, row, S::LANES));
            block::<S, P>(&self.pass, sums, self.parts, strides, self.block, self.depths, self.dw);
        }
    }
}

impl Kernel for Finish<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        run_for_tiles!(self, S);
    }
}

/// Turns the sums of block `block` of outputs and at most `LANES` inputs `start..end` into weights.
///
/// # Safety
/// `sums` is valid for `parts` of these sums, `row` values between inputs and `stride` between
/// weights; nobody else uses them or these outputs and inputs of `dw`.
#[inline(always)]
pub(super) unsafe fn block<S: Simd, const P: usize>(
    pass: &Pass,
    sums: *mut f32,
    parts: (usize, usize),
    (row, stride): (usize, usize),
    block: usize,
    (start, end): (usize, usize),
    dw: SharedMut,
) {
    let (s, lanes) = (pass.s, S::LANES);
    let mut taps = Scratch::new(9 * lanes * lanes);
    let mut square = [0.0f32; 16 * 16];
    let first = block * (lanes / P);
    // SAFETY: the caller's promise; a square has at most sixteen lanes a side.
    unsafe {
        weights::transform_back::<S>(pass.kind, sums, parts, end - start, row, stride, &mut taps);
        if P == 1 && end - start == lanes && first + lanes <= s.out_channels {
            for j in 0..9 {
                S::transpose(taps.as_ptr().add(j * lanes * lanes), lanes, square.as_mut_ptr());
                for lane in 0..lanes {
                    let at = ((first + lane) * s.in_channels + start) * 9 + j * lanes;
                    S::store(dw.at(at), S::load(square.as_ptr().add(lane * lanes)));
                }
            }
        } else {
            for o in first..s.out_channels.min(first + lanes / P) {
                for i in 0..9 * (end - start) {
                    let lane = i * lanes + (o - first) * P;
                    *dw.at((o * s.in_channels + start) * 9 + i) = taps[lane..lane + P].iter().sum();
                }
            }
        }
    }
}
