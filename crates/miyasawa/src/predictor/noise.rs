use super::{PredictError, Predictor};
use crate::image::Image;
use crate::infer;
use crate::model::NOISE_LEVELS;
use std::sync::PoisonError;

/// The largest noise level for a model that was not trained on larger ones: noise as wide as the
/// range.
pub const MAX_NOISE: f64 = 2.0;

/// Levels outside the training that are remembered and warned of: a server meets any number.
const MAX_WARNED: usize = 64;

/// How much noise an image has: the standard deviation of white Gaussian noise, in units of the
/// [-1, 1] range (25 of 255 is 25 / 127.5 = 0.196).
///
/// ```
/// use miyasawa::prelude::*;
/// assert_eq!(Noise::from(0.2), Noise::Level(0.2));
/// assert_eq!(Noise::of_255(25.5), Noise::Level(0.2));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Noise {
    /// No noise. A classifier is conditioned on the smallest level of its training; a denoiser
    /// changes nothing.
    #[default]
    Clean,
    /// Noise of this level.
    Level(f64),
    /// The level is estimated from the image: see
    /// [`Image::noise_level`](crate::image::Image::noise_level).
    Estimate,
}

impl From<f64> for Noise {
    fn from(sigma: f64) -> Self {
        Self::Level(sigma)
    }
}

impl Noise {
    /// A level in units of the range from 0 to 255, as in most papers.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// assert_eq!(Noise::of_255(51.0), Noise::Level(0.4));
    /// ```
    pub fn of_255(sigma: f64) -> Self {
        Self::Level(sigma / 127.5)
    }
}

impl Predictor {
    /// The smallest and largest noise level of the training.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::bundled()?;
    /// let [smallest, largest] = model.noise_levels();
    /// assert!(smallest < largest);
    /// # Ok::<(), PredictError>(())
    /// ```
    pub fn noise_levels(&self) -> [f64; 2] {
        self.info.sigma
    }

    /// Returns the noise level if the model can be conditioned on it: positive, unless the network
    /// is blind, and at most [`MAX_NOISE`] or the largest level of the training. For a level
    /// outside the training range a warning is printed once.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::bundled()?;
    /// assert_eq!(model.level(0.2)?, 0.2);
    /// assert!(matches!(model.level(-1.0), Err(PredictError::Level { .. })));
    /// # Ok::<(), PredictError>(())
    /// ```
    ///
    /// # Errors
    /// [`PredictError::Level`] if it cannot.
    pub fn level(&self, sigma: f64) -> Result<f64, PredictError> {
        let zero = sigma == 0.0 && self.info.network.is_blind();
        let [min, max] = self.info.sigma;
        if !zero && !(*NOISE_LEVELS.start()..=max.max(MAX_NOISE)).contains(&sigma) {
            return Err(PredictError::Level { found: sigma, largest: max.max(MAX_NOISE) });
        }
        let outside = sigma < min * 0.999 || sigma > max * 1.001;
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if outside && warned.len() < MAX_WARNED && !warned.contains(&sigma) {
            warned.push(sigma);
            tracing::warn!(
                "noise level {sigma} is outside {min} to {max}, which the model was trained on"
            );
        }
        Ok(sigma)
    }

    /// The noise level estimated from an image, at most the largest of the training; `name` is for
    /// the warning if more was estimated.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::bundled()?;
    /// let image = Image::filled(3, 64, 64, 0.0)?.with_noise(0.1, 2)?;
    /// assert!((model.estimate_sigma(&image, "grey") - 0.1).abs() < 0.02);
    /// # Ok::<(), PredictError>(())
    /// ```
    pub fn estimate_sigma(&self, image: &Image, name: &str) -> f64 {
        let [min, max] = self.info.sigma;
        let found = image.noise_level();
        if found > max {
            tracing::warn!(
                "{name}: estimated noise level {found:.3}, above the {max} of the training"
            );
        }
        if found.is_finite() { found.min(max) } else { min }
    }

    /// The noise level that a denoiser removes.
    pub(super) fn denoising_level(&self, image: &Image, noise: Noise) -> Result<f64, PredictError> {
        match noise {
            Noise::Clean | Noise::Level(0.0) => Ok(0.0),
            // Below the smallest level of a network the correction is scaled down, to 0 at level 0.
            Noise::Level(sigma) if sigma > 0.0 && sigma < *NOISE_LEVELS.start() => Ok(sigma),
            Noise::Level(sigma) => self.level(sigma),
            Noise::Estimate => Ok(self.estimate_sigma(image, "image")),
        }
    }

    /// The level of an image, and the level that the model is conditioned on: they differ for a
    /// grey image and a colour model. `input` is the image at the model's size.
    pub(super) fn classification_level(
        &self,
        image: &Image,
        input: &Image,
        noise: Noise,
    ) -> Result<(f64, f64), PredictError> {
        let smallest = self.info.sigma[0];
        let sigma = match noise {
            Noise::Clean => return Ok((smallest, smallest)),
            Noise::Level(sigma) => self.level(sigma)?,
            // A classifier is conditioned on at least the smallest level of its training.
            Noise::Estimate => self.estimate_sigma(input, "image").max(smallest),
        };
        let channels = if image.is_grey() { 1 } else { image.channels() };
        Ok((sigma, infer::conditioning_sigma(&self.info, channels, sigma)))
    }
}
