//! Why a run could not go on.

use super::config::ConfigError;
use crate::atomic::AtomicError;
use crate::checkpoint::CheckpointError;
use crate::data::DataError;
use crate::model::params::ParamError;
use crate::ranks::RanksError;
#[cfg(feature = "report")]
use crate::report;
use std::path::{Path, PathBuf};

/// Why a run could not go on.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The configuration makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The network's numbers make no sense.
    #[error("network: {0}")]
    Network(String),
    /// The data cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The data's training and test part do not go together, or there is too little of it.
    #[error("data: {0}")]
    Mismatch(String),
    /// The run's folder or a file in it cannot be written.
    #[error("run folder {path}: cannot be written: {source}")]
    Folder {
        /// The folder or file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error(transparent)]
    Write(#[from] AtomicError),
    /// A checkpoint cannot be read or written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Parameters do not fit the network.
    #[error("the averaged parameters do not fit the network: {0}")]
    State(#[from] ParamError),
    /// The checkpoint to start from has no parameter of this network.
    #[error(
        "init {0}: no parameter has a name and a shape of this network; expected one trained with \
         the same network.kind and width"
    )]
    NothingToStartFrom(String),
    /// The folder holds a run already.
    #[error("run folder {0}: holds a run already; go on with --resume or choose another folder")]
    Exists(PathBuf),
    /// The folder holds a trained model without the checkpoint that training would go on from.
    #[error(
        "run folder {0}: holds model.safetensors and no checkpoint to go on from; choose another \
         folder or move the model away"
    )]
    NoCheckpoint(PathBuf),
    /// A setting names a parameter that the network does not have, or nothing is left to learn.
    #[error("{0}")]
    Parameters(String),
    /// A run is to be resumed that has no folder.
    #[error("resume: the run has no folder to go on from; name one with out()")]
    NoFolder,
    /// There is nothing to resume.
    #[error("run folder {0}: holds no run to resume: neither config.toml nor a checkpoint")]
    NothingToResume(PathBuf),
    /// Every checkpoint is damaged.
    #[error("run folder {dir}: none of its {count} checkpoints can be used; the newest: {first}")]
    NoUsableState {
        /// The folder.
        dir: PathBuf,
        /// How many there are.
        count: usize,
        /// What is wrong with the newest.
        first: Box<CheckpointError>,
    },
    /// Another process works in the folder.
    #[error("run folder {dir}: a run is under way there, {}", holder(.pid))]
    Locked {
        /// The folder.
        dir: PathBuf,
        /// The process, where it is known.
        pid: Option<u32>,
    },
    /// The loss or gradient is not finite or beyond the bound, too often.
    #[error(
        "step {step}: the {what} is {value:.4}, expected {}; after {rollbacks} rollbacks the run \
         is given up{}; a lower optimizer.lr may help",
        expected(*.bound),
        saved_in(.path)
    )]
    Diverged {
        /// The step that could not be taken.
        step: u64,
        /// What is not finite or too large.
        what: &'static str,
        /// Its value.
        value: f64,
        /// The largest value that was allowed.
        bound: f64,
        /// Returns to earlier states before this.
        rollbacks: u32,
        /// The checkpoint of the last good state; empty for a run without a folder.
        path: PathBuf,
    },
    /// The processes that train together cannot go on.
    #[error(transparent)]
    Ranks(#[from] RanksError),
    /// An image of the run could not be drawn.
    #[cfg(feature = "report")]
    #[error("report: {0}")]
    Report(#[from] report::ReportError),
}

impl TrainError {
    /// Whether the call was invalid, as opposed to valid work that failed.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Config(error) => error.is_usage(),
            Self::Data(error) => error.is_usage(),
            Self::Ranks(error) => error.is_usage(),
            Self::Network(_) | Self::Exists(_) | Self::NoCheckpoint(_) | Self::Parameters(_) => {
                true
            }
            _ => false,
        }
    }
}

fn holder(pid: &Option<u32>) -> String {
    pid.map_or("by another process".to_owned(), |pid| format!("by process {pid}"))
}

/// What a bound allows.
pub(super) fn expected(bound: f64) -> String {
    if bound.is_finite() { format!("at most {bound:.4}") } else { "a finite number".to_owned() }
}

fn saved_in(path: &Path) -> String {
    let known = !path.as_os_str().is_empty();
    if known { format!(", its last good state is {}", path.display()) } else { String::new() }
}
