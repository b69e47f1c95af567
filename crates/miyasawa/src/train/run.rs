//! A run: data in, a model and its history out.

use super::{
    config::{ConfigError, TrainConfig},
    feed::Feed,
    files::{RunFiles, TrainState},
    optimizer::{Optimizer, learning_rate},
    step::{BatchStats, default_micro_batch, gradients},
};
use crate::atomic::AtomicError;
use crate::checkpoint::{Checkpoint, CheckpointError, DataInfo, ModelInfo, TrainingInfo};
use crate::data::{DataError, DataSource, Part, Pictures};
use crate::eval::{self, EvalOptions, Row};
use crate::model::{
    GradResNet, GradResNetConfig, JointModel,
    params::{self, ParamError, ParamMap},
};
use crate::report;
use burn::tensor::Device;
use std::{
    path::{Path, PathBuf},
    time::Instant,
};

/// Why a run could not go on.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The configuration makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The network's numbers make no sense.
    #[error("network: {0}")]
    Network(String),
    /// The data cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The data's training and test part do not go together, or there is too little of it.
    #[error("data: {0}")]
    Mismatch(String),
    /// The run's folder or a file in it cannot be written.
    #[error("run folder {path}: cannot be written: {source}")]
    Folder {
        /// The folder or file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error(transparent)]
    Write(#[from] AtomicError),
    /// A checkpoint cannot be read or written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A state does not fit the configuration.
    #[error("the saved state does not fit the configuration: {0}")]
    State(#[from] ParamError),
    /// The folder holds a run already.
    #[error("run folder {0}: holds a run already; go on with --resume or choose another folder")]
    Exists(PathBuf),
    /// There is nothing to resume.
    #[error("run folder {0}: has no state.safetensors to resume from")]
    NothingToResume(PathBuf),
    /// The loss or gradient is not a number.
    #[error("step {step}: the {what} is {value}, expected a finite number; a lower optimizer.lr may help")]
    Diverged {
        /// The step.
        step: u64,
        /// What is not finite.
        what: &'static str,
        /// Its value.
        value: f64,
    },
    /// A picture of the run could not be drawn.
    #[error("report: {0}")]
    Report(#[from] report::ReportError),
}

/// What a step tells.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct StepReport {
    /// Steps taken, this one included.
    pub step: u64,
    /// Passes over the training set so far.
    pub epoch: f64,
    /// The batch.
    #[serde(flatten)]
    pub stats: BatchStats,
    /// Learning rate.
    pub lr: f64,
    /// Norm of the gradient before clipping.
    pub grad_norm: f64,
    /// Speed of this step.
    pub images_per_second: f64,
}

/// Watches a run and may end it.
pub trait Observer {
    /// After every step.
    fn step(&mut self, report: &StepReport, total: u64);
    /// After every evaluation.
    fn evaluation(&mut self, step: u64, rows: &[Row]);
    /// Asked after every step: a checkpoint is written and the run ends if so.
    fn should_stop(&self) -> bool {
        false
    }
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Finish {
    /// Whether all steps were taken.
    pub complete: bool,
    /// Steps taken.
    pub steps: u64,
    /// The last evaluation.
    pub rows: Vec<Row>,
}

/// A run about to start.
pub struct Trainer {
    config: TrainConfig,
    train: Pictures,
    test: Pictures,
    info: ModelInfo,
    device: Device,
}

impl Trainer {
    /// Loads the data and measures `sigma_data` on the training set.
    ///
    /// # Errors
    /// If the configuration or the data make no sense.
    pub fn new(config: TrainConfig, device: &Device) -> Result<Self, TrainError> {
        config.check()?;
        config.dtype.check(device)?;
        let (train, test) = load_data(&config)?;
        let (mean, std) = train.mean_std();
        if !(std > 0.0 && std.is_finite()) {
            let message = format!("{}: the standard deviation is {std}, expected above 0", train.name());
            return Err(TrainError::Mismatch(message));
        }
        let (channels, height, width) = train.shape();
        let network = GradResNetConfig {
            channels,
            classes: train.classes().len(),
            width: config.network.width,
            blocks: config.network.blocks.clone(),
            blind: config.network.blind,
            zero_energy_head: config.network.zero_energy_head,
            operands: config.dtype.operands(),
        };
        if let Some(problem) = network.problem() {
            return Err(TrainError::Network(problem));
        }
        let data = DataInfo {
            name: config.data.train.clone(),
            channels,
            height,
            width,
            classes: train.classes().to_vec(),
            mean,
            std,
        };
        let training = TrainingInfo {
            seed: config.seed,
            loss_weights: [config.loss.ce_weight, config.loss.dsm_weight],
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..TrainingInfo::default()
        };
        let info = ModelInfo { network, data, sigma: [config.noise.min, config.noise.max], training };
        Ok(Self { config, train, test, info, device: device.clone() })
    }

    /// What the model will be.
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// The pictures that evaluation works on.
    pub fn test_set(&self) -> &Pictures {
        &self.test
    }

    fn batch_size(&self) -> usize {
        self.config.schedule.batch.min(self.train.len())
    }

    fn steps_per_epoch(&self) -> u64 {
        (self.train.len() / self.batch_size()) as u64
    }

    /// Optimiser steps of the whole run.
    pub fn total_steps(&self) -> u64 {
        let schedule = &self.config.schedule;
        let by_epochs = (schedule.epochs * self.steps_per_epoch() as f64).round() as u64;
        schedule.steps.unwrap_or(by_epochs.max(1))
    }

    /// Trains to the end or until the observer stops it; `out` receives the run's files.
    ///
    /// # Errors
    /// If a file cannot be written or the loss is no longer finite.
    pub fn run(&self, out: &Path, resume: bool, observer: &mut dyn Observer) -> Result<Finish, TrainError> {
        let files = RunFiles::new(out);
        let device = self.device.clone().autodiff();
        let mut net = self.info.network.init(&device, self.config.seed);
        let mut optimizer = Optimizer::new(self.config.optimizer.clone());
        let mut step = 0;
        match (resume, files.has_state()) {
            (false, true) => return Err(TrainError::Exists(out.to_owned())),
            (true, false) => return Err(TrainError::NothingToResume(out.to_owned())),
            (true, true) => {
                let state = files.load_state()?;
                step = state.step;
                optimizer.restore(step, &state.optimizer, &self.device);
                let path = files.path("state.safetensors");
                net = params::assign(net, state.params)
                    .map_err(|source| CheckpointError::Params { path, source })?;
            }
            (false, false) => files.create()?,
        }
        let text = self.config.to_toml().map_err(|e| TrainError::Mismatch(e.to_string()))?;
        files.write("config.toml", text.as_bytes())?;
        let mut log = files.log(step)?;
        let total = self.total_steps();
        let every = self.config.eval.every.unwrap_or(self.steps_per_epoch()).max(1);
        let (c, h, w) = self.train.shape();
        let batch_size = self.batch_size();
        let micro = self.config.schedule.micro_batch;
        let micro =
            micro.unwrap_or_else(|| default_micro_batch(batch_size, self.config.network.width, h * w));
        let mut feed = Feed::new(&self.train, &self.config, batch_size);
        let mut rows = Vec::new();
        let mut model = JointModel::new(net, self.info.data.std);
        tracing::debug!("{c}x{h}x{w}, {} training pictures, {total} steps", self.train.len());
        while step < total {
            let start = Instant::now();
            let batch = feed.batch(step)?;
            let (mut grads, stats) = gradients(&model, &batch, &self.config.loss, micro, &device);
            finite(step + 1, "loss", stats.loss)?;
            let norm = Optimizer::norm(&grads);
            finite(step + 1, "gradient", norm)?;
            let lr = learning_rate(self.config.optimizer.lr, &self.config.schedule, step, total);
            model.net = optimizer.step(model.net, &mut grads, norm, lr);
            step += 1;
            let report = StepReport {
                step,
                epoch: step as f64 / self.steps_per_epoch() as f64,
                stats,
                lr,
                grad_norm: norm,
                images_per_second: batch.len() as f64 / start.elapsed().as_secs_f64(),
            };
            log.push(serde_json::to_value(&report).unwrap_or_default())?;
            observer.step(&report, total);
            let stop = observer.should_stop();
            if stop || step == total || step.is_multiple_of(every) {
                // An interrupted run saves at once; evaluation is for the run's own milestones.
                let limit = if step == total { usize::MAX } else { self.config.eval.limit };
                let averaged = params::collect(&optimizer.averaged(model.net.clone()));
                let averaged = self.save(&files, step, &model, averaged, &optimizer)?;
                if !stop || step == total {
                    let averaged = self.plain(averaged)?;
                    rows = self.evaluate(&averaged, limit)?;
                    log.push(serde_json::json!({ "event": "eval", "step": step, "rows": rows }))?;
                    observer.evaluation(step, &rows);
                    report::curves(&log.lines, &files.path("curves.png"))?;
                    self.samples(&averaged, &files.path("samples.png"))?;
                }
                if stop {
                    break;
                }
            }
        }
        Ok(Finish { complete: step >= total, steps: step, rows })
    }

    /// Writes the model (the averaged parameters, which are given back) and the state.
    fn save(
        &self,
        files: &RunFiles,
        step: u64,
        model: &JointModel<GradResNet>,
        averaged: ParamMap,
        optimizer: &Optimizer,
    ) -> Result<ParamMap, TrainError> {
        let mut info = self.info.clone();
        info.training.steps = step;
        info.training.images = step * self.batch_size() as u64;
        let checkpoint = Checkpoint { info, params: averaged };
        checkpoint.save(&files.path("model.safetensors"))?;
        let state = TrainState { step, params: params::collect(&model.net), optimizer: optimizer.state() };
        files.save_state(&checkpoint.info, &state)?;
        Ok(checkpoint.params)
    }

    /// The model with these parameters, outside autodiff.
    fn plain(&self, values: ParamMap) -> Result<JointModel<GradResNet>, TrainError> {
        let plain = params::assign(self.info.network.init(&self.device, 0), values)?;
        Ok(JointModel::new(plain, self.info.data.std))
    }

    fn evaluate(&self, model: &JointModel<GradResNet>, limit: usize) -> Result<Vec<Row>, TrainError> {
        let options = EvalOptions {
            sigmas: self.config.eval.sigmas.clone(),
            limit: Some(limit),
            seed: self.config.seed,
            denoise: self.config.loss.dsm_weight > 0.0,
            ..EvalOptions::default()
        };
        Ok(eval::evaluate_pictures(model, &self.test, &options, &self.device, &mut |_| {})?)
    }

    fn samples(&self, model: &JointModel<GradResNet>, path: &Path) -> Result<(), TrainError> {
        if self.config.loss.dsm_weight == 0.0 {
            return Ok(());
        }
        let few = self.test.sample(report::SHOWN)?;
        let grid = report::denoising_grid(model, &few, &self.config.eval.sigmas, &self.device)?;
        Ok(grid.save(path).map_err(report::ReportError::from)?)
    }
}

fn finite(step: u64, what: &'static str, value: f64) -> Result<(), TrainError> {
    if value.is_finite() { Ok(()) } else { Err(TrainError::Diverged { step, what, value }) }
}

fn load_data(config: &TrainConfig) -> Result<(Pictures, Pictures), TrainError> {
    let options = config.open_options();
    let source: DataSource = config.data.train.parse()?;
    let (train, test) = match &config.data.test {
        None => source.open_both(&options)?,
        Some(test) => {
            let test: DataSource = test.parse()?;
            let train = source.open(Part::Train, &options)?;
            let test = test.open(Part::Test, &options.for_test(&train))?;
            (train, test)
        }
    };
    if train.classes() != test.classes() {
        let message = format!(
            "{} has the classes {:?}, {} has {:?}",
            train.name(),
            train.classes(),
            test.name(),
            test.classes()
        );
        return Err(TrainError::Mismatch(message));
    }
    Ok((train, test))
}
