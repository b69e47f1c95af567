//! Data sets that are given by a path: what is there decides how it is read.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::cifar::{self, CifarVariant};
use super::folder::{files, folders};
use super::idx_names::{self, IdxImageFiles};
use super::tar_folder::{self, shards};
use super::{archive, class_folders, idx, part_names, search_paths, tiny_imagenet, unread, walk};
use crate::data::error::DataError;
use crate::data::part::Part;
use crate::data::set::content::{FoundSet, SetContent};
use crate::data::set::gzip;
use crate::data::set::image_files::{Entry, ImageFiles};
use crate::data::set::storage::Storage;
use crate::image::FORMAT_NAMES;

/// What a path may be, for messages.
const KINDS: &str = "an IDX image file, a CIFAR binary file, a tar or a folder of images";

/// Finds the data set at a path; one that is relative and not there is searched for below `roots`
/// too.
pub(in crate::data) fn find_below(
    path: &Path,
    roots: &[PathBuf],
    part: Part,
) -> Result<FoundSet, DataError> {
    // What may not be read is there: reading it says why. Below a file there is nothing.
    let exists = |candidate: &Path| {
        candidate.try_exists().unwrap_or_else(|e| e.kind() != ErrorKind::NotADirectory)
    };
    let there = |candidate: &Path| {
        exists(candidate)
            || matches!(shards(candidate), Some(Ok(of)) if of.iter().any(|shard| exists(shard)))
    };
    let roots = roots.iter().filter(|_| path.is_relative());
    let candidates: Vec<PathBuf> =
        std::iter::once(path.to_owned()).chain(roots.map(|root| root.join(path))).collect();
    if let Some(Err(unusable)) =
        shards(path).filter(|_| !candidates.iter().any(|candidate| there(candidate)))
    {
        return Err(unusable);
    }
    let hint = "It is neither a file nor a data set's name: those are digits, fashion-mnist, \
                mnist, cifar10, \
                cifar100, tiny-imagenet";
    search_paths::first(candidates, format!("'{}'", path.display()), hint, |candidate| {
        there(candidate).then(|| find(candidate, part)).transpose()
    })
}

/// Finds the data set at a path that is there.
pub(in crate::data) fn find(path: &Path, part: Part) -> Result<FoundSet, DataError> {
    if let Some(shards) = shards(path).filter(|_| !path.exists()) {
        return archive::find(&path.display().to_string(), &shards?, part);
    }
    let metadata = std::fs::metadata(path).map_err(|e| DataError::io(path, e))?;
    if metadata.is_dir() { find_in_folder(path, part) } else { find_in_file(path, part) }
}

fn find_in_file(path: &Path, part: Part) -> Result<FoundSet, DataError> {
    let name = path.display().to_string();
    let file = gzip::file_name(path);
    if gzip::is_tar(&file) {
        return archive::find(&name, &[path.to_owned()], part);
    }
    if idx_names::is_image(&file) {
        return idx::load(&name, path, &idx_names::labels_beside(path)?, None, false);
    }
    if file.ends_with(".bin") {
        let bytes = gzip::read_archive(path)?;
        let kind = CifarVariant::of_name(&file)
            .map(|(kind, _)| kind)
            .or_else(|| CifarVariant::of_length(bytes.len()));
        let kind = kind.ok_or_else(|| {
            let found = format!("{} bytes", bytes.len());
            DataError::malformed(path, "CIFAR records of 3073 or 3074 bytes", found)
        })?;
        return Ok(FoundSet::raw(cifar::parse(&name, kind, &[(path.to_owned(), &bytes)])?, false));
    }
    // Errors such as a missing permission come before a judgement of the name.
    let _ = gzip::open(path)?;
    let found = if class_folders::is_image(&file) {
        "a single image: give its folder".to_owned()
    } else if idx_names::is_idx(&file) {
        "an IDX label file: give the image file".to_owned()
    } else {
        unread::of_file(path).map_or("a file with another name".to_owned(), |format| format.found())
    };
    Err(DataError::malformed(path, KINDS, found))
}

