//! What a run will cost, computed from the model before anything is trained.

use super::{
    config::{AssumedData, DsmTarget, ObjectiveName, OptimizerName, TrainConfig},
    error::TrainError,
    parts::{default_micro_batch, network_parts},
    reduce::GROUP,
    run::Trainer,
};
use crate::eval::EvalOptions;
use crate::model::{Architecture, Kind};
use burn::module::Module;
use burn::tensor::Device;
use serde::Serialize;

/// Bytes of a float32.
const FLOAT: u64 = 4;
/// What the program needs besides: code, threads, kernels' scratch, images of a batch.
const PROGRAM: u64 = 50 << 20;

impl TrainConfig {
    /// Scores in the loss: adjoint passes that are trained through.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// assert_eq!(TrainConfig::default().scores(), 1);
    /// assert_eq!(TrainConfig::load(None, &["loss.dsm=both".to_owned()])?.scores(), 2);
    /// # Ok::<(), miyasawa::train::config::ConfigError>(())
    /// ```
    pub fn scores(&self) -> u64 {
        let matched = self.network.kind.is_joint() && self.loss_weights()[1] > 0.0;
        match (matched, self.loss.dsm) {
            (false, _) => 0,
            (true, DsmTarget::Both) => 2,
            (true, _) => 1,
        }
    }

    /// Forward passes over an image that a step trains through.
    fn forward_passes(&self) -> u64 {
        1 + u64::from(self.loss.clean_ce_weight > 0.0)
    }

    /// Passes through the convolutions to learn from an image: forward, once or twice; the adjoint
    /// of every score; in reverse two for each of these, one for the input and one for the weights.
    /// JEM learns from as many samples as images, and each takes a forward and an adjoint pass
    /// for every Langevin step.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// assert_eq!(TrainConfig::default().passes(), 6);
    /// assert_eq!(TrainConfig::load(None, &["loss.dsm_weight=0".to_owned()])?.passes(), 3);
    /// # Ok::<(), miyasawa::train::config::ConfigError>(())
    /// ```
    pub fn passes(&self) -> u64 {
        match self.loss.objective {
            ObjectiveName::Jem => 2 * 3 + 2 * self.jem.steps as u64,
            ObjectiveName::Joint => {
                let attack = if self.classification.batch == 0 { self.attack_passes() } else { 0 };
                3 * (self.forward_passes() + self.scores()) + attack
            }
        }
    }
}

impl TrainConfig {
    /// Passes through the convolutions for an image that the cross-entropy alone learns from: one
    /// forward, two in reverse, and a forward and an adjoint pass for every step of an attack.
    fn class_passes(&self) -> u64 {
        3 + self.attack_passes()
    }

    /// Passes of a step over `batch` images, and `of_classes` that the cross-entropy alone learns
    /// from.
    pub(super) fn passes_of(&self, batch: usize, of_classes: usize) -> u64 {
        self.passes() * batch as u64 + self.class_passes() * of_classes as u64
    }

    /// Passes of the attack on an image.
    fn attack_passes(&self) -> u64 {
        2 * self.adversarial.steps as u64
    }
}

/// Peak memory of a run, in bytes, without images that are held in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Parameters, their moments and average, the last good state of the same, and the copies of a
    /// checkpoint.
    pub state: u64,
    /// Gradients of the parts that are held at once, and their sum.
    pub gradients: u64,
    /// What a pass keeps for its reverse, in all threads; or what an evaluation keeps, if that is
    /// more.
    pub activations: u64,
    /// The program itself.
    pub program: u64,
    /// All of it.
    pub total: u64,
}

