//! Classifiers as attacks, certificates and calibration see them: logits, and the gradient for the image.
//!
//! [`Classifier`] is the trait; [`plain_classifier`] makes one of a model of any kind, [`Defence`] one of a joint model that
//! classifies behind a defence. A classifier of your own is an implementation of the trait, or an [`Autodiff`] of tracked
//! Burn operations.

mod autodiff;
mod average;
mod defence;
mod posterior;
mod shared;

pub use autodiff::Autodiff;
pub use average::Average;
pub use defence::{Defence, plain_classifier};
pub use posterior::Posterior;

use crate::metrics::argmax;
use crate::range::from_unit;
use burn::tensor::{Device, Tensor, TensorData};

/// The weights of an image's logits, given its place in the batch and its logits: what a gradient is taken of.
pub type LogitGrad<'a> = dyn Fn(usize, &[f32]) -> Vec<f32> + Sync + 'a;

/// A classifier with its gradients, as attacks see it.
///
/// Images are values in [0, 1] on the host, one after the other, each (channels, height, width). What is computed
/// for an image must not depend on the others in its batch.
pub trait Classifier {
    /// Channels, height and width of an image.
    fn shape(&self) -> [usize; 3];

    /// Number of classes.
    fn classes(&self) -> usize;

    /// The logits, `classes` for each image.
    fn logits(&self, images: &[f32]) -> Vec<f32>;

    /// The logits, and for each image the gradient of `sum_c w_c f_c` with the weights that `logit_grad` gives its logits, in
    /// the units of the images.
    fn gradient(&self, images: &[f32], logit_grad: &LogitGrad<'_>) -> (Vec<f32>, Vec<f32>);

    /// Values of an image.
    fn len(&self) -> usize {
        self.shape().iter().product()
    }

    /// Whether an image has no values, which none has.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The likeliest class of each image.
    fn predict(&self, images: &[f32]) -> Vec<usize> {
        self.logits(images).chunks(self.classes()).map(argmax).collect()
    }
}

/// A classifier that threads may share, or take.
pub type BoxedClassifier<'m> = Box<dyn Classifier + Send + Sync + 'm>;

/// Images in [0, 1] as a batch in the model's [-1, 1].
fn batch(images: &[f32], [channels, height, width]: [usize; 3], device: &Device) -> Tensor<4> {
    let n = images.len() / (channels * height * width);
    let values: Vec<f32> = images.iter().copied().map(from_unit).collect();
    Tensor::from_data(TensorData::new(values, [n, channels, height, width]), device)
}

/// The weights of every image of a batch.
fn weights(logits: &[f32], classes: usize, logit_grad: &LogitGrad<'_>) -> Vec<f32> {
    logits.chunks(classes).enumerate().flat_map(|(i, z)| logit_grad(i, z)).collect()
}

/// A gradient for y in [-1, 1] as one for the image in [0, 1].
fn in_image_units(gradient: Vec<f32>) -> Vec<f32> {
    gradient.into_iter().map(|g| 2.0 * g).collect()
}
