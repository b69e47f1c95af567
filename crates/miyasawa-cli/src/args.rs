//! The entire command line.

use crate::{commands::Command, session::Common};
use clap::{CommandFactory, FromArgMatches, Parser};
use std::{any::TypeId, ffi::OsString};

/// Classification-denoising networks: one network classifies, denoises and models the density.
#[derive(Parser, Debug)]
#[command(name = "miyasawa", version, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Options of every command.
    #[command(flatten)]
    pub common: Common,
}

impl Cli {
    /// Parses the command line.
    ///
    /// # Errors
    /// As [`Parser::try_parse`].
    pub fn read(args: &[OsString]) -> Result<Self, clap::Error> {
        // A negative number is the value of the option before it, which then checks its range.
        let negative = |arg: clap::Arg| {
            let is_number = arg.get_value_parser().type_id() == TypeId::of::<f64>();
            match (arg.get_long(), arg.get_value_delimiter()) {
                // A list of numbers is not a number.
                (Some(_), Some(_)) if is_number => arg.allow_hyphen_values(true),
                (Some(_), None) if arg.get_action().takes_values() => {
                    arg.allow_negative_numbers(true)
                }
                _ => arg,
            }
        };
        let command = each_command(Self::command(), &|command| command.mut_args(negative));
        Self::from_arg_matches(&command.try_get_matches_from(args)?)
    }
}

/// Changes a command and those below it.
fn each_command(
    command: clap::Command,
    change: &dyn Fn(clap::Command) -> clap::Command,
) -> clap::Command {
    let names: Vec<String> =
        command.get_subcommands().map(|inner| inner.get_name().to_owned()).collect();
    let inner = |command: clap::Command, name| {
        command.mut_subcommand(name, |inner| each_command(inner, change))
    };
    names.into_iter().fold(change(command), inner)
}
