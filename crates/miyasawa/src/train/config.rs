//! The configuration of a run: a TOML file and `key=value` changes to it.

use super::{CheckpointConfig, DivergenceConfig};
use crate::data::{Augment, CROP_SHARE, FitMode, OpenOptions, Padding, Streaming};
use crate::model::{Architecture, DnCnnConfig, GradResNetConfig, Kind, ResNetConfig, UNetConfig};
use crate::ops::Operands;
use burn::tensor::{Device, FloatDType};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The most threads and batches that can be asked for.
const MAX_WORKERS: usize = 1024;

/// Everything that fixes a run. Every field has a default: an empty file trains on the digits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Seed of the parameters, the order of the data, augmentation and noise.
    pub seed: u64,
    /// The type of the convolutions' products. Parameters, sums, norms and losses are in float32 either way.
    pub dtype: Dtype,
    /// What is learned from.
    pub data: DataConfig,
    /// The network.
    pub network: NetworkConfig,
    /// What is minimised.
    pub loss: LossConfig,
    /// How the samples of `loss.objective = "jem"` are drawn.
    pub jem: JemConfig,
    /// The noise levels.
    pub noise: NoiseConfig,
    /// How the parameters move.
    pub optimizer: OptimizerConfig,
    /// For how long, and how large a batch.
    pub schedule: ScheduleConfig,
    /// Random changes of the pictures.
    pub augment: AugmentConfig,
    /// What is measured on the way.
    pub eval: EvalConfig,
    /// What is kept to go on from.
    pub checkpoint: CheckpointConfig,
    /// When the run is taken to diverge, and what then.
    pub divergence: DivergenceConfig,
}

/// The type of the convolutions' products.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// float32.
    #[default]
    F32,
    /// bfloat16, to which both sides of every product are rounded.
    Bf16,
}

impl Dtype {
    /// As the operations take it.
    pub fn operands(self) -> Operands {
        match self {
            Self::F32 => Operands::F32,
            Self::Bf16 => Operands::Bf16,
        }
    }

    /// Says whether the device has this type.
    ///
    /// # Errors
    /// If it does not.
    pub fn check(self, device: &Device) -> Result<(), ConfigError> {
        if self == Self::F32 || device.supports_dtype(FloatDType::BF16) {
            return Ok(());
        }
        let expected = "f32: this device has no bfloat16";
        Err(ConfigError::Value { key: "dtype", found: self.to_string(), expected })
    }
}

impl std::fmt::Display for Dtype {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        })
    }
}

/// What is learned from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// A DATA argument for training.
    pub train: String,
    /// A DATA argument for evaluation; left out, the test part of `train`.
    pub test: Option<String>,
    /// Height and width that pictures are brought to; left out, their own.
    pub size: Option<[usize; 2]>,
    /// How: `pad` with black, `pad_edge`, `resize`, or `resize_crop` as networks for ImageNet are evaluated.
    pub fit: FitMode,
    /// What `resize_crop` keeps of the shorter side: 0.875 is 224 of 256.
    pub crop_share: f64,
    /// Channels that pictures are brought to, 1 or 3; left out, their own.
    pub channels: Option<usize>,
    /// Train on the first so many pictures of a shuffle only.
    pub limit: Option<usize>,
    /// Forget the classes: every picture is of the one class `image`.
    pub unlabelled: bool,
    /// Whether pictures are decoded whenever they are needed: `auto` (where they would take more than 1 GiB), `always`
    /// or `never`.
    pub stream: Streaming,
    /// Threads that read and decode a stream ahead of the steps; left out, as many as compute.
    pub workers: Option<usize>,
    /// Batches of a stream that are prepared ahead of the step.
    pub prefetch: usize,
    /// Read shards from their beginnings to their ends, in a random order and through a shuffle buffer of so many
    /// pictures: for disks on which jumping is slow. Left out, the whole set is shuffled.
    pub shuffle_buffer: Option<usize>,
    /// Pictures that may be broken: each is named, and the next one takes its place.
    pub max_broken: usize,
    /// Pictures of a stream that its mean and standard deviation are measured on.
    pub sample: usize,
    /// What `--dry-run` takes the data to be, so that it need not be there.
    pub assume: Option<AssumedData>,
}

