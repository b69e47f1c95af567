//! A run: data in, a model and its history out.

mod ahead;
mod batches;
mod describe;
mod resume;
mod run_state;
mod sets;
mod steps;
mod timing;
mod together;

use super::{
    builder::TrainerBuilder,
    config::TrainConfig,
    cost,
    error::TrainError,
    learner::Learner,
    observer::{Finish, Observer, Watched},
};
use crate::checkpoint::{Checkpoint, DataInfo, ModelInfo, TrainingInfo};
use crate::data::{Geometry, Images, TestSet};
use crate::model::{Architecture, Model};
use crate::progress::Monitor;
use crate::ranks::Ranks;
use burn::tensor::Device;
pub(super) use sets::Sets;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use steps::Run;

/// Makes a model with random parameters: on a device, by a seed, for data of a standard deviation.
pub(super) type Init<M> = Arc<dyn Fn(&Device, u64, f64) -> M + Send + Sync>;

/// A run about to start: what it learns from, how, and what it makes.
///
/// [`Trainer::builder`] puts one together. [`train`](Self::train) returns the model; with a folder
/// ([`out`](TrainerBuilder::out)) the run also writes checkpoints, a log and figures there, and can
/// be resumed to the same bits.
///
/// ```
/// use miyasawa::train::Trainer;
///
/// // Embedded handwritten digits; nothing is written.
/// let trainer = Trainer::builder()
///     .configure(|c| {
///         c.network.width = 8;
///         c.network.blocks = vec![1];
///         c.data.limit = Some(64);
///         c.schedule.batch = 32;
///         c.schedule.steps = Some(3);
///         c.eval.limit = 16;
///     })
///     .build()?;
/// let trained = trainer.train()?;
/// assert!(trained.finish.complete);
/// assert_eq!(trained.checkpoint.info.data.classes.len(), 10);
/// # Ok::<(), miyasawa::train::TrainError>(())
/// ```
#[derive(Clone)]
pub struct Trainer<M: Learner = Model> {
    pub(super) config: TrainConfig,
    train: Images,
    test: Images,
    /// What evaluation works on: `test`, or where images of a denoiser have their own sizes, these,
    /// of which `test` holds the centres.
    measured: TestSet,
    info: ModelInfo,
    device: Device,
    init: Init<M>,
    /// The run's folder, if it has one.
    pub(super) out: Option<PathBuf>,
    pub(super) resume: bool,
    /// The processes that train together, if there are others.
    pub(super) ranks: Option<Arc<dyn Ranks>>,
    /// Whether the augmentation was chosen by the data.
    auto_augment: bool,
}

/// What a run made.
#[derive(Clone, Debug)]
pub struct Trained<M = Model> {
    /// The model to use: with averaged parameters, on the run's device, without autodiff.
    pub model: M,
    /// The same with all that is known of it: what `model.safetensors` holds, and what
    /// [`Checkpoint::save`] writes.
    pub checkpoint: Checkpoint,
    /// How the run ended.
    pub finish: Finish,
}

/// What a trainer is made of besides its data.
pub(super) struct Parts<M> {
    pub config: TrainConfig,
    pub device: Device,
    pub network: Architecture,
    pub init: Init<M>,
    pub out: Option<PathBuf>,
    pub resume: bool,
}

impl Trainer {
    /// A trainer put together piece by piece.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let trainer = Trainer::builder().configure(|c| c.schedule.steps = Some(3)).build()?;
    /// assert_eq!(trainer.total_steps(), 3);
    /// # Ok::<(), miyasawa::train::TrainError>(())
    /// ```
    pub fn builder() -> TrainerBuilder {
        TrainerBuilder::new()
    }

    /// Loads the data that the configuration names and measures `sigma_data` on the training set.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let trainer = Trainer::new(TrainConfig::default(), &miyasawa::Device::flex())?;
    /// assert_eq!(trainer.info().data.name, "digits");
    /// # Ok::<(), miyasawa::train::TrainError>(())
    /// ```
    ///
    /// # Errors
    /// If the configuration or the data make no sense.
    pub fn new(config: TrainConfig, device: &Device) -> Result<Self, TrainError> {
        Self::builder().config(config).device(device).build()
    }

