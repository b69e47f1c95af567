//! The noise level by the high frequencies of the blocks with the least of low ones.

use super::Planes;
use super::blocks::{Sample, sample};

/// Sums of the two frequencies below this are low, from it on high.
const HIGH: usize = 9;
/// Share of the blocks that are used, and the least number of them.
const SHARE: f64 = 0.01;
const LEAST: usize = 64;
/// The fewest blocks to choose from.
const ENOUGH: usize = 2_000;
/// Blocks whose mean is this many standard deviations from the ends of the range are not clipped.
const INSIDE: f64 = 2.5;

/// Estimates the level; nothing for a small image, or one of which too little is inside the range.
///
/// Ponomarenko et al. 2007, "An automatic approach to lossy compression of AVIRIS images", as
/// analysed by Colom & Buades 2013, "Analysis and extension of the Ponomarenko et al. method": for
/// white noise the cosines of a block are independent, so that choosing blocks by their low
/// frequencies does not make the high ones smaller than the noise is, and a block with few low ones
/// has little of the image in the high ones either.
pub(super) fn level(planes: &Planes) -> Option<f64> {
    let samples: Vec<_> =
        planes.planes.iter().flat_map(|plane| sample(planes, plane)).map(Energy::new).collect();
    let inside = |sigma: f64| {
        let limit = if planes.clips { 1.0 - INSIDE * sigma } else { f64::INFINITY };
        let kept = samples.iter().filter(move |energy| f64::from(energy.mean).abs() <= limit);
        kept.collect::<Vec<_>>()
    };
    let mut level = estimate(inside(0.05))?;
    // What is inside depends on the level; twice is enough.
    for _ in 0..2 {
        level = estimate(inside(level))?;
    }
    Some(level)
}

/// What is needed of a block: its mean, the sum of squares of its low frequencies, and the squares
/// of its high ones.
struct Energy {
    mean: f32,
    low: f32,
    high: [f32; 21],
}

impl Energy {
    fn new(sample: Sample) -> Self {
        let (mut low, mut high, mut next) = (0.0, [0.0; 21], 0);
        for (u, row) in sample.cosines.iter().enumerate() {
            for (v, value) in row.iter().enumerate() {
                match u + v {
                    0 => {}
                    sum if sum < HIGH => low += value * value,
                    _ => {
                        high[next] = value * value;
                        next += 1;
                    }
                }
            }
        }
        Self { mean: sample.mean, low, high }
    }
}

/// The root of the median over high frequencies of their mean square in the chosen blocks.
fn estimate(mut blocks: Vec<&Energy>) -> Option<f64> {
    if blocks.len() < ENOUGH {
        return None;
    }
    let count = ((blocks.len() as f64 * SHARE) as usize).max(LEAST);
    blocks.select_nth_unstable_by(count - 1, |a, b| a.low.total_cmp(&b.low));
    let mut squares: [f64; 21] = std::array::from_fn(|i| {
        blocks[..count].iter().map(|block| f64::from(block.high[i])).sum::<f64>() / count as f64
    });
    squares.sort_by(f64::total_cmp);
    Some(squares[10].sqrt())
}