/// A data set as far as the cost of a run depends on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssumedData {
    /// Training pictures.
    pub pictures: usize,
    /// Channels of a picture, 1 or 3.
    pub channels: usize,
    /// Height of a picture; `data.size` comes first.
    pub height: usize,
    /// Width of a picture.
    pub width: usize,
    /// Number of classes.
    pub classes: usize,
}

impl Default for DataConfig {
    fn default() -> Self {
        let OpenOptions { max_broken, sample, .. } = OpenOptions::default();
        Self {
            train: "digits".to_owned(),
            test: None,
            size: None,
            fit: FitMode::Pad,
            crop_share: CROP_SHARE,
            channels: None,
            limit: None,
            unlabelled: false,
            stream: Streaming::Auto,
            workers: None,
            prefetch: 2,
            shuffle_buffer: None,
            max_broken,
            sample,
            assume: None,
        }
    }
}

/// The network; channels and classes come from the data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkConfig {
    /// `gradresnet`, the joint model; or a reference model: `resnet18`, `dncnn`, `unet`.
    pub kind: Kind,
    /// Channels of the first stage.
    pub width: usize,
    /// Blocks of every stage.
    pub blocks: Vec<usize>,
    /// Whether a `gradresnet` works without knowing the noise level.
    pub blind: bool,
    /// Whether the energy head of a `gradresnet` starts at zero.
    pub zero_energy_head: bool,
    /// Convolutions of a `dncnn`.
    pub depth: usize,
    /// Whether a `dncnn` (left out: no) or `unet` (left out: yes) has no constants.
    pub bias_free: Option<bool>,
    /// Whether a `dncnn` (left out: no) or `unet` (left out: yes) is told the noise level.
    pub conditioned: Option<bool>,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self {
            kind: Kind::GradResNet,
            width: 16,
            blocks: vec![2, 2, 2, 2],
            blind: false,
            zero_energy_head: true,
            depth: 17,
            bias_free: None,
            conditioned: None,
        }
    }
}

impl NetworkConfig {
    /// The network for such pictures and so many classes.
    pub fn architecture(&self, channels: usize, classes: usize, operands: Operands) -> Architecture {
        let (width, blocks) = (self.width, self.blocks.clone());
        let unet = self.kind == Kind::UNet;
        let (bias_free, conditioned) = (self.bias_free.unwrap_or(unet), self.conditioned.unwrap_or(unet));
        match self.kind {
            Kind::GradResNet => Architecture::GradResNet(GradResNetConfig {
                channels,
                classes,
                width,
                blocks,
                blind: self.blind,
                zero_energy_head: self.zero_energy_head,
                operands,
            }),
            Kind::ResNet18 => {
                Architecture::ResNet18(ResNetConfig { channels, classes, width, blocks, operands })
            }
            Kind::DnCnn => {
                let depth = self.depth;
                Architecture::DnCnn(DnCnnConfig { channels, width, depth, bias_free, conditioned, operands })
            }
            Kind::UNet => {
                Architecture::UNet(UNetConfig { channels, width, blocks, bias_free, conditioned, operands })
            }
        }
    }

    /// Whether the network works without knowing the noise level.
    pub fn is_blind(&self) -> bool {
        self.architecture(1, 1, Operands::F32).is_blind()
    }
}

/// Which score the denoising loss is taken on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DsmTarget {
    /// `grad log p(y)`.
    #[default]
    Marginal,
    /// `grad log p(y, c)` of the true class.
    Conditional,
    /// The mean of both losses.
    Both,
}

/// How a joint density is learned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObjectiveName {
    /// Cross-entropy and denoising score matching.
    #[default]
    Joint,
    /// Cross-entropy and maximum likelihood by sampling (Grathwohl et al. 2020).
    Jem,
}

