//! The noise level by the high frequencies of the blocks with the least of low ones.

use super::Planes;
use super::blocks::{Sample, sample, stride};
use crate::image::cosine::SIDE;

/// Sums of the two frequencies below this are low, from it on high.
const HIGH: usize = 9;
/// The number of high frequencies.
const COUNT: usize = 21;
/// Shares of the blocks that are tried, and the least number of them.
const SHARES: [f64; 5] = [0.01, 0.02, 0.05, 0.1, 0.25];
const LEAST: usize = 64;
/// The fewest blocks to choose from, for a level and for the share of the highest frequencies.
const ENOUGH: usize = 2_000;
const CORNER_ENOUGH: usize = 200;
/// Up to this mean square there is nothing but the rounding of the arithmetic.
const NOTHING: f64 = 1e-10;
/// From this sum of two frequencies on they are the highest.
const HIGHEST: usize = 12;
/// Blocks whose corners' means are this many standard deviations from the ends of the range are not
/// clipped.
const INSIDE: f64 = 2.5;
/// The same where the level is not known.
const CORNER_INSIDE: f32 = 0.9;
/// By these times its relative standard error, and the error's square, an estimate is raised before
/// the smallest is taken, so that the smallest of many is not too small.
const ERRORS: [f64; 2] = [0.3, 8.0];

/// Estimates the level; nothing for a small image, or one of which too little is inside the range.
///
/// Ponomarenko et al. 2007, "An automatic approach to lossy compression of AVIRIS images", as
/// analysed by Colom & Buades 2013, "Analysis and extension of the Ponomarenko et al. method": for
/// white noise the cosines of a block are independent, so that choosing blocks by their low
/// frequencies does not make the high ones smaller than the noise is, and a block with few low ones
/// has little of the image in the high ones either.
///
/// The share of the blocks is not fixed: few are the flattest, many have less error. Nor are the
/// frequencies: all, and the upright, the level and the diagonal ones alone, because texture has
/// directions. Of all these estimates texture makes none smaller; the smallest is returned.
pub(super) fn level(planes: &Planes) -> Option<f64> {
    let blocks = energies(planes);
    let inside = |sigma: f64| {
        let limit = if planes.clips { 1.0 - INSIDE * sigma } else { f64::INFINITY };
        let kept = blocks.iter().filter(move |block| f64::from(block.extreme) <= limit);
        kept.collect::<Vec<_>>()
    };
    let mut level = estimate(planes, inside(0.05))?;
    // What is inside depends on the level; twice is enough.
    for _ in 0..2 {
        level = estimate(planes, inside(level))?;
    }
    Some(level)
}

/// The share of the highest frequencies: their mean square in the flattest blocks, in units of that
/// of the lowest of the high ones. White noise has 1. Nothing for an image in which there are too
/// few blocks, or without noise in the flattest.
pub(super) fn corner(planes: &Planes) -> Option<f64> {
    let mut blocks = energies(planes);
    blocks.retain(|block| block.extreme <= CORNER_INSIDE || !planes.clips);
    if blocks.len() < CORNER_ENOUGH {
        return None;
    }
    let count = ((blocks.len() as f64 * SHARES[1]) as usize).max(LEAST);
    blocks.select_nth_unstable_by(count - 1, |a, b| a.low.total_cmp(&b.low));
    let mean = |from: usize, to: usize| {
        let squares = blocks[..count].iter().flat_map(|block| {
            let pairs = block.high.iter().zip(high());
            pairs
                .filter(move |(_, (u, v))| (from..=to).contains(&(u + v)))
                .map(|(square, _)| square)
        });
        let (sum, count) = squares.fold((0.0, 0.0), |(s, n), v| (s + f64::from(*v), n + 1.0));
        sum / count
    };
    let (near, far) = (mean(HIGH, HIGH), mean(HIGHEST, 2 * SIDE - 2));
    (near > NOTHING).then(|| far / near)
}

/// What is needed of a block: where it is, its most extreme corner, the sum of squares of its low
/// frequencies, and the squares of its high ones.
struct Energy {
    plane: usize,
    at: (usize, usize),
    extreme: f32,
    low: f32,
    high: [f32; COUNT],
}

