//! Errors of scores that are fitted to training images.

/// Why [`Knn`](super::Knn), [`Vim`](super::Vim) or [`Reference`](super::Reference) could not be
/// fitted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// The model has no class head, or does not say what it sees.
    #[error("kNN and ViM: expected a model with a class head on features, found none")]
    NoClassHead,
    /// The class head has no biases.
    #[error("ViM: expected a class head with biases, found none")]
    NoBias,
    /// A neighbour is asked for that does not exist.
    #[error("kNN: expected a neighbour from the first on, found 0")]
    NoNeighbour,
    /// There are fewer training images than needed.
    #[error(
        "{operation}: expected at least {expected} images of the training distribution, \
         found {found}"
    )]
    TooFew {
        /// What was fitted.
        operation: &'static str,
        /// The number needed.
        expected: usize,
        /// The number of images.
        found: usize,
    },
    /// A feature is not finite.
    #[error("{operation}: expected finite features, found {found} in those of image {image}")]
    NotFinite {
        /// What was fitted.
        operation: &'static str,
        /// The image, from 0.
        image: usize,
        /// The value.
        found: String,
    },
    /// All training features lie in the principal space.
    #[error("ViM: expected features in more than {dimensions} dimensions, found none outside them")]
    NoResidual {
        /// Dimensions of the space.
        dimensions: usize,
    },
    /// A decomposition did not converge.
    #[error("ViM: expected {0}, found no solution")]
    NoSolution(&'static str),
}

/// Checks that all features, `[images, width]`, are finite.
pub(super) fn check_finite(
    operation: &'static str,
    features: &[f32],
    width: usize,
) -> Result<(), ReferenceError> {
    match features.iter().position(|v| !v.is_finite()) {
        Some(at) => {
            let (image, found) = (at / width, features[at].to_string());
            Err(ReferenceError::NotFinite { operation, image, found })
        }
        None => Ok(()),
    }
}
