//! Times one step on synthetic data, with the same count of operations as reference.py.
//!
//! ```
//! use miyasawa::bench::{BenchOptions, Work, bench};
//! use miyasawa::{Device, model::GradResNetConfig, train::config::Dtype};
//!
//! let options = BenchOptions {
//!     work: Work::Denoise,
//!     network: GradResNetConfig { width: 8, blocks: vec![1], ..GradResNetConfig::new(3, 10) },
//!     dtype: Dtype::F32,
//!     size: [16, 16],
//!     batch: 2,
//!     micro_batch: None,
//!     iterations: 1,
//!     seed: 0,
//! };
//! let found = bench(&options, &Device::flex());
//! assert!(found.median_seconds > 0.0 && found.batch == 2);
//! ```

use crate::model::{GradResNetConfig, JointModel};
use crate::train::{
    TrainConfig,
    config::{Dtype, LossConfig, NoiseConfig, OptimizerConfig, OptimizerName},
    joint::gradients,
    noise::training_noise,
    optimizer::Optimizer,
    parts::{Batch, default_micro_batch},
};
use burn::tensor::{Device, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::time::Instant;

/// The standard deviation of the data that reference.py assumes.
const SIGMA_DATA: f64 = 0.5;

/// The timed work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Loss, gradient and optimiser: 6 convolution passes.
    TrainStep,
    /// The class probabilities: 1 pass.
    Classify,
    /// `D(y)`: 2 passes.
    Denoise,
}

/// The settings of a benchmark.
#[derive(Clone, Debug)]
pub struct BenchOptions {
    /// The timed work.
    pub work: Work,
    /// The network.
    pub network: GradResNetConfig,
    /// Type of the multiplications; overrides the network's configuration.
    pub dtype: Dtype,
    /// Height and width.
    pub size: [usize; 2],
    /// Images of a step.
    pub batch: usize,
    /// Images in one forward pass; `None` for the trainer's choice.
    pub micro_batch: Option<usize>,
    /// Timed steps, after two untimed ones.
    pub iterations: usize,
    /// Seed of parameters and data.
    pub seed: u64,
}

impl BenchOptions {
    fn network(&self) -> GradResNetConfig {
        GradResNetConfig { operands: self.dtype.operands(), ..self.network.clone() }
    }
}

/// The result of a benchmark.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct BenchResult {
    /// Median time of a step.
    pub median_seconds: f64,
    /// `batch / median_seconds`.
    pub images_per_second: f64,
    /// Floating-point operations of the step's convolution passes, in 10^9.
    pub conv_gflop: f64,
    /// `conv_gflop / median_seconds`.
    pub achieved_gflops: f64,
    /// Largest resident memory of the process, if the system reports it.
    pub peak_rss_bytes: Option<u64>,
    /// Largest working memory of the CPU kernels, all threads together.
    pub working_bytes: usize,
    /// Threads of the CPU.
    pub threads: usize,
    /// Instruction set of the CPU kernels.
    pub isa: String,
    /// Type of the multiplications.
    pub dtype: String,
    /// Images of a step.
    pub batch: usize,
    /// Channels of the first stage.
    pub width: usize,
}

/// The peak performance of the processor.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Peak {
    /// Multiplications and additions of all threads together, 10^9 a second, in fused MACs on
    /// registers.
    pub peak_gflops: f64,
    /// Threads of the CPU.
    pub threads: usize,
    /// Instruction set of the CPU kernels.
    pub isa: String,
}

/// Measures [`Peak`], in less than a second.
pub fn peak() -> Peak {
    let threads = rayon::current_num_threads();
    let peak_gflops = miyasawa_kernels::peak::fma_gflops(threads);
    Peak { peak_gflops, threads, isa: miyasawa_kernels::isa::Isa::current().to_string() }
}

impl Work {
    fn passes(self) -> usize {
        match self {
            Self::TrainStep => TrainConfig::default().passes() as usize,
            Self::Classify => 1,
            Self::Denoise => 2,
        }
    }
}

