//! 3x3 convolution by Winograd's bilinear algorithms: 36 products where the definition has 144 with
//! stride 1, 81 with stride 2.
//!
//! A tile of 4x4 outputs is `Aᵀ[(G w Gᵀ) ⊙ (Bᵀ x B)]A`, summed over input channels before
//! `Aᵀ .. A`; the sum is a matrix product of tiles and channels for each entry of the bracket. The
//! adjoint is the same with flipped and transposed weights. The weight gradient is
//! `Gᵀ[sum over tiles of (Bᵀ x B) ⊙ (A g Aᵀ)]G`.
//!
//! With few weights a task takes a few dozen tiles from the image to the result, everything in its
//! second-level cache ([`Fused`]). Transformed weights grow fourfold; where they would exceed the
//! cache, all tiles are transformed first and a task takes a panel of result channels, whose
//! weights it transforms as it goes ([`Panel`]).

/// Calls `run_tiles` for the number of tiles in a vector.
macro_rules! run_for_tiles {
    ($self:ident, $S:ident) => {
        // SAFETY: the caller's promise.
        unsafe {
            if $S::PAIRS && $self.pass.per_vector == 2 {
                $self.run_tiles::<$S, 2>()
            } else {
                $self.run_tiles::<$S, 1>()
            }
        }
    };
}

mod grad;
mod load;
mod stages;
mod store;
mod tiles;
mod transform;
mod weights;

use std::mem::MaybeUninit;

use crate::isa::Isa;
use crate::scratch::{Scratch, SharedMut};
use crate::tasks;

use super::ConvShape;
pub(super) use grad::weight_grad;
use stages::{Fused, Load, Pack, Panel, Pass};
use tiles::{Grid, Images, Planes};
use transform::{TILE, Tiling};
use weights::Weights;

/// Transformed weights that are computed once for all tasks; more are transformed panel by panel.
const SHARED_WEIGHTS: usize = 640 * 1024;
/// Values of the transformed tiles of one task.
const TILE_BUDGET: usize = 288 * 1024;
/// Most rows of a fused task: measured best from 8 to 128 channels, between reading the weights
/// again and leaving the first-level cache.
const FUSED_ROWS: usize = 24;
/// Up to this many rows (one image) every thread transforms all weights for itself: that takes less
/// time than fetching them from another core's cache.
const OWN_WEIGHTS_ROWS: usize = 64;
/// Most rows that are transformed at once for all panels.
const SHARED_ROWS: usize = 128;

/// Whether the algorithm can compute the shape.
pub(super) fn supports(s: &ConvShape) -> bool {
    s.kernel == 3 && (s.stride == 1 && s.padding <= 2 || s.stride == 2 && s.padding == 1)
}

/// Whether it saves enough products to make up for the transforms, which cost about a quarter of
/// them. Only outputs of few pixels a side waste that many; even three input channels gain.
pub(super) fn is_faster(s: &ConvShape) -> bool {
    let kind = if s.stride == 1 { Tiling::Unit } else { Tiling::Down };
    let tiles = Grid::new(1, s.out_height(), s.out_width(), TILE).tiles;
    5 * tiles * kind.products() <= 4 * 9 * s.out_height() * s.out_width()
}

/// Tiles in a vector: two if half a vector holds all channels.
fn tiles_per_vector(isa: Isa, a: usize, b: usize) -> usize {
    if isa == Isa::Avx512 && a.max(b) <= isa.lanes() / 2 { 2 } else { 1 }
}

pub(super) fn forward(
    isa: Isa,
    s: &ConvShape,
    x: &[f32],
    w: &[f32],
    addend: Option<&[f32]>,
    y: &mut [MaybeUninit<f32>],
) {
    let kind = if s.stride == 1 { Tiling::Unit } else { Tiling::Down };
    let weights = Weights {
        kind,
        inputs: s.in_channels,
        outputs: s.out_channels,
        adjoint: false,
        operands: s.operands,
    };
    let (from, to) = sides(s, kind);
    apply(isa, s.batch, weights, from, to, x, w, addend, y);
}

/// The images before and after a forward pass.
fn sides(s: &ConvShape, kind: Tiling) -> (Images, Images) {
    let (step, tile) = (kind.step(), kind.tile());
    let (height, width) = (s.out_height(), s.out_width());
    (
        Images {
            height: s.height,
            width: s.width,
            channels: s.in_channels,
            padding: s.padding,
            step,
        },
        Images { height, width, channels: s.out_channels, padding: 0, step: tile },
    )
}

