//! What denoising does to a part of an image, seen before the image is denoised.

use super::{Noise, PredictError, Predictor, Strength};
use crate::image::Image;
#[cfg(feature = "report")]
use crate::image::{ImageError, grid};

/// The largest height and width of the part.
const SIDE: usize = 256;
/// Pixels around the part that are denoised with it, so that its border is that of the image: a
/// multiple of the blocks that parts begin at, as networks halve the size.
const MARGIN: usize = 64;
/// White pixels between the images of the figure.
#[cfg(feature = "report")]
const GAP: usize = 4;

/// A part of an image before and after denoising; see [`Predictor::preview`].
#[derive(Clone, Debug, PartialEq)]
pub struct Preview {
    /// The noise level that was removed: given, or estimated from the entire image.
    pub sigma: f64,
    /// The row and the column of the image at which the part begins.
    pub at: (usize, usize),
    /// The part.
    pub before: Image,
    /// The part, denoised.
    pub after: Image,
    /// What was removed, `before - after`, times `factor`; 0 is grey.
    pub difference: Image,
    /// See [`Image::amplified_evenly`].
    pub factor: u32,
}

impl Predictor {
    /// Denoises a part of the image, of at most 256 by 256 pixels, as it would be denoised with the
    /// rest: that in which plain areas and structure are seen best. The part depends on nothing but
    /// the image and the noise level.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::bundled()?;
    /// let noisy = Image::filled(3, 300, 60, 0.1)?.with_noise(0.2, 1)?;
    /// let preview = model.preview(&noisy, 0.2.into(), None, Strength::default())?;
    /// assert_eq!(preview.before.shape(), (3, 256, 60));
    /// let (top, left) = preview.at;
    /// assert_eq!(preview.before, noisy.crop((top, left), (256, 60))?);
    /// # Ok::<(), PredictError>(())
    /// ```
    ///
    /// # Errors
    /// As [`denoise_by`](Self::denoise_by).
    pub fn preview(
        &self,
        image: &Image,
        noise: Noise,
        class: Option<usize>,
        strength: Strength,
    ) -> Result<Preview, PredictError> {
        self.require_denoiser()?;
        super::check_finite(image)?;
        let sigma = self.denoising_level(image, noise)?;
        let (at, size) = image.telling_part(SIDE, sigma);
        // Where the part with its margin begins, and its length.
        let around = |at: usize, length: usize, all: usize| {
            let from = at.saturating_sub(MARGIN);
            (from, (at + length + MARGIN).min(all) - from)
        };
        let (top, height) = around(at.0, size.0, image.height());
        let (left, width) = around(at.1, size.1, image.width());
        let noisy = image.crop((top, left), (height, width))?;
        let found = self.denoise_by(noisy, Noise::Level(sigma), class, strength, &mut ())?;
        let found = found.expect("`()` does not stop it");
        let after = found.image().crop((at.0 - top, at.1 - left), size)?;
        let before = image.crop(at, size)?;
        let removed = before.values().iter().zip(after.values()).map(|(y, d)| y - d).collect();
        let (difference, factor) = Image::new(before.shape(), removed)?.amplified_evenly();
        Ok(Preview { sigma, at, before, after, difference, factor })
    }
}

#[cfg(feature = "report")]
impl Preview {
    /// Before, after and difference side by side.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::bundled()?;
    /// let noisy = Image::filled(3, 60, 80, 0.1)?.with_noise(0.2, 1)?;
    /// let preview = model.preview(&noisy, Noise::Estimate, None, Strength::new(0.7))?;
    /// assert_eq!(preview.figure()?.shape(), (3, 60, 3 * 80 + 2 * 4));
    /// # Ok::<(), PredictError>(())
    /// ```
    ///
    /// # Errors
    /// None with parts of the sizes that [`Predictor::preview`] makes.
    pub fn figure(&self) -> Result<Image, ImageError> {
        let images = [&self.before, &self.after, &self.difference];
        grid(&[images.into_iter().cloned().collect()], GAP, 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plain above, a pattern below.
    fn noisy(height: usize, width: usize) -> Image {
        let value = |i: usize| {
            let (y, x) = (i / width % height, i % width);
            if y > height / 2 { [-0.3, 0.4][(y / 6 + x / 5) % 2] } else { 0.1 }
        };
        let values = (0..3 * height * width).map(value).collect();
        Image::new((3, height, width), values).unwrap().with_noise(0.15, 8).unwrap()
    }

    /// The part is denoised as in the image, of which it is a part, up to what is far away.
    #[test]
    fn the_part_is_that_of_the_denoised_image() {
        let model = Predictor::bundled().unwrap();
        let image = noisy(368, 400);
        for strength in [Strength::default(), Strength { luma: 0.5, chroma: 1.4 }] {
            let preview = model.preview(&image, 0.15.into(), None, strength).unwrap();
            let all = model.denoise_by(image.clone(), 0.15.into(), None, strength, &mut ());
            let all = all.unwrap().unwrap().into_image();
            let expected = all.crop(preview.at, (256, 256)).unwrap();
            let error = crate::metrics::mse(preview.after.values(), expected.values());
            let removed = crate::metrics::mse(preview.before.values(), expected.values());
            assert!(error < 0.01 * removed, "{strength:?}: {error} of {removed}");
            assert!((preview.at.0..preview.at.0 + 256).contains(&184), "{:?}", preview.at);
        }
    }

    #[test]
    fn the_difference_is_what_was_removed() {
        let model = Predictor::bundled().unwrap();
        let preview =
            model.preview(&noisy(50, 40), Noise::Estimate, None, Strength::default()).unwrap();
        assert!((preview.sigma - 0.15).abs() < 0.05 && preview.at == (0, 0), "{}", preview.sigma);
        let factor = preview.factor as f32;
        let pairs = preview.before.values().iter().zip(preview.after.values());
        for ((before, after), difference) in pairs.zip(preview.difference.values()) {
            assert!((factor * (before - after) - difference).abs() < 1e-4);
        }
        let clean = model.preview(&noisy(50, 40), Noise::Clean, None, Strength::default()).unwrap();
        assert_eq!((clean.factor, &clean.before), (1, &clean.after));
    }

    #[test]
    fn wrong_calls_are_errors() {
        let model = Predictor::bundled().unwrap();
        let image = noisy(20, 20);
        assert!(model.preview(&image, 30.0.into(), None, Strength::default()).is_err());
        assert!(model.preview(&image, 0.1.into(), Some(10), Strength::default()).is_err());
        assert!(model.preview(&image, 0.1.into(), None, Strength::new(2.0)).is_err());
    }
}
