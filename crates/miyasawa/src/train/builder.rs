//! A trainer put together piece by piece.

use super::{
    config::TrainConfig,
    error::TrainError,
    run::{Parts, Sets, Trainer},
};
use crate::data::Images;
use crate::model::{Architecture, CustomNetwork, EnergyNetwork, JointModel, Kind, Model};
use crate::ranks::Ranks;
use burn::tensor::Device;
use std::{path::PathBuf, sync::Arc};

/// What every [`Trainer`] is made of; see [`Trainer::builder`].
#[derive(Clone)]
struct Settings {
    config: TrainConfig,
    data: Option<Images>,
    test: Option<Images>,
    out: Option<PathBuf>,
    resume: bool,
    device: Device,
    ranks: Option<Arc<dyn Ranks>>,
}

/// Puts a [`Trainer`] together. What is not said comes from the default configuration, which trains
/// on the embedded digits; without a folder nothing is written.
///
/// ```
/// use miyasawa::train::{TrainError, Trainer};
///
/// // A configuration that makes no sense is an error, here: no steps.
/// let wrong = Trainer::builder().configure(|c| c.schedule.steps = Some(0)).build();
/// assert!(matches!(wrong.err(), Some(TrainError::Config(_))));
/// ```
#[derive(Clone)]
pub struct TrainerBuilder(Settings);

/// As [`TrainerBuilder`], for a network of the caller's own: anything that implements
/// [`EnergyNetwork`].
///
/// ```
/// use miyasawa::{model::GradResNetConfig, train::Trainer};
///
/// let net = GradResNetConfig { width: 8, blocks: vec![1], ..GradResNetConfig::new(1, 10) };
/// let trainer = Trainer::builder()
///     .network(move |device, seed| net.init(device, seed))
///     .configure(|c| {
///         c.data.limit = Some(64);
///         c.schedule.batch = 32;
///         c.schedule.steps = Some(2);
///         c.eval.limit = 16;
///         c.eval.all_at_end = false;
///     })
///     .build()?;
/// let trained = trainer.train()?;
/// assert!(trained.finish.rows[0].psnr.is_some());
/// # Ok::<(), miyasawa::train::TrainError>(())
/// ```
pub struct CustomTrainerBuilder<N: EnergyNetwork> {
    settings: Settings,
    network: NetworkInit<N>,
}

type NetworkInit<N> = Arc<dyn Fn(&Device, u64) -> N + Send + Sync>;

/// The setters that both builders have.
macro_rules! setters {
    ($self:ident, $settings:expr) => {
        /// The configuration, all of it.
        pub fn config(mut $self, config: TrainConfig) -> Self {
            $settings.config = config;
            $self
        }

        /// Changes the configuration.
        pub fn configure(mut $self, change: impl FnOnce(&mut TrainConfig)) -> Self {
            change(&mut $settings.config);
            $self
        }

        /// Images to learn from, such as a [`Dataset`](crate::data::Dataset) of arrays, instead of
        /// those that the configuration names. Whether they are photographs is not known: they are
        /// flipped and cropped only if the configuration says so. A stream to cut patches out of
        /// is opened with [`OpenOptions::patch`](crate::data::OpenOptions::patch).
        pub fn data(mut $self, data: impl Into<Images>) -> Self {
            $settings.data = Some(data.into());
            $self
        }

        /// Images to evaluate on; left out, a tenth of every class of the [`data`](Self::data) is
        /// held out.
        pub fn test(mut $self, data: impl Into<Images>) -> Self {
            $settings.test = Some(data.into());
            $self
        }

        /// The run's folder: it gets checkpoints, the model, a log and figures.
        pub fn out(mut $self, folder: impl Into<PathBuf>) -> Self {
            $settings.out = Some(folder.into());
            $self
        }

        /// Whether to go on with the run that the folder holds, from its newest checkpoint. It must
        /// be a run on the same images.
        pub fn resume(mut $self, resume: bool) -> Self {
            $settings.resume = resume;
            $self
        }

        /// The processes that train together, of which this is one. Every process builds the same
        /// trainer; each takes whole parts of every batch, and the results are those of one
        /// process, bit by bit. Rank 0 writes the files and evaluates.
        pub fn ranks(mut $self, ranks: Arc<dyn Ranks>) -> Self {
            $settings.ranks = Some(ranks);
            $self
        }

        /// Where to compute; left out, the CPU.
        pub fn device(mut $self, device: &Device) -> Self {
            $settings.device = device.clone();
            $self
        }
    };
}

