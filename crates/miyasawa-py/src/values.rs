//! Documents as dictionaries.

use crate::errors::exception;
use pyo3::{
    prelude::*,
    types::{PyDict, PyList},
};
use serde::Serialize;
use serde_json::Value;

/// What `--json` prints of a value, as Python's `json` would read it.
pub fn document<'py>(py: Python<'py>, value: &impl Serialize) -> PyResult<Bound<'py, PyAny>> {
    let value = serde_json::to_value(value);
    from_json(py, &value.map_err(|error| exception("MiyasawaError", error.to_string()))?)
}

/// A JSON value as Python's `json` would read it.
pub fn from_json<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::Null => py.None().into_bound(py),
        Value::Bool(value) => value.into_pyobject(py)?.to_owned().into_any(),
        Value::Number(value) => match (value.as_i64(), value.as_u64(), value.as_f64()) {
            (Some(value), ..) => value.into_pyobject(py)?.into_any(),
            (_, Some(value), _) => value.into_pyobject(py)?.into_any(),
            (.., value) => value.unwrap_or(f64::NAN).into_pyobject(py)?.into_any(),
        },
        Value::String(value) => value.into_pyobject(py)?.into_any(),
        Value::Array(values) => {
            let values: PyResult<Vec<_>> =
                values.iter().map(|value| from_json(py, value)).collect();
            PyList::new(py, values?)?.into_any()
        }
        Value::Object(entries) => {
            let found = PyDict::new(py);
            for (key, value) in entries {
                found.set_item(key, from_json(py, value)?)?;
            }
            found.into_any()
        }
    })
}
