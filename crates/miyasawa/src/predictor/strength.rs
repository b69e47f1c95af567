//! How much of the noise is taken away: all of it, less to keep a photograph's texture, or more.

use super::{Denoised, Noise, PredictError, Predictor};
use crate::image::{Geometry, Image, ImageError};
use crate::progress::{Monitor, Piece};
use crate::range::luma;

/// The largest [`Strength`]: beyond it, edges go too.
pub const MAX_STRENGTH: f64 = 1.5;

/// How strongly the luma is denoised, and the colour around it. With a strength `s` a part of the
/// noisy image `y` becomes
///
/// * that of `y + s (D(y) - y)` up to 1: a share of the correction, 0 changes nothing;
/// * that of `D(y)` for `s` times the noise level above 1, up to [`MAX_STRENGTH`].
///
/// What a denoiser takes for noise is mostly noise; a part of the luma's looks like film grain and
/// holds faint texture, while colour noise is never wanted: so [`Strength::new`] keeps the colour's
/// at 1 where the luma's is below.
///
/// ```
/// use miyasawa::prelude::*;
/// let model = Predictor::bundled()?;
/// let noisy = Image::filled(3, 32, 32, 0.1)?.with_noise(0.2, 1)?;
/// let removed = |strength| -> Result<f64, PredictError> {
///     let found = model.denoise_by(noisy.clone(), 0.2.into(), None, strength, &mut ())?;
///     let found = found.expect("nobody stops it").into_image();
///     Ok(miyasawa::metrics::mse(found.values(), noisy.values()))
/// };
/// assert!(removed(Strength::new(0.5))? < removed(Strength::default())?);
/// assert_eq!(Strength::new(0.5), Strength { luma: 0.5, chroma: 1.0 });
/// # Ok::<(), PredictError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Strength {
    /// Of the luma (ITU-R BT.601), or of a grey image.
    pub luma: f64,
    /// Of the differences of red, green and blue from the luma.
    pub chroma: f64,
}

impl Default for Strength {
    fn default() -> Self {
        Self::new(1.0)
    }
}

impl Strength {
    /// This strength for the luma; for the colour the same, but at least 1, because colour noise is
    /// never wanted.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// assert_eq!(Strength::new(1.2), Strength { luma: 1.2, chroma: 1.2 });
    /// assert_eq!(Strength::new(0.0).chroma, 1.0);
    /// ```
    pub fn new(strength: f64) -> Self {
        // `max` would hide a NaN.
        let chroma = if strength < 1.0 { 1.0 } else { strength };
        Self { luma: strength, chroma }
    }

    /// Checks that both are numbers from 0 to `largest`.
    fn check(self, largest: f64) -> Result<(), PredictError> {
        let wrong = [self.luma, self.chroma].into_iter().find(|s| !(0.0..=largest).contains(s));
        wrong.map_or(Ok(()), |found| Err(PredictError::Strength { found, largest }))
    }

    /// The shares of the correction to apply.
    fn shares(self) -> [f64; 2] {
        [self.luma, self.chroma].map(|strength| strength.min(1.0))
    }

    /// The levels to denoise the two parts at, for noise of the level `sigma`. A part of which
    /// nothing is taken away follows the other.
    fn levels(self, sigma: f64) -> [f64; 2] {
        let [luma, chroma] = [self.luma, self.chroma].map(|strength| sigma * strength.max(1.0));
        match (self.luma > 0.0, self.chroma > 0.0) {
            (true, false) => [luma, luma],
            (false, true) => [chroma, chroma],
            _ => [luma, chroma],
        }
    }
}

