//! Results on standard output.

use crate::progress::aside;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// As `println!`, but ends the program in order where standard output cannot be written.
macro_rules! outln {
    ($($text:tt)*) => { $crate::output::line(format_args!($($text)*)) };
}

/// Whether the reader of standard output went away.
static UNREAD: AtomicBool = AtomicBool::new(false);

/// Prints a line. A reader that went away (`miyasawa ... | head -1`) has what it wanted: that is no failure, and the work
/// goes on, which may be files. Anything else is one.
pub fn line(text: std::fmt::Arguments<'_>) {
    if UNREAD.load(Ordering::Relaxed) {
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

/// A path as text of a JSON document, which has no place for bytes that are none.
pub fn shown(path: &Path) -> String {
    path.display().to_string()
}
