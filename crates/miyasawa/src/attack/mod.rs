//! Adversarial attacks with exact gradients, on any [`Classifier`](crate::classifier::Classifier).
//!
//! The gradient of a loss on a joint model's class posterior is a pull-back through the network in closed form,
//! `sum_k w_k grad f_k`; that of a denoiser followed by the classifier goes through the Tweedie step by reverse-mode
//! autodiff ([`Defence`](crate::classifier::Defence)). No defence hides behind a missing gradient. Distances are in units of the [0, 1] pixel range, as
//! RobustBench states them, and adversarial images stay inside it.
//!
//! The algorithms themselves are plain code on slices, one state for each image, and batches are formed of whatever
//! images still stand. An image's random numbers are a function of the seed and its place in the data alone.

mod apgd;
mod descent;
mod examples;
mod fab;
mod hyperplane;
mod journal;
mod loss;
mod norm;
mod run;
mod size;
mod square;
mod stage;
#[cfg(test)]
mod tests;

pub use descent::Pgd;
pub use examples::{AdversarialExamples, Examples};
pub use journal::{Journal, JournalError};
pub use norm::Norm;
pub use run::{
    AttackReport, AttackRow, Plan, SizeOrder, VERSION, noisy_unit_values, robust_accuracy,
    robust_accuracy_while, run, unit_values,
};
pub use stage::Method;
