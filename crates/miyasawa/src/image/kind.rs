//! The type of a file by its first bytes: the formats that are read, and names for others.

use std::path::Path;

use image::ImageFormat;

use super::decode::DecodeError;

/// The formats that are decoded, and their names.
const FORMATS: [(ImageFormat, &str); 6] = [
    (ImageFormat::Png, "PNG"),
    (ImageFormat::Jpeg, "JPEG"),
    (ImageFormat::WebP, "WebP"),
    (ImageFormat::Tiff, "TIFF"),
    (ImageFormat::Bmp, "BMP"),
    (ImageFormat::Gif, "GIF"),
];

/// The formats that this build reads, for messages.
#[cfg(not(feature = "codecs"))]
pub(crate) const FORMAT_NAMES: &str = "PNG or JPEG";
/// The formats that this build reads, for messages: all of [`FORMATS`].
#[cfg(feature = "codecs")]
pub(crate) const FORMAT_NAMES: &str = "PNG, JPEG, WebP, TIFF, BMP or GIF";

/// A format that images are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Portable Network Graphics: lossless, 8 or 16 bits.
    Png,
    /// JPEG: lossy, 8 bits, no transparency.
    Jpeg,
    /// WebP: written without loss, 8 bits.
    WebP,
    /// TIFF: lossless, any samples, several pages.
    Tiff,
    /// Windows bitmap: 8 bits and nothing beside the colours.
    Bmp,
}

impl Format {
    /// The format of a file name's extension.
    pub fn of_name(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "png" => Some(Self::Png),
            "jpg" | "jpeg" | "jpe" | "jfif" | "jif" => Some(Self::Jpeg),
            "webp" => Some(Self::WebP),
            "tif" | "tiff" => Some(Self::Tiff),
            "bmp" | "dib" => Some(Self::Bmp),
            _ => None,
        }
    }

    /// The format in which to write an image that was read from a file that begins with `bytes`:
    /// the same, but PNG for GIF, which has too few colours.
    ///
    /// # Errors
    ///
    /// [`DecodeError::NotAImage`] if it is not an image; the message names the type of the file
    /// where it is known.
    pub fn of_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        sniff(bytes).map(|(format, _)| Self::for_input(format))
    }

    pub(super) fn for_input(format: ImageFormat) -> Self {
        match format {
            ImageFormat::Jpeg => Self::Jpeg,
            ImageFormat::WebP => Self::WebP,
            ImageFormat::Tiff => Self::Tiff,
            ImageFormat::Bmp => Self::Bmp,
            _ => Self::Png,
        }
    }

    /// Whether this build reads and writes it: PNG and JPEG always, the others with the feature
    /// `codecs`.
    pub const fn is_built(self) -> bool {
        cfg!(feature = "codecs") || matches!(self, Self::Png | Self::Jpeg)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
            Self::WebP => "WebP",
            Self::Tiff => "TIFF",
            Self::Bmp => "BMP",
        }
    }

    /// The usual extension, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpg",
            Self::WebP => "webp",
            Self::Tiff => "tif",
            Self::Bmp => "bmp",
        }
    }
}

/// The format of an image's bytes and its name.
pub(super) fn sniff(bytes: &[u8]) -> Result<(ImageFormat, &'static str), DecodeError> {
    let not = |found: String| Err(DecodeError::NotAImage(found));
    if let Some(name) = other_format(bytes) {
        return not(name.to_owned());
    }
    // BigTIFF, which `image` does not recognise by its first bytes.
    if is_tiff(bytes) {
        return Ok((ImageFormat::Tiff, "TIFF"));
    }
    match image::guess_format(bytes) {
        Ok(found) => match FORMATS.iter().find(|(format, _)| *format == found) {
            Some(known) => Ok(*known),
            None => {
                let extension = found.extensions_str().first().copied().unwrap_or("other");
                not(format!("an image in the format '{extension}': convert it to PNG first"))
            }
        },
        Err(_) if bytes.is_empty() => not("an empty file".to_owned()),
        Err(_) => {
            let begin: String = bytes.iter().take(8).map(|b| format!("{b:02x}")).collect();
            not(format!("bytes that begin with {begin}"))
        }
    }
}

