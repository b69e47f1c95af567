//! A simulated camera: what shot and read noise become on their way into a file.
//!
//! A sensor counts electrons, so its noise grows with the light; one colour is measured per pixel,
//! and the two others are made of the neighbours, so that noise is correlated; white balance and
//! colour matrix mix it between channels; the display's curve amplifies it in the shadows; JPEG
//! removes a part of it. Of all that, "noise of level S" knows nothing. The steps:
//!
//! 1. display values to linear light (sRGB, IEC 61966-2-1),
//! 2. the inverse of the colour matrix and of the white balance,
//! 3. the Bayer mosaic,
//! 4. noise of variance `shot*x + read`, clipping, rounding to `bits` bits,
//! 5. the two missing colours ([`Demosaic`]),
//! 6. white balance, colour matrix, clipping, the display's curve,
//! 7. rounding to 8 bits, and JPEG ([`Jpeg`]), if asked for.
//!
//! ```
//! use miyasawa::image::{Image, camera::CameraNoise};
//!
//! let grey = Image::filled(3, 64, 64, 0.0)?;
//! let [low, high] = [100.0, 6400.0].map(|iso| CameraNoise::iso(iso).expose(&grey, 1));
//! let (low, high) = (low?.noisy.noise_level(), high?.noisy.noise_level());
//! assert!(high > 2.0 * low);
//! # Ok::<(), miyasawa::image::ImageError>(())
//! ```

pub(in crate::image) mod colour;
pub(in crate::image) mod jpeg;
mod mosaic;
mod sensor;
#[cfg(test)]
mod tests;

pub use jpeg::Jpeg;
pub use mosaic::Demosaic;

use super::{Image, ImageError};
use crate::random::{example_rng, stream};
use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};

/// `shot` of the presets at ISO 100: the inverse of the electrons that saturate a pixel.
const SHOT_AT_100: f64 = 5e-5;
/// The logarithms of read and shot noise lie on a line (Brooks et al. 2019, "Unprocessing images
/// for learned raw denoising", fitted to the cameras of the Darmstadt noise data set).
const READ_SLOPE: f64 = 2.18;
const READ_OFFSET: f64 = 1.20;
/// The spread of the logarithm of read noise about that line.
const READ_SPREAD: f64 = 0.26;
/// The shot noise of [`CameraNoise::random`]; Brooks et al. draw from 1e-4 to 1.2e-2.
const SHOT: [f64; 2] = [2.5e-5, 1.2e-2];

/// The variance of read noise that goes with shot noise.
pub(super) fn read_noise(shot: f64) -> f64 {
    (READ_SLOPE * shot.ln() + READ_OFFSET).exp()
}

/// A camera with its noise; see the [module](self).
///
/// ```
/// use miyasawa::image::camera::{CameraNoise, Jpeg};
/// let camera = CameraNoise { jpeg: Some(Jpeg::new(90)), ..CameraNoise::iso(1600.0) };
/// assert!(camera.shot > CameraNoise::iso(100.0).shot);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CameraNoise {
    /// The factor `a` in the variance `a*x + b` of a raw value `x` in [0, 1].
    pub shot: f32,
    /// The variance `b` of a raw value without light.
    pub read: f32,
    /// Bits of a raw value, 1 to 16.
    pub bits: u32,
    /// The factors of red, green and blue for white balance, positive.
    pub white_balance: [f32; 3],
    /// What the colour matrix adds of the difference between a channel and the mean of the three,
    /// at least 0; it stands for the matrix that takes overlapping colour filters apart.
    pub colour_matrix: f32,
    /// Where the mosaic's red pixels are, 0 to 3: twice the row plus the column, of 0 or 1.
    pub phase: usize,
    /// How missing colours are made.
    pub demosaic: Demosaic,
    /// Whether the image is rounded to 8 bits.
    pub eight_bits: bool,
    /// The JPEG compression, if any.
    pub jpeg: Option<Jpeg>,
}

/// An image as the camera shows it, and the truth of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Exposure {
    /// With noise.
    pub noisy: Image,
    /// Through the same steps without noise and rounding: see [`CameraNoise::expose`].
    pub truth: Image,
}

