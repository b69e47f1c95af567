//! Whether an image was a JPEG file, whose cosines are multiples of steps, and what that cost.

use crate::image::Image;
use crate::image::camera::jpeg::{AREA, CHROMA, LUMA};
use crate::image::cosine::{Block, SIDE, cosines};
use crate::range::luma;
use std::f64::consts::TAU;

/// The most blocks that are used.
const BLOCKS: usize = 4_000;
/// The frequencies, vertical and horizontal, that are tried: low ones, of which most blocks have
/// some, and higher ones, whose steps are so large that noise which was clipped leaves them clear.
const FREQUENCIES: [(usize, usize); 18] = [
    (0, 1),
    (1, 0),
    (1, 1),
    (0, 2),
    (2, 0),
    (1, 2),
    (2, 1),
    (0, 3),
    (3, 0),
    (2, 2),
    (3, 3),
    (2, 4),
    (4, 2),
    (4, 4),
    (3, 5),
    (5, 3),
    (5, 5),
    (6, 6),
];
/// Steps of a table: below, rounding to 8 bits hides them, and above, hardly a cosine is left.
const STEPS: std::ops::RangeInclusive<usize> = 2..=60;
/// Cosines that are not rounded to 0, at least.
const LEAST: usize = 30;
/// The mean cosine of the phases that multiples of a step have: 1 without rounding to 8 bits, and
/// about 0, with a spread of 0.13, for other values.
const CLEAR: f64 = 0.6;
/// Frequencies that must have a step.
const ENOUGH: usize = 5;
/// As many cosines of a frequency that are left are hardly any.
const FEW: f64 = 2.0;
/// The two colour differences, of blue and of red (JFIF).
const DIFFERENCES: [fn([f32; 3]) -> f32; 2] =
    [|colour| (colour[2] - luma(colour)) / 1.772, |colour| (colour[0] - luma(colour)) / 1.402];
/// The share of what rounding changed that is not noise removed with it.
const NOT_NOISE: f64 = 0.85;
/// What variances of the two colour differences, of blue and of red, add to the mean of the
/// variances of red, green and blue (JFIF).
const ADDED: [f64; 2] =
    [(0.344_136 * 0.344_136 + 1.772 * 1.772) / 3.0, (1.402 * 1.402 + 0.714_136 * 0.714_136) / 3.0];

/// The compression that an image went through.
pub(super) struct Compression {
    /// The luma's steps in units of those of the standard's example.
    scale: f64,
}

impl Compression {
    /// Finds the steps of which the luma's cosines, in blocks from the image's corner on, are
    /// multiples; nothing if there are none.
    pub(super) fn find(image: &Image) -> Option<Self> {
        let blocks = blocks(image, luma);
        let mut scales: Vec<f64> = FREQUENCIES
            .iter()
            .filter_map(|(u, v)| {
                let values: Vec<f64> =
                    blocks.iter().map(|block| f64::from(block[*u][*v])).collect();
                // Of a step its divisors are steps too.
                let step = STEPS.rev().find(|step| is_step(&values, *step as f64))?;
                Some(step as f64 / f64::from(LUMA[u * SIDE + v]))
            })
            .collect();
        if scales.len() < ENOUGH {
            return None;
        }
        let middle = scales.len() / 2;
        Some(Self { scale: *scales.select_nth_unstable_by(middle, f64::total_cmp).1 })
    }

    /// The root mean square of what rounding the cosines changed of the image, in units of the
    /// [-1, 1] range.
    pub(super) fn loss(&self, image: &Image) -> f64 {
        let light = self.variance(&blocks(image, luma), &LUMA);
        let colour = image.channels == 3 && !image.is_grey();
        let differences = DIFFERENCES.into_iter().zip(ADDED).filter(|_| colour);
        let added = differences.map(|(difference, factor)| {
            factor * self.variance(&blocks(image, difference), &CHROMA)
        });
        NOT_NOISE * (light + added.sum::<f64>()).sqrt() / 127.5
    }

    /// The mean square of what rounding changed, over all cosines: a twelfth of the step's square
    /// where something is left, and the variance of a Laplace distribution between -1/2 and 1/2
    /// step elsewhere, whose width the share of cosines that are left tells.
    fn variance(&self, blocks: &[Block], table: &[u8; AREA]) -> f64 {
        let count = blocks.len().max(1) as f64;
        let of = |i: usize| {
            let step = (self.scale * f64::from(table[i])).round().max(1.0);
            let left = |block: &&Block| f64::from(block[i / SIDE][i % SIDE].abs()) >= 0.5 * step;
            let share = blocks.iter().filter(left).count() as f64 / count;
            let rounded = share * step * step / 12.0;
            // Where hardly one is left nothing says how near the others came.
            let removed = if share > FEW / count { within(0.5 * step, share) } else { 0.0 };
            rounded + (1.0 - share) * removed
        };
        (0..AREA).map(of).sum::<f64>() / AREA as f64
    }
}

/// The mean square of a Laplace variable below `half`, which it exceeds with a probability.
fn within(half: f64, exceeds: f64) -> f64 {
    let width = half / -exceeds.min(0.99).ln();
    let all = 2.0 * width * width;
    let beyond = exceeds * (half * half + 2.0 * half * width + all);
    ((all - beyond) / (1.0 - exceeds.min(0.99))).clamp(0.0, half * half)
}

fn is_step(values: &[f64], step: f64) -> bool {
    let used = values.iter().filter(|value| value.abs() >= 0.5 * step);
    let (count, sum) = used
        .fold((0usize, 0.0), |(count, sum), value| (count + 1, sum + (TAU * value / step).cos()));
    count >= LEAST && sum >= CLEAR * count as f64
}

/// The cosines of blocks of a component, of a range of 255, spread over the image.
fn blocks(image: &Image, component: impl Fn([f32; 3]) -> f32) -> Vec<Block> {
    let (channels, height, width) = image.shape();
    let size = height * width;
    let value = |i: usize| match channels {
        3 => component([0, 1, 2].map(|c| image.values()[c * size + i])),
        _ => image.values()[i],
    };
    let (rows, columns) = (height / SIDE, width / SIDE);
    let stride = (rows * columns).div_ceil(BLOCKS).max(1);
    let block = |place: usize| {
        let (y, x) = (place / columns * SIDE, place % columns * SIDE);
        cosines(&std::array::from_fn(|dy| {
            std::array::from_fn(|dx| 127.5 * value((y + dy) * width + x + dx))
        }))
    };
    (0..rows * columns).step_by(stride).map(block).collect()
}