/// How the samples of JEM are drawn (Grathwohl et al. 2020, "Your classifier is secretly an energy based
/// model", section 5 and appendix): stochastic gradient Langevin dynamics with a replay buffer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JemConfig {
    /// Weight of `-log p(y)` beside the cross-entropy.
    pub weight: f64,
    /// Pictures of the replay buffer.
    pub buffer: usize,
    /// Langevin steps for every training step.
    pub steps: usize,
    /// Length of a step along the gradient.
    pub step_size: f64,
    /// Standard deviation of the noise of a step.
    pub noise: f64,
    /// Share of the samples that start from uniform noise.
    pub reinit: f64,
}

impl Default for JemConfig {
    fn default() -> Self {
        Self { weight: 1.0, buffer: 10_000, steps: 20, step_size: 1.0, noise: 0.01, reinit: 0.05 }
    }
}

/// What is minimised: `ce_weight*CE + dsm_weight*DSM`. A classifier alone has no DSM, a denoiser alone no CE.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LossConfig {
    /// `joint`, or `jem`, which has no DSM.
    pub objective: ObjectiveName,
    /// Weight of the cross-entropy.
    pub ce_weight: f64,
    /// Weight of denoising score matching; 0 trains a classifier alone.
    pub dsm_weight: f64,
    /// The score that is matched.
    pub dsm: DsmTarget,
    /// Share of the class target that is spread over all classes.
    pub label_smoothing: f64,
}

impl Default for LossConfig {
    fn default() -> Self {
        let (objective, dsm) = (ObjectiveName::Joint, DsmTarget::Marginal);
        Self { objective, ce_weight: 1.0, dsm_weight: 1.0, dsm, label_smoothing: 0.0 }
    }
}

/// How noise levels are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoiseDistribution {
    /// Uniform in the logarithm from `min` to `max`.
    #[default]
    LogUniform,
    /// Normal in the logarithm (Karras et al. 2022), clipped to `min` and `max`.
    LogNormal,
}

/// The noise levels, in units of the [-1, 1] range.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NoiseConfig {
    /// How levels are drawn.
    pub distribution: NoiseDistribution,
    /// Smallest level; 0 with `max` 0 trains a blind classifier on clean pictures.
    pub min: f64,
    /// Largest level.
    pub max: f64,
    /// Mean of the logarithm, for `log-normal`.
    pub log_mean: f64,
    /// Standard deviation of the logarithm, for `log-normal`.
    pub log_std: f64,
    /// Share of every batch that gets the smallest level.
    pub share_at_min: f64,
}

impl Default for NoiseConfig {
    fn default() -> Self {
        let distribution = NoiseDistribution::LogUniform;
        Self { distribution, min: 0.02, max: 1.0, log_mean: -1.2, log_std: 1.2, share_at_min: 0.0 }
    }
}

/// The optimiser's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerName {
    /// Loshchilov & Hutter 2019.
    #[default]
    AdamW,
    /// Stochastic gradient descent with momentum.
    Sgd,
}

/// How the parameters move.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerConfig {
    /// `adamw` or `sgd`.
    pub name: OptimizerName,
    /// Largest learning rate.
    pub lr: f64,
    /// Decoupled weight decay of weights with two dimensions or more.
    pub weight_decay: f64,
    /// Decay of the first moment (AdamW).
    pub beta1: f64,
    /// Decay of the second moment (AdamW).
    pub beta2: f64,
    /// Added to the root of the second moment (AdamW).
    pub epsilon: f64,
    /// Momentum (SGD).
    pub momentum: f64,
    /// Nesterov's momentum (SGD).
    pub nesterov: bool,
    /// Largest norm of the gradient over all parameters; 0 for no limit.
    pub clip_norm: f64,
    /// Decay of the exponential moving average of the parameters that is evaluated and kept; 0 for none.
    pub ema: f64,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            name: OptimizerName::AdamW,
            lr: 2e-3,
            weight_decay: 0.01,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            momentum: 0.9,
            nesterov: false,
            clip_norm: 1.0,
            ema: 0.999,
        }
    }
}

