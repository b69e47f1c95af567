//! Errors as one line on standard error, and the exit status: 1 the work failed, 2 the call was
//! wrong.

use crate::{progress::aside, ranks, session::WrongCall};
use miyasawa::{
    data::DataError,
    device::DeviceError,
    experiment::ExperimentError,
    onnx::OnnxError,
    predictor::PredictError,
    ranks::RanksError,
    train::{TrainError, config::ConfigError},
};

/// Reports an error.
pub fn fail(error: &anyhow::Error) -> u8 {
    if let Some(speaker) = ranks::speaker() {
        aside(|| eprintln!("{speaker}error: {}", message(error)));
    }
    if is_wrong_call(error) { 2 } else { 1 }
}

/// An error in one line: the operation, and every cause.
pub fn message(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        // Most messages already contain that of their cause.
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    one_line(&text)
}

/// Whether the call was wrong, as opposed to work that failed.
pub fn is_wrong_call(error: &anyhow::Error) -> bool {
    error.is::<WrongCall>()
        || error.downcast_ref().is_some_and(DeviceError::is_usage)
        || error.downcast_ref().is_some_and(ConfigError::is_usage)
        || error.downcast_ref().is_some_and(DataError::is_usage)
        || error.downcast_ref().is_some_and(TrainError::is_usage)
        || error.downcast_ref().is_some_and(RanksError::is_usage)
        || error.downcast_ref().is_some_and(ExperimentError::is_usage)
        || error.downcast_ref().is_some_and(PredictError::is_usage)
        || error.downcast_ref().is_some_and(OnnxError::is_usage)
        || is_wrong_server(error)
}

#[cfg(feature = "serve")]
fn is_wrong_server(error: &anyhow::Error) -> bool {
    error.downcast_ref().is_some_and(miyasawa_serve::ServeError::is_usage)
}

#[cfg(not(feature = "serve"))]
fn is_wrong_server(_error: &anyhow::Error) -> bool {
    false
}

/// Reports the result of the command-line parser: help unchanged, an error in one line.
pub fn of_parsing(error: &clap::Error) -> u8 {
    use clap::error::ErrorKind;
    let Some(speaker) = ranks::speaker() else { return if error.use_stderr() { 2 } else { 0 } };
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        // If this fails, nobody reads the output.
        let _ = error.print();
        return if error.use_stderr() { 2 } else { 0 };
    }
    eprintln!("{speaker}error: {}; see --help", parsing_message(error));
    2
}

/// What the command-line parser found wrong, in one line.
pub fn parsing_message(error: &clap::Error) -> String {
    // The message and its tips come before the usage.
    let text = error.to_string();
    let text = text.split("\n\nUsage:").next().unwrap_or_default();
    let text = text.split("\n\nFor more information").next().unwrap_or_default();
    one_line(text.strip_prefix("error: ").unwrap_or(text))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
