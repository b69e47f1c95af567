//! The fast gradient method and projected gradient descent.

use super::{
    Norm, examples::AdversarialExamples, examples::Examples, examples::misclassified, loss::Loss,
};
use crate::classifier::Classifier;
use crate::random::example_rng;
use crate::random::stream;
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Projected gradient descent (Madry et al. 2018) on the cross-entropy. With one step of the length
/// `eps` and no random start it is the fast gradient method (Goodfellow et al. 2015).
///
/// ```
/// use miyasawa::{Device, attack::Examples, prelude::*};
/// use miyasawa::model::{GradResNetConfig, JointModel};
/// let device = Device::flex();
/// let net = GradResNetConfig { width: 8, blocks: vec![1], ..GradResNetConfig::new(1, 10) };
/// let model = JointModel::new(net.init(&device, 0), 0.5);
/// let classifier = Defence::Softmax { sigma: 0.1 }.classifier(&model, [1, 8, 8], &device);
/// let images = [0.5; 64];
/// let examples = Examples { images: &images, labels: &[3], indices: &[0] };
/// let moved = Pgd::new(Norm::Linf, 0.1, 5, 0).perturb(classifier.as_ref(), &examples);
/// assert!(Norm::Linf.distance(&moved, &images) <= 0.1 + 1e-6);
/// ```
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
    /// Number of this attempt: each attempt has its own random start.
    pub restart: u64,
    /// Seed of the random starts.
    pub seed: u64,
}

struct State {
    example: usize,
    label: usize,
    x: Vec<f32>,
}

impl Pgd {
    /// The usual settings: steps of `2.5*eps/steps` from a random start.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let attack = Pgd::new(Norm::L2, 0.5, 10, 0);
    /// assert_eq!((attack.steps, attack.step_share), (10, 0.25));
    /// ```
    pub fn new(norm: Norm, eps: f64, steps: usize, seed: u64) -> Self {
        let step_share = 2.5 / steps.max(1) as f64;
        Self { norm, eps, steps, step_share, random_start: true, restart: 0, seed }
    }

    /// The fast gradient method.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let attack = Pgd::fast_gradient(Norm::Linf, 8.0 / 255.0);
    /// assert_eq!((attack.steps, attack.random_start), (1, false));
    /// ```
    pub fn fast_gradient(norm: Norm, eps: f64) -> Self {
        Self { norm, eps, steps: 1, step_share: 1.0, random_start: false, restart: 0, seed: 0 }
    }

    /// A point on the sphere of half the radius (L2) or anywhere in the cube (Linf);
    /// `index` is the image's index in its data set.
    fn start(&self, clean: &[f32], index: u64) -> Vec<f32> {
        let mut x = clean.to_vec();
        if !self.random_start {
            return x;
        }
        let mut rng = example_rng(self.seed, self.restart, index, stream::PGD_START);
        match self.norm {
            Norm::L2 => {
                let noise: Vec<f32> =
                    (0..x.len()).map(|_| StandardNormal.sample(&mut rng)).collect();
                let direction = self.norm.steepest(&noise);
                x.iter_mut().zip(direction).for_each(|(x, d)| *x += (0.5 * self.eps) as f32 * d);
            }
            Norm::Linf => {
                let eps = self.eps as f32;
                x.iter_mut().for_each(|x| *x += eps * (2.0 * rng.random::<f32>() - 1.0));
            }
        }
        self.norm.confine(&mut x, clean, self.eps);
        x
    }

    fn step(&self, state: &mut State, gradient: &[f32], clean: &[f32]) {
        let length = (self.step_share * self.eps) as f32;
        let direction = self.norm.steepest(gradient);
        state.x.iter_mut().zip(direction).for_each(|(x, d)| *x += length * d);
        self.norm.confine(&mut state.x, clean, self.eps);
    }

    fn states(&self, examples: &Examples<'_>) -> Vec<State> {
        let state = |i: usize| State {
            example: i,
            label: examples.labels[i] as usize,
            x: self.start(examples.image(i), examples.indices[i]),
        };
        (0..examples.len()).into_par_iter().map(state).collect()
    }

