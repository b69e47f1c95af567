//! The steps of a run: taken, checked for divergence, measured and saved.

mod rollback;

use super::{
    Learner, TrainError, Trained, Trainer, ahead::Batches, resume, run_state::RunState,
    together::Together,
};
use crate::checkpoint::{Checkpoint, ModelInfo};
use crate::device::is_cpu;
use crate::eval::{EvalOptions, EvalRow, Evaluation};
use crate::model::params;
use crate::progress::Progress;
#[cfg(feature = "report")]
use crate::report;
use crate::train::{
    Finish, Observer, Rollback, StepContext, StepReport, cost,
    divergence::LossBound,
    files::RunFiles,
    init::{check_names, start_from},
    log::{Log, best, best_evaluation, score, test_losses},
    objective::Objective,
    optimizer::{Optimizer, learning_rate},
    reduce::{BatchGradient, Reduce},
    state::{Recovery, TrainState},
};
use burn::tensor::Device;
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// A run under way, except for where it is.
pub(super) struct Run<'t, M: Learner> {
    trainer: &'t Trainer<M>,
    /// What the model is; its numbers of the images are those that the run began with.
    info: ModelInfo,
    /// None of a run without a folder.
    files: Option<RunFiles>,
    log: Log,
    /// With autodiff.
    device: Device,
    /// The configuration as it is written.
    config: String,
    recovery: Recovery,
    /// The last good state.
    good: RunState<M>,
    batches: Batches,
    /// The processes that train together.
    together: Together,
    /// Between objective and optimiser.
    reduce: Box<dyn Reduce>,
    /// The last evaluation.
    rows: Vec<EvalRow>,
    /// The step that needs no evaluation any more.
    evaluated: Option<u64>,
    /// The best evaluation's score.
    best: Option<f64>,
    saved_at: Instant,
}

impl<'t, M: Learner> Run<'t, M> {
    /// Opens the folder, if there is one; the run and where it is.
    pub fn start(
        trainer: &'t Trainer<M>,
        out: Option<&Path>,
        resume: bool,
    ) -> Result<(Self, RunState<M>), TrainError> {
        let config = trainer.config.to_toml().map_err(|e| TrainError::Mismatch(e.to_string()))?;
        let device = trainer.device.clone().autodiff();
        let together = Together::start(trainer, &config)?;
        let out = out.filter(|_| together.is_first());
        let files = out.map(|out| RunFiles::open(out, resume)).transpose()?;
        let loaded = match &files {
            Some(files) if resume => files.newest_state()?,
            _ => None,
        };
        let loaded = together.state(loaded)?;
        let mut info = trainer.info.clone();
        if let Some((state, _)) = &loaded {
            resume::check_images(trainer, state)?;
            // What the network was trained with: another sample of the same images has another
            // deviation.
            (info.data.mean, info.data.std) = (state.info.data.mean, state.info.data.std);
            info.data.held_out_of = resume::held_out_of(trainer, state);
        }
        let random = (trainer.init)(&device, trainer.config.seed, info.data.std);
        let model = match &trainer.config.init {
            Some(init) if loaded.is_none() => start_from(random, &info, init)?,
            _ => random,
        };
        check_names(&trainer.config.optimizer, &model)?;
        let fresh = RunState {
            step: 0,
            model,
            objective: Objective::new(&trainer.config, trainer.image()),
            optimizer: Optimizer::new(trainer.config.optimizer.clone()),
            loss_bound: LossBound::default(),
            log: 0,
        };
        let (mut recovery, mut cut, mut event) = (Recovery::default(), None, None);
        let (mut now, mut good) = (fresh.clone(), None);
        if let Some((state, path)) = loaded {
            (recovery, cut, event) = (state.recovery, state.now.log, state.event.clone());
            let restored = |saved| RunState::restored(&fresh, saved, &trainer.device, &path);
            now = restored(&state.now)?;
            good = state.good.as_ref().map(restored).transpose()?;
            resume::warn_of_changes(trainer, &state);
        }
        let mut log = match &files {
            Some(files) => {
                files.write("config.toml", config.as_bytes())?;
                files.write_origin()?;
                let log = Log::open(&files.path("metrics.jsonl"), cut, now.step)?;
                if trainer.config.log.tensorboard { log.with_events()? } else { log }
            }
            None => Log::in_memory(),
        };
        if let Some(event) = event {
            log.push(&event)?;
        }
        now.log = log.len();
        let evaluations = log.evaluations()?;
        let best = best(&evaluations, &trainer.config);
        let (evaluated, rows) = match evaluations.into_iter().last() {
            Some((step, rows)) => (Some(step), rows),
            None => (None, Vec::new()),
        };
        let good = good.unwrap_or_else(|| now.clone());
        let loader = trainer.loader(together.own_images(&trainer.parts()));
        let batches = Batches::new(loader, !is_cpu(&device));
        let (reduce, saved_at) = (together.reduce(), Instant::now());
        let run = Self {
            trainer,
            info,
            files,
            log,
            device,
            config,
            recovery,
            good,
            batches,
            together,
            reduce,
            rows,
            evaluated,
            best,
            saved_at,
        };
        // What was killed between the checkpoint and the model has none, or the one before; that of
        // an earlier version says less of its data.
        let has_model = |files: &RunFiles| files.has_model_of(now.step, &run.info.data);
        if resume && now.step > 0 && !run.files.as_ref().is_some_and(has_model) {
            run.save_model(&now)?;
        }
        Ok((run, now))
    }

