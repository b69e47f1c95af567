//! The command line as a library: for the program `miyasawa`, and for programs that have it in
//! them, such as the Python package.
//!
//! [`run`] is the whole program, to be called once in a process. [`document`] runs one command that
//! measures and returns its document, any number of times:
//!
//! ```
//! use std::sync::atomic::AtomicBool;
//!
//! let args = ["miyasawa", "eval", "--data", "digits", "--model", "photo", "--limit", "2"];
//! let args = args.map(Into::into);
//! let found = miyasawa_cli::document(args, AtomicBool::new(false).into(), |_| {})?;
//! assert_eq!(found["count"], 2);
//! # Ok::<(), miyasawa_cli::CallError>(())
//! ```
#![deny(unsafe_code)]

#[macro_use]
mod output;
mod args;
mod commands;
mod fetch;
mod host;
mod progress;
mod ranks;
mod session;
mod signals;
mod status;

pub use host::{CallError, document};

use std::ffi::OsString;

/// The program: reads the arguments, of which the first is its own name, does the work, prints, and
/// returns the exit status: 0 done, 1 the work failed, 2 the call was wrong. To be called once: it
/// starts the threads and the log of the process.
pub fn run(args: impl IntoIterator<Item = OsString>) -> u8 {
    let args: Vec<OsString> = args.into_iter().collect();
    let cli = match args::Cli::read(&args) {
        Ok(cli) => cli,
        Err(error) => return status::of_parsing(&error),
    };
    let session = match session::Session::new(&cli.common, args) {
        Ok(session) => session,
        Err(error) => return status::fail(&error),
    };
    // Inside the pool a kernel's caller takes part in its work; from outside each kernel would wake
    // the pool and wait, which costs more than a small kernel.
    let waits = cli.command.waits();
    let run = || {
        if !cli.command.works_on_ranks() {
            ranks::refuse_others()?;
        }
        let divides = cli.command.divides_batches();
        ranks::together(divides, || commands::run(cli.command, &session))
    };
    match if waits { run() } else { rayon::scope(|_| run()) } {
        Ok(commands::Outcome::Done) => 0,
        Ok(commands::Outcome::Failed) => 1,
        Err(error) => status::fail(&error),
    }
}
