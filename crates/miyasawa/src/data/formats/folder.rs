//! What lies directly in a folder.

use std::path::{Path, PathBuf};

use super::class_folders;
use crate::data::error::DataError;
use crate::data::set::gzip;

/// The files directly in a folder, sorted by name, hidden ones left out.
pub(in crate::data) fn files(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    in_folder(folder, |path| path.is_file())
}

/// The folders directly in a folder, sorted by name, hidden ones and those of systems left out.
pub(in crate::data) fn folders(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    in_folder(folder, |path| path.is_dir() && !class_folders::is_junk(&gzip::file_name(path)))
}

fn in_folder(folder: &Path, wanted: impl Fn(&Path) -> bool) -> Result<Vec<PathBuf>, DataError> {
    let entries = std::fs::read_dir(folder).map_err(|e| DataError::io(folder, e))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| DataError::io(folder, e))?.path();
        if wanted(&path) && !class_folders::is_hidden(&gzip::file_name(&path)) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
