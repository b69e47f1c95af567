//! Certificates by randomised smoothing (Cohen, Rosenfeld & Kolter 2019, "Certified adversarial
//! robustness via randomized smoothing").
//!
//! The smoothed classifier `g(x)` is the most probable class of a base classifier for `x + noise`.
//! If class A has probability `p_A > 1/2` under noise of the standard deviation `s`, then no change
//! of a Euclidean length below `R = s * quantile(p_A)` alters `g(x)` (theorem 1 with `p_B = 1 -
//! p_A`).
//!
//! **Units.** Noise levels are in units of the [-1, 1] range everywhere in this crate; radii are in
//! units of the [0, 1] pixel range, as in the literature. Noise of the level `sigma` has the
//! standard deviation `sigma/2` there, so `R = sigma/2 * quantile(p_A)`, and the paper's `sigma =
//! 0.25` is 0.5 here.
//!
//! The base classifier is conditioned on the noise level: a joint model needs no retraining to be
//! smoothed.
//!
//! ```
//! use miyasawa::certify::{CertifyOptions, certified_accuracy, certify, lower_bound};
//! use miyasawa::certify::normal_quantile;
//! use miyasawa::data::{DataSource, OpenOptions, Part};
//! use miyasawa::model::{GradResNetConfig, JointModel};
//! use miyasawa::{Device, prelude::*};
//!
//! // 990 of 1000 draws at the level 0.5, wrong with a probability of at most 0.001.
//! let radius = 0.5 / 2.0 * normal_quantile(lower_bound(990, 1000, 0.001));
//! assert!((0.45..0.55).contains(&radius));
//!
//! // An untrained network and a few digits, to be quick.
//! let device = Device::flex();
//! let net = GradResNetConfig { width: 8, blocks: vec![1], ..GradResNetConfig::new(1, 10) };
//! let model = JointModel::new(net.init(&device, 0), 0.5);
//! let digits = DataSource::Digits.open(Part::Test, &OpenOptions::default())?.into_dataset()?;
//! let classifier = Defence::Softmax { sigma: 0.5 }.classifier(&model, [1, 8, 8], &device);
//! let options = CertifyOptions {
//!     sigma: 0.5,
//!     n0: 10,
//!     n: 100,
//!     alpha: 0.01,
//!     radii: vec![0.1],
//!     fixed: false,
//!     batch: 50,
//!     seed: 0,
//! };
//! let found = certify(classifier.as_ref(), &digits.subset(2)?, &options, &mut ());
//! assert!(found.len() == 2 && found[0].draws <= 100);
//! let rows = certified_accuracy(&found, &[0.0, 0.1]);
//! assert!(rows[1].certified_accuracy <= rows[0].certified_accuracy);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bounds;
mod reach;

pub use crate::normal::quantile as normal_quantile;
pub use bounds::{lower_bound, split_p_value, upper_bound};

use crate::attack::unit_values;
use crate::classifier::Classifier;
use crate::data::Dataset;
use crate::metrics::{argmax, wilson};
use crate::progress::{Monitor, Progress};
use crate::random::{example_rng, stream};
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// Shares of `n` after which the bound is computed, if drawing may end early.
const CHECKPOINTS: [f64; 3] = [1.0 / 16.0, 0.25, 1.0];

/// The settings of certification.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CertifyOptions {
    /// Noise level, in units of the [-1, 1] range.
    pub sigma: f64,
    /// Draws that choose the class.
    pub n0: u64,
    /// Most draws that bound its probability.
    pub n: u64,
    /// Largest probability that a certificate is wrong.
    pub alpha: f64,
    /// Radii of interest, in units of the [0, 1] range: drawing ends once all of them are decided,
    /// that is certified, or out of reach even if all remaining draws were of the predicted class.
    pub radii: Vec<f64>,
    /// Draw all `n` for every image, as the paper does.
    pub fixed: bool,
    /// Draws that go through the network at once.
    pub batch: usize,
    /// Seed of the noise.
    pub seed: u64,
}

