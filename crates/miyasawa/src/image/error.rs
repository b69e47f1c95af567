//! What can go wrong with an image.

use std::path::PathBuf;

use super::decode::DecodeError;
use crate::atomic::AtomicError;

/// An image could not be opened, changed or saved. Every message is one line; those about files begin with the path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The system could not read the file: missing, not permitted, a folder.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not an image that can be decoded.
    #[error("{}: {source}", path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// The name's extension is not that of a format that can be written.
    #[error("{}: cannot tell the format to write: expected a name ending in .png, .jpg, .jpeg, .webp, .tif, .tiff or .bmp", path.display())]
    Extension {
        /// The file that was to be written.
        path: PathBuf,
    },
    /// The image cannot be stored in the format, for example because it is too large for it.
    #[error("{}: cannot be stored as {format}: {found}", path.display())]
    Encode {
        /// The file that was to be written.
        path: PathBuf,
        /// The format.
        format: &'static str,
        /// What the encoder said.
        found: String,
    },
    /// The file could not be written; what was there before is still there.
    #[error(transparent)]
    Write(#[from] AtomicError),
    /// Noise of no level that noise can have.
    #[error("noise of the level {found}, expected a finite number from 0")]
    Noise {
        /// What was asked for.
        found: f64,
    },
    /// Sizes do not fit together.
    #[error("expected an image of {expected}, found {found}")]
    Shape {
        /// What must hold.
        expected: String,
        /// What was given.
        found: String,
    },
}
