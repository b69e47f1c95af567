//! Long work beside the interpreter, which stays responsive.

use crate::messages;
use pyo3::prelude::*;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{RecvTimeoutError, channel},
    },
    thread,
    time::Duration,
};

/// How often signals are looked at.
const POLL: Duration = Duration::from_millis(50);

/// Does some work on a thread of its own without holding the interpreter's lock. Meanwhile signals
/// are handled: where a handler raises (Ctrl-C), the flag that the work is handed is set, and the
/// exception is raised once the work has ended.
pub fn beside<T: Send>(
    py: Python<'_>,
    work: impl FnOnce(&Arc<AtomicBool>) -> T + Send,
) -> PyResult<T> {
    beside_with(py, &mut |_| Ok(()), work)
}

/// As [`beside`], with something to do in the interpreter from time to time; an error of it stops
/// the work too.
pub fn beside_with<T: Send>(
    py: Python<'_>,
    meanwhile: &mut (dyn FnMut(Python<'_>) -> PyResult<()> + Send),
    work: impl FnOnce(&Arc<AtomicBool>) -> T + Send,
) -> PyResult<T> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut raised = None;
    let mut look = |py: Python<'_>| -> PyResult<()> {
        messages::hand_over(py)?;
        meanwhile(py)?;
        py.check_signals()
    };
    let found = py.detach(|| {
        let (flag, raised, look) = (&stop, &mut raised, &mut look);
        thread::scope(|scope| {
            let (end, ended) = channel::<()>();
            let worker = scope.spawn(move || {
                let _end = end;
                // Inside the pool a kernel's caller takes part in its work.
                rayon::scope(|_| work(flag))
            });
            while ended.recv_timeout(POLL) == Err(RecvTimeoutError::Timeout) {
                if raised.is_some() {
                    continue;
                }
                if let Err(error) = Python::attach(&mut *look) {
                    *raised = Some(error);
                    flag.store(true, Ordering::Relaxed);
                }
            }
            worker.join()
        })
    });
    let found = match found {
        Ok(found) => found,
        // A panic, which PyO3 makes an exception of.
        Err(panic) => std::panic::resume_unwind(panic),
    };
    match raised {
        Some(error) => Err(error),
        None => look(py).map(|()| found),
    }
}
