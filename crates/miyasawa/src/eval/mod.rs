//! Evaluation: a row for every noise level, with the metrics of [`crate::metrics`].

use crate::data::{Dataset, gather};
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
    [seed, level]: [u64; 2],
    device: &Device,
) -> NoisyBatch {
    let indices: Vec<u32> = (from as u32..(from + count) as u32).collect();
    let shape = [count, data.channels(), data.height(), data.width()];
    let mut clean = vec![0.0; count * data.image_len()];
    gather(data, &indices, &mut clean);
    let eps = evaluation_noise(seed, level, from, count, data.image_len());
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
    let image = (data.channels(), data.height(), data.width());
    let total = (options.sigmas.len() * count) as f64;
    let mut rows = Vec::new();
    for (level, &sigma) in options.sigmas.iter().enumerate() {
        let mut classes = ClassificationMeter::new();
        let [mut marginal, mut given, mut noisy] = [(); 3].map(|()| DenoisingMeter::new());
        for from in (0..count).step_by(options.batch.max(1)) {
            let size = options.batch.min(count - from);
            let batch = noisy_batch(&data, [from, size], sigma, [options.seed, level as u64], device);
            let point = model.at(&batch.y, &batch.sigma);
            let labels = &data.labels()[from..from + size];
            classes.add(&host(point.class_log_probs()), labels);
            noisy.add(&host(batch.y.clone()), &batch.clean, image);
            if options.denoise {
                marginal.add(&host(point.denoised()), &batch.clean, image);
                given.add(&host(point.denoised_given(&batch.labels)), &batch.clean, image);
            }
            if !progress((level * count + from + size) as f64 / total) {
                return None;
            }
        }
        let measured = |value: f64| (options.denoise && value.is_finite()).then_some(value);
        let (classes, marginal) = (classes.result(), marginal.result());
        rows.push(Row {
            sigma,
            accuracy: classes.accuracy,
            nll: classes.nll,
            ece: classes.ece,
            psnr: measured(marginal.psnr),
            ssim: measured(marginal.ssim),
            psnr_given_label: measured(given.result().psnr),
            psnr_noisy: Some(noisy.result().psnr).filter(|p| p.is_finite()),
        });
    }
    Some(rows)
}
