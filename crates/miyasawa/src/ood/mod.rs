//! Out-of-distribution detection: scores of an image, and how well they distinguish data sets.
//!
//! Densities are known to fail here (Nalisnick et al. 2019, "Do deep generative models know what
//! they don't know?"): an image that is simpler than the data has the larger density. So `log p` is
//! one of several scores, and an AUROC below 0.5 is reported unchanged.
//!
//! ```
//! use miyasawa::ood::{OodOptions, OutSource, Score, compare, scores};
//! use miyasawa::data::{DataSource, OpenOptions, Part};
//! use miyasawa::model::{GradResNetConfig, JointModel};
//! use miyasawa::{Device, prelude::*};
//!
//! // An untrained network and a few digits, to be quick.
//! let device = Device::flex();
//! let net = GradResNetConfig { width: 8, blocks: vec![1], ..GradResNetConfig::new(1, 10) };
//! let model = JointModel::new(net.init(&device, 0), 0.5);
//! let digits = DataSource::Digits.open(Part::Test, &OpenOptions::default())?.into_dataset()?;
//! let inside = digits.subset(10)?;
//! let outside = OutSource::Textures.load(inside.geometry(), Some(10), 0)?;
//! let options = OodOptions { sigmas: vec![0.2], batch: 10, seed: 0 };
//! let [inside, outside] =
//!     [inside, outside].map(|set| scores(&model, &set, &options, &device, &mut ()));
//! let rows = compare(&inside, &outside);
//! let residual = rows.iter().find(|row| row.score == Score::Residual).unwrap();
//! assert!((0.0..=1.0).contains(&residual.detection.auroc));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod knn;
mod means;
mod profile;
mod reference;
mod synthetic;
mod vim;

pub use error::ReferenceError;
pub use knn::Knn;
pub use means::{MeanRow, best_mean, means};
pub use profile::Profile;
pub use reference::Reference;
pub use synthetic::OutSource;
pub use vim::Vim;

use crate::attack::noisy_unit_values;
use crate::classifier::BoxedClassifier;
use crate::data::Dataset;
use crate::eval::noisy_batch;
use crate::metrics::{Detection, detection, log_sum_exp, mse};
use crate::model::{EnergyNetwork, JointModel, Model, host};
use crate::parallel::share_out;
use crate::progress::{Monitor, Progress};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

/// A score that should be larger for in-distribution images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Score {
    /// `log p(y)` up to a constant of the noise level.
    LogProb,
    /// `-|sigma * grad log p(y)|^2 / d`: on in-distribution data `MSE/sigma^2 - 1` on average, if
    /// the denoiser is exact with the error MSE (Tweedie's formula for the variance).
    ScoreNorm,
    /// `-|D(y) - x|^2 / d`: minus the squared error of the denoiser.
    Residual,
    /// The largest class probability (Hendrycks & Gimpel 2017).
    MaxSoftmax,
    /// `log sum_c exp f_c` (Liu et al. 2020, "Energy-based out-of-distribution detection").
    Energy,
    /// Minus the distance to the k-th nearest training image in the normalised features of the
    /// class head (Sun et al. 2022): [`Knn`].
    Knn,
    /// The energy minus what of the features lies outside the space of the training images (Wang et
    /// al. 2022): [`Vim`].
    Vim,
    /// Minus the Mahalanobis distance of the score norms at all noise levels from the
    /// in-distribution ones (after Mahmood et al. 2021, "Multiscale score matching for
    /// out-of-distribution detection").
    Profile,
}

impl Score {
    /// The scores at one noise level.
    pub const SINGLE: [Self; 7] = [
        Self::LogProb,
        Self::ScoreNorm,
        Self::Residual,
        Self::MaxSoftmax,
        Self::Energy,
        Self::Knn,
        Self::Vim,
    ];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::LogProb => "log p(y)",
            Self::ScoreNorm => "score norm",
            Self::Residual => "denoising residual",
            Self::MaxSoftmax => "max softmax",
            Self::Energy => "energy",
            Self::Knn => "kNN",
            Self::Vim => "ViM",
            Self::Profile => "score profile",
        }
    }
}

/// The scores of a data set at one noise level.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LevelScores {
    /// The noise level.
    pub sigma: f64,
    /// A value for each image, in the order of [`Score::SINGLE`]; empty where the model has no such
    /// score. Those of [`Score::Knn`] and [`Score::Vim`] are added by [`Reference::add_scores`].
    pub values: [Vec<f64>; Score::SINGLE.len()],
}

