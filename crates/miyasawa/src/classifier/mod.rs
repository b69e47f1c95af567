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

/// The weights of a picture's logits, given its place in the batch and its logits: what a gradient is taken of.
pub type LogitGrad<'a> = dyn Fn(usize, &[f32]) -> Vec<f32> + Sync + 'a;

/// A classifier with its gradients, as attacks see it.
///
/// Pictures are values in [0, 1] on the host, one after the other, each (channels, height, width). What is computed
/// for a picture must not depend on the others in its batch.
pub trait Classifier {
    /// Channels, height and width of a picture.
    fn shape(&self) -> [usize; 3];

    /// Number of classes.
    fn classes(&self) -> usize;

    /// The logits, `classes` for each picture.
    fn logits(&self, pictures: &[f32]) -> Vec<f32>;

    /// The logits, and for each picture the gradient of `sum_c w_c f_c` with the weights that `logit_grad` gives its logits, in
    /// the units of the pictures.
    fn gradient(&self, pictures: &[f32], logit_grad: &LogitGrad<'_>) -> (Vec<f32>, Vec<f32>);

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

/// A classifier that threads may share, or take.
pub type BoxedClassifier<'m> = Box<dyn Classifier + Send + Sync + 'm>;

/// Pictures in [0, 1] as a batch in the model's [-1, 1].
fn batch(pictures: &[f32], [channels, height, width]: [usize; 3], device: &Device) -> Tensor<4> {
    let n = pictures.len() / (channels * height * width);
    let values: Vec<f32> = pictures.iter().copied().map(from_unit).collect();
    Tensor::from_data(TensorData::new(values, [n, channels, height, width]), device)
}

/// The weights of every picture of a batch.
fn weights(logits: &[f32], classes: usize, logit_grad: &LogitGrad<'_>) -> Vec<f32> {
    logits.chunks(classes).enumerate().flat_map(|(i, z)| logit_grad(i, z)).collect()
}

/// A gradient for y in [-1, 1] as one for the picture in [0, 1].
fn in_picture_units(gradient: Vec<f32>) -> Vec<f32> {
    gradient.into_iter().map(|g| 2.0 * g).collect()
}
