//! Blocks of a plane and their cosines: what the estimates from flat blocks share.

use super::{CLIPPED, Planes};
use crate::image::cosine::{Block, SIDE, cosines};

/// The most blocks of one plane, on a regular grid.
const BLOCKS: usize = 16_000;
/// Pixels between a block and the ring around it: noise that demosaicking spreads does not reach
/// across them.
const GAP: usize = 2;
/// Thickness of the ring.
const RING: usize = 3;

/// A block of a plane.
pub(super) struct Sample {
    /// Row and column of its first pixel.
    pub(super) at: (usize, usize),
    pub(super) mean: f32,
    /// The largest size of the means of its four corners of 4 by 4 pixels: how near it comes to the
    /// ends of the range.
    pub(super) extreme: f32,
    /// The orthonormal cosines of its values, `[vertical][horizontal]`.
    pub(super) cosines: Block,
}

/// The number of rows and of columns in which a block can begin.
fn starts(planes: &Planes) -> [usize; 2] {
    [planes.height, planes.width].map(|len| (len + 1).saturating_sub(SIDE))
}

/// Pixels from the start of one block of a plane to the next, in both directions.
pub(super) fn stride(planes: &Planes) -> usize {
    let [rows, columns] = starts(planes);
    let mut stride = 1;
    while rows.div_ceil(stride) * columns.div_ceil(stride) > BLOCKS {
        stride += 1;
    }
    stride
}

/// Blocks of a plane, spread over all of it. Blocks of one value at an end of the range are left
/// out: what was clipped has no noise.
pub(super) fn sample(planes: &Planes, plane: &[f32]) -> Vec<Sample> {
    let [rows, columns] = starts(planes);
    let (stride, width) = (stride(planes), planes.width);
    let mut samples = Vec::new();
    for y in (0..rows).step_by(stride) {
        for x in (0..columns).step_by(stride) {
            let block: Block = std::array::from_fn(|dy| {
                let row = &plane[(y + dy) * width + x..][..SIDE];
                std::array::from_fn(|dx| row[dx])
            });
            let first = block[0][0];
            let constant = block.iter().flatten().all(|value| *value == first);
            if constant && planes.clips && first.abs() >= CLIPPED {
                continue;
            }
            let cosines = cosines(&block);
            let (at, mean) = ((y, x), cosines[0][0] / SIDE as f32);
            samples.push(Sample { at, mean, extreme: extreme(&block), cosines });
        }
    }
    samples
}

fn extreme(block: &Block) -> f32 {
    const HALF: usize = SIDE / 2;
    let sums = [0, HALF].into_iter().flat_map(|top| {
        [0, HALF].map(|left| {
            let rows = &block[top..top + HALF];
            rows.iter().flat_map(|row| &row[left..left + HALF]).sum::<f32>()
        })
    });
    sums.fold(0.0, |largest, sum| f32::max(largest, sum.abs())) / (HALF * HALF) as f32
}

/// The variance of the values around a block, as far as the plane reaches: how flat an image is
/// there, seen in pixels whose noise is independent of the block's.
pub(super) fn ring_variance(planes: &Planes, plane: &[f32], (y, x): (usize, usize)) -> f32 {
    let reach = GAP + RING;
    let span =
        |start: usize, len: usize| (start.saturating_sub(reach), (start + SIDE + reach).min(len));
    let inner = |i: usize, start: usize| i + GAP >= start && i < start + SIDE + GAP;
    let ((top, bottom), (left, right)) = (span(y, planes.height), span(x, planes.width));
    let (mut count, mut sum, mut squares) = (0.0f64, 0.0f64, 0.0f64);
    for row in top..bottom {
        for column in left..right {
            if inner(row, y) && inner(column, x) {
                continue;
            }
            let value = f64::from(plane[row * planes.width + column]);
            count += 1.0;
            sum += value;
            squares += value * value;
        }
    }
    if count < 1.0 {
        return f32::INFINITY;
    }
    (squares / count - (sum / count).powi(2)).max(0.0) as f32
}
