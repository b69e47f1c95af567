//! The measurements of a model.

mod result;

use super::files::{load, write_json};
use super::network::{Measured, Network};
use super::{CompareConfig, ModelEntry};
use crate::attack::{Pgd, robust_accuracy_while};
use crate::checkpoint::ModelInfo;
use crate::data::{Geometry, Images, TestSet};
use crate::eval::{EvalOptions, Evaluation, NoisyBatch, noisy_batch};
use crate::experiment::ExperimentError;
use crate::image::{Image, ImageError, grid};
use crate::infer::to_images;
use crate::metrics::wilson;
use crate::model::{Query, host};
use crate::progress::Monitor;
use crate::train::{
    TrainConfig, Trainer,
    config::{DataConfig, ObjectiveName},
};
use burn::tensor::{Device, Tensor};
pub use result::{Costs, RobustRow, RunResult};
use serde::{Deserialize, Serialize};
use std::{path::Path, time::Instant};

/// File name of a run's measurements, in its folder.
const RESULT: &str = "result.json";
/// Images that a run's strip shows.
const SHOWN: usize = 6;
/// The strip of a run that denoises, in its folder.
const STRIP: &str = "denoised.png";
/// Noise level at which inference is timed.
const TIMED_SIGMA: f64 = 0.2;
/// Images of a timed batch, and how often it is timed.
const TIMED: [usize; 2] = [16, 5];

/// A stored result, with the settings under which it can be reused.
#[derive(PartialEq, Serialize, Deserialize)]
struct Stored {
    settings: String,
    result: RunResult,
}

/// The state of a run without a training checkpoint.
pub(super) enum Finished {
    /// It is not finished, or its files are gone.
    No,
    /// The measurement was stopped.
    Stopped,
    /// Its result.
    Measured(Box<RunResult>),
}

/// A model to measure.
pub(super) struct Subject<'s> {
    pub entry: &'s ModelEntry,
    pub network: &'s dyn Network,
    /// Its checkpoint.
    pub path: &'s Path,
    /// The folder of its measurements.
    pub run_dir: &'s Path,
}

/// The images that all models are measured on, and how.
pub(super) struct Measures<'c> {
    config: &'c CompareConfig,
    device: &'c Device,
    /// The settings by which images are resized.
    data: DataConfig,
    pub test: Images,
    /// What a denoiser is measured on.
    own_sizes: TestSet,
    training_images: usize,
}

impl<'c> Measures<'c> {
    /// Loads the data of the comparison's base.
    pub fn new(config: &'c CompareConfig, device: &'c Device) -> Result<Self, ExperimentError> {
        let base = ModelEntry { name: "base".to_owned(), ..ModelEntry::default() };
        // The base need not be a valid model by itself, but its data settings apply to all models.
        let base = config.train_config(&base, config.seeds[0], 1)?;
        let data = base.data.clone();
        let trainer = Trainer::new(base, device)?;
        let attack = &config.attack;
        let too_large = attack.norm.too_large(&attack.eps, trainer.test_set().image_len());
        if let Some(warning) = too_large.filter(|_| attack.count > 0) {
            tracing::warn!("attack: {warning}");
        }
        let (test, own_sizes) = (trainer.test_set().clone(), trainer.measured().clone());
        Ok(Self {
            config,
            device,
            data,
            test,
            own_sizes,
            training_images: trainer.training_images(),
        })
    }

    pub fn name(&self) -> String {
        self.test.name().to_owned()
    }

    /// Number of images to measure, including corrupt ones.
    pub fn count(&self) -> usize {
        let all = self.own_sizes.len();
        self.config.eval.limit.unwrap_or(all).min(all)
    }

