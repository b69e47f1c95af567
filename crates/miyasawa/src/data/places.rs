//! The places where a data set may be.

use std::path::{Path, PathBuf};

use super::error::DataError;
use super::source::Found;

/// The environment variable that names the folder where data sets are.
const DATA_FOLDER: &str = "MIYASAWA_DATA";

/// The folders where data sets are looked for when none is named.
pub(super) fn search_roots() -> Vec<PathBuf> {
    let named = std::env::var_os(DATA_FOLDER).filter(|value| !value.is_empty()).map(PathBuf::from);
    named.into_iter().chain([PathBuf::from("data")]).collect()
}

/// Where data sets are put when no folder is named: the first of the folders where they are looked for.
pub fn default_folder() -> PathBuf {
    search_roots().swap_remove(0)
}

/// The places of a data set with these usual names: `folder` and what has such a name in it, or without a folder what
/// has such a name in a root.
pub(super) fn usual(folder: Option<&Path>, roots: &[PathBuf], names: &[&str]) -> Vec<PathBuf> {
    let below = |root: &Path| names.iter().map(|name| root.join(name)).collect::<Vec<_>>();
    match folder {
        Some(folder) => [vec![folder.to_owned()], below(folder)].concat(),
        None => roots.iter().flat_map(|root| below(root)).collect(),
    }
}

/// What `find` finds in the first of the places that has `what`.
pub(super) fn first(
    places: Vec<PathBuf>,
    what: String,
    hint: &str,
    find: impl Fn(&Path) -> Result<Option<Found>, DataError>,
) -> Result<Found, DataError> {
    for place in &places {
        if let Some(found) = find(place)? {
            return Ok(found);
        }
    }
    Err(DataError::NotFound { what, looked: places, hint: hint.to_owned() })
}
