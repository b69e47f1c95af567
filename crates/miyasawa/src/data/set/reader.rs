//! Images that a program reads itself.

use std::fmt;
use std::sync::Arc;

use super::dataset::Dataset;
use crate::data::error::ReadError;
use crate::image::Geometry;

/// An image as an [`ImageReader`] gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageData {
    /// The bytes of a file: PNG, JPEG, WebP, TIFF, BMP or GIF. They are decoded by the library, by
    /// the same rules as files of a folder.
    Encoded(Vec<u8>),
    /// 8-bit values `[channels, height, width]`, 0 for black and 255 for white.
    Pixels {
        /// 1 or 3 channels, and the image's own size.
        geometry: Geometry,
        /// As many values as the geometry says.
        values: Vec<u8>,
    },
}

/// Labelled images that a program reads itself: from a database, over a network, or synthetic.
///
/// [`Images::from_reader`](crate::data::Images::from_reader) makes a set of them that feeds
/// training and evaluation as any other: held in memory, or streamed by several threads, resized,
/// augmented, in an order fixed by the seed.
///
/// Image `index` must always be the same one: training resumes and evaluation compares by index.
///
/// ```
/// use miyasawa::data::{
///     Geometry, ImageData, ImageReader, OpenOptions, Images, ReadError, Streaming,
/// };
///
/// /// Stripes of 4x4 pixels, upright ones and level ones.
/// struct Stripes;
///
/// impl ImageReader for Stripes {
///     fn len(&self) -> usize {
///         20
///     }
///
///     fn label(&self, index: usize) -> u32 {
///         (index % 2) as u32
///     }
///
///     fn read(&self, index: usize) -> Result<ImageData, ReadError> {
///         let at = |i: usize| if index % 2 == 0 { i % 4 } else { i / 4 };
///         let values = (0..16).map(|i| 255 * (at(i) % 2) as u8).collect();
///         Ok(ImageData::Pixels { geometry: Geometry::new(1, 4, 4), values })
///     }
/// }
///
/// let classes = vec!["upright".to_owned(), "level".to_owned()];
/// let options = OpenOptions { stream: Streaming::Always, ..OpenOptions::default() };
/// let train = Images::from_reader("stripes", classes, Stripes, &options)?;
/// assert_eq!((train.len(), train.geometry()), (20, Geometry::new(1, 4, 4)));
/// assert_eq!(train.load(&[1])?.image(0)[..5], [0, 0, 0, 0, 255]);
/// # Ok::<(), miyasawa::data::DataError>(())
/// ```
#[allow(clippy::len_without_is_empty, reason = "a data set is never empty")]
pub trait ImageReader: Send + Sync {
    /// The number of images.
    fn len(&self) -> usize;

    /// The class of an image, an index into the class names. Asked once for every image, when the
    /// set is opened.
    fn label(&self, index: usize) -> u32;

    /// Reads an image. Called by several threads at once, in any order, as often as the image is
    /// needed.
    ///
    /// # Errors
    ///
    /// Whatever keeps this image from being read. Such an image counts as corrupt: up to
    /// [`OpenOptions::max_corrupt`](crate::data::OpenOptions::max_corrupt) of them are skipped.
    fn read(&self, index: usize) -> Result<ImageData, ReadError>;
}

impl ImageReader for Dataset {
    fn len(&self) -> usize {
        self.len()
    }

    fn label(&self, index: usize) -> u32 {
        self.labels()[index]
    }

    fn read(&self, index: usize) -> Result<ImageData, ReadError> {
        let (geometry, values) = (self.geometry(), self.image(index).to_vec());
        Ok(ImageData::Pixels { geometry, values })
    }
}

/// A reader that copies of a set share.
#[derive(Clone)]
pub(in crate::data) struct SharedReader(pub Arc<dyn ImageReader>);

impl fmt::Debug for SharedReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ImageReader")
    }
}
