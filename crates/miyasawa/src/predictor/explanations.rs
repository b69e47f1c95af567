//! What the joint density says of an image: what supports a class, and how probable it is.

use super::{Explanation, PredictError, Predictor};
use crate::image::{Image, ImageError};
use crate::{explain, infer};

/// The noise level of [`Predictor::explain`]: in the middle of the usual training range.
pub const EXPLAIN_SIGMA: f64 = 0.2;

impl Predictor {
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
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::bundled()?;
    /// let image = Image::filled(3, 32, 32, 0.5)?.with_noise(0.4, 1)?;
    /// assert_eq!(model.explain_at(&image, 8, 0.4)?.sigma, 0.4);
    /// assert!(matches!(model.explain_at(&image, 10, 0.4), Err(PredictError::Class { .. })));
    /// # Ok::<(), PredictError>(())
    /// ```
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
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::bundled()?;
    /// let image = Image::filled(3, 32, 32, 0.5)?.with_noise(0.2, 1)?;
    /// let found = model.explain_classes(&image, &[0, 8], 0.2)?;
    /// assert_eq!((found[0].label, found[1].label), (0, 8));
    /// assert_eq!(found[0].denoised, found[1].denoised);
    /// # Ok::<(), PredictError>(())
    /// ```
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
        let found = self.run(|| explain::explain(joint, &input, sigma, classes, &self.device));
        let finite = |e: &Explanation| {
            let mut values = e.difference.values().iter().chain(e.gradient.values());
            values.all(|value| value.is_finite())
        };
        let all_finite = found.iter().all(finite);
        if all_finite { Ok(found) } else { Err(PredictError::NotFinite { sigma }) }
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

    /// The score `grad_y log p(y)` of the image at a noise level, at the image's own size, without
    /// what [`denoise`](Self::denoise) does for images from files: `y + sigma^2 score(y)` is the
    /// plain `D(y)`. The image goes through the network as a whole, which takes about 3 KB of
    /// memory for each pixel.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::bundled()?;
    /// let noisy = Image::filled(3, 20, 28, 0.1)?.with_noise(0.2, 3)?;
    /// let score = model.score(&noisy, 0.2)?;
    /// let step = noisy.values().iter().zip(score.values()).map(|(y, s)| y + 0.04 * s);
    /// let left = step.map(|x| (x - 0.1).powi(2)).sum::<f32>() / (3.0 * 20.0 * 28.0);
    /// assert!(left.sqrt() < 0.1); // the step removes noise
    /// assert!(model.score(&Image::filled(1, 20, 28, 0.1)?, 0.2).is_err()); // grey
    /// # Ok::<(), PredictError>(())
    /// ```
    ///
    /// # Errors
    /// [`PredictError::Cannot`] if the model is not a joint model; [`PredictError::Level`] if it
    /// cannot be conditioned on the level; [`PredictError::Image`] if the image has other channels
    /// than the model.
    pub fn score(&self, image: &Image, sigma: f64) -> Result<Image, PredictError> {
        let joint = self.joint("compute a score")?;
        self.require_denoiser()?;
        self.level(sigma)?;
        super::check_finite(image)?;
        let (expected, found) = (self.geometry().channels, image.channels());
        if expected != found {
            let [expected, found] = [expected, found].map(|count| format!("{count} channels"));
            return Err(ImageError::Shape { expected, found }.into());
        }
        let score = self.run(|| infer::score(joint, image, sigma, &self.device));
        let finite = score.values().iter().all(|value| value.is_finite());
        if finite { Ok(score) } else { Err(PredictError::NotFinite { sigma }) }
    }
}
