//! Arrays of NumPy and files as images, and back.

use crate::{arrays, errors::IntoPython as _};
use miyasawa::{
    image::{Depth, Image, ImageError, ImageFile},
    range::{denormalise, denormalise_16, normalise_16},
};
use pyo3::{buffer::PyBuffer, prelude::*};
use std::path::PathBuf;

/// What a caller gives: a contiguous array of the shape (images, channels, height, width), or the
/// path of a file.
#[derive(FromPyObject)]
pub enum Input {
    /// 8 bits.
    #[pyo3(transparent)]
    Bytes(PyBuffer<u8>),
    /// 16 bits.
    #[pyo3(transparent)]
    Words(PyBuffer<u16>),
    /// Values in [-1, 1].
    #[pyo3(transparent)]
    Floats(PyBuffer<f32>),
    /// The first image of a file, laid over white.
    #[pyo3(transparent)]
    File(PathBuf),
}

/// The values of one of the inputs, to be worked on without the interpreter's lock.
pub enum Source {
    Bytes(Vec<u8>, [usize; 4]),
    Words(Vec<u16>, [usize; 4]),
    Floats(Vec<f32>, [usize; 4]),
    File(PathBuf),
}

/// How values are stored in arrays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Bytes,
    Words,
    Floats,
}

/// The values and the shape of an array that is handed over.
pub struct Array {
    values: Values,
    shape: [usize; 4],
}

enum Values {
    Bytes(Vec<u8>),
    Words(Vec<u16>),
    Floats(Vec<f32>),
}

impl Input {
    /// The values.
    pub fn source(&self, py: Python<'_>) -> PyResult<Source> {
        Ok(match self {
            Self::Bytes(array) => {
                arrays::read(py, array).map(|(v, shape)| Source::Bytes(v, shape))?
            }
            Self::Words(array) => {
                arrays::read(py, array).map(|(v, shape)| Source::Words(v, shape))?
            }
            Self::Floats(array) => {
                arrays::read(py, array).map(|(v, shape)| Source::Floats(v, shape))?
            }
            Self::File(path) => Source::File(path.clone()),
        })
    }
}

impl Source {
    /// The images, and how their values are to be handed back.
    ///
    /// # Errors
    /// If the shape is not that of images, or the file cannot be read.
    pub fn images(self) -> Result<(Vec<Image>, Kind), ImageError> {
        Ok(match self {
            Self::Bytes(values, shape) => (each(&values, shape, Image::from_bytes)?, Kind::Bytes),
            Self::Words(values, shape) => {
                let image = |shape, values: &[u16]| {
                    let values = values.iter().copied().map(normalise_16).collect();
                    Ok(Image::new(shape, values)?.with_depth(Depth::Sixteen))
                };
                (each(&values, shape, image)?, Kind::Words)
            }
            // A large image is not copied once more.
            Self::Floats(values, [1, channels, height, width]) => {
                (vec![Image::new((channels, height, width), values)?], Kind::Floats)
            }
            Self::Floats(values, shape) => {
                let image = |shape, values: &[f32]| Image::new(shape, values.to_vec());
                (each(&values, shape, image)?, Kind::Floats)
            }
            Self::File(path) => {
                let image = ImageFile::open(&path)?.page(0)?.into_opaque();
                let eight = image.depth() == Depth::Eight;
                (vec![image], if eight { Kind::Bytes } else { Kind::Words })
            }
        })
    }
}

/// The shape (channels, height, width) of an image.
type Shape = (usize, usize, usize);

fn each<T>(
    values: &[T],
    [count, channels, height, width]: [usize; 4],
    image: impl Fn(Shape, &[T]) -> Result<Image, ImageError>,
) -> Result<Vec<Image>, ImageError> {
    let shape = (channels, height, width);
    if count > 0 && values.is_empty() {
        // Images of no size are none.
        image(shape, values)?;
    }
    // The product is that of an array in memory.
    let length = channels * height * width;
    values.chunks(length.max(1)).map(|values| image(shape, values)).collect()
}

/// Images of one shape as an array; of several shapes they must not be.
pub fn array(images: Vec<Image>, kind: Kind) -> Array {
    let (channels, height, width) = images.first().map_or((0, 0, 0), Image::shape);
    let shape = [images.len(), channels, height, width];
    let mut images = images.into_iter();
    if let (Kind::Floats, 1) = (kind, images.len()) {
        let values = images.next().map(Image::into_values).unwrap_or_default();
        return Array { values: Values::Floats(values), shape };
    }
    let values = images.flat_map(Image::into_values);
    let values = match kind {
        Kind::Bytes => Values::Bytes(values.map(denormalise).collect()),
        Kind::Words => Values::Words(values.map(denormalise_16).collect()),
        Kind::Floats => Values::Floats(values.collect()),
    };
    Array { values, shape }
}

impl Array {
    /// The array of NumPy.
    pub fn into_numpy(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        match self.values {
            Values::Bytes(values) => arrays::make(py, &values, &self.shape),
            Values::Words(values) => arrays::make(py, &values, &self.shape),
            Values::Floats(values) => arrays::make(py, &values, &self.shape),
        }
    }
}

/// How many images came from each input, and how they go back.
pub type Parts = Vec<(usize, Kind)>;

/// The images of several inputs, with the number and the kind of each input.
pub fn all(sources: Vec<Source>) -> Result<(Vec<Image>, Parts), ImageError> {
    let (mut images, mut parts) = (Vec::new(), Vec::with_capacity(sources.len()));
    for source in sources {
        let (more, kind) = source.images()?;
        parts.push((more.len(), kind));
        images.extend(more);
    }
    Ok((images, parts))
}

/// Images as the arrays that they came from.
pub fn back(images: Vec<Image>, parts: &[(usize, Kind)]) -> Vec<Array> {
    let mut images = images.into_iter();
    parts.iter().map(|(count, kind)| array(images.by_ref().take(*count).collect(), *kind)).collect()
}

/// The sources of all inputs.
pub fn sources(py: Python<'_>, inputs: &[Input]) -> PyResult<Vec<Source>> {
    inputs.iter().map(|input| input.source(py)).collect()
}

/// Reads a file as an array of its own depth.
#[pyfunction]
pub fn read_image(py: Python<'_>, path: PathBuf) -> PyResult<Bound<'_, PyAny>> {
    let found = py.detach(|| Source::File(path).images());
    let (images, kind) = found.map_err(|error| error.into_python())?;
    array(images, kind).into_numpy(py)
}
