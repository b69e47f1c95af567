use super::{PredictError, Predictor};
use crate::image::{
    Image,
    noise_level::{NoiseEstimate, NoiseKind},
};
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
    /// The level is estimated from the image: see [`Predictor::estimate_noise`].
    Estimate,
}

/// The level of a camera's noise that a clean photograph is estimated to have where it went through
/// JPEG: its texture and compression cannot be told from noise. Of the 23 photographs of
/// `test-23.tar`, half have less than 0.015.
const CLEAN_CAMERA: f64 = 0.02;

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

/// An estimate of an image whose kind of noise was not named: of a camera's noise, what exceeds
/// [`CLEAN_CAMERA`], so that a clean photograph comes back as it is. Nothing if none does.
fn without_clean(found: NoiseEstimate) -> Option<NoiseEstimate> {
    if found.kind != NoiseKind::Camera {
        return Some(found);
    }
    let excess = found.level.powi(2) - CLEAN_CAMERA.powi(2);
    (excess > 0.0).then(|| NoiseEstimate { level: excess.sqrt(), ..found })
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
        self.check_level(sigma)?;
        self.warn_outside(sigma, "");
        Ok(sigma)
    }

    /// The noise level that [`denoise`](Self::denoise) removes where this one is asked for: the
    /// same, but at most the largest of the training, of which a warning is printed once. Below
    /// the smallest of the training the correction is shortened instead, to nothing at 0. A blind
    /// network, which is not conditioned on the level, takes any.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::bundled()?;
    /// let [smallest, largest] = model.noise_levels();
    /// assert_eq!(model.denoised_level(1.5 * largest)?, largest);
    /// assert_eq!(model.denoised_level(0.5 * smallest)?, 0.5 * smallest);
    /// assert!(matches!(model.denoised_level(25.0), Err(PredictError::Level { .. })));
    /// # Ok::<(), PredictError>(())
    /// ```
    ///
    /// # Errors
    /// [`PredictError::Level`] if it is negative, not a number or above the larger of [`MAX_NOISE`]
    /// and the largest of the training.
    pub fn denoised_level(&self, sigma: f64) -> Result<f64, PredictError> {
        // Below the levels of any network too: the correction is scaled down, to 0 at level 0.
        if (0.0..*NOISE_LEVELS.start()).contains(&sigma) {
            return Ok(sigma);
        }
        self.check_level(sigma)?;
        Ok(self.at_most_largest(sigma))
    }

    /// The level, at most the largest of the training, unless the network is blind.
    pub(super) fn at_most_largest(&self, sigma: f64) -> f64 {
        let max = self.info.sigma[1];
        if self.info.network.is_blind() || max <= 0.0 {
            self.warn_outside(sigma, "");
            return sigma;
        }
        // Smaller ones are as estimated from clean images: nothing to warn of.
        if sigma > max {
            self.warn_outside(sigma, &format!(": noise of {max} is removed"));
        }
        sigma.min(max)
    }

    fn check_level(&self, sigma: f64) -> Result<(), PredictError> {
        let zero = sigma == 0.0 && self.info.network.is_blind();
        let largest = self.info.sigma[1].max(MAX_NOISE);
        if zero || (*NOISE_LEVELS.start()..=largest).contains(&sigma) {
            return Ok(());
        }
        Err(PredictError::Level { found: sigma, largest })
    }

    /// Warns of a level outside the training range, once, and says what is done.
    fn warn_outside(&self, sigma: f64, done: &str) {
        let [min, max] = self.info.sigma;
        let outside = sigma < min * 0.999 || sigma > max * 1.001;
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if outside && warned.len() < MAX_WARNED && !warned.contains(&sigma) {
            warned.push(sigma);
            tracing::warn!(
                "noise level {sigma} is outside {min} to {max}, which the model was trained \
                 on{done}"
            );
        }
    }

    /// The noise estimated from an image, at most of the largest level of the training; `name` is
    /// for the warning if more was estimated. `kind` says which noise it is; `None` asks the image
    /// ([`Image::noise`](crate::image::Image::noise)) if the model has learned the noise of
    /// cameras, and otherwise takes it to be white. If the kind was not named, only what exceeds
    /// 0.02 (2.5 of 255) of a camera's noise counts: a clean photograph that went through JPEG has
    /// about as much. What does not exceed it is taken to be white.
    ///
    /// ```
    /// use miyasawa::{image::noise_level::NoiseKind, prelude::*};
    /// let model = Predictor::bundled()?;
    /// let image = Image::filled(3, 64, 64, 0.0)?.with_noise(0.1, 2)?;
    /// assert_eq!(model.estimate_noise(&image, None, "grey").kind, NoiseKind::White);
    /// # Ok::<(), PredictError>(())
    /// ```
    pub fn estimate_noise(
        &self,
        image: &Image,
        kind: Option<NoiseKind>,
        name: &str,
    ) -> NoiseEstimate {
        let [min, max] = self.info.sigma;
        let found = match kind {
            Some(kind) => image.noise_of_kind(kind),
            // So little noise may as well be white, and what is estimated as white is removed.
            None if self.info.training.camera > 0.0 => without_clean(image.noise())
                .unwrap_or_else(|| image.noise_of_kind(NoiseKind::White)),
            None => image.noise_of_kind(NoiseKind::White),
        };
        if found.level > max {
            let level = found.level;
            tracing::warn!(
                "{name}: estimated noise level {level:.3}, above the {max} of the training"
            );
        }
        let level = if found.level.is_finite() { found.level.min(max) } else { min };
        NoiseEstimate { level, ..found }
    }

    /// The level of [`estimate_noise`](Self::estimate_noise).
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::bundled()?;
    /// let image = Image::filled(3, 64, 64, 0.0)?.with_noise(0.1, 2)?;
    /// assert!((model.estimate_sigma(&image, "grey") - 0.1).abs() < 0.02);
    /// # Ok::<(), PredictError>(())
    /// ```
    pub fn estimate_sigma(&self, image: &Image, name: &str) -> f64 {
        self.estimate_noise(image, None, name).level
    }

    /// The noise level that a denoiser removes.
    pub(super) fn denoising_level(&self, image: &Image, noise: Noise) -> Result<f64, PredictError> {
        match noise {
            Noise::Clean => Ok(0.0),
            Noise::Level(sigma) => self.denoised_level(sigma),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Only a camera's noise of a kind that was not named is reduced, and to no less than nothing.
    #[test]
    fn clean_photographs_have_no_noise_of_a_camera() {
        let of = |kind, level| {
            let found = without_clean(NoiseEstimate { kind, level, compressed: true });
            found.map_or(0.0, |found| found.level)
        };
        assert_eq!(of(NoiseKind::White, 0.01), 0.01);
        assert_eq!(of(NoiseKind::Camera, 0.015), 0.0);
        assert!((of(NoiseKind::Camera, 0.029) - 0.021).abs() < 1e-9);
        assert!(of(NoiseKind::Camera, 0.2) > 0.198);
    }
}