/// For how long, and how large a batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScheduleConfig {
    /// Passes over the training set; used where `steps` is left out.
    pub epochs: f64,
    /// Optimiser steps.
    pub steps: Option<u64>,
    /// Pictures of a step.
    pub batch: usize,
    /// Pictures that go through the network at once; gradients are summed over the parts of a batch.
    /// Left out, a size that stays in the cache.
    pub micro_batch: Option<usize>,
    /// Steps over which the learning rate rises from 0.
    pub warmup: u64,
    /// Share of the learning rate that is left at the end of the cosine.
    pub final_lr: f64,
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self { epochs: 10.0, steps: None, batch: 128, micro_batch: None, warmup: 50, final_lr: 0.0 }
    }
}

/// Random changes of the pictures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AugmentConfig {
    /// Cut out a random part whose share of the picture lies in this range and resize it, `[0.08, 1.0]` for ImageNet
    /// (Szegedy et al. 2015).
    pub resized_crop: Option<[f64; 2]>,
    /// Mirror every second picture.
    pub flip: bool,
    /// Crop out of the picture padded by so many pixels on each side.
    pub crop: usize,
    /// What the padding holds, `zero` or `reflect`.
    pub padding: Padding,
    /// Learn from random squares of so many pixels out of the pictures.
    pub patch: Option<usize>,
}

impl AugmentConfig {
    /// As the data module takes it.
    pub fn augment(&self) -> Augment {
        let Self { resized_crop, flip, crop, padding, .. } = *self;
        Augment { resized_crop, flip, crop, crop_padding: padding }
    }
}

/// What is measured on the way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvalConfig {
    /// Noise levels.
    pub sigmas: Vec<f64>,
    /// Pictures of the evaluations during training; the last one takes all, if `all_at_end` says so.
    pub limit: usize,
    /// Whether the last evaluation takes all pictures.
    pub all_at_end: bool,
    /// Steps between evaluations; left out, an epoch.
    pub every: Option<u64>,
}