    /// Takes all steps, or those until the observer stops the run.
    pub fn take_steps(
        mut self,
        mut now: RunState<M>,
        observer: &mut dyn Observer,
    ) -> Result<Trained<M>, TrainError> {
        let trainer = self.trainer;
        let (total, checkpoint) = (trainer.total_steps(), &trainer.config.checkpoint);
        let every = trainer.config.eval.every.unwrap_or(trainer.steps_per_epoch()).max(1);
        let is_milestone = |step: u64| step > 0 && (step == total || step.is_multiple_of(every));
        let limit = Duration::try_from_secs_f64(60.0 * checkpoint.minutes).unwrap_or(Duration::MAX);
        let is_late = |since: Instant| checkpoint.minutes > 0.0 && since.elapsed() >= limit;
        // A run that was stopped in an evaluation goes on with it.
        if is_milestone(now.step) && self.evaluated != Some(now.step) {
            let all = now.step == total;
            if !self.evaluate(&now, all, observer)? {
                return Ok(self.finish(&now, false));
            }
        }
        while now.step < total {
            now = self.step(now, total, observer)?;
            let stop = self.together.any(observer.stop())?;
            let milestone = is_milestone(now.step) && self.evaluated != Some(now.step);
            let due = checkpoint.every.is_some_and(|every| now.step.is_multiple_of(every));
            if stop || milestone || due || is_late(self.saved_at) {
                self.save(&now, None)?;
            }
            // An interrupted run measures when it goes on.
            let all = now.step == total;
            if stop || (milestone && !self.evaluate(&now, all, observer)?) {
                return Ok(self.finish(&now, all && !milestone));
            }
        }
        Ok(self.finish(&now, true))
    }

    fn finish(self, now: &RunState<M>, complete: bool) -> Trained<M> {
        let (model, checkpoint) = self.model(now);
        let config = &self.trainer.config;
        let kept = self.log.evaluations().ok().filter(|_| config.checkpoint.keep_best);
        let best = kept.and_then(|evaluations| best_evaluation(&evaluations, config));
        let finish = Finish { complete, steps: now.step, rows: self.rows, best };
        Trained { model, checkpoint, finish }
    }

    /// One step, or the return to the last good state where the step would leave what is finite and
    /// usual.
    fn step(
        &mut self,
        mut now: RunState<M>,
        total: u64,
        observer: &mut dyn Observer,
    ) -> Result<RunState<M>, TrainError> {
        let (trainer, start) = (self.trainer, Instant::now());
        let config = &trainer.config;
        let micro_batch = trainer.micro_batch();
        let number = now.step + self.recovery.skipped;
        let mut batch = self.batches.batch(number)?;
        observer.batch(number, &mut batch);
        let frozen_norms = now.step as f64 >= config.schedule.freeze_norms * total as f64;
        let RunState { objective, model, .. } = &mut now;
        let step = StepContext { number, micro_batch, device: &self.device, frozen_norms };
        let mut found = model.gradients(objective, &batch, step, self.reduce.as_mut())?;
        found.retain(|name| !config.optimizer.is_frozen(name));
        let norm = found.norm();
        let BatchGradient { mut grads, stats, .. } = found;
        if let Some(found) = self.divergence(&now, &stats, norm) {
            return self.roll_back(now.step + 1, &found, observer);
        }
        // The loss of a step is that of the state before it: what it says is good is this state.
        let healthy = now.loss_bound.is_healthy(&config.divergence, stats.divergence_loss());
        if healthy && now.step.is_multiple_of(config.divergence.snapshot_every) {
            self.good = RunState { log: self.log.len(), ..now.clone() };
        }
        let lr = learning_rate(config.optimizer.lr, &config.schedule, now.step, total);
        let lr = lr * self.recovery.lr_factor;
        let mut now = now.moved(&mut grads, norm, lr);
        let report = StepReport {
            step: now.step,
            epoch: (number + 1) as f64 / trainer.steps_per_epoch() as f64,
            stats,
            lr,
            grad_norm: norm,
            images_per_second: batch.len() as f64 / start.elapsed().as_secs_f64(),
        };
        self.log.push(&report)?;
        now.log = self.log.len();
        let values = [("step", now.step as f64), ("loss", stats.loss), ("lr", lr)];
        let share = now.step as f64 / total as f64;
        observer.progress(&Progress { task: "training", share, values: &values });
        observer.step(&report, total);
        now.loss_bound.add(&config.divergence, stats.divergence_loss());
        Ok(now)
    }

