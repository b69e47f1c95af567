//! Ways to classify with a model, each as a [`Classifier`] with its exact gradient, so that attacks
//! are white-box attacks.

use super::shared::Shared;
use super::{Autodiff, Average, BoxedClassifier, Classifier, Posterior};
use crate::model::{EnergyNetwork, JointModel, Model, PlainClassifier};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

/// How a joint model classifies an image.
///
/// ```
/// use miyasawa::{Device, prelude::*};
/// use miyasawa::model::{GradResNetConfig, JointModel};
/// let device = Device::flex();
/// let net = GradResNetConfig { width: 8, blocks: vec![1], ..GradResNetConfig::new(1, 10) };
/// let model = JointModel::new(net.init(&device, 0), 0.5);
/// let defence = Defence::Average { sigma: 0.2, draws: 3, seed: 0 };
/// let classifier = defence.classifier(&model, [1, 8, 8], &device);
/// assert_eq!(classifier.logits(&[0.5; 64]).len(), 10);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Defence {
    /// `p(c | y)` of the unchanged image, conditioned on a noise level.
    Softmax {
        /// The level.
        sigma: f64,
    },
    /// `p(c | D(y))`: the image is denoised at one level, the result classified at another.
    Denoise {
        /// The level that the denoiser is conditioned on.
        sigma: f64,
        /// The level that the classifier is conditioned on.
        then: f64,
    },
    /// The mean of `p(c | y + sigma*noise)` over draws of noise that are the same for every image.
    Average {
        /// The level of the noise, on which the model is conditioned.
        sigma: f64,
        /// Number of draws.
        draws: usize,
        /// Seed of the draws.
        seed: u64,
    },
}

impl Defence {
    /// The noise level that the model is conditioned on for the image itself.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// assert_eq!(Defence::Denoise { sigma: 0.2, then: 0.05 }.sigma(), 0.2);
    /// ```
    pub fn sigma(self) -> f64 {
        match self {
            Self::Softmax { sigma } | Self::Denoise { sigma, .. } | Self::Average { sigma, .. } => {
                sigma
            }
        }
    }

    /// The model behind this defence, for images of (channels, height, width). Its noise levels
    /// must lie within [`NOISE_LEVELS`](crate::model::NOISE_LEVELS); otherwise the logits are not
    /// finite.
    ///
    /// ```
    /// use miyasawa::{Device, prelude::*};
    /// use miyasawa::model::{GradResNetConfig, JointModel};
    /// let device = Device::flex();
    /// let net = GradResNetConfig { width: 8, blocks: vec![1], ..GradResNetConfig::new(1, 10) };
    /// let model = JointModel::new(net.init(&device, 0), 0.5);
    /// let classifier = Defence::Softmax { sigma: 0.1 }.classifier(&model, [1, 8, 8], &device);
    /// assert_eq!((classifier.classes(), classifier.len()), (10, 64));
    /// ```
    pub fn classifier<'m, N: EnergyNetwork + Sync>(
        self,
        model: &'m JointModel<N>,
        shape: [usize; 3],
        device: &Device,
    ) -> BoxedClassifier<'m> {
        match self {
            Self::Softmax { sigma } => shared(Posterior::new(model, sigma, shape, device), device),
            Self::Denoise { sigma, then } => {
                let logits = move |model: &JointModel<N>, y: &Tensor<4>| {
                    let n = y.dims()[0];
                    let level = |sigma: f64| Tensor::<1>::full([n], sigma as f32, &y.device());
                    let denoised = model.at(y, &level(sigma)).denoised();
                    model.at(&denoised, &level(then)).logits().clone()
                };
                shared(
                    Autodiff::new(model.clone(), logits, shape, model.net.classes(), device),
                    device,
                )
            }
            Self::Average { sigma, draws, seed } => {
                shared(Average::new(model, sigma, draws, seed, shape, device), device)
            }
        }
    }
}

