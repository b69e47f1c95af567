//! What is attacked, and what comes of it.

use crate::metrics::argmax;

/// Whether logits fail to name `label`. Those that are not numbers name nothing: a model that a small change makes overflow
/// has not withstood it.
pub(super) fn misclassified(logits: &[f32], label: usize) -> bool {
    argmax(logits) != label || logits.iter().any(|z| z.is_nan())
}

/// Images under attack.
#[derive(Clone, Copy, Debug)]
pub struct Examples<'a> {
    /// Values in [0, 1], one image after the other.
    pub images: &'a [f32],
    /// The true class of each.
    pub labels: &'a [u32],
    /// The place of each in its data set: with the seed, all that its random numbers depend on.
    pub places: &'a [u64],
}

impl<'a> Examples<'a> {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The values of image `i`.
    pub fn image(&self, i: usize) -> &'a [f32] {
        let len = self.images.len() / self.len();
        &self.images[i * len..][..len]
    }
}

/// What an attack found: for each example an image that the classifier gets wrong, inside the ball and [0, 1], or none.
pub type AdversarialExamples = Vec<Option<Vec<f32>>>;
