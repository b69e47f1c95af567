//! Errors of the library as the exceptions of `miyasawa.errors`.

use miyasawa::{
    image::ImageError,
    predictor::PredictError,
    train::{TrainError, config::ConfigError},
};
use miyasawa_cli::CallError;
use pyo3::{exceptions::PyRuntimeError, prelude::*};

/// An exception of `miyasawa.errors`.
pub fn exception(class: &str, message: String) -> PyErr {
    Python::attach(|py| {
        let found = py.import("miyasawa.errors").and_then(|module| module.getattr(class));
        match found.and_then(|class| class.call1((&message,))) {
            Ok(value) => PyErr::from_value(value),
            Err(_) => PyRuntimeError::new_err(message),
        }
    })
}

/// A wrong call.
pub fn usage(message: impl Into<String>) -> PyErr {
    exception("UsageError", message.into())
}

/// An error that has a class of exceptions.
pub trait IntoPython {
    /// The exception.
    fn into_python(self) -> PyErr;
}

impl IntoPython for PredictError {
    fn into_python(self) -> PyErr {
        let class = match &self {
            Self::Checkpoint(_) => "CheckpointError",
            Self::Image(_) | Self::NotFiniteImage { .. } => "ImageError",
            // A model that cannot do something was the wrong one to ask.
            Self::Cannot { .. } | Self::OneClass { .. } => "UsageError",
            error if error.is_usage() => "UsageError",
            _ => "MiyasawaError",
        };
        exception(class, self.to_string())
    }
}

impl IntoPython for ImageError {
    fn into_python(self) -> PyErr {
        exception("ImageError", self.to_string())
    }
}

impl IntoPython for ConfigError {
    fn into_python(self) -> PyErr {
        let class = if self.is_usage() { "UsageError" } else { "MiyasawaError" };
        exception(class, self.to_string())
    }
}

impl IntoPython for TrainError {
    fn into_python(self) -> PyErr {
        let class = if self.is_usage() { "UsageError" } else { "TrainingError" };
        exception(class, self.to_string())
    }
}

impl IntoPython for CallError {
    fn into_python(self) -> PyErr {
        exception(if self.is_usage { "UsageError" } else { "MiyasawaError" }, self.message)
    }
}
