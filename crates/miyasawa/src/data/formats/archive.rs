//! Tar archives: of class folders, of images without classes, of CIFAR binary files, and
//! WebDataset shards.

use std::path::PathBuf;

use rayon::prelude::*;

use super::cifar::{self, CifarVariant};
use super::class_folders;
use super::tar_entries::{self, TarFile};
use super::unread::OtherFiles;
use super::webdataset::{self, ClassLabel};
use crate::data::error::DataError;
use crate::data::notes::Notes;
use crate::data::part::Part;
use crate::data::set::content::{FoundSet, SetContent};
use crate::data::set::gzip;
use crate::data::set::image_files::{Entry, ImageFiles};
use crate::data::set::storage::Storage;
use crate::image::FORMAT_NAMES;

/// What an archive holds.
struct ArchiveListing {
    /// The examples of a shard.
    shard: Option<Vec<(TarFile, ClassLabel)>>,
    /// All files.
    files: Vec<TarFile>,
    notes: Notes,
}

fn list(storage: &Storage) -> Result<ArchiveListing, DataError> {
    let tar_entries::TarListing { files, mut notes } = files(storage)?;
    let shard = webdataset::label(storage, &files, &mut notes)?;
    let shard = shard.map(|shard| {
        notes.merge(shard.notes);
        shard.examples
    });
    // What is left out of a shard is in its notes.
    let files = if shard.is_some() { Vec::new() } else { files };
    Ok(ArchiveListing { shard, files, notes })
}

/// The files of an archive.
fn files(storage: &Storage) -> Result<tar_entries::TarListing, DataError> {
    let (stream, len) = storage.stream()?;
    tar_entries::list(stream, len)
        .map_err(|found| DataError::malformed(&storage.path, "a complete tar archive", found))
}

/// The entry of a file of the archive `storage`.
fn entry(storage: usize, label: u32, file: TarFile) -> Entry {
    let TarFile { path, offset, len, .. } = file;
    Entry { storage: storage as u32, label, len, offset, name: path.into_boxed_str() }
}

/// The archives of a set, listed.
fn list_all<T: Send>(
    storages: &[Storage],
    list: impl Fn(&Storage) -> Result<T, DataError> + Sync + Send,
) -> Result<Vec<T>, DataError> {
    let listed: Vec<Result<T, DataError>> = storages.par_iter().map(list).collect();
    // The first error in order, whichever thread met one first.
    listed.into_iter().collect()
}

/// Finds the data set that is in one archive or spread over several.
pub(in crate::data) fn find(
    name: &str,
    paths: &[PathBuf],
    part: Part,
) -> Result<FoundSet, DataError> {
    if paths.is_empty() {
        return Err(DataError::invalid(name, "at least one archive", "none"));
    }
    find_in(name, Storage::archives(paths)?, part)
}

/// Finds the data set that is in archives.
pub(in crate::data) fn find_in(
    name: &str,
    storages: Vec<Storage>,
    part: Part,
) -> Result<FoundSet, DataError> {
    let listed = list_all(&storages, list)?;
    if listed.iter().any(|listed| listed.shard.is_some()) {
        return shards(name, storages, listed);
    }
    let (mut files, mut notes, mut others) = (Vec::new(), Notes::default(), OtherFiles::default());
    for (at, listed) in listed.into_iter().enumerate() {
        notes.merge(listed.notes);
        files.extend(listed.files.into_iter().map(|file| (at, file)));
    }
    if !files.iter().any(|(_, file)| class_folders::is_image(file.name())) {
        return binaries(name, &storages, &files, part);
    }
    files
        .iter()
        .filter(|(_, file)| !class_folders::is_image(file.name()))
        .for_each(|(_, file)| others.add(&file.path));
    files.retain(|(_, file)| class_folders::is_image(file.name()));
    files.sort_by(|a, b| a.1.path.cmp(&b.1.path).then(a.0.cmp(&b.0)));
    let inner: Vec<&str> = files.iter().map(|(_, file)| file.path.as_str()).collect();
    let chosen = class_folders::assign(&inner, part).map_err(|ambiguity| {
        DataError::malformed(&storages[0].path, ambiguity.expected, ambiguity.found)
    })?;
    // Where texts lie beside the images, shards have said so.
    others.note(true, &mut notes);
    notes.merge(chosen.notes);
    let entries =
        chosen.picks.into_iter().map(|(at, label)| entry(files[at].0, label, files[at].1.clone()));
    let entries = entries.collect();
    let encoded = ImageFiles { name: name.to_owned(), classes: chosen.classes, storages, entries };
    Ok(FoundSet { content: SetContent::Files(encoded), split: chosen.split, notes })
}