impl Default for EvalConfig {
    fn default() -> Self {
        Self { sigmas: vec![0.02, 0.1, 0.2, 0.4, 1.0], limit: 1000, all_at_end: true, every: None }
    }
}

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("configuration {path}: cannot be read: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The text is not TOML, or a key or value is not one of ours.
    #[error("configuration {origin}: {message}")]
    Parse {
        /// The file or setting.
        origin: String,
        /// What was expected and found.
        message: String,
    },
    /// A value makes no sense.
    #[error("configuration: {key} is {found}, expected {expected}")]
    Value {
        /// The key.
        key: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
}

pub(crate) fn parse_error(origin: &str, error: &toml::de::Error) -> ConfigError {
    let message = error.message().lines().collect::<Vec<_>>().join(" ");
    ConfigError::Parse { origin: origin.to_owned(), message }
}

impl TrainConfig {
    /// Reads a file, if one is given, and applies `key=value` settings; checks the result.
    ///
    /// # Errors
    /// If the file cannot be read, a key is unknown, or a value makes no sense.
    pub fn load(path: Option<&Path>, settings: &[String]) -> Result<Self, ConfigError> {
        let (mut origin, mut text) = ("defaults".to_owned(), String::new());
        if let Some(path) = path {
            origin = path.display().to_string();
            text = std::fs::read_to_string(path)
                .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        }
        Self::parse(&text, origin, settings)
    }

    /// Reads a file's text; `origin` is what to call it in messages.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn parse(text: &str, mut origin: String, settings: &[String]) -> Result<Self, ConfigError> {
        let mut table: toml::Table = text.parse().map_err(|e| parse_error(&origin, &e))?;
        for setting in settings {
            set(&mut table, setting)?;
        }
        if !settings.is_empty() {
            origin = format!("{origin} with --set");
        }
        let config: Self = table.try_into().map_err(|e| parse_error(&origin, &e))?;
        config.check()?;
        Ok(config)
    }

    /// How the data is opened.
    pub fn open_options(&self) -> OpenOptions {
        let data = &self.data;
        OpenOptions {
            size: data.size.map(|[height, width]| (height, width)),
            fit: data.fit,
            crop_share: data.crop_share,
            channels: data.channels,
            limit: data.limit,
            stream: data.stream,
            originals: self.augment.resized_crop.is_some(),
            max_broken: data.max_broken,
            sample: data.sample,
        }
    }

    /// The configuration as TOML, every value written out.
    ///
    /// # Errors
    /// Never for values that [`load`](Self::load) accepts.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string_pretty(self)
    }

    /// The weights of cross-entropy and score matching that the network and the objective have a use for.
    pub fn loss_weights(&self) -> [f64; 2] {
        let kind = self.network.kind;
        let matched = kind.denoises() && self.loss.objective != ObjectiveName::Jem;
        let used = |weight: f64, use_it: bool| if use_it { weight } else { 0.0 };
        [used(self.loss.ce_weight, kind.classifies()), used(self.loss.dsm_weight, matched)]
    }

    /// Says what makes no sense.
    ///
    /// # Errors
    /// The first value that makes no sense.
    pub fn check(&self) -> Result<(), ConfigError> {
        fn check<T: std::fmt::Debug>(
            ok: bool,
            key: &'static str,
            found: T,
            expected: &'static str,
        ) -> Result<(), ConfigError> {
            if ok { Ok(()) } else { Err(ConfigError::Value { key, found: format!("{found:?}"), expected }) }
        }
        let (noise, loss, opt, schedule) = (&self.noise, &self.loss, &self.optimizer, &self.schedule);
        let share = |value: f64| (0.0..=1.0).contains(&value);
        let (kind, blind) = (self.network.kind, self.network.is_blind());
        let [ce_weight, dsm_weight] = self.loss_weights();
        let clean = blind && dsm_weight == 0.0;
        check(
            noise.min > 0.0 || (noise.min == 0.0 && clean),
            "noise.min",
            noise.min,
            "above 0 (0 only for a blind network with loss.dsm_weight = 0)",
        )?;
        let denoiser = matches!(kind, Kind::DnCnn | Kind::UNet);
        let (bias_free, conditioned) = (self.network.bias_free, self.network.conditioned);
        check(
            bias_free.is_none() || denoiser,
            "network.bias_free",
            bias_free,
            "left out but for dncnn, unet",
        )?;
        check(
            conditioned.is_none() || denoiser,
            "network.conditioned",
            conditioned,
            "left out but for dncnn, unet",
        )?;
        check(
            !self.network.blind || kind == Kind::GradResNet,
            "network.blind",
            true,
            "false but for gradresnet",
        )?;
        let jem = loss.objective == ObjectiveName::Jem;
        check(
            !jem || (kind == Kind::GradResNet && blind),
            "loss.objective",
            loss.objective,
            "joint; jem needs network.kind = \"gradresnet\" and network.blind = true",
        )?;
        check(
            !jem || (noise.min > 0.0 && noise.min == noise.max),
            "noise.max",
            noise.max,
            "noise.min: jem knows one noise level (0.03 in the paper)",
        )?;
        check(jem || ce_weight + dsm_weight > 0.0, "loss", (ce_weight, dsm_weight), "a weight above 0")?;
        let sampler = &self.jem;
        check(sampler.buffer > 0, "jem.buffer", sampler.buffer, "at least 1")?;
        check(sampler.steps > 0, "jem.steps", sampler.steps, "at least 1")?;
        check(share(sampler.reinit), "jem.reinit", sampler.reinit, "0 to 1")?;
        for (key, value) in [
            ("jem.weight", sampler.weight),
            ("jem.step_size", sampler.step_size),
            ("jem.noise", sampler.noise),
        ] {
            check(value >= 0.0 && value.is_finite(), key, value, "0 or more")?;
        }
        check(self.augment.patch != Some(0), "augment.patch", self.augment.patch, "at least 1")?;
        // A class is seen in the whole picture.
        check(
            self.augment.patch.is_none() || ce_weight == 0.0 || self.data.unlabelled,
            "augment.patch",
            self.augment.patch,
            "left out where classes are learned (loss.ce_weight = 0 or data.unlabelled = true)",
        )?;
        check(noise.max >= noise.min && noise.max.is_finite(), "noise.max", noise.max, "noise.min or more")?;
        check(noise.log_std > 0.0, "noise.log_std", noise.log_std, "above 0")?;
        check(share(noise.share_at_min), "noise.share_at_min", noise.share_at_min, "0 to 1")?;
        check(loss.ce_weight >= 0.0, "loss.ce_weight", loss.ce_weight, "0 or more")?;
        check(loss.dsm_weight >= 0.0, "loss.dsm_weight", loss.dsm_weight, "0 or more")?;
        check(share(loss.label_smoothing), "loss.label_smoothing", loss.label_smoothing, "0 to 1")?;
        check(opt.lr > 0.0 && opt.lr.is_finite(), "optimizer.lr", opt.lr, "above 0")?;
        check(opt.weight_decay >= 0.0, "optimizer.weight_decay", opt.weight_decay, "0 or more")?;
        for (key, value) in [
            ("optimizer.beta1", opt.beta1),
            ("optimizer.beta2", opt.beta2),
            ("optimizer.momentum", opt.momentum),
            ("optimizer.ema", opt.ema),
        ] {
            check((0.0..1.0).contains(&value), key, value, "0 or more and below 1")?;
        }
        check(opt.clip_norm >= 0.0, "optimizer.clip_norm", opt.clip_norm, "0 or more")?;
        check(schedule.batch > 0, "schedule.batch", schedule.batch, "at least 1")?;
        check(schedule.micro_batch != Some(0), "schedule.micro_batch", schedule.micro_batch, "at least 1")?;
        check(schedule.steps != Some(0), "schedule.steps", schedule.steps, "at least 1")?;
        let data = &self.data;
        check(
            data.workers.is_none_or(|n| (1..=MAX_WORKERS).contains(&n)),
            "data.workers",
            data.workers,
            "1 to 1024",
        )?;
        check((1..=MAX_WORKERS).contains(&data.prefetch), "data.prefetch", data.prefetch, "1 to 1024")?;
        check(data.sample > 0, "data.sample", data.sample, "at least 1")?;
        check(
            data.crop_share > 0.0 && data.crop_share <= 1.0,
            "data.crop_share",
            data.crop_share,
            "above 0 and at most 1",
        )?;
        let crop = self.augment.resized_crop;
        check(
            crop.is_none_or(|[low, high]| low > 0.0 && low <= high && high <= 1.0),
            "augment.resized_crop",
            crop,
            "two shares above 0 and at most 1 in ascending order",
        )?;
        check(self.data.limit != Some(0), "data.limit", self.data.limit, "at least 1")?;
        check(self.eval.limit > 0, "eval.limit", self.eval.limit, "at least 1")?;
        check(schedule.epochs > 0.0, "schedule.epochs", schedule.epochs, "above 0")?;
        check(share(schedule.final_lr), "schedule.final_lr", schedule.final_lr, "0 to 1")?;
        self.checkpoint.check()?;
        self.divergence.check()?;
        if let Some(data) = &self.data.assume {
            let sizes = [data.pictures, data.channels, data.height, data.width, data.classes];
            check(sizes.iter().all(|size| *size > 0), "data.assume", data, "numbers above 0")?;
        }
        let sigmas = &self.eval.sigmas;
        // A network that is told the noise level takes its logarithm.
        let level = |s: &f64| s.is_finite() && (*s > 0.0 || (*s == 0.0 && blind));
        check(
            !sigmas.is_empty() && sigmas.iter().all(level),
            "eval.sigmas",
            sigmas,
            "one or more numbers above 0 (or 0 for a blind network)",
        )?;
        check(
            self.data.channels.is_none_or(|c| c == 1 || c == 3),
            "data.channels",
            self.data.channels,
            "1 or 3",
        )
    }
}

