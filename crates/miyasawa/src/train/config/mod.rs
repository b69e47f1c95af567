//! The configuration of a run: a TOML file and `key=value` changes to it.

mod check;
mod classification;
mod data;
mod error;
mod log;
mod network;
mod objective;
mod schedule;
mod set;
#[cfg(test)]
mod tests;

pub use crate::model::ObjectiveName;
pub use classification::{AdversarialConfig, ClassificationConfig};
pub use data::{AssumedData, AugmentConfig, DataConfig, EvalConfig};
pub use error::ConfigError;
pub(crate) use error::parse_error;
pub use log::LogConfig;
pub use network::{Dtype, NetworkConfig};
pub use objective::{DsmTarget, JemConfig, LossConfig, NoiseConfig, NoiseDistribution};
pub(super) use schedule::is_part;
pub use schedule::{Decay, OptimizerConfig, OptimizerName, ScheduleConfig};
pub(crate) use set::set;

use super::{CheckpointConfig, DivergenceConfig};
use crate::data::OpenOptions;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Everything that fixes a run. Every field has a default: an empty file trains on the digits.
///
/// ```
/// use miyasawa::train::TrainConfig;
///
/// let settings = ["network.width=32".to_owned(), "schedule.epochs=2".to_owned()];
/// let config = TrainConfig::load(None, &settings)?;
/// assert_eq!((config.network.width, config.schedule.epochs), (32, 2.0));
/// let wrong = TrainConfig::load(None, &["optimizer.lr=-1".to_owned()]).unwrap_err();
/// assert!(wrong.to_string().contains("optimizer.lr is -1.0, expected a finite number above 0"));
/// # Ok::<(), miyasawa::train::config::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Seed of the parameters, the order of the data, augmentation and noise.
    pub seed: u64,
    /// The type of the convolutions' products. Parameters, sums, norms and losses are in float32
    /// either way.
    pub dtype: Dtype,
    /// The checkpoint whose parameters training starts from, or the name of a bundled model
    /// (`bundled` is the default one); random ones where it is left out.
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
    /// Images that the cross-entropy alone learns from.
    #[serde(skip_serializing_if = "ClassificationConfig::is_default")]
    pub classification: ClassificationConfig,
    /// Adversarial training.
    #[serde(skip_serializing_if = "AdversarialConfig::is_default")]
    pub adversarial: AdversarialConfig,
    /// What is measured on the way.
    pub eval: EvalConfig,
    /// What is kept to go on from.
    pub checkpoint: CheckpointConfig,
    /// When the run is taken to diverge, and what then.
    pub divergence: DivergenceConfig,
    /// What is written besides `metrics.jsonl`.
    #[serde(skip_serializing_if = "LogConfig::is_default")]
    pub log: LogConfig,
}

/// Decides which of `schedule.steps` and `schedule.epochs` counts where both are given: the steps,
/// unless the epochs are set by hand and the steps are those of the file.
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
    // A configuration that the program wrote holds every section.
    let whole = toml::Table::try_from(TrainConfig::default()).unwrap_or_default();
    let is_whole = whole.keys().all(|key| file.contains_key(key));
    if epochs_by_hand && !steps_by_hand {
        tracing::warn!(
            "schedule.epochs = {epochs} takes the place of schedule.steps = {steps} of {origin}"
        );
        if let Some(schedule) = table.get_mut("schedule").and_then(toml::Value::as_table_mut) {
            schedule.remove("steps");
        }
    } else if epochs_by_hand || (!steps_by_hand && !is_whole) {
        tracing::warn!(
            "schedule.epochs = {epochs} is not used: schedule.steps = {steps} comes first"
        );
    }
}

/// Fills what `[network]` leaves out with the network of the model that `init` names. A model that
/// cannot be read is left for the run to report.
fn take_network_of_init(table: &mut toml::Table) {
    let Some(init) = table.get("init").and_then(|init| init.as_str()).map(str::to_owned) else {
        return;
    };
    let empty = || toml::Value::Table(toml::Table::new());
    let Some(network) = table.entry("network").or_insert_with(empty).as_table_mut() else { return };
    // A configuration that a run wrote holds every value, and its model need not be there any more.
    let all = toml::Table::try_from(NetworkConfig::default()).unwrap_or_default();
    if all.keys().all(|key| network.contains_key(key)) {
        return;
    }
    let Ok(checkpoint) = super::init::load(&init) else { return };
    let keys = super::init::network_keys(&checkpoint.info.network);
    if network.get("kind").is_some_and(|kind| Some(kind) != keys.get("kind")) {
        return;
    }
    for (key, value) in keys {
        network.entry(key).or_insert(value);
    }
}

