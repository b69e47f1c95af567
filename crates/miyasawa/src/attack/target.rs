//! What is attacked.

use crate::metrics::argmax;

/// The weights of a picture's logits, given its place in the batch and its logits: what a gradient is taken of.
pub type Weigh<'a> = dyn Fn(usize, &[f32]) -> Vec<f32> + Sync + 'a;

/// A classifier with its gradients, as attacks see it.
///
/// Pictures are values in [0, 1] on the host, one after the other, each (channels, height, width). What is computed
/// for a picture must not depend on the others in its batch.
pub trait Target {
    /// Channels, height and width of a picture.
    fn shape(&self) -> [usize; 3];

    /// Number of classes.
    fn classes(&self) -> usize;

    /// The logits, `classes` for each picture.
    fn logits(&self, pictures: &[f32]) -> Vec<f32>;

    /// The logits, and for each picture the gradient of `sum_c w_c f_c` with the weights that `weigh` gives its logits, in
    /// the units of the pictures.
    fn gradient(&self, pictures: &[f32], weigh: &Weigh<'_>) -> (Vec<f32>, Vec<f32>);

    /// Values of a picture.
    fn len(&self) -> usize {
        self.shape().iter().product()
    }

    /// Whether a picture has no values, which none has.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The likeliest class of each picture.
    fn predict(&self, pictures: &[f32]) -> Vec<usize> {
        self.logits(pictures).chunks(self.classes()).map(argmax).collect()
    }
}

/// Whether logits fail to name `label`. Those that are not numbers name nothing: a model that a small change makes overflow
/// has not withstood it.
pub(super) fn fooled(logits: &[f32], label: usize) -> bool {
    argmax(logits) != label || logits.iter().any(|z| z.is_nan())
}

/// A target that threads may share, or take.
pub type SharedTarget<'m> = Box<dyn Target + Send + Sync + 'm>;

/// Pictures under attack.
#[derive(Clone, Copy, Debug)]
pub struct Victims<'a> {
    /// Values in [0, 1], one picture after the other.
    pub pictures: &'a [f32],
    /// The true class of each.
    pub labels: &'a [u32],
    /// The place of each in its data set: with the seed, all that its random numbers depend on.
    pub places: &'a [u64],
}

impl<'a> Victims<'a> {
    /// Number of pictures.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The values of picture `i`.
    pub fn picture(&self, i: usize) -> &'a [f32] {
        let len = self.pictures.len() / self.len();
        &self.pictures[i * len..][..len]
    }
}

/// What an attack found: for each victim a picture that the target gets wrong, inside the ball and [0, 1], or none.
pub type Found = Vec<Option<Vec<f32>>>;
