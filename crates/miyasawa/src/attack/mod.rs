//! Adversarial attacks with our own gradients.
//!
//! The gradient of the cross-entropy for the picture is a pull-back through the network in closed form,
//! `sum_k (p(k|y) - [k = c]) grad f_k`: no defence hides behind a missing gradient. Distances are in units
//! of the [0, 1] pixel range, as RobustBench states them, and adversarial pictures stay inside it.

use crate::data::{Dataset, example_rng};
use crate::eval::{host, noisy_batch};
use crate::model::{EnergyNetwork, JointModel};
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

/// The stream of [`example_rng`] that random starts come from.
const START: u64 = 18;

/// How large a change of a picture is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Norm {
    /// The Euclidean norm over all values of the picture.
    L2,
    /// The largest change of a value.
    Linf,
}

/// Projected gradient descent (Madry et al. 2018) on the cross-entropy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pgd {
    /// How changes are measured.
    pub norm: Norm,
    /// Largest change, in units of the [0, 1] range.
    pub eps: f64,
    /// Gradient steps.
    pub steps: usize,
    /// Length of a step as a share of `eps`.
    pub step_share: f64,
    /// Whether to start at a random point of the ball.
    pub random_start: bool,
    /// Noise level that the model is told.
    pub sigma: f64,
    /// Seed of the random starts.
    pub seed: u64,
}

impl Pgd {
    /// The usual settings: steps of `2.5*eps/steps` from a random start.
    pub fn new(norm: Norm, eps: f64, steps: usize, sigma: f64, seed: u64) -> Self {
        Self { norm, eps, steps, step_share: 2.5 / steps.max(1) as f64, random_start: true, sigma, seed }
    }

    /// The radius in the [-1, 1] units of the model.
    fn radius(&self) -> f64 {
        2.0 * self.eps
    }

    /// The picture's own largest value, or its Euclidean norm: `[batch, 1, 1, 1]`, never 0.
    fn size(&self, d: &Tensor<4>) -> Tensor<4> {
        let n = d.dims()[0];
        let flat = d.clone().reshape([n as i32, -1]);
        let size = match self.norm {
            Norm::L2 => flat.powi_scalar(2).sum_dim(1).sqrt(),
            Norm::Linf => flat.abs().max_dim(1),
        };
        size.clamp_min(1e-12).reshape([n, 1, 1, 1])
    }

    /// The nearest change inside the ball.
    fn project(&self, d: Tensor<4>) -> Tensor<4> {
        match self.norm {
            Norm::L2 => {
                let shrink = (self.size(&d).recip() * self.radius()).clamp_max(1.0);
                d * shrink
            }
            Norm::Linf => d.clamp(-self.radius(), self.radius()),
        }
    }

    /// The direction of steepest ascent, of length 1 in the norm.
    fn direction(&self, g: Tensor<4>) -> Tensor<4> {
        match self.norm {
            Norm::L2 => g.clone() / self.size(&g),
            Norm::Linf => g.sign(),
        }
    }

    fn start(&self, x: &Tensor<4>, first: usize) -> Tensor<4> {
        if !self.random_start {
            return x.zeros_like();
        }
        let [n, c, h, w] = x.dims();
        let mut values = vec![0.0f32; x.dims().iter().product()];
        for (i, values) in values.chunks_mut(c * h * w).enumerate() {
            let mut rng = example_rng(self.seed, 0, (first + i) as u64, START);
            values.iter_mut().for_each(|v| *v = StandardNormal.sample(&mut rng));
        }
        let d = Tensor::<4>::from_data(TensorData::new(values, [n, c, h, w]), &x.device());
        // A point inside the ball, away from its centre, in a random direction.
        self.direction(d) * (self.radius() * 0.5)
    }

    /// The adversarial pictures for `x`, `[batch, channels, height, width]`; `first` is the place of the
    /// first one in the data, on which its random start depends.
    pub fn attack<N: EnergyNetwork>(
        &self,
        model: &JointModel<N>,
        x: &Tensor<4>,
        labels: &Tensor<1, Int>,
        first: usize,
    ) -> Tensor<4> {
        let inside = |y: Tensor<4>| y.clamp(-1.0, 1.0);
        let sigma = Tensor::<1>::full([x.dims()[0]], self.sigma as f32, &x.device());
        let mut y = inside(x.clone() + self.start(x, first));
        for _ in 0..self.steps {
            let point = model.at(&y, &sigma);
            let ascent = point.logit_gradient(point.class_probs() - point.one_hot(labels));
            let step = self.direction(ascent) * (self.radius() * self.step_share);
            let change = self.project(y + step - x.clone());
            y = inside(x.clone() + change);
        }
        y
    }
}

/// The class that the model gives each picture, at the noise level `sigma`.
pub fn predict<N: EnergyNetwork>(model: &JointModel<N>, y: &Tensor<4>, sigma: f64) -> Vec<usize> {
    let sigma = Tensor::<1>::full([y.dims()[0]], sigma as f32, &y.device());
    let logits = model.at(y, &sigma).logits().clone();
    let classes = logits.dims()[1];
    host(logits).chunks(classes).map(crate::metrics::argmax).collect()
}

/// Share of the first `limit` pictures that are right and stay right under the attack; with `eps` 0, or
/// no steps and no random start, the clean accuracy.
pub fn robust_accuracy<N: EnergyNetwork>(
    model: &JointModel<N>,
    data: &Dataset,
    attack: &Pgd,
    batch: usize,
    device: &Device,
) -> f64 {
    let mut right = 0;
    for from in (0..data.len()).step_by(batch.max(1)) {
        let count = batch.min(data.len() - from);
        let clean = noisy_batch(data, [from, count], 0.0, [0, 0], device);
        let truth = &data.labels()[from..from + count];
        let agree = |y: &Tensor<4>| -> Vec<bool> {
            let predicted = predict(model, y, attack.sigma);
            predicted.iter().zip(truth).map(|(p, t)| *p == *t as usize).collect()
        };
        let before = agree(&clean.x);
        let after = if attack.eps > 0.0 {
            agree(&attack.attack(model, &clean.x, &clean.labels, from))
        } else {
            before.clone()
        };
        right += before.iter().zip(&after).filter(|(b, a)| **b && **a).count();
    }
    right as f64 / data.len() as f64
}
