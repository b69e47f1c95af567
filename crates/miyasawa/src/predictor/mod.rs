//! The high-level interface: a trained model with everything needed to use it.
//!
//! A [`Predictor`] holds a model, its checkpoint's metadata and the device. It preprocesses images,
//! chooses the noise level that the model is conditioned on, and returns results that serialise to
//! the documents of the command line's `--json`. It is `Send + Sync`: a server shares one behind an
//! `Arc`.
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
//! let image = Image::filled(3, 32, 32, 0.1)?; // or Image::open("frog.jpg")?, Image::decode(&bytes)?
//! let best = model.classify(&image, Noise::Clean)?.best().class.clone();
//! assert!(model.classes().contains(&best));
//! let clean = model.denoise(&image, Noise::Level(0.2))?.into_image();
//! assert_eq!(clean.shape(), image.shape());
//! # Ok(())
//! # }
//! ```

mod batch;
mod builder;
mod error;
mod noise;
mod results;
#[cfg(test)]
mod tests;

pub use crate::explain::Explanation;
pub use builder::PredictorBuilder;
pub use error::PredictError;
pub use noise::{MAX_NOISE, Noise};
pub use results::{ClassProbability, Classification, Denoised};

use crate::checkpoint::{Checkpoint, ModelInfo};
use crate::classifier::{BoxedClassifier, Defence, plain_classifier};
use crate::explain;
use crate::image::{Geometry, Image};
use crate::infer;
use crate::model::{GradResNet, JointModel, Kind, Model};
use burn::tensor::Device;
use std::{
    path::Path,
    sync::{Arc, Mutex},
};

/// The noise level of [`Predictor::explain`]: in the middle of the usual training range.
const EXPLAIN_SIGMA: f64 = 0.2;

/// A trained model, ready to use. See the [module's page](self).
pub struct Predictor {
    info: ModelInfo,
    model: Model,
    device: Device,
    name: String,
    sha256: String,
    /// The predictor's own threads; `None` for the global pool of `rayon`.
    pool: Option<Arc<rayon::ThreadPool>>,
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
    /// let bytes = miyasawa::bundled::BYTES; // for example include_bytes!("model.safetensors")
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
    pub fn builder() -> PredictorBuilder {
        PredictorBuilder::default()
    }

    /// The checkpoint's metadata: network, data, noise levels and training.
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// The model itself, for work on tensors.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The device of the model.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The model's name in messages and documents: the path of its file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The hash of the checkpoint's content, which identifies the model.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The kind of network.
    pub fn kind(&self) -> Kind {
        self.info.network.kind()
    }

    /// The names of the classes, in the order of their numbers.
    pub fn classes(&self) -> &[String] {
        &self.info.data.classes
    }

    /// Channels, height and width of the images that it was trained on. Images of other sizes are
    /// resized to classify them; they are denoised at their own size.
    pub fn geometry(&self) -> Geometry {
        self.info.data.geometry()
    }

    /// The number of a class, by its name or by its number as text.
    ///
    /// ```
    /// # use miyasawa::prelude::*;
    /// let model = Predictor::bundled()?;
    /// assert_eq!(model.class("ship")?, model.class("8")?);
    /// assert!(model.class("house").unwrap_err().to_string().contains("expected"));
    /// # Ok::<(), PredictError>(())
    /// ```
    ///
    /// # Errors
    /// [`PredictError::Class`] if there is none.
    pub fn class(&self, text: &str) -> Result<usize, PredictError> {
        let classes = self.classes();
        let by_name = classes.iter().position(|class| class == text);
        let by_number = || text.parse().ok().filter(|number| *number < classes.len());
        by_name.or_else(by_number).ok_or_else(|| PredictError::class(text, classes))
    }

    /// Whether it was trained to classify.
    pub fn can_classify(&self) -> bool {
        self.info.classifies()
    }

    /// Whether it was trained to denoise.
    pub fn can_denoise(&self) -> bool {
        self.info.denoises()
    }

    /// Checks that the model classifies.
    ///
    /// # Errors
    /// [`PredictError::OneClass`] or [`PredictError::Cannot`] if it does not.
    pub fn require_classifier(&self) -> Result<(), PredictError> {
        match self.info.network.classes() {
            _ if self.can_classify() => Ok(()),
            Some(1) => Err(PredictError::OneClass { model: self.name.clone() }),
            _ => Err(self.cannot("classify")),
        }
    }

    /// Checks that the model denoises.
    ///
    /// # Errors
    /// [`PredictError::Cannot`] if it does not.
    pub fn require_denoiser(&self) -> Result<(), PredictError> {
        if self.can_denoise() { Ok(()) } else { Err(self.cannot("denoise")) }
    }

    /// The joint model, for tasks that no other model can do; `what` names the task in the error
    /// message.
    ///
    /// # Errors
    /// [`PredictError::Cannot`] if the model is a reference model.
    pub fn joint(&self, what: &'static str) -> Result<&JointModel<GradResNet>, PredictError> {
        self.model.joint().ok_or_else(|| self.cannot(what))
    }

    fn cannot(&self, what: &'static str) -> PredictError {
        PredictError::Cannot {
            model: self.name.clone(),
            what,
            kind: self.kind(),
            weights: self.info.training.loss_weights,
        }
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
        let probs = self.run(|| infer::classify(&self.model, &input, conditioned, &self.device));
        Classification::new(sigma, &probs.unwrap_or_default(), self.classes())
    }

