use super::{class, level};
use crate::image::Image;
use crate::infer::{to_image, to_tensor};
use crate::model::{EnergyNetwork, JointModel, host, params::untracked};
use crate::verify::error_and_scale;
use burn::tensor::{Device, Tensor};
use serde::Serialize;

/// The adversarial gradient of an image as a difference of denoisers.
///
/// ```
/// use miyasawa::prelude::*;
/// let model = Predictor::bundled()?;
/// let image = Image::filled(3, 32, 32, 0.5)?.with_noise(0.2, 1)?;
/// let why = model.explain(&image, 8)?;
/// let parts = why.class_denoised.values().iter().zip(why.denoised.values());
/// let change = parts.zip(why.difference.values());
/// // In float32 the subtraction of two images rounds.
/// assert!(change.map(|((given, plain), d)| (given - plain - d).abs()).all(|e| e < 1e-4));
/// # Ok::<(), PredictError>(())
/// ```
///
/// As a document it holds everything but the images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// The explained class.
    pub label: usize,
    /// The noise level that the model was conditioned on.
    pub sigma: f64,
    /// `p(c | y)` of the class.
    pub probability: f32,
    /// `D(y)`.
    #[serde(skip)]
    pub denoised: Image,
    /// `D(y, c)`.
    #[serde(skip)]
    pub class_denoised: Image,
    /// `D(y, c) - D(y)`.
    #[serde(skip)]
    pub difference: Image,
    /// `sigma^2 * grad log p(c|y)`, by reverse-mode autodiff of the classification, without the
    /// denoiser.
    #[serde(skip)]
    pub gradient: Image,
    /// `max |difference - gradient| / max(max |gradient|, 1e-30)`: below 1e-30 the gradient
    /// underflows in float32.
    pub relative_error: f64,
    /// `p(c | y)` of all classes.
    pub probs: Vec<f32>,
}

/// Explains which parts of the image support each of the classes `labels`.
///
/// # Panics
/// If a label is not a class of the model, or the image has other channels than the model.
pub fn explain<N: EnergyNetwork>(
    model: &JointModel<N>,
    y: &Image,
    sigma: f64,
    labels: &[usize],
    device: &Device,
) -> Vec<Explanation> {
    let known = model.net.classes();
    assert!(
        labels.iter().all(|label| *label < known),
        "classes {labels:?}, the model knows {known}"
    );
    let with_graph = untracked(model.clone());
    let point = model.at(&to_tensor(y, device), &level(sigma, device));
    let (denoised, probs) = (to_image(point.denoised()), host(point.class_probs()));
    let of_class = |&label: &usize| {
        let labels = class(label, device);
        let difference = to_image(point.denoiser_difference(&labels));
        let gradient = to_image(adversarial_gradient(&with_graph, y, sigma, label, device));
        Explanation {
            label,
            sigma,
            probability: probs[label],
            relative_error: error(difference.values(), gradient.values()),
            denoised: denoised.clone(),
            class_denoised: to_image(point.class_conditional_denoised(&labels)),
            difference,
            gradient,
            probs: probs.clone(),
        }
    };
    labels.iter().map(of_class).collect()
}

/// See [`Explanation::relative_error`].
fn error(difference: &[f32], gradient: &[f32]) -> f64 {
    let (error, largest) = error_and_scale(difference, gradient);
    error / largest.max(1e-30)
}

/// `sigma^2 * grad log p(c|y)` by reverse-mode autodiff of a model that is [`untracked`].
fn adversarial_gradient<N: EnergyNetwork>(
    model: &JointModel<N>,
    y: &Image,
    sigma: f64,
    label: usize,
    device: &Device,
) -> Tensor<4> {
    let device = device.clone().autodiff();
    let y = to_tensor(y, &device).require_grad();
    let log_prob = model.at(&y, &level(sigma, &device)).class_log_prob(&class(label, &device));
    let mut gradients = log_prob.sum().backward();
    // With one class log p(c|y) is 0 for every image.
    let gradient = y.grad_remove(&mut gradients).unwrap_or_else(|| y.inner().zeros_like());
    gradient * (sigma * sigma)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{GradResNetConfig, params};
    use burn::tensor::TensorData;

    /// Random networks have low confidence; logits a hundred times as large make it high.
    fn model(scale: f32, classes: usize, device: &Device) -> JointModel<crate::model::GradResNet> {
        let config =
            GradResNetConfig { width: 8, blocks: vec![1, 1], ..GradResNetConfig::new(1, classes) };
        let mut values = params::collect(&config.init(device, 7));
        for name in ["class_head.weight", "class_head.bias"] {
            let data = values[name].clone();
            let larger: Vec<f32> =
                data.as_slice::<f32>().unwrap().iter().map(|v| v * scale).collect();
            values.insert(name.into(), TensorData::new(larger, data.shape().clone()));
        }
        JointModel::new(config.with_params(values, device).unwrap(), 0.5)
    }

    #[test]
    fn the_identity_holds_where_a_class_is_nearly_certain() {
        let device = Device::flex();
        let y = Image::new((1, 8, 8), (0..64).map(|i| (i as f32 * 0.7).sin()).collect()).unwrap();
        let mut least_doubt = 1.0f32;
        for scale in [1.0, 30.0, 100.0, 300.0] {
            let model = model(scale, 10, &device);
            for one in explain(&model, &y, 0.2, &[0, 3, 4, 5, 9], &device) {
                assert!(
                    one.relative_error < 1e-4,
                    "{scale} {}: {:e}",
                    one.label,
                    one.relative_error
                );
                assert!(one.gradient.values().iter().any(|v| *v != 0.0));
                least_doubt = least_doubt.min(1.0 - one.probs[one.label]);
            }
        }
        assert!(least_doubt < 1e-5, "{least_doubt}");
        let one = explain(&model(1.0, 1, &device), &y, 0.2, &[0], &device).remove(0);
        assert!(one.relative_error == 0.0 && one.gradient.values().iter().all(|v| *v == 0.0));
    }
}
