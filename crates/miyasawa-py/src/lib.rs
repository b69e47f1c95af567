//! The extension module `miyasawa._miyasawa`, which the Python package `miyasawa` is made of.
//!
//! Everything goes through the library's front doors ([`miyasawa::predictor`], [`miyasawa::train`])
//! and the commands of the program ([`miyasawa_cli`]); here arrays become images, results become
//! dictionaries, and errors become exceptions.

mod arrays;
mod checkpoint;
mod command;
mod errors;
mod images;
mod messages;
mod model;
mod training;
mod values;
mod work;

use pyo3::prelude::*;

/// Of what this module allocates alone; Python, NumPy and other modules keep theirs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Milliseconds for which freed memory is kept, so that loops of batches reuse it.
const KEEP_PAGES: u16 = 1000;

#[pymodule]
fn _miyasawa(module: &Bound<'_, PyModule>) -> PyResult<()> {
    miyasawa_kernels::memory::keep_pages_for(KEEP_PAGES);
    module.add_class::<model::Model>()?;
    module.add_function(wrap_pyfunction!(model::bundled, module)?)?;
    module.add_function(wrap_pyfunction!(checkpoint::read_checkpoint, module)?)?;
    module.add_function(wrap_pyfunction!(checkpoint::write_checkpoint, module)?)?;
    module.add_function(wrap_pyfunction!(images::read_image, module)?)?;
    module.add_function(wrap_pyfunction!(command::run, module)?)?;
    module.add_function(wrap_pyfunction!(command::document, module)?)?;
    module.add_function(wrap_pyfunction!(training::train, module)?)?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))
}
