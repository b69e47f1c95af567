use super::{Classifier, LogitGrad, batch, grad_logits, in_image_units};
use crate::metrics::log_sum_exp;
use crate::model::{EnergyNetwork, JointModel, host};
use crate::random::{example_rng, stream};
use burn::tensor::{Device, Tensor, TensorData};
use rand_distr::{Distribution, StandardNormal};

/// The posterior averaged over noise: the logits are `log (1/K) sum_k p(c | y + sigma*noise_k)`.
///
/// The `K` draws are fixed and the same for every image, so the classifier is deterministic, and
/// the gradient through all of them is exact: an attack has no randomness to average over.
pub struct Average<'m, N: EnergyNetwork> {
    model: &'m JointModel<N>,
    sigma: f64,
    noise: Vec<Vec<f32>>,
    shape: [usize; 3],
    device: Device,
}

impl<'m, N: EnergyNetwork> Average<'m, N> {
    /// The average over `draws` draws (at least one) of noise of level `sigma`, on which the model
    /// is conditioned.
    pub fn new(
        model: &'m JointModel<N>,
        sigma: f64,
        draws: usize,
        seed: u64,
        shape: [usize; 3],
        device: &Device,
    ) -> Self {
        let len = shape.iter().product();
        let draw = |k: u64| -> Vec<f32> {
            let mut rng = example_rng(seed, k, 0, stream::AVERAGE);
            (0..len).map(|_| StandardNormal.sample(&mut rng)).collect()
        };
        let noise = (0..draws.max(1) as u64).map(draw).collect();
        Self { model, sigma, noise, shape, device: device.clone() }
    }

    /// The clean batch plus one draw of the noise.
    fn noisy(&self, clean: &Tensor<4>, draw: &[f32]) -> Tensor<4> {
        let [c, h, w] = self.shape;
        let noise =
            Tensor::<4>::from_data(TensorData::new(draw.to_vec(), [1, c, h, w]), &self.device);
        clean.clone() + noise.expand(clean.dims()) * self.sigma
    }

    /// `log p(c | y + sigma*noise_k)` in float64, `[draw][image * classes + class]`, and the
    /// logarithm of the average probability, `[image * classes + class]`.
    fn log_probs(&self, clean: &Tensor<4>) -> (Vec<Vec<f64>>, Vec<f64>) {
        let classes = self.classes();
        let sigma = Tensor::<1>::full([clean.dims()[0]], self.sigma as f32, &self.device);
        let draws: Vec<Vec<f64>> = self
            .noise
            .iter()
            .map(|draw| {
                let logits = host(self.model.at(&self.noisy(clean, draw), &sigma).logits().clone());
                logits
                    .chunks(classes)
                    .flat_map(|z| {
                        let sum = log_sum_exp(z);
                        z.iter().map(move |z| f64::from(*z) - sum)
                    })
                    .collect()
            })
            .collect();
        let mean = |i: usize| {
            let largest = draws.iter().fold(f64::NEG_INFINITY, |m, d| m.max(d[i]));
            let sum: f64 = draws.iter().map(|d| (d[i] - largest).exp()).sum();
            largest + (sum / draws.len() as f64).ln()
        };
        let mean = (0..draws[0].len()).map(mean).collect();
        (draws, mean)
    }
}

impl<N: EnergyNetwork> Classifier for Average<'_, N> {
    fn shape(&self) -> [usize; 3] {
        self.shape
    }

    fn classes(&self) -> usize {
        self.model.net.classes()
    }

    fn logits(&self, images: &[f32]) -> Vec<f32> {
        let clean = batch(images, self.shape, &self.device);
        self.log_probs(&clean).1.into_iter().map(|z| z as f32).collect()
    }

    /// `grad log p_mean(c) = (1/K) sum_k p_k(c)/p_mean(c) * (grad f_c - sum_j p_k(j) grad f_j)`:
    /// one pull-back for each draw.
    fn gradient(&self, images: &[f32], logit_grad: &LogitGrad<'_>) -> (Vec<f32>, Vec<f32>) {
        let clean = batch(images, self.shape, &self.device);
        let (n, classes) = (clean.dims()[0], self.classes());
        let sigma = Tensor::<1>::full([n], self.sigma as f32, &self.device);
        let (draws, mean) = self.log_probs(&clean);
        let logits: Vec<f32> = mean.iter().map(|z| *z as f32).collect();
        let grad_logits = grad_logits(&logits, classes, logit_grad);
        let mut total = vec![0.0f32; images.len()];
        for (draw, log_probs) in self.noise.iter().zip(&draws) {
            let share = 1.0 / draws.len() as f64;
            let mut pulled = vec![0.0f32; n * classes];
            for i in 0..n {
                let at = i * classes;
                let ratio = |c: usize| {
                    (log_probs[at + c] - mean[at + c]).exp() * f64::from(grad_logits[at + c])
                };
                let all: f64 = (0..classes).map(ratio).sum();
                for c in 0..classes {
                    pulled[at + c] = (share * (ratio(c) - log_probs[at + c].exp() * all)) as f32;
                }
            }
            // A second forward pass: keeping the tapes of all draws would need too much memory.
            let point = self.model.at(&self.noisy(&clean, draw), &sigma);
            let pulled = Tensor::from_data(TensorData::new(pulled, [n, classes]), &self.device);
            let gradient = host(point.logit_gradient(pulled));
            total.iter_mut().zip(gradient).for_each(|(t, g)| *t += g);
        }
        (logits, in_image_units(total))
    }
}
