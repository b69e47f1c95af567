//! From the bytes of an image's file to samples.

use std::io::Cursor;

use super::kind::{FORMAT_NAMES, Input};
use super::raster::Raster;
use image::{DynamicImage, ImageDecoder, ImageReader, Limits};

/// The most pixels an image may have, 16,384 x 16,384: more than any camera's single exposure.
/// Denoising one so large takes about 12 GB of memory.
pub const MAX_PIXELS: u64 = 1 << 28;

/// Why bytes cannot be decoded as an image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes do not begin like any of the formats.
    #[error("expected a {FORMAT_NAMES} image, found {0}")]
    NotAImage(String),
    /// More pixels than may be decoded, [`MAX_PIXELS`] unless said otherwise; known from the
    /// header, nothing was decoded.
    #[error(
        "expected an image of at most {most} pixels, found one of {width}x{height} (width x \
         height)"
    )]
    TooLarge {
        /// The most pixels.
        most: u64,
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// The image ends too early or its content contradicts itself.
    #[error("expected an intact {format} image, found {found}")]
    Damaged {
        /// PNG, JPEG, ..
        format: &'static str,
        /// The decoder's message.
        found: String,
    },
    /// A variety of the format that is not decoded.
    #[error("a {format} image of a kind that cannot be read: {found}")]
    Unsupported {
        /// PNG, JPEG, ..
        format: &'static str,
        /// The variety.
        found: String,
    },
    /// A format that needs a feature that this build lacks.
    #[error("this build reads no {format}: build with the feature `{feature}`")]
    NotBuilt {
        /// WebP, TIFF, ..
        format: &'static str,
        /// The feature of the library.
        feature: &'static str,
    },
}

/// Samples (H, W, C) as planes (C, H, W).
pub(crate) fn planes<S: Copy, T>(
    samples: &[S],
    channels: usize,
    convert: impl Fn(S) -> T,
) -> Vec<T> {
    // Of a large image no more than its values is held.
    let mut planes = Vec::with_capacity(samples.len());
    for channel in 0..channels {
        planes.extend(samples.iter().skip(channel).step_by(channels).map(|&v| convert(v)));
    }
    planes
}

/// An image (C, H, W) as samples (H, W, C).
pub(crate) fn interleave(image: &[u8], channels: usize) -> Vec<u8> {
    let plane = image.len() / channels;
    (0..plane).flat_map(|at| image[at..].iter().step_by(plane)).copied().collect()
}

/// An image whose header was read.
pub(super) struct Opened<'b> {
    decoder: Box<dyn ImageDecoder + 'b>,
    name: &'static str,
}

/// Converts a decoder's error.
pub(super) fn explained(name: &'static str) -> impl Fn(image::ImageError) -> DecodeError {
    move |error| match error {
        image::ImageError::Unsupported(e) => {
            DecodeError::Unsupported { format: name, found: one_line(&e) }
        }
        // The details are in the decoder's error; the outer error only repeats the format's name.
        e => DecodeError::Damaged {
            format: name,
            found: std::error::Error::source(&e).map_or_else(|| one_line(&e), one_line),
        },
    }
}

/// How large an image may be: [`MAX_PIXELS`], or less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bound {
    /// The most pixels.
    pub pixels: u64,
}

impl Default for Bound {
    fn default() -> Self {
        Self::new(MAX_PIXELS)
    }
}

impl Bound {
    /// At most as many pixels, and [`MAX_PIXELS`].
    pub fn new(pixels: u64) -> Self {
        Self { pixels: pixels.min(MAX_PIXELS) }
    }

    /// What a decoder may allocate; dimensions are bounded apart.
    pub fn limits(self) -> Limits {
        let mut limits = Limits::default();
        limits.max_alloc = Some(self.pixels * 8 + (64 << 20));
        limits
    }

    /// Checks the size in a header.
    pub fn check_size(
        self,
        format: &'static str,
        (width, height): (u32, u32),
    ) -> Result<(), DecodeError> {
        if u64::from(width) * u64::from(height) > self.pixels {
            return Err(DecodeError::TooLarge { most: self.pixels, width, height });
        }
        if width == 0 || height == 0 {
            return Err(DecodeError::Damaged {
                format,
                found: format!("a size of {width}x{height}"),
            });
        }
        Ok(())
    }
}

