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
mod measure;
mod report;
mod shown;

pub use config::{Budget, CompareAttack, CompareConfig, CompareEval, ModelEntry};
pub use measure::{Costs, RobustRow, RunResult};

use crate::atomic::write_atomic;
use crate::checkpoint::Checkpoint;
use crate::experiment::ExperimentError;
use crate::progress::Monitor;
use crate::report::Provenance;
use crate::train::{
    Observer, TrainConfig, TrainError, Trainer, config::AugmentConfig, has_checkpoint,
};
use burn::tensor::Device;
use measure::{Finished, Measures};
use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
};

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

/// Trains and measures the chosen models, and writes the report if all are chosen, with the
/// provenance `from`. `observe` returns an observer for each training; the monitor is asked
/// while models are measured. Returns `None` if an observer or the monitor stopped the work.
///
/// # Errors
/// If the configuration is invalid, or a file cannot be read or written. A training that diverges
/// is not an error, but part of the result.
pub fn run<O: Observer>(
    config: &CompareConfig,
    choice: &Choice,
    out: &Path,
    from: &Provenance,
    device: &Device,
    observe: &mut dyn FnMut(Beginning<'_>) -> O,
    monitor: &mut dyn Monitor,
) -> Result<Option<Comparison>, ExperimentError> {
    config.check()?;
    let models = choice.select(config)?;
    let folder = |path: &Path| {
        let error = |source| ExperimentError::Folder { path: path.to_owned(), source };
        std::fs::create_dir_all(path).map_err(error)
    };
    folder(&out.join("runs"))?;
    let steps = StepPlan { config, device, path: out.join("plan.json") }.steps(&models)?;
    let measures = Measures::new(config, device)?;
    let mut runs = Vec::new();
    for entry in models {
        if let Some(path) = &entry.checkpoint {
            let run_dir = run_dir(out, &entry.name, None);
            folder(&run_dir)?;
            let Some(result) = measures.measure(entry, None, [path, &run_dir], None, monitor)?
            else {
                return Ok(None);
            };
            runs.push(result);
            continue;
        }
        for &seed in config.seeds_of(entry) {
            let run_dir = run_dir(out, &entry.name, Some(seed));
            let settings = config.train_config(entry, seed, steps[&entry.name])?;
            let resume = resumes(&settings, &run_dir)?;
            let model = run_dir.join("model.safetensors");
            // Without a training checkpoint a run cannot resume; a finished run must not be trained
            // again.
            if resume && !has_checkpoint(&run_dir)? {
                match measures.measure_finished(entry, &settings, [&model, &run_dir], monitor)? {
                    Finished::Measured(result) => {
                        runs.push(*result);
                        continue;
                    }
                    Finished::Stopped => return Ok(None),
                    Finished::No => {}
                }
            }
            let trainer = Trainer::new(settings.clone(), device)?;
            let total = trainer.total_steps();
            let mut observer = observe(Beginning { name: &entry.name, config: &settings, total });
            let diverged = match trainer.run(&run_dir, resume, &mut observer) {
                Ok(finish) if !finish.complete => return Ok(None),
                Ok(_) => None,
                Err(error @ TrainError::Diverged { .. }) => Some(error.to_string()),
                Err(error) => return Err(error.into()),
            };
            let paths = [model.as_path(), &run_dir];
            let Some(result) =
                measures.measure(entry, Some(&settings), paths, diverged, monitor)?
            else {
                return Ok(None);
            };
            runs.push(result);
        }
    }
    let count = runs.iter().find_map(|run| run.count).unwrap_or_else(|| measures.count());
    let (config, data, provenance) = (config.clone(), measures.name(), Some(from.clone()));
    let comparison = Comparison { config, data, count, runs, provenance };
    if *choice == Choice::All {
        report::write(&comparison, &measures, out)?;
    }
    Ok(Some(comparison))
}

/// The folder of a run, or of a given checkpoint.
fn run_dir(out: &Path, name: &str, seed: Option<u64>) -> PathBuf {
    let folder = seed.map_or_else(|| name.to_owned(), |seed| format!("{name}-seed{seed}"));
    out.join("runs").join(folder)
}

/// Whether the folder already holds this run, unfinished or finished.
fn resumes(settings: &TrainConfig, run_dir: &Path) -> Result<bool, ExperimentError> {
    let text = match std::fs::read_to_string(run_dir.join("config.toml")) {
        Ok(text) => text,
        Err(_) => return Ok(false),
    };
    let same =
        text.parse::<toml::Table>().ok().and_then(|table| table.try_into::<TrainConfig>().ok());
    let mut settings = settings.clone();
    if let Some(same) = same.as_ref().filter(|_| settings.augment.is_auto()) {
        // The data decided when the run began.
        let (flip, crop, padding) = (same.augment.flip, same.augment.crop, same.augment.padding);
        settings.augment = AugmentConfig { flip, crop, padding, ..settings.augment };
    }
    if same.as_ref() != Some(&settings) {
        return Err(ExperimentError::OtherRun { path: run_dir.to_owned() });
    }
    Ok(true)
}

/// Plans the number of steps of each model.
struct StepPlan<'c> {
    config: &'c CompareConfig,
    device: &'c Device,
    path: PathBuf,
}

impl StepPlan<'_> {
    /// The stored seconds per step: an interrupted comparison must resume with the same steps.
    fn speeds(&self) -> BTreeMap<String, f64> {
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    fn steps(&self, models: &[&ModelEntry]) -> Result<BTreeMap<String, u64>, ExperimentError> {
        let trained = models.iter().filter(|entry| entry.checkpoint.is_none());
        let settings = |entry| self.config.train_config(entry, self.config.seeds[0], 1);
        let Budget { images, minutes } = self.config.budget;
        let speeds = self.speeds();
        let mut plan = BTreeMap::new();
        for entry in trained {
            let settings = settings(entry)?;
            let mut steps =
                images.map_or(u64::MAX, |images| images.div_ceil(settings.schedule.batch as u64));
            if let Some(minutes) = minutes {
                let seconds = match speeds.get(&entry.name) {
                    Some(&seconds) => seconds,
                    None => {
                        let seconds = Trainer::new(settings, self.device)?.seconds_per_step()?;
                        // Read again: another call may have measured other models meanwhile.
                        let mut speeds = self.speeds();
                        speeds.insert(entry.name.clone(), seconds);
                        write_json(&self.path, &speeds)?;
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

fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<(), ExperimentError> {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    Ok(write_atomic(path, |file| writeln!(file, "{text}"))?)
}

/// A checkpoint and its hash.
fn load(path: &Path) -> Result<(Checkpoint, String), ExperimentError> {
    Ok(Checkpoint::load_with_hash(path)?)
}
