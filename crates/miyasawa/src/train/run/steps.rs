//! The steps of a run: taken, guarded, measured and saved.

use super::{Finish, Observer, StepReport, TrainError, Trainer, point::RunState, resume};
use crate::checkpoint::{Checkpoint, ModelInfo};
use crate::eval::{self, EvalOptions, EvalRow};
use crate::model::{Model, params};
use crate::report;
use crate::train::{
    cost,
    feed::Feed,
    files::RunFiles,
    guard::Guard,
    init::start_from,
    log::{Log, best, best_evaluation, score, test_losses},
    objective::Objective,
    optimizer::{Optimizer, learning_rate},
    state::{Recovery, TrainState},
    step::BatchStats,
};
use burn::tensor::Device;
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// A return to an earlier state, as `metrics.jsonl` tells it too.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Rollback {
    /// The step that the run returned to: it has taken so many.
    pub step: u64,
    /// The step that could not be taken.
    pub from: u64,
    /// What was wrong: `loss` or `gradient norm`.
    pub what: &'static str,
    /// Its value, as text: JSON knows no NaN.
    pub value: String,
    /// What was allowed, as text.
    pub expected: String,
    /// Returns of this run so far, this one included.
    pub rollbacks: u32,
    /// What the learning rate is multiplied by from now on.
    pub lr_factor: f64,
    /// Batches that are passed over, all in all.
    pub skipped: u64,
}

/// What a bound allows.
pub(super) fn expected(bound: f64) -> String {
    if bound.is_finite() { format!("at most {bound:.4}") } else { "a finite number".to_owned() }
}

/// What was wrong with a step that was not taken.
#[derive(Clone, Copy)]
struct Divergence {
    what: &'static str,
    value: f64,
    bound: f64,
}

/// A run under way, but for the point where it is.
pub(super) struct Run<'t> {
    trainer: &'t Trainer,
    /// What the model is; its numbers of the images are those that the run began with.
    info: ModelInfo,
    files: RunFiles,
    log: Log,
    /// With autodiff.
    device: Device,
    /// The configuration as it is written.
    config: String,
    recovery: Recovery,
    /// The last good state.
    good: RunState,
    feed: Feed,
    /// The last evaluation.
    rows: Vec<EvalRow>,
    /// The step that needs no evaluation any more.
    evaluated: Option<u64>,
    /// The best evaluation's score.
    best: Option<f64>,
    saved_at: Instant,
}

