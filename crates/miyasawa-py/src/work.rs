//! Long work beside the interpreter, which stays responsive.

use crate::messages;
use pyo3::prelude::*;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel},
    },
    thread,
    time::Duration,
};

/// How often signals are looked at.
const POLL: Duration = Duration::from_millis(50);

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
        if self.calls.send((Box::new(call), done)).is_ok() {
            // An error says that the other side is done with it, too.
            let _ = wait.recv();
        }
    }
}

/// Does some work on a thread of its own without holding the interpreter's lock. Meanwhile signals
/// are handled: where a handler raises (Ctrl-C), the flag that the work is handed is set, and the
/// exception is raised once the work has ended.
pub fn beside<T: Send>(py: Python<'_>, work: impl FnOnce(Caller) -> T + Send) -> PyResult<T> {
    let (sender, calls) = channel();
    let stop = Arc::new(AtomicBool::new(false));
    let caller = Caller { stop: stop.clone(), calls: sender };
    let (found, raised) = py.detach(|| {
        thread::scope(|scope| {
            // Inside the pool a kernel's caller takes part in its work.
            let worker = scope.spawn(|| rayon::scope(|_| work(caller)));
            let raised = attend(calls, &stop);
            (worker.join(), raised)
        })
    });
    let found = match found {
        Ok(found) => found,
        // A panic, which PyO3 makes an exception of.
        Err(panic) => std::panic::resume_unwind(panic),
    };
    raised.map_or_else(|| look(py).map(|()| found), Err)
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
