//! Reading complete files, plain or gzipped, without trusting what they say about their size.

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::data::error::DataError;

/// Deflate cannot expand a byte to more than 1032 (RFC 1951: a 258-byte match in 2 bits), so what
/// claims to hold more than this times its compressed size is not believed.
pub(in crate::data) const DEFLATE_BOUND: u64 = 1032;

/// An unpacked archive may be this many times its packed size: images are compressed already.
const ARCHIVE_RATIO: u64 = 100;

/// ... and small archives may always unpack to this many bytes.
const ARCHIVE_FLOOR: u64 = 64 << 20;

/// The name of the file without a final `.gz`, and whether it had one.
pub(in crate::data) fn strip_gz(name: &str) -> (&str, bool) {
    match name.rsplit_once('.') {
        Some((stem, extension)) if extension.eq_ignore_ascii_case("gz") => (stem, true),
        _ => (name, false),
    }
}

/// Whether a name is that of a tar, gzipped or not.
pub(in crate::data) fn is_tar(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    strip_gz(&name).0.ends_with(".tar") || name.ends_with(".tgz")
}

/// The last component of a path as text, empty if there is none.
pub(in crate::data) fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// An open file as a stream of its unpacked content, with the length of the file itself.
pub(in crate::data) struct FileStream<'a> {
    pub stream: Box<dyn Read + 'a>,
    /// Bytes on disk.
    pub stored: u64,
    pub gz: bool,
}

impl FileStream<'_> {
    /// The most bytes that the stream can honestly hold.
    pub fn bound(&self) -> u64 {
        if self.gz { self.stored.saturating_mul(DEFLATE_BOUND) } else { self.stored }
    }
}

/// Opens a file; a gzip header (not the name) decides whether it is unpacked.
pub(in crate::data) fn open(path: &Path) -> Result<FileStream<'static>, DataError> {
    let error = |source| DataError::io(path, source);
    let mut file = File::open(path).map_err(error)?;
    let metadata = file.metadata().map_err(error)?;
    if !metadata.is_file() {
        let found = if metadata.is_dir() { "a folder" } else { "not a regular file" };
        return Err(DataError::malformed(path, "a file", found));
    }
    let mut magic = [0u8; 2];
    let gz = file.read_exact(&mut magic).is_ok() && magic == [0x1f, 0x8b];
    std::io::Seek::rewind(&mut file).map_err(error)?;
    let stored = metadata.len();
    let file = BufReader::with_capacity(1 << 16, file);
    let stream: Box<dyn Read> =
        if gz { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    Ok(FileStream { stream, stored, gz })
}

/// The bytes of `bytes` as a stream, unpacked if gzipped.
pub(in crate::data) fn from_bytes(bytes: &[u8]) -> FileStream<'_> {
    let gz = bytes.starts_with(&[0x1f, 0x8b]);
    let stream: Box<dyn Read + '_> =
        if gz { Box::new(MultiGzDecoder::new(bytes)) } else { Box::new(bytes) };
    FileStream { stream, stored: bytes.len() as u64, gz }
}

/// Reads a complete file, unpacking it if it is gzipped.
pub(in crate::data) fn read_archive(path: &Path) -> Result<Vec<u8>, DataError> {
    let source = open(path)?;
    let mut bytes = Vec::with_capacity(source.stored.min(1 << 30) as usize);
    unpack(path, source, &mut bytes)?;
    Ok(bytes)
}

/// Copies what a file holds, unpacked if it is gzipped, to `out`; returns how many bytes that were.
pub(in crate::data) fn unpack(
    path: &Path,
    source: FileStream<'_>,
    out: &mut dyn Write,
) -> Result<u64, DataError> {
    let gz = source.gz;
    let limit = if gz {
        source.stored.saturating_mul(ARCHIVE_RATIO).max(ARCHIVE_FLOOR)
    } else {
        source.stored
    };
    let mut stream = source.stream.take(limit.saturating_add(1));
    let mut buffer = vec![0; 1 << 16];
    let mut total = 0;
    loop {
        let count = match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(unpack_error(path, gz, e)),
        };
        // Only a temporary file can fail to be written.
        out.write_all(&buffer[..count]).map_err(temporary)?;
        total += count as u64;
    }
    if total > limit {
        return Err(DataError::malformed(
            path,
            format!("an archive that unpacks to at most {limit} bytes"),
            "more (a decompression bomb?)",
        ));
    }
    Ok(total)
}

/// Damage in a gzip stream arrives as an I/O error; it is told apart from a failing disk.
pub(in crate::data) fn unpack_error(path: &Path, gz: bool, error: std::io::Error) -> DataError {
    use std::io::ErrorKind;
    let damaged = matches!(
        error.kind(),
        ErrorKind::InvalidData
            | ErrorKind::InvalidInput
            | ErrorKind::UnexpectedEof
            | ErrorKind::Other
    );
    if gz && damaged {
        let found = if error.kind() == ErrorKind::UnexpectedEof {
            "a gzip file that ends too early".to_owned()
        } else {
            format!("damage ({error})")
        };
        return DataError::malformed(path, "a complete gzip file", found);
    }
    DataError::io(path, error)
}

/// An error of the temporary file.
pub(in crate::data) fn temporary(source: std::io::Error) -> DataError {
    DataError::io(&std::env::temp_dir(), source)
}