    /// As [`new`](Self::new), on images that the caller has opened or made. What the
    /// configuration says of where data lies and how it is opened is not used; a run is resumed
    /// with the same images.
    ///
    /// ```
    /// use miyasawa::{data::{DataSource, OpenOptions, Part}, prelude::*};
    /// let digits = DataSource::Digits.open(Part::Test, &OpenOptions::default())?.into_dataset()?;
    /// let (train, test) = digits.split(100, 0)?;
    /// let (config, device) = (TrainConfig::default(), miyasawa::Device::flex());
    /// let trainer = Trainer::with_data(config, train.into(), test.into(), &device)?;
    /// assert_eq!(trainer.test_set().len(), 100);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
        let sets = Sets::from_images(train, test)?.in_patches(&config)?;
        Self::from_sets(config, sets, device)
    }

    /// A trainer of the model that the configuration names.
    pub(super) fn from_sets(
        config: TrainConfig,
        sets: Sets,
        device: &Device,
    ) -> Result<Self, TrainError> {
        let channels = sets.train.geometry().channels;
        let network = cost::network(&config, channels, sets.class_names(&config).len())?;
        let model = network.clone();
        let init: Init<Model> = Arc::new(move |device, seed, std| model.init(device, seed, std));
        let device = device.clone();
        Self::from_parts(Parts { config, device, network, init, out: None, resume: false }, sets)
    }
}

