//! Adversarial attacks with exact gradients, on any [`Classifier`](crate::classifier::Classifier).
//!
//! The gradient of a loss on a joint model's class posterior is a pull-back through the network in
//! closed form, `sum_k g_k grad f_k` with the derivatives `g_k` with respect to the logits; that of
//! a denoiser followed by the classifier goes through the Tweedie step by reverse-mode autodiff
//! ([`Defence`](crate::classifier::Defence)). Every defence has its exact gradient. Distances are
//! in units of the [0, 1] pixel range, as in RobustBench, and adversarial images stay inside it.
//!
//! The algorithms are plain code on slices with one state for each image; batches are formed of the
//! images that are not misclassified yet. An image's random numbers are a function of the seed and
//! its index in the data alone.
//!
//! ```
//! use miyasawa::attack::{Journal, Method, Plan, run};
//! use miyasawa::data::{DataSource, OpenOptions, Part};
//! use miyasawa::model::{GradResNetConfig, JointModel};
//! use miyasawa::{Device, prelude::*};
//!
//! // An untrained network and a few digits, to be quick.
//! let device = Device::flex();
//! let net = GradResNetConfig { width: 8, blocks: vec![1], ..GradResNetConfig::new(1, 10) };
//! let model = JointModel::new(net.init(&device, 0), 0.5);
//! let digits = DataSource::Digits.open(Part::Test, &OpenOptions::default())?.into_dataset()?;
//! let classifier = Defence::Softmax { sigma: 0.1 }.classifier(&model, [1, 8, 8], &device);
//!
//! // Every size with all stages of the method; a journal in a file lets an attack resume.
//! let plan = Plan { steps: 5, ..Plan::new(Norm::L2, Method::Pgd, vec![0.25, 0.5]) };
//! let (few, journal) = (digits.subset(8)?, &mut Journal::in_memory());
//! let report = run(classifier.as_ref(), &few, &plan, journal, &mut ())?;
//! assert!(report.rows[0].robust_accuracy <= report.clean_accuracy);
//! assert!(report.rows[1].robust_accuracy <= report.rows[0].robust_accuracy);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod apgd;
mod descent;
mod examples;
mod fab;
mod hyperplane;
mod journal;
mod loss;
mod plan;
mod robust_accuracy;
mod run;
mod size;
mod square;
mod stage;
#[cfg(test)]
mod tests;

pub use crate::classifier::Norm;
pub use descent::Pgd;
pub use examples::{AdversarialExamples, Examples};
pub use journal::{Journal, JournalError};
pub use plan::{AttackReport, AttackRow, Plan, SizeOrder, VERSION};
pub use robust_accuracy::{noisy_unit_values, robust_accuracy, robust_accuracy_while, unit_values};
pub use run::run;
pub use stage::Method;
