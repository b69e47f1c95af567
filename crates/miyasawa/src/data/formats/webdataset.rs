//! WebDataset shards: files that share a path up to the first dot of their name are one example.

mod label_file;

use std::collections::{BTreeSet, HashMap};

use super::tar_entries::TarFile;
use super::{class_folders, class_list};
use crate::data::error::DataError;
use crate::data::notes::{Left, Notes};
use crate::data::set::image_files::ImageFiles;
use crate::data::set::storage::{ReadSeek, Storage};
pub(in crate::data) use label_file::ClassLabel;
use label_file::{LabelFile, MAX_LABEL, class_in_json, class_in_text, field, key, read, stem};

/// The examples of a shard, sorted by path, and what was left out.
#[derive(Debug)]
pub(in crate::data) struct Shard {
    pub examples: Vec<(TarFile, ClassLabel)>,
    pub notes: Notes,
}

/// The examples of an archive; nothing if its images have no labels beside them.
///
/// A label is in `KEY.cls`, as a number or a name, or where no image has such a file, in a field
/// of `KEY.json`.
///
/// # Errors
///
/// If there are labels and it is not certain what they are, or which of several images they
/// belong to.
pub(in crate::data) fn label(
    storage: &Storage,
    files: &[TarFile],
    notes: &mut Notes,
) -> Result<Option<Shard>, DataError> {
    let of_kind = |kind: LabelFile| {
        files.iter().filter(move |file| LabelFile::from_path(&file.path) == Some(kind))
    };
    let images = || files.iter().filter(|file| class_folders::is_image(&file.path));
    let labels: Vec<&TarFile> = of_kind(LabelFile::Class).collect();
    if !labels.is_empty() {
        return by_files(storage, images().collect(), labels, &mut class_in_text).map(Some);
    }
    // Labels of another kind are searched for where folders are no classes.
    let top = |file: &TarFile| {
        file.path.trim_start_matches("./").split_once('/').map(|(top, _)| top.to_owned())
    };
    if images().map(top).collect::<BTreeSet<_>>().len() != 1 {
        return Ok(None);
    }
    let keys: BTreeSet<&str> = images().map(|image| key(&image.path)).collect();
    let beside = |kind: LabelFile| of_kind(kind).find(|file| keys.contains(key(&file.path)));
    let unclear = |file: &TarFile, found: &str| {
        let expected = format!("the class of an image in a file {}.cls", key(&file.path));
        DataError::malformed(&storage.path_of(&file.path), expected, found)
    };
    if let Some(index) = beside(LabelFile::Index) {
        let found = "a number in .index, which may be the class or the image's own: rename the \
                     files if it is the class";
        return Err(unclear(index, found));
    }
    if let Some(first) = beside(LabelFile::Json) {
        let mut stream = storage.stream()?.0;
        match field(storage, &mut *stream, first)? {
            Some(field) => {
                let labels = of_kind(LabelFile::Json)
                    .filter(|file| keys.contains(key(&file.path)))
                    .collect();
                let mut read_class =
                    |storage: &Storage, stream: &mut dyn ReadSeek, file: &TarFile| {
                        class_in_json(storage, stream, file, field)
                    };
                return by_files(storage, images().collect(), labels, &mut read_class).map(Some);
            }
            None => notes.say(format!(
                "no classes are read: {} has no field 'label', 'class' or the like",
                first.path
            )),
        }
    } else if let Some(first) = beside(LabelFile::Text) {
        let mut stream = storage.stream()?.0;
        let text = read(storage, &mut *stream, first, MAX_LABEL).unwrap_or_default();
        if text.trim().parse::<i64>().is_ok() {
            return Err(unclear(
                first,
                "a number in .txt: rename the files to .cls if it is the class",
            ));
        }
        notes.say(format!(
            "no classes are read: {} is taken for a caption; a class belongs into {}.cls",
            first.path,
            key(&first.path)
        ));
    }
    Ok(None)
}

/// Reads the class from a label file.
type ReadLabel<'a> =
    dyn FnMut(&Storage, &mut dyn ReadSeek, &TarFile) -> Result<ClassLabel, DataError> + 'a;

