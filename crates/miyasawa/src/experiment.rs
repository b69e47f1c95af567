//! What a whole experiment (a [demonstration](crate::demo), a [comparison](crate::compare)) can fail at.

use crate::atomic::AtomicError;
use crate::checkpoint::CheckpointError;
use crate::data::DataError;
use crate::image::ImageError;
use crate::report::ReportError;
use crate::train::{TrainError, config::ConfigError};
use std::path::PathBuf;

/// Why an experiment ended early.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ExperimentError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Train(#[from] TrainError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    Report(#[from] ReportError),
    #[error(transparent)]
    Write(#[from] AtomicError),
    /// A folder cannot be made, or a file in it cannot be read.
    #[error("{path}: {source}")]
    Folder {
        /// The folder or file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A run of another configuration is in the way.
    #[error("{path}: a run with another configuration is there; choose another --out or remove it")]
    OtherRun {
        /// The run's folder.
        path: PathBuf,
    },
    /// No model has this name.
    #[error("no model {name:?}, expected one of {known:?}")]
    Unknown {
        /// The name.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// A checkpoint is for other images.
    #[error("{path}: a model of {found}, the comparison is on {expected}")]
    OtherData {
        /// The checkpoint.
        path: PathBuf,
        /// Its channels and classes.
        found: String,
        /// The data's.
        expected: String,
    },
}

impl ExperimentError {
    /// Whether the call asked for what cannot be, as opposed to work that failed.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Config(error) => error.is_usage(),
            Self::Data(error) => error.is_usage(),
            Self::Train(error) => error.is_usage(),
            Self::Unknown { .. } => true,
            _ => false,
        }
    }
}