impl TrainConfig {
    /// Reads a file, if one is given, and applies `key=value` settings; checks the result. Where
    /// `init` names a model, what `[network]` leaves out is that model's: fine-tuning needs no more
    /// than its name.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let config = TrainConfig::load(None, &["seed=3".to_owned()])?;
    /// assert_eq!(config.seed, 3);
    /// assert!(TrainConfig::load(None, &["sed=3".to_owned()]).is_err());
    /// # Ok::<(), miyasawa::train::config::ConfigError>(())
    /// ```
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
        let mut table = Self::table(&text, &origin, settings)?;
        take_network_of_init(&mut table);
        Self::from_table(table, origin, settings)
    }

    /// Reads a file's text; `origin` is what to call it in messages.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let config = TrainConfig::parse("schedule.epochs = 2", "text".to_owned(), &[])?;
    /// assert_eq!(config.schedule.epochs, 2.0);
    /// # Ok::<(), miyasawa::train::config::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn parse(text: &str, origin: String, settings: &[String]) -> Result<Self, ConfigError> {
        Self::from_table(Self::table(text, &origin, settings)?, origin, settings)
    }

    fn table(text: &str, origin: &str, settings: &[String]) -> Result<toml::Table, ConfigError> {
        let mut table: toml::Table = text.parse().map_err(|e| parse_error(origin, &e))?;
        let written = table.clone();
        for setting in settings {
            set(&mut table, setting)?;
        }
        steps_or_epochs(&mut table, &written, origin, settings);
        Ok(table)
    }

    fn from_table(
        table: toml::Table,
        mut origin: String,
        settings: &[String],
    ) -> Result<Self, ConfigError> {
        if !settings.is_empty() {
            origin = format!("{origin} with --set");
        }
        let config: Self = table.try_into().map_err(|e| parse_error(&origin, &e))?;
        config.check()?;
        Ok(config)
    }

    /// How the data is opened.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let config = TrainConfig::load(None, &["data.size=[32, 32]".to_owned()])?;
    /// assert_eq!(config.open_options().size, Some((32, 32)));
    /// # Ok::<(), miyasawa::train::config::ConfigError>(())
    /// ```
    pub fn open_options(&self) -> OpenOptions {
        let data = &self.data;
        OpenOptions {
            size: data.size.map(|[height, width]| (height, width)),
            resize_mode: data.fit,
            crop_share: data.crop_share,
            channels: data.channels,
            limit: data.limit,
            stream: data.stream,
            patch: self.augment.patch,
            unlabelled: data.unlabelled || !self.asks_for_classes(),
            originals: self.augment.resized_crop.or(self.classification.resized_crop).is_some(),
            max_corrupt: data.max_broken,
            sample: data.sample,
            skip_corrupt: false,
        }
    }

    /// The configuration as TOML, every value written out.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let text = TrainConfig::default().to_toml()?;
    /// assert_eq!(TrainConfig::parse(&text, "text".to_owned(), &[])?, TrainConfig::default());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Never for values that [`load`](Self::load) accepts.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string_pretty(self)
    }

    /// The weights of cross-entropy (of all images that learn it) and score matching that the
    /// network and the objective have a use for.
    pub fn loss_weights(&self) -> [f64; 2] {
        let kind = self.network.kind;
        let matched = kind.denoises() && self.loss.objective != ObjectiveName::Jem;
        let used = |weight: f64, use_it: bool| if use_it { weight } else { 0.0 };
        let own = used(self.loss.class_ce_weight, self.classification.batch > 0);
        let ce_weight = self.loss.ce_weight + own;
        [used(ce_weight, kind.classifies()), used(self.loss.dsm_weight, matched)]
    }

    /// Whether any cross-entropy has a weight, whatever the network.
    pub(super) fn asks_for_classes(&self) -> bool {
        self.loss.ce_weight > 0.0 || self.classification.batch > 0
    }
}
