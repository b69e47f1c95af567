//! Which IDX files of a folder belong together, by their names: `train-images-idx3-ubyte.gz`,
//! `emnist-letters-test-labels-idx1-ubyte`, `TRAIN-LABELS.IDX1-INT`.

use std::path::{Path, PathBuf};

use super::{folder, part_names};
use crate::data::error::DataError;
use crate::data::notes::{Left, Notes};
use crate::data::part::Part;
use crate::data::set::gzip;

/// The name in lower case, without a final `.gz`.
fn plain(name: &str) -> String {
    gzip::strip_gz(name).0.to_lowercase()
}

/// Whether a file name is that of an IDX file of images.
pub(in crate::data) fn is_image(name: &str) -> bool {
    let stem = plain(name);
    let ranked = ["idx3", "idx4"].iter().any(|rank| stem.contains(rank));
    let typed = ["idx3", "idx4"].iter().any(|rank| {
        let rest = stem.rfind(rank).map(|at| &stem[at + rank.len()..]);
        rest.is_some_and(|rest| {
            rest.is_empty() || rest.trim_start_matches(['-', '.', '_']) == "ubyte"
        })
    });
    stem.contains("image") && (ranked || stem.ends_with(".idx")) || typed
}

/// Whether a file name is that of an IDX file at all.
pub(in crate::data) fn is_idx(name: &str) -> bool {
    is_image(name) || is_labels(name)
}

fn is_labels(name: &str) -> bool {
    let stem = plain(name);
    stem.contains("idx1") || stem.contains("idx2") || stem.contains("label") && stem.contains("idx")
}

/// What the names of images and of their labels have in common.
fn common(name: &str) -> String {
    let mut stem = plain(name);
    for word in ["images", "image", "labels", "label"] {
        stem = stem.replace(word, "#");
    }
    for rank in ["idx1", "idx2", "idx3", "idx4"] {
        stem = stem.replace(rank, "idx");
    }
    // What follows is the type of the values.
    match stem.rfind("idx") {
        Some(at) => stem[..at + 3].to_owned(),
        None => stem,
    }
}

/// The label file that belongs to an image file, gzipped or not: the one whose name differs from
/// its in `images`, `idx3` and the type of its values alone.
///
/// # Errors
///
/// [`DataError::NotFound`] with the names searched for, or if there are several.
pub(in crate::data) fn labels_beside(images: &Path) -> Result<PathBuf, DataError> {
    let name = gzip::file_name(images);
    let folder =
        images.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let own = common(&name);
    let mut found: Vec<PathBuf> = folder::files(folder)?
        .into_iter()
        .map(|file| images.with_file_name(gzip::file_name(&file)))
        .filter(|file| {
            let name = gzip::file_name(file);
            file != images && is_labels(&name) && !is_image(&name) && common(&name) == own
        })
        .collect();
    // A gzipped file before what it unpacks to.
    found.sort_by_key(|file| !gzip::strip_gz(&gzip::file_name(file)).1);
    found.dedup_by_key(|file| plain(&gzip::file_name(file)));
    match &found[..] {
        [one] => Ok(one.clone()),
        [] => {
            let stem = gzip::strip_gz(&name).0.replace("images", "labels").replace("idx3", "idx1");
            Err(DataError::NotFound {
                what: format!("the label file of {}", images.display()),
                looked: [format!("{stem}.gz"), stem]
                    .map(|name| images.with_file_name(name))
                    .to_vec(),
                hint: "An IDX image file needs its label file beside it.".to_owned(),
            })
        }
        [a, b, ..] => {
            let found = format!("{} and {}", gzip::file_name(a), gzip::file_name(b));
            Err(DataError::malformed(images, "one label file beside it", found))
        }
    }
}

/// The image files of a folder.
#[derive(Debug, Default)]
pub(in crate::data) struct IdxImageFiles {
    /// That of the training part.
    pub train: Option<PathBuf>,
    /// That of the test part.
    pub test: Option<PathBuf>,
    /// The only one, if there is one.
    pub alone: Option<PathBuf>,
    /// What was left out.
    pub notes: Notes,
}

impl IdxImageFiles {
    /// The image files of a folder; nothing if there are none.
    ///
    /// # Errors
    ///
    /// If the folder cannot be read, or it is not certain which files are the parts of a set.
    pub fn find(folder: &Path) -> Result<Option<Self>, DataError> {
        let mut files: Vec<PathBuf> = folder::files(folder)?
            .into_iter()
            .filter(|file| is_image(&gzip::file_name(file)))
            .collect();
        files.dedup_by_key(|file| plain(&gzip::file_name(file)));
        let mut found = Self::default();
        if let [file] = &files[..] {
            match part_names::of_name(&plain(&gzip::file_name(file))).map(|name| name.part) {
                Some(Part::Train) => found.train = Some(file.clone()),
                Some(Part::Test) => found.test = Some(file.clone()),
                None => {}
            }
            found.alone = Some(file.clone());
        }
        if files.len() < 2 {
            return Ok(found.alone.is_some().then_some(found));
        }
        let names: Vec<String> = files.iter().map(|file| plain(&gzip::file_name(file))).collect();
        let ambiguity = |found: String| {
            let expected = "the IDX files of one set, 'train-images-idx3-ubyte' and \
                            't10k-images-idx3-ubyte' or the like (name one image file, or move \
                            the files of each set to a folder of its own)";
            DataError::malformed(folder, expected, found)
        };
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let division = part_names::divide(names.iter().copied()).map_err(ambiguity)?;
        let division = division.ok_or_else(|| ambiguity(part_names::quoted(&names)))?;
        let file =
            |name: &str| names.iter().position(|other| *other == name).map(|at| files[at].clone());
        (found.train, found.test) = (file(division.train), file(division.tests[0]));
        for name in names.iter().filter(|name| ![division.train, division.tests[0]].contains(name))
        {
            found.notes.left(Left::Elsewhere, || (*name).to_owned());
        }
        Ok(Some(found))
    }

    /// Whether it has both parts.
    pub fn is_split(&self) -> bool {
        self.train.is_some() && self.test.is_some()
    }

    /// The image file of a part; the only one, whatever the part.
    pub fn part(&self, part: Part) -> Option<&Path> {
        let of_part = if part == Part::Train { &self.train } else { &self.test };
        self.alone.as_ref().or(of_part.as_ref()).map(PathBuf::as_path)
    }
}
