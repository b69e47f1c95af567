//! Writing a data set as WebDataset shards.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::summary::Description;
use crate::atomic::{AtomicError, write_atomic};
use crate::data::batch::order::epoch_order;
use crate::data::error::DataError;
use crate::data::formats::{class_folders, class_list};
use crate::data::part::Part;
use crate::data::set::content::SetContent;
use crate::data::set::image_files::ImageFiles;
use crate::image::Image;
use crate::progress::{Monitor, Progress};

/// Fixes the order in which images are dealt to shards.
const DEAL_SEED: u64 = 0;

/// What was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Converted {
    /// The part's name, which the shards' names begin with.
    pub part: String,
    /// Images.
    pub count: usize,
    /// The shards.
    pub shards: Vec<PathBuf>,
}

impl Description {
    /// Writes the set to a folder as WebDataset shards, `train-00000.tar` and so on, with
    /// `classes.txt`: the bytes are the same for the same set. A set with parts gets `train-*` and
    /// `test-*` shards, any other the name `prefix`. The largest part is dealt to `shards` files
    /// after a shuffle that is always the same, other parts to as many in proportion.
    ///
    /// Files of images are copied as they are; what has none (IDX, CIFAR's binary files) is
    /// stored as PNG. `None` if the monitor stops it, between two shards; those written are
    /// removed.
    ///
    /// ```
    /// # let name = format!("miyasawa-doc-shards-{}", std::process::id());
    /// # let folder = std::env::temp_dir().join(name);
    /// # let _ = std::fs::remove_dir_all(&folder);
    /// let digits = miyasawa::data::DataSource::Digits.describe()?;
    /// let written = digits.convert(&folder, 4, "digits", &mut ())?.expect("nobody stops it");
    /// assert_eq!((written[0].part.as_str(), written[0].shards.len()), ("train", 4));
    /// # let _ = std::fs::remove_dir_all(&folder);
    /// # Ok::<(), miyasawa::data::DataError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If there are fewer images than shards, the folder holds shards of this name or names of
    /// other classes, a class name cannot be written to `classes.txt`, or a file cannot be read or
    /// written.
    pub fn convert(
        &self,
        out: &Path,
        shards: usize,
        prefix: &str,
        monitor: &mut dyn Monitor,
    ) -> Result<Option<Vec<Converted>>, DataError> {
        let parts = self.parts();
        let classes: Vec<&str> = self.classes().iter().map(String::as_str).collect();
        let readable = |name: &&str| {
            name.trim() == *name && !name.is_empty() && !name.contains(['\t', '\n', '\r'])
        };
        if !classes.iter().all(readable) || class_list::shortened(&classes) != classes {
            let expected =
                "class names that classes.txt can hold: without tabs, line ends and commas";
            let found = classes.iter().find(|name| !readable(name) || name.contains(','));
            return Err(DataError::invalid(
                self.name(),
                expected,
                format!("'{}'", found.unwrap_or(&"")),
            ));
        }
        let largest = parts.iter().map(|(_, content)| content.len()).max().unwrap_or(0);
        if shards == 0 || shards > largest {
            let expected = format!("1 to {largest} shards, as many as images");
            return Err(DataError::invalid(self.name(), expected, shards.to_string()));
        }
        let read = |content: &SetContent| match content {
            SetContent::Files(set) => set.storages.iter().any(|storage| storage.is_folder(out)),
            SetContent::Raw(_) => false,
        };
        if parts.iter().any(|(_, content)| read(content)) {
            let found = format!("{}, which holds its images", out.display());
            return Err(DataError::invalid(self.name(), "another folder for the shards", found));
        }
        std::fs::create_dir_all(out)
            .map_err(|source| AtomicError { path: out.to_owned(), source })?;
        let name_of = |part: &Option<Part>| part.map_or(prefix.to_owned(), |part| part.to_string());
        for (part, _) in parts {
            let first = out.join(shard_name(&name_of(part), 0));
            if first.exists() {
                return Err(DataError::Exists {
                    path: first,
                    what: "shards of this name are there",
                });
            }
        }
        // The names are those of all shards in the folder.
        let list: String =
            classes.iter().enumerate().map(|(i, name)| format!("{i}\t{name}\n")).collect();
        let names = out.join("classes.txt");
        match std::fs::read(&names) {
            Ok(there) if there != list.as_bytes() => {
                return Err(DataError::Exists {
                    path: names,
                    what: "names of other classes are there",
                });
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(DataError::io(&names, error)),
        }
        let total: usize = parts.iter().map(|(_, content)| content.len()).sum();
        let (mut done, mut written) = (0, Vec::new());
        for (part, content) in parts {
            let part = name_of(part);
            let count = (shards * content.len()).div_ceil(largest);
            let order = epoch_order(DEAL_SEED, 0, content.len());
            let mut paths = Vec::new();
            for shard in 0..count {
                if monitor.stop() {
                    let before = written.iter().flat_map(|part: &Converted| &part.shards);
                    for path in before.chain(&paths) {
                        std::fs::remove_file(path).map_err(|error| DataError::io(path, error))?;
                    }
                    return Ok(None);
                }
                let first_of = |shard: usize| shard * content.len() / count;
                let (from, to) = (first_of(shard), first_of(shard + 1));
                let path = out.join(shard_name(&part, shard));
                write_shard(&path, content, &order[from..to], from)?;
                paths.push(path);
                done += to - from;
                monitor.progress(&Progress::new("converting", done as f64 / total as f64));
            }
            written.push(Converted { part, count: content.len(), shards: paths });
        }
        write_atomic(&names, |file| file.write_all(list.as_bytes()))?;
        Ok(Some(written))
    }
}

fn shard_name(part: &str, shard: usize) -> String {
    format!("{part}-{shard:05}.tar")
}

/// Writes the images at `indices`, whose keys are numbers from `first` on.
fn write_shard(
    path: &Path,
    content: &SetContent,
    indices: &[u32],
    first: usize,
) -> Result<(), DataError> {
    let mut failed = None;
    let written = write_atomic(path, |file| {
        let mut tar = tar::Builder::new(file);
        for (key, &i) in (first..).zip(indices) {
            let (extension, bytes, label) = match encoded(content, i as usize) {
                Ok(found) => found,
                Err(error) => {
                    failed = Some(error);
                    return Err(io::Error::other("the set cannot be read"));
                }
            };
            append(&mut tar, &format!("{key:08}.{extension}"), &bytes)?;
            append(&mut tar, &format!("{key:08}.cls"), label.to_string().as_bytes())?;
        }
        tar.finish()
    });
    match failed {
        Some(error) => Err(error),
        None => Ok(written?),
    }
}

/// A file of a tar, without the time and the user that wrote it.
fn append(tar: &mut tar::Builder<impl Write>, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    tar.append_data(&mut header, name, bytes)
}

/// An image as a file: its extension, its bytes, and its class.
fn encoded(content: &SetContent, i: usize) -> Result<(&'static str, Vec<u8>, u32), DataError> {
    match content {
        SetContent::Raw(data) => {
            let shape = data.geometry().into();
            let png = Image::from_bytes(shape, data.image(i)).and_then(|image| image.to_png());
            let png =
                png.map_err(|e| DataError::invalid(data.name(), "images to store", e.to_string()))?;
            Ok(("png", png, data.labels()[i]))
        }
        SetContent::Files(set) => Ok((extension(set, i), set.read(i)?, set.entries[i].label)),
    }
}

fn extension(set: &ImageFiles, i: usize) -> &'static str {
    // Sets hold nothing but images.
    class_folders::image_extension(&set.entries[i].name).unwrap_or("jpg")
}
