//! Evaluation: a row for every noise level, with the metrics of [`crate::metrics`].
//!
//! ```
//! use miyasawa::eval::{EvalOptions, Quantity, evaluate};
//! use miyasawa::data::{DataSource, OpenOptions, Part};
//! use miyasawa::model::{GradResNetConfig, JointModel};
//! use miyasawa::{Device, prelude::*};
//!
//! // An untrained network and a few digits, to be quick.
//! let device = Device::flex();
//! let net = GradResNetConfig { width: 8, blocks: vec![1], ..GradResNetConfig::new(1, 10) };
//! let model = JointModel::new(net.init(&device, 0), 0.5);
//! let digits = DataSource::Digits.open(Part::Test, &OpenOptions::default())?.into_dataset()?;
//! let options = EvalOptions { sigmas: vec![0.1, 0.4], limit: Some(20), ..EvalOptions::default() };
//! let rows = evaluate(&model, &digits, &options, &device, &mut ());
//! let psnr = rows[0].estimate(Quantity::Psnr).unwrap();
//! assert!(psnr.low < psnr.value && psnr.value > rows[1].psnr.unwrap());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod corruptions;
mod errors;
mod images;
mod test_set;

pub use corruptions::{
    CorruptionEvaluation, CorruptionMetrics, CorruptionOptions, CorruptionRow, evaluate_corruptions,
};
pub use errors::{Quantity, RowErrors};
pub use images::ImageEvalOptions;

use crate::data::{DataError, Dataset, Images, gather};
use crate::image::Image;
use crate::infer;
use crate::metrics::{ClassificationMeter, DenoisingMeter};
use crate::model::{Predict, Query, host};
use crate::parallel;
use crate::progress::{Monitor, Piece, Progress};
use crate::random::evaluation_noise;
use burn::tensor::{Device, Int, Tensor, TensorData, activation::log_softmax};

/// The settings of an evaluation.
#[derive(Clone, Debug)]
pub struct EvalOptions {
    /// Noise levels, in units of the [-1, 1] range, within
    /// [`NOISE_LEVELS`](crate::model::NOISE_LEVELS); 0 is allowed for blind networks only.
    pub sigmas: Vec<f64>,
    /// Number of images, evenly spaced over the set; all if `None`.
    pub limit: Option<usize>,
    /// Images that go through the network at once.
    pub batch: usize,
    /// Seed of the noise.
    pub seed: u64,
    /// Whether to classify; `false` for a model that only denoises.
    pub classify: bool,
    /// Whether to denoise; `false` for a model that only classifies.
    pub denoise: bool,
}

impl Default for EvalOptions {
    fn default() -> Self {
        let sigmas = vec![0.02, 0.1, 0.2, 0.4, 1.0];
        Self { sigmas, limit: None, batch: 64, seed: 0, classify: true, denoise: true }
    }
}

/// The metrics of a model at one noise level; `None` for tasks that it was not trained for.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct EvalRow {
    /// The noise level.
    pub sigma: f64,
    /// Share of the images whose class is the most probable one.
    pub accuracy: Option<f64>,
    /// Mean of `-log p(c | y)`.
    pub nll: Option<f64>,
    /// Expected calibration error, 15 bins.
    pub ece: Option<f64>,
    /// Mean PSNR of `D(y)`, in decibel at the peak-to-peak range 2.
    pub psnr: Option<f64>,
    /// Mean SSIM of `D(y)`.
    pub ssim: Option<f64>,
    /// Mean squared error of `D(y)`, in squared units of the [-1, 1] range.
    #[serde(default)]
    pub mse: Option<f64>,
    /// Mean PSNR of `D(y, true class)`.
    pub psnr_given_label: Option<f64>,
    /// Mean PSNR of `y` itself; `None` at noise level 0.
    pub psnr_noisy: Option<f64>,
    /// The statistical errors.
    #[serde(default, flatten)]
    pub errors: RowErrors,
}

/// A batch of a data set with fixed noise, as tensors.
pub struct NoisyBatch {
    /// The clean images, `[batch, channels, height, width]`.
    pub x: Tensor<4>,
    /// The noisy ones.
    pub y: Tensor<4>,
    /// The noise level of each.
    pub sigma: Tensor<1>,
    /// The class of each.
    pub labels: Tensor<1, Int>,
    /// The clean values on the host.
    pub clean: Vec<f32>,
}

