//! Evaluation of whatever a test set is: images of one size, or of any size.

use super::{EvalOptions, Evaluation, evaluate_gallery, evaluate_set};
use crate::data::{DataError, TestSet};
use crate::model::Predict;
use crate::progress::Monitor;
use burn::tensor::Device;

impl TestSet {
    /// Evaluates a model; `None` as soon as `monitor` stops it. Images of any size measure
    /// denoising alone.
    ///
    /// ```
    /// use miyasawa::data::{DataSource, OpenOptions, Part, TestSet};
    /// use miyasawa::eval::EvalOptions;
    /// use miyasawa::Device;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let device = Device::flex();
    /// let network = miyasawa::model::GradResNetConfig::new(1, 10);
    /// let model = miyasawa::model::JointModel::new(network.init(&device, 0), 0.5);
    /// let digits = DataSource::Digits.open(Part::Test, &OpenOptions::default())?;
    /// let options = EvalOptions { sigmas: vec![0.1], limit: Some(8), ..EvalOptions::default() };
    /// let found = TestSet::Set(digits).evaluate(&model, &options, &device, &mut ())?;
    /// assert_eq!(found.map(|found| found.count), Some(8));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If images cannot be read, too many are corrupt, or none is intact.
    ///
    /// # Panics
    /// As [`evaluate`](super::evaluate).
    pub fn evaluate(
        &self,
        model: &(impl Predict + Sync),
        options: &EvalOptions,
        device: &Device,
        monitor: &mut dyn Monitor,
    ) -> Result<Option<Evaluation>, DataError> {
        match self {
            Self::Set(set) => evaluate_set(model, set, options, device, monitor),
            Self::Gallery(images) => {
                let count = options.limit.unwrap_or(usize::MAX).min(images.len());
                let rows = evaluate_gallery(model, images, options, device, monitor);
                Ok(rows.map(|rows| Evaluation { count, rows }))
            }
        }
    }
}
