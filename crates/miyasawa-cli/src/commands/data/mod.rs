//! `data`: download, describe and convert data sets.

mod convert;
mod fetch;
mod info;

use super::Outcome;
use crate::session::Session;
use clap::{Args, Subcommand};

/// Download, describe and convert data sets.
///
/// Examples:
///   miyasawa data fetch cifar10
///   miyasawa data info cifar10 -o samples.png
///   miyasawa data convert photos/ --shards 16 --out shards
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Data {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Fetch(fetch::Fetch),
    Info(info::Info),
    Convert(convert::Convert),
}

pub fn run(args: &Data, session: &Session) -> anyhow::Result<Outcome> {
    match &args.command {
        Command::Fetch(args) => fetch::run(args, session),
        Command::Info(args) => info::run(args, session),
        Command::Convert(args) => convert::run(args, session),
    }
}
