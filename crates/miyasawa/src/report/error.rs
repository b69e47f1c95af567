//! Errors of figures and pages.

use crate::atomic::AtomicError;

/// An error while drawing or writing a figure.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The figure could not be drawn.
    #[error("the figure cannot be drawn: {0}")]
    Draw(String),
    /// The image could not be encoded.
    #[error("the image cannot be encoded: {0}")]
    Image(#[from] image::ImageError),
    /// A figure made of images could not be drawn or saved.
    #[error(transparent)]
    Figure(#[from] crate::image::ImageError),
    /// The file could not be written.
    #[error(transparent)]
    Write(#[from] AtomicError),
}
