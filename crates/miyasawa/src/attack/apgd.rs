//! Auto-PGD (Croce & Hein 2020, "Reliable evaluation of adversarial robustness with an ensemble of
//! diverse parameter-free attacks", algorithm 1).

use super::{
    Norm, examples::AdversarialExamples, examples::Examples, examples::misclassified, loss::Loss,
};
use crate::classifier::Classifier;
use crate::random::example_rng;
use crate::random::stream;
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

/// Weight of the gradient step against the momentum (the paper's alpha).
const GRADIENT_SHARE: f64 = 0.75;
/// Share of the steps since the last checkpoint that must have raised the loss (rho).
const SUCCESSES: f64 = 0.75;

/// Gradient ascent with a step size that is halved when it no longer raises the loss.
#[derive(Clone, Debug)]
pub(super) struct Apgd {
    pub norm: Norm,
    pub eps: f64,
    pub steps: usize,
    pub seed: u64,
    /// Number of this run of the attack: each run has its own random start.
    pub run: u64,
}

/// The steps after which the step size is judged: `p_0 = 0, p_1 = 0.22`,
/// `p_(j+1) = p_j + max(p_j - p_(j-1) - 0.03, 0.06)`, in shares of all steps.
fn checkpoints(steps: usize) -> Vec<usize> {
    let (mut last, mut p) = (0.0f64, 0.22f64);
    let mut out = Vec::new();
    while p <= 1.0 + 1e-9 {
        // 0.22*100 is a little above 22 in binary.
        out.push((p * steps as f64 - 1e-9).ceil() as usize);
        (last, p) = (p, p + (p - last - 0.03).max(0.06));
    }
    out.dedup();
    out
}

struct State {
    example: usize,
    label: usize,
    loss: Loss,
    x: Vec<f32>,
    before: Vec<f32>,
    step: f64,
    /// The loss at `x` in the last step.
    value: f64,
    best: Best,
    /// Steps since the last checkpoint that raised the loss.
    rises: usize,
    at_checkpoint: Checkpoint,
    /// Whether the next step starts from the best point.
    back: bool,
}

struct Best {
    x: Vec<f32>,
    gradient: Vec<f32>,
    value: f64,
}

/// The step size and the best loss at the last checkpoint.
struct Checkpoint {
    step: f64,
    best: f64,
}

impl Apgd {
    /// A random point on the surface of the ball; `index` is the image's index in its data set.
    fn start(&self, clean: &[f32], index: u64) -> Vec<f32> {
        let mut rng = example_rng(self.seed, self.run, index, stream::APGD_START);
        let noise: Vec<f32> = match self.norm {
            Norm::L2 => (0..clean.len()).map(|_| StandardNormal.sample(&mut rng)).collect(),
            Norm::Linf => (0..clean.len()).map(|_| 2.0 * rng.random::<f32>() - 1.0).collect(),
        };
        let length = self.norm.length(&noise);
        let scale = if length > 0.0 { self.eps / length } else { 0.0 };
        let mut x: Vec<f32> =
            clean.iter().zip(noise).map(|(c, n)| c + (f64::from(n) * scale) as f32).collect();
        self.norm.confine(&mut x, clean, self.eps);
        x
    }

    /// The next point from `x` along `gradient`.
    fn advance(&self, state: &mut State, gradient: &[f32], clean: &[f32], first: bool) {
        let direction = self.norm.steepest(gradient);
        let mut ahead: Vec<f32> =
            state.x.iter().zip(direction).map(|(x, d)| x + state.step as f32 * d).collect();
        self.norm.confine(&mut ahead, clean, self.eps);
        if !first {
            let (a, b) = (GRADIENT_SHARE as f32, 1.0 - GRADIENT_SHARE as f32);
            for ((ahead, x), before) in ahead.iter_mut().zip(&state.x).zip(&state.before) {
                *ahead = x + a * (*ahead - x) + b * (x - before);
            }
            self.norm.confine(&mut ahead, clean, self.eps);
        }
        state.before = std::mem::replace(&mut state.x, ahead);
    }

