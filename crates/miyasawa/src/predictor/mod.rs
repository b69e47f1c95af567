//! The high-level interface: a trained model with everything needed to use it.
//!
//! A [`Predictor`] holds a model, its checkpoint's metadata and the device. It preprocesses images,
//! chooses the noise level that the model is conditioned on, and returns typed results; a
//! [`Classification`] serialises. It is `Send + Sync`: a server shares one behind an `Arc`.
//!
//! Should I be using this? Yes, to classify, denoise and explain images with a trained model. For
//! training see [`train`](crate::train); for attacks see [`Predictor::classifier`] and
//! [`attack`](crate::attack); for tensors and gradients see
//! [`JointModel`](crate::model::JointModel), which [`Predictor::model`] returns.
//!
//! ```
//! use miyasawa::prelude::*;
//!
//! # fn main() -> Result<(), PredictError> {
//! let model = Predictor::bundled()?;
//! let image = Image::filled(3, 32, 32, 0.1)?; // or Image::open(path)?, Image::decode(&bytes)?
//! let best = model.classify(&image, Noise::Clean)?.best().class.clone();
//! assert!(model.classes().contains(&best));
//! let clean = model.denoise(&image, Noise::Level(0.2))?.into_image();
//! assert_eq!(clean.shape(), image.shape());
//! # Ok(())
//! # }
//! ```

mod batch;
mod builder;
mod describe;
mod error;
mod explanations;
mod noise;
mod preview;
mod results;
mod strength;
#[cfg(test)]
mod tests;
mod uncertainty;

pub use crate::explain::Explanation;
pub use builder::PredictorBuilder;
pub use error::PredictError;
pub use explanations::EXPLAIN_SIGMA;
pub use noise::{MAX_NOISE, Noise};
pub use preview::Preview;
pub use results::{ClassProbability, Classification, Denoised};
pub use strength::{MAX_STRENGTH, Strength};
pub use uncertainty::UncertaintyOptions;

use crate::bundled::BundledModel;
use crate::checkpoint::{Checkpoint, ModelInfo};
use crate::classifier::{BoxedClassifier, Defence, plain_classifier};
use crate::image::{Geometry, Image};
use crate::infer;
use crate::model::Model;
use crate::progress::Monitor;
use burn::tensor::Device;
use std::{
    borrow::Cow,
    path::Path,
    sync::{Arc, Mutex},
};

/// The most draws of noise that a mean is over: the mean over more is the same to five digits, and
/// an image would take minutes.
pub const MAX_DRAWS: usize = 100_000;

/// A trained model, ready to use. See the [module's page](self).
///
/// ```
/// use miyasawa::prelude::*;
/// fn shared<T: Send + Sync>(_: &T) {}
/// let model = Predictor::bundled()?;
/// shared(&model); // one for all threads of a server
/// # Ok::<(), PredictError>(())
/// ```
pub struct Predictor {
    info: ModelInfo,
    model: Model,
    device: Device,
    name: String,
    sha256: String,
    /// Threads for single images, whose number is also that of the workers of a batch; `None` for
    /// the global pool of `rayon`.
    pool: Option<Arc<rayon::ThreadPool>>,
    /// How many views of an image a result is the mean over.
    views: usize,
    /// Levels outside the training range for which a warning was printed.
    warned: Mutex<Vec<f64>>,
}

impl std::fmt::Debug for Predictor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut found = f.debug_struct("Predictor");
        found.field("name", &self.name).field("kind", &self.kind()).field("sha256", &self.sha256);
        found.finish_non_exhaustive()
    }
}

impl Predictor {
    /// The bundled model: CIFAR-10's ten classes, images of any size.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::bundled()?;
    /// assert_eq!(model.classes().len(), 10);
    /// assert!(model.can_classify() && model.can_denoise());
    /// # Ok::<(), PredictError>(())
    /// ```
    ///
    /// # Errors
    /// If `MIYASAWA_ISA` names an instruction set that the processor does not have.
    pub fn bundled() -> Result<Self, PredictError> {
        Self::builder().bundled()
    }

    /// A bundled model by name, such as the denoiser of photographs.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::from_bundled(BundledModel::Photo)?;
    /// let noisy = Image::filled(3, 40, 60, 0.1)?.with_noise(0.1, 1)?;
    /// assert_eq!(model.denoise(&noisy, Noise::Estimate)?.image().shape(), (3, 40, 60));
    /// # Ok::<(), PredictError>(())
    /// ```
    ///
    /// # Errors
    /// As [`bundled`](Self::bundled).
    pub fn from_bundled(model: BundledModel) -> Result<Self, PredictError> {
        Self::builder().from_bundled(model)
    }

