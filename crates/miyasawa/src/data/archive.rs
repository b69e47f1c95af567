//! Tar archives: of class folders, of pictures without classes, of CIFAR binary files, and WebDataset shards.

use std::path::PathBuf;

use rayon::prelude::*;

use super::cifar::{self, Kind};
use super::encoded::{Encoded, Entry};
use super::error::DataError;
use super::source::{Content, Found, Part};
use super::store::Store;
use super::tarlist::{self, TarFile};
use super::{listing, webdataset};
use crate::picture::FORMAT_NAMES;

/// What an archive holds.
enum Listed {
    /// Pictures with their class numbers.
    Shard(Vec<(TarFile, u32)>),
    /// Files whose paths tell what they are.
    Files(Vec<TarFile>),
}

fn list(store: &Store) -> Result<Listed, DataError> {
    let (stream, len) = store.reader()?;
    let files = tarlist::list(stream, len)
        .map_err(|found| DataError::malformed(&store.path, "a whole tar archive", found))?;
    if files.iter().any(|file| file.class.is_some()) {
        return webdataset::label(store, files).map(Listed::Shard);
    }
    Ok(Listed::Files(files))
}

/// The entry of a file of the archive `store`.
fn entry(store: usize, label: u32, file: TarFile) -> Entry {
    let TarFile { path, offset, len, .. } = file;
    Entry { store: store as u32, label, len, offset, name: path.into_boxed_str() }
}

/// The archives of a set, listed.
fn list_all(stores: &[Store]) -> Result<Vec<Listed>, DataError> {
    let listed: Vec<Result<Listed, DataError>> = stores.par_iter().map(list).collect();
    // The first error in order, whichever thread met one first.
    listed.into_iter().collect()
}

/// Finds the data set that is in one archive or spread over several.
pub(super) fn find(name: &str, paths: &[PathBuf], part: Part) -> Result<Found, DataError> {
    if paths.is_empty() {
        return Err(DataError::invalid(name, "at least one archive", "none"));
    }
    find_in(name, Store::archives(paths)?, part)
}

/// Finds the data set that is in archives.
pub(super) fn find_in(name: &str, stores: Vec<Store>, part: Part) -> Result<Found, DataError> {
    let listed = list_all(&stores)?;
    if listed.iter().any(|listed| matches!(listed, Listed::Shard(_))) {
        return Ok(Found { content: shards(name, stores, listed)?, split: false });
    }
    let mut files: Vec<(usize, TarFile)> = Vec::new();
    for (at, listed) in listed.into_iter().enumerate() {
        if let Listed::Files(of_archive) = listed {
            files.extend(of_archive.into_iter().map(|file| (at, file)));
        }
    }
    if !files.iter().any(|(_, file)| listing::is_picture(file.name())) {
        return binaries(name, &stores, &files, part);
    }
    files.retain(|(_, file)| listing::is_picture(file.name()));
    files.sort_by(|a, b| a.1.path.cmp(&b.1.path).then(a.0.cmp(&b.0)));
    let inner: Vec<&str> = files.iter().map(|(_, file)| file.path.as_str()).collect();
    let chosen = listing::assign(&inner, part).map_err(|found| {
        DataError::malformed(&stores[0].path, "every picture in a class folder or none", found)
    })?;
    let entries = chosen.picks.into_iter().map(|(at, label)| entry(files[at].0, label, files[at].1.clone()));
    let entries = entries.collect();
    let encoded = Encoded { name: name.to_owned(), classes: chosen.classes, stores, entries };
    Ok(Found { content: Content::Encoded(encoded), split: chosen.split })
}

/// CIFAR's binary files.
fn binaries(
    name: &str,
    stores: &[Store],
    files: &[(usize, TarFile)],
    part: Part,
) -> Result<Found, DataError> {
    let mut found: Vec<(Kind, &TarFile, &Store)> = Vec::new();
    for (at, file) in files {
        if let Some((kind, _)) = Kind::of_name(file.name()).filter(|&(_, of)| of == part) {
            found.push((kind, file, &stores[*at]));
        }
    }
    found.sort_by_key(|(_, file, _)| file.name());
    let Some(&(kind, _, _)) = found.first() else {
        let expected = format!("an archive with pictures ({FORMAT_NAMES})");
        let count = format!("{} other files", files.len());
        return Err(DataError::malformed(&stores[0].path, expected, count));
    };
    let read = |&(_, file, store): &(Kind, &TarFile, &Store)| {
        let bytes = store.read(&file.path, file.offset, file.len)?;
        Ok((store.path_of(&file.path), bytes))
    };
    let read = found.iter().map(read).collect::<Result<Vec<(PathBuf, Vec<u8>)>, DataError>>()?;
    let read: Vec<(PathBuf, &[u8])> = read.iter().map(|(path, bytes)| (path.clone(), &bytes[..])).collect();
    Ok(Found { content: Content::Raw(cifar::parse(name, kind, &read)?), split: true })
}

/// WebDataset shards.
fn shards(name: &str, stores: Vec<Store>, listed: Vec<Listed>) -> Result<Content, DataError> {
    let mut entries = Vec::new();
    for (at, listed) in listed.into_iter().enumerate() {
        let examples = match listed {
            Listed::Shard(examples) => examples,
            // Without a class file: the error is about the first picture.
            Listed::Files(files) => webdataset::label(&stores[at], files)?,
        };
        entries.extend(examples.into_iter().map(|(file, label)| entry(at, label, file)));
    }
    let mut encoded = Encoded { name: name.to_owned(), classes: Vec::new(), stores, entries };
    encoded.classes = webdataset::classes(&encoded)?;
    Ok(Content::Encoded(encoded))
}

/// A set of archives of which each holds the pictures of one class, whose name is the archive's.
pub(super) fn classes(name: &str, paths: &[PathBuf]) -> Result<Encoded, DataError> {
    let stores = Store::archives(paths)?;
    let listed = list_all(&stores)?;
    let (mut classes, mut entries) = (Vec::new(), Vec::new());
    for (at, (store, listed)) in stores.iter().zip(listed).enumerate() {
        let mut files: Vec<TarFile> = match listed {
            Listed::Files(files) => files,
            Listed::Shard(examples) => examples.into_iter().map(|(file, _)| file).collect(),
        };
        files.retain(|file| listing::is_picture(file.name()));
        files.sort_by(|a, b| a.path.cmp(&b.path));
        if files.is_empty() {
            let expected = format!("an archive with the pictures of a class ({FORMAT_NAMES})");
            return Err(DataError::malformed(&store.path, expected, "none"));
        }
        entries.extend(files.into_iter().map(|file| entry(at, at as u32, file)));
        let file = super::read::file_name(&store.path);
        classes.push(file.split('.').next().unwrap_or(&file).to_owned());
    }
    Ok(Encoded { name: name.to_owned(), classes, stores, entries })
}
