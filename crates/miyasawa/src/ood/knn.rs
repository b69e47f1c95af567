//! The distance to the k-th nearest training image, in the features of a classifier.

use super::error::{ReferenceError, check_finite};
use nalgebra::DVectorView;
use rayon::prelude::*;

/// Images of a part that one thread compares with all training images: few enough that their
/// features stay in the cache.
const PART: usize = 16;

/// Features of training images, to which those of other images are compared (Sun et al. 2022,
/// "Out-of-distribution detection with deep nearest neighbors"): with `z = h / |h|` the normalised
/// features, the score is `-|z - z_(k)|`, where `z_(k)` is the k-th nearest of the training images.
///
/// ```
/// use miyasawa::ood::Knn;
///
/// // Directions at 0, 90 and 180 degrees: the second nearest of the first is a right angle away.
/// let knn = Knn::fit(&[2.0, 0.0, 0.0, 1.0, -3.0, 0.0], 2, 2)?;
/// let score = knn.scores(&[5.0, 0.0])[0];
/// assert!((score + f64::sqrt(2.0)).abs() < 1e-12);
/// # Ok::<(), miyasawa::ood::ReferenceError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Knn {
    k: usize,
    width: usize,
    /// Normalised, image by image.
    training: Vec<f64>,
}

impl Knn {
    /// Keeps the normalised features of training images, `[images, width]`, for the distance to the
    /// k-th nearest.
    ///
    /// # Errors
    /// If there are fewer images than `k`, `k` is 0, or a feature is not finite.
    ///
    /// # Panics
    /// If `width` is 0.
    pub fn fit(features: &[f32], width: usize, k: usize) -> Result<Self, ReferenceError> {
        check_finite("kNN", features, width)?;
        let found = features.len() / width;
        if k == 0 {
            return Err(ReferenceError::NoNeighbour);
        }
        if found < k {
            return Err(ReferenceError::TooFew { operation: "kNN", expected: k, found });
        }
        Ok(Self { k, width, training: normalised(features, width) })
    }

    /// The score of every image, `[images, width]`; NaN where a feature is.
    pub fn scores(&self, features: &[f32]) -> Vec<f64> {
        let queries = normalised(features, self.width);
        queries.par_chunks(PART * self.width).flat_map_iter(|part| self.part(part)).collect()
    }

    /// The scores of a part.
    fn part(&self, queries: &[f64]) -> Vec<f64> {
        let product = |a: &[f64], b: &[f64]| {
            DVectorView::from_slice(a, a.len()).dot(&DVectorView::from_slice(b, b.len()))
        };
        let count = self.training.len() / self.width;
        let mut squares: Vec<Vec<f64>> =
            queries.chunks(self.width).map(|_| Vec::with_capacity(count)).collect();
        for near in self.training.chunks(self.width) {
            let square = product(near, near);
            for (query, squares) in queries.chunks(self.width).zip(&mut squares) {
                squares.push(square - 2.0 * product(near, query));
            }
        }
        let score = |(query, squares): (&[f64], &mut Vec<f64>)| {
            let (_, nearest, _) = squares.select_nth_unstable_by(self.k - 1, f64::total_cmp);
            // The difference of equal numbers may come out a little below 0; NaN stays.
            let distance = *nearest + product(query, query);
            -(if distance < 0.0 { 0.0 } else { distance.sqrt() })
        };
        queries.chunks(self.width).zip(&mut squares).map(score).collect()
    }
}

/// Every row divided by its length; a row of zeros stays.
fn normalised(features: &[f32], width: usize) -> Vec<f64> {
    let mut rows: Vec<f64> = features.iter().map(|v| f64::from(*v)).collect();
    for row in rows.chunks_mut(width) {
        let length = DVectorView::from_slice(row, row.len()).norm().max(f64::MIN_POSITIVE);
        row.iter_mut().for_each(|v| *v /= length);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values without a pattern, but for a row of zeros.
    fn rows(count: usize, width: usize, factor: usize) -> Vec<f32> {
        let value = |i: usize| ((i * i * factor + 5 * i) % 43) as f32 / 7.0 - 3.0;
        (0..count * width).map(|i| if i < width { 0.0 } else { value(i) }).collect()
    }

    #[test]
    fn scores_are_those_of_all_distances_in_order() {
        let (width, k) = (5, 4);
        let (training, queries) = (rows(23, width, 17), rows(37, width, 11));
        let found = Knn::fit(&training, width, k).unwrap().scores(&queries);
        assert_eq!(found.len(), 37);
        let unit = |row: &[f32]| -> Vec<f64> {
            let length = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
            row.iter().map(|v| if length > 0.0 { f64::from(*v) / length } else { 0.0 }).collect()
        };
        for (query, found) in queries.chunks(width).zip(found) {
            let mut distances: Vec<f64> = training
                .chunks(width)
                .map(|row| {
                    let pairs = unit(row).into_iter().zip(unit(query));
                    pairs.map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
                })
                .collect();
            distances.sort_by(f64::total_cmp);
            assert!((found + distances[k - 1]).abs() < 1e-7, "{found} {distances:?}");
        }
    }

    #[test]
    fn the_length_of_features_does_not_matter_and_nan_is_passed_on() {
        let training = [1.0, 0.0, 0.0, 1.0, -1.0, 0.0, 0.0, -1.0];
        let scores = |k| Knn::fit(&training, 2, k).unwrap().scores(&[0.0, 9.0, f32::NAN, 1.0]);
        for (k, expected) in [(1, 0.0), (2, -2f64.sqrt()), (3, -2f64.sqrt()), (4, -2.0)] {
            let found = scores(k);
            assert!((found[0] - expected).abs() < 1e-12 && found[1].is_nan(), "{k}: {found:?}");
        }
    }

    #[test]
    fn wrong_settings_and_features_are_errors() {
        let few = Knn::fit(&[1.0, 2.0, 3.0], 1, 4).unwrap_err();
        assert_eq!(
            few.to_string(),
            "kNN: expected at least 4 images of the training distribution, found 3"
        );
        assert_eq!(Knn::fit(&[1.0], 1, 0).unwrap_err(), ReferenceError::NoNeighbour);
        let nan = Knn::fit(&[1.0, 2.0, f32::NAN, 3.0], 2, 1).unwrap_err();
        assert_eq!(nan.to_string(), "kNN: expected finite features, found NaN in those of image 1");
    }
}
