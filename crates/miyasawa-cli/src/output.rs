//! Results on standard output.

use std::io::{ErrorKind, Write};

/// As `println!`, but ends the program in order where standard output cannot be written.
macro_rules! outln {
    ($($text:tt)*) => { $crate::output::line(format_args!($($text)*)) };
}

/// Prints a line. A reader that went away (`miyasawa ... | head -1`) has what it wanted and is no failure;
/// anything else is.
pub fn line(text: std::fmt::Arguments<'_>) {
    if let Err(error) = writeln!(std::io::stdout(), "{text}") {
        if error.kind() == ErrorKind::BrokenPipe {
            std::process::exit(0);
        }
        eprintln!("error: standard output: cannot be written: {error}");
        std::process::exit(1);
    }
}
