//! Unpacking archives that may be hostile: nothing is written outside the folder, no links are
//! made, and the number and size of files are limited.

use anyhow::{Context, anyhow, bail};
use std::{
    fs::{File, OpenOptions},
    io::{BufReader, Read, Write},
    path::{Component, Path, PathBuf},
};

/// What an archive may hold.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Files and folders.
    pub entries: u64,
    /// Bytes of all files together.
    pub bytes: u64,
    /// Folders within folders.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        // Tiny ImageNet has 120,000 files in 5 levels, CIFAR 180 MB.
        Self { entries: 1_000_000, bytes: 4 << 30, depth: 16 }
    }
}

/// A folder that is being filled.
struct Target<'a> {
    folder: &'a Path,
    limits: &'a Limits,
    entries: u64,
    bytes: u64,
}

/// Unpacks a `.tar.gz` or `.zip` into an empty folder.
pub fn unpack(archive: &Path, folder: &Path, limits: &Limits) -> anyhow::Result<()> {
    let mut target = Target { folder, limits, entries: 0, bytes: 0 };
    if archive.extension().is_some_and(|extension| extension == "zip") {
        unpack_zip(archive, &mut target)
    } else {
        unpack_tar(archive, &mut target)
    }
}

impl Target<'_> {
    /// The path of an entry below the folder.
    fn entry_path(&mut self, name: &str) -> anyhow::Result<PathBuf> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            bail!("expected at most {} entries, found more", self.limits.entries);
        }
        let path = Path::new(name);
        let inside =
            path.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
        // Separators of folders on other systems, and a drive's letter.
        if !inside || name.contains(['\\', '\0', ':']) {
            bail!("the entry '{}' would be written outside the folder", name.escape_debug());
        }
        let clean: PathBuf =
            path.components().filter(|c| matches!(c, Component::Normal(_))).collect();
        if clean.components().count() > self.limits.depth {
            bail!("the entry '{name}' is more than {} folders deep", self.limits.depth);
        }
        Ok(self.folder.join(clean))
    }

    fn make_folder(&mut self, name: &str) -> anyhow::Result<()> {
        let path = self.entry_path(name)?;
        std::fs::create_dir_all(&path).with_context(|| format!("making the folder '{name}'"))
    }

    fn write(&mut self, name: &str, mut content: impl Read) -> anyhow::Result<()> {
        let path = self.entry_path(name)?;
        let writing = || format!("writing '{name}'");
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).with_context(writing)?;
        }
        // A second entry of the same name is not an archive that anyone made in good faith.
        let mut file =
            OpenOptions::new().write(true).create_new(true).open(&path).with_context(writing)?;
        let mut buffer = vec![0; 1 << 16];
        loop {
            let count =
                content.read(&mut buffer).map_err(|e| anyhow!("'{name}' is damaged: {e}"))?;
            if count == 0 {
                return Ok(());
            }
            self.bytes += count as u64;
            if self.bytes > self.limits.bytes {
                bail!(
                    "expected at most {} bytes unpacked, found more (a bomb?)",
                    self.limits.bytes
                );
            }
            file.write_all(&buffer[..count]).with_context(writing)?;
        }
    }
}

fn unpack_tar(archive: &Path, target: &mut Target<'_>) -> anyhow::Result<()> {
    let file = BufReader::with_capacity(1 << 16, File::open(archive)?);
    // What follows the last entry is read too, within the limit: a gzip bomb needs no entries.
    let limit = target.limits.bytes.saturating_add(target.limits.entries.saturating_mul(1536));
    let stream = flate2::read::MultiGzDecoder::new(file).take(limit);
    let mut tar = tar::Archive::new(stream);
    for entry in tar.entries()? {
        let mut entry =
            entry.map_err(|e| anyhow!("expected an intact tar archive, found damage ({e})"))?;
        let name = String::from_utf8(entry.path_bytes().into_owned())
            .map_err(|_| anyhow!("expected file names in UTF-8, found another encoding"))?;
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            target.make_folder(&name)?;
        } else if kind.is_file() {
            target.write(&name, &mut entry)?;
        } else if !kind.is_pax_global_extensions() {
            bail!("the entry '{name}' is neither a file nor a folder (a link?)");
        }
    }
    Ok(())
}

fn unpack_zip(archive: &Path, target: &mut Target<'_>) -> anyhow::Result<()> {
    let damage = |e: rawzip::Error| anyhow!("expected an intact zip archive, found damage ({e})");
    let mut buffer = vec![0; rawzip::RECOMMENDED_BUFFER_SIZE];
    let zip = rawzip::ZipArchive::from_file(File::open(archive)?, &mut buffer).map_err(damage)?;
    let mut entries = zip.entries(&mut buffer);
    let mut count = 0;
    while let Some(entry) = entries.next_entry().map_err(damage)? {
        count += 1;
        let path = entry.file_path();
        let name = std::str::from_utf8(path.as_ref())
            .map_err(|_| anyhow!("expected file names in UTF-8, found another encoding"))?
            .to_owned();
        if entry.is_dir() {
            target.make_folder(&name)?;
            continue;
        }
        if entry.mode().is_symlink() {
            bail!("the entry '{name}' is neither a file nor a folder (a link?)");
        }
        let method = entry.compression_method();
        let found = zip.get_entry(entry.wayfinder()).map_err(damage)?;
        match method {
            rawzip::CompressionMethod::STORE => {
                target.write(&name, found.verifying_reader(found.reader()))?;
            }
            rawzip::CompressionMethod::DEFLATE => {
                let inflated = flate2::read::DeflateDecoder::new(found.reader());
                target.write(&name, found.verifying_reader(inflated))?;
            }
            _ => bail!("the entry '{name}' is compressed by an unsupported method: {method:?}"),
        }
    }
    if count != zip.entries_hint() {
        bail!(
            "expected {} entries as the archive's directory says, found {count}",
            zip.entries_hint()
        );
    }
    Ok(())
}
