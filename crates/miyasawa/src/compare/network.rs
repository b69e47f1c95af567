//! Models of a comparison, whatever their type: those that the configuration names, and joint
//! models on networks of the caller's own.

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::classifier::{BoxedClassifier, Defence, plain_classifier};
use crate::model::{EnergyNetwork, JointModel, Kind, Model, Predict, params};
use crate::train::{Finish, Learner, Observer, TrainConfig, TrainError, Trainer};
use burn::tensor::Device;
use std::{path::Path, sync::Arc};

/// What a comparison asks of a model that it measures.
pub(super) trait Measured: Predict + Sync {
    /// The classifier conditioned on the noise level `sigma`, for images of `shape`; `None` for a
    /// denoiser.
    fn classifier(
        &self,
        sigma: f64,
        shape: [usize; 3],
        classes: usize,
        device: &Device,
    ) -> Option<BoxedClassifier<'_>>;
}

impl Measured for Model {
    fn classifier(
        &self,
        sigma: f64,
        shape: [usize; 3],
        classes: usize,
        device: &Device,
    ) -> Option<BoxedClassifier<'_>> {
        plain_classifier(self, sigma, shape, classes, device)
    }
}

impl<N: EnergyNetwork + Sync> Measured for JointModel<N> {
    fn classifier(
        &self,
        sigma: f64,
        shape: [usize; 3],
        _classes: usize,
        device: &Device,
    ) -> Option<BoxedClassifier<'_>> {
        Some(Defence::Softmax { sigma }.classifier(self, shape, device))
    }
}

/// What a comparison asks of a trainer.
pub(super) trait Training {
    fn total_steps(&self) -> u64;
    fn seconds_per_step(&self) -> Result<f64, TrainError>;
    fn run(
        &self,
        out: &Path,
        resume: bool,
        observer: &mut dyn Observer,
    ) -> Result<Finish, TrainError>;
}

impl<M: Learner> Training for Trainer<M> {
    fn total_steps(&self) -> u64 {
        self.total_steps()
    }

    fn seconds_per_step(&self) -> Result<f64, TrainError> {
        self.seconds_per_step()
    }

    fn run(
        &self,
        out: &Path,
        resume: bool,
        observer: &mut dyn Observer,
    ) -> Result<Finish, TrainError> {
        self.run(out, resume, observer)
    }
}

/// How the model of an entry is made, trained and read back.
pub(super) trait Network {
    /// The entry's settings, completed by what the network fixes.
    fn settings(&self, settings: TrainConfig) -> TrainConfig;

    fn trainer(
        &self,
        settings: TrainConfig,
        device: &Device,
    ) -> Result<Box<dyn Training>, TrainError>;

    /// The model of a checkpoint; `path` is for the message.
    fn model(
        &self,
        checkpoint: &Checkpoint,
        device: &Device,
        path: &Path,
    ) -> Result<Box<dyn Measured>, CheckpointError>;
}

/// The network that the settings name.
pub(super) struct Configured;

impl Network for Configured {
    fn settings(&self, settings: TrainConfig) -> TrainConfig {
        settings
    }

    fn trainer(
        &self,
        settings: TrainConfig,
        device: &Device,
    ) -> Result<Box<dyn Training>, TrainError> {
        Ok(Box::new(Trainer::new(settings, device)?))
    }

    fn model(
        &self,
        checkpoint: &Checkpoint,
        device: &Device,
        path: &Path,
    ) -> Result<Box<dyn Measured>, CheckpointError> {
        Ok(Box::new(checkpoint.model(device, path)?))
    }
}

/// Makes a network with random parameters by a seed.
type NetworkInit<N> = dyn Fn(&Device, u64) -> N + Send + Sync;

/// A network of the caller's own.
pub(super) struct Own<N> {
    init: Arc<NetworkInit<N>>,
    blind: bool,
}

impl<N: EnergyNetwork> Own<N> {
    /// Makes a network once, to see whether it is blind to the noise level.
    pub fn new(init: Arc<NetworkInit<N>>, device: &Device) -> Self {
        let blind = init(device, 0).is_blind();
        Self { init, blind }
    }
}

impl<N: EnergyNetwork + Sync + 'static> Network for Own<N> {
    fn settings(&self, mut settings: TrainConfig) -> TrainConfig {
        settings.network.kind = Kind::Custom;
        settings.network.blind = self.blind;
        settings
    }

    fn trainer(
        &self,
        settings: TrainConfig,
        device: &Device,
    ) -> Result<Box<dyn Training>, TrainError> {
        let network = self.init.clone();
        let builder = Trainer::builder().network(move |device, seed| network(device, seed));
        Ok(Box::new(builder.config(settings).device(device).build()?))
    }

    fn model(
        &self,
        checkpoint: &Checkpoint,
        device: &Device,
        path: &Path,
    ) -> Result<Box<dyn Measured>, CheckpointError> {
        let model = JointModel::new((self.init)(device, 0), checkpoint.info.data.std);
        let model = params::assign(model, checkpoint.params.clone());
        let error = |source| CheckpointError::Params { path: path.to_owned(), source };
        Ok(Box::new(model.map_err(error)?))
    }
}