/// CIFAR's binary files.
fn binaries(
    name: &str,
    storages: &[Storage],
    files: &[(usize, TarFile)],
    part: Part,
) -> Result<FoundSet, DataError> {
    let mut found: Vec<(CifarVariant, &TarFile, &Storage)> = Vec::new();
    for (at, file) in files {
        if let Some((kind, _)) = CifarVariant::of_name(file.name()).filter(|&(_, of)| of == part) {
            found.push((kind, file, &storages[*at]));
        }
    }
    found.sort_by_key(|(_, file, _)| file.name());
    let Some(&(kind, _, _)) = found.first() else {
        let expected = format!("an archive with images ({FORMAT_NAMES})");
        let mut others = OtherFiles::default();
        files.iter().for_each(|(_, file)| others.add(&file.path));
        return Err(DataError::malformed(&storages[0].path, expected, others.found()));
    };
    let read = |&(_, file, storage): &(CifarVariant, &TarFile, &Storage)| {
        let bytes = storage.read(&file.path, file.offset, file.len)?;
        Ok((storage.path_of(&file.path), bytes))
    };
    let read = found.iter().map(read).collect::<Result<Vec<(PathBuf, Vec<u8>)>, DataError>>()?;
    let read: Vec<(PathBuf, &[u8])> =
        read.iter().map(|(path, bytes)| (path.clone(), &bytes[..])).collect();
    Ok(FoundSet::raw(cifar::parse(name, kind, &read)?, true))
}

/// WebDataset shards.
fn shards(
    name: &str,
    storages: Vec<Storage>,
    listed: Vec<ArchiveListing>,
) -> Result<FoundSet, DataError> {
    let (mut entries, mut labels, mut notes) = (Vec::new(), Vec::new(), Notes::default());
    for (at, listed) in listed.into_iter().enumerate() {
        notes.merge(listed.notes);
        let Some(examples) = listed.shard else {
            let Some(image) = listed.files.iter().find(|file| class_folders::is_image(file.name()))
            else {
                continue;
            };
            let expected = "a class for every image, as other shards of the set have (KEY.cls, \
                            or a field of KEY.json)";
            return Err(DataError::malformed(&storages[at].path_of(&image.path), expected, "none"));
        };
        for (file, of) in examples {
            entries.push(entry(at, 0, file));
            labels.push(of);
        }
    }
    let mut encoded = ImageFiles { name: name.to_owned(), classes: Vec::new(), storages, entries };
    webdataset::resolve(&mut encoded, &labels, &mut notes)?;
    Ok(FoundSet { content: SetContent::Files(encoded), split: false, notes })
}

/// A set of archives of which each holds the images of one class, whose name is the archive's.
pub(in crate::data) fn classes(
    name: &str,
    paths: &[PathBuf],
) -> Result<(ImageFiles, Notes), DataError> {
    let storages = Storage::archives(paths)?;
    let listed = list_all(&storages, files)?;
    let (mut classes, mut entries, mut notes) = (Vec::new(), Vec::new(), Notes::default());
    for (at, (storage, listed)) in storages.iter().zip(listed).enumerate() {
        notes.merge(listed.notes);
        let mut others = OtherFiles::default();
        let (mut files, rest): (Vec<TarFile>, Vec<TarFile>) =
            listed.files.into_iter().partition(|file| class_folders::is_image(file.name()));
        rest.iter().for_each(|file| others.add(&file.path));
        files.sort_by(|a, b| a.path.cmp(&b.path));
        if files.is_empty() {
            let expected = format!("an archive with the images of a class ({FORMAT_NAMES})");
            return Err(DataError::malformed(&storage.path, expected, others.found()));
        }
        others.note(true, &mut notes);
        entries.extend(files.into_iter().map(|file| entry(at, at as u32, file)));
        let file = gzip::file_name(&storage.path);
        classes.push(file.split('.').next().unwrap_or(&file).to_owned());
    }
    Ok((ImageFiles { name: name.to_owned(), classes, storages, entries }, notes))
}
