//! Why a figure or a page could not be made.

use crate::atomic::AtomicError;

/// Why a figure could not be drawn or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The figure could not be drawn.
    #[error("the figure cannot be drawn: {0}")]
    Draw(String),
    /// The picture could not be encoded.
    #[error("the picture cannot be encoded: {0}")]
    Picture(#[from] image::ImageError),
    /// A figure made of pictures could not be drawn or saved.
    #[error(transparent)]
    Figure(#[from] crate::picture::PictureError),
    /// The file could not be written.
    #[error(transparent)]
    Write(#[from] AtomicError),
}