    /// Measures a model, or returns the stored result of the same measurement; `None` as soon as
    /// the monitor stops it.
    pub fn measure(
        &self,
        subject: &Subject<'_>,
        settings: Option<&TrainConfig>,
        diverged: Option<String>,
        monitor: &mut dyn Monitor,
    ) -> Result<Option<RunResult>, ExperimentError> {
        let Subject { entry, network, path, run_dir } = *subject;
        let (checkpoint, sha256) = load(path)?;
        if let Some(stored) =
            self.stored(run_dir).filter(|s| s.sha256 == sha256 && s.diverged == diverged)
        {
            // The folder may have moved.
            return Ok(Some(RunResult { model: path.display().to_string(), ..stored }));
        }
        let key = self.key(&sha256, settings.is_some());
        let info = &checkpoint.info;
        self.check(info, path)?;
        let model = network.model(&checkpoint, self.device, path)?;
        let model: &dyn Measured = model.as_ref();
        let options = EvalOptions {
            sigmas: self.config.eval.sigmas.clone(),
            limit: self.config.eval.limit,
            classify: info.classifies(),
            denoise: info.denoises(),
            ..EvalOptions::default()
        };
        let of_one_size = TestSet::Set(self.test.clone());
        let measured = if info.classifies() { &of_one_size } else { &self.own_sizes };
        let found = measured.evaluate(&model, &options, self.device, monitor)?;
        let Some(Evaluation { count, rows }) = found else { return Ok(None) };
        let Some((attacked, robust)) = self.robust(model, info, monitor)? else { return Ok(None) };
        let result = RunResult {
            name: entry.name.clone(),
            seed: settings.map(|settings| settings.seed),
            model: path.display().to_string(),
            sha256,
            network: info.network.to_string(),
            learned: learned(info),
            parameters: checkpoint
                .params
                .values()
                .map(|data| data.shape().iter().product::<usize>())
                .sum(),
            images: info.training.images,
            rollbacks: events(run_dir, "rollback"),
            diverged,
            count: Some(count),
            rows,
            attacked: (attacked > 0).then_some(attacked),
            robust,
            costs: self.costs(model, info, settings, run_dir)?,
            machine: format!("{}, {} threads", crate::isa_name(), rayon::current_num_threads()),
        };
        if info.denoises() {
            let shown = self.shown()?;
            let query = Query { denoise: true, ..Query::default() };
            let denoised = model.predict(&shown.y, &shown.sigma, &query).denoised;
            denoised.map(|d| strip(d)?.save_png(run_dir.join(STRIP))).transpose()?;
        }
        write_json(&run_dir.join(RESULT), &Stored { settings: key, result: result.clone() })?;
        Ok(Some(result))
    }

    /// The result of a run that has no training checkpoint to resume from: the stored result if it
    /// is still valid, otherwise a new measurement of its finished model.
    pub fn measure_finished(
        &self,
        subject: &Subject<'_>,
        settings: &TrainConfig,
        monitor: &mut dyn Monitor,
    ) -> Result<Finished, ExperimentError> {
        let stored = self.stored(subject.run_dir);
        if !subject.path.exists() {
            return Ok(stored.map_or(Finished::No, |result| Finished::Measured(Box::new(result))));
        }
        let (checkpoint, sha256) = load(subject.path)?;
        let diverged =
            stored.filter(|stored| stored.sha256 == sha256).and_then(|stored| stored.diverged);
        let complete =
            settings.schedule.steps.is_some_and(|steps| checkpoint.info.training.steps >= steps);
        if !complete && diverged.is_none() {
            return Ok(Finished::No);
        }
        let result = self.measure(subject, Some(settings), diverged, monitor)?;
        Ok(result.map_or(Finished::Stopped, |result| Finished::Measured(Box::new(result))))
    }

    /// The stored result in a run's folder, if it was measured with the same settings.
    fn stored(&self, run_dir: &Path) -> Option<RunResult> {
        let text = std::fs::read_to_string(run_dir.join(RESULT)).ok()?;
        let Stored { settings, result } = serde_json::from_str(&text).ok()?;
        let complete = result.costs.denoise_seconds.is_none() || run_dir.join(STRIP).exists();
        (complete && settings == self.key(&result.sha256, result.seed.is_some())).then_some(result)
    }

    /// The images of every model's strip, at the middle noise level.
    pub fn shown(&self) -> Result<NoisyBatch, ExperimentError> {
        let few = self.test.sample(SHOWN)?;
        Ok(noisy_batch(&few, [0, few.len()], self.shown_sigma(), [0, 0], self.device))
    }

    pub fn shown_sigma(&self) -> f64 {
        let sigmas = &self.config.eval.sigmas;
        sigmas[sigmas.len() / 2]
    }

    /// The settings under which a stored result can be reused. The resizing of a run's images is
    /// part of its own configuration.
    fn key(&self, sha256: &str, is_run: bool) -> String {
        let (eval, attack, data) = (&self.config.eval, &self.config.attack, &self.data);
        let resizing = match is_run {
            true => String::new(),
            false => {
                let shape = <(usize, usize, usize)>::from(self.test.geometry());
                format!(" {shape:?} by {:?}, {}", data.fit, data.crop_share)
            }
        };
        format!("{sha256} on {} {}{resizing}: {eval:?} {attack:?}", self.name(), self.test.len())
    }

    /// Checks that the model can be measured on these images.
    fn check(&self, info: &ModelInfo, path: &Path) -> Result<(), ExperimentError> {
        let other = |found: String, expected: String| {
            Err(ExperimentError::OtherData { path: path.to_owned(), found, expected })
        };
        let (data, test) = (&info.data, &self.test);
        let Geometry { channels, .. } = test.geometry();
        if data.channels != channels {
            return other(format!("{} channels", data.channels), format!("{channels} channels"));
        }
        if info.classifies() && data.classes != test.classes() {
            let classes =
                |classes: &[String]| format!("{} classes, {}, ...", classes.len(), classes[0]);
            return other(classes(&data.classes), classes(test.classes()));
        }
        if self.config.eval.sigmas.contains(&0.0) && !info.network.is_blind() {
            return other(
                "a network conditioned on the noise level".to_owned(),
                "a blind network (because of noise level 0)".to_owned(),
            );
        }
        Ok(())
    }

