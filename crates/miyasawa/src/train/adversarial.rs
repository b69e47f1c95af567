//! Adversarial training: the images that the cross-entropy learns from are attacked first.
//!
//! The attack is the one that models are measured with, [`Pgd`], on the network as it is at the
//! step, at each image's own noise level and with its own noise:
//!
//! ```text
//! max over |d| <= eps of CE(x + d + sigma*noise, c)
//! ```
//!
//! (Madry et al. 2018, "Towards deep learning models resistant to adversarial attacks"). A joint
//! model's gradient for the image is its own adjoint, so that a step of the attack costs a forward
//! and an adjoint pass and records nothing. Where a network normalises over batches, the attack
//! goes by the running statistics, as one on the finished model does.

use super::{config::AdversarialConfig, learner::StepContext, parts::Batch};
use crate::attack::{Examples, Pgd};
use crate::classifier::{Autodiff, Classifier, LogitGrad};
use crate::model::{EnergyNetwork, JointModel, PlainClassifier, host};
use crate::random::{example_rng, stream};
use crate::range::{from_unit, to_unit};
use burn::tensor::{Device, Tensor, TensorData};
use rand::Rng;

/// The attack of a run.
#[derive(Clone, Debug)]
pub struct Adversary {
    attack: Pgd,
}

impl Adversary {
    /// The attack of a configuration; none where it has no steps.
    pub fn new(config: &AdversarialConfig, seed: u64) -> Option<Self> {
        let AdversarialConfig { steps, norm, step_share, .. } = *config;
        if steps == 0 {
            return None;
        }
        // Other starts than those of an attack on the finished model.
        let seed = example_rng(seed, 0, 0, stream::ADVERSARIAL).next_u64();
        let attack = Pgd::new(norm, config.eps(), steps, seed);
        let step_share = step_share.unwrap_or_else(|| attack.step_share.min(1.25));
        Some(Self { attack: Pgd { step_share, ..attack } })
    }

    /// The noisy images of a part of a batch after the attack, as [`Batch::tensors`] has them
    /// before: noise is added to the attacked image.
    pub(super) fn images<N: EnergyNetwork>(
        &self,
        model: &JointModel<N>,
        batch: &Batch,
        part: [usize; 2],
        step: StepContext<'_>,
    ) -> Vec<f32> {
        let of_part = Noisy::new(model, batch, part, &step.device.clone().inner());
        let attacked = self.attacked(&of_part, batch, part, step.number);
        of_part.noisy(&attacked)
    }

    /// The same for a plain classifier, by its running statistics.
    pub(super) fn images_of_classifier(
        &self,
        model: &PlainClassifier,
        batch: &Batch,
        part: [usize; 2],
        step: StepContext<'_>,
    ) -> Vec<f32> {
        let (y, noise) = noise_of(batch, part, &step.device.clone().inner());
        let add = |x: &Tensor<4>| match x.is_autodiff() {
            true => x.clone() + Tensor::from_inner(noise.clone()),
            false => x.clone() + noise.clone(),
        };
        let logits = |model: &PlainClassifier, x: &Tensor<4>| model.logits(&add(x), None);
        let device = &step.device.clone().inner();
        let classes = model.net.classes();
        let classifier = Autodiff::new(model.clone(), logits, batch.image, classes, device);
        let attacked = self.attacked(&classifier, batch, part, step.number);
        let attacked = attacked.into_iter().map(from_unit).collect::<Vec<f32>>();
        host(Tensor::<4>::from_data(TensorData::new(attacked, y), device) + noise)
    }

    /// The images of a part after the attack, in [0, 1].
    fn attacked(
        &self,
        classifier: &dyn Classifier,
        batch: &Batch,
        [from, count]: [usize; 2],
        step: u64,
    ) -> Vec<f32> {
        let len = batch.image.iter().product::<usize>();
        let values = &batch.x[from * len..][..count * len];
        let images: Vec<f32> = values.iter().copied().map(to_unit).collect();
        let indices: Vec<u64> = (from..from + count).map(|i| i as u64).collect();
        let labels = &batch.labels[from..from + count];
        let attack = Pgd { restart: step, ..self.attack.clone() };
        attack.perturb(classifier, &Examples { images: &images, labels, indices: &indices })
    }
}

/// The shape of a part's images, and the noise that is added to them.
fn noise_of(batch: &Batch, [from, count]: [usize; 2], device: &Device) -> ([usize; 4], Tensor<4>) {
    let [c, h, w] = batch.image;
    let len = c * h * w;
    let noise = batch.noise[from * len..][..count * len].chunks_exact(len);
    let scaled = noise.zip(&batch.sigma[from..]);
    let values: Vec<f32> = scaled.flat_map(|(n, sigma)| n.iter().map(move |n| n * sigma)).collect();
    let shape = [count, c, h, w];
    (shape, Tensor::from_data(TensorData::new(values, shape), device))
}

/// A joint model as a classifier of the images of one part: each at its own noise level, with its
/// own noise added.
struct Noisy<'m, N: EnergyNetwork> {
    model: &'m JointModel<N>,
    image: [usize; 3],
    shape: [usize; 4],
    noise: Tensor<4>,
    sigma: Tensor<1>,
    device: Device,
}

