//! Errors of an experiment: a [demonstration](crate::demo) or a [comparison](crate::compare).
//!
//! ```
//! use miyasawa::experiment::ExperimentError;
//! let known = vec!["joint".to_owned()];
//! let error = ExperimentError::Unknown { name: "jiont".to_owned(), known };
//! assert!(error.is_usage());
//! assert_eq!(error.to_string(), r#"no model is named "jiont", expected one of ["joint"]"#);
//! ```

use crate::atomic::AtomicError;
use crate::checkpoint::CheckpointError;
use crate::data::DataError;
use crate::image::ImageError;
use crate::report::ReportError;
use crate::train::{TrainError, config::ConfigError};
use std::path::PathBuf;

/// An error that ended an experiment.
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
    /// A folder cannot be created, or a file in it cannot be read.
    #[error("{path}: {source}")]
    Folder {
        /// The folder or file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The folder holds a run with another configuration.
    #[error("{path}: holds a run with another configuration; choose another --out or remove it")]
    OtherRun {
        /// The run's folder.
        path: PathBuf,
    },
    /// No model has this name.
    #[error("no model is named {name:?}, expected one of {known:?}")]
    Unknown {
        /// The requested name.
        name: String,
        /// The names of all models.
        known: Vec<String>,
    },
    /// A checkpoint does not match the comparison's data or noise levels.
    #[error("{path}: the model has {found}, expected {expected} as in the comparison")]
    OtherData {
        /// The checkpoint.
        path: PathBuf,
        /// The checkpoint's channels, classes or conditioning.
        found: String,
        /// The comparison's.
        expected: String,
    },
}

impl ExperimentError {
    /// Whether the call was invalid, as opposed to valid work that failed.
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