    /// The number of attacked images and the results; `None` as soon as the monitor stops it.
    fn robust(
        &self,
        model: &dyn Measured,
        info: &ModelInfo,
        monitor: &mut dyn Monitor,
    ) -> Result<Option<(usize, Vec<RobustRow>)>, ExperimentError> {
        let attack = &self.config.attack;
        if !info.classifies() || attack.count == 0 {
            return Ok(Some((0, Vec::new())));
        }
        let attacked = self.test.sample(attack.count)?;
        let (shape, classes) = (self.test.geometry().into(), info.data.classes.len());
        let Some(classifier) = model.classifier(info.sigma[0], shape, classes, self.device) else {
            return Ok(Some((0, Vec::new())));
        };
        let mut row = |&eps: &f64| {
            let pgd = Pgd::new(attack.norm, eps, attack.steps, 0);
            let share = robust_accuracy_while(classifier.as_ref(), &attacked, &pgd, 64, monitor)?;
            let robust_interval = Some(wilson(share, attacked.len()));
            Some(RobustRow { eps, robust_accuracy: share, robust_interval })
        };
        let rows: Option<Vec<RobustRow>> = attack.eps.iter().map(&mut row).collect();
        Ok(rows.map(|rows| (attacked.len(), rows)))
    }

    fn costs(
        &self,
        model: &dyn Measured,
        info: &ModelInfo,
        settings: Option<&TrainConfig>,
        run_dir: &Path,
    ) -> Result<Costs, ExperimentError> {
        let pass = info.network.macs([info.data.height, info.data.width]) as u64;
        let passes = settings.map_or(0, TrainConfig::passes);
        let (classify, denoise) = (info.classifies(), info.denoises());
        let seconds = |query: Query<'_>| self.seconds(model, &query);
        Ok(Costs {
            train_macs: passes * pass,
            epoch_macs: passes * pass * self.training_images as u64,
            classify_macs: (classify && pass > 0).then_some(pass),
            denoise_macs: (denoise && pass > 0)
                .then_some(pass * info.network.denoise_passes() as u64),
            train_images_per_second: settings.and_then(|_| logged_speed(run_dir)),
            classify_seconds: classify
                .then(|| seconds(Query { classify: true, ..Query::default() }))
                .transpose()?,
            denoise_seconds: denoise
                .then(|| seconds(Query { denoise: true, ..Query::default() }))
                .transpose()?,
        })
    }

    /// Median time for an image in seconds.
    fn seconds(&self, model: &dyn Measured, query: &Query<'_>) -> Result<f64, ExperimentError> {
        let [count, times] = TIMED;
        let few = self.test.sample(count)?;
        let count = few.len();
        let batch = noisy_batch(&few, [0, count], TIMED_SIGMA, [0, 0], self.device);
        let once = || {
            let start = Instant::now();
            let found = model.predict(&batch.y, &batch.sigma, query);
            drop((found.logits.map(host), found.denoised.map(host)));
            start.elapsed().as_secs_f64() / count as f64
        };
        once();
        let mut seconds: Vec<f64> = (0..times).map(|_| once()).collect();
        seconds.sort_by(f64::total_cmp);
        Ok(seconds[times / 2])
    }
}

/// Images side by side.
pub(super) fn strip(batch: Tensor<4>) -> Result<Image, ImageError> {
    grid(&[to_images(batch)], 1, 1)
}

/// The strip of a run that denoises.
pub(super) fn strip_of(run_dir: &Path) -> Result<Image, ImageError> {
    Image::open(run_dir.join(STRIP))
}

fn learned(info: &ModelInfo) -> String {
    if info.training.objective == ObjectiveName::Jem {
        return "JEM".to_owned();
    }
    let losses = [(info.classifies(), "cross-entropy"), (info.denoises(), "score matching")];
    let names: Vec<&str> = losses.iter().filter(|(used, _)| *used).map(|(_, name)| *name).collect();
    names.join(" + ")
}

/// The lines of a run's log.
fn log(run_dir: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(run_dir.join("metrics.jsonl")).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn logged_speed(run_dir: &Path) -> Option<f64> {
    let mut speeds: Vec<f64> =
        log(run_dir).iter().filter_map(|line| line["images_per_second"].as_f64()).collect();
    speeds.sort_by(f64::total_cmp);
    speeds.get(speeds.len() / 2).copied()
}

fn events(run_dir: &Path, name: &str) -> u64 {
    log(run_dir).iter().filter(|line| line["event"] == name).count() as u64
}
