//! Evaluation: a row for every noise level, with the metrics of [`crate::metrics`].

use crate::data::{DataError, Dataset, Pictures, gather};
use crate::metrics::{ClassificationMeter, DenoisingMeter};
use crate::model::{EnergyNetwork, JointModel};
use crate::train::noise::evaluation_noise;
use burn::tensor::{Device, Int, Tensor, TensorData};

/// What is evaluated.
#[derive(Clone, Debug)]
pub struct EvalOptions {
    /// Noise levels, in units of the [-1, 1] range.
    pub sigmas: Vec<f64>,
    /// Take so many pictures, evenly spaced over the set; all if left out.
    pub limit: Option<usize>,
    /// Pictures that go through the network at once.
    pub batch: usize,
    /// Seed of the noise.
    pub seed: u64,
    /// Whether to denoise too; a classifier alone has no denoiser worth measuring.
    pub denoise: bool,
}

impl Default for EvalOptions {
    fn default() -> Self {
        Self { sigmas: vec![0.02, 0.1, 0.2, 0.4, 1.0], limit: None, batch: 64, seed: 0, denoise: true }
    }
}

/// A model at one noise level.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Row {
    /// The noise level.
    pub sigma: f64,
    /// Share of the pictures whose class is the likeliest.
    pub accuracy: f64,
    /// Mean of `-log p(c | y)`.
    pub nll: f64,
    /// Expected calibration error, 15 bins.
    pub ece: f64,
    /// Mean PSNR of `D(y)`, in decibel at the peak-to-peak range 2.
    pub psnr: Option<f64>,
    /// Mean SSIM of `D(y)`.
    pub ssim: Option<f64>,
    /// Mean PSNR of `D(y, true class)`.
    pub psnr_given_label: Option<f64>,
    /// Mean PSNR of `y` itself; none at noise level 0.
    pub psnr_noisy: Option<f64>,
}

/// A batch of a data set with fixed noise, as tensors.
pub struct NoisyBatch {
    /// The clean pictures, `[batch, channels, height, width]`.
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

/// The pictures `from..from + count` at a noise level; the noise is a function of the seed, the number
/// `level` and the picture's place alone.
pub fn noisy_batch(
    data: &Dataset,
    [from, count]: [usize; 2],
    sigma: f64,
    seed_level: [u64; 2],
    device: &Device,
) -> NoisyBatch {
    noisy_batch_at(data, [from, count], from, sigma, seed_level, device)
}

/// As [`noisy_batch`], with the noise of the pictures from `place` on.
fn noisy_batch_at(
    data: &Dataset,
    [from, count]: [usize; 2],
    place: usize,
    sigma: f64,
    [seed, level]: [u64; 2],
    device: &Device,
) -> NoisyBatch {
    let indices: Vec<u32> = (from as u32..(from + count) as u32).collect();
    let shape = [count, data.channels(), data.height(), data.width()];
    let mut clean = vec![0.0; count * data.image_len()];
    gather(data, &indices, &mut clean);
    let eps = evaluation_noise(seed, level, place, count, data.image_len());
    let labels: Vec<i32> = data.labels()[from..from + count].iter().map(|l| *l as i32).collect();
    let x = Tensor::<4>::from_data(TensorData::new(clean.clone(), shape), device);
    let eps = Tensor::<4>::from_data(TensorData::new(eps, shape), device);
    NoisyBatch {
        y: x.clone() + eps * sigma,
        x,
        sigma: Tensor::full([count], sigma as f32, device),
        labels: Tensor::from_data(TensorData::new(labels, [count]), device),
        clean,
    }
}

/// The values of a tensor on the host.
pub fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec::<f32>().expect("the models compute in float32")
}

/// Evaluates a model; `progress` is told the share of the work done.
pub fn evaluate<N: EnergyNetwork>(
    model: &JointModel<N>,
    data: &Dataset,
    options: &EvalOptions,
    device: &Device,
    progress: &mut dyn FnMut(f64),
) -> Vec<Row> {
    let mut told = |share| {
        progress(share);
        true
    };
    evaluate_while(model, data, options, device, &mut told).unwrap_or_default()
}