/// What memory depends on.
#[derive(Clone, Debug)]
pub struct MemoryOptions {
    /// Height and width.
    pub size: [usize; 2],
    /// Images of a step.
    pub batch: usize,
    /// Images that go through the network at once, in each thread.
    pub micro_batch: usize,
    /// Parts that are worked on at once: threads on the CPU.
    pub threads: usize,
    /// Forward passes over an image in a step: 2 with the clean-image cross-entropy.
    pub forward_passes: usize,
    /// Scores in the loss, 0 for a plain classifier.
    pub scores: usize,
    /// Copies of the parameters' size.
    pub copies: usize,
    /// Numbers of a replay buffer, and as many copies of it as of the state.
    pub buffer: u64,
    /// Images of an evaluation that go through the network at once.
    pub eval_batch: usize,
}

impl Memory {
    /// The memory of a network with `parameters` numbers.
    ///
    /// In a block the forward pass keeps four activations of the block's size (after the first
    /// convolution, after its GELU, after the second, the result) and the adjoint of a score four
    /// cotangents; the first convolution and its GELU keep two of the first stage's size and two
    /// more. The reverse works with about four of the largest besides.
    ///
    /// # Panics
    /// If `micro_batch` is 0.
    pub fn estimate(network: &Architecture, parameters: u64, options: &MemoryOptions) -> Self {
        let sizes = network.activations(options.size);
        let (blocks, first) = (sizes.iter().skip(1).sum::<usize>() as u64, sizes[0] as u64);
        let largest = sizes.iter().copied().max().unwrap_or(0) as u64;
        let passes = (options.forward_passes + options.scores) as u64;
        let kept = passes * (network.kept_per_unit() as u64 * blocks + 2 * first) + 4 * largest;
        let parts = options.batch.div_ceil(options.micro_batch);
        let training = kept
            * options.micro_batch.min(options.batch) as u64
            * options.threads.min(parts) as u64;
        let evaluation = (3 * blocks + 4 * largest) * options.eval_batch as u64;
        let state = FLOAT * (parameters * options.copies as u64 + 4 * options.buffer);
        let gradients = FLOAT * parameters * (parts.min(GROUP) as u64 + 1);
        let activations = FLOAT * training.max(evaluation);
        let total = state + gradients + activations + PROGRAM;
        Self { state, gradients, activations, program: PROGRAM, total }
    }
}

/// A device, and how fast training is on it.
#[derive(Clone, Copy, Debug)]
pub struct Hardware {
    /// Its name.
    pub name: &'static str,
    /// Where the speed comes from.
    pub basis: &'static str,
    speed: Speed,
}

