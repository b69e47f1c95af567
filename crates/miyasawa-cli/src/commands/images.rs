//! The images given to a command: files, folders, standard input; and warnings about them, each
//! once.

use crate::session::WrongCall;
use anyhow::{Context, Result};
use miyasawa::image::{DecodeError, Format, ImageFile};
use std::{
    collections::{BTreeMap, BTreeSet},
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
#[derive(Default)]
pub struct Inputs {
    /// Each image, in order.
    pub images: Vec<PathBuf>,
    /// The path of each below the folder that was given, or its name.
    pub below: Vec<PathBuf>,
    /// Whether a folder was given, so that there may be any number of them.
    pub folder: bool,
}

/// How folders are searched.
pub struct Search<'s> {
    /// Folders in folders too.
    pub recursive: bool,
    /// Folders that are left out: those of the output.
    pub out: Vec<&'s Path>,
    /// The end of names that outputs have, which are left out too.
    pub suffix: Option<&'s str>,
    /// What to do about folders that are left out.
    pub advice: &'static str,
}

impl Default for Search<'_> {
    fn default() -> Self {
        let advice = "give them as arguments too";
        Self { recursive: false, out: Vec::new(), suffix: None, advice }
    }
}

/// All images that are given; of a folder the images in it, in the order of their names.
pub fn expand(paths: &[PathBuf], search: &Search<'_>) -> Result<Inputs> {
    if paths.iter().filter(|path| is_standard(path)).count() > 1 {
        return Err(WrongCall("standard input (-) is given twice".into()).into());
    }
    let mut found = Inputs::default();
    for path in paths {
        if path.is_dir() {
            found.folder = true;
            let images = in_folder(path, search)?;
            let below = |image: &PathBuf| image.strip_prefix(path).unwrap_or(image).to_owned();
            found.below.extend(images.iter().map(below));
            found.images.extend(images);
        } else {
            found.below.push(path.file_name().unwrap_or_default().into());
            found.images.push(path.clone());
        }
    }
    Ok(found)
}

/// What lies in a folder.
#[derive(Default)]
struct Listed {
    files: Vec<PathBuf>,
    /// Folders that were not searched.
    folders: usize,
    /// Folders that were searched, by their real paths: a link may lead back.
    seen: BTreeSet<PathBuf>,
}

/// Lists the files of a folder in the order of their names, except hidden ones.
fn list(folder: &Path, search: &Search<'_>, found: &mut Listed) -> Result<()> {
    let reading = || format!("{}: cannot be read", folder.display());
    let out: Vec<PathBuf> = search.out.iter().filter_map(|out| out.canonicalize().ok()).collect();
    let real = folder.canonicalize().with_context(reading)?;
    if !found.seen.insert(real) {
        return Ok(());
    }
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(reading)? {
        let path = entry.with_context(reading)?.path();
        let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden {
            paths.push(path);
        }
    }
    paths.sort();
    for path in paths {
        if !path.is_dir() {
            found.files.push(path);
        } else if !search.recursive {
            found.folders += 1;
        } else if !path.canonicalize().is_ok_and(|path| out.contains(&path)) {
            list(&path, search, found)?;
        }
    }
    Ok(())
}

/// The images of a folder. Skipped files are reported, except hidden ones.
fn in_folder(folder: &Path, search: &Search<'_>) -> Result<Vec<PathBuf>> {
    let mut listed = Listed::default();
    list(folder, search, &mut listed)?;
    let mut paths = listed.files;
    let is_output = |path: &PathBuf| {
        let stem = path.file_stem().unwrap_or_default().as_encoded_bytes();
        search.suffix.is_some_and(|end| stem.ends_with(end.as_bytes()))
    };
    let mut others = BTreeMap::<String, (usize, PathBuf)>::new();
    paths.retain(|path| {
        let outputs = || format!("names that end with {} are outputs", search.suffix.unwrap_or(""));
        let why = if is_output(path) { Some(outputs()) } else { no_image(path) };
        let Some(why) = why else { return true };
        others.entry(why).or_insert((0, path.clone())).0 += 1;
        false
    });
    for (why, (count, path)) in others {
        let name = path.strip_prefix(folder).unwrap_or(&path).display();
        let more = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
        tracing::warn!("{}: left out {name}{more}: {why}", folder.display());
    }
    if listed.folders > 0 {
        let count = listed.folders;
        tracing::warn!(
            "{}: {count} folders in it are left out; {}",
            folder.display(),
            search.advice
        );
    }
    if paths.is_empty() {
        anyhow::bail!("{}: expected a folder with images, found none in it", folder.display());
    }
    Ok(paths)
}

/// Why a file of a folder is no image. The content decides unless the name is that of an image.
fn no_image(path: &Path) -> Option<String> {
    let named = Format::is_read_only(path) || Format::of_name(path).is_some();
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
        let (count, name) = (file.pages(), file.page_name());
        notes.say(path, &format!("the first of its {count} {name}s is used"));
    }
    Ok(file.page(0)?.into_opaque())
}

/// Makes sure that there is memory for an image, if the system reports how much is free; `more` are
/// the bytes per pixel that options take besides.
pub fn check_memory(path: &Path, pixels: u64, more: u64) -> Result<()> {
    let needed = pixels.saturating_mul(BYTES_PER_PIXEL + more).saturating_add(TILES);
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
    told: BTreeSet<String>,
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

    /// Tells what is done about an image, once.
    pub fn tell(&mut self, path: &Path, text: &str) {
        if self.told.insert(text.to_owned()) {
            tracing::info!("{}: {text}", path.display());
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
        check_memory(Path::new("a.png"), 1, 0).unwrap();
        if cfg!(target_os = "linux") {
            let error = check_memory(Path::new("a.png"), 1 << 50, 12).unwrap_err().to_string();
            assert!(
                error.contains("a.png")
                    && error.contains("megapixels")
                    && error.contains("are free"),
                "{error}"
            );
        }
    }
}
