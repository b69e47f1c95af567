//! The IDX format of MNIST: big-endian, two zero bytes, element type, number of dimensions, sizes,
//! values (<http://yann.lecun.com/exdb/mnist/>, "The IDX file format").

use std::io::Read;
use std::path::Path;

use super::class_list;
use crate::data::error::DataError;
use crate::data::notes::Notes;
use crate::data::set::content::{FoundSet, SetContent};
use crate::data::set::dataset::Dataset;
use crate::data::set::gzip::{self, FileStream};
use crate::image::Geometry;

/// What a file is expected to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::data) enum IdxContent {
    /// Bytes: grey images (N, H, W), or (N, C, H, W) or (N, H, W, C) of 1 or 3 channels.
    Images,
    /// Whole numbers of any width, one for each image.
    Labels,
}

/// The type of an IDX file's values: code, bytes, name.
const TYPES: &[(u8, usize, &str)] = &[
    (0x08, 1, "unsigned bytes"),
    (0x09, 1, "signed bytes"),
    (0x0b, 2, "16-bit integers"),
    (0x0c, 4, "32-bit integers"),
    (0x0d, 4, "32-bit floats"),
    (0x0e, 8, "64-bit floats"),
];

impl IdxContent {
    fn expected(self) -> &'static str {
        match self {
            Self::Images => {
                "an IDX file of images in bytes (magic 0x00000803, or 0x00000804 with channels)"
            }
            Self::Labels => {
                "an IDX file of labels, one whole number for each image (magic 0x00000801)"
            }
        }
    }

    /// Whether values of a type in `rank` dimensions are such.
    fn is(self, code: u8, rank: u8) -> bool {
        match self {
            Self::Images => code == 8 && matches!(rank, 3 | 4),
            Self::Labels => matches!(code, 8 | 9 | 11 | 12) && rank == 1,
        }
    }
}

/// What an IDX file holds: its sizes, the code of its type, and the bytes of its values.
#[derive(Debug)]
pub(in crate::data) struct IdxFile {
    pub dims: Vec<usize>,
    code: u8,
    pub values: Vec<u8>,
}

/// Reads an IDX file.
pub(in crate::data) fn parse(
    path: &Path,
    source: FileStream<'_>,
    holds: IdxContent,
) -> Result<IdxFile, DataError> {
    let bound = source.bound();
    let gz = source.gz;
    let mut stream = source.stream;
    let unreadable = |e| gzip::unpack_error(path, gz, e);
    let ends = |got| {
        DataError::malformed(path, holds.expected(), format!("a file that ends after {got} bytes"))
    };
    let mut magic = [0u8; 4];
    let got = read_up_to(&mut stream, &mut magic).map_err(unreadable)?;
    if got < 4 {
        return Err(ends(got));
    }
    let [a, b, code, rank] = magic;
    let known = TYPES.iter().find(|(known, ..)| (a, b, *known) == (0, 0, code));
    let Some((_, size, name)) = known.copied().filter(|_| rank > 0) else {
        let found = format!("magic 0x{a:02x}{b:02x}{code:02x}{rank:02x}");
        return Err(DataError::malformed(path, holds.expected(), found));
    };
    if !holds.is(code, rank) {
        let what = match (code, rank) {
            (8, 1) => "IDX labels".to_owned(),
            (8, 3) => "IDX images".to_owned(),
            _ => format!("IDX values of {rank} dimensions, {name}"),
        };
        let found = format!("{what} (magic 0x{a:02x}{b:02x}{code:02x}{rank:02x})");
        return Err(DataError::malformed(path, holds.expected(), found));
    }
    let mut sizes = vec![0u8; 4 * rank as usize];
    let got = read_up_to(&mut stream, &mut sizes).map_err(unreadable)?;
    if got < sizes.len() {
        return Err(ends(4 + got));
    }
    let header = 4 + sizes.len() as u64;
    let dims: Vec<usize> = sizes
        .chunks_exact(4)
        .map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]) as usize)
        .collect();
    let declared = dims.iter().try_fold(size as u64, |total, &d| total.checked_mul(d as u64));
    let Some(declared) = declared.filter(|&n| n.saturating_add(header) <= bound) else {
        return Err(DataError::malformed(
            path,
            format!("{} values as its header declares", show(&dims)),
            format!("a file too short for them ({} bytes on disk)", source.stored),
        ));
    };
    let mut values = Vec::new();
    // Capacity in advance only where the file's length vouches for it; a gzip stream grows as it is
    // read.
    if !gz {
        values.reserve_exact(declared as usize);
    }
    stream
        .take(declared.saturating_add(1))
        .read_to_end(&mut values)
        .map_err(|e| gzip::unpack_error(path, gz, e))?;
    if values.len() as u64 != declared {
        let found = if (values.len() as u64) < declared {
            format!("{} of them: the file is truncated", values.len() / size)
        } else {
            "more".to_owned()
        };
        return Err(DataError::malformed(
            path,
            format!("{} values as its header declares", show(&dims)),
            found,
        ));
    }
    Ok(IdxFile { dims, code, values })
}

