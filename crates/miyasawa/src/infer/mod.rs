//! A model on one's own pictures: classes, a denoised picture.

mod clipping;
mod denoise;

pub use denoise::{denoise, denoise_any, level_to_tell};

use crate::checkpoint::ModelInfo;
use crate::classifier::Classifier;
use crate::metrics::scaled_log_probs;
use crate::model::{Ask, Predict, host};
use crate::picture::Picture;
use crate::range::to_unit;
use burn::tensor::{Device, Int, Tensor, TensorData, activation::softmax};

/// A picture as a batch of one.
pub fn tensor(picture: &Picture, device: &Device) -> Tensor<4> {
    let (channels, height, width) = picture.shape();
    Tensor::from_data(TensorData::new(picture.values().to_vec(), [1, channels, height, width]), device)
}

/// A picture of a model's own making.
///
/// # Panics
/// If it has no pixels or a number of channels that no picture has: models have 1 or 3.
fn made((channels, height, width): (usize, usize, usize), values: Vec<f32>) -> Picture {
    Picture::new((channels, height, width), values).expect("a model's pictures have its own shape")
}

/// The pictures of a batch, `[batch, channels, height, width]`.
pub fn pictures(batch: Tensor<4>) -> Vec<Picture> {
    let [_, channels, height, width] = batch.dims();
    let image = channels * height * width;
    host(batch).chunks(image).map(|values| made((channels, height, width), values.to_vec())).collect()
}

/// The picture of a batch of one.
fn picture(batch: Tensor<4>) -> Picture {
    pictures(batch).remove(0)
}

fn level(sigma: f64, device: &Device) -> Tensor<1> {
    Tensor::full([1], sigma as f32, device)
}

fn class(label: usize, device: &Device) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::new(vec![label as i32], [1]), device)
}

/// The probabilities of all classes for a picture that has the model's channels and size already; see
/// [`DataInfo::fitted`](crate::checkpoint::DataInfo::fitted). Nothing from a model that does not classify. `sigma` lies within
/// [`NOISE_LEVELS`](crate::model::NOISE_LEVELS), or is 0 for a network that is blind to it: other levels give no numbers.
///
/// # Panics
/// If the picture has other channels than the model's.
pub fn classify(model: &impl Predict, picture: &Picture, sigma: f64, device: &Device) -> Option<Vec<f32>> {
    let ask = Ask { classify: true, ..Ask::default() };
    let found = model.predict(&tensor(picture, device), &level(sigma, device), &ask);
    found.logits.map(|logits| host(softmax(logits, 1)))
}

/// The probabilities of all classes that a defence gives a picture of the classifier's shape; see
/// [`Defence`](crate::classifier::Defence).
///
/// # Panics
/// If the picture has another shape.
pub fn classify_behind(classifier: &dyn Classifier, picture: &Picture) -> Vec<f32> {
    let values: Vec<f32> = picture.values().iter().copied().map(to_unit).collect();
    let logits = classifier.logits(&values);
    scaled_log_probs(&logits, classifier.classes(), 1.0).into_iter().map(f32::exp).collect()
}

/// Why a class or a picture does not fit a model.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InferError {
    /// No class has the name or number.
    #[error("class '{found}' is not known; expected a number below {} or one of: {}", classes.len(), listed(classes))]
    Class {
        /// What was asked for.
        found: String,
        /// The model's classes.
        classes: Vec<String>,
    },
}

fn listed(classes: &[String]) -> String {
    let shown = classes.iter().take(20).cloned().collect::<Vec<_>>().join(", ");
    if classes.len() > 20 { format!("{shown}, ...") } else { shown }
}

/// A class by its name or its number.
///
/// # Errors
/// If the model has no such class.
pub fn class_index(info: &ModelInfo, text: &str) -> Result<usize, InferError> {
    let classes = &info.data.classes;
    let by_name = classes.iter().position(|class| class == text);
    let by_number = text.parse().ok().filter(|n: &usize| *n < classes.len());
    by_name
        .or(by_number)
        .ok_or_else(|| InferError::Class { found: text.to_owned(), classes: classes.clone() })
}