impl<'t> Run<'t> {
    /// Opens the folder; the run and where it is.
    pub fn start(trainer: &'t Trainer, out: &Path, resume: bool) -> Result<(Self, RunState), TrainError> {
        let config = trainer.config.to_toml().map_err(|e| TrainError::Mismatch(e.to_string()))?;
        let files = RunFiles::open(out, resume)?;
        let device = trainer.device.clone().autodiff();
        let loaded = if resume { files.newest_state()? } else { None };
        let mut info = trainer.info.clone();
        if let Some((state, _)) = &loaded {
            resume::check_images(trainer, state)?;
            // What the network was trained with: another sample of the same images has another deviation.
            (info.data.mean, info.data.std) = (state.info.data.mean, state.info.data.std);
            info.data.held_out_of = resume::held_out_of(trainer, state);
        }
        let random = info.network.init(&device, trainer.config.seed, info.data.std);
        let model = match &trainer.config.init {
            Some(init) if loaded.is_none() => start_from(random, init)?,
            _ => random,
        };
        let fresh = RunState {
            step: 0,
            model,
            objective: Objective::new(&trainer.config, trainer.image()),
            optimizer: Optimizer::new(trainer.config.optimizer.clone()),
            guard: Guard::default(),
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
        files.write("config.toml", config.as_bytes())?;
        files.write_origin()?;
        let mut log = Log::open(&files.path("metrics.jsonl"), cut, now.step)?;
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
        let (feed, saved_at) = (trainer.feed(), Instant::now());
        let run = Self {
            trainer,
            info,
            files,
            log,
            device,
            config,
            recovery,
            good,
            feed,
            rows,
            evaluated,
            best,
            saved_at,
        };
        // What was killed between the checkpoint and the model has none, or the one before; that of an earlier version tells
        // less of its data.
        if resume && now.step > 0 && !run.files.has_model_of(now.step, &run.info.data) {
            run.save_model(&now)?;
        }
        Ok((run, now))
    }

    /// Takes all steps, or those until the observer stops the run.
    pub fn take_steps(
        mut self,
        mut now: RunState,
        observer: &mut dyn Observer,
    ) -> Result<Finish, TrainError> {
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
            let stop = observer.should_stop();
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

    fn finish(self, now: &RunState, complete: bool) -> Finish {
        let config = &self.trainer.config;
        let kept = self.log.evaluations().ok().filter(|_| config.checkpoint.keep_best);
        let best = kept.and_then(|evaluations| best_evaluation(&evaluations, config));
        Finish { complete, steps: now.step, rows: self.rows, best }
    }

    /// One step, or the return to the last good state where the step would leave what is finite and usual.
    fn step(
        &mut self,
        mut now: RunState,
        total: u64,
        observer: &mut dyn Observer,
    ) -> Result<RunState, TrainError> {
        let (trainer, start) = (self.trainer, Instant::now());
        let config = &trainer.config;
        let micro = trainer.micro_batch();
        let number = now.step + self.recovery.skipped;
        let mut batch = self.feed.batch(number)?;
        observer.batch(number, &mut batch);
        let RunState { objective, model, .. } = &mut now;
        let (mut grads, stats) = objective.gradients(model, &batch, number, micro, &self.device);
        let norm = Optimizer::norm(&grads);
        if let Some(found) = self.divergence(&now, &stats, norm) {
            return self.roll_back(now.step + 1, &found, observer);
        }
        // The loss of a step is that of the state before it: what it says is good is this state.
        let healthy = now.guard.is_healthy(&config.divergence, stats.guarded());
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
        observer.step(&report, total);
        now.guard.add(&config.divergence, stats.guarded());
        Ok(now)
    }

    /// What is wrong with a step that has not been taken, if anything is.
    fn divergence(&self, now: &RunState, stats: &BatchStats, norm: f64) -> Option<Divergence> {
        let bound = now.guard.bound(&self.trainer.config.divergence);
        let found = |what, value, bound| Some(Divergence { what, value, bound });
        let loss = stats.guarded();
        if !loss.is_finite() || loss > bound {
            return found("loss", loss, bound);
        }
        if norm.is_finite() { None } else { found("gradient norm", norm, f64::INFINITY) }
    }

    /// Returns to the last good state, with a lower learning rate and past the batches that were taken since; or
    /// gives up.
    fn roll_back(
        &mut self,
        from: u64,
        found: &Divergence,
        observer: &mut dyn Observer,
    ) -> Result<RunState, TrainError> {
        let config = &self.trainer.config.divergence;
        let good = self.good.clone();
        let (what, value, expected) = (found.what, format!("{:.4}", found.value), expected(found.bound));
        let event = Rollback {
            step: good.step,
            from,
            what,
            value,
            expected,
            rollbacks: self.recovery.rollbacks + 1,
            lr_factor: self.recovery.lr_factor * config.lr_factor,
            // The batch after the one that could not be learned from comes next.
            skipped: self.recovery.skipped + from - good.step,
        };
        // The log is cut after the checkpoint is there that says so: a kill in between must not leave a checkpoint
        // whose lines are gone.
        if event.rollbacks > config.max_rollbacks {
            // The counters stay: with more returns allowed, the run goes on as if they always had been.
            let path = self.save(&good, None)?;
            self.log.truncate(good.log)?;
            self.log.push(&Event { event: "diverged", content: &event })?;
            let (Divergence { what, value, bound }, rollbacks) = (*found, self.recovery.rollbacks);
            return Err(TrainError::Diverged { step: from, what, value, bound, rollbacks, path });
        }
        let Rollback { rollbacks, lr_factor, skipped, .. } = event;
        self.recovery = Recovery { rollbacks, lr_factor, skipped };
        let line = serde_json::to_value(Event { event: "rollback", content: &event }).unwrap_or_default();
        self.save(&good, Some(line.clone()))?;
        self.log.truncate(good.log)?;
        self.log.push(&line)?;
        self.good.log = self.log.len();
        self.evaluated = Some(good.step);
        self.best = best(&self.log.evaluations()?, &self.trainer.config);
        observer.rollback(&event);
        Ok(self.good.clone())
    }

    /// Writes the checkpoint, with the line that the log gets next if there is one, then the model.
    fn save(
        &mut self,
        now: &RunState,
        event: Option<serde_json::Value>,
    ) -> Result<std::path::PathBuf, TrainError> {
        self.log.sync()?;
        let info = ModelInfo { training: self.training(now), ..self.info.clone() };
        let good = (self.good.step != now.step).then(|| self.good.saved());
        let (config, recovery) = (self.config.clone(), self.recovery);
        let state = TrainState { info, config, recovery, now: now.saved(), good, event };
        let path = self.files.save_state(&state, self.trainer.config.checkpoint.keep_last)?;
        self.save_model(now)?;
        self.saved_at = Instant::now();
        tracing::debug!("{}: saved", path.display());
        Ok(path)
    }

    fn training(&self, now: &RunState) -> crate::checkpoint::TrainingInfo {
        let mut training = self.info.training.clone();
        training.steps = now.step;
        training.images = now.step * self.trainer.batch_size() as u64;
        training
    }

    fn model(&self, now: &RunState) -> Checkpoint {
        let info = ModelInfo { training: self.training(now), ..self.info.clone() };
        Checkpoint { info, params: params::collect(&now.optimizer.averaged(now.model.clone())) }
    }

    fn save_model(&self, now: &RunState) -> Result<(), TrainError> {
        Ok(self.model(now).save(&self.files.path("model.safetensors"))?)
    }

    /// Measures the averaged model, on all images at the end of the run; `false` if the observer did not wait
    /// for it.
    fn evaluate(
        &mut self,
        now: &RunState,
        all: bool,
        observer: &mut dyn Observer,
    ) -> Result<bool, TrainError> {
        let config = &self.trainer.config;
        let checkpoint = self.model(now);
        let info = &self.info;
        let params = checkpoint.params.clone();
        let model = info.network.with_params(params, &self.trainer.device, info.data.std)?;
        let options = EvalOptions {
            sigmas: config.eval.sigmas.clone(),
            limit: Some(if all && config.eval.all_at_end { usize::MAX } else { config.eval.limit }),
            seed: config.seed,
            classify: info.classifies(),
            denoise: info.denoises(),
            batch: cost::eval_batch(self.trainer.micro_batch()),
        };
        let mut wait = |_| !observer.should_stop();
        let test = &self.trainer.test;
        let device = &self.trainer.device;
        let rows = match &self.trainer.gallery {
            Some(images) => eval::evaluate_gallery(&model, images, &options, device, &mut wait),
            None => eval::evaluate_set(&model, test, &options, device, &mut wait)?.map(|found| found.rows),
        };
        let Some(rows) = rows else { return Ok(false) };
        let score = score(&rows, config);
        if config.checkpoint.keep_best && self.best.is_none_or(|best| score > best) {
            // Before the log tells of it: what is logged is kept.
            checkpoint.save(&self.files.path("best.safetensors"))?;
        }
        self.best = Some(self.best.map_or(score, |best| best.max(score)));
        let [ce, dsm] = test_losses(&rows, info);
        let line =
            serde_json::json!({ "event": "eval", "step": now.step, "rows": rows, "ce": ce, "dsm": dsm });
        self.log.push(&line)?;
        observer.evaluation(now.step, &rows);
        (self.rows, self.evaluated) = (rows, Some(now.step));
        report::curves(&self.log.lines()?, &self.files.path("curves.png"))?;
        self.samples(&model)?;
        Ok(true)
    }

    fn samples(&self, model: &Model) -> Result<(), TrainError> {
        let (trainer, path) = (self.trainer, self.files.path("samples.png"));
        if !trainer.info.denoises() {
            return Ok(());
        }
        let sigmas = &trainer.config.eval.sigmas;
        let few = trainer.test.sample(report::SHOWN)?;
        let grid = report::denoising_grid(model, &few, sigmas, &trainer.device)?;
        Ok(grid.save(&path).map_err(report::ReportError::from)?)
    }
}

/// A line of the log that tells of no step.
#[derive(serde::Serialize)]
struct Event<'a, T> {
    event: &'static str,
    #[serde(flatten)]
    content: &'a T,
}
