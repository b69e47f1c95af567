//! The type of a file by its first bytes: the formats that are read, and names for others.

use std::path::Path;

use image::ImageFormat;

use super::ImageError;
use super::decode::DecodeError;
use super::refused::other_format;

/// A format that is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    Png,
    Jpeg,
    WebP,
    Tiff,
    Bmp,
    Gif,
    Qoi,
    Pnm,
    Jxl,
    Exr,
}

/// The formats that are decoded.
const INPUTS: [Input; 10] = [
    Input::Png,
    Input::Jpeg,
    Input::WebP,
    Input::Tiff,
    Input::Bmp,
    Input::Gif,
    Input::Qoi,
    Input::Pnm,
    Input::Jxl,
    Input::Exr,
];

impl Input {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
            Self::WebP => "WebP",
            Self::Tiff => "TIFF",
            Self::Bmp => "BMP",
            Self::Gif => "GIF",
            Self::Qoi => "QOI",
            Self::Pnm => "PNM",
            Self::Jxl => "JPEG XL",
            Self::Exr => "OpenEXR",
        }
    }

    /// The decoder of the `image` crate, where that decodes it.
    pub fn decoder(self) -> Option<ImageFormat> {
        Some(match self {
            Self::Png => ImageFormat::Png,
            Self::Jpeg => ImageFormat::Jpeg,
            Self::WebP => ImageFormat::WebP,
            Self::Bmp => ImageFormat::Bmp,
            Self::Gif => ImageFormat::Gif,
            Self::Qoi => ImageFormat::Qoi,
            Self::Pnm => ImageFormat::Pnm,
            Self::Tiff | Self::Jxl | Self::Exr => return None,
        })
    }

    /// The feature of the library that a build needs to read and write it; nothing where it is
    /// always there.
    pub const fn feature(self) -> Option<&'static str> {
        match self {
            Self::Png | Self::Jpeg => None,
            Self::Jxl => Some("jpeg-xl"),
            Self::Exr => Some("openexr"),
            _ => Some("codecs"),
        }
    }

    /// Whether this build decodes it.
    pub const fn is_built(self) -> bool {
        match self {
            Self::Png | Self::Jpeg => true,
            Self::Jxl => cfg!(feature = "jpeg-xl"),
            Self::Exr => cfg!(feature = "openexr"),
            _ => cfg!(feature = "codecs"),
        }
    }

    /// The format in which its images are written: the same where there is an encoder, else PNG.
    pub fn output(self) -> Format {
        match self {
            Self::Jpeg => Format::Jpeg,
            Self::WebP => Format::WebP,
            Self::Tiff => Format::Tiff,
            Self::Bmp => Format::Bmp,
            Self::Qoi => Format::Qoi,
            Self::Pnm => Format::Pnm,
            Self::Exr => Format::Exr,
            Self::Png | Self::Gif | Self::Jxl => Format::Png,
        }
    }
}

/// The formats that this build reads, for messages.
#[cfg(not(feature = "codecs"))]
pub(crate) const FORMAT_NAMES: &str = "PNG or JPEG";
/// The formats that this build reads, for messages.
#[cfg(all(feature = "codecs", not(any(feature = "jpeg-xl", feature = "openexr"))))]
pub(crate) const FORMAT_NAMES: &str = "PNG, JPEG, WebP, TIFF, BMP, GIF, QOI or PNM";
/// The formats that this build reads, for messages.
#[cfg(all(feature = "jpeg-xl", not(feature = "openexr")))]
pub(crate) const FORMAT_NAMES: &str = "PNG, JPEG, WebP, TIFF, BMP, GIF, QOI, PNM or JPEG XL";
/// The formats that this build reads, for messages.
#[cfg(all(feature = "openexr", not(feature = "jpeg-xl")))]
pub(crate) const FORMAT_NAMES: &str = "PNG, JPEG, WebP, TIFF, BMP, GIF, QOI, PNM or OpenEXR";
/// The formats that this build reads, for messages.
#[cfg(all(feature = "openexr", feature = "jpeg-xl"))]
pub(crate) const FORMAT_NAMES: &str =
    "PNG, JPEG, WebP, TIFF, BMP, GIF, QOI, PNM, JPEG XL or OpenEXR";

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
    /// QOI, the "Quite OK Image": lossless, 8 bits, nothing beside colours and transparency.
    Qoi,
    /// Netpbm's PGM and PPM: 8 or 16 bits and nothing beside the colours.
    Pnm,
    /// OpenEXR: linear light in floating point.
    Exr,
}

impl Format {
    /// The format of a file name's extension.
    pub fn of_name(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "png" | "apng" => Some(Self::Png),
            "jpg" | "jpeg" | "jpe" | "jfif" | "jif" => Some(Self::Jpeg),
            "webp" => Some(Self::WebP),
            "tif" | "tiff" => Some(Self::Tiff),
            "bmp" | "dib" => Some(Self::Bmp),
            "qoi" => Some(Self::Qoi),
            "pnm" | "pgm" | "ppm" => Some(Self::Pnm),
            "exr" => Some(Self::Exr),
            _ => None,
        }
    }

    /// Whether a file name's extension is that of a format that is read but not written: GIF,
    /// JPEG XL, PBM.
    ///
    /// ```
    /// use miyasawa::image::Format;
    /// assert!(Format::is_read_only("photo.jxl".as_ref()));
    /// assert!(!Format::is_read_only("photo.png".as_ref()));
    /// ```
    pub fn is_read_only(path: &Path) -> bool {
        let extension = path.extension().and_then(|extension| extension.to_str());
        let read = ["gif", "jxl", "pbm"];
        extension.is_some_and(|found| read.iter().any(|e| e.eq_ignore_ascii_case(found)))
    }

    /// The format in which to write an image that was read from a file that begins with `bytes`:
    /// the same, but PNG for GIF, which has too few colours, and for JPEG XL, which is only read.
    ///
    /// # Errors
    ///
    /// [`DecodeError::NotAImage`] if it is not an image; the message names the type of the file
    /// where it is known.
    pub fn of_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        sniff(bytes).map(Input::output)
    }

    /// Whether this build reads and writes it: PNG and JPEG always, OpenEXR with the feature
    /// `openexr`, the others with the feature `codecs`.
    pub const fn is_built(self) -> bool {
        match self {
            Self::Png | Self::Jpeg => true,
            Self::Exr => cfg!(feature = "openexr"),
            _ => cfg!(feature = "codecs"),
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
            Self::WebP => "WebP",
            Self::Tiff => "TIFF",
            Self::Bmp => "BMP",
            Self::Qoi => "QOI",
            Self::Pnm => "PNM",
            Self::Exr => "OpenEXR",
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
            Self::Qoi => "qoi",
            Self::Pnm => "pnm",
            Self::Exr => "exr",
        }
    }
}

