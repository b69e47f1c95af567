//! Files that are there whole or not at all.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// Why a file could not be written. Whatever stood at its place before still stands there.
#[derive(Debug, thiserror::Error)]
#[error("{path}: cannot be written: {source}")]
pub struct AtomicError {
    /// The file that was to be written.
    pub path: PathBuf,
    /// The cause.
    pub source: io::Error,
}

/// Tells siblings of one process apart.
static COUNTER: AtomicU64 = AtomicU64::new(0);

/// Writes a file through `fill`: to a sibling, synchronised to the disk, then renamed over `path`.
///
/// # Errors
/// If any step fails; the sibling is removed and `path` is as it was.
pub fn write_atomic(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), AtomicError> {
    let error = |source| AtomicError { path: path.to_owned(), source };
    let name = path.file_name().ok_or_else(|| error(io::Error::other("not the name of a file")))?;
    let mut sibling = std::ffi::OsString::from(".");
    sibling.push(name);
    sibling.push(format!(".{}.{}.partial", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed)));
    let sibling = path.with_file_name(sibling);
    let write = || -> io::Result<()> {
        let mut file = BufWriter::new(File::create(&sibling)?);
        fill(&mut file)?;
        file.flush()?;
        file.get_ref().sync_all()?;
        drop(file);
        fs::rename(&sibling, path)?;
        // The rename itself is only durable once the folder is.
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).or(Ok(()))
    };
    write().map_err(|source| {
        let _ = fs::remove_file(&sibling);
        error(source)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_the_file_and_leaves_no_sibling() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        write_atomic(&path, |w| w.write_all(b"one")).unwrap();
        write_atomic(&path, |w| w.write_all(b"two")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failure_leaves_the_old_file_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        write_atomic(&path, |w| w.write_all(b"one")).unwrap();
        let error = write_atomic(&path, |w| {
            w.write_all(b"half")?;
            Err(io::Error::other("no space"))
        });
        assert!(error.unwrap_err().to_string().contains("a.txt: cannot be written: no space"));
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
