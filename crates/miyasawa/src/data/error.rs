//! What can go wrong with data: every error names the file or the set.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::range::ValueRange;
use crate::atomic::AtomicError;
use crate::image::DecodeError;
use crate::image::Geometry;

/// What an [`ImageReader`](crate::data::ImageReader) says of an image that it cannot read.
pub type ReadError = Box<dyn std::error::Error + Send + Sync>;

/// A data set could not be read, or cannot be what was asked of it.
///
/// Every message is one line that names what was being read, what was expected and what was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The operating system could not read a file or folder: missing, not permitted, a directory.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A named data set, or part of one, is in none of the folders where it may be.
    #[error("{what} not found; looked in {}. {hint}", list(looked))]
    NotFound {
        /// What was searched for.
        what: String,
        /// The search path, in the order in which it was tried.
        looked: Vec<PathBuf>,
        /// How to get it.
        hint: String,
    },
    /// A file is not in the format that its name or path promises, or is damaged.
    #[error("{}: expected {expected}, found {found}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What the format demands.
        expected: String,
        /// What the file holds.
        found: String,
    },
    /// An image of the set cannot be decoded.
    #[error("{}: {source}", path.display())]
    Image {
        /// The image; inside an archive, the archive's path followed by the entry's.
        path: PathBuf,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// More images cannot be decoded than may be skipped.
    #[error(
        "more than {limit} corrupt images (data.max_broken, --max-broken): {}, ...",
        list(named)
    )]
    TooManyCorrupt {
        /// The most that may be skipped.
        limit: usize,
        /// The first of them.
        named: Vec<PathBuf>,
    },
    /// The images are not all of one size and no size was asked for.
    #[error(
        "images of different sizes: {} is {}x{} but {} is {}x{} (height x width); \
         ask for one size: data.size and data.fit=resize for training, --fit resize for evaluation",
        first.display(), first_size.0, first_size.1, odd.display(), odd_size.0, odd_size.1
    )]
    MixedSizes {
        /// The first image of the set.
        first: PathBuf,
        /// Its height and width.
        first_size: (usize, usize),
        /// The first image that differs.
        odd: PathBuf,
        /// Its height and width.
        odd_size: (usize, usize),
    },
    /// A data set or a request on one breaks a rule of [`crate::data::Dataset`].
    #[error("data set {name}: expected {expected}, found {found}")]
    Invalid {
        /// The data set.
        name: String,
        /// What must hold.
        expected: String,
        /// What was asked or given.
        found: String,
    },
    /// A set without images, or with more than an index can count.
    #[error("data set {name}: expected between 1 and 2^32 - 1 images, found {found}")]
    Empty {
        /// The data set.
        name: String,
        /// How many there are.
        found: usize,
    },
    /// An array of values has another length than the images need.
    #[error("data set {name}: expected {images} images of {geometry} values, found {found} values")]
    WrongLength {
        /// The data set.
        name: String,
        /// Images, one for each label.
        images: usize,
        /// What each of them should be.
        geometry: Geometry,
        /// How many values there are.
        found: usize,
    },
    /// A label that no class has.
    #[error(
        "data set {name}: expected labels below the number of classes, {classes}, \
         found label {label} at image {image}"
    )]
    LabelOutOfRange {
        /// The data set.
        name: String,
        /// The image.
        image: usize,
        /// Its label.
        label: u32,
        /// The number of classes.
        classes: usize,
    },
    /// A value that is NaN or outside the range of its set.
    #[error(
        "data set {name}: expected values in {range}, found {value} in image {image} at {index}"
    )]
    ValueOutOfRange {
        /// The data set.
        name: String,
        /// The image.
        image: usize,
        /// Where in the image.
        index: usize,
        /// The value.
        value: f32,
        /// What was expected.
        range: ValueRange,
    },
    /// An [`ImageReader`](crate::data::ImageReader) could not read an image.
    #[error("data set {name}: image {image} cannot be read: {source}")]
    Reader {
        /// The data set.
        name: String,
        /// The image.
        image: usize,
        /// What the reader said.
        source: ReadError,
    },
    /// A file of a set cannot be written.
    #[error(transparent)]
    Write(#[from] AtomicError),
    /// Something is in the way of what is to be written.
    #[error("{path}: {what}; choose another folder or name", path = path.display())]
    Exists {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// The DATA argument cannot be understood.
    #[error("cannot understand the data argument '{spec}': {problem}")]
    Spec {
        /// The argument.
        spec: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl DataError {
    /// Whether the call was invalid, as opposed to valid work that failed.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Spec { .. } | Self::Exists { .. })
    }
}

impl DataError {
    pub(super) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }

    pub(super) fn malformed(
        path: &Path,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self::Malformed { path: path.to_owned(), expected: expected.into(), found: found.into() }
    }

    /// All images are corrupt, or all that were chosen.
    pub(crate) fn none_intact(name: &str) -> Self {
        Self::invalid(name, "at least one intact image", "none")
    }

    /// Images that would have to be padded to a size that is smaller in height or width.
    pub(super) fn too_large_to_pad(name: &str, to: (usize, usize), have: (usize, usize)) -> Self {
        let expected = format!("images no larger than {}x{} to pad to that size", to.0, to.1);
        let found = format!(
            "images of {}x{}; resize them instead (data.fit=resize, --fit resize)",
            have.0, have.1
        );
        Self::invalid(name, expected, found)
    }

    pub(super) fn invalid(
        name: &str,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self::Invalid { name: name.to_owned(), expected: expected.into(), found: found.into() }
    }
}

fn list(paths: &[PathBuf]) -> String {
    let mut text = String::new();
    for (i, path) in paths.iter().enumerate() {
        let separator = if i == 0 { "" } else { ", " };
        // Writing to a String cannot fail.
        let _ = write!(text, "{separator}{}", path.display());
    }
    text
}