/// The certificate of one image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// Its index in the data.
    #[serde(rename = "picture")]
    pub image: usize,
    /// Its class.
    pub label: usize,
    /// The smoothed classifier's class; `None` where it abstains.
    pub class: Option<usize>,
    /// No change shorter than this alters the class, in units of the [0, 1] range.
    pub radius: f64,
    /// Draws that were classified as `class`.
    pub hits: u64,
    /// Draws that bounded its probability.
    pub draws: u64,
}

/// Share of the images that are correctly classified and certified at a radius.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CertifiedRow {
    /// The radius, in units of the [0, 1] range.
    pub radius: f64,
    /// Share of all images.
    pub certified_accuracy: f64,
    /// Its 95% interval ([`wilson`]); none in documents of earlier versions.
    #[serde(default)]
    pub certified_interval: Option<[f64; 2]>,
}

/// The largest cost of a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Forecast {
    /// Most draws: those of a run where no image ends early.
    pub draws: u64,
    /// Draws a second, measured.
    pub draws_per_second: f64,
    /// Time for all of them at that rate, in seconds: an estimate from one batch.
    pub seconds: f64,
}

/// Estimates the largest cost of certifying `data`, from the time of one batch of draws.
pub fn forecast(classifier: &dyn Classifier, data: &Dataset, options: &CertifyOptions) -> Forecast {
    let x = unit_values(data, &[0]);
    let noisy = |from| draw(&x, options, 0, 2, from..from + options.batch as u64);
    // The first call warms up; the second is timed.
    classifier.logits(&noisy(0));
    let start = Instant::now();
    classifier.logits(&noisy(1));
    let draws_per_second = options.batch as f64 / start.elapsed().as_secs_f64().max(1e-9);
    let draws = data.len() as u64 * (options.n0 + options.n);
    Forecast { draws, draws_per_second, seconds: draws as f64 / draws_per_second }
}

/// The noisy images for the draws `numbers`, concatenated. Each draw's noise is a function of the
/// seed, the image, the phase (choosing or bounding) and its number alone.
fn draw(
    clean: &[f32],
    options: &CertifyOptions,
    image: u64,
    phase: u64,
    numbers: std::ops::Range<u64>,
) -> Vec<f32> {
    // In the image's units.
    let sigma = (0.5 * options.sigma) as f32;
    let first = numbers.start;
    let mut out = vec![0.0f32; clean.len() * (numbers.end - first) as usize];
    out.par_chunks_mut(clean.len()).enumerate().for_each(|(k, out)| {
        // The phase goes into the upper bits of the draw's number: the key has only four numbers.
        let mut rng =
            example_rng(options.seed, (phase << 48) | (first + k as u64), image, stream::CERTIFY);
        for (out, clean) in out.iter_mut().zip(clean) {
            let noise: f32 = StandardNormal.sample(&mut rng);
            *out = clean + sigma * noise;
        }
    });
    out
}

/// Counts the base classifier's classes over the draws `numbers`.
fn count(
    classifier: &dyn Classifier,
    clean: &[f32],
    options: &CertifyOptions,
    image: u64,
    phase: u64,
    numbers: std::ops::Range<u64>,
) -> Vec<u64> {
    let mut counts = vec![0u64; classifier.classes()];
    let batch = options.batch.max(1) as u64;
    let mut from = numbers.start;
    while from < numbers.end {
        let to = (from + batch).min(numbers.end);
        let logits = classifier.logits(&draw(clean, options, image, phase, from..to));
        logits.chunks(classifier.classes()).for_each(|z| counts[argmax(z)] += 1);
        from = to;
    }
    counts
}

/// The smoothed classifier's class from `n0` draws, or `None` if the two most frequent classes
/// cannot be distinguished at level `alpha` (the paper's PREDICT).
pub fn predict(
    classifier: &dyn Classifier,
    clean: &[f32],
    options: &CertifyOptions,
    image: u64,
) -> Option<usize> {
    let counts = count(classifier, clean, options, image, 0, 0..options.n0);
    let order = crate::metrics::top(&counts.iter().map(|c| *c as f32).collect::<Vec<_>>(), 2);
    let first = counts[order[0]];
    let second = order.get(1).map_or(0, |c| counts[*c]);
    (split_p_value(first, first + second) <= options.alpha).then_some(order[0])
}

