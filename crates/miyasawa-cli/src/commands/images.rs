//! Images that a command is given: files, folders of them, standard input; and what is said of them, once.

use crate::session::WrongCall;
use anyhow::{Context, Result};
use miyasawa::image::{DecodeError, Format, ImageFile};
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    io::Read as _,
    path::{Path, PathBuf},
};

/// Bytes of memory that denoising takes for each pixel of a colour image: as read, as values, the sum of its parts, as
/// written.
const BYTES_A_PIXEL: u64 = 48;
/// An image of fewer pixels fits everywhere.
const SMALL: u64 = 20_000_000;

/// Whether a path stands for standard input or output.
pub fn is_standard(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// The images that paths name.
pub struct Inputs {
    /// Each image, in order.
    pub images: Vec<PathBuf>,
    /// Whether a folder was named, so that there may be any number of them.
    pub folder: bool,
}

/// All images that are named: of a folder those that lie in it, in the order of their names.
pub fn expand(paths: &[PathBuf]) -> Result<Inputs> {
    if paths.iter().filter(|path| is_standard(path)).count() > 1 {
        return Err(WrongCall("standard input (-) is named twice".into()).into());
    }
    let mut found = Inputs { images: Vec::new(), folder: false };
    for path in paths {
        if path.is_dir() {
            found.folder = true;
            found.images.extend(in_folder(path)?);
        } else {
            found.images.push(path.clone());
        }
    }
    Ok(found)
}

/// The images of a folder. What is left out is said, but for hidden files.
fn in_folder(folder: &Path) -> Result<Vec<PathBuf>> {
    let reading = || format!("{}: cannot be read", folder.display());
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(reading)? {
        let path = entry.with_context(reading)?.path();
        let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden {
            paths.push(path);
        }
    }
    paths.sort();
    let (mut folders, mut others) = (0, BTreeMap::<String, (usize, PathBuf)>::new());
    paths.retain(|path| {
        if path.is_dir() {
            folders += 1;
            return false;
        }
        let Some(why) = no_image(path) else { return true };
        others.entry(why).or_insert((0, path.clone())).0 += 1;
        false
    });
    for (why, (count, path)) in others {
        let name = path.file_name().unwrap_or_default().display();
        let more = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
        tracing::warn!("{}: left out {name}{more}: {why}", folder.display());
    }
    if folders > 0 {
        tracing::warn!("{}: {folders} folders in it are left out; name them too", folder.display());
    }
    if paths.is_empty() {
        anyhow::bail!("{}: expected a folder with images, found none in it", folder.display());
    }
    Ok(paths)
}

/// Why a file of a folder is taken for no image, by its content where its name does not say that it is one.
fn no_image(path: &Path) -> Option<String> {
    let gif = path.extension().and_then(OsStr::to_str).is_some_and(|e| e.eq_ignore_ascii_case("gif"));
    let named = gif || Format::of_name(path).is_some();
    let begin = match first_bytes(path) {
        Ok(begin) => begin,
        // An image by its name is an error of its own when it is read.
        Err(error) => return (!named).then(|| error.to_string()),
    };
    match Format::of_bytes(&begin) {
        Ok(_) => None,
        Err(_) if named => None,
        Err(DecodeError::NotAImage(found)) if !found.starts_with("bytes") => Some(found),
        Err(_) => Some("no image".to_owned()),
    }
}

/// The bytes that tell a file's format.
pub fn first_bytes(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut begin = Vec::new();
    std::fs::File::open(path)?.take(1024).read_to_end(&mut begin)?;
    Ok(begin)
}

/// Reads an image's file, or standard input.
pub fn open(path: &Path) -> Result<ImageFile> {
    if is_standard(path) {
        return Ok(ImageFile::read("standard input", std::io::stdin().lock())?);
    }
    Ok(ImageFile::open(path)?)
}

/// The first image of a file, laid over white; what was guessed or left out is said.
pub fn first(path: &Path, notes: &mut Notes) -> Result<miyasawa::image::Image> {
    let file = open(path)?;
    notes.of_file(path, &file);
    if file.pages() > 1 {
        notes.say(path, &format!("the first of its {} pages is taken", file.pages()));
    }
    Ok(file.page(0)?.into_opaque())
}

/// Makes sure that there is memory for an image, where the system tells how much is free.
pub fn check_memory(path: &Path, pixels: u64) -> Result<()> {
    let needed = pixels.saturating_mul(BYTES_A_PIXEL);
    let free = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| free_memory(&text));
    match free.filter(|free| pixels > SMALL && needed > *free) {
        Some(free) => {
            let giga = |bytes: u64| bytes as f64 / 1e9;
            let (name, pixels) = (path.display(), pixels as f64 / 1e6);
            anyhow::bail!(
                "{name}: {pixels:.0} megapixels take about {:.1} GB of memory, {:.1} GB are free: cut it into parts",
                giga(needed),
                giga(free)
            )
        }
        None => Ok(()),
    }
}

/// Bytes that programs may still take, as Linux tells.
fn free_memory(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(1024 * line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?)
}

/// What is said of images: each sentence once, with the first image as the example.
#[derive(Default)]
pub struct Notes {
    said: BTreeMap<String, usize>,
}

impl Notes {
    /// Says something of an image, unless it was said of another.
    pub fn say(&mut self, path: &Path, text: &str) {
        let count = self.said.entry(text.to_owned()).or_default();
        *count += 1;
        if *count == 1 {
            tracing::warn!("{}: {text}", path.display());
        }
    }

    /// Says what was left out or guessed of a file.
    pub fn of_file(&mut self, path: &Path, file: &ImageFile) {
        file.notes().iter().for_each(|note| self.say(path, note));
    }

    /// Says of how many images it was to be said.
    pub fn finish(self) {
        for (text, count) in self.said.into_iter().filter(|(_, count)| *count > 1) {
            tracing::warn!("{} more images: {text}", count - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_told_before_it_runs_out() {
        assert_eq!(free_memory("MemTotal: 9 kB\nMemAvailable:   2048 kB\n"), Some(2 << 20));
        assert_eq!(free_memory("MemTotal: 9 kB"), None);
        check_memory(Path::new("a.png"), 1).unwrap();
        if cfg!(target_os = "linux") {
            let error = check_memory(Path::new("a.png"), 1 << 50).unwrap_err().to_string();
            assert!(
                error.contains("a.png") && error.contains("megapixels") && error.contains("are free"),
                "{error}"
            );
        }
    }
}
