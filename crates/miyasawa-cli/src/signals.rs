//! Signals that ask the program to end.

use crate::progress::aside;
use anyhow::Context;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// The exit status after a second signal: what a shell reports of a program that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// A flag that the first SIGINT (Ctrl-C), SIGTERM or SIGHUP sets; the second ends the process at
/// once. Files are replaced atomically, so that none is corrupted.
pub fn stop_flag() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(INTERRUPTED);
        }
        aside(|| {
            eprintln!("stopping with a checkpoint after this step; once more to stop at once")
        });
    })
    .context("listening for signals")?;
    Ok(stop)
}
