//! Signals that ask the program to end.

use crate::{progress::aside, ranks};
use anyhow::Context;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// The exit status after a second signal: what a shell reports of a program that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// Whether a signal has come.
static STOPPING: AtomicBool = AtomicBool::new(false);

/// Whether this process has been asked to end.
pub fn is_stopping() -> bool {
    STOPPING.load(Ordering::Relaxed)
}

/// A flag that the first SIGINT (Ctrl-C), SIGTERM or SIGHUP sets; the second ends the process at
/// once. Files are replaced atomically, so that none is corrupted.
pub fn stop_flag() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    // A launcher sends the same signal to the ranks that are left when one of them has ended.
    let text = match ranks::size() {
        1 => "stopping with a checkpoint after this step; once more to stop at once",
        _ => "stopping with a checkpoint after this step, unless a rank has ended before it",
    };
    on_stop(text, move || flag.store(true, Ordering::Relaxed))?;
    Ok(stop)
}

/// Does something on the first SIGINT (Ctrl-C), SIGTERM or SIGHUP, and says so; the second ends
/// the process at once.
pub fn on_stop(text: &'static str, stop: impl Fn() + Send + 'static) -> anyhow::Result<()> {
    ctrlc::set_handler(move || {
        if STOPPING.swap(true, Ordering::Relaxed) {
            std::process::exit(INTERRUPTED);
        }
        // Said first: what has nothing to finish ends at once.
        if !ranks::is_silent() {
            aside(|| eprintln!("{text}"));
        }
        stop();
    })
    .context("listening for signals")
}
