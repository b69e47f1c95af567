//! Measures of classification and denoising, defined once for training, `eval` and `compare`.
//!
//! Sums are kept in float64 and taken in the order of the examples, so a result does not depend on
//! threads or on how the examples were cut into batches.
//!
//! ```
//! use miyasawa::metrics::{ClassificationMeter, argmax, mse, psnr, wilson};
//!
//! assert_eq!(psnr(mse(&[0.0, 0.5], &[0.2, 0.3])).round(), 20.0); // 10 log10(4 / 0.04)
//! assert_eq!(argmax(&[0.1, 0.7, f32::NAN, 0.2]), 1);
//!
//! let mut meter = ClassificationMeter::new();
//! meter.add(&[0.9f32.ln(), 0.1f32.ln(), 0.4f32.ln(), 0.6f32.ln()], &[0, 0]);
//! assert_eq!(meter.result().accuracy, 0.5);
//!
//! let [low, high] = wilson(0.9, 100); // the 95% interval of 90 in 100
//! assert!(low > 0.82 && high < 0.95);
//! ```

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
