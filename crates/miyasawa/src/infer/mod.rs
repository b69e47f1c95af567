//! Applying a model to your own images: classes, a denoised image.

mod clipping;
mod denoise;
mod large;
mod level;
mod source;
mod tiles;

pub use denoise::{denoise_any, denoise_batch};
pub use level::conditioning_sigma;
#[cfg(feature = "data")]
pub use tiles::denoise;

use crate::classifier::Classifier;
use crate::image::Image;
use crate::metrics::scaled_log_probs;
use crate::model::{EnergyNetwork, JointModel, Predict, Query, host};
use crate::parallel;
use crate::range::to_unit;
use burn::tensor::{Device, Int, Tensor, TensorData, activation::softmax};

/// Converts an image to a batch of one, `[1, channels, height, width]`.
pub fn to_tensor(image: &Image, device: &Device) -> Tensor<4> {
    batch_tensor(&[image], device)
}

fn batch_tensor(images: &[&Image], device: &Device) -> Tensor<4> {
    let (channels, height, width) = images[0].shape();
    let values: Vec<f32> = images.iter().flat_map(|image| image.values()).copied().collect();
    Tensor::from_data(TensorData::new(values, [images.len(), channels, height, width]), device)
}

/// Images of one shape as a batch, and the noise level of each.
fn tensors(images: &[&Image], sigmas: &[f64], device: &Device) -> (Tensor<4>, Tensor<1>) {
    let levels: Vec<f32> = sigmas.iter().map(|sigma| *sigma as f32).collect();
    let levels = TensorData::new(levels, [images.len()]);
    (batch_tensor(images, device), Tensor::from_data(levels, device))
}

/// An image from values that a model computed.
///
/// # Panics
/// If it has no pixels or neither 1 nor 3 channels, as every model has.
fn image_from_values((channels, height, width): (usize, usize, usize), values: Vec<f32>) -> Image {
    Image::new((channels, height, width), values)
        .expect("a model's images have pixels and 1 or 3 channels")
}

/// Converts a batch to images, from `[batch, channels, height, width]`.
pub fn to_images(batch: Tensor<4>) -> Vec<Image> {
    let [_, channels, height, width] = batch.dims();
    let image = channels * height * width;
    host(batch)
        .chunks(image)
        .map(|values| image_from_values((channels, height, width), values.to_vec()))
        .collect()
}

/// The image of a batch of one.
pub(crate) fn to_image(batch: Tensor<4>) -> Image {
    to_images(batch).remove(0)
}

pub(crate) fn sigma_tensor(sigma: f64, device: &Device) -> Tensor<1> {
    Tensor::full([1], sigma as f32, device)
}

pub(crate) fn class_tensor(label: usize, device: &Device) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::new(vec![label as i32], [1]), device)
}

/// Computes the probabilities of all classes for an image that has the model's channels and size;
/// see [`DataInfo::fitted`](crate::checkpoint::DataInfo::fitted). Empty if the model does not
/// classify. `sigma` lies within [`NOISE_LEVELS`](crate::model::NOISE_LEVELS), or is 0 for a blind
/// network: with other levels the results are not finite.
///
/// # Panics
/// If the image has other channels than the model's.
pub fn classify(
    model: &impl Predict,
    image: &Image,
    sigma: f64,
    device: &Device,
) -> Option<Vec<f32>> {
    let query = Query { classify: true, ..Query::default() };
    let found = model.predict(&to_tensor(image, device), &sigma_tensor(sigma, device), &query);
    found.logits.map(|logits| host(softmax(logits, 1)))
}

/// As [`classify`], for several images, each with its noise level. Empty if the model does not
/// classify.
pub fn classify_batch(
    model: &(impl Predict + Sync),
    images: &[Image],
    sigmas: &[f64],
    device: &Device,
) -> Vec<Vec<f32>> {
    if images.is_empty() {
        return Vec::new();
    }
    let (y, sigma) = tensors(&images.iter().collect::<Vec<_>>(), sigmas, device);
    let query = Query { classify: true, ..Query::default() };
    let Some(logits) = parallel::predict(model, &y, &sigma, &query).logits else {
        return Vec::new();
    };
    let classes = logits.dims()[1];
    host(softmax(logits, 1)).chunks(classes).map(<[f32]>::to_vec).collect()
}

/// Computes the probabilities of all classes by a defended classifier for an image of its shape;
/// see [`Defence`](crate::classifier::Defence).
///
/// # Panics
/// If the image has another shape.
pub fn classify_behind(classifier: &dyn Classifier, image: &Image) -> Vec<f32> {
    let values: Vec<f32> = image.values().iter().copied().map(to_unit).collect();
    let logits = classifier.logits(&values);
    scaled_log_probs(&logits, classifier.classes(), 1.0).into_iter().map(f32::exp).collect()
}

/// Computes `log p(y)`, up to a constant that depends only on `sigma`, of an image that has the
/// model's channels and size.
pub fn log_density<N: EnergyNetwork>(
    model: &JointModel<N>,
    image: &Image,
    sigma: f64,
    device: &Device,
) -> f64 {
    f64::from(host(model.at(&to_tensor(image, device), &sigma_tensor(sigma, device)).log_prob())[0])
}

/// Computes `grad_y log p(y)` of an image that has the model's channels, at its own size.
pub fn score<N: EnergyNetwork>(
    model: &JointModel<N>,
    image: &Image,
    sigma: f64,
    device: &Device,
) -> Image {
    to_image(model.at(&to_tensor(image, device), &sigma_tensor(sigma, device)).score())
}