#[derive(Clone, Copy, Debug)]
enum Speed {
    /// GFLOP/s of a training step by the width of the first stage, counted as [`Cost`] counts.
    Measured(&'static [(f64, f64)]),
    /// The published peak in float32, in GFLOP/s, and the share of it that training is assumed to
    /// reach.
    Assumed { peak: f64, share: f64 },
}

/// The devices that [`Cost`] estimates hours for. Those of the CPUs were measured
/// (bench/README.md), on images of 32x32; no GPU was measured yet.
pub const HARDWARE: [Hardware; 6] = [
    Hardware {
        name: "2 cores of an AMD EPYC (Zen 5, AVX-512)",
        basis: "measured, bench/README.md",
        speed: Speed::Measured(&[
            (8.0, 251.0),
            (16.0, 425.0),
            (32.0, 652.0),
            (64.0, 811.0),
            (128.0, 942.0),
        ]),
    },
    Hardware {
        name: "2 cores of an AMD EPYC (AVX2)",
        basis: "measured, bench/README.md",
        speed: Speed::Measured(&[
            (8.0, 93.0),
            (16.0, 140.0),
            (32.0, 184.0),
            (64.0, 209.0),
            (128.0, 239.0),
        ]),
    },
    Hardware {
        name: "2 cores of an Intel Xeon (Emerald Rapids, AVX-512)",
        basis: "measured, bench/README.md",
        speed: Speed::Measured(&[(8.0, 87.0), (16.0, 152.0), (32.0, 239.0), (64.0, 286.0)]),
    },
    Hardware {
        name: "NVIDIA GeForce RTX 4090",
        basis: "assumed: 35% of 82.6 TFLOP/s float32 (NVIDIA Ada architecture whitepaper)",
        speed: Speed::Assumed { peak: 82_600.0, share: 0.35 },
    },
    Hardware {
        name: "NVIDIA A100 SXM",
        basis: "assumed: 35% of 19.5 TFLOP/s float32 (NVIDIA A100 datasheet)",
        speed: Speed::Assumed { peak: 19_500.0, share: 0.35 },
    },
    Hardware {
        name: "NVIDIA H100 SXM",
        basis: "assumed: 35% of 67 TFLOP/s float32 (NVIDIA H100 datasheet)",
        speed: Speed::Assumed { peak: 67_000.0, share: 0.35 },
    },
];

impl Hardware {
    /// GFLOP/s of a training step of a network of this width: between measured widths on a line
    /// over the logarithm, beyond them the nearest.
    pub fn gflops(&self, width: usize) -> f64 {
        let table = match self.speed {
            Speed::Assumed { peak, share } => return peak * share,
            Speed::Measured(table) => table,
        };
        let width = width.max(1) as f64;
        let pair = table.windows(2).find(|pair| (pair[0].0..=pair[1].0).contains(&width));
        match pair {
            Some(&[(w0, s0), (w1, s1)]) => s0 + (s1 - s0) * (width / w0).ln() / (w1 / w0).ln(),
            _ if width < table[0].0 => table[0].1,
            _ => table[table.len() - 1].1,
        }
    }
}

/// Hours of a run on a device.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Hours {
    /// The device.
    pub name: &'static str,
    /// Where the speed comes from.
    pub basis: &'static str,
    /// GFLOP/s of a training step.
    pub gflops: f64,
    /// Hours of all training steps; evaluations come on top.
    pub hours: f64,
    /// The share of the optimiser in a step, where it was measured; else 0.
    #[serde(skip)]
    pub optimizer: f64,
    /// Seconds in which the device packs a byte of a gradient for other ranks and adds one that
    /// arrives, where that was measured; else 0.
    #[serde(skip)]
    pub copying: f64,
}

/// What a run will cost.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cost {
    /// What is trained on.
    pub data: AssumedData,
    /// Numbers that are learned.
    pub parameters: u64,
    /// Optimiser steps.
    pub steps: u64,
    /// Passes over the training images.
    pub epochs: f64,
    /// Images of a step.
    pub batch: usize,
    /// Images that go through the network at once.
    pub micro_batch: usize,
    /// Parts of a batch.
    #[serde(skip)]
    pub parts: usize,
    /// Parts that are worked on at once.
    pub threads: usize,
    /// MACs of the convolutions, one image forward.
    #[serde(rename = "multiply_adds_per_picture")]
    pub macs_per_image: u64,
    /// Of a training step.
    #[serde(rename = "multiply_adds_per_step")]
    pub macs_per_step: u64,
    /// Of all steps.
    #[serde(rename = "multiply_adds")]
    pub macs: u64,
    /// Peak memory.
    pub memory: Memory,
    /// Time on named devices.
    pub hardware: Vec<Hours>,
}

impl Cost {
    /// The cost of a run on `threads` threads. The data is read unless the configuration says what
    /// to assume.
    ///
    /// # Errors
    /// If the configuration or the data make no sense.
    pub fn estimate(config: &TrainConfig, threads: usize) -> Result<Self, TrainError> {
        Self::estimate_on(config, threads, &Device::flex())
    }

