//! From the bytes of a picture's file to samples, with the same rules for data sets and single pictures.

use std::io::Cursor;

use super::{Depth, Picture, PictureError};
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

/// The most pixels a picture may have: enough for any camera, and 1.2 GB of float values in colour.
pub const MAX_PIXELS: u64 = 100_000_000;

/// The formats that are decoded, and what they are called.
const FORMATS: [(ImageFormat, &str); 6] = [
    (ImageFormat::Png, "PNG"),
    (ImageFormat::Jpeg, "JPEG"),
    (ImageFormat::WebP, "WebP"),
    (ImageFormat::Tiff, "TIFF"),
    (ImageFormat::Bmp, "BMP"),
    (ImageFormat::Gif, "GIF"),
];

/// All of [`FORMATS`], for messages.
pub(crate) const FORMAT_NAMES: &str = "PNG, JPEG, WebP, TIFF, BMP or GIF";

/// Why bytes are not a picture that can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes do not begin like any of the formats.
    #[error("expected a {FORMAT_NAMES} picture, found {0}")]
    NotAPicture(String),
    /// More than [`MAX_PIXELS`] pixels; said by the header, nothing was decoded.
    #[error(
        "expected a picture of at most {MAX_PIXELS} pixels, found one of {width}x{height} (width x height)"
    )]
    TooLarge {
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// The picture ends too early or its content contradicts itself.
    #[error("expected a whole {format} picture, found {found}")]
    Damaged {
        /// PNG, JPEG, ..
        format: &'static str,
        /// What the decoder said.
        found: String,
    },
    /// A variety of the format that is not decoded.
    #[error("a {format} picture of a kind that cannot be read: {found}")]
    Unsupported {
        /// PNG, JPEG, ..
        format: &'static str,
        /// What it is.
        found: String,
    },
}

/// Samples of a decoded picture, rows of pixels of channels (H, W, C).
pub(crate) enum Samples {
    Eight(Vec<u8>),
    Sixteen(Vec<u16>),
}

/// A decoded picture: 1 channel (grey) or 3, upright, without transparency.
pub(crate) struct Decoded {
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    pub samples: Samples,
}

impl Decoded {
    /// With how many bits its values were stored.
    fn depth(&self) -> Depth {
        match self.samples {
            Samples::Eight(_) => Depth::Eight,
            Samples::Sixteen(_) => Depth::Sixteen,
        }
    }

    /// The picture, [to be stored](Picture::depth) as it was.
    ///
    /// # Errors
    ///
    /// [`PictureError::Shape`] if it has no values.
    pub fn into_picture(self) -> Result<Picture, PictureError> {
        let (shape, depth) = ((self.channels, self.height, self.width), self.depth());
        Ok(Picture::new(shape, self.into_floats())?.with_depth(depth))
    }

    /// 8-bit values as (H, W, C); 16-bit samples are rounded to the nearest.
    pub fn into_samples(self) -> Vec<u8> {
        match self.samples {
            Samples::Eight(samples) => samples,
            // 65535 = 257 * 255, so this is round(v * 255 / 65535).
            Samples::Sixteen(samples) => {
                samples.into_iter().map(|v| ((u32::from(v) + 128) / 257) as u8).collect()
            }
        }
    }

    /// 8-bit values as (C, H, W); 16-bit samples are rounded to the nearest.
    pub fn into_bytes(self) -> Vec<u8> {
        let channels = self.channels;
        planes(&self.into_samples(), channels, |v| v)
    }

    /// Values in [-1, 1] as (C, H, W), 16-bit samples with all their precision.
    pub fn into_floats(self) -> Vec<f32> {
        match self.samples {
            Samples::Eight(samples) => planes(&samples, self.channels, crate::data::normalise),
            Samples::Sixteen(samples) => planes(&samples, self.channels, |v| f32::from(v) / 32767.5 - 1.0),
        }
    }
}

/// Samples (H, W, C) as planes (C, H, W).
pub(crate) fn planes<S: Copy, T>(samples: &[S], channels: usize, convert: impl Fn(S) -> T) -> Vec<T> {
    (0..channels).flat_map(|c| samples[c..].iter().step_by(channels)).map(|&v| convert(v)).collect()
}

