//! WebDataset shards: files that share a path up to the first dot of their name are one example.

use std::collections::HashMap;
use std::path::Path;

use super::encoded::Encoded;
use super::error::DataError;
use super::listing;
use super::store::Store;
use super::tarlist::TarFile;

/// What the files of an example have in common.
fn key(path: &str) -> &str {
    let name = path.rfind('/').map_or(0, |slash| slash + 1);
    &path[..path[name..].find('.').map_or(path.len(), |dot| name + dot)]
}

/// The pictures of a shard, sorted by path, with their class numbers.
pub(super) fn label(store: &Store, files: Vec<TarFile>) -> Result<Vec<(TarFile, u32)>, DataError> {
    let (mut pictures, rest): (Vec<TarFile>, Vec<TarFile>) =
        files.into_iter().partition(|file| listing::is_picture(&file.path));
    let classes: HashMap<&str, &TarFile> =
        rest.iter().filter(|file| file.class.is_some()).map(|file| (key(&file.path), file)).collect();
    pictures.sort_by(|a, b| a.path.cmp(&b.path));
    let labelled = pictures.into_iter().map(|picture| {
        let Some(&file) = classes.get(key(&picture.path)) else {
            let expected = format!("a class file {}.cls beside it", key(&picture.path));
            return Err(DataError::malformed(&store.path_of(&picture.path), expected, "none"));
        };
        let text = String::from_utf8_lossy(file.class.as_deref().unwrap_or_default());
        let label = text.trim().parse().map_err(|_| {
            let found: String = text.chars().take(20).collect();
            let path = store.path_of(&file.path);
            DataError::malformed(&path, "a class number", format!("'{}'", found.trim()))
        })?;
        Ok((picture, label))
    });
    labelled.collect()
}

/// The class names of labelled pictures: from `classes.txt` beside the first shard, or their numbers.
pub(super) fn classes(set: &Encoded) -> Result<Vec<String>, DataError> {
    let Some((at, largest)) = set.entries.iter().map(|entry| entry.label).enumerate().max_by_key(|e| e.1)
    else {
        return Ok(Vec::new());
    };
    let path = set.stores[0].path.with_file_name("classes.txt");
    if path.is_file() {
        let names = class_names(&path)?;
        if let Some(at) = set.entries.iter().position(|entry| entry.label as usize >= names.len()) {
            return Err(DataError::malformed(
                &set.path_of(at),
                format!("a class below {}, as classes.txt lists", names.len()),
                format!("class {}", set.entries[at].label),
            ));
        }
        return Ok(names);
    }
    let count = largest as usize + 1;
    // Numbers far above the number of pictures are damage, and a list of names for them would be huge.
    if count > 10 * set.len() + 1000 {
        return Err(DataError::malformed(
            &set.path_of(at),
            format!("a class number that {} pictures can need", set.len()),
            largest.to_string(),
        ));
    }
    Ok((0..count).map(|class| class.to_string()).collect())
}

/// Class names from lines `index<TAB>wnid<TAB>name, synonym, ...` or `index<TAB>name`: the first name of each, or the
/// whole last column where two classes share their first name.
fn class_names(path: &Path) -> Result<Vec<String>, DataError> {
    let text = std::fs::read_to_string(path).map_err(|e| DataError::io(path, e))?;
    let mut full = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let mut columns = line.split('\t');
        let index = columns.next().and_then(|index| index.trim().parse::<usize>().ok());
        match (index, columns.next_back()) {
            (Some(index), Some(names)) if index == full.len() && !names.trim().is_empty() => {
                full.push(names.trim());
            }
            _ => {
                let line: String = line.chars().take(60).collect();
                return Err(DataError::malformed(
                    path,
                    format!("'{}<TAB>wnid<TAB>names' in line {}", full.len(), number + 1),
                    format!("'{line}'"),
                ));
            }
        }
    }
    Ok(shortened(&full))
}

/// The first of several names separated by commas, or all of them where two classes share their first one.
pub(super) fn shortened(full: &[&str]) -> Vec<String> {
    let short = |names: &str| names.split(',').next().unwrap_or(names).trim().to_owned();
    let mut uses: HashMap<String, usize> = HashMap::new();
    full.iter().for_each(|names| *uses.entry(short(names)).or_default() += 1);
    full.iter()
        .map(|names| if uses[&short(names)] == 1 { short(names) } else { (*names).to_owned() })
        .collect()
}
