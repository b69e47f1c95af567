//! Where a run is, in memory, and how it comes from a checkpoint and goes into one.

use super::TrainError;
use crate::checkpoint::CheckpointError;
use crate::model::params::{self, FlatMap};
use crate::train::{
    divergence::LossBound, learner::Learner, objective::Objective, optimizer::Optimizer,
    state::SavedPoint,
};
use burn::tensor::Device;
use std::path::Path;

/// Everything that a step changes. Tensors are shared between clones until one of them changes.
#[derive(Clone, Debug)]
pub(super) struct RunState<M> {
    /// Optimiser steps taken.
    pub step: u64,
    /// The parameters.
    pub model: M,
    /// What is minimised; some losses remember.
    pub objective: Objective,
    /// Moments and average.
    pub optimizer: Optimizer,
    /// The running bound of the loss.
    pub loss_bound: LossBound,
    /// Lines of the log when this state was reached.
    pub log: u64,
}

impl<M: Learner> RunState<M> {
    /// The state after the optimiser's step.
    pub fn moved(mut self, grads: &mut FlatMap, norm: f64, lr: f64) -> Self {
        self.model = self.optimizer.step(self.model, grads, norm, lr);
        self.step += 1;
        self
    }

    /// As data on the host.
    pub fn saved(&self) -> SavedPoint {
        SavedPoint {
            step: self.step,
            loss_bound: self.loss_bound,
            log: Some(self.log),
            params: params::collect(&self.model),
            optimizer: self.optimizer.state().into_iter().chain(self.objective.state()).collect(),
        }
    }

    /// The saved state; `fresh` is a state of the same run, `device` where the optimiser works.
    ///
    /// # Errors
    /// If the parameters or the optimiser's state do not fit the network; `path` is for the
    /// message.
    pub fn restored(
        fresh: &Self,
        saved: &SavedPoint,
        device: &Device,
        path: &Path,
    ) -> Result<Self, TrainError> {
        let wrong = |source| CheckpointError::Params { path: path.to_owned(), source };
        let mut state = fresh.clone();
        let mut optimizer = saved.optimizer.clone();
        state.objective.restore(&mut optimizer).map_err(wrong)?;
        state.optimizer.restore(saved.step, &optimizer, &saved.params, device).map_err(wrong)?;
        state.model = params::assign(state.model, saved.params.clone()).map_err(wrong)?;
        (state.step, state.loss_bound, state.log) =
            (saved.step, saved.loss_bound, saved.log.unwrap_or(0));
        Ok(state)
    }
}
