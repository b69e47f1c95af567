//! One file for each command.

mod attack;
mod bench;
mod calibrate;
mod certify;
mod classify;
mod compare;
mod data;
mod defence;
mod demo;
mod denoise;
mod document;
mod each;
mod eval;
mod explain;
mod export;
mod images;
mod info;
mod measured;
mod model;
mod ood;
mod outputs;
#[cfg(feature = "serve")]
mod serve;
mod train;
mod trust;
mod verify;

use crate::session::Session;
use clap::Subcommand;

/// How a command ended without an error.
pub enum Outcome {
    /// It succeeded.
    Done,
    /// The work was done with a bad result: a check failed, or some of several images failed.
    Failed,
}

/// The commands. Their help is that of their arguments; a comment here would replace it.
#[derive(Subcommand, Debug)]
pub enum Command {
    Demo(demo::Demo),
    Train(Box<train::Train>),
    Eval(eval::Eval),
    Classify(classify::Classify),
    Denoise(denoise::Denoise),
    Explain(explain::Explain),
    Attack(Box<attack::Attack>),
    Certify(certify::Certify),
    Calibrate(calibrate::Calibrate),
    Ood(ood::Ood),
    Trust(trust::Trust),
    Verify(verify::Verify),
    Data(data::Data),
    Bench(bench::Bench),
    Info(info::Info),
    Compare(compare::Compare),
    Export(export::Export),
    #[cfg(feature = "serve")]
    Serve(serve::Serve),
}

impl Command {
    /// Whether the command waits for others most of the time, and must not take a thread of the
    /// pool for that.
    pub fn waits(&self) -> bool {
        #[cfg(feature = "serve")]
        if let Self::Serve(_) = self {
            return true;
        }
        false
    }

    /// Whether several processes may work on it together.
    pub fn works_on_ranks(&self) -> bool {
        matches!(self, Self::Train(_)) || self.divides_batches()
    }

    /// Whether several processes may divide its batches, or its runs, among them.
    pub fn divides_batches(&self) -> bool {
        matches!(
            self,
            Self::Eval(_)
                | Self::Attack(_)
                | Self::Certify(_)
                | Self::Calibrate(_)
                | Self::Ood(_)
                | Self::Trust(_)
                | Self::Compare(_)
        )
    }
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
        Command::Attack(args) => attack::run(&args, session),
        Command::Certify(args) => certify::run(&args, session),
        Command::Calibrate(args) => calibrate::run(&args, session),
        Command::Ood(args) => ood::run(&args, session),
        Command::Trust(args) => trust::run(&args, session),
        Command::Verify(args) => verify::run(&args, session),
        Command::Data(args) => data::run(&args, session),
        Command::Bench(args) => bench::run(&args, session),
        Command::Info(args) => info::run(&args, session),
        Command::Compare(args) => compare::run(&args, session),
        Command::Export(args) => export::run(&args, session),
        #[cfg(feature = "serve")]
        Command::Serve(args) => serve::run(&args, session),
    }
}
