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

/// The bars that are shown. What else goes to the terminal makes them step aside.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Shares are counted in thousandths.
const WHOLE: u64 = 1000;
/// The first line where no bar is shown comes so late.
const FIRST: Duration = Duration::from_secs(5);
/// Lines come at least so often.
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
    /// Whether this thread has the bars out of the way.
    static ASIDE: Cell<bool> = const { Cell::new(false) };
}

/// Does what writes to the terminal while the bars are out of the way. It may be called within itself.
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

/// When lines are due: soon at first, then ever more seldom.
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
    /// How the bar looks: no wider than the terminal, the message is cut.
    fn template(self) -> &'static str {
        match self {
            Self::Share => "{percent:>3}% [{bar:12}] {elapsed} elapsed, {eta} left  {wide_msg}",
            Self::Steps => "{pos}/{len} [{bar:12}] {elapsed} elapsed, {eta} left  {wide_msg}",
            Self::Bytes => "[{bar:12}] {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left  {wide_msg}",
        }
    }
}

/// How far some work is.
pub struct Progress {
    bar: ProgressBar,
    unit: Unit,
    /// Where no bar is shown.
    lines: Option<(Instant, Mutex<Pace>)>,
}

impl Progress {
    /// Of work that tells its share in thousandths.
    pub fn share(session: &Session) -> Self {
        Self::new(session, Unit::Share, Some(WHOLE))
    }

    /// Of so many steps.
    pub fn steps(session: &Session, total: u64) -> Self {
        Self::new(session, Unit::Steps, Some(total))
    }

    /// Of bytes, whose number is not known yet.
    pub fn bytes(session: &Session) -> Self {
        Self::new(session, Unit::Bytes, None)
    }

    fn new(session: &Session, unit: Unit, total: Option<u64>) -> Self {
        let shown = !session.quiet && io::stderr().is_terminal();
        // Hidden as long as its style is not set.
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

    /// What the work is called, or how it goes.
    pub fn set_message(&self, message: impl Into<Cow<'static, str>>) {
        self.bar.set_message(message);
    }

    /// The message.
    pub fn message(&self) -> String {
        self.bar.message()
    }

    /// How many there are.
    pub fn set_length(&self, total: u64) {
        self.bar.set_length(total);
    }

    /// What was done before this call takes no time.
    pub fn start_at(&self, position: u64) {
        self.bar.set_position(position);
        self.bar.reset_eta();
    }

    /// How many are done.
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
        self.set_position((WHOLE as f64 * share) as u64);
    }

    fn line(&self, position: u64, elapsed: Duration) -> String {
        let done = match (self.unit, self.bar.length()) {
            (Unit::Steps, Some(total)) => format!("step {position} of {total}"),
            (Unit::Bytes, None) => format!("{position} bytes"),
            (_, total) => format!("{}%", 100 * position / total.unwrap_or(WHOLE).max(1)),
        };
        let (elapsed, left) = (span(elapsed.as_secs_f64()), self.bar.eta().as_secs_f64());
        let left = if left > 0.0 { format!(", {} left", span(left)) } else { String::new() };
        let message = self.message();
        let message = if message.is_empty() { message } else { format!("  {message}") };
        format!("{done}, {elapsed} elapsed{left}{message}")
    }

    /// Writes to the terminal beside the bar.
    pub fn suspend(&self, write: impl FnOnce()) {
        aside(write);
    }

    /// The work is done.
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
    fn lines_come_soon_and_then_ever_more_seldom() {
        let mut pace = Pace { next: FIRST };
        let due: Vec<u64> = (0..3600).filter(|s| pace.due(Duration::from_secs(*s))).collect();
        assert_eq!(due[..5], [5, 10, 15, 23, 35]);
        assert!(due.windows(2).all(|pair| pair[1] - pair[0] <= 300));
        assert!((15..30).contains(&due.len()), "{due:?}");
    }

    #[test]
    fn what_is_written_beside_the_bars_may_be_nested() {
        assert_eq!(aside(|| 1 + aside(|| 1)), 2);
        assert_eq!(aside(|| 3), 3);
    }

    #[test]
    fn spans_have_a_fitting_unit() {
        let of = [0.2, 1.2, 99.0, 600.0, 7200.0, 4.0 * 86400.0].map(span);
        assert_eq!(of, ["under 1 s", "1 s", "99 s", "10 min", "2.0 h", "4.0 days"]);
    }
}
