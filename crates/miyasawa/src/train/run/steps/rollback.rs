//! Divergence of a run: found before a step is taken, and answered by going back to a state before.

use super::{Event, Learner, Observer, Rollback, Run, RunState, TrainError};
use crate::train::{BatchStats, error::expected, log::best, state::Recovery};

/// What was wrong with a step that was not taken.
#[derive(Clone, Copy)]
pub(super) struct Divergence {
    what: &'static str,
    value: f64,
    bound: f64,
}

impl<M: Learner> Run<'_, M> {
    /// What is wrong with a step that has not been taken, if anything is.
    pub(super) fn divergence(
        &self,
        now: &RunState<M>,
        stats: &BatchStats,
        norm: f64,
    ) -> Option<Divergence> {
        let bound = now.loss_bound.limit(&self.trainer.config.divergence);
        let found = |what, value, bound| Some(Divergence { what, value, bound });
        let loss = stats.divergence_loss();
        if !loss.is_finite() || loss > bound {
            return found("loss", loss, bound);
        }
        if norm.is_finite() { None } else { found("gradient norm", norm, f64::INFINITY) }
    }

    /// Returns to the last good state, with a lower learning rate and past the batches that were
    /// taken since; or gives up.
    pub(super) fn roll_back(
        &mut self,
        from: u64,
        found: &Divergence,
        observer: &mut dyn Observer,
    ) -> Result<RunState<M>, TrainError> {
        let config = &self.trainer.config.divergence;
        let good = self.good.clone();
        let (what, value, expected) =
            (found.what, format!("{:.4}", found.value), expected(found.bound));
        let event = Rollback {
            step: good.step,
            from,
            what,
            value,
            expected,
            rollbacks: self.recovery.rollbacks + 1,
            lr_factor: self.recovery.lr_factor * config.lr_factor,
            // The batch after the one that could not be learned from comes next.
            skipped: self.recovery.skipped + from - good.step,
        };
        // The log is cut after the checkpoint is there that says so: a kill in between must not
        // leave a checkpoint whose lines are gone.
        if event.rollbacks > config.max_rollbacks {
            // The counters stay: with more returns allowed, the run goes on as if they always had
            // been.
            let path = self.save(&good, None)?;
            self.log.truncate(good.log)?;
            self.log.push(&Event { event: "diverged", content: &event })?;
            let (Divergence { what, value, bound }, rollbacks) = (*found, self.recovery.rollbacks);
            return Err(TrainError::Diverged { step: from, what, value, bound, rollbacks, path });
        }
        let Rollback { rollbacks, lr_factor, skipped, .. } = event;
        self.recovery = Recovery { rollbacks, lr_factor, skipped };
        let line =
            serde_json::to_value(Event { event: "rollback", content: &event }).unwrap_or_default();
        self.save(&good, Some(line.clone()))?;
        self.log.truncate(good.log)?;
        self.log.push(&line)?;
        self.good.log = self.log.len();
        self.evaluated = Some(good.step);
        self.best = best(&self.log.evaluations()?, &self.trainer.config);
        observer.rollback(&event);
        Ok(self.good.clone())
    }
}