impl<M: Learner> Trainer<M> {
    /// A trainer of any model on sets that go together.
    pub(super) fn from_parts(parts: Parts<M>, sets: Sets) -> Result<Self, TrainError> {
        let Parts { mut config, device, network, init, out, resume } = parts;
        sets.check(&config)?;
        let classes = sets.class_names(&config);
        let Sets { train, test, measured, held_out_of, photographs } = sets;
        let (mean, std) = train.mean_std();
        if !(std > 0.0 && std.is_finite()) {
            let message =
                format!("{}: the standard deviation is {std}, expected above 0", train.name());
            return Err(TrainError::Mismatch(message));
        }
        let Geometry { channels, height, width } = train.geometry();
        let auto_augment = config.augment.resolve(photographs, [height, width]);
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
            grey: config.augment.grey,
            stored: config.noise.stored,
            camera: config.noise.camera,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..TrainingInfo::default()
        };
        let info =
            ModelInfo { network, data, sigma: [config.noise.min, config.noise.max], training };
        let ranks = None;
        Ok(Self {
            config,
            train,
            test,
            measured,
            info,
            device,
            init,
            out,
            resume,
            ranks,
            auto_augment,
        })
    }

    /// Trains and returns the model.
    ///
    /// # Errors
    /// If a file cannot be written, or if the run diverges and returning to earlier states does not
    /// help.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    ///
    /// // Two classes of images of the caller's own: dark and bright, 8x8.
    /// let pixels: Vec<u8> = (0..40 * 64).map(|i| (i / 64 % 2 * 120 + i % 90) as u8).collect();
    /// let labels = (0..40).map(|i| i % 2).collect();
    /// let classes = vec!["dark".to_owned(), "bright".to_owned()];
    /// let data = Dataset::new("mine", Geometry::new(1, 8, 8), classes, pixels, labels)?;
    /// let out = tempfile::tempdir()?;
    /// let trainer = Trainer::builder()
    ///     .data(data)
    ///     .configure(|c| {
    ///         c.network.width = 8;
    ///         c.network.blocks = vec![1];
    ///         c.schedule.batch = 8;
    ///         c.schedule.steps = Some(4);
    ///     })
    ///     .out(out.path().join("run"))
    ///     .build()?;
    /// let trained = trainer.train()?;
    /// assert_eq!(trained.checkpoint.info.data.classes, ["dark", "bright"]);
    /// assert!(out.path().join("run/model.safetensors").exists());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn train(&self) -> Result<Trained<M>, TrainError> {
        self.train_with(&mut ())
    }

    /// As [`train`](Self::train), watched by a monitor, which may stop the run. After a step it
    /// gets the task `training` with the values `step`, `loss` and `lr`, during evaluations the
    /// task `evaluation`.
    ///
    /// # Errors
    /// As [`train`](Self::train).
    ///
    /// ```
    /// use miyasawa::{progress::Progress, train::Trainer};
    ///
    /// let trainer = Trainer::builder()
    ///     .configure(|c| {
    ///         c.network.width = 8;
    ///         c.network.blocks = vec![1];
    ///         c.data.limit = Some(64);
    ///         c.schedule.batch = 32;
    ///         c.schedule.steps = Some(2);
    ///         c.eval.limit = 8;
    ///         c.eval.all_at_end = false;
    ///     })
    ///     .build()?;
    /// let mut losses = Vec::new();
    /// trainer.train_with(&mut |p: &Progress<'_>| losses.extend(p.value("loss")))?;
    /// assert_eq!(losses.len(), 2);
    /// # Ok::<(), miyasawa::train::TrainError>(())
    /// ```
    pub fn train_with(&self, monitor: &mut dyn Monitor) -> Result<Trained<M>, TrainError> {
        self.train_observed(&mut Watched(monitor))
    }

    /// As [`train`](Self::train), watched in every detail.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// use miyasawa::train::{Observer, StepReport};
    ///
    /// #[derive(Default)]
    /// struct Norms(Vec<f64>);
    ///
    /// impl Monitor for Norms {}
    ///
    /// impl Observer for Norms {
    ///     fn step(&mut self, report: &StepReport, _total: u64) {
    ///         self.0.push(report.grad_norm);
    ///     }
    /// }
    ///
    /// # let trainer = Trainer::builder()
    /// #     .configure(|c| {
    /// #         c.network.width = 8;
    /// #         c.network.blocks = vec![1];
    /// #         c.schedule.batch = 8;
    /// #         c.schedule.steps = Some(2);
    /// #         c.eval.limit = 8;
    /// #         c.eval.all_at_end = false;
    /// #     })
    /// #     .build()?;
    /// let mut norms = Norms::default();
    /// trainer.train_observed(&mut norms)?;
    /// assert_eq!(norms.0.len(), 2);
    /// # Ok::<(), miyasawa::train::TrainError>(())
    /// ```
    ///
    /// # Errors
    /// As [`train`](Self::train).
    pub fn train_observed(&self, observer: &mut dyn Observer) -> Result<Trained<M>, TrainError> {
        self.start(self.out.as_deref(), self.resume, observer)
    }

    /// Trains to the end or until the observer stops it; `out` receives the run's files.
    ///
    /// A run that `resume`s goes on from its newest intact checkpoint and becomes, byte for byte,
    /// what it would have become without the interruption, on the same kind of device.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let folder = tempfile::tempdir()?;
    /// let trainer = Trainer::builder()
    ///     .configure(|c| {
    ///         (c.network.width, c.network.blocks) = (8, vec![1]);
    ///         (c.schedule.steps, c.schedule.batch) = (Some(2), 8);
    ///         c.eval.limit = 8;
    ///     })
    ///     .build()?;
    /// let run = folder.path().join("run");
    /// assert!(trainer.run(&run, false, &mut ())?.complete);
    /// assert!(run.join("model.safetensors").exists());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`train`](Self::train); if the folder holds a run, or none, where the other is asked for.
    pub fn run(
        &self,
        out: &Path,
        resume: bool,
        observer: &mut dyn Observer,
    ) -> Result<Finish, TrainError> {
        Ok(self.start(Some(out), resume, observer)?.finish)
    }

    fn start(
        &self,
        out: Option<&Path>,
        resume: bool,
        observer: &mut dyn Observer,
    ) -> Result<Trained<M>, TrainError> {
        if let Some(out) = out.filter(|_| resume && self.auto_augment)
            && let Some(augment) = resume::augment_of(out)
        {
            // What the run began with, whatever the data would choose now.
            let mut trainer = self.clone();
            trainer.config.augment = augment;
            trainer.auto_augment = false;
            return trainer.start(Some(out), resume, observer);
        }
        if self.auto_augment {
            tracing::info!("{}: {}", self.train.name(), self.config.augment.describe());
        }
        let (run, state) = Run::start(self, out, resume)?;
        let (total, data) = (self.total_steps(), &self.info.data);
        let size = format!("{}x{}x{}", data.channels, data.height, data.width);
        tracing::debug!(
            "{size}, {} training images, step {} of {total}",
            self.train.len(),
            state.step
        );
        run.take_steps(state, observer)
    }
}
