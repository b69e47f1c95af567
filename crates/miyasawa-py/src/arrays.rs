//! Arrays of NumPy: read through the buffer protocol, and made by NumPy itself.

use crate::errors::usage;
use pyo3::{
    buffer::{Element, PyBuffer},
    prelude::*,
    types::PyTuple,
};

/// A type of values in arrays.
pub trait Value: Element {
    /// What NumPy calls it.
    const NAME: &'static str;
}

impl Value for u8 {
    const NAME: &'static str = "uint8";
}

impl Value for u16 {
    const NAME: &'static str = "uint16";
}

impl Value for f32 {
    const NAME: &'static str = "float32";
}

impl Value for f64 {
    const NAME: &'static str = "float64";
}

/// The values of a contiguous array, and its shape of `N` dimensions.
pub fn read<T: Element, const N: usize>(
    py: Python<'_>,
    array: &PyBuffer<T>,
) -> PyResult<(Vec<T>, [usize; N])> {
    let shape = array.shape().try_into();
    let shape = shape.map_err(|_| {
        usage(format!("an array of {} dimensions, expected {N}", array.dimensions()))
    })?;
    if !array.is_c_contiguous() {
        return Err(usage("the array is not contiguous"));
    }
    Ok((array.to_vec(py)?, shape))
}

/// An array of NumPy with these values.
pub fn make<'py, T: Value>(
    py: Python<'py>,
    values: &[T],
    shape: &[usize],
) -> PyResult<Bound<'py, PyAny>> {
    let shape = PyTuple::new(py, shape)?;
    let array = py.import("numpy")?.call_method1("empty", (shape, T::NAME))?;
    if !values.is_empty() {
        PyBuffer::<T>::get(&array)?.copy_from_slice(py, values)?;
    }
    Ok(array)
}
