//! The statistical errors of an evaluation on a finite number of images.

use super::EvalRow;
use crate::metrics::Estimate;
use serde::{Deserialize, Serialize};

/// The statistical errors of an [`EvalRow`]; `None` in documents of earlier versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RowErrors {
    /// 95% interval of the accuracy ([`wilson`](crate::metrics::wilson)).
    #[serde(default)]
    pub accuracy_interval: Option<[f64; 2]>,
    /// Standard error of `ece`.
    #[serde(default)]
    pub ece_error: Option<f64>,
    /// Standard error of `psnr`.
    #[serde(default)]
    pub psnr_error: Option<f64>,
    /// Standard error of `ssim`.
    #[serde(default)]
    pub ssim_error: Option<f64>,
    /// Standard error of `psnr_given_label`.
    #[serde(default)]
    pub psnr_given_label_error: Option<f64>,
}

/// A quantity of an [`EvalRow`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// The accuracy, a share.
    Accuracy,
    /// Mean PSNR of `D(y)`.
    Psnr,
    /// Mean PSNR of `D(y, true class)`.
    PsnrClassConditional,
    /// Mean SSIM of `D(y)`.
    Ssim,
    /// Expected calibration error.
    Ece,
}

impl EvalRow {
    /// A quantity with its 95% interval, if that is known; `None` if the model has no such
    /// quantity.
    pub fn estimate(&self, of: Quantity) -> Option<Estimate> {
        let errors = &self.errors;
        let (value, error) = match of {
            Quantity::Accuracy => {
                return Some(Estimate::within(self.accuracy?, errors.accuracy_interval));
            }
            Quantity::Psnr => (self.psnr?, errors.psnr_error),
            Quantity::PsnrClassConditional => {
                (self.psnr_given_label?, errors.psnr_given_label_error)
            }
            Quantity::Ssim => (self.ssim?, errors.ssim_error),
            Quantity::Ece => (self.ece?, errors.ece_error),
        };
        Some(Estimate::with_error(value, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_earlier_versions_are_read_and_their_intervals_unknown() {
        let text = r#"{"sigma":0.1,"accuracy":0.5,"nll":1.0,"ece":0.1,"psnr":30.0,"ssim":0.9,
                      "psnr_given_label":null,"psnr_noisy":26.0}"#;
        let row: EvalRow = serde_json::from_str(text).unwrap();
        assert_eq!(row.errors, RowErrors::default());
        assert_eq!(row.estimate(Quantity::PsnrClassConditional), None);
        for quantity in [Quantity::Accuracy, Quantity::Psnr, Quantity::Ssim, Quantity::Ece] {
            assert_eq!(row.estimate(quantity).unwrap().interval(), None);
        }
        let errors =
            RowErrors { accuracy_interval: Some([0.4, 0.6]), psnr_error: Some(0.5), ..row.errors };
        let now = EvalRow { errors, ..row };
        let again: EvalRow = serde_json::from_str(&serde_json::to_string(&now).unwrap()).unwrap();
        assert_eq!(again, now);
        assert_eq!(again.estimate(Quantity::Accuracy).unwrap().interval(), Some([0.4, 0.6]));
        let [low, high] = again.estimate(Quantity::Psnr).unwrap().interval().unwrap();
        assert!((low - 29.02).abs() < 1e-3 && (high - 30.98).abs() < 1e-3);
    }
}