/// The classifier of a model of any kind, conditioned on the noise level `sigma`, for images of
/// (channels, height, width). The gradient is in closed form for the joint model, by reverse-mode
/// autodiff for a plain classifier. `None` for a denoiser.
pub fn plain_classifier<'m>(
    model: &'m Model,
    sigma: f64,
    shape: [usize; 3],
    classes: usize,
    device: &Device,
) -> Option<BoxedClassifier<'m>> {
    match model {
        Model::Joint(model) => Some(shared(Posterior::new(model, sigma, shape, device), device)),
        Model::Classifier(model) => {
            let logits = |model: &PlainClassifier, y: &Tensor<4>| model.logits(y, None);
            Some(shared(Autodiff::new(model.clone(), logits, shape, classes, device), device))
        }
        Model::Denoiser(_) => None,
    }
}

fn shared<'m>(
    classifier: impl Classifier + Send + Sync + 'm,
    device: &Device,
) -> BoxedClassifier<'m> {
    Box::new(Shared { inner: classifier, device: device.clone() })
}

#[cfg(all(test, feature = "data"))]
mod tests {
    use super::*;
    use crate::data::Dataset;
    use crate::model::{GradResNet, GradResNetConfig};
    use crate::random::example_rng;
    use crate::verify::relative_error;
    use burn::tensor::TensorData;
    use rand::RngExt;

    const SHAPE: [usize; 3] = [1, 6, 5];

    fn model(device: &Device) -> JointModel<GradResNet> {
        let config = GradResNetConfig {
            width: 8,
            blocks: vec![1, 1],
            zero_energy_head: false,
            ..GradResNetConfig::new(1, 4)
        };
        JointModel::new(config.init(device, 5), 0.5)
    }

    fn images(count: usize) -> Vec<f32> {
        let mut rng = example_rng(3, 0, 0, 99);
        (0..count * 30).map(|_| rng.random()).collect()
    }

    fn logit_grad(_: usize, z: &[f32]) -> Vec<f32> {
        z.iter().enumerate().map(|(i, z)| z * 0.3 + i as f32 - 1.0).collect()
    }

    /// The closed form and reverse-mode autodiff of the same classifier.
    #[test]
    fn the_closed_form_agrees_with_autodiff() {
        let device = Device::flex();
        let model = model(&device);
        let posterior = Posterior::new(&model, 0.3, SHAPE, &device);
        let with_graph = std::cell::Cell::new(false);
        let logits = |model: &JointModel<GradResNet>, y: &Tensor<4>| {
            with_graph.set(y.is_autodiff());
            let sigma = Tensor::<1>::full([y.dims()[0]], 0.3, &y.device());
            model.at(y, &sigma).logits().clone()
        };
        let tracked = Autodiff::new(model.clone(), logits, SHAPE, 4, &device);
        let x = images(3);
        let ((za, ga), (zb, gb)) =
            (posterior.gradient(&x, &logit_grad), tracked.gradient(&x, &logit_grad));
        assert!(with_graph.get());
        assert!(relative_error(&tracked.logits(&x), &zb) < 1e-6);
        assert!(!with_graph.get(), "a graph that no reverse pass frees");
        assert!(relative_error(&za, &zb) < 1e-6 && relative_error(&ga, &gb) < 1e-5);
        assert!(ga.iter().any(|g| g.abs() > 1e-4), "the gradient is zero");
        assert_eq!(posterior.logits(&x), za);
    }