    /// As [`estimate`](Self::estimate), with the parts of another device.
    ///
    /// # Errors
    /// As [`estimate`](Self::estimate).
    pub fn estimate_on(
        config: &TrainConfig,
        threads: usize,
        device: &Device,
    ) -> Result<Self, TrainError> {
        config.check()?;
        let data = match &config.data.assume {
            Some(data) => resized(data, config),
            None => Trainer::new(config.clone(), &Device::flex())?.data(),
        };
        let network = network(config, data.channels, data.classes)?;
        let size = [data.height, data.width];
        let parameters = network.init(&Device::flex(), 0, 1.0).num_params() as u64;
        let batch = config.schedule.batch.min(data.images);
        let class_batch = config.classification.batch.min(data.images);
        let steps_per_epoch = (data.images / batch) as u64;
        let steps = total_steps(config, steps_per_epoch);
        let micro = config.schedule.micro_batch;
        let micro_batch = micro.unwrap_or_else(|| {
            let (pixels, batch_norm) = (size[0] * size[1], network.has_batch_norm());
            default_micro_batch(batch, network.width(), pixels, batch_norm, device)
        });
        let moments = if config.optimizer.name == OptimizerName::Sgd { 1 } else { 2 };
        let state = 1 + moments + usize::from(config.optimizer.ema > 0.0);
        let jem = usize::from(config.loss.objective == ObjectiveName::Jem);
        let memory = MemoryOptions {
            size,
            batch: batch + class_batch,
            micro_batch,
            threads,
            forward_passes: config.forward_passes() as usize,
            scores: config.scores() as usize,
            // The state, the last good one, and a copy of each while a checkpoint is written.
            copies: 4 * state,
            buffer: (jem * config.jem.buffer * data.channels * size[0] * size[1]) as u64,
            eval_batch: eval_batch(micro_batch),
        };
        let per_image = network.macs(size) as u64;
        let per_step = config.passes_of(batch, class_batch) * per_image;
        let macs = per_step.saturating_mul(steps);
        let hours = |hardware: &Hardware| {
            let gflops = hardware.gflops(network.width());
            let hours = 2e-9 * macs as f64 / gflops / 3600.0;
            let (name, basis) = (hardware.name, hardware.basis);
            Hours { name, basis, gflops, hours, optimizer: 0.0, copying: 0.0 }
        };
        Ok(Self {
            parameters,
            steps,
            epochs: steps as f64 / steps_per_epoch as f64,
            batch,
            micro_batch,
            parts: network_parts(&network, [batch, class_batch], micro_batch).len(),
            threads,
            macs_per_image: per_image,
            macs_per_step: per_step,
            macs,
            memory: Memory::estimate(&network, parameters, &memory),
            hardware: HARDWARE.iter().map(hours).collect(),
            data,
        })
    }
}

fn resized(data: &AssumedData, config: &TrainConfig) -> AssumedData {
    let [height, width] = config.data.size.unwrap_or([data.height, data.width]);
    let [height, width] = config.augment.patch.map_or([height, width], |side| [side, side]);
    let channels = config.data.channels.unwrap_or(data.channels);
    let images = data.images.min(config.data.limit.unwrap_or(usize::MAX));
    let classes = if config.data.unlabelled { 1 } else { data.classes };
    AssumedData { images, channels, height, width, classes }
}

/// The network of a configuration for such data.
pub(super) fn network(
    config: &TrainConfig,
    channels: usize,
    classes: usize,
) -> Result<Architecture, TrainError> {
    if config.network.kind == Kind::Custom {
        let message = "network.kind is custom: a network of one's own is trained by the program \
                       that defines it";
        return Err(TrainError::Network(message.to_owned()));
    }
    let network = config.network.architecture(channels, classes, config.dtype.operands());
    network.validate().map_err(TrainError::Network)?;
    Ok(network)
}

/// Optimiser steps of a run.
pub(super) fn total_steps(config: &TrainConfig, steps_per_epoch: u64) -> u64 {
    let by_epochs = (config.schedule.epochs * steps_per_epoch as f64).round() as u64;
    config.schedule.steps.unwrap_or(by_epochs.max(1))
}

/// Images of an evaluation that go through the network at once: those of a few parts of a step,
/// since both fill the memory with activations.
pub(super) fn eval_batch(micro_batch: usize) -> usize {
    EvalOptions::default().batch.min(4 * micro_batch)
}

mod ranks;

pub use ranks::{Cluster, RankForecast};

#[cfg(test)]
mod tests;