fn find_in_folder(folder: &Path, part: Part) -> Result<FoundSet, DataError> {
    let name = folder.display().to_string();
    if tiny_imagenet::is_tiny(folder) {
        return tiny_imagenet::find(folder, part);
    }
    let files = files(folder)?;
    if let Some(found) = cifar_files(folder, &files, part)? {
        return Ok(found);
    }
    if let Some(images) = IdxImageFiles::find(folder)? {
        let Some(of_part) = images.part(part) else {
            let what = format!("the {part} part in {name}");
            return Err(DataError::NotFound {
                what,
                looked: vec![folder.to_owned()],
                hint: String::new(),
            });
        };
        let labels = idx_names::labels_beside(of_part)?;
        let mut found = idx::load(&name, of_part, &labels, None, images.is_split())?;
        found.notes.merge(images.notes);
        return Ok(found);
    }
    if let Some(found) = tar_folder::parts_of(folder, &files, part)? {
        return Ok(found);
    }
    if let Some(found) = tar_folder::classes_of(folder, &files, part)? {
        return Ok(found);
    }
    let walk::Walked { images, others, mut notes } = walk::walk(folder)?;
    if images.is_empty() {
        if let Some(found) = tar_folder::alone_of(folder, &files, part)? {
            return Ok(found);
        }
        let inner = folders(folder)?;
        if let ([inner], true) = (&inner[..], files.is_empty()) {
            // A folder around the set, as archives unpack.
            return find_in_folder(inner, part);
        }
        let expected = format!(
            "a folder with images ({FORMAT_NAMES}), tar files of them, IDX or CIFAR binary files"
        );
        return Err(DataError::malformed(folder, expected, others.found()));
    }
    let chosen = class_folders::assign(&images, part)
        .map_err(|ambiguity| DataError::malformed(folder, ambiguity.expected, ambiguity.found))?;
    others.note(chosen.classes != [class_folders::NO_CLASS], &mut notes);
    notes.merge(chosen.notes);
    let entry = |(at, label): (usize, u32)| {
        let name = images[at].clone().into_boxed_str();
        Entry { storage: 0, label, len: 0, offset: 0, name }
    };
    let entries = chosen.picks.into_iter().map(entry).collect();
    let encoded = ImageFiles {
        name,
        classes: chosen.classes,
        storages: vec![Storage::folder(folder)],
        entries,
    };
    Ok(FoundSet { content: SetContent::Files(encoded), split: chosen.split, notes })
}

/// CIFAR's binary files in a folder; nothing if there are none.
fn cifar_files(
    folder: &Path,
    files: &[PathBuf],
    part: Part,
) -> Result<Option<FoundSet>, DataError> {
    let kinds: Vec<(CifarVariant, Part, &PathBuf)> = files
        .iter()
        .filter_map(|file| {
            CifarVariant::of_name(&gzip::file_name(file)).map(|(kind, of)| (kind, of, file))
        })
        .collect();
    let Some(&(kind, ..)) = kinds.first() else { return Ok(None) };
    let chosen = kinds.iter().filter(|&&(k, of, _)| k == kind && of == part);
    let read =
        chosen.map(|(.., file)| gzip::read_archive(file).map(|bytes| ((*file).clone(), bytes)));
    let read = read.collect::<Result<Vec<_>, DataError>>()?;
    if read.is_empty() {
        let names = match (kind, part) {
            (CifarVariant::Ten, Part::Train) => "data_batch_*.bin",
            (CifarVariant::Ten, Part::Test) => "test_batch.bin",
            (CifarVariant::Hundred, Part::Train) => "train.bin",
            (CifarVariant::Hundred, Part::Test) => "test.bin",
        };
        return Err(DataError::NotFound {
            what: format!("the {part} part in {}", folder.display()),
            looked: vec![folder.join(names)],
            hint: format!(
                "There is {}",
                part_names::quoted(&kinds.iter().map(|k| name_of(k.2)).collect::<Vec<_>>())
            ),
        });
    }
    let files: Vec<(PathBuf, &[u8])> =
        read.iter().map(|(file, bytes)| (file.clone(), &bytes[..])).collect();
    Ok(Some(FoundSet::raw(cifar::parse(&folder.display().to_string(), kind, &files)?, true)))
}

fn name_of(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// Whether a folder holds files or subfolders of both parts.
pub(in crate::data) fn has_parts(folder: &Path) -> Result<bool, DataError> {
    let files = files(folder)?;
    let binary = |part: Part| {
        files.iter().any(|file| {
            CifarVariant::of_name(&gzip::file_name(file)).is_some_and(|(_, of)| of == part)
        })
    };
    if binary(Part::Train) && binary(Part::Test)
        || IdxImageFiles::find(folder)?.is_some_and(|images| images.is_split())
    {
        return Ok(true);
    }
    let folders = folders(folder)?;
    let folders = part_names::divide(folders.iter().map(|folder| name_of(folder)));
    Ok(tar_folder::are_divided(folder, &files)? || matches!(folders, Ok(Some(_))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_path_is_searched_for_below_the_roots() {
        let root = tempfile::tempdir().unwrap();
        let image = image::DynamicImage::new_luma8(3, 2);
        for (i, class) in ["cat", "dog"].iter().enumerate() {
            let folder = root.path().join(format!("pets-{i}")).join(class);
            std::fs::create_dir_all(&folder).unwrap();
            image.save(folder.join("a.png")).unwrap();
        }
        let roots = [root.path().join("nowhere"), root.path().to_owned()];
        let found = find_below(Path::new("pets-1"), &roots, Part::Test).unwrap();
        assert_eq!(found.content.classes(), ["dog"]);
        // Not an absolute one.
        let absolute = Path::new("/miyasawa-nowhere/pets-1");
        assert!(find_below(absolute, &roots, Part::Test).is_err());
        let Err(error) = find_below(Path::new("cars"), &roots, Part::Test) else { panic!("found") };
        let error = error.to_string();
        assert!(
            error.contains("nowhere/cars") && error.contains("'cars' not found; looked in cars"),
            "{error}"
        );
    }
}
