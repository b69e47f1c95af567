//! What is written of a run.

use serde::{Deserialize, Serialize};

/// What is written of a run besides `metrics.jsonl`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// Whether the numbers of the steps and evaluations are written for TensorBoard too, as
    /// `events.out.tfevents.0.miyasawa`.
    pub tensorboard: bool,
}

impl LogConfig {
    /// Whether nothing more is written: the configuration of a run then does not name the section,
    /// and is the one that it was before the section was there.
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
