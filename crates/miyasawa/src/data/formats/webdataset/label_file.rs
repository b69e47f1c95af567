//! The files of an example that hold its class: their names, and the class in their text.

use std::io::SeekFrom;

use crate::data::error::DataError;
use crate::data::formats::tar_entries::TarFile;
use crate::data::set::storage::{ReadSeek, Storage};

/// Bytes of the longest label file that is read.
pub(super) const MAX_LABEL: u32 = 256;

/// Bytes of the longest JSON file that is read.
const MAX_JSON: u32 = 4 << 20;

/// Fields of a JSON object that hold a class.
const FIELDS: &[&str] = &[
    "label",
    "class",
    "cls",
    "category",
    "target",
    "class_id",
    "label_id",
    "category_id",
    "class_index",
    "class_idx",
    "class_label",
    "class_name",
    "label_name",
];

/// A class as a label file gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::data) enum ClassLabel {
    Number(u32),
    Name(String),
}

/// The kinds of label files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LabelFile {
    /// `.cls`, in it a number or a name.
    Class,
    /// `.index`, which may be the example's own number.
    Index,
    Json,
    Text,
}

impl LabelFile {
    pub(super) fn from_path(path: &str) -> Option<Self> {
        Some(match path.rsplit_once('.')?.1.to_ascii_lowercase().as_str() {
            "cls" | "class" | "label" | "lbl" => Self::Class,
            "index" => Self::Index,
            "json" => Self::Json,
            "txt" | "text" | "caption" => Self::Text,
            _ => return None,
        })
    }
}

/// What the files of an example have in common.
pub(super) fn key(path: &str) -> &str {
    let name = path.rfind('/').map_or(0, |slash| slash + 1);
    &path[..path[name..].find('.').map_or(path.len(), |dot| name + dot)]
}

/// The path without its last extension.
pub(super) fn stem(path: &str) -> &str {
    let name = path.rfind('/').map_or(0, |slash| slash + 1);
    &path[..path[name..].rfind('.').map_or(path.len(), |dot| name + dot)]
}

/// The text of a small file.
pub(super) fn read(
    storage: &Storage,
    stream: &mut dyn ReadSeek,
    file: &TarFile,
    limit: u32,
) -> Result<String, DataError> {
    let path = storage.path_of(&file.path);
    if file.len > limit {
        let expected = format!("a label of at most {limit} bytes");
        return Err(DataError::malformed(&path, expected, format!("{} bytes", file.len)));
    }
    let mut bytes = vec![0; file.len as usize];
    let read =
        stream.seek(SeekFrom::Start(file.offset)).and_then(|_| stream.read_exact(&mut bytes));
    read.map_err(|e| DataError::io(&path, e))?;
    String::from_utf8(bytes).map_err(|_| {
        DataError::malformed(&path, "a class number or name", "bytes that are no text")
    })
}

/// The class in a text.
pub(super) fn class_in_text(
    storage: &Storage,
    stream: &mut dyn ReadSeek,
    file: &TarFile,
) -> Result<ClassLabel, DataError> {
    let text = read(storage, stream, file, MAX_LABEL)?;
    let text = text.trim();
    if let Ok(number) = text.parse() {
        return Ok(ClassLabel::Number(number));
    }
    let is_list = text.bytes().all(|b| b.is_ascii_digit() || b" ,;.+-[]()\n\r\t".contains(&b));
    if is_list || text.contains(['\n', '\r', '\t', '{']) {
        let found: String = text.chars().take(20).collect();
        let found = format!("'{}'", found.replace(['\n', '\r'], " "));
        return Err(DataError::malformed(
            &storage.path_of(&file.path),
            "one class number or name",
            found,
        ));
    }
    Ok(ClassLabel::Name(text.to_owned()))
}

fn json(
    storage: &Storage,
    stream: &mut dyn ReadSeek,
    file: &TarFile,
) -> Result<serde_json::Value, DataError> {
    let text = read(storage, stream, file, MAX_JSON)?;
    serde_json::from_str(&text).map_err(|e| {
        let found = format!("damage ({})", e.to_string().replace('\n', " "));
        DataError::malformed(&storage.path_of(&file.path), "JSON", found)
    })
}

/// The field of a JSON file that holds the class; nothing if there is none.
pub(super) fn field(
    storage: &Storage,
    stream: &mut dyn ReadSeek,
    file: &TarFile,
) -> Result<Option<&'static str>, DataError> {
    let value = json(storage, stream, file)?;
    let mut fields = FIELDS.iter().filter(|field| value.get(**field).is_some());
    match (fields.next(), fields.next()) {
        (Some(one), Some(other)) => {
            let expected = format!("one field with the class, or a file {}.cls", key(&file.path));
            let found = format!("'{one}' and '{other}'");
            Err(DataError::malformed(&storage.path_of(&file.path), expected, found))
        }
        (field, _) => Ok(field.copied()),
    }
}

pub(super) fn class_in_json(
    storage: &Storage,
    stream: &mut dyn ReadSeek,
    file: &TarFile,
    field: &str,
) -> Result<ClassLabel, DataError> {
    let value = json(storage, stream, file)?;
    let number = |value: &serde_json::Value| u32::try_from(value.as_u64()?).ok();
    match value.get(field) {
        Some(serde_json::Value::String(name)) if !name.trim().is_empty() => {
            Ok(ClassLabel::Name(name.trim().to_owned()))
        }
        Some(value) if number(value).is_some() => {
            Ok(ClassLabel::Number(number(value).unwrap_or_default()))
        }
        other => {
            let expected = format!("a class number or name in the field '{field}'");
            let found: String = other
                .map_or("none".to_owned(), |value| value.to_string().chars().take(40).collect());
            Err(DataError::malformed(&storage.path_of(&file.path), expected, found))
        }
    }
}
