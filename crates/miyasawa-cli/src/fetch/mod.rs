//! Downloading data sets from their publishers: resumable, checked, and unpacked safely.

mod http;
mod sets;
#[cfg(test)]
mod tests;
mod unpack;

pub use http::Client;
pub use sets::{SETS, Set};

use anyhow::{Context, bail};
use std::path::{Path, PathBuf};

/// A data set that was fetched.
#[derive(Debug)]
pub struct Fetched {
    /// The DATA argument that reads it.
    pub data: String,
    /// Its path.
    pub path: PathBuf,
    /// Whether it was there already.
    pub present: bool,
    /// Bytes that came over the network.
    pub bytes: u64,
}

/// Downloads a set into the folder `dir`; `from` is a mirror's address, which replaces the official
/// ones. `progress` receives a file's name, the bytes that are there and, if it is known, their
/// total.
pub fn fetch(
    set: &Set,
    dir: &Path,
    from: Option<&str>,
    client: &Client,
    progress: &mut dyn FnMut(&str, u64, Option<u64>),
) -> anyhow::Result<Fetched> {
    let folder = dir.join(set.folder);
    let data = format!("{}:{}", set.name, dir.display());
    let mut fetched = Fetched { data, path: folder.clone(), present: true, bytes: 0 };
    if set.unpacked() && folder.exists() {
        // It was renamed to this name when it was complete.
        return Ok(fetched);
    }
    let into = if set.unpacked() { dir } else { &folder };
    std::fs::create_dir_all(into)
        .with_context(|| format!("making the folder {}", into.display()))?;
    for file in set.files {
        let path = into.join(file.name);
        let urls: Vec<String> = match from {
            Some(base) => vec![format!("{}/{}", base.trim_end_matches('/'), file.name)],
            None => file.urls.iter().map(|base| format!("{base}{}", file.name)).collect(),
        };
        if !path.exists() || http::md5(&path)? != file.md5 {
            fetched.present = false;
            fetched.bytes += client
                .download(&urls, &path, file.md5, &mut |have, of| progress(file.name, have, of))?;
        }
        if set.unpacked() {
            unpack_to(&path, &folder)?;
            std::fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
        }
    }
    Ok(fetched)
}

/// Unpacks an archive that holds one folder, which becomes `folder`, either completely or not at
/// all.
fn unpack_to(archive: &Path, folder: &Path) -> anyhow::Result<()> {
    let dir = folder.parent().unwrap_or(Path::new("."));
    let doing = || format!("unpacking {}", archive.display());
    let staging =
        tempfile::Builder::new().prefix(".unpacking-").tempdir_in(dir).with_context(doing)?;
    unpack::unpack(archive, staging.path(), &unpack::Limits::default()).with_context(doing)?;
    let name = folder.file_name().unwrap_or_default();
    let inside = staging.path().join(name);
    if !inside.is_dir() {
        bail!("{}: expected a folder '{}' in it, found none", archive.display(), name.display());
    }
    std::fs::rename(&inside, folder).with_context(doing)
}
