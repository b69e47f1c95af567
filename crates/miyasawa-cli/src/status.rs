//! Errors as one line on standard error, and the exit status: 1 the work failed, 2 the call was wrong.

use crate::{progress::aside, session::WrongCall};
use miyasawa::{
    data::DataError,
    device::DeviceError,
    experiment::ExperimentError,
    train::{TrainError, config::ConfigError},
};
use std::process::ExitCode;

/// Reports an error.
pub fn fail(error: &anyhow::Error) -> ExitCode {
    aside(|| eprintln!("error: {}", message(error)));
    ExitCode::from(if is_wrong_call(error) { 2 } else { 1 })
}

/// An error in one line: what was done, and every cause.
pub fn message(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        // Most messages hold that of their cause already.
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    one_line(&text)
}

/// Whether the call asked for what cannot be, as opposed to work that failed.
pub fn is_wrong_call(error: &anyhow::Error) -> bool {
    // A configuration is part of the call; that its file cannot be read is not.
    let config = |error: &ConfigError| !matches!(error, ConfigError::Read { .. });
    let data = |error: &DataError| matches!(error, DataError::Spec { .. } | DataError::Exists { .. });
    let training = |error: &TrainError| match error {
        TrainError::Config(error) => config(error),
        TrainError::Data(error) => data(error),
        TrainError::Network(_) | TrainError::Exists(_) | TrainError::NoCheckpoint(_) => true,
        _ => false,
    };
    error.is::<WrongCall>()
        || matches!(error.downcast_ref(), Some(DeviceError::NotBuilt(..) | DeviceError::Unknown(_)))
        || error.downcast_ref().is_some_and(config)
        || error.downcast_ref().is_some_and(data)
        || error.downcast_ref().is_some_and(training)
        || match error.downcast_ref() {
            Some(ExperimentError::Config(error)) => config(error),
            Some(ExperimentError::Data(error)) => data(error),
            Some(ExperimentError::Train(error)) => training(error),
            Some(ExperimentError::Unknown { .. }) => true,
            _ => false,
        }
}

/// Reports what the parser of the command line says: help as it is, an error in one line.
pub fn of_parsing(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind;
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        // Nobody listens if this fails.
        let _ = error.print();
        return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
    }
    // The message and its tips come before the usage.
    let text = error.to_string();
    let text = text.split("\n\nUsage:").next().unwrap_or_default();
    let text = text.split("\n\nFor more information").next().unwrap_or_default();
    eprintln!("{}; see --help", one_line(text));
    ExitCode::from(2)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
