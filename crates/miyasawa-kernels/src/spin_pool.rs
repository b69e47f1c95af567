//! Helpers that stay awake between the parts of a computation.
//!
//! An operation on one image takes a fraction of a millisecond; waking a thread that sleeps takes a
//! tenth of that, and a network has a hundred of them. A thread that shares work therefore asks
//! rayon for helpers that poll for more work for a moment before they return, and finds them awake
//! at the next operation.

use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// How long a helper polls for work before it returns its thread to rayon.
const PATIENCE: Duration = Duration::from_micros(300);

/// Work shared: calls of `f` with `0..tasks`, each number taken once.
struct Job<'a> {
    f: &'a (dyn Fn(usize) + Sync),
    tasks: usize,
    next: AtomicUsize,
    panicked: AtomicBool,
}

impl Job<'_> {
    fn work(&self) {
        loop {
            let i = self.next.fetch_add(1, SeqCst);
            if i >= self.tasks {
                return;
            }
            (self.f)(i);
        }
    }
}

/// A value on a separate pair of cache lines (processors fetch two together): threads that poll it
/// are not disturbed by writes to its neighbours.
#[repr(align(128))]
struct Apart<T>(T);

impl<T> Deref for Apart<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// One job at a time is on the board.
static TAKEN: Apart<AtomicBool> = Apart(AtomicBool::new(false));
/// The job that helpers may join, or null.
static BOARD: Apart<AtomicPtr<Job<'static>>> = Apart(AtomicPtr::new(std::ptr::null_mut()));
/// Jobs posted so far. Two jobs may lie at the same address, one after the other.
static POSTED: Apart<AtomicUsize> = Apart(AtomicUsize::new(0));
/// Helpers that inspect the job on the board or work on it.
static INSIDE: Apart<AtomicUsize> = Apart(AtomicUsize::new(0));
/// Helpers that poll or were requested.
static HELPERS: Apart<AtomicUsize> = Apart(AtomicUsize::new(0));

/// Takes the job off the board and waits for the helpers to leave it, also when a task panics.
struct Posted;

impl Drop for Posted {
    fn drop(&mut self) {
        BOARD.store(std::ptr::null_mut(), SeqCst);
        while INSIDE.load(SeqCst) > 0 {
            std::hint::spin_loop();
        }
        TAKEN.store(false, SeqCst);
    }
}

/// Calls `f` with `0..tasks` on this thread and `helpers` others. All of it on this thread where
/// another thread's job is on the board: then the other threads have work.
pub(crate) fn share(helpers: usize, tasks: usize, f: &(dyn Fn(usize) + Sync)) {
    if TAKEN.swap(true, SeqCst) {
        return (0..tasks).for_each(f);
    }
    let job = Job { f, tasks, next: AtomicUsize::new(0), panicked: AtomicBool::new(false) };
    {
        let posted = Posted;
        POSTED.fetch_add(1, SeqCst);
        BOARD.store((&raw const job).cast_mut().cast(), SeqCst);
        while HELPERS.load(SeqCst) < helpers {
            HELPERS.fetch_add(1, SeqCst);
            rayon::spawn(help);
        }
        job.work();
        drop(posted);
    }
    assert!(!job.panicked.load(SeqCst), "a helper's task panicked");
}

/// Polls the board and joins posted jobs, until none was posted for a while.
fn help() {
    let mut since = Instant::now();
    let mut rounds = 0u32;
    loop {
        if BOARD.load(SeqCst).is_null() {
            rounds = rounds.wrapping_add(1);
            if rounds.is_multiple_of(64) && since.elapsed() > PATIENCE {
                break;
            }
            std::hint::spin_loop();
            continue;
        }
        INSIDE.fetch_add(1, SeqCst);
        let number = POSTED.load(SeqCst);
        let job = BOARD.load(SeqCst);
        if !job.is_null() {
            // SAFETY: the job was on the board after this helper was counted in `INSIDE`, and
            // whoever posted it takes it off and then waits for that count to be zero before the
            // job and its borrows end.
            let job = unsafe { &*job };
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| job.work())) {
                job.panicked.store(true, SeqCst);
                drop(panic);
            }
        }
        INSIDE.fetch_sub(1, SeqCst);
        // The job may stay on the board while its last tasks are done: there is nothing left to
        // take of it.
        while POSTED.load(SeqCst) == number && !BOARD.load(SeqCst).is_null() {
            std::hint::spin_loop();
        }
        since = Instant::now();
    }
    HELPERS.fetch_sub(1, SeqCst);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_is_done_once_however_many_threads_post() {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for tasks in (0..300).chain([5000]) {
                        let done: Vec<AtomicUsize> =
                            (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                        share(3, tasks, &|i| {
                            done[i].fetch_add(1, SeqCst);
                        });
                        assert!(done.iter().all(|n| n.load(SeqCst) == 1), "{tasks} tasks");
                    }
                });
            }
        });
    }

    #[test]
    fn a_panic_reaches_whoever_posted_and_the_board_is_free_again() {
        for _ in 0..20 {
            let outcome = catch_unwind(|| share(2, 100, &|i| assert!(i != 50, "task 50")));
            assert!(outcome.is_err());
        }
        share(2, 10, &|_| ());
    }
}
