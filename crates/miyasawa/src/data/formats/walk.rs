//! The images below a folder.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::class_folders;
use super::unread::OtherFiles;
use crate::data::error::DataError;
use crate::data::notes::{Left, Notes};

/// Folders deeper than this are not read: data sets are flat.
const MAX_DEPTH: usize = 6;

/// What lies below a folder.
#[derive(Debug, Default)]
pub(in crate::data) struct Walked {
    /// The paths of all images, relative to the folder, with `/` between components, sorted.
    pub images: Vec<String>,
    /// The other files.
    pub others: OtherFiles,
    /// What was left out.
    pub notes: Notes,
}

/// Finds all images below `root`. Hidden files and folders are passed over, and so is, with a
/// note, what cannot be reached under a name, and a link to a folder that is reached without it.
///
/// # Errors
///
/// If a folder cannot be read.
pub(in crate::data) fn walk(root: &Path) -> Result<Walked, DataError> {
    let real = root.canonicalize().map_err(|e| DataError::io(root, e))?;
    let mut walker = Walker { root: root.to_owned(), ..Walker::default() };
    walker.seen.insert(real.clone());
    walker.folder("", &real, 0)?;
    // Folders come before links to them, so that what is read does not hang on the order of names.
    while let Some(Link { prefix, target, depth }) = walker.links.pop_first() {
        if real.starts_with(&target) || !walker.seen.insert(target.clone()) {
            walker.walked.notes.left(Left::Circle, || prefix);
            continue;
        }
        walker.folder(&format!("{prefix}/"), &target, depth)?;
    }
    let mut walked = walker.walked;
    walked.images.sort_unstable();
    Ok(walked)
}

/// A link to a folder.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Link {
    prefix: String,
    target: PathBuf,
    depth: usize,
}

#[derive(Default)]
struct Walker {
    root: PathBuf,
    walked: Walked,
    /// The folders that were reached, by their real paths.
    seen: BTreeSet<PathBuf>,
    links: BTreeSet<Link>,
}

impl Walker {
    /// Reads the folder at `prefix`, whose real path is `real`.
    fn folder(&mut self, prefix: &str, real: &Path, depth: usize) -> Result<(), DataError> {
        let path = self.root.join(prefix);
        let entries = std::fs::read_dir(&path).map_err(|e| DataError::io(&path, e))?;
        for entry in entries {
            let entry = entry.map_err(|e| DataError::io(&path, e))?;
            let (path, name) = (entry.path(), entry.file_name());
            let notes = &mut self.walked.notes;
            let Ok(name) = name.into_string() else {
                notes.left(Left::BadName, || path.display().to_string());
                continue;
            };
            if class_folders::is_hidden(&name) {
                continue;
            }
            let kind = entry.file_type().map_err(|e| DataError::io(&path, e))?;
            let relative = format!("{prefix}{name}");
            if kind.is_dir() {
                if class_folders::is_junk(&name) {
                    notes.left(Left::Junk, || relative);
                } else if depth >= MAX_DEPTH {
                    notes.left(Left::TooDeep, || relative);
                } else {
                    let real = real.join(&name);
                    self.walked.others.folders += 1;
                    if self.seen.insert(real.clone()) {
                        self.folder(&format!("{relative}/"), &real, depth + 1)?;
                    } else {
                        self.walked.notes.left(Left::Circle, || relative);
                    }
                }
                continue;
            }
            if kind.is_symlink() {
                let target = path
                    .canonicalize()
                    .ok()
                    .and_then(|target| Some((target.metadata().ok()?, target)));
                match target {
                    None => {
                        notes.left(Left::Dangling, || relative);
                        continue;
                    }
                    Some((metadata, _)) if metadata.is_dir() && class_folders::is_junk(&name) => {
                        notes.left(Left::Junk, || relative);
                        continue;
                    }
                    Some((metadata, target)) if metadata.is_dir() => {
                        if depth >= MAX_DEPTH {
                            notes.left(Left::TooDeep, || relative);
                        } else {
                            self.links.insert(Link { prefix: relative, target, depth: depth + 1 });
                        }
                        continue;
                    }
                    Some(_) => {}
                }
            }
            if class_folders::is_image(&name) {
                self.walked.images.push(relative);
            } else {
                self.walked.others.add(&relative);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn files(root: &Path, names: &[&str]) {
        for name in names {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"").unwrap();
        }
    }

    #[test]
    fn what_systems_keep_is_left_out_and_said_once() {
        let dir = tempfile::tempdir().unwrap();
        let junk = [
            "@eaDir/cat/x.png",
            "cat/@eaDir/1.png/x.jpg",
            "$RECYCLE.BIN/S-1/a.png",
            "lost+found/a.png",
        ];
        files(dir.path(), &junk);
        files(
            dir.path(),
            &["cat/1.png", "cat/.hidden.png", ".thumbnails/x.png", "__MACOSX/cat/1.png"],
        );
        files(dir.path(), &["System Volume Information/a.png", ".ipynb_checkpoints/a.png"]);
        files(dir.path(), &["cat/2.jfif", "dog/3.JPE", "dog/4.heic", "dog/5.txt"]);
        let found = walk(dir.path()).unwrap();
        assert_eq!(found.images, ["cat/1.png", "cat/2.jfif", "dog/3.JPE"]);
        let lines = found.notes.lines();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("left out 6 folders that a system keeps"), "{lines:?}");
    }

    #[cfg(unix)]
    #[test]
    fn links_in_circles_multiply_nothing_and_one_bad_name_costs_one_image() {
        use std::os::unix::ffi::OsStrExt;
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("set");
        files(&root, &["cat/1.png", "dog/2.png"]);
        files(dir.path(), &["elsewhere/bird/3.png", "elsewhere/4.png"]);
        for (target, link) in [
            (".", "cat/latest"),
            ("../..", "cat/up"),
            ("dog", "all"),
            ("../elsewhere/bird", "bird"),
            ("../bird", "cat/bird"),
            ("../../elsewhere/4.png", "cat/4.png"),
            ("nowhere.png", "cat/gone.png"),
        ] {
            symlink(target, root.join(link)).unwrap();
        }
        fs::write(root.join("cat").join(std::ffi::OsStr::from_bytes(b"caf\xe9.png")), b"").unwrap();
        let found = walk(&root).unwrap();
        assert_eq!(found.images, ["bird/3.png", "cat/1.png", "cat/4.png", "dog/2.png"]);
        let lines = found.notes.lines().join("; ");
        for part in [
            "4 links to folders that are read already: all",
            "1 link to nothing: cat/gone.png",
            "1 file whose name",
        ] {
            assert!(lines.contains(part), "{lines}");
        }
    }
}
