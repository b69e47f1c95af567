//! The configuration of a run: a TOML file and `key=value` changes to it.

mod data;
mod error;
mod network;
mod objective;
mod schedule;
mod set;
#[cfg(test)]
mod tests;

pub use crate::model::ObjectiveName;
pub use data::{AssumedData, AugmentConfig, DataConfig, EvalConfig};
pub use error::ConfigError;
pub(crate) use error::parse_error;
pub use network::{Dtype, NetworkConfig};
pub use objective::{DsmTarget, JemConfig, LossConfig, NoiseConfig, NoiseDistribution};
pub use schedule::{Decay, OptimizerConfig, OptimizerName, ScheduleConfig};
pub(crate) use set::set;

use super::{CheckpointConfig, DivergenceConfig};
use crate::data::OpenOptions;
use crate::image::MAX_PIXELS;
use crate::model::{Kind, NOISE_LEVELS};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The most threads and batches that can be asked for.
const MAX_WORKERS: usize = 1024;
/// The most images that a replay buffer may hold: a hundred times as many as in the paper.
const MAX_BUFFER: usize = 1_000_000;

/// Everything that fixes a run. Every field has a default: an empty file trains on the digits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Seed of the parameters, the order of the data, augmentation and noise.
    pub seed: u64,
    /// The type of the convolutions' products. Parameters, sums, norms and losses are in float32 either way.
    pub dtype: Dtype,
    /// The checkpoint whose parameters training starts from, or `bundled`; random ones where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<String>,
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
    /// Random changes of the images.
    pub augment: AugmentConfig,
    /// What is measured on the way.
    pub eval: EvalConfig,
    /// What is kept to go on from.
    pub checkpoint: CheckpointConfig,
    /// When the run is taken to diverge, and what then.
    pub divergence: DivergenceConfig,
}

