//! The files of a tar archive, listed from their headers alone.

use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom};

use super::class_folders;
use crate::data::notes::{Left, Notes};
use crate::data::set::storage::MAX_FILE;

/// Size of a tar block.
const BLOCK: u64 = 512;

/// A file of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::data) struct TarFile {
    /// The path inside the archive.
    pub path: String,
    /// The first byte in the archive.
    pub offset: u64,
    /// Bytes.
    pub len: u32,
    /// Which of several archives one after the other it is in.
    pub segment: u32,
}

impl TarFile {
    /// The last component of the path.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

/// The regular files of an archive.
#[derive(Debug, Default)]
pub(in crate::data) struct TarListing {
    pub files: Vec<TarFile>,
    pub notes: Notes,
}

/// The regular files of an archive of `len` bytes, or of several one after the other, hidden ones
/// left out. A hard link is the file that it links to. Errors are what was found instead of a
/// complete archive.
pub(in crate::data) fn list(mut stream: impl Read + Seek, len: u64) -> Result<TarListing, String> {
    if len == 0 {
        return Err("an empty file".to_owned());
    }
    let mut listed = TarListing::default();
    let mut start = Some(0);
    for segment in 0.. {
        let Some(from) = start else { break };
        if segment == 1 {
            listed
                .notes
                .say("several archives lie in it one after the other: all are read".to_owned());
        }
        let end = one(&mut stream, from, len, segment, &mut listed)?;
        start = next(&mut stream, end, len, &mut listed.notes)?;
    }
    Ok(listed)
}

fn damage(e: std::io::Error) -> String {
    if e.kind() == std::io::ErrorKind::UnexpectedEof {
        return "a file that ends in the middle of an entry: it is truncated".to_owned();
    }
    format!("damage ({})", e.to_string().replace('\n', " "))
}

/// Lists the archive that begins at `from`; returns where its last entry ends.
fn one(
    stream: &mut (impl Read + Seek),
    from: u64,
    len: u64,
    segment: u32,
    listed: &mut TarListing,
) -> Result<u64, String> {
    stream.seek(SeekFrom::Start(from)).map_err(damage)?;
    let mut end = from;
    let mut found: Vec<TarFile> = Vec::new();
    // The index of every file in `found`, by its path.
    let mut at: HashMap<String, usize> = HashMap::new();
    let mut archive = tar::Archive::new(Rest { stream: &mut *stream, from });
    for entry in archive.entries_with_seek().map_err(damage)? {
        let entry = entry.map_err(damage)?;
        let offset = from.saturating_add(entry.raw_file_position());
        let kind = entry.header().entry_type();
        let size = if kind.is_hard_link() || kind.is_symlink() {
            0
        } else if kind.is_gnu_sparse() {
            // A sparse file says its unpacked size; what it occupies is in its header.
            entry.header().entry_size().map_err(damage)?
        } else {
            entry.size()
        };
        let path = entry.path_bytes();
        let Some(stop) = offset.checked_add(size).filter(|&stop| stop <= len) else {
            let path = String::from_utf8_lossy(&path);
            return Err(format!(
                "a file that ends in the middle of the entry '{path}': it is truncated"
            ));
        };
        end = stop.next_multiple_of(BLOCK);
        let Ok(path) = std::str::from_utf8(&path) else {
            listed.notes.left(Left::BadName, || String::from_utf8_lossy(&path).into_owned());
            continue;
        };
        let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
        let components = || folders.split('/').filter(|c| *c != "." && *c != "..");
        if class_folders::is_hidden(name) || components().any(class_folders::is_hidden) {
            continue;
        }
        if let Some(junk) = components().find(|c| class_folders::is_junk(c)) {
            listed.notes.left(Left::Junk, || format!("{junk} ({path})"));
            continue;
        }
        let file = if kind.is_file() {
            let Some(size) = u32::try_from(size).ok().filter(|&size| u64::from(size) <= MAX_FILE)
            else {
                return Err(format!("an entry '{path}' of {size} bytes, more than {MAX_FILE}"));
            };
            TarFile { path: path.to_owned(), offset, len: size, segment }
        } else if kind.is_hard_link() {
            let target = entry.link_name_bytes();
            let target = target.as_deref().and_then(|target| std::str::from_utf8(target).ok());
            let Some(&target) = target.and_then(|target| at.get(target)) else {
                listed.notes.left(Left::TarLink, || path.to_owned());
                continue;
            };
            TarFile { path: path.to_owned(), ..found[target].clone() }
        } else {
            if kind.is_symlink() && class_folders::is_image(name) {
                listed.notes.left(Left::TarLink, || path.to_owned());
            }
            continue;
        };
        match at.get(path) {
            // What unpacks an archive is left with the last of that name.
            Some(&at) => {
                listed.notes.left(Left::Replaced, || path.to_owned());
                found[at] = file;
            }
            None => {
                at.insert(path.to_owned(), found.len());
                found.push(file);
            }
        }
    }
    listed.files.append(&mut found);
    // A cut between two entries is seen only by what must follow the last one (POSIX pax, "ustar
    // Interchange Format").
    let mut block = [1; BLOCK as usize];
    let ending = stream.seek(SeekFrom::Start(end)).and_then(|_| stream.read_exact(&mut block));
    match ending {
        Ok(()) if block.iter().all(|&b| b == 0) => Ok(end),
        _ => Err("no end-of-archive block: it is truncated".to_owned()),
    }
}

/// A stream as it is from an offset on, which is the offset 0 of an archive.
struct Rest<'a, S> {
    stream: &'a mut S,
    from: u64,
}

impl<S: Read> Read for Rest<'_, S> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        self.stream.read(out)
    }
}

impl<S: Seek> Seek for Rest<'_, S> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let to = match to {
            SeekFrom::Start(at) => SeekFrom::Start(self.from.saturating_add(at)),
            to => to,
        };
        self.stream.seek(to)?.checked_sub(self.from).ok_or(std::io::ErrorKind::InvalidInput.into())
    }
}

/// Where another archive begins behind the zeros that end one; other bytes there are passed over
/// with a note.
fn next(
    stream: &mut (impl Read + Seek),
    end: u64,
    len: u64,
    notes: &mut Notes,
) -> Result<Option<u64>, String> {
    let mut at = end + BLOCK;
    stream.seek(SeekFrom::Start(at)).map_err(damage)?;
    let mut buffer = vec![0; 64 * BLOCK as usize];
    while at + BLOCK <= len {
        let want = (len - at).min(buffer.len() as u64) / BLOCK * BLOCK;
        let bytes = &mut buffer[..want as usize];
        stream.read_exact(bytes).map_err(damage)?;
        if let Some(block) =
            bytes.chunks_exact(BLOCK as usize).position(|block| block.iter().any(|&b| b != 0))
        {
            let from = at + block as u64 * BLOCK;
            let header = &bytes[block * BLOCK as usize..][..BLOCK as usize];
            if is_header(header) {
                return Ok(Some(from));
            }
            notes.say(format!(
                "{} bytes behind the end of the archive are no archive: passed over",
                len - from
            ));
            return Ok(None);
        }
        at += want;
    }
    Ok(None)
}

/// Whether a block is the header of an entry: its checksum is right.
fn is_header(block: &[u8]) -> bool {
    let header = tar::Header::from_byte_slice(block);
    let sum = |bytes: &[u8]| bytes.iter().map(|&b| u32::from(b)).sum::<u32>();
    header
        .cksum()
        .is_ok_and(|stored| stored == sum(&block[..148]) + sum(&block[156..]) + 8 * u32::from(b' '))
}
