//! Mean squared error and peak signal-to-noise ratio, and the meter of both and of SSIM.

use rayon::prelude::*;

use super::ssim::ssim;

/// The range of the values of an image, 1 - (-1).
pub const PEAK_TO_PEAK: f64 = 2.0;

/// Computes the mean of the squared differences, in squared units of the [-1, 1] range.
///
/// # Panics
///
/// If the lengths differ.
pub fn mse(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len(), "images of different sizes");
    a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum::<f64>()
        / a.len() as f64
}

/// Computes the peak signal-to-noise ratio in decibels, 10 log10(2^2 / mse) with values in [-1, 1];
/// infinite for equal images.
pub fn psnr(mse: f64) -> f64 {
    10.0 * (PEAK_TO_PEAK * PEAK_TO_PEAK / mse).log10()
}

/// The measures of denoised images against the clean ones.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct DenoisingMetrics {
    /// Number of images.
    pub count: u64,
    /// Mean squared error over all values.
    pub mse: f64,
    /// Mean over images of each one's [`psnr`], in decibels. The mean of the images' PSNR and not
    /// the PSNR of the mean error, because the literature on denoising reports it (Zhang et al.
    /// 2017, "Beyond a Gaussian denoiser", and before it); by Jensen's inequality it is never below
    /// the latter, which is `psnr(mse)`. One image without any error makes it infinite.
    pub psnr: f64,
    /// Standard error of `psnr`: the images' sample standard deviation over the square root of
    /// their number. None of one image, where one is without any error, and in documents of earlier
    /// versions.
    #[serde(default)]
    pub psnr_error: Option<f64>,
    /// Mean over images of [`ssim`].
    pub ssim: f64,
    /// Standard error of `ssim`, as that of `psnr`.
    #[serde(default)]
    pub ssim_error: Option<f64>,
}

/// Collects [`DenoisingMetrics`] batch by batch.
///
/// Images are compared as they are: a denoiser's output is not clipped to [-1, 1], since D(y)
/// estimates E[x|y] and values outside the range are part of its error.
#[derive(Debug, Clone, Default)]
pub struct DenoisingMeter {
    count: u64,
    mse: f64,
    psnr: Mean,
    ssim: Mean,
}

/// A mean, and the sum of the squared deviations from it (Welford 1962): the sum of the squares
/// would lose the digits of a small spread.
#[derive(Debug, Clone, Copy, Default)]
struct Mean {
    count: u64,
    sum: f64,
    mean: f64,
    squares: f64,
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
        let step = value - self.mean;
        self.mean += step / self.count as f64;
        self.squares += step * (value - self.mean);
    }

    fn error(&self) -> Option<f64> {
        let n = self.count as f64;
        let error = (self.squares / (n - 1.0) / n).sqrt();
        (self.count > 1 && error.is_finite()).then_some(error)
    }
}

impl DenoisingMeter {
    /// An empty meter.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds images `estimates` with their clean originals, both (N, C, H, W) with `shape` = (C, H,
    /// W).
    ///
    /// # Panics
    ///
    /// If a side is 0 or the lengths differ or are not multiples of an image.
    pub fn add(&mut self, estimates: &[f32], clean: &[f32], shape: (usize, usize, usize)) {
        let len = shape.0 * shape.1 * shape.2;
        assert!(len > 0, "images of {}x{}x{}", shape.0, shape.1, shape.2);
        assert!(
            estimates.len() == clean.len() && estimates.len().is_multiple_of(len),
            "complete images in pairs"
        );
        let measures: Vec<(f64, f64)> = estimates
            .par_chunks_exact(len)
            .zip(clean.par_chunks_exact(len))
            .map(|(estimate, clean)| (mse(estimate, clean), ssim(estimate, clean, shape)))
            .collect();
        for (mse, ssim) in measures {
            self.add_measured(mse, ssim);
        }
    }

    /// Adds an image whose mean squared error and SSIM are known.
    pub(crate) fn add_measured(&mut self, mse: f64, ssim: f64) {
        self.count += 1;
        self.mse += mse;
        self.psnr.add(psnr(mse));
        self.ssim.add(ssim);
    }

    /// The measures so far; NaN if nothing was added.
    pub fn result(&self) -> DenoisingMetrics {
        let count = self.count as f64;
        DenoisingMetrics {
            count: self.count,
            mse: self.mse / count,
            psnr: self.psnr.sum / count,
            psnr_error: self.psnr.error(),
            ssim: self.ssim.sum / count,
            ssim_error: self.ssim.error(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn psnr_is_that_of_the_range_two() {
        assert_eq!(psnr(4.0), 0.0);
        assert!((psnr(0.04) - 20.0).abs() < 1e-12);
        assert_eq!(psnr(0.0), f64::INFINITY);
        assert!((mse(&[1.0, -1.0], &[0.0, 1.0]) - 2.5).abs() < 1e-15);
    }

    #[test]
    fn images_count_alike_whatever_the_batches() {
        let clean = vec![0.0f32; 4 * 3];
        let estimates: Vec<f32> = (0..12).map(|i| 0.1 * (1 + i / 4) as f32).collect();
        let mut meter = DenoisingMeter::new();
        meter.add(&estimates, &clean, (1, 2, 2));
        let result = meter.result();
        let expected = (psnr(0.01) + psnr(0.04) + psnr(0.09)) / 3.0;
        assert!((result.psnr - expected).abs() < 1e-5, "{}", result.psnr);
        assert!((result.mse - 0.14 / 3.0).abs() < 1e-7 && result.psnr > psnr(result.mse));
        let deviation =
            [0.01, 0.04, 0.09].map(|m| (psnr(m) - expected).powi(2)).iter().sum::<f64>() / 2.0;
        let error = result.psnr_error.unwrap();
        assert!((error - (deviation / 3.0).sqrt()).abs() < 1e-5, "{error}");
        assert!(result.ssim_error.is_some_and(|e| e > 0.0));
        let mut parts = DenoisingMeter::new();
        parts.add(&estimates[..4], &clean[..4], (1, 2, 2));
        parts.add(&estimates[4..], &clean[4..], (1, 2, 2));
        assert_eq!(parts.result(), result);
        assert!(DenoisingMeter::new().result().psnr.is_nan());
        let mut exact = DenoisingMeter::new();
        exact.add(&clean, &clean, (1, 2, 2));
        assert_eq!((exact.result().psnr, exact.result().psnr_error), (f64::INFINITY, None));
    }
}