    /// Every defence's gradient against finite differences of its own logits.
    #[test]
    fn gradients_are_those_of_the_entire_defence() {
        let device = Device::flex();
        let model = model(&device);
        let x = images(1);
        for defence in [
            Defence::Softmax { sigma: 0.3 },
            Defence::Denoise { sigma: 0.5, then: 0.1 },
            Defence::Average { sigma: 0.4, draws: 3, seed: 1 },
        ] {
            let classifier = defence.classifier(&model, SHAPE, &device);
            let fixed = [0.7f32, -1.1, 0.4, 0.2];
            let (_, gradient) = classifier.gradient(&x, &|_, _| fixed.to_vec());
            let length = crate::classifier::Norm::L2.length(&gradient);
            let direction: Vec<f32> = gradient.iter().map(|g| g / length as f32).collect();
            let value = |step: f32| -> f64 {
                let moved: Vec<f32> = x.iter().zip(&direction).map(|(x, d)| x + step * d).collect();
                classifier.logits(&moved).iter().zip(fixed).map(|(z, w)| f64::from(z * w)).sum()
            };
            let slope = (value(1e-2) - value(-1e-2)) / 2e-2;
            assert!((slope / length - 1.0).abs() < 2e-3, "{defence:?}: {slope} {length}");
        }
    }

    #[test]
    fn the_result_of_an_image_does_not_depend_on_the_batch_size() {
        let device = Device::flex();
        let model = model(&device);
        let x = images(5);
        for defence in [
            Defence::Denoise { sigma: 0.5, then: 0.1 },
            Defence::Average { sigma: 0.4, draws: 2, seed: 1 },
        ] {
            let classifier = defence.classifier(&model, SHAPE, &device);
            let all = classifier.logits(&x);
            for (i, image) in x.chunks(30).enumerate() {
                assert!(relative_error(&classifier.logits(image), &all[i * 4..][..4]) < 1e-5);
            }
        }
    }

    /// The project's central identity on a hundred images: `sigma^2 grad log p(c|y) = D(y,c) -
    /// D(y)`, the left side by reverse-mode autodiff of the softmax, the right side by the
    /// denoisers.
    #[test]
    fn the_adversarial_gradient_is_a_difference_of_denoisers_on_a_hundred_images() {
        use burn::tensor::{Int, activation::log_softmax};
        let device = Device::flex();
        let config = GradResNetConfig {
            width: 8,
            blocks: vec![1, 1],
            zero_energy_head: false,
            ..GradResNetConfig::new(1, 10)
        };
        let model = JointModel::new(config.init(&device, 5), 0.5);
        let data: Dataset = "digits"
            .parse::<crate::data::DataSource>()
            .unwrap()
            .open(
                crate::data::Part::Test,
                &crate::data::OpenOptions { limit: Some(100), ..Default::default() },
            )
            .and_then(crate::data::Images::into_dataset)
            .unwrap();
        let sigma = 0.2;
        let log_probs = |model: &JointModel<GradResNet>, y: &Tensor<4>| {
            let sigma = Tensor::<1>::full([y.dims()[0]], sigma as f32, &y.device());
            log_softmax(model.at(y, &sigma).logits().clone(), 1)
        };
        let tracked = Autodiff::new(model.clone(), log_probs, [1, 8, 8], 10, &device);
        let noisy = crate::eval::noisy_batch(&data, [0, 100], sigma, [0, 0], &device);
        let labels: Vec<i32> = data.labels().iter().map(|l| (*l as i32 + 3) % 10).collect();
        let images: Vec<f32> =
            crate::model::host(noisy.y.clone()).iter().map(|v| (v + 1.0) / 2.0).collect();
        let (_, gradient) = tracked.gradient(&images, &|i, z| {
            (0..z.len()).map(|c| if c == labels[i] as usize { 1.0 } else { 0.0 }).collect()
        });
        let adversarial: Vec<f32> =
            gradient.iter().map(|g| g * (sigma * sigma / 2.0) as f32).collect();
        let classes = Tensor::<1, Int>::from_data(TensorData::new(labels.clone(), [100]), &device);
        let difference =
            crate::model::host(model.at(&noisy.y, &noisy.sigma).denoiser_difference(&classes));
        for (i, (a, b)) in adversarial.chunks(64).zip(difference.chunks(64)).enumerate() {
            let error = relative_error(a, b);
            assert!(error < 1e-4, "image {i}: {error:e}");
        }
    }
}
