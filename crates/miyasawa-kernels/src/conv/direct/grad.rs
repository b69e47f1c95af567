//! The weight gradient: gathered patches times gradients.

use crate::gemm::{self, Fill};
use crate::isa::Isa;
use crate::scratch::{Scratch, SharedMut};
use crate::simd::{Kernel, Simd};

use super::super::ConvShape;
use super::{Patch, TASKS, block_stride, gather, pack, part, pixels_per_task, reblock};

pub(in super::super) fn weight_grad(isa: Isa, s: &ConvShape, x: &[f32], g: &[f32], dw: &mut [f32]) {
    let lanes = isa.lanes();
    let patch = Patch::new(s, lanes);
    let columns = s.in_channels * s.kernel * s.kernel;
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
    pack::unpack(isa, s, total, dw);
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
        let step =
            pixels_per_task(fill.columns(blocks, lanes) + co).min(self.pixels.1 - self.pixels.0);
        let stride = block_stride(step, lanes);
        let (mut a, mut b) = (Scratch::new(blocks * stride), Scratch::new(out_blocks * stride));
        let (a, b) = (a.as_mut_ptr(), b.as_mut_ptr());
        let mut start = self.pixels.0;
        while start < self.pixels.1 {
            let count = step.min(self.pixels.1 - start);
            // SAFETY: `a` and `b` have a stride for each block; the rows of these groups in `out`
            // are only this task's.
            unsafe {
                gather::<S>(s, &patch, self.x, (start, count), range, (a, stride));
                for m in 0..count {
                    reblock::<S>(
                        self.g.as_ptr().add((start + m) * co),
                        co,
                        b.add(m * lanes),
                        stride,
                    );
                }
                for panel in 0..out_blocks.div_ceil(2) {
                    let width = (out_blocks - 2 * panel).min(2);
                    let b = b.add(2 * panel * stride);
                    let c = self.out.at(2 * panel * lanes * columns + before * width * lanes);
                    gemm::tn::<S, 1>(
                        count,
                        fill,
                        (a, stride),
                        (b, stride),
                        width,
                        c,
                        start > self.pixels.0,
                    );
                }
            }
            start += count;
        }
    }
}
