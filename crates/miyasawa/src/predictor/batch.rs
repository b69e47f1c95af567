//! Batches: several images in one forward pass.

use super::{Classification, Denoised, Noise, PredictError, Predictor};
use crate::image::{Geometry, Image};
use crate::infer;

/// Images in one forward pass: larger batches need more memory and are not faster.
const BATCH: usize = 64;

impl Predictor {
    /// As [`classify`](Self::classify), for several images at once: the same results except for
    /// rounding, several times as fast on small images. Without images the result is empty.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::bundled()?;
    /// let images = vec![Image::filled(3, 32, 32, 0.1)?, Image::filled(1, 20, 50, -0.3)?];
    /// assert_eq!(model.classify_batch(&images, Noise::Clean)?.len(), 2);
    /// # Ok::<(), PredictError>(())
    /// ```
    ///
    /// # Errors
    /// As [`classify`](Self::classify), for the first image with an error.
    pub fn classify_batch(
        &self,
        images: &[Image],
        noise: Noise,
    ) -> Result<Vec<Classification>, PredictError> {
        self.require_classifier()?;
        let mut found = Vec::with_capacity(images.len());
        for images in images.chunks(BATCH) {
            let inputs: Vec<Image> =
                images.iter().map(|image| self.input(image)).collect::<Result<_, _>>()?;
            let levels = images.iter().zip(&inputs);
            let levels: Vec<(f64, f64)> = levels
                .map(|(image, input)| self.classification_level(image, input, noise))
                .collect::<Result<_, _>>()?;
            let conditioned: Vec<f64> = levels.iter().map(|level| level.1).collect();
            let probs = self
                .run(|| infer::classify_batch(&self.views(), &inputs, &conditioned, &self.device));
            for (i, (sigma, _)) in levels.iter().enumerate() {
                let probs = probs.get(i).map_or(&[][..], Vec::as_slice);
                found.push(Classification::new(*sigma, probs, self.classes())?);
            }
        }
        Ok(found)
    }

    /// As [`denoise`](Self::denoise), for several images at once, of any sizes: those of one size
    /// share a forward pass. Without images the result is empty.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::bundled()?;
    /// let images = vec![Image::filled(3, 32, 32, 0.1)?.with_noise(0.1, 0)?; 3];
    /// assert_eq!(model.denoise_batch(&images, Noise::Level(0.1))?.len(), 3);
    /// # Ok::<(), PredictError>(())
    /// ```
    ///
    /// # Errors
    /// As [`denoise`](Self::denoise), for the first image with an error.
    pub fn denoise_batch(
        &self,
        images: &[Image],
        noise: Noise,
    ) -> Result<Vec<Denoised>, PredictError> {
        self.require_denoiser()?;
        let mut found = Vec::with_capacity(images.len());
        for images in images.chunks(BATCH) {
            images.iter().try_for_each(super::check_finite)?;
            let levels: Vec<f64> = images
                .iter()
                .map(|image| self.denoising_level(image, noise))
                .collect::<Result<_, _>>()?;
            let denoised = self.run(|| {
                infer::denoise_batch(&self.views(), &self.info, images, &levels, &self.device)
            })?;
            for ((image, sigma), denoised) in images.iter().zip(levels).zip(denoised) {
                if denoised.values().iter().any(|value| !value.is_finite()) {
                    return Err(PredictError::NotFinite { sigma });
                }
                found.push(Denoised { sigma, image: denoised.with_depth(image.depth()) });
            }
        }
        Ok(found)
    }

    /// As [`classify_batch`](Self::classify_batch), for values in [-1, 1] of the shape (images,
    /// channels, height, width).
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::bundled()?;
    /// let values = vec![0.1; 2 * 3 * 32 * 32];
    /// assert_eq!(model.classify_values(&values, [2, 3, 32, 32], Noise::Clean)?.len(), 2);
    /// # Ok::<(), PredictError>(())
    /// ```
    ///
    /// # Errors
    /// [`PredictError::Batch`] if the number of values does not match `shape`; otherwise as
    /// [`classify`](Self::classify).
    pub fn classify_values(
        &self,
        values: &[f32],
        shape: [usize; 4],
        noise: Noise,
    ) -> Result<Vec<Classification>, PredictError> {
        self.classify_batch(&images(values, shape)?, noise)
    }

    /// As [`denoise_batch`](Self::denoise_batch), for values in [-1, 1] of the shape (images,
    /// channels, height, width): returns the denoised values in the same shape.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::bundled()?;
    /// let values = vec![0.1; 2 * 3 * 32 * 32];
    /// let clean = model.denoise_values(&values, [2, 3, 32, 32], Noise::Level(0.1))?;
    /// assert_eq!(clean.len(), values.len());
    /// # Ok::<(), PredictError>(())
    /// ```
    ///
    /// # Errors
    /// [`PredictError::Batch`] if the number of values does not match `shape`; otherwise as
    /// [`denoise`](Self::denoise).
    pub fn denoise_values(
        &self,
        values: &[f32],
        shape: [usize; 4],
        noise: Noise,
    ) -> Result<Vec<f32>, PredictError> {
        let found = self.denoise_batch(&images(values, shape)?, noise)?;
        Ok(found.into_iter().flat_map(|found| found.into_image().into_values()).collect())
    }

    /// The shape of a batch of `images` images of the model's size, for
    /// [`classify_values`](Self::classify_values).
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::bundled()?;
    /// assert_eq!(model.batch_shape(5), [5, 3, 32, 32]);
    /// # Ok::<(), PredictError>(())
    /// ```
    pub fn batch_shape(&self, images: usize) -> [usize; 4] {
        let Geometry { channels, height, width } = self.geometry();
        [images, channels, height, width]
    }
}

/// A batch as images.
fn images(values: &[f32], shape: [usize; 4]) -> Result<Vec<Image>, PredictError> {
    let [count, channels, height, width] = shape;
    let len = channels.checked_mul(height).and_then(|n| n.checked_mul(width));
    let expected = len.and_then(|len| len.checked_mul(count));
    if expected != Some(values.len()) {
        let expected = expected.unwrap_or(usize::MAX);
        return Err(PredictError::Batch { shape, expected, found: values.len() });
    }
    if count > 0 && len == Some(0) {
        // Images of no size are none.
        Image::new((channels, height, width), Vec::new())?;
    }
    // A batch of no images has no values; `chunks` takes no length of 0.
    let chunks = values.chunks(len.unwrap_or(0).max(1));
    Ok(chunks
        .map(|values| Image::new((channels, height, width), values.to_vec()))
        .collect::<Result<_, _>>()?)
}