/// The images with the labels in the files beside them.
fn by_files(
    storage: &Storage,
    mut images: Vec<&TarFile>,
    labels: Vec<&TarFile>,
    read_label: &mut ReadLabel<'_>,
) -> Result<Shard, DataError> {
    let mut notes = Notes::default();
    images.sort_by(|a, b| a.path.cmp(&b.path));
    let group = |files: &[&TarFile], key: fn(&str) -> &str| {
        let mut groups: HashMap<(u32, String), Vec<TarFile>> = HashMap::new();
        for file in files {
            groups
                .entry((file.segment, key(&file.path).to_owned()))
                .or_default()
                .push((*file).clone());
        }
        groups
    };
    let mut by = key as fn(&str) -> &str;
    let several = |groups: &HashMap<_, Vec<TarFile>>| groups.values().any(|files| files.len() > 1);
    let (mut of_images, mut of_labels) = (group(&images, by), group(&labels, by));
    if several(&of_images) || several(&of_labels) {
        // Keys with dots in them: every image has a label of its own, and every label an image.
        let stems = (group(&images, stem), group(&labels, stem));
        let alone = !several(&stems.0) && !several(&stems.1);
        if alone && stems.0.keys().all(|key| stems.1.contains_key(key)) {
            by = stem;
            (of_images, of_labels) = stems;
        }
    }
    let of = |file: &TarFile| (file.segment, by(&file.path).to_owned());
    let mut stream = storage.stream()?.0;
    let mut examples = Vec::new();
    for image in images {
        let name = of(image);
        let group = &of_images[&name];
        if one_of(storage, group, &name.1)?.path != image.path {
            notes.left(Left::Second, || image.path.clone());
            continue;
        }
        let Some(labels) = of_labels.get(&name) else {
            let expected = format!("a class file {}.cls beside it", name.1);
            return Err(DataError::malformed(&storage.path_of(&image.path), expected, "none"));
        };
        let label = one_of(storage, labels, &name.1)?;
        if labels.len() > 1 {
            let other = labels
                .iter()
                .find(|other| other.path != label.path)
                .map_or("", |other| &other.path);
            notes.say(format!(
                "classes are those of files such as {}; {other} is not read",
                label.path
            ));
        }
        examples.push((image.clone(), read_label(storage, &mut *stream, label)?));
    }
    for (name, labels) in &of_labels {
        if !of_images.contains_key(name) {
            // The first in the alphabet, as the map has no order.
            notes.left_many(Left::NoImage, labels.len(), || {
                let without = of_labels.keys().filter(|name| !of_images.contains_key(*name)).min();
                format!("{}.cls", without.map_or("", |name| &name.1))
            });
        }
    }
    Ok(Shard { examples, notes })
}

/// The one file of an example of a kind: the only one, or of several the one whose name is the key
/// and an extension.
fn one_of<'a>(
    storage: &Storage,
    files: &'a [TarFile],
    key: &str,
) -> Result<&'a TarFile, DataError> {
    let mut plain = files.iter().filter(|file| stem(&file.path) == key);
    match (files, plain.next(), plain.next()) {
        ([only], ..) => Ok(only),
        (_, Some(plain), None) => Ok(plain),
        (_, plain, second) => {
            let (first, second) = (plain.unwrap_or(&files[0]), second.unwrap_or(&files[1]));
            let expected = format!(
                "one image and one label of the example '{key}' (a key ends at the first dot of \
                 a name; a mask or another \
                 view belongs into a file such as KEY.mask.png beside KEY.jpg)"
            );
            Err(DataError::malformed(
                &storage.path,
                expected,
                format!("{} and {}", first.path, second.path),
            ))
        }
    }
}

/// The labels and class names of a set, from the label of every image. Names are those of
/// `classes.txt` ([`class_list::beside`] the first shard); else numbers, or the names that occur,
/// sorted.
pub(in crate::data) fn resolve(
    set: &mut ImageFiles,
    labels: &[ClassLabel],
    notes: &mut Notes,
) -> Result<(), DataError> {
    let listed = match set.storages.first().and_then(|storage| class_list::beside(&storage.path)) {
        Some(path) => Some(class_list::read(&path)?),
        None => None,
    };
    let numbers: Vec<(usize, u32)> = labels
        .iter()
        .enumerate()
        .filter_map(
            |(i, label)| if let ClassLabel::Number(n) = label { Some((i, *n)) } else { None },
        )
        .collect();
    if numbers.len() == labels.len() {
        set.classes = number(set, &numbers, listed, notes)?;
        set.entries.iter_mut().zip(numbers).for_each(|(entry, (_, label))| entry.label = label);
        return Ok(());
    }
    let names = labels.iter().enumerate().filter_map(|(i, label)| {
        if let ClassLabel::Name(name) = label { Some((i, name)) } else { None }
    });
    let names: Vec<(usize, &String)> = names.collect();
    if let (Some(&(at, name)), false) = (names.first(), numbers.is_empty()) {
        let expected = "a class number, as others of the set have";
        return Err(DataError::malformed(&set.path_of(at), expected, format!("'{name}'")));
    }
    let classes = listed.unwrap_or_else(|| {
        let distinct: BTreeSet<&String> = names.iter().map(|(_, name)| *name).collect();
        distinct.into_iter().cloned().collect()
    });
    let index: HashMap<&str, u32> = classes.iter().map(String::as_str).zip(0..).collect();
    for (at, name) in names {
        let Some(&label) = index.get(name.as_str()) else {
            let expected = format!("one of the {} classes that classes.txt lists", classes.len());
            return Err(DataError::malformed(&set.path_of(at), expected, format!("'{name}'")));
        };
        set.entries[at].label = label;
    }
    set.classes = classes;
    Ok(())
}

/// The names of numbered classes.
fn number(
    set: &ImageFiles,
    labels: &[(usize, u32)],
    listed: Option<Vec<String>>,
    notes: &mut Notes,
) -> Result<Vec<String>, DataError> {
    let Some(&(at, largest)) = labels.iter().max_by_key(|(_, label)| *label) else {
        return Ok(Vec::new());
    };
    if let Some(names) = listed {
        if let Some(&(at, label)) = labels.iter().find(|(_, label)| *label as usize >= names.len())
        {
            return Err(DataError::malformed(
                &set.path_of(at),
                format!("a class below {}, as classes.txt lists", names.len()),
                format!("class {label}"),
            ));
        }
        return Ok(names);
    }
    class_list::numbers(largest, set.len(), labels.iter().map(|(_, label)| *label), notes)
        .ok_or_else(|| {
            let expected = format!("a class number that {} images can need", set.len());
            DataError::malformed(&set.path_of(at), expected, largest.to_string())
        })
}
