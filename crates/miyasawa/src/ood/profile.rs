//! A normal distribution fitted to a short vector for each image.

/// Mean and covariance of vectors, for Mahalanobis distances.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    mean: Vec<f64>,
    /// The lower Cholesky factor of the covariance, row by row.
    factor: Vec<Vec<f64>>,
}

/// Added to the variances, as a share of their mean: vectors that hardly differ still have a
/// distance.
const RIDGE: f64 = 1e-6;

impl Profile {
    /// Fits the distribution to vectors; `None` if there are fewer than two or a value is not
    /// finite.
    pub fn fit(vectors: &[Vec<f64>]) -> Option<Self> {
        let (n, d) = (vectors.len() as f64, vectors.first()?.len());
        if vectors.len() < 2 || d == 0 || vectors.iter().flatten().any(|v| !v.is_finite()) {
            return None;
        }
        let mean: Vec<f64> =
            (0..d).map(|i| vectors.iter().map(|v| v[i]).sum::<f64>() / n).collect();
        let covariance = |i: usize, j: usize| {
            vectors.iter().map(|v| (v[i] - mean[i]) * (v[j] - mean[j])).sum::<f64>() / (n - 1.0)
        };
        let trace: f64 = (0..d).map(|i| covariance(i, i)).sum();
        let ridge = RIDGE * trace / d as f64 + f64::MIN_POSITIVE.sqrt();
        let mut factor = vec![vec![0.0; d]; d];
        for i in 0..d {
            for j in 0..=i {
                let inner: f64 = (0..j).map(|k| factor[i][k] * factor[j][k]).sum();
                let value = covariance(i, j) + if i == j { ridge } else { 0.0 } - inner;
                // Rounding may leave the last pivots at or below zero.
                factor[i][j] = if i == j { value.max(ridge).sqrt() } else { value / factor[j][j] };
            }
        }
        Some(Self { mean, factor })
    }

    /// `(v - mean)^T covariance^-1 (v - mean)`.
    ///
    /// # Panics
    /// If the vector has another length.
    pub fn distance(&self, v: &[f64]) -> f64 {
        assert_eq!(v.len(), self.mean.len(), "a vector of the fitted length");
        let mut whitened: Vec<f64> = Vec::with_capacity(v.len());
        for (i, row) in self.factor.iter().enumerate() {
            let known: f64 = row.iter().zip(&whitened).map(|(l, w)| l * w).sum();
            whitened.push((v[i] - self.mean[i] - known) / row[i]);
        }
        whitened.iter().map(|w| w * w).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_the_covariance() {
        // Points on an ellipse: variances 8 and 2 (with n - 1), no covariance.
        let points =
            [[4.0, 0.0], [-4.0, 0.0], [0.0, 2.0], [0.0, -2.0], [0.0, 0.0]].map(|p| p.to_vec());
        let profile = Profile::fit(&points).unwrap();
        assert!((profile.distance(&[4.0, 0.0]) - 2.0).abs() < 1e-4);
        assert!((profile.distance(&[0.0, 2.0]) - 2.0).abs() < 1e-4);
        assert_eq!(profile.distance(&[0.0, 0.0]), 0.0);
        // Along the line that the points lie on a step is short, across it long.
        let line: Vec<Vec<f64>> =
            (0..9).map(|i| vec![f64::from(i), 2.0 * f64::from(i) + f64::from(i % 2)]).collect();
        let profile = Profile::fit(&line).unwrap();
        assert!(profile.distance(&[8.0, 16.5]) < 4.0 && profile.distance(&[4.0, 12.5]) > 20.0);
        assert!(
            Profile::fit(&points[..1]).is_none()
                && Profile::fit(&[vec![f64::NAN], vec![1.0]]).is_none()
        );
        assert!(Profile::fit(&vec![vec![1.0, 1.0]; 4]).unwrap().distance(&[1.0, 1.0]) == 0.0);
    }
}
