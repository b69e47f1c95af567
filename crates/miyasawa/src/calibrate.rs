//! Calibration of probabilities before and after temperature scaling, under noise and under attack.
//!
//! ```
//! use miyasawa::calibrate::{CalibrateOptions, calibrate};
//! use miyasawa::data::{DataSource, OpenOptions, Part};
//! use miyasawa::model::{GradResNetConfig, JointModel};
//! use miyasawa::{Device, prelude::*};
//!
//! // An untrained network and a few digits, to be quick.
//! let device = Device::flex();
//! let net = GradResNetConfig { width: 8, blocks: vec![1], ..GradResNetConfig::new(1, 10) };
//! let model = JointModel::new(net.init(&device, 0), 0.5);
//! let digits = DataSource::Digits.open(Part::Test, &OpenOptions::default())?.into_dataset()?;
//! let at = |sigma| Defence::Softmax { sigma }.classifier(&model, [1, 8, 8], &device);
//! let options = CalibrateOptions {
//!     clean_sigma: 0.02,
//!     sigmas: vec![0.2],
//!     attacks: vec![Pgd::new(Norm::L2, 0.25, 2, 0)],
//!     batch: 10,
//!     seed: 0,
//! };
//! let rows = calibrate(&at, &digits.subset(20)?, &options, &mut ());
//! let conditions: Vec<String> = rows.iter().map(|row| row.condition()).collect();
//! assert_eq!(conditions, ["clean", "noise 0.2", "attack, eps 0.25"]);
//! assert!(rows.iter().all(|row| row.temperature > 0.0 && row.before.count == 10));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::attack::{Examples, Pgd, noisy_unit_values, unit_values};
use crate::classifier::{BoxedClassifier, Classifier};
use crate::data::Dataset;
use crate::metrics::{
    ClassificationMeter, ClassificationMetrics, ReliabilityBin, fit_temperature, scaled_log_probs,
};
use crate::progress::{Monitor, Progress};
use serde::{Deserialize, Serialize};

/// The settings of a calibration measurement.
#[derive(Clone, Debug, PartialEq)]
pub struct CalibrateOptions {
    /// The noise level that the model is conditioned on for clean images.
    pub clean_sigma: f64,
    /// Noise levels, in units of the [-1, 1] range: noise is added and the model conditioned on its
    /// level.
    pub sigmas: Vec<f64>,
    /// Attacks on the clean images, at `clean_sigma`.
    pub attacks: Vec<Pgd>,
    /// Images that go through the network at once.
    pub batch: usize,
    /// Seed of the noise.
    pub seed: u64,
}

/// Calibration under one condition, on the half of the images that no temperature was fitted to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CalibrationRow {
    /// The noise level that the model is conditioned on.
    pub sigma: f64,
    /// Whether noise of that level was added.
    pub noisy: bool,
    /// Size of the attack, in units of the [0, 1] range; 0 without one.
    pub eps: f64,
    /// The temperature: fitted to the other half at this noise level, without an attack.
    pub temperature: f64,
    /// At the temperature 1.
    pub before: ClassificationMetrics,
    /// At the fitted temperature.
    pub after: ClassificationMetrics,
    /// The reliability diagram at the temperature 1.
    pub reliability: Vec<ReliabilityBin>,
    /// The reliability diagram at the fitted temperature.
    pub reliability_after: Vec<ReliabilityBin>,
}

impl CalibrationRow {
    /// The condition as text: clean, noise or attack, with its size.
    pub fn condition(&self) -> String {
        match (self.noisy, self.eps > 0.0) {
            (true, _) => format!("noise {}", self.sigma),
            (false, true) => format!("attack, eps {}", (1e4 * self.eps).round() / 1e4),
            (false, false) => "clean".to_owned(),
        }
    }

    /// The mean of the largest probabilities at the temperature 1.
    pub fn mean_confidence(&self) -> f64 {
        let sum: f64 = self.reliability.iter().map(|bin| bin.count as f64 * bin.confidence).sum();
        sum / self.before.count as f64
    }
}

/// Returns the images at these indices as the classifier receives them: clean, noisy or attacked.
type LoadImages<'a> = dyn FnMut(&[usize]) -> Vec<f32> + 'a;

/// The logits of the images at `indices`, in batches.
fn logits(
    classifier: &dyn Classifier,
    indices: &[usize],
    batch: usize,
    load: &mut LoadImages<'_>,
) -> Vec<f32> {
    indices.chunks(batch.max(1)).flat_map(|part| classifier.logits(&load(part))).collect()
}