impl TrainerBuilder {
    pub(super) fn new() -> Self {
        let (config, device) = (TrainConfig::default(), Device::flex());
        Self(Settings {
            config,
            data: None,
            test: None,
            out: None,
            resume: false,
            device,
            ranks: None,
        })
    }

    setters!(self, self.0);

    /// Trains a joint model on the caller's own network instead of one that the configuration
    /// names; `network` makes it with random parameters by a seed. The configuration's `[network]`
    /// is not used.
    pub fn network<N, F>(self, network: F) -> CustomTrainerBuilder<N>
    where
        N: EnergyNetwork + Sync,
        F: Fn(&Device, u64) -> N + Send + Sync + 'static,
    {
        CustomTrainerBuilder { settings: self.0, network: Arc::new(network) }
    }

    /// Opens the data and checks that everything goes together.
    ///
    /// # Errors
    /// If the configuration or the data make no sense, or the two sets do not go together.
    pub fn build(self) -> Result<Trainer<Model>, TrainError> {
        let (settings, sets) = self.0.open()?;
        let mut trainer = Trainer::from_sets(settings.config, sets, &settings.device)?;
        trainer.ranks = settings.ranks;
        (trainer.out, trainer.resume) = (settings.out, settings.resume);
        Ok(trainer)
    }
}

impl<N: EnergyNetwork + Sync + 'static> CustomTrainerBuilder<N> {
    setters!(self, self.settings);

    /// Opens the data and checks that everything goes together.
    ///
    /// # Errors
    /// As [`TrainerBuilder::build`]; if the network has other classes than the data.
    pub fn build(self) -> Result<Trainer<JointModel<N>>, TrainError> {
        let Self { mut settings, network } = self;
        let seed = settings.config.seed;
        let net = network(&settings.device, seed);
        settings.config.network.kind = Kind::Custom;
        settings.config.network.blind = net.is_blind();
        let (Settings { config, out, resume, device, ranks, .. }, sets) = settings.open()?;
        let classes = sets.class_names(&config);
        if net.classes() != classes.len() {
            let (found, expected) = (net.classes(), classes.len());
            let message =
                format!("the network has {found} classes, the data has {expected}: {classes:?}");
            return Err(TrainError::Mismatch(message));
        }
        // Without the path, and without the parameters of a generic type.
        let name = std::any::type_name::<N>();
        let name = name.split('<').next().unwrap_or(name);
        let custom = CustomNetwork {
            name: name.rsplit("::").next().unwrap_or(name).to_owned(),
            channels: sets.train.geometry().channels,
            classes: classes.len(),
            blind: net.is_blind(),
        };
        let init = move |device: &Device, seed, std| JointModel::new(network(device, seed), std);
        let network = Architecture::Custom(custom);
        let init = Arc::new(init);
        let parts = Parts { config, device, network, init, out, resume };
        let mut trainer = Trainer::from_parts(parts, sets)?;
        trainer.ranks = ranks;
        Ok(trainer)
    }
}

impl Settings {
    /// The settings and their data, each of which makes sense.
    fn open(mut self) -> Result<(Self, Sets), TrainError> {
        self.config.check()?;
        self.config.dtype.check(&self.device)?;
        if self.resume && self.out.is_none() {
            return Err(TrainError::NoFolder);
        }
        let sets = match (self.data.take(), self.test.take()) {
            (Some(train), test) => {
                self.config.data.train = train.name().to_owned();
                Sets::of_callers(train, test)?.in_patches(&self.config)?
            }
            (None, None) => Sets::load(&self.config)?,
            (None, Some(_)) => {
                let message = "test() without data(): name the images to learn from too";
                return Err(TrainError::Mismatch(message.to_owned()));
            }
        };
        Ok((self, sets))
    }
}