/// Reads as much of `out` as the stream holds.
fn read_up_to(stream: &mut dyn Read, out: &mut [u8]) -> std::io::Result<usize> {
    let mut got = 0;
    while got < out.len() {
        match stream.read(&mut out[got..]) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(got)
}

fn show(dims: &[usize]) -> String {
    dims.iter().map(usize::to_string).collect::<Vec<_>>().join("x")
}

/// The labels as numbers. Errors are what was found instead.
pub(in crate::data) fn numbers(labels: &IdxFile) -> Result<Vec<u32>, String> {
    let wide = |value: i64| u32::try_from(value).map_err(|_| format!("label {value}"));
    let values = &labels.values;
    match labels.code {
        9 => values.iter().map(|&b| wide(i64::from(b as i8))).collect(),
        11 => values
            .chunks_exact(2)
            .map(|b| wide(i64::from(i16::from_be_bytes([b[0], b[1]]))))
            .collect(),
        12 => values
            .chunks_exact(4)
            .map(|b| wide(i64::from(i32::from_be_bytes([b[0], b[1], b[2], b[3]]))))
            .collect(),
        _ => Ok(values.iter().map(|&b| u32::from(b)).collect()),
    }
}

/// The geometry of images, and the values of their planes.
type Planes = (Geometry, Vec<u8>);

/// The images as planes: their geometry and values. Errors are what was found instead.
pub(in crate::data) fn planes(images: IdxFile) -> Result<Planes, String> {
    let IdxFile { dims, values, .. } = images;
    let (geometry, last) = match dims[1..] {
        [height, width] => (Geometry::new(1, height, width), false),
        [a, height, c] if matches!(a, 1 | 3) && matches!(c, 1 | 3) => {
            return Err(format!(
                "{} values, of which channels may be the first or the last",
                show(&[dims[0], a, height, c])
            ));
        }
        [channels @ (1 | 3), height, width] => (Geometry::new(channels, height, width), false),
        [height, width, channels @ (1 | 3)] => (Geometry::new(channels, height, width), true),
        _ => return Err(format!("{} values", show(&dims))),
    };
    if !last || geometry.channels == 1 {
        return Ok((geometry, values));
    }
    let mut planes = Vec::with_capacity(values.len());
    for image in values.chunks_exact(geometry.values().max(1)) {
        for channel in 0..geometry.channels {
            planes.extend(image.iter().skip(channel).step_by(geometry.channels));
        }
    }
    Ok((geometry, planes))
}

/// A data set from a pair of parsed IDX files. Without class names, the classes are the numbers up
/// to the largest label.
pub(in crate::data) fn dataset(
    name: &str,
    (images_path, images): (&Path, IdxFile),
    (labels_path, labels): (&Path, IdxFile),
    classes: Option<Vec<String>>,
    notes: &mut Notes,
) -> Result<Dataset, DataError> {
    if images.dims[0] != labels.dims[0] {
        return Err(DataError::malformed(
            labels_path,
            format!("{} labels, one for each image of {}", images.dims[0], images_path.display()),
            format!("{} labels", labels.dims[0]),
        ));
    }
    let labels = numbers(&labels)
        .map_err(|found| DataError::malformed(labels_path, "labels from 0", found))?;
    let (geometry, values) = planes(images).map_err(|found| {
        DataError::malformed(
            images_path,
            "images of 1 or 3 channels, as (N, C, H, W) or (N, H, W, C)",
            found,
        )
    })?;
    let largest = labels.iter().copied().max().unwrap_or(0);
    let below = |expected| DataError::malformed(labels_path, expected, format!("label {largest}"));
    let classes = match classes {
        Some(classes) => classes,
        None => class_list::numbers(largest, labels.len(), labels.iter().copied(), notes)
            .ok_or_else(|| below(format!("labels that {} images can need", labels.len())))?,
    };
    if largest as usize >= classes.len() {
        return Err(below(format!("labels below the number of classes, {}", classes.len())));
    }
    Dataset::new(name, geometry, classes, values, labels)
}

/// Loads an IDX image file and the label file that belongs to it.
pub(in crate::data) fn load(
    name: &str,
    images: &Path,
    labels: &Path,
    classes: Option<Vec<String>>,
    split: bool,
) -> Result<FoundSet, DataError> {
    let image_values = parse(images, gzip::open(images)?, IdxContent::Images)?;
    let label_values = parse(labels, gzip::open(labels)?, IdxContent::Labels)?;
    let mut notes = Notes::default();
    let data = dataset(name, (images, image_values), (labels, label_values), classes, &mut notes)?;
    Ok(FoundSet { content: SetContent::Raw(data), split, notes })
}