impl Predictor {
    /// As [`denoise_owned`](Self::denoise_owned), less or more strongly. Luma and colour of
    /// different strengths above 1 take two forward passes. Levels above the largest of the
    /// training are that; a blind network, which is not conditioned on the level, takes any
    /// strength above 1 as 1.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::bundled()?;
    /// let noisy = Image::filled(3, 32, 32, 0.1)?.with_noise(0.2, 1)?;
    /// let more = model.denoise_by(noisy.clone(), 0.2.into(), None, Strength::new(1.5), &mut ())?;
    /// let more = more.expect("nobody stops it");
    /// assert_eq!(more.sigma, 0.2); // that of the image
    /// assert_eq!(more.image(), model.denoise(&noisy, 0.3.into())?.image());
    /// # Ok::<(), PredictError>(())
    /// ```
    ///
    /// # Errors
    /// As [`denoise_with`](Self::denoise_with); [`PredictError::Strength`] if a strength is not a
    /// number from 0 to [`MAX_STRENGTH`].
    pub fn denoise_by(
        &self,
        image: Image,
        noise: Noise,
        class: Option<usize>,
        strength: Strength,
        monitor: &mut (dyn Monitor + Send),
    ) -> Result<Option<Denoised>, PredictError> {
        self.require_denoiser()?;
        strength.check(MAX_STRENGTH)?;
        super::check_finite(&image)?;
        let sigma = self.denoising_level(&image, noise)?;
        // A grey image has no colour to denoise by itself.
        let grey = image.channels() == 1 || image.is_grey();
        let strength = if grey { Strength { chroma: strength.luma, ..strength } } else { strength };
        let levels = strength.levels(sigma).map(|level| match level > sigma {
            true => self.at_most_largest(level).max(sigma),
            false => sigma,
        });
        let once = levels[0] == levels[1];
        if once && strength.shares() == [1.0, 1.0] {
            let found = self.denoise_owned(image, Noise::Level(levels[0]), class, monitor)?;
            return Ok(found.map(|found| Denoised { sigma, ..found }));
        }
        let passes = if once { 1 } else { 2 };
        let mut denoised = |pass: usize| {
            let range = [pass as f64 / passes as f64, 1.0 / passes as f64];
            let piece = &mut Piece { monitor: &mut *monitor, task: None, range };
            self.denoise_with(&image, Noise::Level(levels[pass]), class, piece)
        };
        let Some(mut found) = denoised(0)? else { return Ok(None) };
        if !once {
            let Some(colour) = denoised(1)? else { return Ok(None) };
            found.image = with_colour_of(&found.image, colour.image())?;
        }
        Ok(Some(Denoised { sigma, image: blended(found.into_image(), &image, strength)? }))
    }
}

impl Denoised {
    /// The denoised image with a part of the noise left in: `D + (1 - strength) (y - D)`, for luma
    /// and colour each with its own strength, at most 1; above it, see [`Predictor::denoise_by`].
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::bundled()?;
    /// let noisy = Image::filled(3, 32, 32, 0.1)?.with_noise(0.2, 1)?;
    /// let denoised = model.denoise(&noisy, 0.2.into())?;
    /// let half = denoised.blended(&noisy, Strength::new(0.5))?;
    /// let removed = |image: &Image| miyasawa::metrics::mse(image.values(), noisy.values());
    /// assert!(removed(&half) < removed(denoised.image()));
    /// # Ok::<(), PredictError>(())
    /// ```
    ///
    /// # Errors
    /// [`PredictError::Image`] if `noisy` has another shape than the denoised image,
    /// [`PredictError::Strength`] if a strength is not a number from 0 to 1.
    pub fn blended(&self, noisy: &Image, strength: Strength) -> Result<Image, PredictError> {
        strength.check(1.0)?;
        blended(self.image.clone(), noisy, strength)
    }
}

/// The denoised image with the shares of the noise that the strengths leave.
fn blended(denoised: Image, noisy: &Image, strength: Strength) -> Result<Image, PredictError> {
    let [left, left_colour] = strength.shares().map(|share| (1.0 - share) as f32);
    add_parts(denoised, noisy, [left, left_colour])
}

/// The luma of one image with the colour of another.
fn with_colour_of(luma: &Image, colour: &Image) -> Result<Image, PredictError> {
    add_parts(luma.clone(), colour, [0.0, 1.0])
}

