//! The binary version of CIFAR-10 and CIFAR-100 (<https://www.cs.toronto.edu/~kriz/cifar.html>):
//! records of one label byte (CIFAR-100: coarse, then fine) and 3x32x32 values.

use std::path::{Path, PathBuf};

use super::class_names;
use crate::data::error::DataError;
use crate::data::part::Part;
use crate::data::set::dataset::Dataset;
use crate::image::Geometry;

/// Values of an image.
const IMAGE: usize = 3 * 32 * 32;

/// The two sets of this format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::data) enum CifarVariant {
    Ten,
    Hundred,
}

impl CifarVariant {
    /// Which set a file belongs to and which part of it, by its name.
    pub fn of_name(name: &str) -> Option<(Self, Part)> {
        match name {
            "test_batch.bin" => Some((Self::Ten, Part::Test)),
            "train.bin" => Some((Self::Hundred, Part::Train)),
            "test.bin" => Some((Self::Hundred, Part::Test)),
            _ if name.starts_with("data_batch_") && name.ends_with(".bin") => {
                Some((Self::Ten, Part::Train))
            }
            _ => None,
        }
    }

    /// Which set a file of this length can be of; names other than the usual ones say nothing.
    pub fn of_length(length: usize) -> Option<Self> {
        [Self::Ten, Self::Hundred]
            .into_iter()
            .find(|kind| length > 0 && length.is_multiple_of(kind.record()))
    }

    fn record(self) -> usize {
        IMAGE + self.label_bytes()
    }

    fn label_bytes(self) -> usize {
        match self {
            Self::Ten => 1,
            Self::Hundred => 2,
        }
    }

    /// The class names of the set.
    pub fn classes(self) -> &'static [&'static str] {
        match self {
            Self::Ten => class_names::CIFAR10,
            Self::Hundred => class_names::CIFAR100,
        }
    }
}

/// A data set from the contents of binary files, in the order given.
pub(in crate::data) fn parse(
    name: &str,
    kind: CifarVariant,
    files: &[(PathBuf, &[u8])],
) -> Result<Dataset, DataError> {
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for (path, bytes) in files {
        parse_file(path, kind, bytes, &mut pixels, &mut labels)?;
    }
    Dataset::new(name, Geometry::new(3, 32, 32), class_names::owned(kind.classes()), pixels, labels)
}

fn parse_file(
    path: &Path,
    kind: CifarVariant,
    bytes: &[u8],
    pixels: &mut Vec<u8>,
    labels: &mut Vec<u32>,
) -> Result<(), DataError> {
    let record = kind.record();
    if bytes.is_empty() || !bytes.len().is_multiple_of(record) {
        return Err(DataError::malformed(
            path,
            format!("whole CIFAR-{} records of {record} bytes", kind.classes().len()),
            format!("{} bytes, {} after the last whole record", bytes.len(), bytes.len() % record),
        ));
    }
    for (at, record) in bytes.chunks_exact(record).enumerate() {
        let (label, image) = record.split_at(kind.label_bytes());
        // The last label byte is the fine one.
        let label = u32::from(label[label.len() - 1]);
        if label as usize >= kind.classes().len() {
            return Err(DataError::malformed(
                path,
                format!("labels below {}", kind.classes().len()),
                format!("label {label} in record {at}"),
            ));
        }
        labels.push(label);
        pixels.extend_from_slice(image);
    }
    Ok(())
}