    /// The probabilities of all classes behind a defence; see [`Defence`].
    ///
    /// # Errors
    /// As [`classify`](Self::classify); [`PredictError::Cannot`] if the defence needs a joint model
    /// and this is not one.
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
    /// [`PredictError::Cannot`] if the model does not classify, or not behind this defence;
    /// [`PredictError::Level`] if a level lies outside what it can be conditioned on.
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
            Defence::Average { .. } => self.joint("classify by a mean over draws of noise")?,
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
        self.denoise_with(image, noise, None, &mut |_| ())
    }

    /// As [`denoise`](Self::denoise), or `D(y, c)` if the image's class is known and given.
    /// `progress` is called with the share that is done, before each tile of a large image.
    ///
    /// # Errors
    /// As [`denoise`](Self::denoise); [`PredictError::Class`] if there is no such class.
    pub fn denoise_with(
        &self,
        image: &Image,
        noise: Noise,
        class: Option<usize>,
        progress: &mut (dyn FnMut(f64) + Send),
    ) -> Result<Denoised, PredictError> {
        self.require_denoiser()?;
        if let Some(class) = class {
            self.joint("denoise for a class")?;
            self.check_class(class)?;
        }
        check_finite(image)?;
        let sigma = self.denoising_level(image, noise)?;
        let work = || {
            let mut progress = |share: f64| progress(share);
            infer::denoise_any(
                &self.model,
                &self.info,
                image,
                sigma,
                class,
                &self.device,
                &mut progress,
            )
        };
        let denoised = self.run(work)?.filter(|image| image.values().iter().all(|v| v.is_finite()));
        let denoised = denoised.ok_or(PredictError::NotFinite { sigma })?;
        Ok(Denoised { sigma, image: denoised.with_depth(image.depth()) })
    }

    /// Explains which parts of the image support a class: `D(y, c) - D(y)`, which is `sigma^2 grad
    /// log p(c | y)`, the adversarial gradient as a difference of denoisers, at the noise level
    /// 0.2. The image is resized to the model's size.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::bundled()?;
    /// let image = Image::filled(3, 32, 32, 0.5)?.with_noise(0.2, 1)?;
    /// let why = model.explain(&image, model.class("ship")?)?;
    /// assert_eq!(model.classes()[why.label], "ship");
    /// assert!(why.relative_error < 1e-4); // the identity holds
    /// let (image, _peak) = why.difference.amplified(); // a faint signed difference made visible
    /// # let _ = image;
    /// # Ok::<(), PredictError>(())
    /// ```
    ///
    /// # Errors
    /// [`PredictError::Cannot`] if the model is not a joint model; [`PredictError::Class`] if there
    /// is no such class.
    pub fn explain(&self, image: &Image, class: usize) -> Result<Explanation, PredictError> {
        self.explain_at(image, class, EXPLAIN_SIGMA)
    }

    /// As [`explain`](Self::explain), at a noise level of your choice.
    ///
    /// # Errors
    /// As [`explain`](Self::explain); [`PredictError::Level`] if the model cannot be conditioned on
    /// the level.
    pub fn explain_at(
        &self,
        image: &Image,
        class: usize,
        sigma: f64,
    ) -> Result<Explanation, PredictError> {
        Ok(self.explain_classes(image, &[class], sigma)?.remove(0))
    }

    /// As [`explain_at`](Self::explain_at), for several classes with one common forward pass.
    ///
    /// # Errors
    /// As [`explain_at`](Self::explain_at).
    pub fn explain_classes(
        &self,
        image: &Image,
        classes: &[usize],
        sigma: f64,
    ) -> Result<Vec<Explanation>, PredictError> {
        let joint = self.joint("explain")?;
        classes.iter().try_for_each(|class| self.check_class(*class))?;
        self.level(sigma)?;
        let input = self.input(image)?;
        Ok(self.run(|| explain::explain(joint, &input, sigma, classes, &self.device)))
    }

    /// `log p(y)` of the image at a noise level, up to a constant that is the same for all images
    /// at that level, so that images can be compared. The image is resized to the model's size.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::bundled()?;
    /// let smooth = Image::filled(3, 32, 32, 0.1)?;
    /// let noisy = smooth.clone().with_noise(0.5, 3)?;
    /// assert!(model.log_density(&smooth, 0.1)? > model.log_density(&noisy, 0.1)?);
    /// # Ok::<(), PredictError>(())
    /// ```
    ///
    /// # Errors
    /// [`PredictError::Cannot`] if the model is not a joint model; [`PredictError::Level`] if it
    /// cannot be conditioned on the level.
    pub fn log_density(&self, image: &Image, sigma: f64) -> Result<f64, PredictError> {
        let joint = self.joint("compute a density")?;
        self.require_denoiser()?;
        self.level(sigma)?;
        let input = self.input(image)?;
        let found = self.run(|| infer::log_density(joint, &input, sigma, &self.device));
        if found.is_finite() { Ok(found) } else { Err(PredictError::NotFinite { sigma }) }
    }

    /// The preprocessed image: converted to the model's channels and size as in training.
    ///
    /// # Errors
    /// [`PredictError::NotFiniteImage`] if the image has a value that is not finite.
    pub fn input(&self, image: &Image) -> Result<Image, PredictError> {
        check_finite(image)?;
        Ok(self.info.data.fitted(image)?)
    }

    fn check_class(&self, class: usize) -> Result<(), PredictError> {
        let classes = self.classes();
        if class < classes.len() {
            Ok(())
        } else {
            Err(PredictError::class(&class.to_string(), classes))
        }
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
    ) -> Result<Self, PredictError> {
        let model = checkpoint.model(&device, path)?;
        Ok(Self {
            info: checkpoint.info,
            model,
            device,
            name: path.display().to_string(),
            sha256,
            pool,
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
