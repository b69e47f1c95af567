//! What a run reports while it goes on, and how it ended.

use super::parts::{Batch, BatchStats};
use crate::eval::EvalRow;
use crate::progress::{Monitor, Progress};

/// What a step reports.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct StepReport {
    /// Steps taken, this one included.
    pub step: u64,
    /// Passes over the training set so far.
    pub epoch: f64,
    /// The batch.
    #[serde(flatten)]
    pub stats: BatchStats,
    /// Learning rate.
    pub lr: f64,
    /// Norm of the gradient before clipping.
    pub grad_norm: f64,
    /// Speed of this step.
    pub images_per_second: f64,
}

/// A return to an earlier state, as `metrics.jsonl` holds it too.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Rollback {
    /// The step that the run returned to: the number of steps taken by then.
    pub step: u64,
    /// The step that could not be taken.
    pub from: u64,
    /// What was wrong: `loss` or `gradient norm`.
    pub what: &'static str,
    /// Its value, as text: JSON knows no NaN.
    pub value: String,
    /// What was allowed, as text.
    pub expected: String,
    /// Returns of this run so far, this one included.
    pub rollbacks: u32,
    /// What the learning rate is multiplied by from now on.
    pub lr_factor: f64,
    /// Batches that are passed over, all in all.
    pub skipped: u64,
}

/// Watches the details of a run; as a [`Monitor`] it may end the run. It is asked whether to stop
/// after every step, where a checkpoint is written and the run ends if so, and during evaluations,
/// which are made again when the run goes on.
///
/// ```
/// use miyasawa::{
///     progress::Monitor,
///     train::{Observer, StepReport, Trainer},
/// };
///
/// /// Stops when the loss is low enough.
/// struct Enough(f64);
///
/// impl Monitor for Enough {
///     fn stop(&self) -> bool {
///         self.0 < 10.0
///     }
/// }
///
/// impl Observer for Enough {
///     fn step(&mut self, report: &StepReport, _total: u64) {
///         self.0 = report.stats.loss;
///     }
/// }
///
/// let trainer = Trainer::builder()
///     .configure(|c| {
///         c.network.width = 8;
///         c.network.blocks = vec![1];
///         c.schedule.batch = 16;
///     })
///     .build()?;
/// let trained = trainer.train_observed(&mut Enough(f64::INFINITY))?;
/// assert!(!trained.finish.complete && trained.finish.steps < trainer.total_steps());
/// # Ok::<(), miyasawa::train::TrainError>(())
/// ```
pub trait Observer: Monitor {
    /// Before a step: sees batch `number`, counted from 0, and may change it. Bit-exact resuming
    /// needs a change that is a function of the number and the batch alone.
    fn batch(&mut self, _number: u64, _batch: &mut Batch) {}
    /// After every step; [`Monitor::progress`] is called as well.
    fn step(&mut self, _report: &StepReport, _total: u64) {}
    /// After every evaluation.
    fn evaluation(&mut self, _step: u64, _rows: &[EvalRow]) {}
    /// After the run returned to an earlier state.
    fn rollback(&mut self, _event: &Rollback) {}
}

/// Nobody watches.
impl Observer for () {}

/// A [`Monitor`] as an [`Observer`].
pub(super) struct Watched<'m>(pub &'m mut dyn Monitor);

impl Monitor for Watched<'_> {
    fn progress(&mut self, progress: &Progress<'_>) {
        self.0.progress(progress);
    }

    fn stop(&self) -> bool {
        self.0.stop()
    }
}

impl Observer for Watched<'_> {}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Finish {
    /// Whether all steps were taken.
    pub complete: bool,
    /// Steps taken.
    pub steps: u64,
    /// The last evaluation.
    pub rows: Vec<EvalRow>,
    /// The best one, whose model is `best.safetensors`, if that is kept.
    pub best: Option<BestEvaluation>,
}

/// The best evaluation of a run and the last one, in the mean over the noise levels.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct BestEvaluation {
    /// Its step.
    pub step: u64,
    /// Whether accuracies are compared; else PSNR.
    pub by_accuracy: bool,
    /// Its accuracy, or its PSNR in decibels.
    pub score: f64,
    /// Those of the last evaluation.
    pub last: f64,
}
