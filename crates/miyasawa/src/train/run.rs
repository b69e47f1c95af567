//! A run: data in, a model and its history out.

mod point;
mod resume;
mod sets;
mod steps;

pub use steps::Rollback;

use super::{
    config::{AssumedData, ConfigError, TrainConfig},
    cost,
    feed::Feed,
    objective::Objective,
    optimizer::Optimizer,
    step::{Batch, BatchStats, default_micro_batch},
};
use crate::atomic::AtomicError;
use crate::checkpoint::{CheckpointError, DataInfo, ModelInfo, TrainingInfo};
use crate::data::{DataError, Images};
use crate::eval::EvalRow;
use crate::image::Image;
use crate::model::params::ParamError;
use crate::report;
use burn::tensor::Device;
use sets::Sets;
use std::{
    path::{Path, PathBuf},
    time::Instant,
};
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
    /// The checkpoint to start from has no parameter of this network.
    #[error(
        "init {0}: no parameter has a name and a shape of this network; expected one trained with the same \
             network.kind and width"
    )]
    NothingToStartFrom(String),
    /// The folder holds a run already.
    #[error("run folder {0}: holds a run already; go on with --resume or choose another folder")]
    Exists(PathBuf),
    /// The folder holds a trained model without the checkpoint that training would go on from.
    #[error(
        "run folder {0}: holds model.safetensors and no checkpoint to go on from; choose another folder or move the \
         model away"
    )]
    NoCheckpoint(PathBuf),
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
        first: Box<CheckpointError>,
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
    /// An image of the run could not be drawn.
    #[error("report: {0}")]
    Report(#[from] report::ReportError),
}

impl TrainError {
    /// Whether the call asked for what cannot be, as opposed to work that failed.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Config(error) => error.is_usage(),
            Self::Data(error) => error.is_usage(),
            Self::Network(_) | Self::Exists(_) | Self::NoCheckpoint(_) => true,
            _ => false,
        }
    }
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
    fn evaluation(&mut self, step: u64, rows: &[EvalRow]);
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
    pub rows: Vec<EvalRow>,
    /// The best one, whose model is `best.safetensors`, if that is kept.
    pub best: Option<BestEvaluation>,
}

/// The best evaluation of a run and the last one, in the mean over the noise levels.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct BestEvaluation {
    /// Its step.
    pub step: u64,
    /// Whether accuracies are compared; else PSNR.
    pub by_accuracy: bool,
    /// Its share of right answers, or its decibels.
    pub score: f64,
    /// Those of the last evaluation.
    pub last: f64,
}

