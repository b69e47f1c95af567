//! Accuracy under the corruptions of CIFAR-10-C.

use super::TASK;
use crate::data::{DataError, Dataset, Images};
use crate::image::Image;
use crate::image::corruption::{Corruption, CorruptionGroup, Severity};
use crate::metrics::ClassificationMeter;
use crate::model::{Predict, Query, host};
use crate::parallel;
use crate::progress::{Monitor, Progress};
use burn::tensor::{Device, Tensor, TensorData, activation::log_softmax};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// The settings of [`evaluate_corruptions`].
///
/// ```
/// use miyasawa::eval::CorruptionOptions;
/// let all = CorruptionOptions::default();
/// assert_eq!(all.corruptions.len() * all.severities.len(), 75);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct CorruptionOptions {
    /// The corruptions, in the order of the rows; all by default.
    pub corruptions: Vec<Corruption>,
    /// Their severities; all by default.
    pub severities: Vec<Severity>,
    /// Number of images, evenly spaced over the set; all if `None`.
    pub limit: Option<usize>,
    /// Images that go through the network at once.
    pub batch: usize,
    /// Seed of the corruptions' random numbers.
    pub seed: u64,
}

impl Default for CorruptionOptions {
    fn default() -> Self {
        let (corruptions, severities) = (Corruption::ALL.to_vec(), Severity::ALL.to_vec());
        Self { corruptions, severities, limit: None, batch: 64, seed: 0 }
    }
}

/// How images of one kind are classified.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CorruptionMetrics {
    /// Share of the images that are classified correctly.
    pub accuracy: f64,
    /// Its 95% interval ([`wilson`](crate::metrics::wilson)).
    pub accuracy_interval: Option<[f64; 2]>,
    /// `1 - accuracy`.
    pub error: f64,
    /// Mean of `-log p(c | y)`; `None` if it is not finite.
    pub nll: Option<f64>,
    /// Expected calibration error, 15 bins; `None` if it is not finite.
    pub ece: Option<f64>,
    /// Mean of the noise levels that the model was conditioned on.
    pub sigma: f64,
}

/// How a model classifies images under one corruption.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CorruptionRow {
    /// The corruption.
    pub corruption: Corruption,
    /// The kind that it is of.
    pub group: CorruptionGroup,
    /// The severity.
    pub severity: Severity,
    /// The measures.
    #[serde(flatten)]
    pub metrics: CorruptionMetrics,
}

/// The result of [`evaluate_corruptions`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CorruptionEvaluation {
    /// Number of measured images.
    pub count: usize,
    /// The images as they are.
    pub clean: CorruptionMetrics,
    /// A row for each corruption and severity.
    pub rows: Vec<CorruptionRow>,
    /// The mean corruption error, as is usual for CIFAR-10-C: the mean of the errors of all rows,
    /// not divided by those of another model. `None` without rows.
    pub mean_error: Option<f64>,
}

impl CorruptionEvaluation {
    /// The mean error of the rows that `of` chooses; `None` if there is none.
    ///
    /// ```
    /// use miyasawa::eval::{CorruptionEvaluation, CorruptionMetrics};
    /// let clean = CorruptionMetrics {
    ///     accuracy: 1.0, accuracy_interval: None, error: 0.0, nll: None, ece: None, sigma: 0.02,
    /// };
    /// let found = CorruptionEvaluation { count: 9, clean, rows: Vec::new(), mean_error: None };
    /// assert_eq!(found.mean_of(|_| true), None);
    /// ```
    pub fn mean_of(&self, of: impl Fn(&CorruptionRow) -> bool) -> Option<f64> {
        let rows = self.rows.iter().filter(|row| of(row));
        let (sum, count) = rows.fold((0.0, 0), |(sum, n), row| (sum + row.metrics.error, n + 1));
        (count > 0).then(|| sum / f64::from(count))
    }
}

/// The meter of one corruption and severity, or of clean images.
#[derive(Default)]
struct ConditionMeter {
    classes: ClassificationMeter,
    sigmas: f64,
}

impl ConditionMeter {
    fn result(&self) -> CorruptionMetrics {
        let found = self.classes.result();
        let finite = |value: f64| Some(value).filter(|value| value.is_finite());
        CorruptionMetrics {
            accuracy: found.accuracy,
            accuracy_interval: found.accuracy_interval,
            error: 1.0 - found.accuracy,
            nll: finite(found.nll),
            ece: finite(found.ece),
            sigma: self.sigmas / found.count as f64,
        }
    }
}

