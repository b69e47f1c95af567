//! Tiny ImageNet as its archive unpacks (<http://cs231n.stanford.edu/tiny-imagenet-200.zip>):
//! `train/WNID/images/*.JPEG`, `val/images/*.JPEG` with their classes in `val/val_annotations.txt`,
//! and names of synsets in `words.txt`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::{class_folders, class_list, search_paths, walk};
use crate::data::error::DataError;
use crate::data::notes::Notes;
use crate::data::part::Part;
use crate::data::set::content::{FoundSet, SetContent};
use crate::data::set::image_files::{Entry, ImageFiles};
use crate::data::set::storage::Storage;

/// The classes of the validation images.
const ANNOTATIONS: &str = "val/val_annotations.txt";

/// Whether a folder is the unpacked archive.
pub(in crate::data) fn is_tiny(folder: &Path) -> bool {
    folder.join("wnids.txt").is_file() && folder.join(ANNOTATIONS).is_file()
}

/// Finds the set in `folder` or in the first usual folder below `roots`.
pub(in crate::data) fn find_named(
    folder: Option<&Path>,
    roots: &[PathBuf],
    part: Part,
) -> Result<FoundSet, DataError> {
    let candidates = search_paths::usual(folder, roots, &["tiny-imagenet-200", "tiny-imagenet"]);
    let hint = "`miyasawa data fetch tiny-imagenet` gets it; or name the folder of \
                tiny-imagenet-200: tiny-imagenet:DIR";
    search_paths::first(
        candidates,
        format!("the {part} part of the data set tiny-imagenet"),
        hint,
        |candidate| is_tiny(candidate).then(|| find(candidate, part)).transpose(),
    )
}

/// Finds a part of the set in the folder of the unpacked archive. The part for testing is `val`:
/// the images in `test` have no classes. Classes are in the order of their synsets' numbers.
pub(in crate::data) fn find(folder: &Path, part: Part) -> Result<FoundSet, DataError> {
    let read = |name: &str| {
        let path = folder.join(name);
        std::fs::read_to_string(&path).map_err(|e| DataError::io(&path, e))
    };
    let ids = read("wnids.txt")?;
    let mut ids: Vec<&str> = ids.lines().map(str::trim).filter(|id| !id.is_empty()).collect();
    ids.sort_unstable();
    ids.dedup();
    let label_of: HashMap<&str, u32> = ids.iter().copied().zip(0..).collect();
    let label = |file: &str, id: &str| {
        label_of.get(id).copied().ok_or_else(|| {
            let expected = format!("one of the {} classes of wnids.txt", label_of.len());
            DataError::malformed(&folder.join(file), expected, format!("'{id}'"))
        })
    };
    let entry = |label: u32, name: String| Entry {
        storage: 0,
        label,
        len: 0,
        offset: 0,
        name: name.into_boxed_str(),
    };

    let (mut entries, mut notes) = (Vec::new(), Notes::default());
    match part {
        Part::Train => {
            let walked = walk::walk(&folder.join("train"))?;
            notes = walked.notes;
            for path in walked.images {
                let path = format!("train/{path}");
                let id = path.split('/').nth(1).unwrap_or_default();
                entries.push(entry(label(&path, id)?, path));
            }
        }
        Part::Test => {
            let text = read(ANNOTATIONS)?;
            for line in text.lines().filter(|line| !line.trim().is_empty()) {
                let mut columns = line.split('\t');
                let (Some(name), Some(id)) = (columns.next(), columns.next()) else {
                    let line: String = line.chars().take(60).collect();
                    let expected = "lines 'image<TAB>wnid<TAB>...'";
                    return Err(DataError::malformed(
                        &folder.join(ANNOTATIONS),
                        expected,
                        format!("'{line}'"),
                    ));
                };
                if !class_folders::is_image(name) || name.contains(['/', '\\']) {
                    let found = format!("'{name}'");
                    return Err(DataError::malformed(
                        &folder.join(ANNOTATIONS),
                        "names of images",
                        found,
                    ));
                }
                entries.push(entry(label(ANNOTATIONS, id)?, format!("val/images/{name}")));
            }
            entries.sort_by(|a, b| a.name.cmp(&b.name));
        }
    }
    if entries.is_empty() {
        return Err(DataError::malformed(folder, format!("images of the {part} part"), "none"));
    }
    // Without the names, the synsets' numbers have to do.
    let words = read("words.txt").unwrap_or_default();
    let words: HashMap<&str, &str> =
        words.lines().filter_map(|line| line.split_once('\t')).collect();
    let names: Vec<&str> =
        ids.iter().map(|id| words.get(id).map_or(*id, |names| names.trim())).collect();
    let classes = class_list::shortened(&names);
    let name = folder.display().to_string();
    let encoded = ImageFiles { name, classes, storages: vec![Storage::folder(folder)], entries };
    Ok(FoundSet { content: SetContent::Files(encoded), split: true, notes })
}