    /// The model of a checkpoint: a run's `model.safetensors`, or one that `miyasawa export` wrote.
    ///
    /// ```no_run
    /// use miyasawa::prelude::*;
    /// let model = Predictor::load("runs/mine/model.safetensors")?;
    /// # Ok::<(), PredictError>(())
    /// ```
    ///
    /// # Errors
    /// [`PredictError::Checkpoint`] if the file cannot be read or is not a checkpoint.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, PredictError> {
        Self::builder().load(path)
    }

    /// The model of a checkpoint in memory.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let bytes = BundledModel::Photo.bytes(); // for example include_bytes!("model.safetensors")
    /// let model = Predictor::from_bytes(bytes)?;
    /// assert!(Predictor::from_bytes(b"nothing").is_err());
    /// # Ok::<(), PredictError>(())
    /// ```
    ///
    /// # Errors
    /// [`PredictError::Checkpoint`] if the bytes are not a checkpoint.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PredictError> {
        Self::builder().from_bytes(bytes)
    }

    /// A builder, for another device, a number of threads, or products in bfloat16.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::builder().threads(1).bundled()?;
    /// assert_eq!(model.name(), "the bundled model");
    /// # Ok::<(), PredictError>(())
    /// ```
    pub fn builder() -> PredictorBuilder {
        PredictorBuilder::default()
    }

    /// The probabilities of all classes, `p(c | y)`: the softmax of the logits, conditioned on the
    /// noise level.
    ///
    /// The image is converted to the model's channels and size as in training, except that it is
    /// enlarged where training pads. `noise` is the noise level of the image at the model's size.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::bundled()?;
    /// let image = Image::filled(1, 48, 64, 0.0)?;
    /// let found = model.classify(&image, Noise::Clean)?;
    /// assert_eq!(found.top(3).len(), 3);
    /// assert!((found.classes.iter().map(|c| c.probability).sum::<f32>() - 1.0).abs() < 1e-5);
    /// # Ok::<(), PredictError>(())
    /// ```
    ///
    /// # Errors
    /// If the model does not classify, the level lies outside what it can be conditioned on, or the
    /// image has a value that is not finite.
    pub fn classify(&self, image: &Image, noise: Noise) -> Result<Classification, PredictError> {
        self.require_classifier()?;
        let input = self.input(image)?;
        let (sigma, conditioned) = self.classification_level(image, &input, noise)?;
        let probs = self.run(|| infer::classify(&self.views(), &input, conditioned, &self.device));
        Classification::new(sigma, &probs.unwrap_or_default(), self.classes())
    }

    /// The probabilities of all classes behind a defence; see [`Defence`].
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::bundled()?;
    /// let image = Image::filled(3, 32, 32, 0.1)?.with_noise(0.2, 1)?;
    /// let defence = Defence::Denoise { sigma: 0.2, then: 0.05 };
    /// assert_eq!(model.classify_behind(&image, defence)?.classes.len(), 10);
    /// # Ok::<(), PredictError>(())
    /// ```
    ///
    /// # Errors
    /// As [`classify`](Self::classify) and [`classifier`](Self::classifier).
    pub fn classify_behind(
        &self,
        image: &Image,
        defence: Defence,
    ) -> Result<Classification, PredictError> {
        self.require_classifier()?;
        let (input, classifier) = (self.input(image)?, self.classifier(defence)?);
        let probs = self.run(|| infer::classify_behind(classifier.as_ref(), &input));
        Classification::new(defence.sigma(), &probs, self.classes())
    }

    /// The classifier behind a defence for attacks, certificates and calibration: logits, and the
    /// gradient with respect to the image.
    ///
    /// ```
    /// use miyasawa::{classifier::Defence, prelude::*};
    /// let model = Predictor::bundled()?;
    /// let classifier = model.classifier(Defence::Softmax { sigma: 0.1 })?;
    /// let images = vec![0.5; 3 * 32 * 32]; // in [0, 1]
    /// assert_eq!(classifier.logits(&images).len(), 10);
    /// # Ok::<(), PredictError>(())
    /// ```
    ///
    /// # Errors
    /// [`PredictError::Cannot`] if the model has no logits, or cannot classify behind this defence;
    /// [`PredictError::Level`] if a level lies outside what it can be conditioned on;
    /// [`PredictError::Draws`] if the mean is over none or too many draws.
    pub fn classifier(&self, defence: Defence) -> Result<BoxedClassifier<'_>, PredictError> {
        let Geometry { channels, height, width } = self.geometry();
        let shape = [channels, height, width];
        self.level(defence.sigma())?;
        let joint = match defence {
            Defence::Softmax { sigma } => {
                let plain =
                    plain_classifier(&self.model, sigma, shape, self.classes().len(), &self.device);
                return plain.ok_or_else(|| self.cannot("classify"));
            }
            Defence::Denoise { then, .. } => {
                let joint = self.joint("denoise before it classifies")?;
                self.require_denoiser()?;
                self.level(then)?;
                joint
            }
            Defence::Average { draws, .. } => {
                if !(1..=MAX_DRAWS).contains(&draws) {
                    return Err(PredictError::Draws { found: draws });
                }
                self.joint("classify by a mean over draws of noise")?
            }
        };
        Ok(defence.classifier(joint, shape, &self.device))
    }

    /// The image without its noise: `D(y) = y + sigma^2 grad log p(y)`, the formula of Tweedie and
    /// Miyasawa.
    ///
    /// The result has the image's size, channels and depth. Grey images are converted for a colour
    /// model and colour images for a grey one; large images are denoised in overlapping tiles. At
    /// level 0, which is also the level of [`Noise::Clean`], the image stays unchanged.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::bundled()?;
    /// let noisy = Image::filled(3, 24, 40, 0.5)?.with_noise(0.2, 7)?;
    /// let found = model.denoise(&noisy, Noise::Estimate)?;
    /// assert!((found.sigma - 0.2).abs() < 0.05, "{}", found.sigma);
    /// assert_eq!(found.image().shape(), noisy.shape());
    /// # Ok::<(), PredictError>(())
    /// ```
    ///
    /// # Errors
    /// If the model does not denoise, the level lies outside what it can be conditioned on, or
    /// values are not finite.
    pub fn denoise(&self, image: &Image, noise: Noise) -> Result<Denoised, PredictError> {
        let found = self.denoise_with(image, noise, None, &mut ())?;
        Ok(found.expect("`()` does not stop it"))
    }

    /// As [`denoise`](Self::denoise), or `D(y, c)` if the image's class is known and given.
    /// The monitor is asked and gets the share that is done before each tile of a large image;
    /// `None` as soon as it stops the work.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::bundled()?;
    /// let image = Image::filled(3, 32, 32, 0.1)?.with_noise(0.2, 1)?;
    /// let (level, ship) = (Noise::Level(0.2), model.class("ship")?);
    /// let as_ship = model.denoise_with(&image, level, Some(ship), &mut ())?;
    /// assert_ne!(as_ship, Some(model.denoise(&image, level)?));
    /// let stopped = &mut std::sync::atomic::AtomicBool::new(true);
    /// assert_eq!(model.denoise_with(&image, level, None, stopped)?, None);
    /// # Ok::<(), PredictError>(())
    /// ```
    ///
    /// # Errors
    /// As [`denoise`](Self::denoise); [`PredictError::Class`] if there is no such class.
    pub fn denoise_with(
        &self,
        image: &Image,
        noise: Noise,
        class: Option<usize>,
        monitor: &mut (dyn Monitor + Send),
    ) -> Result<Option<Denoised>, PredictError> {
        self.denoise_cow(Cow::Borrowed(image), noise, class, monitor)
    }

    /// As [`denoise_with`](Self::denoise_with), in the memory of the image: a large one is not
    /// copied.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::bundled()?;
    /// let image = Image::filled(3, 32, 32, 0.1)?.with_noise(0.2, 1)?;
    /// let denoised = model.denoise(&image, Noise::Level(0.2))?;
    /// let found = model.denoise_owned(image, Noise::Level(0.2), None, &mut ())?;
    /// assert_eq!(found, Some(denoised));
    /// # Ok::<(), PredictError>(())
    /// ```
    ///
    /// # Errors
    /// As [`denoise_with`](Self::denoise_with).
    pub fn denoise_owned(
        &self,
        image: Image,
        noise: Noise,
        class: Option<usize>,
        monitor: &mut (dyn Monitor + Send),
    ) -> Result<Option<Denoised>, PredictError> {
        self.denoise_cow(Cow::Owned(image), noise, class, monitor)
    }

    fn denoise_cow(
        &self,
        image: Cow<'_, Image>,
        noise: Noise,
        class: Option<usize>,
        monitor: &mut (dyn Monitor + Send),
    ) -> Result<Option<Denoised>, PredictError> {
        self.require_denoiser()?;
        if let Some(class) = class {
            self.joint("denoise for a class")?;
            self.check_class(class)?;
        }
        check_finite(&image)?;
        let (depth, sigma) = (image.depth(), self.denoising_level(&image, noise)?);
        let (model, info, device) = (&self.views(), &self.info, &self.device);
        let work = || infer::denoise_any(model, info, image, sigma, class, device, monitor);
        // That the model denoises is known by now.
        let Some(found) = self.run(work)? else { return Ok(None) };
        if !found.values().iter().all(|v| v.is_finite()) {
            return Err(PredictError::NotFinite { sigma });
        }
        Ok(Some(Denoised { sigma, image: found.with_depth(depth) }))
    }

    /// Runs work on the predictor's threads. From outside the pool every kernel would have to wake
    /// it, which costs more than a small kernel.
    fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        match &self.pool {
            Some(pool) => pool.install(work),
            None => rayon::scope(|_| work()),
        }
    }

    fn from_parts(
        checkpoint: Checkpoint,
        sha256: String,
        path: &Path,
        device: Device,
        pool: Option<Arc<rayon::ThreadPool>>,
        views: usize,
    ) -> Result<Self, PredictError> {
        let model = checkpoint.model(&device, path)?;
        Ok(Self {
            info: checkpoint.info,
            model,
            device,
            name: path.display().to_string(),
            sha256,
            pool,
            views,
            warned: Mutex::default(),
        })
    }
}

fn check_finite(image: &Image) -> Result<(), PredictError> {
    match image.values().iter().position(|value| !value.is_finite()) {
        Some(index) => Err(PredictError::NotFiniteImage { index, found: image.values()[index] }),
        None => Ok(()),
    }
}