impl<'m, N: EnergyNetwork> Noisy<'m, N> {
    fn new(
        model: &'m JointModel<N>,
        batch: &Batch,
        [from, count]: [usize; 2],
        device: &Device,
    ) -> Self {
        let (shape, noise) = noise_of(batch, [from, count], device);
        let sigma = TensorData::new(batch.sigma[from..from + count].to_vec(), [count]);
        let sigma = Tensor::from_data(sigma, device);
        Self { model, image: batch.image, shape, noise, sigma, device: device.clone() }
    }

    /// The images with their noise, in [-1, 1] before it.
    fn tensor(&self, images: &[f32]) -> Tensor<4> {
        let x: Vec<f32> = images.iter().copied().map(from_unit).collect();
        Tensor::from_data(TensorData::new(x, self.shape), &self.device) + self.noise.clone()
    }

    fn noisy(&self, images: &[f32]) -> Vec<f32> {
        host(self.tensor(images))
    }
}

impl<N: EnergyNetwork> Classifier for Noisy<'_, N> {
    fn shape(&self) -> [usize; 3] {
        self.image
    }

    fn classes(&self) -> usize {
        self.model.net.classes()
    }

    fn logits(&self, images: &[f32]) -> Vec<f32> {
        host(self.model.at(&self.tensor(images), &self.sigma).logits().clone())
    }

    fn gradient(&self, images: &[f32], logit_grad: &LogitGrad<'_>) -> (Vec<f32>, Vec<f32>) {
        let point = self.model.at(&self.tensor(images), &self.sigma);
        let (logits, classes) = (host(point.logits().clone()), self.classes());
        let grads = logits.chunks(classes).enumerate().flat_map(|(i, z)| logit_grad(i, z));
        let grads = TensorData::new(grads.collect::<Vec<f32>>(), [self.shape[0], classes]);
        let gradient = point.logit_gradient(Tensor::from_data(grads, &self.device));
        // d/d(unit) = 2 d/d(network's range).
        (logits, host(gradient).into_iter().map(|g| 2.0 * g).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classifier::Norm;
    use crate::model::{GradResNet, GradResNetConfig, loss};

    fn setting() -> (JointModel<GradResNet>, Batch, Device) {
        let device = Device::flex();
        let config = GradResNetConfig {
            width: 8,
            blocks: vec![1, 1],
            zero_energy_head: false,
            ..GradResNetConfig::new(1, 3)
        };
        let model = JointModel::new(config.init(&device, 3), 0.5);
        let values = |scale: f32| (0..6 * 42).map(move |i| ((i * 29) % 200) as f32 / scale - 1.0);
        let batch = Batch {
            image: [1, 6, 7],
            x: values(100.0).collect(),
            labels: (0..6).map(|i| i % 3).collect(),
            label_weight: vec![1.0; 6],
            sigma: vec![0.02, 0.1, 0.5, 0.02, 0.1, 0.5],
            noise: values(90.0).collect(),
            for_classes: 4,
        };
        (model, batch, device)
    }

    fn step(device: &Device, number: u64) -> StepContext<'_> {
        StepContext { number, micro_batch: 2, device, frozen_norms: false }
    }

    /// The cross-entropy of the images `part`, given with their noise.
    fn ce(
        model: &JointModel<GradResNet>,
        batch: &Batch,
        [from, count]: [usize; 2],
        y: &[f32],
    ) -> f64 {
        let device = &Device::flex();
        let (_, _, sigma, labels) = batch.tensors(from, count, device);
        let y = Tensor::from_data(TensorData::new(y.to_vec(), [count, 1, 6, 7]), device);
        let point = model.at(&y, &sigma);
        host(loss::cross_entropy(point.logits(), &labels, 0.0)).iter().copied().map(f64::from).sum()
    }

    #[test]
    fn an_attack_stays_in_the_ball_and_raises_the_cross_entropy() {
        let (model, batch, device) = setting();
        let part = [2, 4];
        let plain = host(batch.tensors(2, 4, &device).0);
        for (norm, eps) in [(Norm::L2, 0.5), (Norm::Linf, 0.05)] {
            let config = AdversarialConfig { steps: 5, norm, eps: Some(eps), step_share: None };
            let adversary = Adversary::new(&config, 1).unwrap();
            let attacked = adversary.images(&model, &batch, part, step(&device, 3));
            for (attacked, plain) in attacked.chunks(42).zip(plain.chunks(42)) {
                // In units of the [0, 1] range.
                let length = 0.5 * norm.distance(attacked, plain);
                assert!(length <= eps + 1e-5 && length > 0.4 * eps, "{norm}: {length}");
            }
            let (before, after) =
                (ce(&model, &batch, part, &plain), ce(&model, &batch, part, &attacked));
            assert!(after > before + 1e-3, "{norm}: {before} {after}");
            // The parts of a batch are attacked alike, whatever their size; steps are not.
            let halves = [[2, 2], [4, 2]]
                .map(|part| adversary.images(&model, &batch, part, step(&device, 3)));
            let difference = norm.distance(&halves.concat(), &attacked);
            assert!(difference < 1e-4, "{norm}: {difference}");
            assert_ne!(adversary.images(&model, &batch, part, step(&device, 4)), attacked);
        }
    }

    #[test]
    fn without_steps_there_is_no_attack() {
        assert!(Adversary::new(&AdversarialConfig::default(), 1).is_none());
    }
}