    /// Attacks until an image is misclassified, and returns the first such point of each image.
    ///
    /// ```
    /// use miyasawa::{Device, attack::Examples, prelude::*};
    /// use miyasawa::model::{GradResNetConfig, JointModel};
    /// # let device = Device::flex();
    /// # let net = GradResNetConfig { width: 8, blocks: vec![1], ..GradResNetConfig::new(1, 10) };
    /// # let model = JointModel::new(net.init(&device, 0), 0.5);
    /// # let classifier = Defence::Softmax { sigma: 0.1 }.classifier(&model, [1, 8, 8], &device);
    /// let images = [0.5; 64];
    /// let examples = Examples { images: &images, labels: &[3], indices: &[0] };
    /// let found = Pgd::new(Norm::Linf, 0.3, 5, 0).attack(classifier.as_ref(), &examples);
    /// // `None`, or an image of another class.
    /// assert!(found[0].as_ref().is_none_or(|image| classifier.predict(image) != [3]));
    /// ```
    pub fn attack(
        &self,
        classifier: &dyn Classifier,
        examples: &Examples<'_>,
    ) -> AdversarialExamples {
        let mut found: AdversarialExamples = vec![None; examples.len()];
        let mut alive = self.states(examples);
        for step in 0..=self.steps {
            if alive.is_empty() {
                break;
            }
            let batch: Vec<f32> = alive.iter().flat_map(|s| &s.x).copied().collect();
            let (logits, gradient) = if step < self.steps {
                classifier
                    .gradient(&batch, &|i, z| Loss::CrossEntropy.grad_logits(z, alive[i].label))
            } else {
                (classifier.logits(&batch), Vec::new())
            };
            let wrong: Vec<bool> = logits
                .chunks(classifier.classes())
                .zip(&alive)
                // Step 0 without a random start is the clean image, which the caller checks.
                .map(|(z, s)| misclassified(z, s.label) && (step > 0 || self.random_start))
                .collect();
            if step < self.steps {
                alive
                    .par_iter_mut()
                    .zip(gradient.par_chunks(classifier.len()))
                    .enumerate()
                    .for_each(|(i, (s, g))| {
                        if !wrong[i] {
                            self.step(s, g, examples.image(s.example));
                        }
                    });
            }
            let mut wrong = wrong.into_iter();
            alive.retain_mut(|s| {
                let is_wrong = wrong.next().unwrap_or(false);
                if is_wrong {
                    found[s.example] = Some(std::mem::take(&mut s.x));
                }
                !is_wrong
            });
        }
        found
    }

    /// The images after all steps, misclassified or not, to measure calibration under attack.
    ///
    /// ```
    /// use miyasawa::{Device, attack::Examples, prelude::*};
    /// use miyasawa::model::{GradResNetConfig, JointModel};
    /// # let device = Device::flex();
    /// # let net = GradResNetConfig { width: 8, blocks: vec![1], ..GradResNetConfig::new(1, 10) };
    /// # let model = JointModel::new(net.init(&device, 0), 0.5);
    /// # let classifier = Defence::Softmax { sigma: 0.1 }.classifier(&model, [1, 8, 8], &device);
    /// let images = [0.5; 64];
    /// let examples = Examples { images: &images, labels: &[3], indices: &[0] };
    /// let moved = Pgd::fast_gradient(Norm::L2, 0.5).perturb(classifier.as_ref(), &examples);
    /// assert!(Norm::L2.distance(&moved, &images) <= 0.5 + 1e-5);
    /// ```
    pub fn perturb(&self, classifier: &dyn Classifier, examples: &Examples<'_>) -> Vec<f32> {
        let mut states = self.states(examples);
        for _ in 0..self.steps {
            let batch: Vec<f32> = states.iter().flat_map(|s| &s.x).copied().collect();
            let logit_grad =
                |i: usize, z: &[f32]| Loss::CrossEntropy.grad_logits(z, states[i].label);
            let (_, gradient) = classifier.gradient(&batch, &logit_grad);
            states
                .par_iter_mut()
                .zip(gradient.par_chunks(classifier.len()))
                .for_each(|(s, g)| self.step(s, g, examples.image(s.example)));
        }
        states.into_iter().flat_map(|s| s.x).collect()
    }
}