    /// Judges the steps since the last checkpoint: the paper's two conditions for halving the step.
    fn judge(state: &mut State, since: usize) {
        let few = (state.rises as f64) < SUCCESSES * since as f64;
        let stuck =
            state.at_checkpoint.step == state.step && state.at_checkpoint.best >= state.best.value;
        state.at_checkpoint = Checkpoint { step: state.step, best: state.best.value };
        state.rises = 0;
        if few || stuck {
            state.step /= 2.0;
            state.back = true;
        }
    }

    /// Attacks every example `i` by maximising `losses[i]`.
    pub fn attack(
        &self,
        classifier: &dyn Classifier,
        examples: &Examples<'_>,
        losses: &[Loss],
    ) -> AdversarialExamples {
        let mut found: AdversarialExamples = vec![None; examples.len()];
        let start = |i: usize| {
            let x = self.start(examples.image(i), examples.indices[i]);
            let step = 2.0 * self.eps;
            State {
                example: i,
                label: examples.labels[i] as usize,
                loss: losses[i],
                before: x.clone(),
                best: Best { x: x.clone(), gradient: Vec::new(), value: f64::NEG_INFINITY },
                x,
                step,
                value: f64::NEG_INFINITY,
                rises: 0,
                // No condition on the step holds before the first checkpoint.
                at_checkpoint: Checkpoint { step: f64::NAN, best: f64::NEG_INFINITY },
                back: false,
            }
        };
        let mut alive: Vec<State> = (0..examples.len()).into_par_iter().map(start).collect();
        let checkpoints = checkpoints(self.steps);
        for step in 0..=self.steps {
            if alive.is_empty() {
                break;
            }
            let batch: Vec<f32> = alive.iter().flat_map(|s| &s.x).copied().collect();
            let logit_grad = |i: usize, z: &[f32]| alive[i].loss.grad_logits(z, alive[i].label);
            let (logits, gradients) = if step < self.steps {
                classifier.gradient(&batch, &logit_grad)
            } else {
                (classifier.logits(&batch), Vec::new())
            };
            let rows: Vec<&[f32]> = logits.chunks(classifier.classes()).collect();
            if step < self.steps {
                let since = checkpoints
                    .iter()
                    .position(|c| *c == step)
                    .map(|j| if j == 0 { step } else { step - checkpoints[j - 1] });
                alive
                    .par_iter_mut()
                    .zip(gradients.par_chunks(classifier.len()))
                    .enumerate()
                    .for_each(|(i, (s, gradient))| {
                        let value = s.loss.value(rows[i], s.label);
                        s.rises += usize::from(step > 0 && value > s.value);
                        s.value = value;
                        if value > s.best.value || step == 0 {
                            s.best = Best { x: s.x.clone(), gradient: gradient.to_vec(), value };
                        }
                        if misclassified(rows[i], s.label) {
                            return;
                        }
                        if let Some(since) = since {
                            Self::judge(s, since);
                        }
                        let clean = examples.image(s.example);
                        if std::mem::take(&mut s.back) {
                            // Continue from the best point; the previous one stays for the
                            // momentum.
                            s.x.clone_from(&s.best.x);
                            let gradient = std::mem::take(&mut s.best.gradient);
                            self.advance(s, &gradient, clean, step == 0);
                            s.best.gradient = gradient;
                        } else {
                            self.advance(s, gradient, clean, step == 0);
                        }
                    });
            }
            let mut seen = rows.iter().zip(batch.chunks(classifier.len()));
            alive.retain(|s| match seen.next() {
                Some((z, point)) if misclassified(z, s.label) => {
                    found[s.example] = Some(point.to_vec());
                    false
                }
                _ => true,
            });
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_are_those_of_the_paper() {
        // Section 3.1 with 100 steps: 0.22, 0.41, 0.57, 0.70, 0.80, 0.87, 0.93, 0.99.
        assert_eq!(checkpoints(100), [22, 41, 57, 70, 80, 87, 93, 99]);
        assert!(checkpoints(1).len() <= 1 && checkpoints(0) == [0]);
    }
}
