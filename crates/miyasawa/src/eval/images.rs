//! Evaluation of a denoiser on images as they come: any size, grey or colour, noise as files hold
//! it, the level known or estimated.

use super::{EvalRow, LevelMeters, TASK};
use crate::image::{Image, ImageError};
use crate::metrics::{mse, ssim};
use crate::predictor::{Noise, PredictError, Predictor};
use crate::progress::{Monitor, Progress};
use crate::random::evaluation_noise;
use crate::range::{denormalise, normalise};
use crate::ranks::{current, divided};
use burn::tensor::Device;
use std::cell::RefCell;

/// The settings of [`Predictor::evaluate_images`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImageEvalOptions {
    /// Noise levels, in units of the [-1, 1] range.
    pub sigmas: Vec<f64>,
    /// Number of images, evenly spaced; all if `None`.
    pub limit: Option<usize>,
    /// Seed of the noise.
    pub seed: u64,
    /// Whether noisy images are rounded and clipped as files of 8 bits hold them.
    pub stored: bool,
    /// Whether the level is estimated from each noisy image instead of known.
    pub estimated: bool,
}

impl Predictor {
    /// Measures [`denoise`](Self::denoise) on images of any size, each in its own channels: a row
    /// with PSNR and SSIM for every noise level. `None` as soon as the monitor stops it.
    ///
    /// ```
    /// use miyasawa::{eval::ImageEvalOptions, prelude::*};
    /// let model = Predictor::bundled()?;
    /// let images = [Image::filled(3, 24, 40, 0.1)?, Image::filled(1, 32, 20, -0.3)?];
    /// let options = ImageEvalOptions { sigmas: vec![0.2], stored: true, ..Default::default() };
    /// let rows = model.evaluate_images(&images, &options, &mut ())?.expect("nobody stops it");
    /// assert!(rows[0].psnr > rows[0].psnr_noisy);
    /// # Ok::<(), PredictError>(())
    /// ```
    ///
    /// # Errors
    /// As [`denoise`](Self::denoise).
    pub fn evaluate_images(
        &self,
        images: &[Image],
        options: &ImageEvalOptions,
        monitor: &mut dyn Monitor,
    ) -> Result<Option<Vec<EvalRow>>, PredictError> {
        let settings = (&options.sigmas[..], options.limit, options.seed);
        measure(images, settings, monitor, |noisy, sigma| {
            let noisy = if options.stored { stored(&noisy)? } else { noisy };
            let noise = if options.estimated { Noise::Estimate } else { Noise::Level(sigma) };
            let denoised = self.denoise(&noisy, noise)?.into_image();
            Ok((noisy, Some(denoised)))
        })
    }
}

/// Measures a denoiser on images, evenly spaced, at noise levels, with a seed: a row for every
/// level. `denoise` gets a noisy image and its level, and returns the noisy image that is measured
/// beside the denoised one.
pub(super) fn measure<E>(
    images: &[Image],
    (sigmas, limit, seed): (&[f64], Option<usize>, u64),
    monitor: &mut dyn Monitor,
    denoise: impl FnMut(Image, f64) -> Result<(Image, Option<Image>), E>,
) -> Result<Option<Vec<EvalRow>>, E> {
    let count = limit.unwrap_or(usize::MAX).min(images.len());
    let mut levels: Vec<LevelMeters> = sigmas.iter().map(|_| LevelMeters::default()).collect();
    let (denoise, failed) = (RefCell::new(denoise), RefCell::new(None));
    // What was measured of an image, and nothing where that failed.
    let measured = |&k: &usize, level: usize| -> Vec<f64> {
        // Evenly spaced, as `Dataset::subset` chooses.
        let clean = &images[k * images.len() / count];
        let noise = evaluation_noise(seed, level as u64, k, 1, clean.values().len());
        let sigma = sigmas[level];
        let noisy = clean.values().iter().zip(noise).map(|(x, n)| x + sigma as f32 * n).collect();
        let noisy = Image::new(clean.shape(), noisy).expect("the shape of the clean image");
        let of = |image: &Image| {
            let (values, clean_values) = (image.values(), clean.values());
            [mse(values, clean_values), ssim(values, clean_values, clean.shape())]
        };
        match (*denoise.borrow_mut())(noisy, sigma) {
            Ok((noisy, denoised)) => {
                of(&noisy).into_iter().chain(denoised.iter().flat_map(of)).collect()
            }
            Err(error) => {
                failed.borrow_mut().get_or_insert(error);
                Vec::new()
            }
        }
    };
    // As many images at once as there are ranks.
    let size = current().map_or(1, |ranks| ranks.size());
    for first in (0..count).step_by(size) {
        let parts: Vec<usize> = (first..count.min(first + size)).collect();
        for (level, meters) in levels.iter_mut().enumerate() {
            let work = |parts: &[usize]| parts.iter().map(|k| measured(k, level)).collect();
            let found = divided(&parts, &Device::flex(), work);
            for (k, found) in parts.iter().zip(found) {
                // What failed on another rank fails here too, and says why.
                let found = if found.is_empty() { measured(k, level) } else { found };
                if let Some(error) = failed.take() {
                    return Err(error);
                }
                let mut found = found.as_chunks::<2>().0.iter();
                if let Some([mse, ssim]) = found.next() {
                    meters.noisy.add_measured(*mse, *ssim);
                }
                if let Some([mse, ssim]) = found.next() {
                    meters.marginal.get_or_insert_default().add_measured(*mse, *ssim);
                }
            }
            let done = (first * sigmas.len() + parts.len() * (level + 1)) as f64;
            monitor.progress(&Progress::new(TASK, done / (count * sigmas.len()) as f64));
            if monitor.stop() {
                return Ok(None);
            }
        }
    }
    Ok(Some(sigmas.iter().zip(levels).map(|(sigma, meters)| meters.row(*sigma)).collect()))
}

fn stored(image: &Image) -> Result<Image, ImageError> {
    let values = image.values().iter().map(|v| normalise(denormalise(*v))).collect();
    Image::new(image.shape(), values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::monitor;

    #[test]
    fn stored_noise_is_that_of_a_file_and_its_level_may_be_estimated() {
        let model = Predictor::bundled().unwrap();
        // Near white: half of the noise is clipped.
        let images = [Image::filled(3, 40, 32, 0.95).unwrap()];
        let row = |stored, estimated| {
            let sigmas = vec![0.2];
            let options = ImageEvalOptions { sigmas, stored, estimated, ..Default::default() };
            model.evaluate_images(&images, &options, &mut ()).unwrap().unwrap().remove(0)
        };
        let (float, file) = (row(false, false), row(true, false));
        assert!((float.psnr_noisy.unwrap() - 20.0).abs() < 0.2, "{float:?}");
        assert!(file.psnr_noisy.unwrap() > 21.5, "{file:?}");
        let estimated = row(false, true);
        assert_ne!(estimated.psnr, float.psnr);
        assert!((estimated.psnr.unwrap() - float.psnr.unwrap()).abs() < 2.0, "{estimated:?}");
        let options = ImageEvalOptions { sigmas: vec![0.2], ..Default::default() };
        let stopped = &mut monitor(|_| {}, || true);
        assert_eq!(model.evaluate_images(&images, &options, stopped).unwrap(), None);
    }
}