/// Whether a format holds a colour profile.
pub(super) fn holds_profile(format: Format) -> bool {
    matches!(format, Format::Png | Format::Jpeg | Format::WebP | Format::Tiff)
}

/// The feature that a build needs to write a format.
pub(super) fn feature(format: Format) -> &'static str {
    if format == Format::Exr { "openexr" } else { "codecs" }
}

/// The format of an image's bytes.
pub(super) fn sniff(bytes: &[u8]) -> Result<Input, DecodeError> {
    let not = |found: String| Err(DecodeError::NotAImage(found));
    if let Some(name) = other_format(bytes) {
        return not(name.to_owned());
    }
    // BigTIFF and JPEG XL, which `image` does not recognise by their first bytes.
    if is_tiff(bytes) {
        return Ok(Input::Tiff);
    }
    if bytes.starts_with(b"\xff\x0a") || bytes.starts_with(b"\0\0\0\x0cJXL \r\n\x87\n") {
        return Ok(Input::Jxl);
    }
    if bytes.starts_with(b"v/1\x01") {
        return Ok(Input::Exr);
    }
    // A text may begin with these two letters.
    let is_text = |found| found == ImageFormat::Pnm && !bytes.get(2).is_some_and(is_space);
    match image::guess_format(bytes) {
        Ok(found) if is_text(found) => not("a text".to_owned()),
        Ok(found) => match INPUTS.iter().find(|input| input.decoder() == Some(found)) {
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

fn is_space(byte: &u8) -> bool {
    byte.is_ascii_whitespace() || *byte == b'#'
}

/// Whether bytes begin as a TIFF file does, classic or big.
pub(super) fn is_tiff(bytes: &[u8]) -> bool {
    [&b"II\x2a\0"[..], b"MM\0\x2a", b"II\x2b\0", b"MM\0\x2b"]
        .iter()
        .any(|magic| bytes.starts_with(magic))
}

/// Checks that this build writes a format.
pub(super) fn check_built(path: &Path, format: Format) -> Result<(), ImageError> {
    if format.is_built() {
        return Ok(());
    }
    Err(ImageError::NotBuilt {
        path: path.to_owned(),
        format: format.name(),
        feature: feature(format),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(feature = "codecs")]
    fn messages_name_every_format() {
        let built = INPUTS.iter().filter(|input| input.is_built());
        let names: Vec<&str> = built.map(|input| input.name()).collect();
        let (last, others) = names.split_last().unwrap();
        assert_eq!(FORMAT_NAMES, format!("{} or {last}", others.join(", ")));
    }

    #[test]
    fn messages_name_the_type_of_a_refused_file() {
        let heic = [b"\0\0\0\x1cftypheic", &[0; 40][..]].concat();
        let dicom = [&[0; 128][..], b"DICM"].concat();
        for (bytes, name) in [
            (&heic[..], "HEIC"),
            (b"\0\0\0\x1cftypavif", "AVIF"),
            (b"\0\0\0\x1cftypisom", "video"),
            (b"II*\0\x10\0\0\0CR\x02\0", "camera raw"),
            (b"FUJIFILMCCD-RAW 0201", "camera raw"),
            (b"%PDF-1.7", "PDF"),
            (b"8BPS\0\x01", "PSD"),
            (b"\x93NUMPY\x01", "NumPy"),
            (b"PK\x03\x04", "ZIP"),
            (&dicom, "DICOM"),
            (b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- x -->\n<svg width='1'>", "SVG"),
            (b"\n<!DOCTYPE html>", "web page"),
            (b"farbfeld", "format 'ff'"),
        ] {
            let text = sniff(bytes).unwrap_err().to_string();
            assert!(text.contains(&format!("expected a {FORMAT_NAMES} image, found a")), "{text}");
            assert!(text.contains(name) && !text.contains("  "), "{text}");
        }
        for (bytes, input) in [
            (&b"II*\0\x08\0\0\0"[..], Input::Tiff),
            (b"MM\0*\0\0\0\x08", Input::Tiff),
            (b"II+\0\x08\0\0\0", Input::Tiff),
            (b"\x89PNG\r\n\x1a\n", Input::Png),
            (b"\xff\x0aAA", Input::Jxl),
            (b"\0\0\0\x0cJXL \r\n\x87\n", Input::Jxl),
            (b"v/1\x01\x02", Input::Exr),
            (b"qoif....", Input::Qoi),
            (b"P5 2 2 255 ", Input::Pnm),
        ] {
            assert_eq!(sniff(bytes).unwrap(), input);
        }
    }
}