/// The images `from..from + count` at a noise level; the noise is a function of the seed, the
/// number `level` and the image's index alone.
pub fn noisy_batch(
    data: &Dataset,
    [from, count]: [usize; 2],
    sigma: f64,
    seed_level: [u64; 2],
    device: &Device,
) -> NoisyBatch {
    noisy_batch_at(data, [from, count], from, sigma, seed_level, device)
}

/// As [`noisy_batch`], with the noise of the images from `noise_index` on.
fn noisy_batch_at(
    data: &Dataset,
    [from, count]: [usize; 2],
    noise_index: usize,
    sigma: f64,
    [seed, level]: [u64; 2],
    device: &Device,
) -> NoisyBatch {
    let indices: Vec<u32> = (from as u32..(from + count) as u32).collect();
    let shape = [count, data.channels(), data.height(), data.width()];
    let mut clean = vec![0.0; count * data.image_len()];
    gather(data, &indices, &mut clean);
    let noise = evaluation_noise(seed, level, noise_index, count, data.image_len());
    let labels: Vec<i32> = data.labels()[from..from + count].iter().map(|l| *l as i32).collect();
    let x = Tensor::<4>::from_data(TensorData::new(clean.clone(), shape), device);
    let noise = Tensor::<4>::from_data(TensorData::new(noise, shape), device);
    NoisyBatch {
        y: x.clone() + noise * sigma,
        x,
        sigma: Tensor::full([count], sigma as f32, device),
        labels: Tensor::from_data(TensorData::new(labels, [count]), device),
        clean,
    }
}

/// Evaluates a model; the monitor gets the task `evaluation`. Without rows if it stops the work.
///
/// # Panics
/// If the images have other channels than the model's, or more classes where it classifies.
pub fn evaluate(
    model: &(impl Predict + Sync),
    data: &Dataset,
    options: &EvalOptions,
    device: &Device,
    monitor: &mut dyn Monitor,
) -> Vec<EvalRow> {
    // Images in memory cannot fail to be read.
    let found = evaluate_set(model, &data.clone().into(), options, device, monitor).ok().flatten();
    found.map_or_else(Vec::new, |found| found.rows)
}

/// The result of an evaluation; corrupt images may have been skipped.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Number of measured images.
    pub count: usize,
    /// A row for every noise level.
    pub rows: Vec<EvalRow>,
}

/// As [`evaluate`], for images that need not be in memory: one batch is loaded at a time. Returns
/// `None` as soon as the monitor stops it. Corrupt images are skipped if the set was opened
/// that way.
///
/// # Errors
/// If images cannot be read, too many are corrupt, or none is intact.
///
/// # Panics
/// As [`evaluate`].
pub fn evaluate_set(
    model: &(impl Predict + Sync),
    data: &Images,
    options: &EvalOptions,
    device: &Device,
    monitor: &mut dyn Monitor,
) -> Result<Option<Evaluation>, DataError> {
    let indices = data.spread(options.limit.unwrap_or(usize::MAX));
    let mut meters = Meters::new(model, options, device);
    let (mut count, mut done) = (0, 0);
    for chunk in indices.chunks(options.batch.max(1)) {
        if let Some(batch) = data.load_intact(chunk)? {
            let range = [done, chunk.len()].map(|n| n as f64 / indices.len() as f64);
            let piece = &mut Piece { monitor: &mut *monitor, task: None, range };
            if !meters.add(&batch, [0, batch.len()], count, piece) {
                return Ok(None);
            }
            count += batch.len();
        }
        done += chunk.len();
    }
    // None of the chosen images is intact.
    if count == 0 {
        let few = data.sample(options.limit.unwrap_or(usize::MAX))?;
        if !meters.add(&few, [0, few.len()], 0, monitor) {
            return Ok(None);
        }
        count = few.len();
    }
    Ok(Some(Evaluation { count, rows: meters.rows() }))
}

/// As [`evaluate_set`], for a denoiser on images of different sizes; nothing is classified.
pub fn evaluate_gallery(
    model: &(impl Predict + Sync),
    images: &[Image],
    options: &EvalOptions,
    device: &Device,
    monitor: &mut dyn Monitor,
) -> Option<Vec<EvalRow>> {
    let EvalOptions { sigmas, limit, seed, .. } = options;
    let found = images::measure(images, (sigmas, *limit, *seed), monitor, |noisy, sigma| {
        let denoised = infer::denoise(model, &noisy, sigma, None, device, &mut ());
        Ok::<_, std::convert::Infallible>((noisy, denoised))
    });
    match found {
        Ok(rows) => rows,
        Err(never) => match never {},
    }
}