/// Adds shares of the luma and of the colour of the difference `other - image` to the image.
fn add_parts(
    image: Image,
    other: &Image,
    [of_luma, of_colour]: [f32; 2],
) -> Result<Image, PredictError> {
    let (shape, depth) = (image.shape(), image.depth());
    if other.shape() != shape {
        let [expected, found] = [shape, other.shape()].map(|s| Geometry::from(s).to_string());
        return Err(ImageError::Shape { expected, found }.into());
    }
    let mut values = image.into_values();
    let (channels, height, width) = shape;
    let pixels = height * width;
    for p in 0..pixels {
        let at = |k: usize| k * pixels + p;
        if channels != 3 {
            for k in 0..channels {
                values[at(k)] += of_luma * (other.values()[at(k)] - values[at(k)]);
            }
            continue;
        }
        let difference = [0, 1, 2].map(|k| other.values()[at(k)] - values[at(k)]);
        let grey = luma(difference);
        for (k, difference) in difference.into_iter().enumerate() {
            values[at(k)] += of_luma * grey + of_colour * (difference - grey);
        }
    }
    Ok(Image::new(shape, values)?.with_depth(depth))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images() -> (Denoised, Image) {
        let image = Image::new((3, 1, 2), vec![0.1, 0.2, -0.1, 0.0, 0.3, 0.4]).unwrap();
        let noisy = image.clone().with_noise(0.3, 1).unwrap();
        (Denoised { sigma: 0.3, image }, noisy)
    }

    /// Luma, and the colour around it, of every pixel.
    fn parts(image: &Image) -> (Vec<f32>, Vec<f32>) {
        let pixels = image.height() * image.width();
        let of = |p: usize| [0, 1, 2].map(|k| image.values()[k * pixels + p]);
        let grey = (0..pixels).map(|p| luma(of(p))).collect();
        let colour = (0..pixels).flat_map(|p| of(p).map(|value| value - luma(of(p)))).collect();
        (grey, colour)
    }

    fn close(a: &[f32], b: &[f32]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5)
    }

    #[test]
    fn the_ends_are_the_denoised_and_the_noisy_image() {
        let (denoised, noisy) = images();
        assert_eq!(&denoised.blended(&noisy, Strength::default()).unwrap(), denoised.image());
        let none = denoised.blended(&noisy, Strength { luma: 0.0, chroma: 0.0 }).unwrap();
        assert!(close(none.values(), noisy.values()));
    }

    #[test]
    fn luma_comes_back_without_colour() {
        let (denoised, noisy) = images();
        let found = parts(&denoised.blended(&noisy, Strength::new(0.25)).unwrap());
        let [clean, noisy] = [denoised.image(), &noisy].map(parts);
        let expected: Vec<f32> = clean
            .0
            .iter()
            .zip(&noisy.0)
            .map(|(clean, noisy)| clean + 0.75 * (noisy - clean))
            .collect();
        assert!(close(&found.0, &expected) && close(&found.1, &clean.1), "{found:?}");
    }

    #[test]
    fn parts_are_denoised_at_levels_of_their_own() {
        let model = Predictor::bundled().unwrap();
        let values = (0..3 * 24 * 20).map(|i| ((i * 37) % 101) as f32 / 101.0 - 0.5).collect();
        let noisy = Image::new((3, 24, 20), values).unwrap().with_noise(0.2, 4).unwrap();
        let by = |strength| {
            let mut shares = Vec::new();
            let mut monitor = |p: &crate::progress::Progress<'_>| shares.push(p.share);
            let found = model.denoise_by(noisy.clone(), 0.2.into(), None, strength, &mut monitor);
            let found = found.unwrap().unwrap();
            assert!(shares.is_sorted() && found.sigma == 0.2, "{shares:?}");
            found.into_image()
        };
        let at = |sigma: f64| parts(model.denoise(&noisy, sigma.into()).unwrap().image());
        let noisy_parts = parts(&noisy);
        // Above 1 a part is that of a higher level.
        let found = parts(&by(Strength { luma: 1.5, chroma: 1.0 }));
        assert!(close(&found.0, &at(0.3).0) && close(&found.1, &at(0.2).1));
        let found = parts(&by(Strength { luma: 0.0, chroma: 1.25 }));
        assert!(close(&found.0, &noisy_parts.0) && close(&found.1, &at(0.25).1));
        // At 1 and below it is a share of the correction, and both meet at 1.
        let denoised = model.denoise(&noisy, 0.2.into()).unwrap();
        for strength in [Strength { luma: 0.4, chroma: 0.7 }, Strength::default()] {
            let expected = denoised.blended(&noisy, strength).unwrap();
            assert!(close(by(strength).values(), expected.values()));
        }
        let none = by(Strength { luma: 0.0, chroma: 0.0 });
        assert!(close(none.values(), noisy.values()));
    }

    #[test]
    fn a_grey_image_has_luma_only_and_no_level_exceeds_the_training() {
        let model = Predictor::bundled().unwrap();
        let by = |noisy: &Image, sigma: f64, strength| {
            let found = model.denoise_by(noisy.clone(), sigma.into(), None, strength, &mut ());
            found.unwrap().unwrap().into_image()
        };
        let grey = Image::filled(1, 16, 16, 0.2).unwrap().with_noise(0.2, 3).unwrap();
        for noisy in [grey.clone(), grey.to_channels(3).unwrap()] {
            let strength = Strength { luma: 0.5, chroma: 1.5 };
            let denoised = model.denoise(&noisy, 0.2.into()).unwrap();
            let expected = denoised.blended(&noisy, Strength { luma: 0.5, chroma: 0.5 }).unwrap();
            assert_eq!(by(&noisy, 0.2, strength), expected);
        }
        let largest = model.noise_levels()[1];
        let noisy = Image::filled(3, 16, 16, 0.2).unwrap().with_noise(largest, 3).unwrap();
        let expected = model.denoise(&noisy, largest.into()).unwrap().into_image();
        assert_eq!(by(&noisy, largest, Strength::new(1.5)), expected);
        assert_eq!(by(&noisy, 1.1 * largest, Strength::new(1.5)), expected);
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
        let model = Predictor::bundled().unwrap();
        for found in [-0.1, 1.6, f64::NAN] {
            let strength = Strength { luma: 1.0, chroma: found };
            let error = model.denoise_by(noisy.clone(), 0.2.into(), None, strength, &mut ());
            let text = error.unwrap_err().to_string();
            assert!(text.contains("expected a number from 0 to 1.5"), "{text}");
            assert!(Strength::new(found).check(MAX_STRENGTH).is_err());
        }
    }
}