/// Says which of `schedule.steps` and `schedule.epochs` counts where both are given. Steps come first, but for epochs that
/// are set by hand where the steps are those of the file.
fn steps_or_epochs(table: &mut toml::Table, file: &toml::Table, origin: &str, settings: &[String]) {
    let of = |table: &toml::Table, key: &str| table.get("schedule")?.as_table()?.get(key).cloned();
    let by_hand = |key: &str| {
        settings
            .iter()
            .filter_map(|s| s.split_once('='))
            .any(|(name, _)| name.trim() == format!("schedule.{key}"))
    };
    let (Some(epochs), Some(steps)) = (of(table, "epochs"), of(table, "steps")) else { return };
    let [epochs_by_hand, steps_by_hand] = ["epochs", "steps"].map(by_hand);
    // A configuration that the program wrote holds every value.
    let whole = toml::Table::try_from(TrainConfig::default()).unwrap_or_default();
    let is_whole = whole.keys().all(|key| file.contains_key(key));
    if epochs_by_hand && !steps_by_hand {
        tracing::warn!("schedule.epochs = {epochs} takes the place of schedule.steps = {steps} of {origin}");
        if let Some(schedule) = table.get_mut("schedule").and_then(toml::Value::as_table_mut) {
            schedule.remove("steps");
        }
    } else if epochs_by_hand || (!steps_by_hand && !is_whole) {
        tracing::warn!("schedule.epochs = {epochs} is not used: schedule.steps = {steps} comes first");
    }
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
        let written = table.clone();
        for setting in settings {
            set(&mut table, setting)?;
        }
        steps_or_epochs(&mut table, &written, &origin, settings);
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
            whole_only: false,
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
            if ok {
                return Ok(());
            }
            let found = format!("{found:?}");
            let inner = found.strip_prefix("Some(").and_then(|found| found.strip_suffix(')'));
            Err(ConfigError::Value { key, found: inner.unwrap_or(&found).to_owned(), expected })
        }
        // A number of TOML has a sign: a larger seed could be written and not read back.
        check(i64::try_from(self.seed).is_ok(), "seed", self.seed, "0 to 9223372036854775807")?;
        let (noise, loss, opt, schedule) = (&self.noise, &self.loss, &self.optimizer, &self.schedule);
        let share = |value: f64| (0.0..=1.0).contains(&value);
        let (kind, blind) = (self.network.kind, self.network.is_blind());
        let [ce_weight, dsm_weight] = self.loss_weights();
        let clean = blind && dsm_weight == 0.0;
        check(
            NOISE_LEVELS.contains(&noise.min) || (noise.min == 0.0 && clean),
            "noise.min",
            noise.min,
            "1e-6 to 1e6 (0 only for a blind network with loss.dsm_weight = 0)",
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
        check((1..=MAX_BUFFER).contains(&sampler.buffer), "jem.buffer", sampler.buffer, "1 to 1000000")?;
        check(sampler.steps > 0, "jem.steps", sampler.steps, "at least 1")?;
        check(share(sampler.reinit), "jem.reinit", sampler.reinit, "0 to 1")?;
        for (key, value) in [
            ("jem.weight", sampler.weight),
            ("jem.step_size", sampler.step_size),
            ("jem.noise", sampler.noise),
        ] {
            check(value >= 0.0 && value.is_finite(), key, value, "a finite number from 0")?;
        }
        let low_contrast = self.augment.low_contrast;
        let range = "from 0 to 1";
        check((0.0..=1.0).contains(&low_contrast), "augment.low_contrast", low_contrast, range)?;
        check(self.augment.patch != Some(0), "augment.patch", self.augment.patch, "at least 1")?;
        // A class is seen in the whole image.
        check(
            self.augment.patch.is_none() || ce_weight == 0.0 || self.data.unlabelled,
            "augment.patch",
            self.augment.patch,
            "left out where classes are learned (loss.ce_weight = 0 or data.unlabelled = true)",
        )?;
        check(
            noise.max >= noise.min && noise.max <= *NOISE_LEVELS.end(),
            "noise.max",
            noise.max,
            "noise.min to 1e6",
        )?;
        let positive = |value: f64| value > 0.0 && value.is_finite();
        check(positive(noise.log_std), "noise.log_std", noise.log_std, "a finite number above 0")?;
        check(noise.log_mean.is_finite(), "noise.log_mean", noise.log_mean, "a finite number")?;
        check(share(noise.share_at_min), "noise.share_at_min", noise.share_at_min, "0 to 1")?;
        for (key, value) in [
            ("loss.ce_weight", loss.ce_weight),
            ("loss.clean_ce_weight", loss.clean_ce_weight),
            ("loss.dsm_weight", loss.dsm_weight),
            ("optimizer.weight_decay", opt.weight_decay),
        ] {
            check(value >= 0.0 && value.is_finite(), key, value, "a finite number from 0")?;
        }
        check(
            loss.clean_ce_weight == 0.0 || (kind == Kind::GradResNet && !jem),
            "loss.clean_ce_weight",
            loss.clean_ce_weight,
            "0 but for a gradresnet and loss.objective = \"joint\"",
        )?;
        check(
            (noise.min..=noise.max).contains(&loss.clean_sigma) || loss.clean_ce_weight == 0.0,
            "loss.clean_sigma",
            loss.clean_sigma,
            "noise.min to noise.max",
        )?;
        check(share(loss.label_smoothing), "loss.label_smoothing", loss.label_smoothing, "0 to 1")?;
        check(positive(opt.lr), "optimizer.lr", opt.lr, "a finite number above 0")?;
        for (key, value) in [
            ("optimizer.beta1", opt.beta1),
            ("optimizer.beta2", opt.beta2),
            ("optimizer.momentum", opt.momentum),
            ("optimizer.ema", opt.ema),
        ] {
            check((0.0..1.0).contains(&value), key, value, "0 or more and below 1")?;
        }
        check(positive(opt.epsilon), "optimizer.epsilon", opt.epsilon, "a finite number above 0")?;
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
        let drawable = |[height, width]: [usize; 2]| {
            (1..=MAX_PIXELS).contains(&(height as u64).saturating_mul(width as u64))
        };
        check(data.size.is_none_or(drawable), "data.size", data.size, "1 to 100 million pixels")?;
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
        check(positive(schedule.epochs), "schedule.epochs", schedule.epochs, "a finite number above 0")?;
        check(share(schedule.final_lr), "schedule.final_lr", schedule.final_lr, "0 to 1")?;
        self.checkpoint.check()?;
        self.divergence.check()?;
        if let Some(data) = &self.data.assume {
            let sizes = [data.images, data.channels, data.height, data.width, data.classes];
            check(sizes.iter().all(|size| *size > 0), "data.assume", data, "numbers above 0")?;
            check(drawable([data.height, data.width]), "data.assume", data, "1 to 100 million pixels")?;
        }
        let sigmas = &self.eval.sigmas;
        // A network that is told the noise level takes its logarithm.
        let level = |s: &f64| NOISE_LEVELS.contains(s) || (*s == 0.0 && blind);
        check(
            !sigmas.is_empty() && sigmas.iter().all(level),
            "eval.sigmas",
            sigmas,
            "one or more numbers from 1e-6 to 1e6 (or 0 for a blind network)",
        )?;
        check(
            self.data.channels.is_none_or(|c| c == 1 || c == 3),
            "data.channels",
            self.data.channels,
            "1 or 3",
        )
    }
}
