//! What a model is, and what it can do.

#[cfg(doc)]
use super::PredictorBuilder;
use super::{Geometry, PredictError, Predictor, check_finite};
use crate::checkpoint::ModelInfo;
use crate::image::Image;
use crate::model::{GradResNet, JointModel, Kind, Model, Views};
use burn::tensor::Device;

impl Predictor {
    /// The checkpoint's metadata: network, data, noise levels and training.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::bundled()?;
    /// assert_eq!(model.info().data.name, "cifar10");
    /// assert!(model.info().training.steps > 0);
    /// # Ok::<(), PredictError>(())
    /// ```
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// The model itself, for work on tensors.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// use miyasawa::{burn::tensor::Tensor, model::host};
    /// let model = Predictor::bundled()?;
    /// let joint = model.model().joint().expect("a joint model");
    /// let y = Tensor::<4>::zeros([1, 3, 8, 8], model.device());
    /// let sigma = Tensor::<1>::full([1], 0.2, model.device());
    /// assert_eq!(host(joint.at(&y, &sigma).class_probs()).len(), 10);
    /// # Ok::<(), PredictError>(())
    /// ```
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The model with the mean over the views that [`PredictorBuilder::views`] sets, as this
    /// predictor classifies and denoises.
    ///
    /// ```
    /// use miyasawa::burn::tensor::Tensor;
    /// use miyasawa::model::{Predict as _, Query};
    /// use miyasawa::prelude::*;
    /// let model = Predictor::builder().views(2).bundled()?;
    /// let y = Tensor::<4>::zeros([1, 3, 8, 8], model.device());
    /// let sigma = Tensor::<1>::full([1], 0.2, model.device());
    /// let query = Query { classify: true, ..Query::default() };
    /// assert!(model.views().predict(&y, &sigma, &query).logits.is_some());
    /// # Ok::<(), PredictError>(())
    /// ```
    ///
    /// # Panics
    /// Never: the builder has checked the number of views.
    pub fn views(&self) -> Views<&Model> {
        Views::new(&self.model, self.views).expect("the builder has checked the number")
    }

    /// The preprocessed image: converted to the model's channels and size as in training.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::bundled()?;
    /// let image = model.input(&Image::filled(1, 48, 64, 0.0)?)?;
    /// assert_eq!(image.shape(), (3, 32, 32));
    /// assert!(model.input(&Image::filled(1, 2, 2, f32::NAN)?).is_err());
    /// # Ok::<(), PredictError>(())
    /// ```
    ///
    /// # Errors
    /// [`PredictError::NotFiniteImage`] if the image has a value that is not finite.
    pub fn input(&self, image: &Image) -> Result<Image, PredictError> {
        check_finite(image)?;
        Ok(self.info.data.fitted(image)?)
    }

    /// The device of the model.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::bundled()?;
    /// assert_eq!(*model.device(), miyasawa::Device::flex());
    /// # Ok::<(), PredictError>(())
    /// ```
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The model's name in messages and documents: the path of its file.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::bundled()?;
    /// assert_eq!(model.name(), "the bundled model");
    /// # Ok::<(), PredictError>(())
    /// ```
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The hash of the checkpoint's content, which identifies the model.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::bundled()?;
    /// assert_eq!(model.sha256().len(), 64);
    /// # Ok::<(), PredictError>(())
    /// ```
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The kind of network.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::bundled()?;
    /// assert_eq!(model.kind(), miyasawa::model::Kind::GradResNet);
    /// # Ok::<(), PredictError>(())
    /// ```
    pub fn kind(&self) -> Kind {
        self.info.network.kind()
    }

    /// The names of the classes, in the order of their numbers.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::bundled()?;
    /// assert_eq!(model.classes()[6], "frog");
    /// # Ok::<(), PredictError>(())
    /// ```
    pub fn classes(&self) -> &[String] {
        &self.info.data.classes
    }

    /// Channels, height and width of the images that it was trained on. Images of other sizes are
    /// resized to classify them; they are denoised at their own size.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::bundled()?;
    /// assert_eq!(model.geometry(), Geometry::new(3, 32, 32));
    /// # Ok::<(), PredictError>(())
    /// ```
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
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::bundled()?;
    /// assert!(model.can_classify());
    /// # Ok::<(), PredictError>(())
    /// ```
    pub fn can_classify(&self) -> bool {
        self.info.classifies()
    }

    /// Whether it was trained to denoise.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::bundled()?;
    /// assert!(model.can_denoise());
    /// # Ok::<(), PredictError>(())
    /// ```
    pub fn can_denoise(&self) -> bool {
        self.info.denoises()
    }

    /// Checks that the model classifies.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::bundled()?;
    /// model.require_classifier()?;
    /// # Ok::<(), PredictError>(())
    /// ```
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
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::bundled()?;
    /// model.require_denoiser()?;
    /// # Ok::<(), PredictError>(())
    /// ```
    ///
    /// # Errors
    /// [`PredictError::Cannot`] if it does not.
    pub fn require_denoiser(&self) -> Result<(), PredictError> {
        if self.can_denoise() { Ok(()) } else { Err(self.cannot("denoise")) }
    }

    /// The joint model, for tasks that no other model can do; `what` names the task in the error
    /// message.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::bundled()?;
    /// assert!(model.joint("explain")?.sigma_data() > 0.0);
    /// # Ok::<(), PredictError>(())
    /// ```
    ///
    /// # Errors
    /// [`PredictError::Cannot`] if the model is a reference model.
    pub fn joint(&self, what: &'static str) -> Result<&JointModel<GradResNet>, PredictError> {
        self.model.joint().ok_or_else(|| self.cannot(what))
    }

    pub(super) fn cannot(&self, what: &'static str) -> PredictError {
        PredictError::Cannot {
            model: self.name.clone(),
            what,
            kind: self.kind(),
            weights: self.info.training.loss_weights,
        }
    }

    pub(super) fn check_class(&self, class: usize) -> Result<(), PredictError> {
        let classes = self.classes();
        if class < classes.len() {
            Ok(())
        } else {
            Err(PredictError::class(&class.to_string(), classes))
        }
    }
}
