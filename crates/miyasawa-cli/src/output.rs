//! Results on standard output.

use crate::{progress::aside, ranks};
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Like `println!`, but ends the program with an error if standard output cannot be written.
macro_rules! outln {
    ($($text:tt)*) => { $crate::output::line(format_args!($($text)*)) };
}

/// Whether the reader of standard output closed it.
static UNREAD: AtomicBool = AtomicBool::new(false);

/// Prints a line, on the process that speaks for all. A reader that closed the pipe, such as `head
/// -1`, is no failure: the work continues, since it may write files. Any other error is a failure.
pub fn line(text: std::fmt::Arguments<'_>) {
    if UNREAD.load(Ordering::Relaxed) || ranks::is_silent() {
        return;
    }
    if let Err(error) = aside(|| writeln!(std::io::stdout(), "{text}")) {
        if error.kind() == ErrorKind::BrokenPipe {
            return UNREAD.store(true, Ordering::Relaxed);
        }
        eprintln!("error: standard output: cannot be written: {error}");
        std::process::exit(1);
    }
}

/// A path as text of a JSON document, where bytes that are not UTF-8 are replaced.
pub fn shown(path: &Path) -> String {
    path.display().to_string()
}