impl CameraNoise {
    /// A camera at an ISO number, with 14 bits, white balance for daylight, gradient-corrected
    /// demosaicking, stored with 8 bits, without JPEG.
    ///
    /// `shot` is 5e-5 at ISO 100 and grows with the ISO number: a pixel saturates at 20,000
    /// electrons, as in cameras of a middle size, and 25,600 reaches the largest noise among the
    /// cameras of the Darmstadt noise data set. `read` follows from `shot` by the line that Brooks
    /// et al. (2019) fitted to these cameras: `ln(read) = 2.18*ln(shot) + 1.20`. Standard deviation
    /// of a grey value of 128 in display values of 255, before demosaicking (green):
    ///
    /// | ISO | 100 | 400 | 1,600 | 6,400 | 25,600 |
    /// | --- | --- | --- | --- | --- | --- |
    /// | shot | 5.0e-5 | 2.0e-4 | 8.0e-4 | 3.2e-3 | 1.3e-2 |
    /// | read (standard deviation) | 3.7e-5 | 1.7e-4 | 7.7e-4 | 3.5e-3 | 1.6e-2 |
    /// | of 255 at 128 | 0.9 | 1.8 | 3.6 | 7.3 | 15 |
    ///
    /// ```
    /// use miyasawa::image::camera::CameraNoise;
    /// assert!((CameraNoise::iso(1600.0).shot - 8e-4).abs() < 1e-8);
    /// ```
    pub fn iso(iso: f64) -> Self {
        let shot = SHOT_AT_100 * iso / 100.0;
        Self {
            shot: shot as f32,
            read: read_noise(shot) as f32,
            bits: 14,
            white_balance: [2.0, 1.0, 1.6],
            colour_matrix: 0.5,
            phase: 0,
            demosaic: Demosaic::GradientCorrected,
            eight_bits: true,
            jpeg: None,
        }
    }

    /// A random camera, for training: the logarithm of `shot` uniform from 2.5e-5 to 1.2e-2 and of
    /// `read` normal about its line with a deviation of 0.26 (Brooks et al. 2019), 12 or 14 bits,
    /// white balance of red from 1.4 to 2.6 and of blue from 1.2 to 2.2, a colour matrix from 0 to
    /// 0.6, both ways of demosaicking, any phase; three quarters are JPEG of quality 70 to 98, half
    /// of these with 4:2:0, with a random grid; all are rounded to 8 bits.
    ///
    /// ```
    /// use miyasawa::image::camera::CameraNoise;
    /// use miyasawa::random::{example_rng, stream};
    /// let camera = CameraNoise::random(&mut example_rng(1, 0, 0, stream::CAMERA));
    /// assert!((2.5e-5..=1.2e-2).contains(&camera.shot));
    /// ```
    pub fn random(rng: &mut impl Rng) -> Self {
        let [low, high] = SHOT.map(f64::ln);
        let log_shot = rng.random_range(low..high);
        let spread: f64 = StandardNormal.sample(rng);
        let log_read = READ_SLOPE * log_shot + READ_OFFSET + READ_SPREAD * spread;
        let bits = if rng.random() { 12 } else { 14 };
        let white_balance = [rng.random_range(1.4..2.6), 1.0, rng.random_range(1.2..2.2)];
        let colour_matrix = rng.random_range(0.0..0.6);
        let phase = rng.random_range(0..4);
        let demosaic = if rng.random() { Demosaic::Bilinear } else { Demosaic::GradientCorrected };
        // All are drawn, so that what follows does not depend on whether there is JPEG.
        let jpeg = Jpeg {
            quality: rng.random_range(70..=98),
            subsampled: rng.random(),
            offset: (rng.random_range(0..8), rng.random_range(0..8)),
        };
        let jpeg = (rng.random_range(0..4) > 0).then_some(jpeg);
        Self {
            shot: log_shot.exp() as f32,
            read: log_read.exp() as f32,
            bits,
            white_balance,
            colour_matrix,
            phase,
            demosaic,
            eight_bits: true,
            jpeg,
        }
    }

