//! Classifiers as attacks, certificates and calibration see them: logits, and the gradient for the
//! image.
//!
//! [`Classifier`] is the trait; [`plain_classifier`] makes one from a model of any kind,
//! [`Defence`] one from a joint model that classifies behind a defence. Your own classifier is an
//! implementation of the trait, or an [`Autodiff`] of tracked Burn operations.
//!
//! ```
//! use miyasawa::classifier::LogitGrad;
//! use miyasawa::prelude::*;
//!
//! /// Light images of two by two pixels against dark ones: `f = [-s, s]`, with `s` the sum.
//! struct Light;
//!
//! impl Classifier for Light {
//!     fn shape(&self) -> [usize; 3] {
//!         [1, 2, 2]
//!     }
//!
//!     fn classes(&self) -> usize {
//!         2
//!     }
//!
//!     fn logits(&self, images: &[f32]) -> Vec<f32> {
//!         let sum = |image: &[f32]| image.iter().map(|value| value - 0.5).sum::<f32>();
//!         images.chunks(4).flat_map(|image| [-sum(image), sum(image)]).collect()
//!     }
//!
//!     fn gradient(&self, images: &[f32], logit_grad: &LogitGrad<'_>) -> (Vec<f32>, Vec<f32>) {
//!         let logits = self.logits(images);
//!         let of_image = |(i, z)| [logit_grad(i, z)[1] - logit_grad(i, z)[0]; 4];
//!         let gradient = logits.chunks(2).enumerate().flat_map(of_image).collect();
//!         (logits, gradient)
//!     }
//! }
//!
//! assert_eq!(Light.predict(&[0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9]), [0, 1]);
//! let (_, gradient) = Light.gradient(&[0.5; 4], &|_, _| vec![0.0, 1.0]);
//! assert_eq!(gradient, [1.0; 4]);
//! ```

mod autodiff;
mod average;
mod defence;
mod norm;
mod posterior;
mod shared;

pub use autodiff::Autodiff;
pub use average::Average;
pub use defence::{Defence, plain_classifier};
pub use norm::Norm;
pub use posterior::Posterior;

use crate::metrics::argmax;
use crate::range::from_unit;
use burn::tensor::{Device, Tensor, TensorData};

/// Returns the derivatives `g_c` of a loss with respect to an image's logits, from the image's
/// index in the batch and its logits; they are multiplied with the derivatives of the logits.
pub type LogitGrad<'a> = dyn Fn(usize, &[f32]) -> Vec<f32> + Sync + 'a;

/// A classifier with its gradients, for attacks.
///
/// Images are values in [0, 1] on the host, concatenated, each (channels, height, width). The
/// result for an image must not depend on the others in its batch.
///
/// ```
/// use miyasawa::{classifier::LogitGrad, prelude::*};
///
/// /// One value an image: above a half it is of class 1. `f = [0, x - 1/2]`.
/// struct Threshold;
///
/// impl Classifier for Threshold {
///     fn shape(&self) -> [usize; 3] {
///         [1, 1, 1]
///     }
///
///     fn classes(&self) -> usize {
///         2
///     }
///
///     fn logits(&self, images: &[f32]) -> Vec<f32> {
///         images.iter().flat_map(|x| [0.0, x - 0.5]).collect()
///     }
///
///     fn gradient(&self, images: &[f32], logit_grad: &LogitGrad<'_>) -> (Vec<f32>, Vec<f32>) {
///         let logits = self.logits(images);
///         let of_image = |(i, z)| logit_grad(i, z)[1];
///         let gradient = logits.chunks(2).enumerate().map(of_image).collect();
///         (logits, gradient)
///     }
/// }
///
/// assert_eq!(Threshold.predict(&[0.2, 0.8]), [0, 1]);
/// assert!(Threshold.len() == 1 && !Threshold.is_empty());
/// ```
pub trait Classifier {
    /// Channels, height and width of an image.
    fn shape(&self) -> [usize; 3];

    /// Number of classes.
    fn classes(&self) -> usize;

    /// The logits, `classes` for each image.
    fn logits(&self, images: &[f32]) -> Vec<f32>;

    /// The logits, and for each image the gradient of `sum_c g_c f_c` with respect to the image,
    /// where `logit_grad` returns the `g_c`; in the units of the images.
    fn gradient(&self, images: &[f32], logit_grad: &LogitGrad<'_>) -> (Vec<f32>, Vec<f32>);

    /// Number of values of an image.
    fn len(&self) -> usize {
        self.shape().iter().product()
    }

    /// Whether an image has no values; always `false`.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The most probable class of each image.
    fn predict(&self, images: &[f32]) -> Vec<usize> {
        self.logits(images).chunks(self.classes()).map(argmax).collect()
    }
}

/// A classifier that can be sent to other threads and shared between them.
pub type BoxedClassifier<'m> = Box<dyn Classifier + Send + Sync + 'm>;

/// Images in [0, 1] as a batch in the model's [-1, 1].
fn batch(images: &[f32], [channels, height, width]: [usize; 3], device: &Device) -> Tensor<4> {
    let n = images.len() / (channels * height * width);
    let values: Vec<f32> = images.iter().copied().map(from_unit).collect();
    Tensor::from_data(TensorData::new(values, [n, channels, height, width]), device)
}

/// The derivatives with respect to the logits for every image of a batch, `classes` for each.
fn grad_logits(logits: &[f32], classes: usize, logit_grad: &LogitGrad<'_>) -> Vec<f32> {
    logits.chunks(classes).enumerate().flat_map(|(i, z)| logit_grad(i, z)).collect()
}

/// Converts a gradient for y in [-1, 1] into one for the image in [0, 1].
fn in_image_units(gradient: Vec<f32>) -> Vec<f32> {
    gradient.into_iter().map(|g| 2.0 * g).collect()
}
