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

mod apgd;
mod descent;
mod examples;
mod fab;
mod hyperplane;
mod journal;
mod loss;
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
pub use run::{
    AttackReport, AttackRow, Plan, SizeOrder, VERSION, noisy_unit_values, robust_accuracy,
    robust_accuracy_while, run, unit_values,
};
pub use stage::Method;
