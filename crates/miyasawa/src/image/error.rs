//! Errors of reading, changing and writing images.

use std::path::PathBuf;

use super::decode::DecodeError;
use crate::atomic::AtomicError;

/// The endings of names of files that this build writes.
const ENDINGS: &str = if cfg!(feature = "openexr") {
    ".png, .jpg, .jpeg, .webp, .tif, .tiff, .bmp, .qoi, .pnm, .pgm, .ppm or .exr"
} else if cfg!(feature = "codecs") {
    ".png, .jpg, .jpeg, .webp, .tif, .tiff, .bmp, .qoi, .pnm, .pgm or .ppm"
} else {
    ".png, .jpg or .jpeg"
};

/// An image could not be opened, changed or saved. Every message is one line; those about files
/// begin with the path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The system could not read the file: missing, not permitted, a folder.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The file is not an image that can be decoded.
    #[error("{}: {source}", path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// The decoder's error.
        source: DecodeError,
    },
    /// The name's extension is not that of a format that can be written.
    #[error(
        "{}: cannot determine the format to write: expected a name ending in {ENDINGS}",
        path.display()
    )]
    Extension {
        /// The file that was to be written.
        path: PathBuf,
    },
    /// The format to write needs a feature that this build lacks.
    #[error(
        "{}: this build writes no {format}: build with the feature `{feature}`",
        path.display()
    )]
    NotBuilt {
        /// The file that was to be written.
        path: PathBuf,
        /// The format.
        format: &'static str,
        /// The feature of the library.
        feature: &'static str,
    },
    /// The image cannot be stored in the format, for example because it is too large for it.
    #[error("{}: cannot be stored as {format}: {found}", path.display())]
    Encode {
        /// The file that was to be written.
        path: PathBuf,
        /// The format.
        format: &'static str,
        /// The encoder's message.
        found: String,
    },
    /// The file could not be written; a previous file of that name is unchanged.
    #[error(transparent)]
    Write(#[from] AtomicError),
    /// A crop that would keep nothing, or more than there is.
    #[error("a crop share of {found}, expected above 0 and at most 1")]
    CropShare {
        /// The share that was asked for.
        found: f64,
    },
    /// An invalid noise level.
    #[error("noise of the level {found}, expected a finite number from 0")]
    Noise {
        /// The level that was asked for.
        found: f64,
    },
    /// The shape of an image is not the expected one.
    #[error("expected an image of {expected}, found {found}")]
    Shape {
        /// The expected shape.
        expected: String,
        /// The shape found.
        found: String,
    },
}
