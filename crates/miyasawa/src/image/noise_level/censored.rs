//! The noise level where much of the noise was clipped at the ends of the range.

use super::Planes;
use crate::normal::clipped_moments;

/// Side of the blocks within which the image is assumed constant.
const BLOCK: usize = 8;
/// The most blocks that are used.
const BLOCKS: usize = 400;
/// Share of clipped values above which a block is not used.
const MOST: f64 = 0.8;
/// The ends of the range of levels that are searched.
const LEVELS: [f64; 2] = [1e-3, 4.0];

/// Halvings of an interval: the error of a level is then far below that of the data.
const HALVINGS: usize = 20;

/// The median over blocks of the level of normal numbers that, clipped to [-1, 1], have the block's
/// mean and the variance of its finest diagonal wavelet coefficients; nothing where no block is
/// left.
pub(super) fn level(planes: &Planes) -> Option<f64> {
    let columns = planes.width / BLOCK;
    let count = columns * (planes.height / BLOCK);
    let stride = (count * planes.planes.len()).div_ceil(BLOCKS).max(1);
    let mut levels = Vec::new();
    for plane in &planes.planes {
        for block in (0..count).step_by(stride) {
            let (top, left) = (block / columns * BLOCK, block % columns * BLOCK);
            let row = |y: usize| &plane[(top + y) * planes.width + left..][..BLOCK];
            let values = || (0..BLOCK).flat_map(row);
            let all = (BLOCK * BLOCK) as f64;
            if values().filter(|value| planes.clipped(**value)).count() as f64 > MOST * all {
                continue;
            }
            let mean = values().map(|value| f64::from(*value)).sum::<f64>() / all;
            let squares = (1..BLOCK).flat_map(|y| row(y - 1).windows(2).zip(row(y).windows(2)));
            let diagonal = |(a, b): (&[f32], &[f32])| f64::from(0.5 * (a[0] - a[1] - b[0] + b[1]));
            let sum: f64 = squares.map(diagonal).map(|d| d * d).sum();
            levels.push(inverse(mean, sum / ((BLOCK - 1) * (BLOCK - 1)) as f64));
        }
    }
    if levels.is_empty() {
        return None;
    }
    let middle = levels.len() / 2;
    Some(*levels.select_nth_unstable_by(middle, f64::total_cmp).1)
}

/// The argument between `low` and `high` at which a rising function reaches a value.
fn bisect(mut low: f64, mut high: f64, rises_to: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..HALVINGS {
        let middle = 0.5 * (low + high);
        if rises_to(middle) { high = middle } else { low = middle }
    }
    0.5 * (low + high)
}

/// The `sigma` for which clipped normal numbers have this mean and variance.
fn inverse(mean: f64, variance: f64) -> f64 {
    let [low, high] = LEVELS.map(f64::ln);
    let of = |sigma: f64| {
        let reach = 1.0 + 6.0 * sigma;
        let mu = bisect(-reach, reach, |mu| clipped_moments(mu, sigma)[0] >= mean);
        clipped_moments(mu, sigma)[1]
    };
    bisect(low, high, |log| of(log.exp()) >= variance).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_inverted() {
        for (mu, sigma) in [(0.0, 0.3), (0.8, 0.4), (-0.5, 1.0), (0.2, 2.0)] {
            let [mean, variance] = clipped_moments(mu, sigma);
            let found = inverse(mean, variance);
            assert!((found / sigma - 1.0).abs() < 1e-3, "{mu} {sigma}: {found}");
        }
    }
}