/// Runs and times the steps.
pub fn bench(options: &BenchOptions, device: &Device) -> BenchResult {
    let mut times = match options.work {
        Work::TrainStep => train_step(options, &device.clone().autodiff()),
        Work::Classify | Work::Denoise => inference(options, device),
    };
    times.sort_by(f64::total_cmp);
    let median = times[times.len() / 2];
    let macs = options.network.macs(options.size) * options.batch;
    let conv_gflop = 2e-9 * (options.work.passes() * macs) as f64;
    BenchResult {
        median_seconds: median,
        images_per_second: options.batch as f64 / median,
        conv_gflop,
        achieved_gflops: conv_gflop / median,
        peak_rss_bytes: peak_rss_bytes(),
        working_bytes: miyasawa_kernels::scratch::most_bytes(),
        threads: rayon::current_num_threads(),
        isa: miyasawa_kernels::isa::Isa::current().to_string(),
        dtype: options.dtype.to_string(),
        batch: options.batch,
        width: options.network.width,
    }
}

fn synthetic(options: &BenchOptions) -> Batch {
    let [h, w] = options.size;
    let image = [options.network.channels, h, w];
    let rng = &mut ChaCha8Rng::seed_from_u64(options.seed);
    let len = image.iter().product::<usize>();
    let x = (0..options.batch * len).map(|_| rng.random_range(-1.0..1.0)).collect();
    let labels =
        (0..options.batch).map(|_| rng.random_range(0..options.network.classes as u32)).collect();
    let (sigma, noise) =
        training_noise(&NoiseConfig::default(), options.seed, 0, options.batch, len);
    let label_weight = vec![1.0; options.batch];
    Batch { image, x, labels, label_weight, sigma, noise, for_classes: 0 }
}

fn timed(options: &BenchOptions, device: &Device, mut step: impl FnMut()) -> Vec<f64> {
    // An asynchronous device must have finished when the clock is read.
    let mut once = || {
        let start = Instant::now();
        step();
        let _ = device.sync();
        start.elapsed().as_secs_f64()
    };
    once();
    once();
    (0..options.iterations.max(1)).map(|_| once()).collect()
}

fn train_step(options: &BenchOptions, device: &Device) -> Vec<f64> {
    let net = options.network().init(device, options.seed);
    let mut model = Some(JointModel::new(net, SIGMA_DATA));
    // The same step as in reference.py.
    let config = OptimizerConfig {
        name: OptimizerName::AdamW,
        lr: 1e-3,
        ema: 0.0,
        clip_norm: 0.0,
        ..OptimizerConfig::default()
    };
    let mut optimizer = Optimizer::new(config);
    let batch = synthetic(options);
    let [h, w] = options.size;
    let micro = options.micro_batch;
    let micro = micro.unwrap_or_else(|| {
        default_micro_batch(options.batch, options.network.width, h * w, false, device)
    });
    timed(options, device, || {
        let Some(mut current) = model.take() else { return };
        let (mut grads, _) = gradients(&current, &batch, &LossConfig::default(), micro, device);
        current.net = optimizer.step(current.net, &mut grads, 0.0, 1e-3);
        model = Some(current);
    })
}

fn inference(options: &BenchOptions, device: &Device) -> Vec<f64> {
    let model = JointModel::new(options.network().init(device, options.seed), SIGMA_DATA);
    let batch = synthetic(options);
    let [c, h, w] = batch.image;
    let n = batch.len();
    let y: Vec<f32> = batch
        .x
        .chunks(c * h * w)
        .zip(batch.noise.chunks(c * h * w))
        .zip(&batch.sigma)
        .flat_map(|((x, noise), sigma)| {
            x.iter().zip(noise).map(|(x, e)| x + sigma * e).collect::<Vec<_>>()
        })
        .collect();
    let y = Tensor::<4>::from_data(TensorData::new(y, [n, c, h, w]), device);
    let sigma = Tensor::<1>::from_data(TensorData::new(batch.sigma, [n]), device);
    timed(options, device, || {
        let point = model.at(&y, &sigma);
        match options.work {
            Work::Denoise => drop(point.denoised().into_data()),
            _ => drop(point.class_probs().into_data()),
        }
    })
}

/// The largest resident memory of this process so far, in bytes, on Linux; `None` elsewhere.
pub fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}