/// As [`evaluate`], and nothing as soon as `progress` answers `false`.
pub fn evaluate_while<N: EnergyNetwork>(
    model: &JointModel<N>,
    data: &Dataset,
    options: &EvalOptions,
    device: &Device,
    progress: &mut dyn FnMut(f64) -> bool,
) -> Option<Vec<Row>> {
    let count = options.limit.unwrap_or(usize::MAX).min(data.len());
    let data = data.subset(count).expect("a part of a valid set is valid");
    let mut meters = Meters::new(model, options, device);
    let batch = options.batch.max(1);
    for from in (0..count).step_by(batch) {
        let size = batch.min(count - from);
        let mut told = |share: f64| progress((from as f64 + share * size as f64) / count as f64);
        if !meters.add(&data, [from, size], from, &mut told) {
            return None;
        }
    }
    Some(meters.rows())
}

/// As [`evaluate_while`], of pictures that need not be in memory: a batch of them is, at a time.
///
/// # Errors
/// If pictures cannot be read or too many are broken.
pub fn evaluate_set<N: EnergyNetwork>(
    model: &JointModel<N>,
    data: &Pictures,
    options: &EvalOptions,
    device: &Device,
    progress: &mut dyn FnMut(f64) -> bool,
) -> Result<Option<Vec<Row>>, DataError> {
    if let Some(data) = data.in_memory() {
        return Ok(evaluate_while(model, data, options, device, progress));
    }
    let indices = data.spread(options.limit.unwrap_or(usize::MAX));
    let mut meters = Meters::new(model, options, device);
    let mut place = 0;
    for chunk in indices.chunks(options.batch.max(1)) {
        let batch = data.load(chunk)?;
        let done = |share: f64| (place as f64 + share * chunk.len() as f64) / indices.len() as f64;
        if !meters.add(&batch, [0, chunk.len()], place, &mut |share| progress(done(share))) {
            return Ok(None);
        }
        place += chunk.len();
    }
    Ok(Some(meters.rows()))
}

/// What is measured at every noise level.
struct Meters<'a, N: EnergyNetwork> {
    model: &'a JointModel<N>,
    options: &'a EvalOptions,
    device: &'a Device,
    /// The classes, and the pictures of `D(y)`, of `D(y, true class)` and of `y`.
    of_level: Vec<(ClassificationMeter, [DenoisingMeter; 3])>,
}

impl<'a, N: EnergyNetwork> Meters<'a, N> {
    fn new(model: &'a JointModel<N>, options: &'a EvalOptions, device: &'a Device) -> Self {
        let meters = |_| (ClassificationMeter::new(), [(); 3].map(|()| DenoisingMeter::new()));
        Self { model, options, device, of_level: options.sigmas.iter().map(meters).collect() }
    }

    /// Adds the pictures `range` (first and count) of `data`, with the noise of the pictures from `place` on, as long
    /// as `progress` answers `true`.
    fn add(
        &mut self,
        data: &Dataset,
        range: [usize; 2],
        place: usize,
        progress: &mut dyn FnMut(f64) -> bool,
    ) -> bool {
        let image = (data.channels(), data.height(), data.width());
        let levels = self.of_level.len() as f64;
        let labels = &data.labels()[range[0]..range[0] + range[1]];
        for (level, (classes, [marginal, given, noisy])) in self.of_level.iter_mut().enumerate() {
            let (sigma, seed) = (self.options.sigmas[level], self.options.seed);
            let batch = noisy_batch_at(data, range, place, sigma, [seed, level as u64], self.device);
            let point = self.model.at(&batch.y, &batch.sigma);
            classes.add(&host(point.class_log_probs()), labels);
            noisy.add(&host(batch.y.clone()), &batch.clean, image);
            if self.options.denoise {
                marginal.add(&host(point.denoised()), &batch.clean, image);
                given.add(&host(point.denoised_given(&batch.labels)), &batch.clean, image);
            }
            if !progress((level + 1) as f64 / levels) {
                return false;
            }
        }
        true
    }

    fn rows(self) -> Vec<Row> {
        let measured = |value: f64| (self.options.denoise && value.is_finite()).then_some(value);
        let levels = self.options.sigmas.iter().zip(self.of_level);
        levels
            .map(|(&sigma, (classes, [marginal, given, noisy]))| {
                let (classes, marginal) = (classes.result(), marginal.result());
                Row {
                    sigma,
                    accuracy: classes.accuracy,
                    nll: classes.nll,
                    ece: classes.ece,
                    psnr: measured(marginal.psnr),
                    ssim: measured(marginal.ssim),
                    psnr_given_label: measured(given.result().psnr),
                    psnr_noisy: Some(noisy.result().psnr).filter(|p| p.is_finite()),
                }
            })
            .collect()
    }
}
