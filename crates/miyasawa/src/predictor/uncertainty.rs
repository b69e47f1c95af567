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
/// The same in plain parts, where the denoiser averages many pixels and the probes say little.
const WIDE: usize = 10;
/// How far, in standard errors of the probes, a value must be from the wide mean to be kept.
const ERRORS: f32 = 2.0;

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
    /// differences of denoised images, averaged over 7x7 pixels, and over 21x21 as far as the
    /// probes do not tell the two means apart (plain parts). The result is in units of the [-1, 1]
    /// range and has the image's size and channels. `None` as soon as the monitor stops it.
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
        if sigma == 0.0 {
            return Ok(Some(Image::new(shape, vec![0.0; count])?));
        }
        let (_, height, width) = shape;
        let mut found = Probes::new(count, [height, width]);
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
            let factor = sigma as f32 * sigma as f32 / (2.0 * step);
            let one = signs.iter().zip(pairs).map(|(v, (up, down))| factor * v * (up - down));
            found.add(&one.collect::<Vec<f32>>());
        }
        monitor.progress(&Progress::new("denoising", 1.0));
        Ok(Some(Image::new(shape, found.deviations())?))
    }
}

/// Estimates of the variance by one probe after the other.
struct Probes {
    /// Height and width.
    size: [usize; 2],
    count: usize,
    /// Sums over the probes of the means over 7x7 pixels, and of their squares.
    sums: Vec<f32>,
    squares: Vec<f32>,
}

impl Probes {
    fn new(values: usize, size: [usize; 2]) -> Self {
        Self { size, count: 0, sums: vec![0.0; values], squares: vec![0.0; values] }
    }

    fn add(&mut self, variances: &[f32]) {
        let [height, width] = self.size;
        self.count += 1;
        let planes = variances.chunks(height * width);
        let means = planes.flat_map(|plane| local_means(plane, self.size, RADIUS));
        for ((sum, square), mean) in self.sums.iter_mut().zip(&mut self.squares).zip(means) {
            *sum += mean;
            *square += mean * mean;
        }
    }

    /// The standard deviations: the near mean goes to the wide one by the share of their distance
    /// that the standard error explains (James & Stein 1961, of one value).
    fn deviations(mut self) -> Vec<f32> {
        let [height, width] = self.size;
        let n = self.count as f32;
        for (sum, square) in self.sums.iter_mut().zip(&mut self.squares) {
            *sum /= n;
            // The square of the standard error; one probe has none to give.
            *square = (*square / n - *sum * *sum).max(0.0) / (n - 1.0).max(1.0);
        }
        let planes = self.sums.chunks(height * width).zip(self.squares.chunks(height * width));
        let planes = planes.flat_map(|(near, errors)| {
            let wide = local_means(near, self.size, WIDE);
            let errors = local_means(errors, self.size, WIDE);
            near.iter()
                .zip(wide)
                .zip(errors)
                .map(|((near, wide), error)| {
                    let distance = near - wide;
                    let noise = ERRORS * ERRORS * error;
                    let kept =
                        (1.0 - noise / (distance * distance).max(f32::MIN_POSITIVE)).max(0.0);
                    (wide + kept * distance).max(0.0).sqrt()
                })
                .collect::<Vec<f32>>()
        });
        planes.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Checkpoint;
    use crate::model::{GradResNetConfig, params};
    use crate::{bundled::BundledModel, model::Architecture};
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
        let mut info = BundledModel::Cifar10.checkpoint().unwrap().0.info;
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

    /// Two plain halves of the deviations 1 and 2, in probes with errors of 5 times the variance:
    /// each half comes out plain, and the edge stays where it is.
    #[test]
    fn plain_parts_are_plain_and_edges_stay() {
        let size = [64, 64];
        let mut probes = Probes::new(64 * 64, size);
        for probe in 0..8 {
            let mut rng = example_rng(3, 0, probe, stream::JACOBIAN);
            let noise = |x: usize| if x < 32 { 1.0 } else { 4.0 };
            let one = (0..64 * 64).map(|i| {
                let sign = if rng.random::<bool>() { 5.0 } else { -5.0 };
                noise(i % 64) * (1.0 + sign)
            });
            probes.add(&one.collect::<Vec<f32>>());
        }
        let found = probes.deviations();
        let (mut left, mut right) = (Vec::new(), Vec::new());
        for (i, value) in found.iter().enumerate() {
            match i % 64 {
                0..20 => left.push(*value),
                44.. => right.push(*value),
                28 => assert!((0.6..1.5).contains(value), "{value}"),
                35 => assert!((1.5..2.5).contains(value), "{value}"),
                _ => {}
            }
        }
        for (values, expected) in [(left, 1.0), (right, 2.0)] {
            let n = values.len() as f32;
            let mean = values.iter().sum::<f32>() / n;
            let spread = (values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / n).sqrt();
            // The mean over 7x7 pixels alone has 0.13 of the deviation.
            assert!((mean / expected - 1.0).abs() < 0.05, "{mean} of {expected}");
            assert!(spread < 0.07 * expected, "{spread} of {expected}");
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
