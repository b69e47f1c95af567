//! Values that were clipped at the ends of the range, as files do, replaced by the mean of the
//! values that may have been clipped.

use crate::image::Image;
use crate::normal::{clipped_moments, mean_beyond};

/// Pixels on each side of a pixel whose mean estimates its clean value.
const REACH: usize = 3;
/// Entries of the table of clipped means.
const ENTRIES: usize = 512;
/// Share of clipped values below which an image is unchanged.
const FEW: f64 = 0.001;

/// The image with noise of the level `sigma` in which every value at an end of the range is
/// replaced by the mean of the noisy values beyond it, given the clean value that the neighbouring
/// values suggest. An image that is not clipped, or hardly at all, is unchanged.
///
/// Without this, noise on white has a mean below white, and white becomes grey.
pub(super) fn unclipped(noisy: &Image, sigma: f64) -> Image {
    let count = noisy.values().iter().filter(|value| value.abs() == 1.0).count();
    if sigma <= 0.0 || !noisy.is_clipped() || (count as f64) < FEW * noisy.values().len() as f64 {
        return noisy.clone();
    }
    // Clean values lie within the range; their clipped means rise with them.
    let clean = |i: usize| -1.0 + 2.0 * i as f64 / (ENTRIES - 1) as f64;
    let means: Vec<f64> = (0..ENTRIES).map(|i| clipped_moments(clean(i), sigma)[0]).collect();
    let beyond: Vec<f64> = (0..ENTRIES).map(|i| mean_beyond(clean(i), sigma)).collect();
    let entry = |mean: f64| means.partition_point(|entry| *entry < mean).min(ENTRIES - 1);
    let (height, width) = (noisy.height(), noisy.width());
    let mut values = noisy.values().to_vec();
    for plane in values.chunks_exact_mut(height * width) {
        let sums = integral(plane, width);
        for y in 0..height {
            for x in 0..width {
                let value = &mut plane[y * width + x];
                if value.abs() != 1.0 {
                    continue;
                }
                let (top, bottom) = (y.saturating_sub(REACH), (y + REACH + 1).min(height));
                let (left, right) = (x.saturating_sub(REACH), (x + REACH + 1).min(width));
                let at = |y: usize, x: usize| sums[y * (width + 1) + x];
                let sum = at(bottom, right) - at(top, right) - at(bottom, left) + at(top, left);
                let mean = sum / ((bottom - top) * (right - left)) as f64;
                // The lower end is the mirror image of the upper one.
                let sign = f64::from(*value);
                *value = (sign * beyond[entry(sign * mean)]) as f32;
            }
        }
    }
    Image::new(noisy.shape(), values)
        .map_or_else(|_| noisy.clone(), |p| p.with_depth(noisy.depth()))
}

/// Sums of all values above and to the left of every position, `[height + 1, width + 1]`.
fn integral(plane: &[f32], width: usize) -> Vec<f64> {
    let mut sums = vec![0.0; width + 1];
    for row in plane.chunks_exact(width) {
        let above = sums.len() - (width + 1);
        let mut sum = 0.0;
        sums.push(0.0);
        for (x, value) in row.iter().enumerate() {
            sum += f64::from(*value);
            let up = sums[above + x + 1];
            sums.push(up + sum);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::evaluation_noise;

    #[test]
    fn integral_sums_are_those_of_rectangles() {
        let sums = integral(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3);
        assert_eq!(sums, [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 3.0, 6.0, 0.0, 5.0, 12.0, 21.0]);
    }

    /// Noise on a constant near either end, clipped, regains its mean; an image that is not clipped
    /// is unchanged.
    #[test]
    fn clipped_noise_regains_its_mean() {
        let (side, sigma) = (64, 0.2);
        let noise = evaluation_noise(2, 0, 0, 1, side * side);
        let mean = |image: &Image| {
            image.values().iter().map(|v| f64::from(*v)).sum::<f64>() / (side * side) as f64
        };
        for clean in [1.0f32, 0.9, -1.0, -0.85] {
            let noisy: Vec<f32> = noise.iter().map(|e| clean + sigma as f32 * e).collect();
            let clipped = noisy.iter().map(|v| v.clamp(-1.0, 1.0)).collect();
            let clipped = Image::new((1, side, side), clipped).unwrap();
            let found = mean(&unclipped(&clipped, sigma));
            let before = (mean(&clipped) - f64::from(clean)).abs();
            let after = (found - f64::from(clean)).abs();
            assert!(
                after < 0.012 && after < 0.5 * before,
                "{clean}: {before} before, {after} after"
            );
            let free = Image::new((1, side, side), noisy).unwrap();
            assert_eq!(unclipped(&free, sigma), free);
        }
    }
}