fn energies(planes: &Planes) -> Vec<Energy> {
    let of = |(i, plane)| sample(planes, plane).into_iter().map(move |s| Energy::new(i, &s));
    planes.planes.iter().copied().enumerate().flat_map(of).collect()
}

/// The pairs of high frequencies, vertical and horizontal.
fn high() -> impl Iterator<Item = (usize, usize)> {
    (0..SIDE).flat_map(|u| (0..SIDE).map(move |v| (u, v))).filter(|(u, v)| u + v >= HIGH)
}

impl Energy {
    fn new(plane: usize, sample: &Sample) -> Self {
        let square = |(u, v): (usize, usize)| sample.cosines[u][v] * sample.cosines[u][v];
        let all = (0..SIDE).flat_map(|u| (0..SIDE).map(move |v| (u, v))).skip(1);
        let low = all.filter(|(u, v)| u + v < HIGH).map(square).sum();
        let mut values = [0.0; COUNT];
        values.iter_mut().zip(high()).for_each(|(value, pair)| *value = square(pair));
        Self { plane, at: sample.at, extreme: sample.extreme, low, high: values }
    }
}

/// The area that blocks cover, in pixels: blocks overlap, and so their values are not independent.
struct Area {
    /// Pixels from one block to the next.
    stride: usize,
    /// Cells of a side of `stride` pixels, by plane, row and column.
    seen: Vec<bool>,
    rows: usize,
    columns: usize,
    count: usize,
}

impl Area {
    fn new(planes: &Planes) -> Self {
        let stride = stride(planes);
        let [rows, columns] = [planes.height, planes.width].map(|len| len.div_ceil(stride) + SIDE);
        let seen = vec![false; planes.planes.len() * rows * columns];
        Self { stride, seen, rows, columns, count: 0 }
    }

    /// Cells of a side of a block.
    fn side(&self) -> usize {
        SIDE.div_ceil(self.stride)
    }

    fn add(&mut self, block: &Energy) {
        let (y, x) = (block.at.0 / self.stride, block.at.1 / self.stride);
        for row in y..y + self.side() {
            let start = (block.plane * self.rows + row) * self.columns + x;
            for cell in &mut self.seen[start..start + SIDE.div_ceil(self.stride)] {
                self.count += usize::from(!std::mem::replace(cell, true));
            }
        }
    }

    fn pixels(&self) -> f64 {
        self.count as f64 * (SIDE as f64 / self.side() as f64).powi(2)
    }
}

/// The smallest root mean square over shares of the blocks and groups of frequencies, each raised
/// by its error.
fn estimate(planes: &Planes, mut blocks: Vec<&Energy>) -> Option<f64> {
    if blocks.len() < ENOUGH {
        return None;
    }
    blocks.sort_unstable_by(|a, b| a.low.total_cmp(&b.low));
    let groups: [fn((usize, usize)) -> bool; 4] =
        [|_| true, |(u, v)| u >= v + 2, |(u, v)| v >= u + 2, |(u, v)| u.abs_diff(v) < 2];
    let (mut area, mut sums, mut from) = (Area::new(planes), [0.0f64; COUNT], 0);
    let mut smallest = f64::INFINITY;
    for share in SHARES {
        let to = ((blocks.len() as f64 * share) as usize).max(LEAST);
        for block in &blocks[from..to] {
            area.add(block);
            sums.iter_mut().zip(block.high).for_each(|(sum, square)| *sum += f64::from(square));
        }
        from = to;
        for group in groups {
            let of = sums.iter().zip(high()).filter(|(_, pair)| group(*pair)).map(|(sum, _)| *sum);
            let (sum, count) = of.fold((0.0, 0.0), |(sum, n), square| (sum + square, n + 1.0));
            // A share of the cosines is that share of the pixels' information.
            let independent = area.pixels() * count / (SIDE * SIDE) as f64;
            let level = (sum / (count * to as f64)).sqrt();
            let error = 1.0 / (2.0 * independent).sqrt();
            smallest = smallest.min(level * (1.0 + (ERRORS[0] + ERRORS[1] * error) * error));
        }
    }
    Some(smallest)
}
