//! A point of a run in memory, and how it comes from a checkpoint and goes into one.

use super::TrainError;
use crate::checkpoint::CheckpointError;
use crate::model::{
    Model,
    params::{self, FlatMap},
};
use crate::train::{guard::Guard, objective::Objective, optimizer::Optimizer, state::SavedPoint};
use burn::tensor::Device;
use std::path::Path;

/// Everything that a step changes. Tensors are shared between clones until one of them changes.
#[derive(Clone, Debug)]
pub(super) struct RunState {
    /// Optimiser steps taken.
    pub step: u64,
    /// The parameters.
    pub model: Model,
    /// What is minimised; some losses remember.
    pub objective: Objective,
    /// Moments and average.
    pub optimizer: Optimizer,
    /// The running bound of the loss.
    pub guard: Guard,
    /// Lines of the log when the point was reached.
    pub log: u64,
}

impl RunState {
    /// The point after the optimiser's step.
    pub fn moved(mut self, grads: &mut FlatMap, norm: f64, lr: f64) -> Self {
        self.model = self.optimizer.step(self.model, grads, norm, lr);
        self.step += 1;
        self
    }

    /// As data on the host.
    pub fn saved(&self) -> SavedPoint {
        SavedPoint {
            step: self.step,
            guard: self.guard,
            log: Some(self.log),
            params: params::collect(&self.model),
            optimizer: self.optimizer.state().into_iter().chain(self.objective.state()).collect(),
        }
    }

    /// The saved point; `fresh` is a point of the same run, `device` where the optimiser works.
    ///
    /// # Errors
    /// If the parameters or the optimiser's state do not fit the network; `path` is for the message.
    pub fn restored(
        fresh: &Self,
        saved: &SavedPoint,
        device: &Device,
        path: &Path,
    ) -> Result<Self, TrainError> {
        let wrong = |source| CheckpointError::Params { path: path.to_owned(), source };
        let mut point = fresh.clone();
        let mut optimizer = saved.optimizer.clone();
        point.objective.take(&mut optimizer).map_err(wrong)?;
        point.optimizer.restore(saved.step, &optimizer, &saved.params, device).map_err(wrong)?;
        point.model = params::assign(point.model, saved.params.clone()).map_err(wrong)?;
        (point.step, point.guard, point.log) = (saved.step, saved.guard, saved.log.unwrap_or(0));
        Ok(point)
    }
}
