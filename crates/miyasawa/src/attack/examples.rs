//! The images under attack, and the adversarial images that were found.

use crate::metrics::argmax;

/// Whether the logits classify the image as another class than `label`. Logits with NaN count as
/// misclassified: a model that overflows after a small change is not robust to it.
pub(super) fn misclassified(logits: &[f32], label: usize) -> bool {
    argmax(logits) != label || logits.iter().any(|z| z.is_nan())
}

/// Images under attack.
#[derive(Clone, Copy, Debug)]
pub struct Examples<'a> {
    /// Values in [0, 1], all images concatenated.
    pub images: &'a [f32],
    /// The true class of each.
    pub labels: &'a [u32],
    /// The index of each in its data set: its random numbers depend on this index and the seed
    /// alone.
    pub indices: &'a [u64],
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

/// The result of an attack: for each example a misclassified image inside the ball and [0, 1], or
/// `None` if the attack found none.
pub type AdversarialExamples = Vec<Option<Vec<f32>>>;