impl LevelScores {
    /// The values of a score; `None` if the model has no such score.
    fn values_of(&self, score: Score) -> Option<&[f64]> {
        let at = Score::SINGLE.iter().position(|s| *s == score)?;
        Some(&self.values[at][..]).filter(|values| !values.is_empty())
    }
}

/// The settings of scoring.
#[derive(Clone, Debug, PartialEq)]
pub struct OodOptions {
    /// Noise levels, in units of the [-1, 1] range.
    pub sigmas: Vec<f64>,
    /// Images that go through the network at once.
    pub batch: usize,
    /// Seed of the noise.
    pub seed: u64,
}

/// Scores every image at every noise level: noise of the level is added, the same for the images of
/// one index in every set, and the model is conditioned on the level. The monitor gets the set's
/// name as the task; the levels end where it stops the work: ask [`Monitor::stop`] whether they are
/// all.
pub fn scores<N: EnergyNetwork + Sync>(
    model: &JointModel<N>,
    data: &Dataset,
    options: &OodOptions,
    device: &Device,
    monitor: &mut dyn Monitor,
) -> Vec<LevelScores> {
    let (classes, len) = (model.net.classes(), data.image_len());
    let total = (options.sigmas.len() * data.len()) as f64;
    let mut out = Vec::new();
    for (level, &sigma) in options.sigmas.iter().enumerate() {
        let mut scores = LevelScores { sigma, ..LevelScores::default() };
        for from in (0..data.len()).step_by(options.batch.max(1)) {
            let size = options.batch.max(1).min(data.len() - from);
            let batch =
                noisy_batch(data, [from, size], sigma, [options.seed, level as u64], device);
            let parts = share_out(size, device, |[from, count]| {
                let y = batch.y.clone().narrow(0, from, count);
                let point = model.at(&y, &batch.sigma.clone().narrow(0, from, count));
                let score = point.score();
                let denoised = host(point.tweedie(&score));
                let density = (host(point.log_prob()), host(score));
                (density, (denoised, host(point.logits().clone())))
            });
            let [log_prob, norm, residual, softmax, energy, ..] = &mut scores.values;
            let mut clean = batch.clean.chunks(len);
            for ((log_probs, score), (denoised, logits)) in parts {
                log_prob.extend(log_probs.into_iter().map(f64::from));
                norm.extend(score.chunks(len).map(|s| {
                    let square: f64 = s.iter().map(|v| f64::from(*v).powi(2)).sum();
                    -sigma * sigma * square / len as f64
                }));
                let pairs = denoised.chunks(len).zip(clean.by_ref());
                residual.extend(pairs.map(|(d, x)| -mse(d, x)));
                add_logit_scores(&logits, classes, softmax, energy);
            }
            let done = (level * data.len() + from + size) as f64;
            monitor.progress(&Progress::new(data.name(), done / total));
            if monitor.stop() {
                return out;
            }
        }
        out.push(scores);
    }
    out
}

/// The scores of any model: for a joint model the [`scores`] that it was trained for (`learned`:
/// whether it classifies, and whether it denoises), for any other its [`classifier_scores`]; `at`
/// returns the classifier at a noise level.
pub fn model_scores<'m>(
    model: &Model,
    learned: [bool; 2],
    at: &dyn Fn(f64) -> BoxedClassifier<'m>,
    data: &Dataset,
    options: &OodOptions,
    device: &Device,
    monitor: &mut dyn Monitor,
) -> Vec<LevelScores> {
    match model.joint() {
        Some(joint) => only_learned(scores(joint, data, options, device, monitor), learned),
        None => classifier_scores(at, data, options, monitor),
    }
}

/// Removes the scores that the model was not trained for: the largest probability if it does not
/// classify, the residual if it does not denoise.
fn only_learned(
    mut scores: Vec<LevelScores>,
    [classifies, denoises]: [bool; 2],
) -> Vec<LevelScores> {
    for level in &mut scores {
        let [_, _, residual, softmax, ..] = &mut level.values;
        if !classifies {
            softmax.clear();
        }
        if !denoises {
            residual.clear();
        }
    }
    scores
}