    /// Writes the checkpoint, with the line that the log gets next if there is one, then the model;
    /// the checkpoint's path. Nothing is written, and the path is empty, without a folder.
    fn save(
        &mut self,
        now: &RunState<M>,
        event: Option<serde_json::Value>,
    ) -> Result<PathBuf, TrainError> {
        let Some(files) = &self.files else { return Ok(PathBuf::new()) };
        self.log.sync()?;
        let info = ModelInfo { training: self.training(now), ..self.info.clone() };
        let good = (self.good.step != now.step).then(|| self.good.saved());
        let (config, recovery) = (self.config.clone(), self.recovery);
        let state = TrainState { info, config, recovery, now: now.saved(), good, event };
        let path = files.save_state(&state, self.trainer.config.checkpoint.keep_last)?;
        self.save_model(now)?;
        self.saved_at = Instant::now();
        tracing::debug!("{}: saved", path.display());
        Ok(path)
    }

    fn training(&self, now: &RunState<M>) -> crate::checkpoint::TrainingInfo {
        let mut training = self.info.training.clone();
        training.steps = now.step;
        training.images = now.step * self.trainer.images_of_step() as u64;
        training
    }

    /// The averaged model without autodiff, and its checkpoint.
    fn model(&self, now: &RunState<M>) -> (M, Checkpoint) {
        let info = ModelInfo { training: self.training(now), ..self.info.clone() };
        let averaged = now.optimizer.averaged(now.model.clone()).valid();
        let params = params::collect(&averaged);
        (averaged, Checkpoint { info, params })
    }

    fn save_model(&self, now: &RunState<M>) -> Result<(), TrainError> {
        match &self.files {
            Some(files) => Ok(self.model(now).1.save(&files.path("model.safetensors"))?),
            None => Ok(()),
        }
    }

    /// Measures the averaged model, on all images at the end of the run; `false` if the observer
    /// did not wait for it.
    fn evaluate(
        &mut self,
        now: &RunState<M>,
        all: bool,
        observer: &mut dyn Observer,
    ) -> Result<bool, TrainError> {
        let config = &self.trainer.config;
        let (model, checkpoint) = self.model(now);
        let info = &self.info;
        let options = EvalOptions {
            sigmas: config.eval.sigmas.clone(),
            limit: Some(if all && config.eval.all_at_end { usize::MAX } else { config.eval.limit }),
            seed: config.seed,
            classify: info.classifies(),
            denoise: info.denoises(),
            batch: cost::eval_batch(self.trainer.micro_batch()),
        };
        let device = &self.trainer.device;
        let found = self.together.rows(|| {
            let found = self.trainer.measured.evaluate(&model, &options, device, observer)?;
            Ok(found.map(|Evaluation { rows, .. }| rows))
        })?;
        let Some(rows) = found else { return Ok(false) };
        let score = score(&rows, config);
        if config.checkpoint.keep_best && self.best.is_none_or(|best| score > best) {
            // Before the log says so: what is logged is kept.
            if let Some(files) = &self.files {
                checkpoint.save(&files.path("best.safetensors"))?;
            }
        }
        self.best = Some(self.best.map_or(score, |best| best.max(score)));
        let [ce, dsm] = test_losses(&rows, info);
        let line = serde_json::json!({
            "event": "eval", "step": now.step, "rows": rows, "ce": ce, "dsm": dsm,
        });
        self.log.push(&line)?;
        observer.evaluation(now.step, &rows);
        (self.rows, self.evaluated) = (rows, Some(now.step));
        #[cfg(feature = "report")]
        if let Some(files) = &self.files {
            report::curves(&self.log.lines()?, &files.path("curves.png"))?;
            self.samples(&model, &files.path("samples.png"))?;
        }
        Ok(true)
    }

    #[cfg(feature = "report")]
    fn samples(&self, model: &M, path: &Path) -> Result<(), TrainError> {
        let trainer = self.trainer;
        if !trainer.info.denoises() {
            return Ok(());
        }
        let sigmas = &trainer.config.eval.sigmas;
        let few = trainer.test.sample(report::SHOWN)?;
        let grid = report::denoising_grid(model, &few, sigmas, &trainer.device)?;
        Ok(grid.save(path).map_err(report::ReportError::from)?)
    }
}

/// A line of the log that is no step's.
#[derive(serde::Serialize)]
struct Event<'a, T> {
    event: &'static str,
    #[serde(flatten)]
    content: &'a T,
}
