//! What a run can train: a model that gives gradients.

use super::{
    joint,
    objective::Objective,
    parts::Batch,
    reduce::{BatchGradient, Reduce},
};
use crate::model::{EnergyNetwork, JointModel, Model, Predict};
use crate::ranks::RanksError;
use burn::module::Module;
use burn::tensor::Device;

/// A step as far as its gradient depends on it.
#[derive(Clone, Copy, Debug)]
pub struct StepContext<'d> {
    /// The number of the batch, counted from 0: fixes what is drawn.
    pub number: u64,
    /// Images that go through the network at once.
    pub micro_batch: usize,
    /// Where it is computed, with autodiff.
    pub device: &'d Device,
    /// Whether norms of batches of a joint model keep their running statistics.
    pub frozen_norms: bool,
}

/// A model that [`Trainer`](super::Trainer) can train: the [`Model`] of a configuration, or the
/// [`JointModel`] of any [`EnergyNetwork`].
pub trait Learner: Module + Predict + Sync {
    /// The gradient of the batch's mean loss, summed by `reduce`.
    ///
    /// # Errors
    /// If another process that works on the batch has ended.
    fn gradients(
        &mut self,
        objective: &mut Objective,
        batch: &Batch,
        step: StepContext<'_>,
        reduce: &mut dyn Reduce,
    ) -> Result<BatchGradient, RanksError>;
}

impl Learner for Model {
    fn gradients(
        &mut self,
        objective: &mut Objective,
        batch: &Batch,
        step: StepContext<'_>,
        reduce: &mut dyn Reduce,
    ) -> Result<BatchGradient, RanksError> {
        objective.gradients_with(self, batch, step, reduce)
    }
}

impl<N: EnergyNetwork + Sync> Learner for JointModel<N> {
    fn gradients(
        &mut self,
        objective: &mut Objective,
        batch: &Batch,
        step: StepContext<'_>,
        reduce: &mut dyn Reduce,
    ) -> Result<BatchGradient, RanksError> {
        let (loss, adversary) = (objective.loss(), objective.adversary());
        joint::gradients_with(self, batch, loss, adversary, step, reduce)
    }
}
