//! Compares several models with one training budget: each is trained or loaded, measured in the
//! same way, and shown in one report.
//!
//! | in the folder | content |
//! | --- | --- |
//! | `runs/NAME-seedS/` | a training run and its measurements: `result.json`, `denoised.png` |
//! | `plan.json` | seconds that a step of each model takes, where the budget has minutes |
//! | `report.html`, `report.md`, `report.json` | the comparison |
//!
//! Finished work is not repeated: after an interruption the same call resumes. Of a finished run
//! `config.toml`, `result.json` and `denoised.png` suffice, so that runs can be trained on several
//! machines ([`Choice`]), or their weights deleted.
//!
//! ```
//! use miyasawa::compare::CompareConfig;
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("compare.toml");
//! std::fs::write(
//!     &path,
//!     r#"
//! budget.images = 20000
//!
//! [[models]]
//! name = "joint"
//!
//! [[models]]
//! name = "resnet"
//! set.network.kind = "resnet18"
//! "#,
//! )?;
//! let config = CompareConfig::load(&path, &["seeds=[0, 1]".to_owned()])?;
//! assert_eq!((config.models.len(), config.seeds_of(&config.models[1])), (2, &[0, 1][..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod config;
mod files;
mod measure;
mod network;
mod report;
mod share;
mod shown;

pub use config::{Budget, CompareAttack, CompareConfig, CompareEval, ModelEntry};
pub use measure::{Costs, RobustRow, RunResult};

use crate::experiment::ExperimentError;
use crate::model::EnergyNetwork;
use crate::progress::Monitor;
use crate::report::Provenance;
use crate::train::{Observer, TrainConfig, TrainError, config::ConfigError, has_checkpoint};
use burn::tensor::Device;
use files::{create_folder, resumes, run_dir, write_json};
use measure::{Finished, Measures, Subject};
use network::{Configured, Network, Own};
use std::{collections::BTreeMap, path::Path, sync::Arc};

/// The result of a comparison.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Comparison {
    /// The configuration.
    pub config: CompareConfig,
    /// The name of the images that everything was measured on.
    pub data: String,
    /// Number of measured images.
    pub count: usize,
    /// Every run, models in the order of the configuration.
    pub runs: Vec<RunResult>,
    /// The provenance of the report; `None` in documents of earlier versions.
    #[serde(default)]
    pub provenance: Option<Provenance>,
}

/// A run that begins, for observers.
#[derive(Clone, Copy, Debug)]
pub struct Beginning<'c> {
    /// The model's name.
    pub name: &'c str,
    /// The run's configuration.
    pub config: &'c TrainConfig,
    /// Steps of the run.
    pub total: u64,
}

/// The models of a comparison that a call trains and measures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// All of them, and the report.
    #[default]
    All,
    /// Those of these names, without a report: the others are trained by other calls, at the same
    /// time or elsewhere.
    Only(Vec<String>),
}

impl Choice {
    /// The chosen models.
    fn select<'c>(
        &self,
        config: &'c CompareConfig,
    ) -> Result<Vec<&'c ModelEntry>, ExperimentError> {
        let Self::Only(names) = self else { return Ok(config.models.iter().collect()) };
        if let Some(name) =
            names.iter().find(|name| config.models.iter().all(|entry| entry.name != **name))
        {
            let known = config.models.iter().map(|entry| entry.name.clone()).collect();
            return Err(ExperimentError::Unknown { name: name.clone(), known });
        }
        Ok(config.models.iter().filter(|entry| names.contains(&entry.name)).collect())
    }
}

/// A comparison to run: a configuration, and what a program adds to it.
///
/// ```
/// use miyasawa::compare::{Beginning, Compare, CompareConfig};
/// use miyasawa::model::GradResNetConfig;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("compare.toml");
/// std::fs::write(
///     &path,
///     r#"
/// budget.images = 64
/// base.data = { train = "digits", limit = 64 }
/// base.schedule.batch = 32
/// eval = { sigmas = [0.1], limit = 16 }
/// attack.count = 0
/// models = [
///     { name = "mine" },
///     { name = "resnet", set.network = { kind = "resnet18", width = 8, blocks = [1] } },
/// ]
/// "#,
/// )?;
/// let config = CompareConfig::load(&path, &[])?;
/// let device = miyasawa::Device::flex();
/// // A network of one's own: anything that implements `EnergyNetwork`.
/// let net = GradResNetConfig { width: 8, blocks: vec![1], ..GradResNetConfig::new(1, 10) };
/// let found = Compare::new(&config, &device)
///     .network("mine", move |device, seed| net.init(device, seed))
///     .run(&folder.path().join("out"), &mut |_: Beginning<'_>| (), &mut ())?
///     .expect("nobody stops it");
/// assert_eq!(found.runs.len(), 2);
/// assert!(found.runs[0].network.starts_with("custom, GradResNet"));
/// # Ok(())
/// # }
/// ```
pub struct Compare<'c> {
    config: &'c CompareConfig,
    device: &'c Device,
    choice: Choice,
    provenance: Option<Provenance>,
    networks: BTreeMap<String, Box<dyn Network>>,
}

