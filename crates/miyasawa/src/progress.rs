//! Progress of long work, and how to stop it: the same for training, evaluation, attacks and
//! everything else that takes more than a moment.
//!
//! ```
//! use miyasawa::progress::{Monitor, Progress, monitor};
//!
//! fn work(monitor: &mut dyn Monitor) -> Option<u32> {
//!     let mut sum = 0;
//!     for i in 0..10 {
//!         if monitor.stop() {
//!             return None;
//!         }
//!         sum += i;
//!         monitor.progress(&Progress::new("adding", f64::from(i + 1) / 10.0));
//!     }
//!     Some(sum)
//! }
//!
//! assert_eq!(work(&mut ()), Some(45)); // nobody watches
//! let mut last = 0.0;
//! assert_eq!(work(&mut |p: &Progress<'_>| last = p.share), Some(45));
//! assert_eq!(last, 1.0);
//! assert_eq!(work(&mut monitor(|_| {}, || true)), None); // stopped
//! ```

use std::sync::atomic::{AtomicBool, Ordering};

/// How far some work is.
///
/// ```
/// use miyasawa::prelude::*;
/// let progress = Progress { task: "training", share: 0.5, values: &[("loss", 1.2)] };
/// assert_eq!(progress.value("loss"), Some(1.2));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress<'a> {
    /// What is done now: `calibration`, or the name of an attack.
    pub task: &'a str,
    /// The share of the work that is done, 0 to 1.
    pub share: f64,
    /// Numbers that say how it goes, by name; each function documents its own.
    pub values: &'a [(&'a str, f64)],
}

impl<'a> Progress<'a> {
    /// Progress without numbers.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// assert_eq!(Progress::new("evaluation", 0.25).share, 0.25);
    /// ```
    pub fn new(task: &'a str, share: f64) -> Self {
        Self { task, share, values: &[] }
    }

    /// The number of a name.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// assert_eq!(Progress::new("evaluation", 0.25).value("loss"), None);
    /// ```
    pub fn value(&self, name: &str) -> Option<f64> {
        self.values.iter().find(|(key, _)| *key == name).map(|(_, value)| *value)
    }
}

/// Watches some work and may stop it. `()` does neither, a closure of `&Progress` watches, an
/// [`AtomicBool`] that somebody sets stops; [`monitor`] makes one out of two closures.
///
/// ```
/// use miyasawa::prelude::*;
/// use std::sync::atomic::AtomicBool;
///
/// let mut shares = Vec::new();
/// (&mut |p: &Progress<'_>| shares.push(p.share)).progress(&Progress::new("adding", 0.5));
/// assert_eq!(shares, [0.5]);
/// assert!(Monitor::stop(&AtomicBool::new(true)) && !Monitor::stop(&()));
/// ```
pub trait Monitor {
    /// Called from time to time.
    fn progress(&mut self, _progress: &Progress<'_>) {}

    /// Whether the work should end; asked between its pieces.
    fn stop(&self) -> bool {
        false
    }
}

impl Monitor for () {}

impl Monitor for AtomicBool {
    fn stop(&self) -> bool {
        self.load(Ordering::Relaxed)
    }
}

impl<F: FnMut(&Progress<'_>)> Monitor for F {
    fn progress(&mut self, progress: &Progress<'_>) {
        self(progress);
    }
}

/// A [`Monitor`] of two closures.
pub struct Closures<P, S> {
    progress: P,
    stop: S,
}

/// A [`Monitor`] that hands progress to the first closure and asks the second whether to stop.
///
/// ```
/// use miyasawa::prelude::*;
/// use miyasawa::progress::monitor;
/// let mut until_done = monitor(|p: &Progress<'_>| println!("{}", p.share), || true);
/// until_done.progress(&Progress::new("adding", 0.5));
/// assert!(until_done.stop());
/// ```
pub fn monitor<P: FnMut(&Progress<'_>), S: Fn() -> bool>(progress: P, stop: S) -> Closures<P, S> {
    Closures { progress, stop }
}

impl<P: FnMut(&Progress<'_>), S: Fn() -> bool> Monitor for Closures<P, S> {
    fn progress(&mut self, progress: &Progress<'_>) {
        (self.progress)(progress);
    }

    fn stop(&self) -> bool {
        (self.stop)()
    }
}

/// A piece of some work: its shares are mapped to a range of the whole work's.
pub(crate) struct Piece<'m, M: ?Sized = dyn Monitor + 'm> {
    pub monitor: &'m mut M,
    /// The task that is reported instead of the piece's own.
    pub task: Option<&'m str>,
    /// The share at which the piece begins, and its length.
    pub range: [f64; 2],
}

#[cfg(all(feature = "robustness", feature = "report"))]
impl<'m> Piece<'m> {
    /// A whole work under a name.
    pub fn named(monitor: &'m mut dyn Monitor, task: &'m str) -> Self {
        Self { monitor, task: Some(task), range: [0.0, 1.0] }
    }
}

impl<M: Monitor + ?Sized> Monitor for Piece<'_, M> {
    fn progress(&mut self, progress: &Progress<'_>) {
        let [from, length] = self.range;
        let task = self.task.unwrap_or(progress.task);
        self.monitor.progress(&Progress {
            task,
            share: from + length * progress.share,
            ..*progress
        });
    }

    fn stop(&self) -> bool {
        self.monitor.stop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_reports_its_part_of_the_whole() {
        let mut seen = Vec::new();
        let mut whole = |p: &Progress<'_>| seen.push((p.task.to_owned(), p.share, p.value("a")));
        let mut piece = Piece { monitor: &mut whole, task: Some("whole"), range: [0.5, 0.25] };
        piece.progress(&Progress { task: "piece", share: 0.4, values: &[("a", 2.0)] });
        assert!(!piece.stop());
        assert_eq!(seen, [("whole".to_owned(), 0.6, Some(2.0))]);
        let flag = &mut AtomicBool::new(false);
        assert!(!Piece { monitor: flag, task: None, range: [0.0, 1.0] }.stop());
        flag.store(true, Ordering::Relaxed);
        assert!(Piece { monitor: flag, task: None, range: [0.0, 1.0] }.stop());
    }
}
