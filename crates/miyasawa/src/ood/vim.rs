//! Virtual-logit matching: what of an image's features lies outside the training images' space.

use super::error::{ReferenceError, check_finite};
use nalgebra::{DMatrix, DVector, SymmetricEigen};
use rayon::prelude::*;

/// Images of a part that one thread computes.
const PART: usize = 64;

/// The singular values of the class head's weights that count, as a share of the largest: as in
/// NumPy's pseudo-inverse.
const SMALLEST: f64 = 1e-15;

/// Virtual-logit matching (Wang et al. 2022, "ViM: Out-of-distribution with virtual-logit
/// matching") for logits `f = W h + b` of features `h`.
///
/// Around the origin `o = -W^+ b`, where all logits are 0 as far as that can be, the principal
/// space of the training features is that of the largest eigenvalues of the mean of
/// `(h - o) (h - o)^T`. With `r(h)` the length of what of `h - o` lies outside of it, the score is
///
/// ```text
/// log sum_c exp f_c - alpha r(h)
/// alpha = mean of max_c f_c / mean of r, over the training images
/// ```
///
/// It orders images as the probability that the paper gives to the virtual class of the logit
/// `alpha r` does, in reverse. `alpha` is negative where the largest logits are so on average;
/// nothing is changed then.
///
/// ```
/// use miyasawa::ood::Vim;
///
/// // Two classes, told apart by the first of three features. The training images differ in the
/// // first two and hardly in the third.
/// let (weight, bias) = ([4.0, 0.0, 0.0, -4.0, 0.0, 0.0], [0.0, 0.0]);
/// let training = [2.0, 1.0, 0.1, -2.0, 1.0, -0.1, 2.0, -1.0, -0.1, -2.0, -1.0, 0.1];
/// let vim = Vim::fit(&training, &weight, &bias, 2)?;
/// assert!((vim.alpha() - 8.0 / 0.1).abs() < 1e-5);
/// let scores = vim.scores(&[2.0, 0.5, 0.0, 2.0, 0.5, 1.0]);
/// assert!(scores[0] > scores[1]); // the second has too much of the third
/// # Ok::<(), miyasawa::ood::ReferenceError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Vim {
    /// `[classes, features]`.
    weight: DMatrix<f64>,
    bias: DVector<f64>,
    origin: DVector<f64>,
    /// Directions outside the principal space as rows, `[directions, features]`.
    outside: DMatrix<f64>,
    alpha: f64,
}

impl Vim {
    /// The dimensions of the principal space for features of a width: 1000 from 2048 on, 512 from
    /// 768 on, else half of them, as in the authors' program.
    pub fn principal_dimensions(width: usize) -> usize {
        match width {
            2048.. => 1000,
            768.. => 512,
            _ => width / 2,
        }
    }

    /// Fits the principal space, of `dimensions` dimensions, and `alpha` to the features of
    /// training images, `[images, features]`; `weight`, `[classes, features]`, and `bias`,
    /// `[classes]`, are those of the class head.
    ///
    /// # Errors
    /// If there are no more images than dimensions, a feature is not finite, or the eigenvectors
    /// are not found; [`ReferenceError::NoResidual`] if no feature lies outside the space.
    ///
    /// # Panics
    /// If the lengths do not belong together, or the features have no more than `dimensions`.
    pub fn fit(
        features: &[f32],
        weight: &[f32],
        bias: &[f32],
        dimensions: usize,
    ) -> Result<Self, ReferenceError> {
        let (classes, width) = (bias.len(), weight.len() / bias.len().max(1));
        assert_eq!(weight.len(), classes * width, "ViM: weights of every class");
        assert!(dimensions < width, "ViM: {dimensions} principal dimensions of {width} features");
        check_finite("ViM", features, width)?;
        let found = features.len() / width;
        if found <= dimensions {
            let expected = dimensions + 1;
            return Err(ReferenceError::TooFew { operation: "ViM", expected, found });
        }
        let weight = DMatrix::from_row_iterator(classes, width, doubles(weight));
        let bias = DVector::from_iterator(classes, doubles(bias));
        let unsolved = |_| ReferenceError::NoSolution("the pseudo-inverse of the class head");
        let svd = weight.clone().svd(true, true);
        let smallest = SMALLEST * svd.singular_values.max();
        let origin = -svd.solve(&bias, smallest).map_err(unsolved)?;

        let centred = columns(features, &origin);
        let spread = &centred * centred.transpose() / found as f64;
        let eigen = SymmetricEigen::try_new(spread, f64::EPSILON, MOST_ITERATIONS)
            .ok_or(ReferenceError::NoSolution("the eigenvectors of the features"))?;
        let mut order: Vec<usize> = (0..width).collect();
        order.sort_by(|a, b| eigen.eigenvalues[*b].total_cmp(&eigen.eigenvalues[*a]));
        let outside = eigen.eigenvectors.select_columns(&order[dimensions..]).transpose();

        let fitted = Self { weight, bias, origin, outside, alpha: 0.0 };
        let parts = fitted.parts(features);
        let mean = |values: &dyn Fn(&Logits) -> f64| {
            parts.iter().map(values).sum::<f64>() / parts.len() as f64
        };
        let (largest, residual) = (mean(&|image| image.largest), mean(&|image| image.residual));
        // What rounding leaves of features within the space.
        let scale = (centred.norm_squared() / found as f64).sqrt();
        if residual <= 1e-9 * scale {
            return Err(ReferenceError::NoResidual { dimensions });
        }
        Ok(Self { alpha: largest / residual, ..fitted })
    }