/// The task that a monitor gets.
const TASK: &str = "evaluation";

/// The meters of one noise level; `None` for tasks that the model does not do.
#[derive(Default)]
struct LevelMeters {
    classes: Option<ClassificationMeter>,
    /// `D(y)`.
    marginal: Option<DenoisingMeter>,
    /// `D(y, true class)`.
    class_conditional: Option<DenoisingMeter>,
    /// `y`.
    noisy: DenoisingMeter,
}

impl LevelMeters {
    fn row(self, sigma: f64) -> EvalRow {
        let (classes, marginal) =
            (self.classes.map(|m| m.result()), self.marginal.map(|m| m.result()));
        let errors = RowErrors {
            accuracy_interval: classes.and_then(|c| c.accuracy_interval),
            ece_error: classes.and_then(|c| c.ece_error),
            psnr_error: marginal.and_then(|m| m.psnr_error),
            ssim_error: marginal.and_then(|m| m.ssim_error),
            psnr_given_label_error: self
                .class_conditional
                .as_ref()
                .and_then(|m| m.result().psnr_error),
        };
        let finite = |value: Option<f64>| value.filter(|v| v.is_finite());
        EvalRow {
            sigma,
            accuracy: classes.as_ref().map(|c| c.accuracy),
            nll: finite(classes.as_ref().map(|c| c.nll)),
            ece: finite(classes.map(|c| c.ece)),
            psnr: finite(marginal.map(|m| m.psnr)),
            ssim: finite(marginal.map(|m| m.ssim)),
            mse: finite(marginal.map(|m| m.mse)),
            psnr_given_label: finite(self.class_conditional.map(|m| m.result().psnr)),
            psnr_noisy: finite(Some(self.noisy.result().psnr)),
            errors,
        }
    }
}

/// The meters of all noise levels.
struct Meters<'a, P: Predict + Sync> {
    model: &'a P,
    options: &'a EvalOptions,
    device: &'a Device,
    level_meters: Vec<LevelMeters>,
}

impl<'a, P: Predict + Sync> Meters<'a, P> {
    fn new(model: &'a P, options: &'a EvalOptions, device: &'a Device) -> Self {
        let level_meters = options.sigmas.iter().map(|_| LevelMeters::default()).collect();
        Self { model, options, device, level_meters }
    }

    /// Adds the images `range` (first and count) of `data`, with the noise of the images from
    /// `noise_index` on; returns `false` if the monitor stops it.
    fn add(
        &mut self,
        data: &Dataset,
        range: [usize; 2],
        noise_index: usize,
        monitor: &mut dyn Monitor,
    ) -> bool {
        let image = (data.channels(), data.height(), data.width());
        let levels = self.level_meters.len() as f64;
        let labels = &data.labels()[range[0]..range[0] + range[1]];
        let (classify, denoise) = (self.options.classify, self.options.denoise);
        for (level, meters) in self.level_meters.iter_mut().enumerate() {
            let (sigma, seed) = (self.options.sigmas[level], self.options.seed);
            let batch =
                noisy_batch_at(data, range, noise_index, sigma, [seed, level as u64], self.device);
            let class_conditional = (classify && denoise).then_some(&batch.labels);
            let found = parallel::predict(
                self.model,
                &batch.y,
                &batch.sigma,
                &Query { classify, denoise, class_conditional },
            );
            meters.noisy.add(&host(batch.y.clone()), &batch.clean, image);
            if let Some(logits) = found.logits {
                let meter = meters.classes.get_or_insert_default();
                meter.add(&host(log_softmax(logits, 1)), labels);
            }
            if let Some(denoised) = found.denoised {
                meters.marginal.get_or_insert_default().add(&host(denoised), &batch.clean, image);
            }
            if let Some(denoised) = found.class_conditional {
                meters.class_conditional.get_or_insert_default().add(
                    &host(denoised),
                    &batch.clean,
                    image,
                );
            }
            monitor.progress(&Progress::new(TASK, (level + 1) as f64 / levels));
            if monitor.stop() {
                return false;
            }
        }
        true
    }

    fn rows(self) -> Vec<EvalRow> {
        self.options
            .sigmas
            .iter()
            .zip(self.level_meters)
            .map(|(sigma, meters)| meters.row(*sigma))
            .collect()
    }
}
