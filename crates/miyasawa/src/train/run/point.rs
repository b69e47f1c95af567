//! A point of a run in memory, and how it comes from a checkpoint and goes into one.

use super::TrainError;
use crate::checkpoint::CheckpointError;
use crate::model::{
    GradResNet, JointModel,
    params::{self, FlatMap},
};
use crate::train::{guard::Guard, optimizer::Optimizer, state::SavedPoint};
use burn::tensor::Device;
use std::path::Path;

/// Everything that a step changes. Tensors are shared between clones until one of them changes.
#[derive(Clone, Debug)]
pub(super) struct Point {
    /// Optimiser steps taken.
    pub step: u64,
    /// The parameters.
    pub model: JointModel<GradResNet>,
    /// Moments and average.
    pub optimizer: Optimizer,
    /// The running bound of the loss.
    pub guard: Guard,
    /// Lines of the log when the point was reached.
    pub log: u64,
}

impl Point {
    /// The point after the optimiser's step.
    pub fn moved(mut self, grads: &mut FlatMap, norm: f64, lr: f64) -> Self {
        self.model.net = self.optimizer.step(self.model.net, grads, norm, lr);
        self.step += 1;
        self
    }

    /// As data on the host.
    pub fn saved(&self) -> SavedPoint {
        SavedPoint {
            step: self.step,
            guard: self.guard,
            log: Some(self.log),
            params: params::collect(&self.model.net),
            optimizer: self.optimizer.state(),
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
        point.optimizer.restore(saved.step, &saved.optimizer, &saved.params, device).map_err(wrong)?;
        point.model.net = params::assign(point.model.net, saved.params.clone()).map_err(wrong)?;
        (point.step, point.guard, point.log) = (saved.step, saved.guard, saved.log.unwrap_or(0));
        Ok(point)
    }
}
