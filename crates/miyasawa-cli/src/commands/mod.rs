//! One file for each command.

mod bench;
mod classify;
mod demo;
mod denoise;
mod eval;
mod explain;
mod info;
mod model;
mod train;
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
    /// The first thing to run: trains on embedded digits, compares with a plain classifier, writes a report
    Demo(demo::Demo),
    /// Train a model
    Train(Box<train::Train>),
    /// Measure a model at several noise levels
    Eval(eval::Eval),
    /// Name what pictures show
    Classify(classify::Classify),
    /// Remove noise from pictures
    Denoise(denoise::Denoise),
    /// Show what of a picture speaks for a class: the adversarial gradient as a difference of denoisers
    Explain(explain::Explain),
    /// Recompute everything in an oracle file and print the largest relative errors
    Verify(verify::Verify),
    /// Time one step on synthetic data
    Bench(bench::Bench),
    /// Tell what a checkpoint holds
    Info(info::Info),
}

/// Runs a command.
pub fn run(command: Command, session: &Session) -> anyhow::Result<Outcome> {
    match command {
        Command::Demo(args) => demo::run(&args, session),
        Command::Train(args) => train::run(&args, session),
        Command::Eval(args) => eval::run(&args, session),
        Command::Classify(args) => classify::run(&args, session),
        Command::Denoise(args) => denoise::run(&args, session),
        Command::Explain(args) => explain::run(&args, session),
        Command::Verify(args) => verify::run(&args, session),
        Command::Bench(args) => bench::run(&args, session),
        Command::Info(args) => info::run(&args, session),
    }
}
