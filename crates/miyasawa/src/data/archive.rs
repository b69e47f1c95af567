//! Tar archives: of class folders, of images without classes, of CIFAR binary files, and WebDataset shards.

use std::path::PathBuf;

use rayon::prelude::*;

use super::cifar::{self, Kind};
use super::encoded::{Encoded, Entry};
use super::error::DataError;
use super::formats::Others;
use super::listing;
use super::notes::Notes;
use super::source::{Content, Found, Part};
use super::store::Store;
use super::tarlist::{self, TarFile};
use super::webdataset::{self, Told};
use crate::image::FORMAT_NAMES;

/// What an archive holds.
struct Listed {
    /// The examples of a shard.
    shard: Option<Vec<(TarFile, Told)>>,
    /// All files.
    files: Vec<TarFile>,
    notes: Notes,
}

fn list(store: &Store) -> Result<Listed, DataError> {
    let tarlist::Listed { files, mut notes } = files(store)?;
    let shard = webdataset::label(store, &files, &mut notes)?;
    let shard = shard.map(|shard| {
        notes.merge(shard.notes);
        shard.examples
    });
    // What is left out of a shard is in its notes.
    let files = if shard.is_some() { Vec::new() } else { files };
    Ok(Listed { shard, files, notes })
}

/// The files of an archive.
fn files(store: &Store) -> Result<tarlist::Listed, DataError> {
    let (stream, len) = store.reader()?;
    tarlist::list(stream, len)
        .map_err(|found| DataError::malformed(&store.path, "a whole tar archive", found))
}

/// The entry of a file of the archive `store`.
fn entry(store: usize, label: u32, file: TarFile) -> Entry {
    let TarFile { path, offset, len, .. } = file;
    Entry { store: store as u32, label, len, offset, name: path.into_boxed_str() }
}

/// The archives of a set, listed.
fn list_all<T: Send>(
    stores: &[Store],
    list: impl Fn(&Store) -> Result<T, DataError> + Sync + Send,
) -> Result<Vec<T>, DataError> {
    let listed: Vec<Result<T, DataError>> = stores.par_iter().map(list).collect();
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
    let listed = list_all(&stores, list)?;
    if listed.iter().any(|listed| listed.shard.is_some()) {
        return shards(name, stores, listed);
    }
    let (mut files, mut notes, mut others) = (Vec::new(), Notes::default(), Others::default());
    for (at, listed) in listed.into_iter().enumerate() {
        notes.merge(listed.notes);
        files.extend(listed.files.into_iter().map(|file| (at, file)));
    }
    if !files.iter().any(|(_, file)| listing::is_image(file.name())) {
        return binaries(name, &stores, &files, part);
    }
    files
        .iter()
        .filter(|(_, file)| !listing::is_image(file.name()))
        .for_each(|(_, file)| others.add(&file.path));
    files.retain(|(_, file)| listing::is_image(file.name()));
    files.sort_by(|a, b| a.1.path.cmp(&b.1.path).then(a.0.cmp(&b.0)));
    let inner: Vec<&str> = files.iter().map(|(_, file)| file.path.as_str()).collect();
    let chosen = listing::assign(&inner, part)
        .map_err(|doubt| DataError::malformed(&stores[0].path, doubt.expected, doubt.found))?;
    // Where texts lie beside the images, shards have said so.
    others.note(true, &mut notes);
    notes.merge(chosen.notes);
    let entries = chosen.picks.into_iter().map(|(at, label)| entry(files[at].0, label, files[at].1.clone()));
    let entries = entries.collect();
    let encoded = Encoded { name: name.to_owned(), classes: chosen.classes, stores, entries };
    Ok(Found { content: Content::Encoded(encoded), split: chosen.split, notes })
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
        let expected = format!("an archive with images ({FORMAT_NAMES})");
        let mut others = Others::default();
        files.iter().for_each(|(_, file)| others.add(&file.path));
        return Err(DataError::malformed(&stores[0].path, expected, others.found()));
    };
    let read = |&(_, file, store): &(Kind, &TarFile, &Store)| {
        let bytes = store.read(&file.path, file.offset, file.len)?;
        Ok((store.path_of(&file.path), bytes))
    };
    let read = found.iter().map(read).collect::<Result<Vec<(PathBuf, Vec<u8>)>, DataError>>()?;
    let read: Vec<(PathBuf, &[u8])> = read.iter().map(|(path, bytes)| (path.clone(), &bytes[..])).collect();
    Ok(Found::raw(cifar::parse(name, kind, &read)?, true))
}

/// WebDataset shards.
fn shards(name: &str, stores: Vec<Store>, listed: Vec<Listed>) -> Result<Found, DataError> {
    let (mut entries, mut told, mut notes) = (Vec::new(), Vec::new(), Notes::default());
    for (at, listed) in listed.into_iter().enumerate() {
        notes.merge(listed.notes);
        let Some(examples) = listed.shard else {
            let Some(image) = listed.files.iter().find(|file| listing::is_image(file.name())) else {
                continue;
            };
            let expected =
                "a class for every image, as other shards of the set have (KEY.cls, or a field of KEY.json)";
            return Err(DataError::malformed(&stores[at].path_of(&image.path), expected, "none"));
        };
        for (file, of) in examples {
            entries.push(entry(at, 0, file));
            told.push(of);
        }
    }
    let mut encoded = Encoded { name: name.to_owned(), classes: Vec::new(), stores, entries };
    webdataset::resolve(&mut encoded, &told, &mut notes)?;
    Ok(Found { content: Content::Encoded(encoded), split: false, notes })
}

/// A set of archives of which each holds the images of one class, whose name is the archive's.
pub(super) fn classes(name: &str, paths: &[PathBuf]) -> Result<(Encoded, Notes), DataError> {
    let stores = Store::archives(paths)?;
    let listed = list_all(&stores, files)?;
    let (mut classes, mut entries, mut notes) = (Vec::new(), Vec::new(), Notes::default());
    for (at, (store, listed)) in stores.iter().zip(listed).enumerate() {
        notes.merge(listed.notes);
        let mut others = Others::default();
        let (mut files, rest): (Vec<TarFile>, Vec<TarFile>) =
            listed.files.into_iter().partition(|file| listing::is_image(file.name()));
        rest.iter().for_each(|file| others.add(&file.path));
        files.sort_by(|a, b| a.path.cmp(&b.path));
        if files.is_empty() {
            let expected = format!("an archive with the images of a class ({FORMAT_NAMES})");
            return Err(DataError::malformed(&store.path, expected, others.found()));
        }
        others.note(true, &mut notes);
        entries.extend(files.into_iter().map(|file| entry(at, at as u32, file)));
        let file = super::read::file_name(&store.path);
        classes.push(file.split('.').next().unwrap_or(&file).to_owned());
    }
    Ok((Encoded { name: name.to_owned(), classes, stores, entries }, notes))
}