/// The paper's CERTIFY. If drawing may end early, the bound is computed after a sixteenth, a
/// quarter and all of the draws, each time with a third of `alpha` (so that the total error
/// probability is at most `alpha`), and drawing ends
///
/// * once every radius of interest that can still be reached is certified: the largest possible
///   bound is the last one if all remaining draws are of the predicted class;
/// * once the probability is below 1/2 with confidence: abstaining is never wrong.
fn certificate(
    classifier: &dyn Classifier,
    clean: &[f32],
    options: &CertifyOptions,
    image: usize,
    label: usize,
) -> Certificate {
    let index = image as u64;
    let first = count(classifier, clean, options, index, 0, 0..options.n0);
    let class = argmax(&first.iter().map(|c| *c as f32).collect::<Vec<_>>());
    let (checkpoints, alpha) = options.checkpoints();
    let radius = |bound: f64| options.radius(bound);
    let (mut hits, mut draws) = (0, 0);
    let abstain = |hits, draws| Certificate { image, label, class: None, radius: 0.0, hits, draws };
    for share in checkpoints {
        let to = ((options.n as f64 * share).ceil() as u64).clamp(1, options.n);
        if to > draws {
            hits += count(classifier, clean, options, index, 1, draws..to)[class];
            draws = to;
        }
        let bound = lower_bound(hits, draws, alpha);
        let last = draws == options.n;
        let reach = radius(lower_bound(hits + options.n - draws, options.n, alpha));
        let decided = |r: &f64| *r <= radius(bound) || *r > reach;
        if bound > 0.5 && (last || options.radii.iter().all(decided) && !options.radii.is_empty()) {
            return Certificate {
                image,
                label,
                class: Some(class),
                radius: radius(bound),
                hits,
                draws,
            };
        }
        if last || upper_bound(hits, draws, options.alpha) < 0.5 {
            break;
        }
    }
    abstain(hits, draws)
}

/// Certifies every image of a set. The monitor gets the task `certification` with the values
/// `images` and `correct` so far; the certificates end where it stops the work: ask
/// [`Monitor::stop`] whether they are all.
///
/// # Panics
/// If `n` is 0, `alpha` is not between 0 and 1, or the images have another shape than the
/// classifier's.
pub fn certify(
    classifier: &dyn Classifier,
    data: &Dataset,
    options: &CertifyOptions,
    monitor: &mut dyn Monitor,
) -> Vec<Certificate> {
    let (mut out, mut correct) = (Vec::new(), 0usize);
    for image in 0..data.len() {
        if monitor.stop() {
            break;
        }
        let clean = unit_values(data, &[image]);
        let label = data.labels()[image] as usize;
        let found = certificate(classifier, &clean, options, data.source_index(image), label);
        correct += usize::from(found.class == Some(label));
        out.push(found);
        let values = [("images", out.len() as f64), ("correct", correct as f64)];
        let share = (image + 1) as f64 / data.len() as f64;
        monitor.progress(&Progress { task: "certification", share, values: &values });
    }
    out
}

/// The certified accuracy at each radius: the share of images that are classified correctly with at
/// least this radius.
pub fn certified_accuracy(certificates: &[Certificate], radii: &[f64]) -> Vec<CertifiedRow> {
    let at = |radius: f64| {
        let holds = |c: &&Certificate| c.class == Some(c.label) && c.radius >= radius;
        let certified = certificates.iter().filter(holds).count();
        let certified_accuracy = certified as f64 / certificates.len().max(1) as f64;
        let known = !certificates.is_empty();
        let certified_interval = known.then(|| wilson(certified_accuracy, certificates.len()));
        CertifiedRow { radius, certified_accuracy, certified_interval }
    };
    radii.iter().map(|r| at(*r)).collect()
}

#[cfg(test)]
mod tests;
