//! Progress on standard error: a bar on a terminal, elsewhere a line from time to time.

use crate::session::Session;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::{
    borrow::Cow,
    cell::Cell,
    io::{self, IsTerminal as _, Write},
    sync::{LazyLock, Mutex},
    time::{Duration, Instant},
};

/// The visible bars. They are cleared while other text goes to the terminal.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Shares are counted in thousandths.
const FULL_SHARE: u64 = 1000;
/// Time of the first line where no bar is shown; also the shortest interval between lines.
const FIRST: Duration = Duration::from_secs(5);
/// Longest interval between lines.
const LONGEST: Duration = Duration::from_secs(300);

/// Standard error beside the bars.
pub struct Stderr;

impl Write for Stderr {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        aside(|| io::stderr().write(text))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

thread_local! {
    /// Whether this thread has cleared the bars.
    static ASIDE: Cell<bool> = const { Cell::new(false) };
}

/// Clears the bars while `write` writes to the terminal. Calls may be nested.
pub fn aside<T>(write: impl FnOnce() -> T) -> T {
    if ASIDE.replace(true) {
        return write();
    }
    let written = BARS.suspend(write);
    ASIDE.set(false);
    written
}

/// A span of time for people.
pub fn span(seconds: f64) -> String {
    match seconds {
        s if s < 0.95 => "under 1 s".to_owned(),
        s if s < 99.5 => format!("{s:.0} s"),
        s if s < 99.5 * 60.0 => format!("{:.0} min", s / 60.0),
        s if s < 72.0 * 3600.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.1} days", s / 86400.0),
    }
}

/// When lines are due: at growing intervals.
#[derive(Debug)]
struct Pace {
    next: Duration,
}

impl Pace {
    fn due(&mut self, elapsed: Duration) -> bool {
        if elapsed < self.next {
            return false;
        }
        self.next = elapsed + (elapsed / 2).clamp(FIRST, LONGEST);
        true
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Share,
    Steps,
    Bytes,
}

impl Unit {
    /// The format of the bar: no wider than the terminal, the message is cut.
    fn template(self) -> &'static str {
        match self {
            Self::Share => "{percent:>3}% [{bar:12}] {elapsed} elapsed, {eta} left  {wide_msg}",
            Self::Steps => "{pos}/{len} [{bar:12}] {elapsed} elapsed, {eta} left  {wide_msg}",
            Self::Bytes => {
                "[{bar:12}] {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left  {wide_msg}"
            }
        }
    }
}

/// The progress of some work.
pub struct Progress {
    bar: ProgressBar,
    unit: Unit,
    /// Where no bar is shown.
    lines: Option<(Instant, Mutex<Pace>)>,
}

impl Progress {
    /// Of work that reports its share in thousandths.
    pub fn share(session: &Session) -> Self {
        Self::new(session, Unit::Share, Some(FULL_SHARE))
    }

    /// As [`share`](Self::share), of work that has one name.
    pub fn named(session: &Session, name: &'static str) -> Self {
        let bar = Self::share(session);
        bar.set_message(name);
        bar
    }

    /// Of `total` steps.
    pub fn steps(session: &Session, total: u64) -> Self {
        Self::new(session, Unit::Steps, Some(total))
    }

    /// Of bytes, whose number is not known yet.
    pub fn bytes(session: &Session) -> Self {
        Self::new(session, Unit::Bytes, None)
    }

    fn new(session: &Session, unit: Unit, total: Option<u64>) -> Self {
        let shown = !session.quiet && io::stderr().is_terminal();
        // Hidden until its style is set.
        let bar = ProgressBar::hidden();
        if let Some(total) = total {
            bar.set_length(total);
        }
        let style = ProgressStyle::with_template(unit.template());
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
        let bar = if shown { BARS.add(bar) } else { bar };
        let lines = || (Instant::now(), Mutex::new(Pace { next: FIRST }));
        Self { bar, unit, lines: (!shown && !session.quiet).then(lines) }
    }

    /// Sets the message: the name of the work, or its state.
    pub fn set_message(&self, message: impl Into<Cow<'static, str>>) {
        self.bar.set_message(message);
    }

    /// The message.
    pub fn message(&self) -> String {
        self.bar.message()
    }

    /// Sets the total.
    pub fn set_length(&self, total: u64) {
        self.bar.set_length(total);
    }

    /// Sets the position of a resumed run: earlier work counts as taking no time.
    pub fn start_at(&self, position: u64) {
        self.bar.set_position(position);
        self.bar.reset_eta();
    }

    /// Sets how much is done.
    pub fn set_position(&self, position: u64) {
        self.bar.set_position(position);
        let Some((start, pace)) = &self.lines else { return };
        let elapsed = start.elapsed();
        if pace.lock().is_ok_and(|mut pace| pace.due(elapsed)) {
            tracing::info!("{}", self.line(position, elapsed));
        }
    }

    /// How much is done, of work that is counted in shares.
    pub fn set_share(&self, share: f64) {
        self.set_position((FULL_SHARE as f64 * share) as u64);
    }

    fn line(&self, position: u64, elapsed: Duration) -> String {
        let done = match (self.unit, self.bar.length()) {
            (Unit::Steps, Some(total)) => format!("step {position} of {total}"),
            (Unit::Bytes, None) => format!("{position} bytes"),
            (_, total) => format!("{}%", 100 * position / total.unwrap_or(FULL_SHARE).max(1)),
        };
        let (elapsed, left) = (span(elapsed.as_secs_f64()), self.bar.eta().as_secs_f64());
        let left = if left > 0.0 { format!(", {} left", span(left)) } else { String::new() };
        let message = self.message();
        let message = if message.is_empty() { message } else { format!("  {message}") };
        format!("{done}, {elapsed} elapsed{left}{message}")
    }

    /// Clears the bar while `write` writes to the terminal.
    pub fn suspend(&self, write: impl FnOnce()) {
        aside(write);
    }

    /// Removes the bar: the work is done.
    pub fn finish_and_clear(&self) {
        self.bar.finish_and_clear();
    }
}

/// A bar shows the shares of any work; its message is the caller's.
impl miyasawa::progress::Monitor for Progress {
    fn progress(&mut self, progress: &miyasawa::progress::Progress<'_>) {
        self.set_share(progress.share);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_at_growing_intervals() {
        let mut pace = Pace { next: FIRST };
        let due: Vec<u64> = (0..3600).filter(|s| pace.due(Duration::from_secs(*s))).collect();
        assert_eq!(due[..5], [5, 10, 15, 23, 35]);
        assert!(due.windows(2).all(|pair| pair[1] - pair[0] <= 300));
        assert!((15..30).contains(&due.len()), "{due:?}");
    }

    #[test]
    fn writing_beside_the_bars_may_be_nested() {
        assert_eq!(aside(|| 1 + aside(|| 1)), 2);
        assert_eq!(aside(|| 3), 3);
    }

    #[test]
    fn time_spans_have_a_suitable_unit() {
        let of = [0.2, 1.2, 99.0, 600.0, 7200.0, 4.0 * 86400.0].map(span);
        assert_eq!(of, ["under 1 s", "1 s", "99 s", "10 min", "2.0 h", "4.0 days"]);
    }
}
