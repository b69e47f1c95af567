//! The files of a tar archive, listed from their headers alone.

use std::io::{Read, Seek, SeekFrom};

use super::listing;
use super::store::MAX_FILE;

/// Size of a tar block.
const BLOCK: u64 = 512;

/// A class file that is longer holds something else than a number.
const MAX_CLASS: u64 = 64;

/// A file of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TarFile {
    /// The path inside the archive.
    pub path: String,
    /// The first byte in the archive.
    pub offset: u64,
    /// Bytes.
    pub len: u32,
    /// The beginning of a `.cls` file.
    pub class: Option<Vec<u8>>,
}

impl TarFile {
    /// The last component of the path.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

/// The regular files of an archive of `len` bytes, hidden ones left out. Errors are what was found instead of a whole
/// archive.
pub(super) fn list(mut stream: impl Read + Seek, len: u64) -> Result<Vec<TarFile>, String> {
    if len == 0 {
        return Err("an empty file".to_owned());
    }
    let damage = |e: std::io::Error| {
        if e.kind() == std::io::ErrorKind::UnexpectedEof {
            return "a file that ends in the middle of an entry: it is truncated".to_owned();
        }
        format!("damage ({})", e.to_string().replace('\n', " "))
    };
    let mut files = Vec::new();
    let mut end = 0;
    let mut archive = tar::Archive::new(&mut stream);
    for entry in archive.entries_with_seek().map_err(damage)? {
        let mut entry = entry.map_err(damage)?;
        let path = String::from_utf8(entry.path_bytes().into_owned())
            .map_err(|_| "a file name that is not UTF-8".to_owned())?;
        let offset = entry.raw_file_position();
        // A sparse file says its unpacked size; what it occupies is in its header.
        let sparse = entry.header().entry_type().is_gnu_sparse();
        let size = if sparse { entry.header().entry_size().map_err(damage)? } else { entry.size() };
        let Some(stop) = offset.checked_add(size).filter(|&stop| stop <= len) else {
            return Err(format!("a file that ends in the middle of the entry '{path}': it is truncated"));
        };
        end = stop.next_multiple_of(BLOCK);
        let hidden = path.split('/').any(|c| c != "." && c != ".." && listing::is_hidden(c));
        if !entry.header().entry_type().is_file() || hidden {
            continue;
        }
        let Some(size) = u32::try_from(size).ok().filter(|&size| u64::from(size) <= MAX_FILE) else {
            return Err(format!("an entry '{path}' of {size} bytes, more than {MAX_FILE}"));
        };
        let mut class = None;
        if path.ends_with(".cls") {
            let mut bytes = Vec::new();
            (&mut entry).take(MAX_CLASS).read_to_end(&mut bytes).map_err(damage)?;
            class = Some(bytes);
        }
        files.push(TarFile { path, offset, len: size, class });
    }
    // A cut between two entries is seen only by what must follow the last one (POSIX pax, "ustar Interchange Format").
    let mut block = [1; BLOCK as usize];
    let whole = stream.seek(SeekFrom::Start(end)).and_then(|_| stream.read_exact(&mut block));
    match whole {
        Ok(()) if block.iter().all(|&b| b == 0) => Ok(files),
        _ => Err("no end-of-archive block: it is truncated".to_owned()),
    }
}