impl<'c> Compare<'c> {
    /// All models of the configuration.
    pub fn new(config: &'c CompareConfig, device: &'c Device) -> Self {
        let networks = BTreeMap::new();
        Self { config, device, choice: Choice::All, provenance: None, networks }
    }

    /// Trains and measures some of the models.
    pub fn choice(self, choice: Choice) -> Self {
        Self { choice, ..self }
    }

    /// What the report says of where it comes from.
    pub fn provenance(self, provenance: Provenance) -> Self {
        Self { provenance: Some(provenance), ..self }
    }

    /// The model of this name is a joint model on a network of the caller's own, which `network`
    /// makes with random parameters by a seed. Its `[network]` in the configuration is not used.
    pub fn network<N, F>(mut self, name: &str, network: F) -> Self
    where
        N: EnergyNetwork + Sync + 'static,
        F: Fn(&Device, u64) -> N + Send + Sync + 'static,
    {
        let own = Own::new(Arc::new(network), self.device);
        self.networks.insert(name.to_owned(), Box::new(own));
        self
    }

    /// How the model of an entry is made.
    fn network_of(&self, entry: &ModelEntry) -> &dyn Network {
        self.networks.get(&entry.name).map_or(&Configured, |network| network.as_ref())
    }

    fn settings(
        &self,
        entry: &ModelEntry,
        seed: u64,
        steps: u64,
    ) -> Result<TrainConfig, ExperimentError> {
        let settings = self.config.train_config(entry, seed, steps)?;
        Ok(self.network_of(entry).settings(settings))
    }

