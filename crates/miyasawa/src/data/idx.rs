//! The IDX format of MNIST: big-endian, two zero bytes, element type, number of dimensions, sizes, values
//! (<http://yann.lecun.com/exdb/mnist/>, "The IDX file format").

use std::io::Read;
use std::path::{Path, PathBuf};

use super::dataset::Dataset;
use super::error::DataError;
use super::read::{self, Source};

/// What an IDX file of bytes holds: its sizes and its values.
pub(super) struct Idx {
    pub dims: Vec<usize>,
    pub values: Vec<u8>,
}

/// Reads an IDX file of unsigned bytes with `rank` dimensions; `kind` names its content in errors.
pub(super) fn parse(path: &Path, source: Source<'_>, rank: u8, kind: &str) -> Result<Idx, DataError> {
    let bound = source.bound();
    let gz = source.gz;
    let mut stream = source.stream;
    let expected = || format!("an IDX file of {kind} (magic 0x0000080{rank})");
    let mut header = vec![0u8; 4 + 4 * rank as usize];
    let got = read_up_to(&mut stream, &mut header).map_err(|e| read::unpack_error(path, gz, e))?;
    if got >= 4 && header[..4] != [0, 0, 8, rank] {
        let found = match &header[..4] {
            [0, 0, 8, 1] => "IDX labels (magic 0x00000801)".to_owned(),
            [0, 0, 8, 3] => "IDX images (magic 0x00000803)".to_owned(),
            [a, b, c, d] => format!("magic 0x{a:02x}{b:02x}{c:02x}{d:02x}"),
            _ => String::new(),
        };
        return Err(DataError::malformed(path, expected(), found));
    }
    if got < header.len() {
        return Err(DataError::malformed(path, expected(), format!("a file that ends after {got} bytes")));
    }
    let dims: Vec<usize> =
        header[4..].chunks_exact(4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]) as usize).collect();
    let declared = dims.iter().try_fold(1u64, |total, &d| total.checked_mul(d as u64));
    let Some(declared) = declared.filter(|&n| n.saturating_add(header.len() as u64) <= bound) else {
        return Err(DataError::malformed(
            path,
            format!("{} values as its header declares", show(&dims)),
            format!("a file too short for them ({} bytes on disk)", source.stored),
        ));
    };
    let mut values = Vec::new();
    // Capacity in advance only where the file's length vouches for it; a gzip stream grows as it is read.
    if !gz {
        values.reserve_exact(declared as usize);
    }
    stream
        .take(declared.saturating_add(1))
        .read_to_end(&mut values)
        .map_err(|e| read::unpack_error(path, gz, e))?;
    if values.len() as u64 != declared {
        let found = if (values.len() as u64) < declared {
            format!("{} of them: the file is truncated", values.len())
        } else {
            "more".to_owned()
        };
        return Err(DataError::malformed(
            path,
            format!("{} values as its header declares", show(&dims)),
            found,
        ));
    }
    Ok(Idx { dims, values })
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

/// A data set from a pair of parsed IDX files. Without class names, the classes are the numbers up to the largest label.
pub(super) fn dataset(
    name: &str,
    (images_path, images): (&Path, Idx),
    (labels_path, labels): (&Path, Idx),
    classes: Option<Vec<String>>,
) -> Result<Dataset, DataError> {
    if images.dims[0] != labels.dims[0] {
        return Err(DataError::malformed(
            labels_path,
            format!("{} labels, one for each image of {}", images.dims[0], images_path.display()),
            format!("{} labels", labels.dims[0]),
        ));
    }
    let largest = labels.values.iter().copied().max().unwrap_or(0);
    let classes = classes.unwrap_or_else(|| (0..=largest).map(|c| c.to_string()).collect());
    if largest as usize >= classes.len() {
        return Err(DataError::malformed(
            labels_path,
            format!("labels below the number of classes, {}", classes.len()),
            format!("label {largest}"),
        ));
    }
    let shape = (1, images.dims[1], images.dims[2]);
    Dataset::new(name, shape, classes, images.values, labels.values.into_iter().map(u32::from).collect())
}

/// Loads an IDX image file and the label file that belongs to it.
pub(super) fn load(
    name: &str,
    images: &Path,
    labels: &Path,
    classes: Option<Vec<String>>,
) -> Result<Dataset, DataError> {
    let image_values = parse(images, read::open(images)?, 3, "images")?;
    let label_values = parse(labels, read::open(labels)?, 1, "labels")?;
    dataset(name, (images, image_values), (labels, label_values), classes)
}

/// Whether a file name is that of an IDX file of images.
pub(super) fn is_image_name(name: &str) -> bool {
    let (stem, _) = read::strip_gz(name);
    stem.contains("images") && (stem.contains("idx3") || stem.ends_with(".idx"))
        || stem.ends_with(".idx3")
        || stem.ends_with("idx3-ubyte")
}

/// Whether a file name is that of an IDX file at all.
pub(super) fn is_idx_name(name: &str) -> bool {
    is_image_name(name) || read::strip_gz(name).0.contains("idx1")
}

/// The label file that belongs to an image file: `images` becomes `labels`, `idx3` becomes `idx1`, gzipped or not.
///
/// # Errors
///
/// [`DataError::NotFound`] with the names looked for.
pub(super) fn labels_beside(images: &Path) -> Result<PathBuf, DataError> {
    let name = read::file_name(images);
    let (stem, _) = read::strip_gz(&name);
    let stem = stem.replace("images", "labels").replace("idx3", "idx1");
    let looked: Vec<PathBuf> =
        [format!("{stem}.gz"), stem].into_iter().map(|name| images.with_file_name(name)).collect();
    if let Some(found) = looked.iter().find(|path| path.is_file() && *path != images) {
        return Ok(found.clone());
    }
    Err(DataError::NotFound {
        what: format!("the label file of {}", images.display()),
        looked,
        hint: "An IDX image file needs its label file beside it.".to_owned(),
    })
}
