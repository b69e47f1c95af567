use super::{PredictError, Predictor};
use crate::bundled::BundledModel;
use crate::checkpoint::Checkpoint;
use crate::device::DeviceSpec;
use crate::model::VIEWS;
#[cfg(doc)]
use crate::model::Views;
use crate::ops::Operands;
use std::{path::Path, sync::Arc};

/// The largest number of threads: starting more would take longer than they save.
const MAX_THREADS: usize = 1024;

/// Builds a [`Predictor`] for a device, a number of threads and a precision.
///
/// ```
/// use miyasawa::prelude::*;
/// let model = Predictor::builder().device("cpu".parse()?).threads(2).bundled()?;
/// # let _ = model;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct PredictorBuilder {
    device: Option<DeviceSpec>,
    threads: Option<usize>,
    operands: Option<Operands>,
    views: Option<usize>,
}

impl PredictorBuilder {
    /// Sets the device; the default is the CPU.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::builder().device(DeviceSpec::Cpu).bundled()?;
    /// # let _ = model;
    /// # Ok::<(), PredictError>(())
    /// ```
    pub fn device(self, device: DeviceSpec) -> Self {
        Self { device: Some(device), ..self }
    }

    /// Sets the number of threads on the CPU, 1 to 1024; batches run on workers that all predictors
    /// share. By default it shares
    /// the global pool of `rayon`, which has one thread for each core.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// assert!(Predictor::builder().threads(2).bundled().is_ok());
    /// let none = Predictor::builder().threads(0).bundled();
    /// assert!(matches!(none, Err(PredictError::Threads { .. })));
    /// ```
    pub fn threads(self, threads: usize) -> Self {
        Self { threads: Some(threads), ..self }
    }

    /// Sets how both operands of every product of a convolution are rounded on the CPU:
    /// [`Operands::Bf16`] is about twice as fast if the processor has such instructions. By default
    /// nothing is rounded.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// use miyasawa::ops::Operands;
    /// let fast = Predictor::builder().operands(Operands::Bf16).bundled()?;
    /// # let _ = fast;
    /// # Ok::<(), PredictError>(())
    /// ```
    pub fn operands(self, operands: Operands) -> Self {
        Self { operands: Some(operands), ..self }
    }

    /// Sets how many views of an image a result is the mean over: 1 (the default), 2 (with its
    /// mirror image), 4 (both also upside down) or 8 (all also with rows and columns exchanged).
    /// Denoising takes so many times as long and gains about 0.1 dB; see [`Views`].
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::builder().views(8).from_bundled(BundledModel::Photo)?;
    /// let noisy = Image::filled(3, 24, 40, 0.1)?.with_noise(0.1, 1)?;
    /// assert_eq!(model.denoise(&noisy, Noise::Level(0.1))?.image().shape(), noisy.shape());
    /// let three = Predictor::builder().views(3).bundled();
    /// assert!(matches!(three, Err(PredictError::Views { found: 3 })));
    /// # Ok::<(), PredictError>(())
    /// ```
    pub fn views(self, views: usize) -> Self {
        Self { views: Some(views), ..self }
    }

    /// Builds the bundled model; see [`Predictor::bundled`].
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::builder().bundled()?;
    /// assert_eq!(model.classes().len(), 10);
    /// # Ok::<(), PredictError>(())
    /// ```
    ///
    /// # Errors
    /// If the device or the threads are not available.
    pub fn bundled(self) -> Result<Predictor, PredictError> {
        self.from_bundled(BundledModel::default())
    }

    /// Builds a bundled model by name; see [`Predictor::from_bundled`].
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::builder().threads(1).from_bundled(BundledModel::Photo)?;
    /// assert!(model.can_denoise() && !model.can_classify());
    /// # Ok::<(), PredictError>(())
    /// ```
    ///
    /// # Errors
    /// If the device or the threads are not available.
    pub fn from_bundled(self, model: BundledModel) -> Result<Predictor, PredictError> {
        let (checkpoint, sha256) = model.checkpoint()?;
        self.build(checkpoint, sha256, Path::new(model.title()))
    }

    /// Loads the model of a checkpoint; see [`Predictor::load`].
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let missing = Predictor::builder().load("no such file");
    /// assert!(matches!(missing, Err(PredictError::Checkpoint(_))));
    /// ```
    ///
    /// # Errors
    /// If the file cannot be read or is not a checkpoint, or the device or the threads are not
    /// available.
    pub fn load(self, path: impl AsRef<Path>) -> Result<Predictor, PredictError> {
        let (checkpoint, sha256) = Checkpoint::load_with_hash(path.as_ref())?;
        self.build(checkpoint, sha256, path.as_ref())
    }

    /// Loads the model of a checkpoint in memory; see [`Predictor::from_bytes`].
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::builder().from_bytes(BundledModel::Photo.bytes())?;
    /// assert_eq!(model.name(), "in memory");
    /// # Ok::<(), PredictError>(())
    /// ```
    ///
    /// # Errors
    /// If the bytes are not a checkpoint, or the device or the threads are not available.
    pub fn from_bytes(self, bytes: &[u8]) -> Result<Predictor, PredictError> {
        let path = Path::new("in memory");
        let (checkpoint, sha256) = Checkpoint::from_bytes_with_hash(bytes, path)?;
        self.build(checkpoint, sha256, path)
    }

    /// Builds the model of a checkpoint that was read or trained, under the name `name`.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let (checkpoint, _) = BundledModel::Cifar10.checkpoint()?;
    /// let model = Predictor::builder().from_checkpoint(checkpoint, "mine")?;
    /// assert_eq!(model.name(), "mine");
    /// # Ok::<(), PredictError>(())
    /// ```
    ///
    /// # Errors
    /// If the parameters are not those of the network, or the device or the threads are not
    /// available.
    pub fn from_checkpoint(
        self,
        checkpoint: Checkpoint,
        name: impl AsRef<Path>,
    ) -> Result<Predictor, PredictError> {
        let sha256 = checkpoint.hash(name.as_ref())?;
        self.build(checkpoint, sha256, name.as_ref())
    }

    fn build(
        self,
        mut checkpoint: Checkpoint,
        sha256: String,
        path: &Path,
    ) -> Result<Predictor, PredictError> {
        let device = self.device.unwrap_or(DeviceSpec::Cpu).open()?;
        let pool = self.threads.map(pool).transpose()?;
        let views = self.views.unwrap_or(1);
        if !VIEWS.contains(&views) {
            return Err(PredictError::Views { found: views });
        }
        if let Some(operands) = self.operands {
            checkpoint.info.network.set_operands(operands);
        }
        Predictor::from_parts(checkpoint, sha256, path, device, pool, views)
    }
}

fn pool(threads: usize) -> Result<Arc<rayon::ThreadPool>, PredictError> {
    let error = |found: String| PredictError::Threads { threads, found };
    if !(1..=MAX_THREADS).contains(&threads) {
        return Err(error(format!("expected 1 to {MAX_THREADS}")));
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    Ok(Arc::new(pool.map_err(|e| error(e.to_string()))?))
}
