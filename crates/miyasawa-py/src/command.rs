//! The command line in the process.

use crate::{errors::IntoPython as _, messages, values, work};
use pyo3::prelude::*;
use std::{ffi::OsString, io::Write as _, sync::Arc};

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
    let watch = watch.map(Arc::new);
    let found = work::beside(py, move |caller| {
        let stop = caller.stop.clone();
        miyasawa_cli::document(args, stop, move |progress| {
            if let Some(watch) = watch.clone() {
                let seen = (progress.task.to_owned(), progress.share);
                caller.call(move |py| watch.call1(py, seen).map(drop));
            }
        })
    })?;
    values::from_json(py, &found.map_err(|error| error.into_python())?)
}
