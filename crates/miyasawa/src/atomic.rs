//! Files that are there whole or not at all.

use std::{
    fs::{self, File, OpenOptions},
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

/// The longest name that common file systems take, in bytes.
const LONGEST_NAME: usize = 255;

/// The most links that are followed from one to the next, as Linux does.
const MOST_LINKS: usize = 40;

/// Writes a file through `fill`: to a sibling, synchronised to the disk, then renamed over `path`.
///
/// A symbolic link stays one: the file that it names is replaced. A file that was there keeps its permissions (and where
/// the system allows it, its owner); those of a new one are the system's default. What is no regular file (a device, a
/// pipe) is written to directly.
///
/// # Errors
/// If any step fails; the sibling is removed and `path` is as it was.
pub fn write_atomic(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), AtomicError> {
    let error = |source| AtomicError { path: path.to_owned(), source };
    let place = place(path).map_err(error)?;
    let there = fs::metadata(&place).ok();
    if there.as_ref().is_some_and(|there| !there.is_file() && !there.is_dir()) {
        let write = || -> io::Result<()> {
            let mut file = BufWriter::new(OpenOptions::new().write(true).open(&place)?);
            fill(&mut file)?;
            file.flush()
        };
        return write().map_err(error);
    }
    let sibling = sibling(&place).map_err(error)?;
    let write = || -> io::Result<()> {
        let file = File::create(&sibling)?;
        if let Some(there) = &there {
            keep_access(&file, there)?;
        }
        let mut file = BufWriter::new(file);
        fill(&mut file)?;
        file.flush()?;
        file.get_ref().sync_all()?;
        drop(file);
        fs::rename(&sibling, &place)?;
        // The rename itself is only durable once the folder is.
        File::open(folder(&place)).and_then(|folder| folder.sync_all()).or(Ok(()))
    };
    write().map_err(|source| {
        let _ = fs::remove_file(&sibling);
        error(source)
    })
}

/// Whether [`write_atomic`] can write a file of this name, found out by making its sibling and removing it: to be asked
/// before long work.
///
/// # Errors
/// As [`write_atomic`], and if a folder has the name.
pub fn check_writable(path: &Path) -> Result<(), AtomicError> {
    let check = || -> io::Result<()> {
        let place = place(path)?;
        match fs::metadata(&place) {
            Ok(there) if there.is_dir() => return Err(io::Error::other("it is a folder")),
            Ok(there) if !there.is_file() => return Ok(()),
            _ => {}
        }
        let sibling = sibling(&place)?;
        OpenOptions::new().write(true).create_new(true).open(&sibling)?;
        // The name itself may be one that the file system does not take: asking for it says so.
        let named = match fs::symlink_metadata(&place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        fs::remove_file(&sibling).and(named)
    };
    check().map_err(|source| AtomicError { path: path.to_owned(), source })
}

/// The file that a name stands for: itself, or what a chain of links leads to, be it there or not.
fn place(path: &Path) -> io::Result<PathBuf> {
    let mut place = path.to_owned();
    for _ in 0..MOST_LINKS {
        match fs::symlink_metadata(&place) {
            Ok(found) if found.file_type().is_symlink() => {
                place = folder(&place).join(fs::read_link(&place)?);
            }
            _ => return Ok(place),
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
    let end = format!(".{}.{}.partial", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
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

/// Gives a file the permissions and, where that is allowed, the owner of another.
fn keep_access(file: &File, other: &fs::Metadata) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt as _, fchown};
        let own = file.metadata()?;
        if (own.uid(), own.gid()) != (other.uid(), other.gid()) {
            // Only the system's administrator may give files away.
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
    fn what_cannot_be_written_is_known_before() {
        let dir = tempfile::tempdir().unwrap();
        let (file, folder) = (dir.path().join("a.txt"), dir.path().join("folder"));
        fs::write(&file, "mine").unwrap();
        fs::create_dir(&folder).unwrap();
        for path in [dir.path().join("none/a.txt"), file.join("a.txt"), folder, PathBuf::from("/")] {
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
        // A link to a file that is not there yet makes it.
        symlink("later", at("early")).unwrap();
        write_atomic(&at("early"), |w| w.write_all(b"new")).unwrap();
        assert_eq!(fs::read(at("later")).unwrap(), b"new");
        symlink("circle", at("circle")).unwrap();
        assert!(write_atomic(&at("circle"), |_| Ok(())).unwrap_err().to_string().contains("circle"));
        // A device is no file to replace.
        symlink("/dev/null", at("null")).unwrap();
        write_atomic(&at("null"), |w| w.write_all(b"gone")).unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
}