/// Reads the header of an image in a format that the `image` crate decodes.
pub(super) fn open(bytes: &[u8], input: Input, bound: Bound) -> Result<Opened<'_>, DecodeError> {
    let name = input.name();
    let format = match input.decoder() {
        Some(format) if input.is_built() => format,
        _ => {
            let feature = input.feature().unwrap_or("codecs");
            return Err(DecodeError::NotBuilt { format: name, feature });
        }
    };
    if let Some(size) = png_size(bytes).filter(|_| input == Input::Png) {
        // The decoder makes room for a row at once: of a very wide image it would say no more than
        // that it has no memory.
        bound.check_size(name, size)?;
    }
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(bound.limits());
    let decoder = reader.into_decoder().map_err(explained(name))?;
    bound.check_size(name, decoder.dimensions())?;
    if input == Input::Jpeg && !jpeg_is_ended(bytes) {
        // The decoder would fill missing parts with grey without an error.
        let found = "one without an end-of-image marker: it is truncated".to_owned();
        return Err(DecodeError::Damaged { format: name, found });
    }
    Ok(Opened { decoder: Box::new(decoder), name })
}

impl Opened<'_> {
    pub fn size(&self) -> (u32, u32) {
        self.decoder.dimensions()
    }

    /// Colour profile, EXIF and XMP. None where one cannot be read.
    pub fn described(&mut self) -> [Option<Vec<u8>>; 3] {
        let Self { decoder, .. } = self;
        [decoder.icc_profile(), decoder.exif_metadata(), decoder.xmp_metadata()]
            .map(|found| found.unwrap_or_default().filter(|found| !found.is_empty()))
    }

    /// Decodes the pixels and turns them upright.
    pub fn raster(mut self) -> Result<Raster, DecodeError> {
        let explain = explained(self.name);
        let orientation = self.decoder.orientation().map_err(&explain)?;
        let image = DynamicImage::from_decoder(self.decoder).map_err(&explain)?;
        Ok(Raster::from(image).upright(orientation.to_exif()))
    }
}

pub(super) fn one_line(error: impl std::fmt::Display) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Width and height in the header of a PNG file (PNG specification, 11.2.1).
fn png_size(bytes: &[u8]) -> Option<(u32, u32)> {
    let side = |at: usize| Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk::<4>()?));
    (bytes.get(12..16)? == b"IHDR").then_some(())?;
    Some((side(16)?, side(20)?))
}

/// Whether a JPEG file has an end-of-image marker after its first scan begins. Inside the data of a
/// scan 0xff is followed by 0 or a restart marker (ITU T.81, B.1.1.5), so the marker cannot occur
/// there by chance; thumbnails, which have a marker of their own, come before.
fn jpeg_is_ended(bytes: &[u8]) -> bool {
    let mut at = 2;
    while let Some(&[0xff, marker]) =
        bytes.get(at..at + 2).and_then(|b| <&[u8; 2]>::try_from(b).ok())
    {
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
    // Not a valid sequence of segments: the decoder decides.
    bytes.windows(2).any(|pair| pair == [0xff, 0xd9])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_png_that_is_too_wide_for_its_decoder_is_too_large() {
        let header =
            b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\x7f\xff\xff\xff\x7f\xff\xff\xff\x08\x06\0\0\0";
        let error = open(header, Input::Png, Bound::default()).err();
        let size = 0x7fff_ffff;
        let found = matches!(error, Some(DecodeError::TooLarge { width, height, .. })
            if (width, height) == (size, size));
        assert!(found, "{error:?}");
        assert_eq!((png_size(&header[..23]), png_size(b"IHDR")), (None, None));
    }

    #[test]
    fn interleaving_is_the_inverse_of_planes() {
        let image: Vec<u8> = (0..24).collect();
        assert_eq!(interleave(&image, 3)[..6], [0, 8, 16, 1, 9, 17]);
        assert_eq!(planes(&interleave(&image, 3), 3, |v| v), image);
        assert_eq!(interleave(&image, 1), image);
    }
}