pub(super) fn adjoint(
    isa: Isa,
    s: &ConvShape,
    g: &[f32],
    w: &[f32],
    addend: Option<&[f32]>,
    x: &mut [MaybeUninit<f32>],
) {
    let kind = if s.stride == 1 { Tiling::Unit } else { Tiling::Up };
    let weights = Weights {
        kind,
        inputs: s.in_channels,
        outputs: s.out_channels,
        adjoint: true,
        operands: s.operands,
    };
    let (to, from) = sides(s, kind);
    let padding = if kind == Tiling::Unit { 2 - s.padding } else { 0 };
    let (from, to) =
        (Images { padding, step: kind.step(), ..from }, Images { step: kind.tile(), ..to });
    apply(isa, s.batch, weights, from, to, g, w, addend, x);
}

#[allow(clippy::too_many_arguments)]
fn apply(
    isa: Isa,
    batch: usize,
    weights: Weights,
    from: Images,
    to: Images,
    x: &[f32],
    w: &[f32],
    addend: Option<&[f32]>,
    y: &mut [MaybeUninit<f32>],
) {
    let lanes = isa.lanes();
    let per_vector = tiles_per_vector(isa, weights.inputs, weights.outputs);
    let width = lanes / per_vector;
    let (depth, blocks) = (weights.depth(), weights.depth().div_ceil(width));
    let out_blocks = weights.results().div_ceil(width);
    let mut zeros = Scratch::new(depth);
    zeros.fill(0.0);
    let grid = Grid::new(batch, to.height, to.width, to.step);
    let (products, order) = (weights.kind.products(), &weights.kind.order());
    let rows = grid.tiles.div_ceil(per_vector);
    let y = SharedMut::unwritten(y);
    let pass = Pass { weights, from, to, grid, order, per_vector, x, zeros: &zeros, w, addend, y };

    let size = weights::panel(depth, lanes) * out_blocks.div_ceil(2);
    if size <= SHARED_WEIGHTS {
        let steps = depth.div_ceil(lanes);
        let pack = |i: usize, out: SharedMut| {
            let start = i % steps * lanes;
            isa.run(Pack {
                pass,
                block: i / steps,
                depths: (start, depth.min(start + lanes)),
                out,
            });
        };
        let most = (TILE_BUDGET / (products * blocks * lanes) / 8 * 8).clamp(8, FUSED_ROWS);
        let step = most.min((rows / 4).next_multiple_of(8)).max(8);
        let fused = |packed: &[f32], from: usize, to: usize| {
            for start in (from..to).step_by(step) {
                isa.run(Fused { pass, packed, start, rows: step.min(to - start) });
            }
        };
        if rows <= OWN_WEIGHTS_ROWS {
            let parts = rayon::current_num_threads().min(rows.div_ceil(8));
            tasks::run(parts, |i| {
                let mut packed = Scratch::new(size);
                let out = SharedMut::new(&mut packed);
                (0..out_blocks * steps).for_each(|i| pack(i, out));
                fused(&packed, i * rows / parts, (i + 1) * rows / parts);
            });
        } else {
            let mut packed = Scratch::new(size);
            let shared = SharedMut::new(&mut packed);
            tasks::run_if(size > 64 * 1024, out_blocks * steps, |i| pack(i, shared));
            tasks::run(rows.div_ceil(step), |i| fused(&packed, i * step, rows.min((i + 1) * step)));
        }
    } else {
        let step = SHARED_ROWS.min(rows);
        let mut tiles = Scratch::new(Planes::new(products, blocks, step, lanes).len());
        for start in (0..rows).step_by(step) {
            let planes = Planes::new(products, blocks, step.min(rows - start), lanes);
            let shared = SharedMut::new(&mut tiles);
            // Eight rows of four blocks are enough work for a task.
            let (row_parts, block_parts) = (planes.rows.div_ceil(8), blocks.div_ceil(4));
            tasks::run(row_parts * block_parts, |i| {
                let first_row = i / block_parts * 8;
                let first = i % block_parts * 4;
                isa.run(Load {
                    pass,
                    planes,
                    start: start + first_row,
                    rows: 8.min(planes.rows - first_row),
                    blocks: (first, blocks.min(first + 4)),
                    out: shared,
                    first_row,
                });
            });
            let tiles = &tiles[..];
            tasks::run(out_blocks.div_ceil(2), |panel| {
                isa.run(Panel { pass, planes, tiles, start, panel })
            });
        }
    }
}