/// Classifies images under corruptions ([`Corruption::apply`]); no other noise is added.
///
/// `level` is the noise level that the model is conditioned on for an image: a constant, or an
/// estimate. The images are corrupted at the size at which they were opened. The random numbers
/// depend on the seed, the corruption, the severity and the index of the image in its whole set, so
/// that a part of a set has the images of the whole, and every model gets the same images.
///
/// Batches are loaded one at a time, and divided among ranks ([`crate::ranks::together`]). Corrupt
/// files are skipped if the set was opened so. The monitor gets the task `evaluation`; `None` as
/// soon as it stops the work.
///
/// ```
/// use miyasawa::data::{DataSource, OpenOptions, Part};
/// use miyasawa::eval::{CorruptionOptions, evaluate_corruptions};
/// use miyasawa::image::corruption::{Corruption, Severity};
/// use miyasawa::model::{GradResNetConfig, JointModel};
/// use miyasawa::{Device, prelude::*};
///
/// // An untrained network and a few digits, to be quick.
/// let device = Device::flex();
/// let net = GradResNetConfig { width: 8, blocks: vec![1], ..GradResNetConfig::new(1, 10) };
/// let model = JointModel::new(net.init(&device, 0), 0.5);
/// let digits = DataSource::Digits.open(Part::Test, &OpenOptions::default())?;
/// let options = CorruptionOptions {
///     corruptions: vec![Corruption::Fog, Corruption::Contrast],
///     limit: Some(20),
///     ..CorruptionOptions::default()
/// };
/// let found = evaluate_corruptions(&model, &|_| 0.02, &digits, &options, &device, &mut ())?;
/// let found = found.expect("nobody stops it");
/// assert_eq!((found.count, found.rows.len()), (20, 2 * 5));
/// let worst = found.mean_of(|row| row.severity == Severity::ALL[4]);
/// println!("clean {:.3}, corrupted {:?}, {worst:?}", found.clean.error, found.mean_error);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If images cannot be read, too many are corrupt, or none is intact.
///
/// # Panics
/// If the model does not classify, or the images have other channels than the model's or more
/// classes.
pub fn evaluate_corruptions(
    model: &(impl Predict + Sync),
    level: &(dyn Fn(&Image) -> f64 + Sync),
    data: &Images,
    options: &CorruptionOptions,
    device: &Device,
    monitor: &mut dyn Monitor,
) -> Result<Option<CorruptionEvaluation>, DataError> {
    let corruptions = options.corruptions.iter();
    let pairs = corruptions.flat_map(|c| options.severities.iter().map(move |s| (*c, *s)));
    let conditions: Vec<Option<(Corruption, Severity)>> =
        std::iter::once(None).chain(pairs.map(Some)).collect();
    let mut meters: Vec<ConditionMeter> =
        conditions.iter().map(|_| ConditionMeter::default()).collect();
    let limit = options.limit.unwrap_or(usize::MAX);
    let indices = data.spread(limit);
    let (mut count, mut done) = (0, 0);
    let work = Work { model, level, device, seed: options.seed };
    let mut add = |batch: &Dataset, share: [f64; 2], monitor: &mut dyn Monitor| {
        for (number, (condition, meter)) in conditions.iter().zip(&mut meters).enumerate() {
            work.add(batch, *condition, meter);
            let part = (number + 1) as f64 / conditions.len() as f64;
            monitor.progress(&Progress::new(TASK, share[0] + share[1] * part));
            if monitor.stop() {
                return false;
            }
        }
        true
    };
    for chunk in indices.chunks(options.batch.max(1)) {
        let share = [done, chunk.len()].map(|n| n as f64 / indices.len() as f64);
        done += chunk.len();
        if let Some(batch) = data.load_intact(chunk)? {
            if !add(&batch, share, monitor) {
                return Ok(None);
            }
            count += batch.len();
        }
    }
    if count == 0 {
        // None of the chosen images is intact.
        let few = data.sample(limit)?;
        if !add(&few, [0.0, 1.0], monitor) {
            return Ok(None);
        }
        count = few.len();
    }
    let found = conditions.iter().zip(&meters).filter_map(|(condition, meter)| {
        let (corruption, severity) = (*condition)?;
        let (group, metrics) = (corruption.group(), meter.result());
        Some(CorruptionRow { corruption, group, severity, metrics })
    });
    let (clean, rows) = (meters[0].result(), found.collect());
    let mut found = CorruptionEvaluation { count, clean, rows, mean_error: None };
    found.mean_error = found.mean_of(|_| true);
    Ok(Some(found))
}

