//! The images given to a command: files, folders, standard input; and warnings about them, each
//! once.

use crate::session::WrongCall;
use anyhow::{Context, Result};
use miyasawa::image::{DecodeError, Format, ImageFile};
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    io::Read as _,
    path::{Path, PathBuf},
};

/// Bytes of memory per pixel to denoise a colour image: 12 as values, and with 16 bits 6 as read
/// from the file, 6 while it is denoised, 6 as written. With 8 bits it is less.
const BYTES_PER_PIXEL: u64 = 30;
/// Bytes that the model and the tiles take besides.
const TILES: u64 = 400_000_000;
/// An image of fewer pixels fits into the memory of any machine.
const SMALL: u64 = 20_000_000;

/// Whether a path means standard input or output.
pub fn is_standard(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// The images that paths name.
pub struct Inputs {
    /// Each image, in order.
    pub images: Vec<PathBuf>,
    /// Whether a folder was given, so that there may be any number of them.
    pub folder: bool,
}

/// All images that are given; of a folder the images in it, in the order of their names.
pub fn expand(paths: &[PathBuf]) -> Result<Inputs> {
    if paths.iter().filter(|path| is_standard(path)).count() > 1 {
        return Err(WrongCall("standard input (-) is given twice".into()).into());
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

/// The images of a folder. Skipped files are reported, except hidden ones.
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
        tracing::warn!(
            "{}: {folders} folders in it are left out; give them as arguments too",
            folder.display()
        );
    }
    if paths.is_empty() {
        anyhow::bail!("{}: expected a folder with images, found none in it", folder.display());
    }
    Ok(paths)
}

/// Why a file of a folder is no image. The content decides unless the name is that of an image.
fn no_image(path: &Path) -> Option<String> {
    let gif =
        path.extension().and_then(OsStr::to_str).is_some_and(|e| e.eq_ignore_ascii_case("gif"));
    let named = gif || Format::of_name(path).is_some();
    let begin = match first_bytes(path) {
        Ok(begin) => begin,
        // A file with an image's name gives its own error when it is read.
        Err(error) => return (!named).then(|| error.to_string()),
    };
    match Format::of_bytes(&begin) {
        Ok(_) => None,
        Err(_) if named => None,
        Err(DecodeError::NotAImage(found)) if !found.starts_with("bytes") => Some(found),
        Err(_) => Some("no image".to_owned()),
    }
}

/// The first bytes of a file, from which its format is recognised.
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

/// The first image of a file, laid over white; guesses and omissions are reported.
pub fn first(path: &Path, notes: &mut Notes) -> Result<miyasawa::image::Image> {
    let file = open(path)?;
    notes.of_file(path, &file);
    if file.pages() > 1 {
        notes.say(path, &format!("the first of its {} pages is used", file.pages()));
    }
    Ok(file.page(0)?.into_opaque())
}

/// Makes sure that there is memory for an image, if the system reports how much is free.
pub fn check_memory(path: &Path, pixels: u64) -> Result<()> {
    let needed = pixels.saturating_mul(BYTES_PER_PIXEL).saturating_add(TILES);
    let free = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| free_memory(&text));
    match free.filter(|free| pixels > SMALL && needed > *free) {
        Some(free) => {
            let giga = |bytes: u64| bytes as f64 / 1e9;
            let (name, pixels) = (path.display(), pixels as f64 / 1e6);
            anyhow::bail!(
                "{name}: {pixels:.0} megapixels take about {:.1} GB of memory, {:.1} GB are free: \
                 cut it into parts",
                giga(needed),
                giga(free)
            )
        }
        None => Ok(()),
    }
}

/// Bytes of free memory, from the content of Linux's `/proc/meminfo`.
fn free_memory(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(1024 * line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?)
}

/// Warnings about images: each text once, with the first image as the example.
#[derive(Default)]
pub struct Notes {
    /// The number of images of each text.
    counts: BTreeMap<String, usize>,
}

impl Notes {
    /// Warns about an image, unless the same text was given for another.
    pub fn say(&mut self, path: &Path, text: &str) {
        let count = self.counts.entry(text.to_owned()).or_default();
        *count += 1;
        if *count == 1 {
            tracing::warn!("{}: {text}", path.display());
        }
    }

    /// Warns of guesses and omissions in a file.
    pub fn of_file(&mut self, path: &Path, file: &ImageFile) {
        file.notes().iter().for_each(|note| self.say(path, note));
    }

    /// Reports the number of further images of each text.
    pub fn finish(self) {
        for (text, count) in self.counts.into_iter().filter(|(_, count)| *count > 1) {
            tracing::warn!("{} more images: {text}", count - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_memory_is_reported_before_it_runs_out() {
        assert_eq!(free_memory("MemTotal: 9 kB\nMemAvailable:   2048 kB\n"), Some(2 << 20));
        assert_eq!(free_memory("MemTotal: 9 kB"), None);
        check_memory(Path::new("a.png"), 1).unwrap();
        if cfg!(target_os = "linux") {
            let error = check_memory(Path::new("a.png"), 1 << 50).unwrap_err().to_string();
            assert!(
                error.contains("a.png")
                    && error.contains("megapixels")
                    && error.contains("are free"),
                "{error}"
            );
        }
    }
}