/// Decodes a picture.
///
/// EXIF orientation is applied. Transparent pixels are laid over white, as a page shows them: dropping alpha would
/// bring out whatever colour an editor left under it, black most often. Values stay as stored (gamma-encoded,
/// colour profiles are not applied). Palettes, 1, 2 and 4 bits become 8; CMYK becomes RGB; float values, of TIFF, are those of
/// the range [0, 1] with 16 bits. Of several pictures in a file the first is taken.
pub(crate) fn decode(bytes: &[u8]) -> Result<Decoded, DecodeError> {
    let (format, name) = match image::guess_format(bytes) {
        Ok(found) => match FORMATS.iter().find(|(format, _)| *format == found) {
            Some(known) => *known,
            None => {
                let extension = found.extensions_str().first().copied().unwrap_or("other");
                return Err(DecodeError::NotAPicture(format!("a picture in the format '{extension}'")));
            }
        },
        Err(_) if bytes.is_empty() => return Err(DecodeError::NotAPicture("an empty file".to_owned())),
        Err(_) => {
            let begin: String = bytes.iter().take(8).map(|b| format!("{b:02x}")).collect();
            return Err(DecodeError::NotAPicture(format!("bytes that begin with {begin}")));
        }
    };
    let explain = |error: image::ImageError| match error {
        image::ImageError::Unsupported(e) => DecodeError::Unsupported { format: name, found: one_line(&e) },
        // The details are what the decoder said; the outer error only repeats the format's name.
        e => DecodeError::Damaged {
            format: name,
            found: std::error::Error::source(&e).map_or_else(|| one_line(&e), one_line),
        },
    };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    // Dimensions are bounded below; this bounds what else a decoder may allocate.
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_PIXELS * 8 + (64 << 20));
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(explain)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(DecodeError::TooLarge { width, height });
    }
    if width == 0 || height == 0 {
        return Err(DecodeError::Damaged { format: name, found: format!("a size of {width}x{height}") });
    }
    if format == ImageFormat::Jpeg && !jpeg_is_ended(bytes) {
        // The decoder would fill what is missing with grey and say nothing.
        let found = "one without an end-of-image marker: it is truncated".to_owned();
        return Err(DecodeError::Damaged { format: name, found });
    }
    let orientation = decoder.orientation().map_err(explain)?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(explain)?;
    picture.apply_orientation(orientation);
    Ok(flatten(picture))
}

fn one_line(error: impl std::fmt::Display) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn flatten(picture: DynamicImage) -> Decoded {
    use Samples::{Eight, Sixteen};
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let (channels, samples) = match picture {
        DynamicImage::ImageLuma8(p) => (1, Eight(p.into_raw())),
        DynamicImage::ImageLumaA8(p) => (1, Eight(over_white::<u8, 2>(&p))),
        DynamicImage::ImageRgb8(p) => (3, Eight(p.into_raw())),
        DynamicImage::ImageRgba8(p) => (3, Eight(over_white::<u8, 4>(&p))),
        DynamicImage::ImageLuma16(p) => (1, Sixteen(p.into_raw())),
        DynamicImage::ImageLumaA16(p) => (1, Sixteen(over_white::<u16, 2>(&p))),
        DynamicImage::ImageRgba16(p) => (3, Sixteen(over_white::<u16, 4>(&p))),
        other => (3, Sixteen(other.into_rgb16().into_raw())),
    };
    Decoded { channels, height, width, samples }
}

/// Lays pixels of N - 1 channels and alpha over white, rounding to the nearest.
fn over_white<T, const N: usize>(samples: &[T]) -> Vec<T>
where
    T: Copy + Into<u64> + TryFrom<u64> + image::Primitive,
{
    let full: u64 = T::max_value().into();
    let mut out = Vec::with_capacity(samples.len() / N * (N - 1));
    for pixel in samples.chunks_exact(N) {
        let alpha: u64 = pixel[N - 1].into();
        for &value in &pixel[..N - 1] {
            let value: u64 = value.into();
            let laid = (value * alpha + full * (full - alpha) + full / 2) / full;
            out.push(T::try_from(laid).unwrap_or(T::max_value()));
        }
    }
    out
}

/// Whether a JPEG file has an end-of-image marker after its first scan begins. Inside the data of a scan 0xff is
/// followed by 0 or a restart marker (ITU T.81, B.1.1.5), so the marker cannot occur there by chance; thumbnails,
/// which have one of their own, stand before.
fn jpeg_is_ended(bytes: &[u8]) -> bool {
    let mut at = 2;
    while let Some(&[0xff, marker]) = bytes.get(at..at + 2).and_then(|b| <&[u8; 2]>::try_from(b).ok()) {
        match marker {
            0xff => at += 1,
            0xd9 => return true,
            0xda => return bytes[at + 2..].windows(2).any(|pair| pair == [0xff, 0xd9]),
            0x01 | 0xd0..=0xd8 => at += 2,
            _ => {
                let Some(length) = bytes.get(at + 2..at + 4) else { return false };
                at += 2 + usize::from(u16::from_be_bytes([length[0], length[1]]));
            }
        }
    }
    // Not a sequence of segments as far as this can tell: the decoder has the say.
    bytes.windows(2).any(|pair| pair == [0xff, 0xd9])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_every_format() {
        let names: Vec<&str> = FORMATS.iter().map(|(_, name)| *name).collect();
        let (last, others) = names.split_last().unwrap();
        assert_eq!(FORMAT_NAMES, format!("{} or {last}", others.join(", ")));
    }
}
