//! What is wrong with a configuration.

use std::path::PathBuf;

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("configuration {path}: cannot be read: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The text is not TOML, or a key or value is not one of ours.
    #[error("configuration {origin}: {message}")]
    Parse {
        /// The file or setting.
        origin: String,
        /// What was expected and found.
        message: String,
    },
    /// A value makes no sense.
    #[error("configuration: {key} is {found}, expected {expected}")]
    Value {
        /// The key.
        key: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
    /// A value makes no sense for one of several models.
    #[error("model {name}: {source}")]
    Model {
        /// The model.
        name: String,
        /// What is wrong.
        source: Box<ConfigError>,
    },
}

impl ConfigError {
    /// Whether the call was invalid, as opposed to valid work that failed.
    pub fn is_usage(&self) -> bool {
        // A configuration is part of the call; that its file cannot be read is not.
        !matches!(self, Self::Read { .. })
    }
}

pub(crate) fn parse_error(origin: &str, error: &toml::de::Error) -> ConfigError {
    let message = error.message().lines().collect::<Vec<_>>().join(" ");
    ConfigError::Parse { origin: origin.to_owned(), message }
}