    /// The image as this camera shows it, and its truth; the noise depends on the seed and the size
    /// alone. A grey image is shot in colour and made grey again.
    ///
    /// The truth went through mosaic, demosaicking and clipping as the noisy image did, and where a
    /// JPEG stores colour at half the resolution through that, but without noise and rounding. It
    /// is the mean that a denoiser aims at: measured against the image itself, errors of
    /// demosaicking and lost resolution, which cannot be told from the image, would count as noise;
    /// at low ISO numbers they exceed it.
    ///
    /// ```
    /// use miyasawa::image::{Image, camera::CameraNoise};
    /// let image = Image::filled(3, 32, 32, 0.2)?;
    /// let exposure = CameraNoise::iso(3200.0).expose(&image, 5)?;
    /// assert!((exposure.truth.values()[100] - 0.2).abs() < 1e-4);
    /// assert_eq!(exposure, CameraNoise::iso(3200.0).expose(&image, 5)?);
    /// # Ok::<(), miyasawa::image::ImageError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ImageError::Shape`] for an image of fewer than 2 by 2 pixels; [`ImageError::Noise`] for
    /// shot or read noise, a white balance or a colour matrix that no camera has.
    pub fn expose(&self, image: &Image, seed: u64) -> Result<Exposure, ImageError> {
        let colour = image.to_channels(3)?;
        let mut noisy = colour.values;
        let mut rng = example_rng(seed, 0, 0, stream::CAMERA);
        let truth = self.expose_values(&mut noisy, (image.height, image.width), &mut rng)?;
        let [noisy, truth] = [noisy, truth].map(|values| {
            let shape = (3, image.height, image.width);
            Image::new(shape, values)?.with_depth(image.depth).to_channels(image.channels)
        });
        Ok(Exposure { noisy: noisy?, truth: truth? })
    }

    /// Replaces values in [-1, 1] (planes of red, green and blue, `height*width` each) by those
    /// that the camera shows, and returns the truth: as [`CameraNoise::expose`], for training.
    ///
    /// ```
    /// use miyasawa::image::camera::CameraNoise;
    /// use miyasawa::random::{example_rng, stream};
    /// let mut rng = example_rng(1, 0, 0, stream::CAMERA);
    /// let mut patch = vec![0.1f32; 3 * 64 * 64];
    /// let truth = CameraNoise::random(&mut rng).expose_values(&mut patch, (64, 64), &mut rng)?;
    /// assert_eq!(truth.len(), patch.len());
    /// # Ok::<(), miyasawa::image::ImageError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`CameraNoise::expose`], and [`ImageError::Shape`] for another number of values.
    pub fn expose_values(
        &self,
        values: &mut [f32],
        (height, width): (usize, usize),
        rng: &mut impl Rng,
    ) -> Result<Vec<f32>, ImageError> {
        self.validate()?;
        let shape = (height, width);
        let wanted = height.checked_mul(width).and_then(|size| size.checked_mul(3));
        if height < 2 || width < 2 || wanted != Some(values.len()) {
            return Err(ImageError::Shape {
                expected: "3 channels of at least 2x2".to_owned(),
                found: format!("{height}x{width} with {} values", values.len()),
            });
        }
        values.iter_mut().for_each(|value| *value = 0.5 + 0.5 * *value);
        colour::to_linear(values);
        colour::mix(values, self.colour_matrix);
        colour::balance(values, self.white_balance.map(|gain| 1.0 / gain));
        let mut raw = mosaic::mosaic(values, shape, self.phase);
        let mut truth = self.develop(&raw, shape);
        sensor::expose(&mut raw, self.shot, self.read, self.bits, rng);
        let mut noisy = self.develop(&raw, shape);
        if let Some(jpeg) = self.jpeg {
            // What a file is made from has 8 bits.
            round(&mut noisy);
            jpeg.round_trip(&mut noisy, shape);
            jpeg.subsample(&mut truth, shape);
        }
        if self.eight_bits {
            round(&mut noisy);
        }
        values.copy_from_slice(&noisy);
        for value in values.iter_mut().chain(&mut truth) {
            *value = 2.0 * value.clamp(0.0, 1.0) - 1.0;
        }
        Ok(truth)
    }

    /// From raw values to display values.
    fn develop(&self, raw: &[f32], shape: (usize, usize)) -> Vec<f32> {
        let mut planes = mosaic::demosaic(raw, shape, self.phase, self.demosaic);
        colour::balance(&mut planes, self.white_balance);
        colour::separate(&mut planes, self.colour_matrix);
        colour::to_display(&mut planes);
        planes
    }

    fn validate(&self) -> Result<(), ImageError> {
        let [red, green, blue] = self.white_balance;
        for (value, smallest) in [
            (self.shot, 0.0),
            (self.read, 0.0),
            (self.colour_matrix, 0.0),
            (red, f32::MIN_POSITIVE),
            (green, f32::MIN_POSITIVE),
            (blue, f32::MIN_POSITIVE),
        ] {
            if !(value >= smallest && value.is_finite()) {
                return Err(ImageError::Noise { found: f64::from(value) });
            }
        }
        Ok(())
    }
}

/// Rounds values in [0, 1] to 8 bits.
fn round(values: &mut [f32]) {
    values.iter_mut().for_each(|value| *value = (*value * 255.0).round() / 255.0);
}
