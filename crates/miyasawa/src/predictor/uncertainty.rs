//! How far a denoised image may be from the truth, pixel by pixel.

use super::{Noise, PredictError, Predictor};
use crate::image::{Image, local_means::local_means};
use crate::progress::{Monitor, Piece, Progress};
use crate::random::{example_rng, stream};
use rand::RngExt;

/// The length of the differences that stand in for derivatives, in units of the noise level: small
/// against the noise, large against rounding.
const STEP: f64 = 0.05;
/// Pixels to each side that a value is averaged over.
const RADIUS: usize = 3;

/// The settings of [`Predictor::uncertainty`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UncertaintyOptions {
    /// Random sign vectors; each costs two denoised images.
    pub probes: usize,
    /// Their seed.
    pub seed: u64,
}

impl Default for UncertaintyOptions {
    fn default() -> Self {
        Self { probes: 8, seed: 0 }
    }
}

impl Predictor {
    /// The standard deviation of the clean image given the noisy one, for every value: large where
    /// the noise has hidden what was there (edges, texture), small where the image is plain.
    ///
    /// For the best denoiser the covariance of the clean image is `sigma^2 dD/dy` (the formula of
    /// Tweedie to second order: Efron 2011, "Tweedie's formula and selection bias"). Its diagonal
    /// is the mean of `v * (dD/dy) v` over random signs `v` (Hutchinson 1990), here with
    /// differences of denoised images, averaged over 7x7 pixels. The result is in units of the
    /// [-1, 1] range and has the image's size and channels. `None` as soon as the monitor stops it.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::bundled()?;
    /// let image = Image::filled(3, 32, 32, 0.1)?.with_noise(0.2, 1)?;
    /// let options = UncertaintyOptions { probes: 4, ..Default::default() };
    /// let deviation = model.uncertainty(&image, 0.2.into(), options, &mut ())?;
    /// let deviation = deviation.expect("nobody stops it");
    /// // Of a plain image nearly all of the noise is removed.
    /// assert!(deviation.values().iter().all(|d| (0.0..0.2).contains(d)));
    /// # Ok::<(), PredictError>(())
    /// ```
    ///
    /// # Errors
    /// As [`denoise`](Self::denoise); [`PredictError::Draws`] without probes or with too many.
    pub fn uncertainty(
        &self,
        image: &Image,
        noise: Noise,
        options: UncertaintyOptions,
        monitor: &mut (dyn Monitor + Send),
    ) -> Result<Option<Image>, PredictError> {
        self.require_denoiser()?;
        if !(1..=super::MAX_DRAWS).contains(&options.probes) {
            return Err(PredictError::Draws { found: options.probes });
        }
        super::check_finite(image)?;
        let sigma = self.denoising_level(image, noise)?;
        let (shape, count) = (image.shape(), image.values().len());
        let mut variance = vec![0.0f32; count];
        if sigma == 0.0 {
            return Ok(Some(Image::new(shape, variance)?));
        }
        let step = (STEP * sigma) as f32;
        for probe in 0..options.probes {
            let mut rng = example_rng(options.seed, 0, probe as u64, stream::JACOBIAN);
            let signs: Vec<f32> =
                (0..count).map(|_| if rng.random::<bool>() { 1.0 } else { -1.0 }).collect();
            let mut moved = |side: usize| {
                let by = if side == 0 { step } else { -step };
                let values = image.values().iter().zip(&signs).map(|(y, v)| y + by * v).collect();
                let range =
                    [(2 * probe + side) as f64, 1.0].map(|n| n / (2 * options.probes) as f64);
                let piece = &mut Piece { monitor: &mut *monitor, task: None, range };
                let moved = Image::new(shape, values)?;
                self.denoise_with(&moved, Noise::Level(sigma), None, piece)
            };
            let Some(up) = moved(0)? else { return Ok(None) };
            let Some(down) = moved(1)? else { return Ok(None) };
            let pairs = up.image().values().iter().zip(down.image().values());
            let factor = sigma as f32 * sigma as f32 / (2.0 * step * options.probes as f32);
            for ((sum, v), (up, down)) in variance.iter_mut().zip(&signs).zip(pairs) {
                *sum += factor * v * (up - down);
            }
        }
        monitor.progress(&Progress::new("denoising", 1.0));
        let (_, height, width) = shape;
        let smooth = variance.chunks(height * width).flat_map(|plane| {
            let mean = local_means(plane, [height, width], RADIUS);
            mean.into_iter().map(|v| v.max(0.0).sqrt())
        });
        Ok(Some(Image::new(shape, smooth.collect())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Checkpoint;
    use crate::model::{GradResNetConfig, params};
    use crate::{bundled, model::Architecture};
    use burn::tensor::{Device, TensorData};

    /// Without an energy `D(y) = y s^2/(s^2 + sigma^2)`: the posterior of normal images.
    #[test]
    fn the_deviation_of_normal_images_is_known() {
        let config = GradResNetConfig { width: 8, blocks: vec![1], ..GradResNetConfig::new(1, 1) };
        let mut params = params::collect(&config.init(&Device::flex(), 0));
        for (name, data) in params.iter_mut().filter(|(name, _)| name.contains("head.weight")) {
            let count = data.num_elements();
            *data = TensorData::new(vec![0.0f32; count], data.shape().clone());
            assert!(count > 0, "{name}");
        }
        let mut info = bundled::checkpoint().unwrap().0.info;
        info.network = Architecture::GradResNet(config);
        (info.data.channels, info.data.std) = (1, 0.5);
        info.data.classes.truncate(1);
        info.training.loss_weights = [0.0, 1.0];
        let checkpoint = Checkpoint { info, params };
        let bytes = checkpoint.to_bytes().unwrap();
        let model = Predictor::from_bytes(&bytes).unwrap();
        let image = Image::filled(1, 20, 24, 0.3).unwrap().with_noise(0.2, 5).unwrap();
        let options = UncertaintyOptions { probes: 2, seed: 1 };
        let found = model.uncertainty(&image, 0.2.into(), options, &mut ()).unwrap().unwrap();
        let expected = 0.2 * 0.5 / (0.25f32 + 0.04).sqrt();
        for value in found.values() {
            assert!((value - expected).abs() < 1e-3, "{value} {expected}");
        }
    }

    #[test]
    fn wrong_calls_are_errors_and_no_noise_is_certain() {
        let model = Predictor::bundled().unwrap();
        let image = Image::filled(3, 8, 9, 0.2).unwrap();
        let none = UncertaintyOptions { probes: 0, seed: 0 };
        assert!(model.uncertainty(&image, 0.1.into(), none, &mut ()).is_err());
        let options = UncertaintyOptions::default();
        let clean = model.uncertainty(&image, Noise::Clean, options, &mut ()).unwrap().unwrap();
        assert!(clean.values().iter().all(|v| *v == 0.0) && clean.shape() == image.shape());
        let stopped = &mut std::sync::atomic::AtomicBool::new(true);
        assert_eq!(model.uncertainty(&image, 0.1.into(), options, stopped).unwrap(), None);
    }
}
