//! Files that are written completely or not at all.
//!
//! ```
//! use miyasawa::atomic::write_atomic;
//! use std::io::{self, Write};
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("notes.txt");
//! write_atomic(&path, |file| writeln!(file, "first"))?;
//! // What fails leaves the file as it was, and nothing beside it.
//! let failed = write_atomic(&path, |_| Err(io::Error::other("no more room")));
//! assert!(failed.is_err());
//! assert_eq!(std::fs::read_to_string(&path)?, "first\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// Why a file could not be written. The previous file of that name, if any, is unchanged.
#[derive(Debug, thiserror::Error)]
#[error("{path}: cannot be written: {source}")]
pub struct AtomicError {
    /// The file that was to be written.
    pub path: PathBuf,
    /// The cause.
    pub source: io::Error,
}

/// Distinguishes the siblings of one process.
static COUNTER: AtomicU64 = AtomicU64::new(0);

/// The longest name that common file systems take, in bytes.
const LONGEST_NAME: usize = 255;

/// The most links that are followed from one to the next, as Linux does.
const MOST_LINKS: usize = 40;

/// Writes a file through `fill`: to a sibling, synchronised to the disk, then renamed over `path`.
///
/// A symbolic link stays one: the file that it names is replaced. A file that was there keeps its
/// permissions (and where the system allows it, its owner); those of a new one are the system's
/// default. Anything but a regular file (a device, a pipe) is written to directly.
///
/// # Errors
/// If any step fails; the sibling is removed and `path` is as it was.
pub fn write_atomic(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), AtomicError> {
    let error = |source| AtomicError { path: path.to_owned(), source };
    let target = follow_links(path).map_err(error)?;
    let existing = fs::metadata(&target).ok();
    if existing.as_ref().is_some_and(|found| !found.is_file() && !found.is_dir()) {
        let write = || -> io::Result<()> {
            let mut file = BufWriter::new(OpenOptions::new().write(true).open(&target)?);
            fill(&mut file)?;
            file.flush()
        };
        return write().map_err(error);
    }
    let sibling = sibling(&target).map_err(error)?;
    let write = || -> io::Result<()> {
        let file = File::create(&sibling)?;
        if let Some(existing) = &existing {
            keep_access(&file, existing)?;
        }
        let mut file = BufWriter::new(file);
        fill(&mut file)?;
        file.flush()?;
        file.get_ref().sync_all()?;
        drop(file);
        fs::rename(&sibling, &target)?;
        // The rename itself is only durable once the folder is.
        File::open(folder(&target)).and_then(|folder| folder.sync_all()).or(Ok(()))
    };
    write().map_err(|source| {
        let _ = fs::remove_file(&sibling);
        error(source)
    })
}

/// Checks that [`write_atomic`] can write a file of this name, by creating and removing its
/// sibling: to be called before long work.
///
/// # Errors
/// As [`write_atomic`], and if a folder has the name.
pub fn check_writable(path: &Path) -> Result<(), AtomicError> {
    let check = || -> io::Result<()> {
        let target = follow_links(path)?;
        match fs::metadata(&target) {
            Ok(found) if found.is_dir() => return Err(io::Error::other("it is a folder")),
            Ok(found) if !found.is_file() => return Ok(()),
            _ => {}
        }
        let sibling = sibling(&target)?;
        OpenOptions::new().write(true).create_new(true).open(&sibling)?;
        // The file system may reject the name itself, which asking for its metadata shows.
        let named = match fs::symlink_metadata(&target) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        fs::remove_file(&sibling).and(named)
    };
    check().map_err(|source| AtomicError { path: path.to_owned(), source })
}

/// The file that a path refers to: itself, or the end of a chain of links, whether it exists or
/// not.
fn follow_links(path: &Path) -> io::Result<PathBuf> {
    let mut target = path.to_owned();
    for _ in 0..MOST_LINKS {
        match fs::symlink_metadata(&target) {
            Ok(found) if found.file_type().is_symlink() => {
                target = folder(&target).join(fs::read_link(&target)?);
            }
            _ => return Ok(target),
        }
    }
    Err(io::Error::other("links that lead in a circle"))
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A new name beside a file, as long as the file system takes.
fn sibling(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::other("not the name of a file"))?;
    let end =
        format!(".{}.{}.partial", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
    let room = LONGEST_NAME - 1 - end.len();
    let mut sibling = std::ffi::OsString::from(".");
    if name.len() <= room {
        sibling.push(name);
    } else {
        let name = name.to_string_lossy();
        sibling.push(&name[..name.floor_char_boundary(room)]);
    }
    sibling.push(end);
    Ok(path.with_file_name(sibling))
}

/// Copies the permissions and, where that is allowed, the owner of another file to `file`.
fn keep_access(file: &File, other: &fs::Metadata) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt as _, fchown};
        let created = file.metadata()?;
        if (created.uid(), created.gid()) != (other.uid(), other.gid()) {
            // Only the system's administrator may change a file's owner.
            let _ = fchown(file, Some(other.uid()), Some(other.gid()));
        }
        file.set_permissions(other.permissions())
    }
    #[cfg(not(unix))]
    {
        // A file that was read-only stays one, but the content has to get in.
        let _ = (file, other);
        Ok(())
    }
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

    #[test]
    fn the_longest_names_are_written() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["y".repeat(255), "é".repeat(127)] {
            let path = dir.path().join(name);
            check_writable(&path).unwrap();
            write_atomic(&path, |w| w.write_all(b"one")).unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"one");
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        assert!(check_writable(&dir.path().join("y".repeat(256))).is_err());
    }

    #[test]
    fn unwritable_paths_are_detected_in_advance() {
        let dir = tempfile::tempdir().unwrap();
        let (file, folder) = (dir.path().join("a.txt"), dir.path().join("folder"));
        fs::write(&file, "mine").unwrap();
        fs::create_dir(&folder).unwrap();
        for path in [dir.path().join("none/a.txt"), file.join("a.txt"), folder, PathBuf::from("/")]
        {
            let error = check_writable(&path).unwrap_err().to_string();
            assert!(error.contains("cannot be written"), "{error}");
        }
        check_writable(&file).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"mine");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[cfg(unix)]
    #[test]
    fn permissions_and_links_stay() {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("private"), "old").unwrap();
        fs::set_permissions(at("private"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::create_dir(at("other")).unwrap();
        symlink("../private", at("other/link")).unwrap();
        symlink("other/link", at("far")).unwrap();
        write_atomic(&at("far"), |w| w.write_all(b"new")).unwrap();
        assert_eq!(fs::read(at("private")).unwrap(), b"new");
        assert_eq!(fs::metadata(at("private")).unwrap().mode() & 0o777, 0o600);
        assert!(at("far").is_symlink() && at("other/link").is_symlink());
        // Writing through a link to a missing file creates that file.
        symlink("later", at("early")).unwrap();
        write_atomic(&at("early"), |w| w.write_all(b"new")).unwrap();
        assert_eq!(fs::read(at("later")).unwrap(), b"new");
        symlink("circle", at("circle")).unwrap();
        assert!(
            write_atomic(&at("circle"), |_| Ok(())).unwrap_err().to_string().contains("circle")
        );
        // A device is not replaced by a file.
        symlink("/dev/null", at("null")).unwrap();
        write_atomic(&at("null"), |w| w.write_all(b"gone")).unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
}