/// A run about to start.
pub struct Trainer {
    config: TrainConfig,
    train: Images,
    test: Images,
    /// What a denoiser is tested on where images have their own sizes; `test` holds their middles.
    gallery: Option<Vec<Image>>,
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
        let sets = Sets::load(&config)?;
        Self::of(config, sets, device)
    }

    /// As [`new`](Self::new), on images that the caller has opened or made. What the configuration says of where data lies and how
    /// it is opened is not looked at; a run is resumed with the same images.
    ///
    /// # Errors
    /// If the configuration makes no sense, or the two sets differ in shape or classes.
    pub fn with_data(
        config: TrainConfig,
        train: Images,
        test: Images,
        device: &Device,
    ) -> Result<Self, TrainError> {
        config.check()?;
        config.dtype.check(device)?;
        if train.shape() != test.shape() {
            let (of_train, of_test) = (train.shape(), test.shape());
            let message =
                format!("{} has images {of_train:?}, {} has {of_test:?}", train.name(), test.name());
            return Err(TrainError::Mismatch(message));
        }
        let sets = Sets { train, test, gallery: None, held_out_of: None };
        Self::of(config, sets, device)
    }

    fn of(config: TrainConfig, sets: Sets, device: &Device) -> Result<Self, TrainError> {
        sets.check(&config)?;
        let Sets { train, test, gallery, held_out_of } = sets;
        let (mean, std) = train.mean_std();
        if !(std > 0.0 && std.is_finite()) {
            let message = format!("{}: the standard deviation is {std}, expected above 0", train.name());
            return Err(TrainError::Mismatch(message));
        }
        let (channels, height, width) = train.shape();
        let classes =
            if config.data.unlabelled { vec!["image".to_owned()] } else { train.classes().to_vec() };
        let [height, width] = config.augment.patch.map_or([height, width], |side| [side, side]);
        let network = cost::network(&config, channels, classes.len())?;
        let data = DataInfo {
            name: train.name().to_owned(),
            channels,
            height,
            width,
            classes,
            mean,
            std,
            fit: config.data.fit,
            crop_share: config.data.crop_share,
            held_out_of,
        };
        let training = TrainingInfo {
            seed: config.seed,
            loss_weights: config.loss_weights(),
            objective: config.loss.objective,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..TrainingInfo::default()
        };
        let info = ModelInfo { network, data, sigma: [config.noise.min, config.noise.max], training };
        Ok(Self { config, train, test, gallery, info, device: device.clone() })
    }

    /// What the model will be.
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// The images that evaluation works on.
    pub fn test_set(&self) -> &Images {
        &self.test
    }

    /// The images of different sizes that evaluation works on instead, if it does.
    pub fn gallery(&self) -> Option<&[Image]> {
        self.gallery.as_deref()
    }

    /// Images of the training set.
    pub fn training_images(&self) -> usize {
        self.train.len()
    }

    /// The median time of a few steps of this run, which are thrown away.
    ///
    /// # Errors
    /// If images cannot be read.
    pub fn seconds_per_step(&self) -> Result<f64, TrainError> {
        // The first ones fill caches.
        let times = self.timed_steps(7)?.split_off(2);
        let mut times: Vec<f64> = times.into_iter().map(|[batch, optimizer]| batch + optimizer).collect();
        times.sort_by(f64::total_cmp);
        Ok(times[times.len() / 2])
    }

    /// Seconds of so many steps, which are thrown away: what a batch takes, and what the optimiser takes whatever the batch.
    pub(super) fn timed_steps(&self, count: u64) -> Result<Vec<[f64; 2]>, TrainError> {
        let device = self.device.clone().autodiff();
        let mut model = self.info.network.init(&device, self.config.seed, self.info.data.std);
        let mut objective = Objective::new(&self.config, self.image());
        let mut optimizer = Optimizer::new(self.config.optimizer.clone());
        let (micro, mut feed, mut times) = (self.micro_batch(), self.feed(), Vec::new());
        for step in 0..count {
            let start = Instant::now();
            let batch = feed.batch(step)?;
            let (mut grads, _) = objective.gradients(&mut model, &batch, step, micro, &device);
            let batch = start.elapsed();
            let norm = Optimizer::norm(&grads);
            model = optimizer.step(model, &mut grads, norm, self.config.optimizer.lr);
            times.push([batch, start.elapsed() - batch].map(|time| time.as_secs_f64()));
        }
        Ok(times)
    }

    /// Channels, height and width of what the network learns from.
    fn image(&self) -> [usize; 3] {
        let data = &self.info.data;
        [data.channels, data.height, data.width]
    }

    fn batch_size(&self) -> usize {
        self.config.schedule.batch.min(self.train.len())
    }

    /// Images that go through the network at once.
    fn micro_batch(&self) -> usize {
        let (batch, pixels) = (self.batch_size(), self.info.data.height * self.info.data.width);
        let chosen = self.config.schedule.micro_batch;
        let (width, norm) = (self.info.network.width(), self.info.network.has_batch_norm());
        chosen.unwrap_or_else(|| default_micro_batch(batch, width, pixels, norm))
    }

    fn steps_per_epoch(&self) -> u64 {
        (self.train.len() / self.batch_size()) as u64
    }

    /// Optimiser steps of the whole run.
    pub fn total_steps(&self) -> u64 {
        cost::total_steps(&self.config, self.steps_per_epoch())
    }

    /// The training images in numbers.
    pub(super) fn data(&self) -> AssumedData {
        let [channels, height, width] = self.image();
        AssumedData {
            images: self.train.len(),
            channels,
            height,
            width,
            classes: self.info.data.classes.len(),
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
        tracing::debug!("{size}, {} training images, step {} of {total}", self.train.len(), point.step);
        run.take_steps(point, observer)
    }
}