    /// Trains and measures the chosen models, and writes the report if all are chosen. `observe`
    /// returns an observer for each training; the monitor is asked while models are measured.
    /// Returns `None` if an observer or the monitor stopped the work.
    ///
    /// Several ranks that call it [`together`](crate::ranks::together), with one folder, take a run
    /// each in turn; rank 0 then measures what the others left and writes the report, and all
    /// return the same.
    ///
    /// # Errors
    /// If the configuration is invalid, no model has the name of a [`network`](Self::network), or a
    /// file cannot be read or written. A training that diverges is not an error, but part of the
    /// result.
    pub fn run<O: Observer>(
        &self,
        out: &Path,
        observe: &mut dyn FnMut(Beginning<'_>) -> O,
        monitor: &mut dyn Monitor,
    ) -> Result<Option<Comparison>, ExperimentError> {
        let config = self.config;
        config.check()?;
        let models = self.choice.select(config)?;
        Choice::Only(self.networks.keys().cloned().collect()).select(config)?;
        self.check_levels(&models)?;
        create_folder(&out.join("runs"))?;
        let measures = Measures::new(config, self.device)?;
        share::agree(&[
            ("configuration", format!("{config:?} {:?}", self.choice)),
            ("data", measures.test.digest()?),
        ])?;
        let steps = share::of_first(|| self.plan(&models, &out.join("plan.json")))?;
        let mut jobs: Vec<(&ModelEntry, Option<u64>)> = Vec::new();
        for entry in models {
            match &entry.checkpoint {
                Some(_) => jobs.push((entry, None)),
                None => jobs.extend(config.seeds_of(entry).iter().map(|seed| (entry, Some(*seed)))),
            }
        }
        let mut work = |jobs: &[(&ModelEntry, Option<u64>)]| -> Result<_, ExperimentError> {
            let mut runs = Vec::new();
            for (entry, seed) in jobs {
                let found = self.do_run(entry, *seed, &steps, &measures, out, observe, monitor)?;
                let Some(result) = found else { return Ok(None) };
                runs.push(result);
            }
            Ok(Some(runs))
        };
        if !share::own_share(&jobs, |own| Ok(work(own)?.is_some()))? {
            return Ok(None);
        }
        share::of_first(|| match work(&jobs)? {
            Some(runs) => self.report(runs, &measures, out).map(Some),
            None => Ok(None),
        })
    }

    /// Trains and measures, or measures, one model.
    #[allow(clippy::too_many_arguments)]
    fn do_run<O: Observer>(
        &self,
        entry: &ModelEntry,
        seed: Option<u64>,
        steps: &BTreeMap<String, u64>,
        measures: &Measures<'_>,
        out: &Path,
        observe: &mut dyn FnMut(Beginning<'_>) -> O,
        monitor: &mut dyn Monitor,
    ) -> Result<Option<RunResult>, ExperimentError> {
        let (run_dir, network) = (run_dir(out, &entry.name, seed), self.network_of(entry));
        if let (None, Some(path)) = (seed, &entry.checkpoint) {
            create_folder(&run_dir)?;
            let subject = Subject { entry, network, path, run_dir: &run_dir };
            return measures.measure(&subject, None, None, monitor);
        }
        let settings = self.settings(entry, seed.unwrap_or_default(), steps[&entry.name])?;
        let path = run_dir.join("model.safetensors");
        let subject = Subject { entry, network, path: &path, run_dir: &run_dir };
        self.train(measures, &subject, settings, observe, monitor)
    }

    /// The comparison of all runs, and its report if all models are chosen.
    fn report(
        &self,
        runs: Vec<RunResult>,
        measures: &Measures<'_>,
        out: &Path,
    ) -> Result<Comparison, ExperimentError> {
        let config = self.config;
        let count = runs.iter().find_map(|run| run.count).unwrap_or_else(|| measures.count());
        let (config, data) = (config.clone(), measures.name());
        let comparison =
            Comparison { config, data, count, runs, provenance: self.provenance.clone() };
        if self.choice == Choice::All {
            report::write(&comparison, measures, out)?;
        }
        Ok(comparison)
    }

    /// Noise level 0 is for networks that are blind to it. A checkpoint is checked when it is read.
    fn check_levels(&self, models: &[&ModelEntry]) -> Result<(), ExperimentError> {
        let sigmas = &self.config.eval.sigmas;
        for entry in models.iter().filter(|entry| entry.checkpoint.is_none()) {
            let settings = self.settings(entry, self.config.seeds_of(entry)[0], 1)?;
            if sigmas.contains(&0.0) && !settings.network.is_blind() {
                let found = format!("{sigmas:?} for {}", entry.name);
                let expected = "0 only if all networks are blind to the noise level";
                let error = ConfigError::Value { key: "eval.sigmas", found, expected };
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// Trains a model, or goes on with it, and measures it; `None` if that was stopped.
    fn train<O: Observer>(
        &self,
        measures: &Measures<'_>,
        subject: &Subject<'_>,
        settings: TrainConfig,
        observe: &mut dyn FnMut(Beginning<'_>) -> O,
        monitor: &mut dyn Monitor,
    ) -> Result<Option<RunResult>, ExperimentError> {
        let Subject { entry, run_dir, .. } = *subject;
        let resume = resumes(&settings, run_dir)?;
        // Without a training checkpoint a run cannot resume; a finished run must not be trained
        // again.
        if resume && !has_checkpoint(run_dir)? {
            match measures.measure_finished(subject, &settings, monitor)? {
                Finished::Measured(result) => return Ok(Some(*result)),
                Finished::Stopped => return Ok(None),
                Finished::No => {}
            }
        }
        let trainer = subject.network.trainer(settings.clone(), self.device)?;
        let total = trainer.total_steps();
        let mut observer = observe(Beginning { name: &entry.name, config: &settings, total });
        let diverged = match trainer.run(run_dir, resume, &mut observer) {
            Ok(finish) if !finish.complete => return Ok(None),
            Ok(_) => None,
            Err(error @ TrainError::Diverged { .. }) => Some(error.to_string()),
            Err(error) => return Err(error.into()),
        };
        measures.measure(subject, Some(&settings), diverged, monitor)
    }

    /// Plans the number of steps of each model. The seconds per step are kept in the file `path`:
    /// an interrupted comparison must resume with the same steps.
    fn plan(
        &self,
        models: &[&ModelEntry],
        path: &Path,
    ) -> Result<BTreeMap<String, u64>, ExperimentError> {
        let stored = || -> BTreeMap<String, f64> {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            serde_json::from_str(&text).unwrap_or_default()
        };
        let Budget { images, minutes } = self.config.budget;
        let speeds = stored();
        let mut plan = BTreeMap::new();
        for entry in models.iter().filter(|entry| entry.checkpoint.is_none()) {
            let settings = self.settings(entry, self.config.seeds[0], 1)?;
            // Images of both batches are seen.
            let batch = (settings.schedule.batch + settings.classification.batch) as u64;
            let mut steps = images.map_or(u64::MAX, |images| images.div_ceil(batch));
            if let Some(minutes) = minutes {
                let seconds = match speeds.get(&entry.name) {
                    Some(&seconds) => seconds,
                    None => {
                        let trainer = self.network_of(entry).trainer(settings, self.device)?;
                        let seconds = trainer.seconds_per_step()?;
                        // Read again: another call may have measured other models meanwhile.
                        let mut speeds = stored();
                        speeds.insert(entry.name.clone(), seconds);
                        write_json(path, &speeds)?;
                        seconds
                    }
                };
                steps = steps.min((60.0 * minutes / seconds) as u64);
            }
            plan.insert(entry.name.clone(), steps.max(1));
        }
        Ok(plan)
    }
}

#[cfg(test)]
mod tests;