/// What classifies corrupted images.
struct Work<'a, P> {
    model: &'a P,
    level: &'a (dyn Fn(&Image) -> f64 + Sync),
    device: &'a Device,
    seed: u64,
}

impl<P: Predict + Sync> Work<'_, P> {
    /// Classifies the images of a batch under a condition, and adds them to its meter.
    fn add(
        &self,
        batch: &Dataset,
        condition: Option<(Corruption, Severity)>,
        meter: &mut ConditionMeter,
    ) {
        let shape @ (channels, height, width) = batch.geometry().into();
        let (level, seed) = (self.level, self.seed);
        let corrupted = |i: usize| {
            let clean = Image::from_bytes(shape, batch.image(i)).expect("images of a set are such");
            let image = match condition {
                None => clean,
                Some((corruption, severity)) => {
                    corruption.apply(&clean, severity, seed, batch.source_index(i) as u64)
                }
            };
            let sigma = level(&image);
            (image.into_values(), sigma as f32)
        };
        let images: Vec<(Vec<f32>, f32)> =
            (0..batch.len()).into_par_iter().map(corrupted).collect();
        let (values, levels): (Vec<Vec<f32>>, Vec<f32>) = images.into_iter().unzip();
        meter.sigmas += levels.iter().map(|sigma| f64::from(*sigma)).sum::<f64>();
        let values = TensorData::new(values.concat(), [batch.len(), channels, height, width]);
        let y = Tensor::<4>::from_data(values, self.device);
        let sigma = Tensor::<1>::from_data(TensorData::new(levels, [batch.len()]), self.device);
        let query = Query { classify: true, ..Query::default() };
        let logits = parallel::predict(self.model, &y, &sigma, &query).logits;
        let logits = logits.expect("a model that classifies");
        meter.classes.add(&host(log_softmax(logits, 1)), batch.labels());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{DataSource, OpenOptions, Part};
    use crate::model::{GradResNetConfig, JointModel};
    use crate::progress::monitor;

    #[test]
    fn a_part_of_a_set_has_the_images_of_the_whole_and_batches_do_not_matter() {
        let device = Device::flex();
        let net = GradResNetConfig { width: 8, blocks: vec![1], ..GradResNetConfig::new(1, 10) };
        let model = JointModel::new(net.init(&device, 0), 0.5);
        let digits = DataSource::Digits.open(Part::Test, &OpenOptions::default()).unwrap();
        let corruptions = vec![Corruption::ImpulseNoise, Corruption::Frost];
        let severities = vec![Severity::ALL[0], Severity::ALL[4]];
        let options =
            CorruptionOptions { corruptions, severities, limit: Some(21), ..Default::default() };
        let run = |data: &Images, options: &CorruptionOptions, sigma: f64| {
            let found = evaluate_corruptions(&model, &|_| sigma, data, options, &device, &mut ());
            found.unwrap().unwrap()
        };
        let whole = run(&digits, &options, 0.1);
        assert_eq!((whole.count, whole.rows.len()), (21, 4));
        let mean = whole.rows.iter().map(|row| row.metrics.error).sum::<f64>() / 4.0;
        assert!((whole.mean_error.unwrap() - mean).abs() < 1e-12);
        assert!((whole.clean.sigma - 0.1).abs() < 1e-6);
        let few = run(&digits, &CorruptionOptions { batch: 4, ..options.clone() }, 0.1);
        // The same images that were taken out before.
        let part: Images = digits.sample(21).unwrap().into();
        let part = run(&part, &options, 0.1);
        for other in [few, part] {
            for (a, b) in whole.rows.iter().zip(&other.rows) {
                assert!((a.metrics.nll.unwrap() - b.metrics.nll.unwrap()).abs() < 1e-4);
            }
        }
        let all = CorruptionOptions { limit: Some(2), ..CorruptionOptions::default() };
        let stopped = &mut monitor(|_| {}, || true);
        let found = evaluate_corruptions(&model, &|_| 0.1, &digits, &all, &device, stopped);
        assert_eq!(found.unwrap(), None);
        let text = serde_json::to_string(&whole).unwrap();
        assert_eq!(serde_json::from_str::<CorruptionEvaluation>(&text).unwrap(), whole);
    }
}
