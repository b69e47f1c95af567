//! Checkpoints as dictionaries of arrays, for networks written in Python.

use crate::{
    arrays,
    errors::{IntoPython as _, exception, usage},
    values,
};
use miyasawa::{
    bundled::BundledModel,
    burn::tensor::TensorData,
    checkpoint::{Checkpoint, CheckpointError, Precision},
};
use pyo3::{buffer::PyBuffer, prelude::*, types::PyDict};
use std::{collections::BTreeMap, path::PathBuf};

impl crate::errors::IntoPython for CheckpointError {
    fn into_python(self) -> PyErr {
        exception("CheckpointError", self.to_string())
    }
}

/// The description and the parameters (float32, by name) of a checkpoint, or of a bundled model
/// where `path` is None.
#[pyfunction]
pub fn read_checkpoint<'py>(
    py: Python<'py>,
    path: Option<PathBuf>,
    bundled: Option<&str>,
) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyDict>)> {
    let bundled = bundled.map(str::parse::<BundledModel>).transpose();
    let bundled = bundled.map_err(|error| usage(error.to_string()))?.unwrap_or_default();
    let found = py.detach(|| match path {
        Some(path) => Checkpoint::load(&path),
        None => bundled.checkpoint().map(|(checkpoint, _)| checkpoint),
    });
    let Checkpoint { info, params } = found.map_err(|error| error.into_python())?;
    let found = PyDict::new(py);
    for (name, data) in params {
        let shape = data.shape().to_vec();
        let data = data.try_into_vec::<f32>();
        let data = data.map_err(|error| exception("CheckpointError", format!("{error:?}")))?;
        found.set_item(name, arrays::make(py, &data, &shape)?)?;
    }
    Ok((values::document(py, &info)?, found))
}

/// Writes a checkpoint that the program reads; `info` is its description as JSON.
#[pyfunction]
pub fn write_checkpoint(
    py: Python<'_>,
    path: PathBuf,
    info: &str,
    params: BTreeMap<String, PyBuffer<f32>>,
    bf16: bool,
) -> PyResult<()> {
    let info = serde_json::from_str(info).map_err(|error| usage(format!("info: {error}")))?;
    let mut tensors = BTreeMap::new();
    for (name, array) in params {
        let data = TensorData::new(array.to_vec(py)?, array.shape().to_vec());
        tensors.insert(name, data);
    }
    let precision = if bf16 { Precision::Bf16 } else { Precision::F32 };
    let checkpoint = Checkpoint { info, params: tensors };
    py.detach(move || {
        // The parameters must be those of the network: a file that cannot be used is not written.
        checkpoint.model(&miyasawa::Device::flex(), &path)?;
        checkpoint.save_in(precision, &path)
    })
    .map_err(|error| error.into_python())
}
