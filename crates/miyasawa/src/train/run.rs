//! A run: data in, a model and its history out.

mod point;
mod resume;
mod steps;

pub use steps::Rollback;

use super::{
    config::{AssumedData, ConfigError, TrainConfig},
    cost,
    feed::Feed,
    step::{Batch, BatchStats, default_micro_batch},
};
use crate::atomic::AtomicError;
use crate::checkpoint::{CheckpointError, DataInfo, ModelInfo, TrainingInfo};
use crate::data::{DataError, DataSource, Part, Pictures};
use crate::eval::Row;
use crate::model::params::ParamError;
use crate::report;
use burn::tensor::Device;
use std::path::{Path, PathBuf};
use steps::Run;

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
    /// Parameters do not fit the network.
    #[error("the averaged parameters do not fit the network: {0}")]
    State(#[from] ParamError),
    /// The folder holds a run already.
    #[error("run folder {0}: holds a run already; go on with --resume or choose another folder")]
    Exists(PathBuf),
    /// There is nothing to resume.
    #[error("run folder {0}: holds no run to resume: neither config.toml nor a checkpoint")]
    NothingToResume(PathBuf),
    /// Every checkpoint is damaged.
    #[error("run folder {dir}: none of its {count} checkpoints can be used; the newest: {first}")]
    NoUsableState {
        /// The folder.
        dir: PathBuf,
        /// How many there are.
        count: usize,
        /// What is wrong with the newest.
        first: CheckpointError,
    },
    /// Another process works in the folder.
    #[error("run folder {dir}: a run is under way there, {}", holder(.pid))]
    Locked {
        /// The folder.
        dir: PathBuf,
        /// The process, where it is known.
        pid: Option<u32>,
    },
    /// The loss or gradient is not finite or beyond the bound, too often.
    #[error(
        "step {step}: the {what} is {value:.4}, expected {}; after {rollbacks} rollbacks the run is given up, its \
         last good state is {path}; a lower optimizer.lr may help",
        steps::expected(*.bound)
    )]
    Diverged {
        /// The step that could not be taken.
        step: u64,
        /// What is not finite or too large.
        what: &'static str,
        /// Its value.
        value: f64,
        /// The largest value that was allowed.
        bound: f64,
        /// Returns to earlier states before this.
        rollbacks: u32,
        /// The checkpoint of the last good state.
        path: PathBuf,
    },
    /// A picture of the run could not be drawn.
    #[error("report: {0}")]
    Report(#[from] report::ReportError),
}

fn holder(pid: &Option<u32>) -> String {
    pid.map_or("by another process".to_owned(), |pid| format!("by process {pid}"))
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
    /// Before a step: sees batch `number`, counted from 0, and may change it. Bit-exact resuming needs a change that
    /// is a function of the number and the batch alone.
    fn batch(&mut self, _number: u64, _batch: &mut Batch) {}
    /// After every step.
    fn step(&mut self, report: &StepReport, total: u64);
    /// After every evaluation.
    fn evaluation(&mut self, step: u64, rows: &[Row]);
    /// After the run returned to an earlier state.
    fn rollback(&mut self, _event: &Rollback) {}
    /// Asked after every step, where a checkpoint is written and the run ends if so, and during evaluations,
    /// which are made again when the run goes on.
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
        let network = cost::network(&config, channels, train.classes().len())?;
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

    /// Pictures that go through the network at once.
    fn micro_batch(&self) -> usize {
        let (batch, pixels) = (self.batch_size(), self.info.data.height * self.info.data.width);
        let chosen = self.config.schedule.micro_batch;
        chosen.unwrap_or_else(|| default_micro_batch(batch, self.config.network.width, pixels))
    }

    fn steps_per_epoch(&self) -> u64 {
        (self.train.len() / self.batch_size()) as u64
    }

    /// Optimiser steps of the whole run.
    pub fn total_steps(&self) -> u64 {
        cost::total_steps(&self.config, self.steps_per_epoch())
    }

    /// The training pictures in numbers.
    pub(super) fn data(&self) -> AssumedData {
        let (channels, height, width) = self.train.shape();
        AssumedData {
            pictures: self.train.len(),
            channels,
            height,
            width,
            classes: self.train.classes().len(),
        }
    }

    /// Where the batches come from. Batch number `step` is taken by the step of that number unless batches were skipped.
    fn feed(&self) -> Feed {
        Feed::new(&self.train, &self.config, self.batch_size())
    }

    /// Trains to the end or until the observer stops it; `out` receives the run's files.
    ///
    /// A run that `resume`s goes on from its newest whole checkpoint and becomes, byte for byte, what it would have
    /// become without the interruption, on the same kind of device.
    ///
    /// # Errors
    /// If a file cannot be written, or if the run diverges and returning to earlier states does not help.
    pub fn run(&self, out: &Path, resume: bool, observer: &mut dyn Observer) -> Result<Finish, TrainError> {
        let (run, point) = Run::start(self, out, resume)?;
        let (total, data) = (self.total_steps(), &self.info.data);
        let size = format!("{}x{}x{}", data.channels, data.height, data.width);
        tracing::debug!("{size}, {} training pictures, step {} of {total}", self.train.len(), point.step);
        run.to_end(point, observer)
    }
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
