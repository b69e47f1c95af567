//! Values that were clipped at the ends of the range, as files do, replaced by the mean of the
//! values that may have been clipped.

use crate::image::Image;
use crate::normal::{clipped_moments, mean_beyond};
use std::borrow::Cow;

/// Pixels on each side of a pixel whose mean estimates its clean value.
pub(super) const REACH: usize = 3;
/// Entries of the table of clipped means.
const ENTRIES: usize = 512;
/// Share of clipped values below which an image is unchanged.
const FEW: f64 = 0.001;

/// What clipped values with noise of a level are replaced by: for clean values within the range,
/// the mean of the clipped noisy values, which rises with them, and of the noisy values beyond the
/// end.
pub(super) struct Clipping {
    means: Vec<f64>,
    beyond: Vec<f64>,
}

impl Clipping {
    /// That of an image with these values and noise of the level `sigma`; nothing for an image that
    /// is not clipped, or hardly at all.
    pub fn of(values: impl Iterator<Item = f32>, sigma: f64) -> Option<Self> {
        let (mut all, mut ends, mut outside) = (0usize, 0usize, false);
        for value in values {
            all += 1;
            ends += usize::from(value.abs() == 1.0);
            outside |= value.abs() > 1.0;
        }
        if sigma <= 0.0 || outside || ends == 0 || (ends as f64) < FEW * all as f64 {
            return None;
        }
        let clean = |i: usize| -1.0 + 2.0 * i as f64 / (ENTRIES - 1) as f64;
        let means = (0..ENTRIES).map(|i| clipped_moments(clean(i), sigma)[0]).collect();
        let beyond = (0..ENTRIES).map(|i| mean_beyond(clean(i), sigma)).collect();
        Some(Self { means, beyond })
    }

    /// Replaces the clipped values of a plane with rows of `width`, given the clean value that the
    /// neighbouring values suggest.
    pub fn replace(&self, plane: &mut [f32], width: usize) {
        let entry = |mean: f64| self.means.partition_point(|entry| *entry < mean).min(ENTRIES - 1);
        let (height, sums) = (plane.len() / width, integral(plane, width));
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
                *value = (sign * self.beyond[entry(sign * mean)]) as f32;
            }
        }
    }
}

/// The image with noise of the level `sigma` in which every value at an end of the range is
/// replaced by the mean of the noisy values beyond it, given the clean value that the neighbouring
/// values suggest. An image that is not clipped, or hardly at all, is unchanged.
///
/// Without this, noise on white has a mean below white, and white becomes grey.
pub(super) fn unclipped(noisy: Cow<'_, Image>, sigma: f64) -> Cow<'_, Image> {
    let Some(clipping) = Clipping::of(noisy.values().iter().copied(), sigma) else { return noisy };
    let (shape, depth) = (noisy.shape(), noisy.depth());
    let mut values = noisy.values().to_vec();
    for plane in values.chunks_exact_mut(shape.1 * shape.2) {
        clipping.replace(plane, shape.2);
    }
    Image::new(shape, values).map_or(noisy, |image| Cow::Owned(image.with_depth(depth)))
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
            let found = mean(&unclipped(Cow::Borrowed(&clipped), sigma));
            let before = (mean(&clipped) - f64::from(clean)).abs();
            let after = (found - f64::from(clean)).abs();
            assert!(
                after < 0.012 && after < 0.5 * before,
                "{clean}: {before} before, {after} after"
            );
            let free = Image::new((1, side, side), noisy).unwrap();
            assert_eq!(*unclipped(Cow::Borrowed(&free), sigma), free);
        }
    }
}
