//! Where the images of a set are stored, so that one file of an archive can be read without the
//! rest.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::{SpooledData, SpooledTempFile};

use super::gzip::{self, temporary};
use super::reader::{ImageData, SharedReader};
use crate::data::error::DataError;

/// What was unpacked stays in memory up to this many bytes, all archives of a set together.
const IN_MEMORY: usize = 64 << 20;

/// The largest file of a set that is read: no image within [`crate::image::MAX_PIXELS`] needs
/// more.
pub(in crate::data) const MAX_FILE: u64 = 1 << 30;

/// A folder or an archive of a set, or a reader of the program's own.
#[derive(Debug, Clone)]
pub(in crate::data) struct Storage {
    /// The folder or archive; the name of a reader's set.
    pub path: PathBuf,
    backing: Backing,
}

#[derive(Debug, Clone)]
enum Backing {
    /// Files below a folder.
    Folder,
    /// A tar as it lies on the disk. It is opened for every read: a set may have more shards than a
    /// process may have open files, and opening takes microseconds.
    Tar { len: u64 },
    /// A gzipped tar, unpacked: the bytes from `base` on of what all gzipped tars of the set were
    /// unpacked to.
    Unpacked { spool: Arc<SpooledData>, base: u64, len: u64 },
    /// Images that the program reads itself; an offset is an index.
    Reader(SharedReader),
}

impl Storage {
    /// The files below a folder.
    pub fn folder(path: &Path) -> Self {
        Self { path: path.to_owned(), backing: Backing::Folder }
    }

    /// Images that the program reads itself.
    pub fn reader_of(name: &str, reader: SharedReader) -> Self {
        Self { path: name.into(), backing: Backing::Reader(reader) }
    }

    /// Whether it is this folder.
    pub fn is_folder(&self, path: &Path) -> bool {
        matches!(self.backing, Backing::Folder)
            && self
                .path
                .canonicalize()
                .is_ok_and(|own| path.canonicalize().is_ok_and(|path| own == path))
    }

    /// A tar in memory.
    #[cfg(any(test, feature = "train"))]
    pub fn memory(path: &Path, bytes: Vec<u8>) -> Self {
        let len = bytes.len() as u64;
        let spool = Arc::new(SpooledData::InMemory(std::io::Cursor::new(bytes)));
        Self { path: path.to_owned(), backing: Backing::Unpacked { spool, base: 0, len } }
    }

    /// Archives, in their order. Gzipped ones are unpacked: into memory while they are small, into
    /// an unnamed temporary file (which the system removes however the process ends) where they are
    /// not.
    pub fn archives(paths: &[PathBuf]) -> Result<Vec<Self>, DataError> {
        let mut spool = SpooledTempFile::new(IN_MEMORY);
        let mut end = 0;
        let mut found = Vec::new();
        for path in paths {
            let source = gzip::open(path)?;
            if !source.gz {
                found.push((path, None, source.stored));
                continue;
            }
            let unpacked = gzip::unpack(path, source, &mut spool)?;
            found.push((path, Some(end), unpacked));
            end += unpacked;
        }
        spool.flush().map_err(temporary)?;
        let spool = Arc::new(spool.into_inner());
        let storage = |(path, base, len): (&PathBuf, Option<u64>, u64)| {
            let backing = match base {
                None => Backing::Tar { len },
                Some(base) => Backing::Unpacked { spool: Arc::clone(&spool), base, len },
            };
            Self { path: path.clone(), backing }
        };
        Ok(found.into_iter().map(storage).collect())
    }

    /// The archive as a stream that can jump, and its length.
    pub fn stream(&self) -> Result<(Box<dyn ReadSeek + '_>, u64), DataError> {
        match &self.backing {
            Backing::Folder | Backing::Reader(_) => {
                let error = io::Error::other("it is a folder, expected an archive");
                Err(DataError::io(&self.path, error))
            }
            Backing::Tar { len } => {
                let file = File::open(&self.path).map_err(|e| DataError::io(&self.path, e))?;
                Ok((Box::new(file), *len))
            }
            Backing::Unpacked { len, .. } => Ok((Box::new(Window { storage: self, at: 0 }), *len)),
        }
    }

    /// Whether every image is read by itself, so that what is wrong with one says nothing of the
    /// others.
    pub fn is_separate(&self) -> bool {
        matches!(self.backing, Backing::Folder | Backing::Reader(_))
    }

    /// The image that an entry of the set names; see [`Storage::read`].
    pub fn image(&self, name: &str, offset: u64, len: u32) -> Result<ImageData, DataError> {
        let Backing::Reader(SharedReader(reader)) = &self.backing else {
            return self.read(name, offset, len).map(ImageData::Encoded);
        };
        let image = offset as usize;
        reader.read(image).map_err(|source| {
            let name = self.path.display().to_string();
            DataError::Reader { name, image, source }
        })
    }

    /// The `len` bytes from `offset` on; of a folder, all of the file `name`; of a reader, the
    /// bytes or values of an image.
    pub fn read(&self, name: &str, offset: u64, len: u32) -> Result<Vec<u8>, DataError> {
        if let Backing::Reader(_) = self.backing {
            return self.image(name, offset, len).map(|image| match image {
                ImageData::Encoded(bytes) | ImageData::Pixels { values: bytes, .. } => bytes,
            });
        }
        if let Backing::Folder = self.backing {
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
                format!(
                    "'{name}' in bytes {offset} to {}, as when it was listed",
                    offset + u64::from(len)
                ),
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
        match &self.backing {
            Backing::Folder | Backing::Reader(_) => Err(io::ErrorKind::IsADirectory.into()),
            Backing::Tar { .. } => read_exact_at(&File::open(&self.path)?, offset, out),
            Backing::Unpacked { spool, base, .. } => match &**spool {
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

/// A stream that can jump.
pub(in crate::data) trait ReadSeek: Read + Seek {}
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
    storage: &'a Storage,
    at: u64,
}

impl Read for Window<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let Backing::Unpacked { len, .. } = &self.storage.backing else { return Ok(0) };
        let count = len.saturating_sub(self.at).min(out.len() as u64) as usize;
        self.storage.read_at(self.at, &mut out[..count])?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Window<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let Backing::Unpacked { len, .. } = &self.storage.backing else { return Ok(0) };
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => len.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
