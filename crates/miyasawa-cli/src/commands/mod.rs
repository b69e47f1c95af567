//! One file for each command.

mod verify;

use crate::args::Session;
use clap::Subcommand;

/// What a command came to.
pub enum Outcome {
    /// All is well.
    Done,
    /// The work was done and its result is bad: a check did not hold.
    Failed,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Recompute everything in an oracle file and print the largest relative errors
    Verify(verify::Verify),
}

/// Runs a command.
pub fn run(command: Command, session: &Session) -> anyhow::Result<Outcome> {
    match command {
        Command::Verify(args) => verify::run(&args, session),
    }
}
