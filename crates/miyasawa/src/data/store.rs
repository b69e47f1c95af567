//! Where the bytes of a set's files lie, so that one file of an archive can be read without the rest.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::{SpooledData, SpooledTempFile};

use super::error::DataError;
use super::read;

/// What was unpacked stays in memory up to this many bytes, all archives of a set together.
const IN_MEMORY: usize = 64 << 20;

/// The largest file of a set that is read: no image within [`crate::image::MAX_PIXELS`] needs more.
pub(super) const MAX_FILE: u64 = 1 << 30;

/// A folder or an archive of a set.
#[derive(Debug, Clone)]
pub(super) struct Store {
    /// The folder or archive.
    pub path: PathBuf,
    place: Place,
}

#[derive(Debug, Clone)]
enum Place {
    /// Files below a folder.
    Folder,
    /// A tar as it lies on the disk. It is opened for every read: a set may have more shards than a process may have
    /// open files, and opening takes microseconds.
    Tar { len: u64 },
    /// A gzipped tar, unpacked: the bytes from `base` on of what all gzipped tars of the set were unpacked to.
    Unpacked { spool: Arc<SpooledData>, base: u64, len: u64 },
}

impl Store {
    /// The files below a folder.
    pub fn folder(path: &Path) -> Self {
        Self { path: path.to_owned(), place: Place::Folder }
    }

    /// Whether it is this folder.
    pub fn is_folder(&self, path: &Path) -> bool {
        matches!(self.place, Place::Folder)
            && self.path.canonicalize().is_ok_and(|own| path.canonicalize().is_ok_and(|path| own == path))
    }

    /// A tar in memory.
    pub fn memory(path: &Path, bytes: Vec<u8>) -> Self {
        let len = bytes.len() as u64;
        let spool = Arc::new(SpooledData::InMemory(std::io::Cursor::new(bytes)));
        Self { path: path.to_owned(), place: Place::Unpacked { spool, base: 0, len } }
    }

    /// Archives, in their order. Gzipped ones are unpacked: into memory while they are small, into an unnamed temporary
    /// file (which the system removes however the process ends) where they are not.
    pub fn archives(paths: &[PathBuf]) -> Result<Vec<Self>, DataError> {
        let mut spool = SpooledTempFile::new(IN_MEMORY);
        let mut end = 0;
        let mut found = Vec::new();
        for path in paths {
            let source = read::open(path)?;
            if !source.gz {
                found.push((path, None, source.stored));
                continue;
            }
            let unpacked = read::unpack(path, source, &mut spool)?;
            found.push((path, Some(end), unpacked));
            end += unpacked;
        }
        spool.flush().map_err(temporary)?;
        let spool = Arc::new(spool.into_inner());
        let store = |(path, base, len): (&PathBuf, Option<u64>, u64)| {
            let place = match base {
                None => Place::Tar { len },
                Some(base) => Place::Unpacked { spool: Arc::clone(&spool), base, len },
            };
            Self { path: path.clone(), place }
        };
        Ok(found.into_iter().map(store).collect())
    }

    /// The whole archive as a stream that can jump, and its length.
    pub fn reader(&self) -> Result<(Box<dyn ReadSeek + '_>, u64), DataError> {
        match &self.place {
            Place::Folder => {
                let error = io::Error::other("it is a folder, expected an archive");
                Err(DataError::io(&self.path, error))
            }
            Place::Tar { len } => {
                let file = File::open(&self.path).map_err(|e| DataError::io(&self.path, e))?;
                Ok((Box::new(file), *len))
            }
            Place::Unpacked { len, .. } => Ok((Box::new(Window { store: self, at: 0 }), *len)),
        }
    }

    /// Whether every image is a file of its own, so that what is wrong with one says nothing of the others.
    pub fn is_files(&self) -> bool {
        matches!(self.place, Place::Folder)
    }

    /// The `len` bytes from `offset` on; of a folder, all of the file `name`.
    pub fn read(&self, name: &str, offset: u64, len: u32) -> Result<Vec<u8>, DataError> {
        if let Place::Folder = self.place {
            let path = self.path.join(name);
            let error = |e| DataError::io(&path, e);
            let mut bytes = Vec::new();
            let file = File::open(&path).map_err(error)?;
            file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(error)?;
            if bytes.len() as u64 > MAX_FILE {
                let expected = format!("a file of at most {MAX_FILE} bytes");
                return Err(DataError::malformed(&path, expected, "a larger one"));
            }
            return Ok(bytes);
        }
        let mut bytes = vec![0; len as usize];
        self.read_at(offset, &mut bytes).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => DataError::malformed(
                &self.path,
                format!("'{name}' in bytes {offset} to {}, as when it was listed", offset + u64::from(len)),
                "a shorter archive",
            ),
            _ => DataError::io(&self.path, e),
        })?;
        Ok(bytes)
    }

    /// The path of a file for messages: the folder's or archive's, followed by the file's own.
    pub fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        match &self.place {
            Place::Folder => Err(io::ErrorKind::IsADirectory.into()),
            Place::Tar { .. } => read_exact_at(&File::open(&self.path)?, offset, out),
            Place::Unpacked { spool, base, .. } => match &**spool {
                SpooledData::OnDisk(file) => read_exact_at(file, base + offset, out),
                SpooledData::InMemory(bytes) => {
                    let from = usize::try_from(base + offset).map_err(io::Error::other)?;
                    let part = bytes.get_ref().get(from..).and_then(|rest| rest.get(..out.len()));
                    out.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
                    Ok(())
                }
            },
        }
    }
}

/// An error of the temporary file.
pub(super) fn temporary(source: io::Error) -> DataError {
    DataError::io(&std::env::temp_dir(), source)
}

/// A stream that can jump.
pub(super) trait ReadSeek: Read + Seek {}
impl<T: Read + Seek> ReadSeek for T {}

#[cfg(unix)]
fn read_exact_at(file: &File, offset: u64, out: &mut [u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, out, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut offset: u64, mut out: &mut [u8]) -> io::Result<()> {
    while !out.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, out, offset)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                offset += n as u64;
                out = &mut out[n..];
            }
        }
    }
    Ok(())
}

/// An unpacked archive as a stream.
struct Window<'a> {
    store: &'a Store,
    at: u64,
}

impl Read for Window<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let Place::Unpacked { len, .. } = &self.store.place else { return Ok(0) };
        let count = len.saturating_sub(self.at).min(out.len() as u64) as usize;
        self.store.read_at(self.at, &mut out[..count])?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Window<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let Place::Unpacked { len, .. } = &self.store.place else { return Ok(0) };
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => len.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
