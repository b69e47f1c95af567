//! Long work beside the interpreter, which stays responsive.

use crate::{
    errors::{exception, usage},
    messages,
};
use pyo3::prelude::*;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel},
    },
    time::Duration,
};

/// How often signals are looked at.
const POLL: Duration = Duration::from_millis(50);

/// How long a thread of the pool waits for a call's end before it looks for other work.
const TURN: Duration = Duration::from_millis(1);

/// The process that began to work, whose pool has threads.
static PROCESS: AtomicU32 = AtomicU32::new(0);

/// Something to do in the interpreter, and who waits for its end.
type Call = (Box<dyn FnOnce(Python<'_>) -> PyResult<()> + Send>, SyncSender<()>);

/// What some work has of the caller's side.
#[derive(Clone)]
pub struct Caller {
    /// Set where the work should end.
    pub stop: Arc<AtomicBool>,
    calls: Sender<Call>,
}

impl Caller {
    /// Does something in the interpreter, on the caller's thread, and waits for it. Its exception
    /// stops the work.
    pub fn call(&self, call: impl FnOnce(Python<'_>) -> PyResult<()> + Send + 'static) {
        let (done, wait) = sync_channel(1);
        if self.calls.send((Box::new(call), done)).is_err() {
            return;
        }
        // The call may ask for work itself, and this thread may be the only one of the pool. An
        // answer that does not come because the other side is gone is an answer, too.
        while let Err(RecvTimeoutError::Timeout) = wait.recv_timeout(TURN) {
            rayon::yield_now();
        }
    }
}

/// That there are threads to work with.
///
/// # Errors
/// In a process that was forked from one that worked: it has none of its threads, and would wait
/// for them for ever.
pub fn has_threads() -> PyResult<()> {
    let this = std::process::id();
    let first = PROCESS.compare_exchange(0, this, Ordering::Relaxed, Ordering::Relaxed);
    match first {
        Err(other) if other != this => Err(usage(
            "a process that was forked has no threads to work with, expected one that \
             multiprocessing started by 'spawn' or 'forkserver'",
        )),
        _ => Ok(()),
    }
}

/// Does some work on a thread of the pool, inside of which a kernel's caller takes part in its
/// work, without holding the interpreter's lock. Meanwhile signals are handled here: where a
/// handler raises (Ctrl-C), the flag that the work is handed is set, and the exception is raised
/// once the work has ended. A panic of the work goes on here, and PyO3 makes an exception of it.
pub fn beside<T: Send>(py: Python<'_>, work: impl FnOnce(Caller) -> T + Send) -> PyResult<T> {
    has_threads()?;
    let (sender, calls) = channel();
    let stop = Arc::new(AtomicBool::new(false));
    let caller = Caller { stop: stop.clone(), calls: sender };
    let (found, raised) = py.detach(|| {
        let mut found = None;
        let raised = rayon::in_place_scope(|scope| {
            scope.spawn(|_| found = Some(work(caller)));
            attend(calls, &stop)
        });
        (found, raised)
    });
    if let Some(error) = raised {
        return Err(error);
    }
    look(py)?;
    found.ok_or_else(|| exception("MiyasawaError", "the work has no result".to_owned()))
}

/// Attends to the work until it has ended; returns what was raised meanwhile.
fn attend(calls: Receiver<Call>, stop: &AtomicBool) -> Option<PyErr> {
    let mut raised = None;
    loop {
        let call = match calls.recv_timeout(POLL) {
            Ok(call) => Some(call),
            Err(RecvTimeoutError::Timeout) => None,
            // The work has ended, and its caller with it.
            Err(RecvTimeoutError::Disconnected) => return raised,
        };
        if raised.is_some() {
            continue;
        }
        let attended = Python::attach(|py| match call {
            Some((call, _done)) => call(py).and_then(|()| look(py)),
            None => look(py),
        });
        if let Err(error) = attended {
            raised = Some(error);
            stop.store(true, Ordering::Relaxed);
        }
    }
}

fn look(py: Python<'_>) -> PyResult<()> {
    messages::hand_over(py)?;
    py.check_signals()
}