fn row(
    [sigma, eps, temperature]: [f64; 3],
    noisy: bool,
    logits: &[f32],
    labels: &[u32],
    classes: usize,
) -> CalibrationRow {
    let at = |temperature: f64| {
        let mut meter = ClassificationMeter::new();
        meter.add(&scaled_log_probs(logits, classes, temperature), labels);
        (meter.result(), meter.reliability())
    };
    let ((before, reliability), (after, reliability_after)) = (at(1.0), at(temperature));
    CalibrationRow { sigma, noisy, eps, temperature, before, after, reliability, reliability_after }
}

/// Every second image of each class, and the others: both halves contain all classes, whatever
/// their order. Counting continues from class to class, so that the halves have the same size up to
/// one image.
fn halves(labels: &[u32]) -> [Vec<usize>; 2] {
    let mut by_class: Vec<usize> = (0..labels.len()).collect();
    by_class.sort_by_key(|i| labels[*i]);
    let mut halves: [Vec<usize>; 2] = Default::default();
    by_class.into_iter().enumerate().for_each(|(k, i)| halves[k % 2].push(i));
    halves.iter_mut().for_each(|half| half.sort_unstable());
    halves
}

/// The task that a monitor gets.
const TASK: &str = "calibration";

/// Measures calibration: on the clean images, at every noise level, under every attack. `at`
/// returns the classifier at a noise level. Temperatures are fitted to every second image of each
/// class, and everything is measured on the others, of which there must be at least one. The
/// monitor gets the task `calibration`; the rows end where it stops the work: ask [`Monitor::stop`]
/// whether they are all.
pub fn calibrate<'m>(
    at: &dyn Fn(f64) -> BoxedClassifier<'m>,
    data: &Dataset,
    options: &CalibrateOptions,
    monitor: &mut dyn Monitor,
) -> Vec<CalibrationRow> {
    let [fit, held] = halves(data.labels());
    let labels =
        |indices: &[usize]| -> Vec<u32> { indices.iter().map(|i| data.labels()[*i]).collect() };
    let (fit_labels, held_labels) = (labels(&fit), labels(&held));
    let (seed, batch) = (options.seed, options.batch);
    let total = (1 + options.sigmas.len() + options.attacks.len()) as f64;
    let mut rows = Vec::new();

    let clean = at(options.clean_sigma);
    let classes = clean.classes();
    let mut unchanged = |indices: &[usize]| unit_values(data, indices);
    let fitted = fit_temperature(&logits(clean.as_ref(), &fit, batch, &mut unchanged), &fit_labels);
    let z = logits(clean.as_ref(), &held, batch, &mut unchanged);
    rows.push(row([options.clean_sigma, 0.0, fitted], false, &z, &held_labels, classes));
    monitor.progress(&Progress::new(TASK, 1.0 / total));

    for (level, &sigma) in options.sigmas.iter().enumerate() {
        if monitor.stop() {
            return rows;
        }
        let classifier = at(sigma);
        let mut noisy =
            |indices: &[usize]| noisy_unit_values(data, indices, sigma, [seed, level as u64]);
        let temperature =
            fit_temperature(&logits(classifier.as_ref(), &fit, batch, &mut noisy), &fit_labels);
        let z = logits(classifier.as_ref(), &held, batch, &mut noisy);
        rows.push(row([sigma, 0.0, temperature], true, &z, &held_labels, classes));
        monitor.progress(&Progress::new(TASK, (2 + level) as f64 / total));
    }

    for (number, attack) in options.attacks.iter().enumerate() {
        if monitor.stop() {
            return rows;
        }
        let mut attacked = |indices: &[usize]| {
            let (x, labels) = (unit_values(data, indices), labels(indices));
            let source: Vec<u64> = indices.iter().map(|i| data.source_index(*i) as u64).collect();
            attack.perturb(
                clean.as_ref(),
                &Examples { images: &x, labels: &labels, indices: &source },
            )
        };
        let z = logits(clean.as_ref(), &held, batch, &mut attacked);
        rows.push(row([options.clean_sigma, attack.eps, fitted], false, &z, &held_labels, classes));
        let done = (2 + options.sigmas.len() + number) as f64;
        monitor.progress(&Progress::new(TASK, done / total));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_halves_have_all_classes() {
        // Classes in turn: the parity of the index would be that of the class.
        let labels: Vec<u32> = (0..41).map(|i| i % 4).collect();
        let halves = halves(&labels);
        assert_eq!((halves[0].len(), halves[1].len()), (21, 20));
        for half in &halves {
            let count = |class: u32| half.iter().filter(|i| labels[**i] == class).count();
            assert!(
                half.is_sorted() && (0..4).all(|class| (5..=6).contains(&count(class))),
                "{half:?}"
            );
        }
        let mut all = halves.concat();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..41));
    }
}
