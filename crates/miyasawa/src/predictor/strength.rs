//! How much of the noise is taken away: all of it, or less, to keep a photograph's texture.

use super::{Denoised, PredictError};
use crate::image::{Geometry, Image, ImageError};
use crate::range::luma;

/// The shares of the correction that are applied, to the luma and to the colour around it. 1 takes
/// all of it away, 0 nothing. What a denoiser takes for noise is mostly noise; a part of the luma's
/// looks like film grain and holds faint texture, while colour noise is never wanted.
///
/// ```
/// use miyasawa::prelude::*;
/// let model = Predictor::bundled()?;
/// let noisy = Image::filled(3, 32, 32, 0.1)?.with_noise(0.2, 1)?;
/// let denoised = model.denoise(&noisy, 0.2.into())?;
/// let half = denoised.blended(&noisy, Strength { luma: 0.5, ..Strength::default() })?;
/// let removed = |image: &Image| miyasawa::metrics::mse(image.values(), noisy.values());
/// assert!(removed(&half) < removed(denoised.image()));
/// # Ok::<(), PredictError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Strength {
    /// Of the luma (ITU-R BT.601), or of a grey image.
    pub luma: f64,
    /// Of the differences of red, green and blue from the luma.
    pub chroma: f64,
}

impl Default for Strength {
    fn default() -> Self {
        Self { luma: 1.0, chroma: 1.0 }
    }
}

impl Denoised {
    /// The denoised image with a part of the noise left in: `D + (1 - strength) (y - D)`, for luma
    /// and colour each with its own strength.
    ///
    /// # Errors
    /// [`PredictError::Image`] if `noisy` has another shape than the denoised image, or a strength
    /// is not a number from 0 to 1.
    pub fn blended(&self, noisy: &Image, strength: Strength) -> Result<Image, PredictError> {
        let Strength { luma: of_luma, chroma } = strength;
        let (denoised, shape) = (self.image(), self.image().shape());
        if noisy.shape() != shape {
            let [expected, found] = [shape, noisy.shape()].map(|s| Geometry::from(s).to_string());
            return Err(ImageError::Shape { expected, found }.into());
        }
        if let Some(found) = [of_luma, chroma].into_iter().find(|s| !(0.0..=1.0).contains(s)) {
            return Err(PredictError::Strength { found });
        }
        let [left, left_colour] = [of_luma, chroma].map(|strength| (1.0 - strength) as f32);
        let mut values = denoised.values().to_vec();
        let (channels, height, width) = shape;
        let pixels = height * width;
        for p in 0..pixels {
            let at = |k: usize| k * pixels + p;
            let removed = |k: usize| noisy.values()[at(k)] - denoised.values()[at(k)];
            if channels != 3 {
                (0..channels).for_each(|k| values[at(k)] += left * removed(k));
                continue;
            }
            let removed = [removed(0), removed(1), removed(2)];
            let grey = luma(removed);
            for (k, removed) in removed.into_iter().enumerate() {
                values[at(k)] += left * grey + left_colour * (removed - grey);
            }
        }
        Ok(Image::new(shape, values)?.with_depth(denoised.depth()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images() -> (Denoised, Image) {
        let image = Image::new((3, 1, 2), vec![0.1, 0.2, -0.1, 0.0, 0.3, 0.4]).unwrap();
        let noisy = image.clone().with_noise(0.3, 1).unwrap();
        (Denoised { sigma: 0.3, image }, noisy)
    }

    #[test]
    fn the_ends_are_the_denoised_and_the_noisy_image() {
        let (denoised, noisy) = images();
        assert_eq!(&denoised.blended(&noisy, Strength::default()).unwrap(), denoised.image());
        let none = denoised.blended(&noisy, Strength { luma: 0.0, chroma: 0.0 }).unwrap();
        assert!(none.values().iter().zip(noisy.values()).all(|(a, b)| (a - b).abs() < 1e-6));
    }

    #[test]
    fn luma_comes_back_without_colour() {
        let (denoised, noisy) = images();
        let found = denoised.blended(&noisy, Strength { luma: 0.25, chroma: 1.0 }).unwrap();
        for p in 0..2 {
            let of = |image: &Image| [0, 1, 2].map(|k| image.values()[2 * k + p]);
            let [found, clean, noisy] = [of(&found), of(denoised.image()), of(&noisy)];
            let expected = luma(clean) + 0.75 * (luma(noisy) - luma(clean));
            assert!((luma(found) - expected).abs() < 1e-6);
            for k in 0..3 {
                let colour = |image: [f32; 3]| image[k] - luma(image);
                assert!((colour(found) - colour(clean)).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn wrong_calls_are_errors() {
        let (denoised, noisy) = images();
        for found in [-0.1, 1.2, f64::NAN] {
            let error = denoised.blended(&noisy, Strength { luma: found, chroma: 1.0 });
            assert!(matches!(error, Err(PredictError::Strength { .. })), "{error:?}");
        }
        let other = Image::filled(1, 1, 2, 0.0).unwrap();
        assert!(denoised.blended(&other, Strength::default()).is_err());
    }
}
