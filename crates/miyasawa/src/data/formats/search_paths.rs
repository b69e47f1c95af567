//! The search path of data sets.

use std::path::{Path, PathBuf};

use crate::data::error::DataError;
use crate::data::set::content::FoundSet;

/// The environment variable that names the folder where data sets are.
const DATA_FOLDER: &str = "MIYASAWA_DATA";

/// The folders that are searched for data sets when none is named.
pub(in crate::data) fn search_roots() -> Vec<PathBuf> {
    let named = std::env::var_os(DATA_FOLDER).filter(|value| !value.is_empty()).map(PathBuf::from);
    named.into_iter().chain([PathBuf::from("data")]).collect()
}

/// Where data sets are put when no folder is named: the first of the folders that are searched.
///
/// ```
/// let cifar10 = miyasawa::data::default_folder().join("cifar10");
/// assert!(cifar10.ends_with("cifar10"));
/// ```
pub fn default_folder() -> PathBuf {
    search_roots().swap_remove(0)
}

/// The search path of a data set with these usual names: `folder` and what has such a name in it,
/// or without a folder what has such a name in a root.
pub(in crate::data) fn usual(
    folder: Option<&Path>,
    roots: &[PathBuf],
    names: &[&str],
) -> Vec<PathBuf> {
    let below = |root: &Path| names.iter().map(|name| root.join(name)).collect::<Vec<_>>();
    match folder {
        Some(folder) => [vec![folder.to_owned()], below(folder)].concat(),
        None => roots.iter().flat_map(|root| below(root)).collect(),
    }
}

/// What `find` finds first on the search path of `what`.
pub(in crate::data) fn first(
    search_path: Vec<PathBuf>,
    what: String,
    hint: &str,
    find: impl Fn(&Path) -> Result<Option<FoundSet>, DataError>,
) -> Result<FoundSet, DataError> {
    for path in &search_path {
        if let Some(found) = find(path)? {
            return Ok(found);
        }
    }
    Err(DataError::NotFound { what, looked: search_path, hint: hint.to_owned() })
}