/// Whether this build decodes a format.
pub(super) const fn is_decoded(format: ImageFormat) -> bool {
    cfg!(feature = "codecs") || matches!(format, ImageFormat::Png | ImageFormat::Jpeg)
}

/// Whether bytes begin as a TIFF file does, classic or big.
pub(super) fn is_tiff(bytes: &[u8]) -> bool {
    [&b"II\x2a\0"[..], b"MM\0\x2a", b"II\x2b\0", b"MM\0\x2b"]
        .iter()
        .any(|magic| bytes.starts_with(magic))
}

/// The message for a camera's raw file, however it is detected.
pub(super) const RAW: &str = "a camera raw file, which holds the sensor's values: develop it \
                              first (for example with darktable or RawTherapee) and save a TIFF \
                              of 16 bits";

/// Known files that are not decoded: the offset of their signature, the signature, and the message.
const FOREIGN: [(usize, &[u8], &str); 47] = [
    (8, b"CR\x02\0", RAW),
    (4, b"ftypcrx ", RAW),
    (0, b"FUJIFILMCCD-RAW", RAW),
    (0, b"IIU\0", RAW),
    (0, b"IIRO", RAW),
    (0, b"IIRS", RAW),
    (0, b"MMOR", RAW),
    (0, b"FOVb", RAW),
    (0, b"\0MRM", RAW),
    (4, b"ftypheic", HEIC),
    (4, b"ftypheix", HEIC),
    (4, b"ftypheim", HEIC),
    (4, b"ftypheis", HEIC),
    (4, b"ftyphevc", HEIC),
    (4, b"ftypmif1", HEIC),
    (4, b"ftypmsf1", HEIC),
    (4, b"ftypavif", "an AVIF image: convert it to PNG first (for example with `avifdec`)"),
    (4, b"ftypavis", "an AVIF sequence: convert it to PNG first (for example with `avifdec`)"),
    (
        4,
        b"ftyp",
        "a video (MP4 or QuickTime): take images out of it first (for example with `ffmpeg`)",
    ),
    (0, b"\x1a\x45\xdf\xa3", "a video (Matroska or WebM): take images out of it first"),
    (0, b"\xff\x0a", JXL),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", JXL),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", JP2),
    (0, b"\xff\x4f\xff\x51", JP2),
    (0, b"%PDF", "a PDF document: draw its pages first (for example with `pdftoppm -png`)"),
    (0, b"%!PS", "a PostScript document: draw it first (for example with Ghostscript)"),
    (0, b"8BPS", "a Photoshop document (PSD): save it as TIFF or PNG first"),
    (0, b"gimp xcf", "a GIMP document (XCF): export it as TIFF or PNG first"),
    (0, b"v/1\x01", "an OpenEXR image: convert it to a TIFF of 32-bit float values first"),
    (0, b"#?RADIANCE", "a Radiance HDR image: convert it to a TIFF of 32-bit float values first"),
    (0, b"\x93NUMPY", "a NumPy array (.npy): write it as TIFF first (`tifffile.imwrite`)"),
    (0, b"PK\x03\x04", "a ZIP archive (or NumPy's .npz, or an office document): unpack it first"),
    (0, b"Rar!", "a RAR archive: unpack it first"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it first"),
    (0, b"\x1f\x8b", "a gzipped file: unpack it first"),
    (257, b"ustar", "a tar archive: unpack it first"),
    (0, b"PAR1", "a Parquet file: write its images as files first"),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file (or MATLAB's .mat): write its arrays as TIFF first"),
    (0, b"MATLAB 5.0", "a MATLAB file (.mat): write its arrays as TIFF first"),
    (0, b"SIMPLE  =", "a FITS image: convert it to a TIFF of 32-bit float values first"),
    (128, b"DICM", "a DICOM file: convert it to TIFF first (for example with `dcm2pnm`)"),
    (
        0,
        b"\x80\x02",
        "a pickled Python object (perhaps of PyTorch): write its images as files first",
    ),
    (0, b"\x80\x04", "a pickled Python object: write its images as files first"),
    (0, b"AT&TFORM", "a DjVu document: draw its pages first"),
    (0, b"II\xbc", "a JPEG XR image: convert it to PNG first"),
    (
        0,
        b"version https://git-lfs",
        "a pointer to a file of Git LFS: fetch it first (`git lfs pull`)",
    ),
    (0, b"BPG\xfb", "a BPG image: convert it to PNG first"),
];
const HEIC: &str = "a HEIC/HEIF image, as phones take them: convert it to JPEG or PNG first (for \
                    example with `heif-convert`), or let the phone save JPEG";
const JXL: &str = "a JPEG XL image: convert it to PNG or JPEG first (for example with `djxl`)";
const JP2: &str =
    "a JPEG 2000 image: convert it to PNG or TIFF first (for example with `opj_decompress`)";

/// The name of a known file that is not decoded, and what to do with it.
pub(crate) fn other_format(bytes: &[u8]) -> Option<&'static str> {
    let is = |(at, mark, _): &&(usize, &[u8], &str)| {
        bytes.get(*at..).is_some_and(|b| b.starts_with(mark))
    };
    if let Some((_, _, name)) = FOREIGN.iter().find(is) {
        return Some(name);
    }
    // Texts: a byte order mark and white space may come first.
    let begin = &bytes[..bytes.len().min(1024)];
    let text = String::from_utf8_lossy(begin.strip_prefix(b"\xef\xbb\xbf").unwrap_or(begin))
        .to_lowercase();
    let text = text.trim_start();
    if text.starts_with("<svg") || (text.starts_with("<?xml") && text.contains("<svg")) {
        Some("an SVG drawing: draw it first (for example with `rsvg-convert`)")
    } else if text.starts_with("<!doctype html") || text.starts_with("<html") {
        Some("a web page: perhaps an error page that was saved under an image's name")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(feature = "codecs")]
    fn messages_name_every_format() {
        let names: Vec<&str> = FORMATS.iter().map(|(_, name)| *name).collect();
        let (last, others) = names.split_last().unwrap();
        assert_eq!(FORMAT_NAMES, format!("{} or {last}", others.join(", ")));
    }

    #[test]
    fn messages_name_the_type_of_a_refused_file() {
        let heic = [b"\0\0\0\x1cftypheic", &[0; 40][..]].concat();
        let dicom = [&[0; 128][..], b"DICM"].concat();
        for (bytes, name) in [
            (&heic[..], "HEIC"),
            (b"\xff\x0aAA", "JPEG XL"),
            (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
            (b"\0\0\0\x1cftypavif", "AVIF"),
            (b"\0\0\0\x1cftypisom", "video"),
            (b"II*\0\x10\0\0\0CR\x02\0", "camera raw"),
            (b"FUJIFILMCCD-RAW 0201", "camera raw"),
            (b"%PDF-1.7", "PDF"),
            (b"8BPS\0\x01", "PSD"),
            (b"v/1\x01\x02", "OpenEXR"),
            (b"\x93NUMPY\x01", "NumPy"),
            (b"PK\x03\x04", "ZIP"),
            (&dicom, "DICOM"),
            (b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- x -->\n<svg width='1'>", "SVG"),
            (b"\n<!DOCTYPE html>", "web page"),
            (b"qoif....", "format 'qoi'"),
        ] {
            let text = sniff(bytes).unwrap_err().to_string();
            assert!(text.contains(&format!("expected a {FORMAT_NAMES} image, found a")), "{text}");
            assert!(text.contains(name) && !text.contains("  "), "{text}");
        }
        for bytes in
            [&b"II*\0\x08\0\0\0"[..], b"MM\0*\0\0\0\x08", b"II+\0\x08\0\0\0", b"\x89PNG\r\n\x1a\n"]
        {
            assert!(sniff(bytes).is_ok());
        }
    }
}
