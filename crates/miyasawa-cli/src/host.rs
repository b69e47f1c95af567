//! Commands for a program that has the command line in it: documents instead of text.

use crate::{
    args::Cli,
    commands::{self, Command},
    session::{Host, Session, WrongCall},
    status,
};
use miyasawa::progress::Progress;
use std::{
    ffi::OsString,
    sync::{Arc, atomic::AtomicBool},
};

/// Why a command gave no document.
#[derive(Debug)]
pub struct CallError {
    /// The message, one line.
    pub message: String,
    /// Whether the call was wrong, as opposed to work that failed: exit status 2 of the program.
    pub is_usage: bool,
}

impl std::fmt::Display for CallError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CallError {}

impl From<anyhow::Error> for CallError {
    fn from(error: anyhow::Error) -> Self {
        Self { message: status::message(&error), is_usage: status::is_wrong_call(&error) }
    }
}

/// Runs a command that measures (`eval`, `attack`, `certify`, `calibrate`, `ood`, `trust`, `info`)
/// and returns the document that `--json` prints. `args` are those of the program, its own name
/// first. Setting `stop` ends the work between its pieces; `watch` sees how far it is. Logs go to
/// the subscriber of the process, if there is one.
///
/// # Errors
/// If the call is wrong or the work fails; of what was stopped, some commands return what they had.
pub fn document(
    args: impl IntoIterator<Item = OsString>,
    stop: Arc<AtomicBool>,
    watch: impl Fn(&Progress<'_>) + Send + Sync + 'static,
) -> Result<serde_json::Value, CallError> {
    let args: Vec<OsString> = args.into_iter().collect();
    let cli = Cli::read(&args).map_err(|error| CallError {
        message: status::parsing_message(&error),
        is_usage: error.use_stderr(),
    })?;
    let measures = matches!(
        cli.command,
        Command::Eval(_)
            | Command::Attack(_)
            | Command::Certify(_)
            | Command::Calibrate(_)
            | Command::Ood(_)
            | Command::Trust(_)
            | Command::Info(_)
    );
    if !measures {
        let text = "expected a command that measures: eval, attack, certify, calibrate, ood, \
                    trust or info";
        return Err(anyhow::Error::from(WrongCall(text.into())).into());
    }
    let (session, threads) =
        (Session::hosted(&cli.common, args, Host::new(stop, watch))?, cli.common.threads);
    let work = || commands::run(cli.command, &session);
    match threads {
        Some(threads) => {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.map_err(anyhow::Error::from)?.install(work)?
        }
        None => rayon::scope(|_| work())?,
    };
    let nothing = || anyhow::anyhow!("the command gave no document").into();
    session.take_document().ok_or_else(nothing)
}