/// Applies `a.b=value`: the value is read as TOML, or taken as text where it is not.
pub(crate) fn set(table: &mut toml::Table, setting: &str) -> Result<(), ConfigError> {
    let wrong = |message: String| ConfigError::Parse { origin: format!("--set {setting}"), message };
    let (path, text) = setting.split_once('=').ok_or_else(|| wrong("expected key=value".into()))?;
    let value = format!("v = {text}")
        .parse::<toml::Table>()
        .ok()
        .and_then(|mut parsed| parsed.remove("v"))
        .unwrap_or_else(|| toml::Value::String(text.to_owned()));
    let mut keys: Vec<&str> = path.split('.').map(str::trim).collect();
    let last = keys.pop().filter(|key| !key.is_empty()).ok_or_else(|| wrong("the key is empty".into()))?;
    let mut at = table;
    for key in keys {
        let entry = at.entry(key).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        at = entry.as_table_mut().ok_or_else(|| wrong(format!("'{key}' holds no keys")))?;
    }
    at.insert(last.to_owned(), value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(settings: &[&str]) -> Result<TrainConfig, ConfigError> {
        TrainConfig::load(None, &settings.iter().map(|s| s.to_string()).collect::<Vec<_>>())
    }

    #[test]
    fn settings_reach_their_keys_with_their_types() {
        let config = load(&[
            "seed=7",
            "network.blocks=[1, 2]",
            "loss.dsm=both",
            "optimizer.name=sgd",
            "data.size=[32, 32]",
            "data.train=cifar10:/some/where",
            "schedule.steps=800",
        ])
        .unwrap();
        assert_eq!(config.seed, 7);
        assert_eq!(config.network.blocks, [1, 2]);
        assert_eq!(config.loss.dsm, DsmTarget::Both);
        assert_eq!(config.optimizer.name, OptimizerName::Sgd);
        assert_eq!(config.data.size, Some([32, 32]));
        assert_eq!(config.data.train, "cifar10:/some/where");
        assert_eq!(config.schedule.steps, Some(800));
    }

    #[test]
    fn a_written_configuration_reads_back_as_it_was() {
        let config = load(&["noise.share_at_min=0.25", "augment.flip=true", "schedule.epochs=3.5"]).unwrap();
        let table: toml::Table = config.to_toml().unwrap().parse().unwrap();
        assert_eq!(table.try_into::<TrainConfig>().unwrap(), config);
    }

    #[test]
    fn wrong_calls_say_the_key() {
        for (setting, expected) in [
            ("netwrk.width=8", "netwrk"),
            ("network.widht=8", "widht"),
            ("network.width=wide", "invalid type"),
            ("seed", "expected key=value"),
            ("=3", "the key is empty"),
            ("seed.x=3", "invalid type"),
            ("noise.min=0", "noise.min is 0.0, expected above 0"),
            ("noise.max=0.01", "noise.max"),
            ("optimizer.lr=-1", "optimizer.lr is -1.0"),
            ("schedule.batch=0", "schedule.batch"),
            ("optimizer.ema=1.0", "optimizer.ema"),
            ("network.kind=vit", "vit"),
            ("network.conditioned=true", "network.conditioned"),
            ("loss.objective=jem", "loss.objective is Jem"),
            ("augment.patch=16", "augment.patch"),
        ] {
            let error = load(&[setting]).unwrap_err().to_string();
            assert!(error.contains(expected), "{setting}: {error}");
            assert_eq!(error.lines().count(), 1, "{setting}: {error}");
        }
    }
}
