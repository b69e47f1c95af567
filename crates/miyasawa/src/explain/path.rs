use super::{class, level};
use crate::classifier::Norm;
use crate::image::Image;
use crate::infer::{to_image, to_tensor};
use crate::model::{EnergyNetwork, JointModel, host};
use burn::tensor::{Device, Tensor, TensorData};

/// The settings of a counterfactual path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CounterfactualOptions {
    /// Noise level that the model is conditioned on.
    pub sigma: f64,
    /// The class to reach.
    pub label: usize,
    /// Length of a step, in units of the [0, 1] range (Euclidean).
    pub step: f64,
    /// Most steps.
    pub steps: usize,
    /// The path ends where the class has this probability.
    pub confidence: f64,
}

/// A point of a path.
#[derive(Clone, Debug)]
pub struct CounterfactualStep {
    /// The image, in [-1, 1].
    pub image: Image,
    /// `p(c | y)` of all classes.
    pub probs: Vec<f32>,
    /// Euclidean distance from the start, in units of the [0, 1] range.
    pub distance: f64,
}

/// A path from an image to a class.
#[derive(Clone, Debug)]
pub struct Counterfactual {
    /// The start and every step.
    pub steps: Vec<CounterfactualStep>,
    /// Whether the class reached the probability `confidence`.
    pub reached: bool,
}

/// Follows `D(y, c) - D(y)`, the direction in which `log p(c | y)` rises fastest, in steps of equal
/// length inside [-1, 1]: returns the path to a counterfactual image.
///
/// # Panics
/// If the class is not a class of the model, or the image has other channels than the model.
pub fn counterfactual<N: EnergyNetwork>(
    model: &JointModel<N>,
    start: &Image,
    options: &CounterfactualOptions,
    device: &Device,
) -> Counterfactual {
    let known = model.net.classes();
    assert!(options.label < known, "class {}, the model knows {known}", options.label);
    let (labels, sigma) = (class(options.label, device), level(options.sigma, device));
    let origin: Vec<f32> = start.values().iter().map(|v| v.clamp(-1.0, 1.0)).collect();
    let (channels, height, width) = start.shape();
    let mut y = to_tensor(start, device).clamp(-1.0, 1.0);
    let mut steps = Vec::new();
    loop {
        let point = model.at(&y, &sigma);
        let probs = host(point.class_probs());
        let image = to_image(y.clone());
        let distance = 0.5 * Norm::L2.distance(image.values(), &origin);
        let reached = f64::from(probs[options.label]) >= options.confidence;
        let values = image.values().to_vec();
        steps.push(CounterfactualStep { image, probs, distance });
        if reached || steps.len() > options.steps {
            return Counterfactual { steps, reached };
        }
        let difference = host(point.denoiser_difference(&labels));
        let direction = Norm::L2.steepest(&difference);
        // A step in [0, 1] is twice as long in [-1, 1].
        let length = 2.0 * options.step as f32;
        let next =
            values.iter().zip(direction).map(|(v, d)| (v + length * d).clamp(-1.0, 1.0)).collect();
        y = Tensor::from_data(TensorData::new(next, [1, channels, height, width]), device);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::GradResNetConfig;

    #[test]
    fn a_path_raises_the_probability_in_even_steps() {
        let device = Device::flex();
        let config =
            GradResNetConfig { width: 8, blocks: vec![1, 1], ..GradResNetConfig::new(1, 3) };
        let model = JointModel::new(config.init(&device, 1), 0.5);
        let values = (0..64).map(|i| ((i * 37) % 64) as f32 / 80.0 - 0.4).collect();
        let start = Image::new((1, 8, 8), values).unwrap();
        let options =
            CounterfactualOptions { sigma: 0.3, label: 2, step: 0.05, steps: 6, confidence: 2.0 };
        let path = counterfactual(&model, &start, &options, &device);
        assert_eq!((path.steps.len(), path.reached), (7, false));
        assert_eq!(path.steps[0].distance, 0.0);
        assert!((path.steps[1].distance - 0.05).abs() < 1e-4, "{}", path.steps[1].distance);
        let probs: Vec<f32> = path.steps.iter().map(|s| s.probs[2]).collect();
        assert!(probs.is_sorted() && probs[6] > probs[0], "{probs:?}");
        let short = counterfactual(
            &model,
            &start,
            &CounterfactualOptions { confidence: 0.0, ..options },
            &device,
        );
        assert_eq!((short.steps.len(), short.reached), (1, true));
    }
}
