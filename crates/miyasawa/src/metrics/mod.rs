//! Measures of classification and denoising, defined once for training, `eval` and `compare`.
//!
//! Sums are kept in float64 and taken in the order of the examples, so a result does not depend on
//! threads or on how the examples were cut into batches.

mod calibration;
mod classification;
mod denoising;
mod detection;
mod interval;
mod ssim;

pub use calibration::{fit_temperature, scaled_log_probs};
pub use classification::{
    ClassificationMeter, ClassificationMetrics, ECE_BINS, ReliabilityBin, argmax, log_sum_exp, top,
};
pub use denoising::{DenoisingMeter, DenoisingMetrics, PEAK_TO_PEAK, mse, psnr};
pub use detection::{Detection, detection};
pub use interval::{Best, Estimate, Z95, auroc_error, auroc_interval, distinct_best, wilson};
pub use ssim::ssim;
