//! The command line in the process.

use crate::{errors::IntoPython as _, messages, values, work};
use pyo3::prelude::*;
use std::{ffi::OsString, io::Write as _, sync::mpsc};

/// The program `miyasawa`: returns its exit status. To be called once in a process.
#[pyfunction]
pub fn run(py: Python<'_>, args: Vec<OsString>) -> u8 {
    py.detach(|| {
        miyasawa_kernels::memory::keep_pages();
        let status = miyasawa_cli::run(args);
        // Python ends without what a Rust program does at its end. What cannot be written now was
        // reported when it was printed.
        let _ = std::io::stdout().flush();
        status
    })
}

/// The document of a command that measures. `watch` is called with the task and the share that is
/// done, from 0 to 1.
#[pyfunction]
pub fn document<'py>(
    py: Python<'py>,
    args: Vec<OsString>,
    watch: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    messages::collect();
    let (sender, seen) = mpsc::channel::<(String, f64)>();
    let mut meanwhile = |py: Python<'_>| {
        // Only the newest: a callback may be slower than the work.
        match (seen.try_iter().last(), &watch) {
            (Some(progress), Some(watch)) => watch.call1(py, progress).map(drop),
            _ => Ok(()),
        }
    };
    let found = work::beside_with(py, &mut meanwhile, move |stop| {
        miyasawa_cli::document(args, stop.clone(), move |progress| {
            // Nobody listens any more once the call has ended.
            let _ = sender.send((progress.task.to_owned(), progress.share));
        })
    })?;
    values::from_json(py, &found.map_err(|error| error.into_python())?)
}