    /// The factor of the length outside the principal space.
    pub fn alpha(&self) -> f64 {
        self.alpha
    }

    /// The score of every image, `[images, features]`; NaN where a feature is.
    pub fn scores(&self, features: &[f32]) -> Vec<f64> {
        let score = |image: &Logits| image.log_sum - self.alpha * image.residual;
        self.parts(features).iter().map(score).collect()
    }

    fn parts(&self, features: &[f32]) -> Vec<Logits> {
        let size = PART * self.origin.len();
        features.par_chunks(size).flat_map_iter(|part| self.part(part)).collect()
    }

    /// Logits and residuals of a part.
    fn part(&self, features: &[f32]) -> Vec<Logits> {
        let centred = columns(features, &self.origin);
        let residuals = &self.outside * &centred;
        // W (h - o) + W o + b
        let shift = &self.weight * &self.origin + &self.bias;
        let mut logits = &self.weight * centred;
        logits.column_iter_mut().for_each(|mut column| column += &shift);
        let image = |(logits, residual): (nalgebra::DVectorView<'_, f64>, f64)| {
            let largest = logits.max();
            let sum: f64 = logits.iter().map(|f| (f - largest).exp()).sum();
            Logits { largest, log_sum: largest + sum.ln(), residual }
        };
        let lengths = residuals.column_iter().map(|column| column.norm());
        logits.column_iter().zip(lengths).map(image).collect()
    }
}

/// Steps of the search for eigenvectors: some are enough for each.
const MOST_ITERATIONS: usize = 1_000_000;

/// What the score of an image is made of.
struct Logits {
    largest: f64,
    log_sum: f64,
    /// Length of what lies outside the principal space.
    residual: f64,
}

fn doubles(values: &[f32]) -> impl Iterator<Item = f64> {
    values.iter().map(|v| f64::from(*v))
}

/// Features minus the origin, an image in each column.
fn columns(features: &[f32], origin: &DVector<f64>) -> DMatrix<f64> {
    let width = origin.len();
    let mut out = DMatrix::from_iterator(width, features.len() / width, doubles(features));
    out.column_iter_mut().for_each(|mut column| column -= origin);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(count: usize, factor: usize, modulus: usize) -> Vec<f32> {
        let value = |i: usize| (factor * i * i + 3 * i) % modulus;
        (0..count).map(|i| value(i) as f32 / 8.0 - 2.0).collect()
    }

    /// Expected values from scripts/vim_oracle.py (NumPy).
    #[test]
    fn agrees_with_numpy() {
        let (training, others) = (values(20 * 6, 7, 41), values(4 * 6, 13, 37));
        let (weight, bias) = (values(3 * 6, 5, 29), values(3, 11, 23));
        let vim = Vim::fit(&training, &weight, &bias, 2).unwrap();
        assert!((vim.alpha() - 0.928_582_978_491).abs() < 1e-10, "{}", vim.alpha());
        let expected =
            [0.981_977_019_144, 1.685_916_164_467, -2.872_812_256_934, 0.328_456_860_895];
        let found = vim.scores(&others);
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-10), "{found:?}");
        // Many images are computed in parts.
        let many = vim.scores(&others.repeat(40));
        assert!(many.len() == 160 && many.chunks(4).all(|four| four == found), "{many:?}");
        assert!(vim.scores(&[f32::NAN; 6])[0].is_nan());
    }

    /// With all dimensions outside, the residual is the distance from the origin.
    #[test]
    fn without_a_principal_space_the_residual_is_the_distance_from_the_origin() {
        // f = (h_1 + 1, h_2 - 1): the origin is at (-1, 1).
        let vim = Vim::fit(&[2.0, 1.0, -1.0, 5.0], &[1.0, 0.0, 0.0, 1.0], &[1.0, -1.0], 0).unwrap();
        // Largest logits 3 and 4, distances 3 and 4.
        assert!((vim.alpha() - 1.0).abs() < 1e-12, "{}", vim.alpha());
        let score = vim.scores(&[-1.0, 1.0])[0];
        assert!((score - 2f64.ln()).abs() < 1e-12, "{score}");
    }

    #[test]
    fn features_that_do_not_suffice_are_errors() {
        let (weight, bias) = (values(3 * 6, 5, 29), values(3, 11, 23));
        let fit = |features: &[f32]| Vim::fit(features, &weight, &bias, 2).unwrap_err();
        assert_eq!(
            fit(&values(12, 7, 41)).to_string(),
            "ViM: expected at least 3 images of the training distribution, found 2"
        );
        let mut features = values(30, 7, 41);
        features[13] = f32::INFINITY;
        assert_eq!(
            fit(&features).to_string(),
            "ViM: expected finite features, found inf in those of image 2"
        );
        // All on a line through the origin.
        let line: Vec<f32> = (1..6).flat_map(|i| [i as f32, 2.0 * i as f32, 0.0]).collect();
        let found = Vim::fit(&line, &[1.0, 1.0, 0.0], &[0.0], 1).unwrap_err();
        assert_eq!(found, ReferenceError::NoResidual { dimensions: 1 });
    }

    #[test]
    fn the_principal_space_has_the_dimensions_of_the_authors_program() {
        let widths = [64, 480, 512, 767, 768, 960, 2047, 2048, 4096];
        let expected = [32, 240, 256, 383, 512, 512, 512, 1000, 1000];
        assert_eq!(widths.map(Vim::principal_dimensions), expected);
    }
}