/// Adds the largest probability and the energy of every image.
fn add_logit_scores(logits: &[f32], classes: usize, softmax: &mut Vec<f64>, energy: &mut Vec<f64>) {
    for z in logits.chunks(classes) {
        let sum = log_sum_exp(z);
        let largest = z.iter().fold(f64::NEG_INFINITY, |m, z| m.max(f64::from(*z)));
        softmax.push((largest - sum).exp());
        energy.push(sum);
    }
}

/// As [`scores`], for a classifier without a density and a denoiser: the two scores of its logits.
/// `at` returns the classifier at a noise level.
pub fn classifier_scores<'m>(
    at: &dyn Fn(f64) -> BoxedClassifier<'m>,
    data: &Dataset,
    options: &OodOptions,
    monitor: &mut dyn Monitor,
) -> Vec<LevelScores> {
    let all: Vec<usize> = (0..data.len()).collect();
    let total = (options.sigmas.len() * data.len()) as f64;
    let mut out = Vec::new();
    for (level, &sigma) in options.sigmas.iter().enumerate() {
        let classifier = at(sigma);
        let mut scores = LevelScores { sigma, ..LevelScores::default() };
        let [_, _, _, softmax, energy, ..] = &mut scores.values;
        for indices in all.chunks(options.batch.max(1)) {
            let noisy = noisy_unit_values(data, indices, sigma, [options.seed, level as u64]);
            add_logit_scores(&classifier.logits(&noisy), classifier.classes(), softmax, energy);
            let done = (level * data.len() + softmax.len()) as f64;
            monitor.progress(&Progress::new(data.name(), done / total));
            if monitor.stop() {
                return out;
            }
        }
        out.push(scores);
    }
    out
}

/// How well a score at a noise level distinguishes two sets.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct OodRow {
    /// The score.
    pub score: Score,
    /// The noise level; `None` for a score over all levels.
    pub sigma: Option<f64>,
    /// The detection.
    #[serde(flatten)]
    pub detection: Detection,
}

/// The detection by every score at every level, then by the score profile. The profile is fitted to
/// every second in-distribution image and measured on the others, and on every second image of
/// `outside`, because precision depends on the ratio of both and must be comparable with the other
/// scores.
pub fn compare(inside: &[LevelScores], outside: &[LevelScores]) -> Vec<OodRow> {
    let mut rows = Vec::new();
    for score in Score::SINGLE {
        for (a, b) in inside.iter().zip(outside) {
            if let (Some(a_values), Some(b_values)) = (a.values_of(score), b.values_of(score)) {
                let detection = detection(a_values, b_values);
                rows.push(OodRow { score, sigma: Some(a.sigma), detection });
            }
        }
    }
    let norms = |levels: &[LevelScores]| -> Vec<Vec<f64>> {
        let norms: Vec<&[f64]> =
            levels.iter().filter_map(|l| l.values_of(Score::ScoreNorm)).collect();
        let count = norms.first().map_or(0, |values| values.len());
        // Logarithms: a norm is positive, and its spread grows with it.
        (0..count).map(|i| norms.iter().map(|v| (-v[i]).max(1e-30).ln()).collect()).collect()
    };
    let (own, other) = (norms(inside), norms(outside));
    let (fit, held): (Vec<_>, Vec<_>) = own.into_iter().enumerate().partition(|(i, _)| i % 2 == 0);
    let fit: Vec<Vec<f64>> = fit.into_iter().map(|(_, v)| v).collect();
    if let Some(profile) = Profile::fit(&fit).filter(|_| !held.is_empty()) {
        let held: Vec<f64> = held.iter().map(|(_, v)| -profile.distance(v)).collect();
        let other: Vec<f64> = other
            .iter()
            .skip(usize::from(other.len() > 1))
            .step_by(2)
            .map(|v| -profile.distance(v))
            .collect();
        rows.push(OodRow {
            score: Score::Profile,
            sigma: None,
            detection: detection(&held, &other),
        });
    }
    rows
}

/// The row with the largest AUROC of each score.
pub fn best(rows: &[OodRow]) -> Vec<OodRow> {
    let mut out: Vec<OodRow> = Vec::new();
    for row in rows {
        match out.iter_mut().find(|r| r.score == row.score) {
            Some(best) if row.detection.auroc > best.detection.auroc => *best = *row,
            Some(_) => {}
            None => out.push(*row),
        }
    }
    out
}

#[cfg(test)]
mod tests;
