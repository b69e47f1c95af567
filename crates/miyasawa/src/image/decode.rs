//! From the bytes of an image's file to samples, with the same rules for data sets and single
//! images.

use std::io::Cursor;

use super::kind::{FORMAT_NAMES, sniff};
use super::raster::{Opacity, Raster, Samples};
use super::tiff_read::TiffFile;
use super::{Depth, Image, ImageError};
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

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
    /// More than [`MAX_PIXELS`] pixels; known from the header, nothing was decoded.
    #[error(
        "expected an image of at most {MAX_PIXELS} pixels, found one of {width}x{height} (width x height)"
    )]
    TooLarge {
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
}

/// A decoded image: 1 channel (grey) or 3, upright, without transparency.
pub(crate) struct Decoded {
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    pub samples: Samples,
}

impl Decoded {
    /// From 8-bit values (C, H, W), as many as the shape says.
    pub fn from_planes((channels, height, width): (usize, usize, usize), planes: &[u8]) -> Self {
        let plane = height * width;
        let at = |i: usize| planes[i % channels * plane + i / channels];
        let samples = Samples::Eight((0..planes.len()).map(at).collect());
        Self { channels, height, width, samples }
    }

    /// With how many bits its values were stored.
    fn depth(&self) -> Depth {
        match self.samples {
            Samples::Eight(_) => Depth::Eight,
            Samples::Sixteen(_) | Samples::Float(_) => Depth::Sixteen,
        }
    }

    /// Converts it to an image, [to be stored](Image::depth) with the same number of bits.
    ///
    /// # Errors
    ///
    /// [`ImageError::Shape`] if it has no values.
    pub fn into_image(self) -> Result<Image, ImageError> {
        let (shape, depth) = ((self.channels, self.height, self.width), self.depth());
        Ok(Image::new(shape, self.into_floats())?.with_depth(depth))
    }

    /// 8-bit values as (H, W, C); 16-bit samples are rounded to the nearest.
    pub fn into_samples(self) -> Vec<u8> {
        match self.samples {
            Samples::Eight(samples) => samples,
            // 65535 = 257 * 255, so this is round(v * 255 / 65535).
            Samples::Sixteen(samples) => {
                samples.into_iter().map(|v| ((u32::from(v) + 128) / 257) as u8).collect()
            }
            Samples::Float(samples) => {
                samples.into_iter().map(|v| (v * 255.0).round() as u8).collect()
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
            Samples::Eight(samples) => planes(&samples, self.channels, crate::range::normalise),
            Samples::Sixteen(samples) => {
                planes(&samples, self.channels, |v| f32::from(v) / 32767.5 - 1.0)
            }
            Samples::Float(samples) => planes(&samples, self.channels, |v| 2.0 * v - 1.0),
        }
    }
}

/// Samples (H, W, C) as planes (C, H, W).
pub(crate) fn planes<S: Copy, T>(
    samples: &[S],
    channels: usize,
    convert: impl Fn(S) -> T,
) -> Vec<T> {
    (0..channels).flat_map(|c| samples[c..].iter().step_by(channels)).map(|&v| convert(v)).collect()
}

/// Decodes an image.
///
/// EXIF orientation is applied. Transparent pixels are laid over white, as a page shows them:
/// dropping alpha would reveal the colour that an editor left under it, usually black. Values stay
/// as stored (gamma-encoded, colour profiles are not applied). Palettes, 1, 2 and 4 bits become 8;
/// CMYK becomes RGB; float values, of TIFF, must lie in [0, 1]. Of several images in a file the
/// first is taken.
pub(crate) fn decode(bytes: &[u8]) -> Result<Decoded, DecodeError> {
    let raster = match sniff(bytes)? {
        (ImageFormat::Tiff, _) => TiffFile::open(bytes.into())?.unscaled(0)?,
        (format, name) => open(bytes, format, name)?.raster()?,
    };
    Ok(flatten(raster))
}

/// Lays transparent pixels over white.
pub(super) fn flatten(raster: Raster) -> Decoded {
    let Raster { channels, height, width, .. } = raster;
    let Some(opacity) = raster.opacity else {
        return Decoded { channels, height, width, samples: raster.samples };
    };
    let samples = match raster.samples {
        Samples::Eight(samples) => Samples::Eight(over_white(&samples, channels, opacity)),
        Samples::Sixteen(samples) => Samples::Sixteen(over_white(&samples, channels, opacity)),
        Samples::Float(samples) => {
            let pixel = |pixel: &[f32]| {
                let alpha = pixel[channels];
                let share = if opacity == Opacity::Straight { alpha } else { 1.0 };
                pixel[..channels].iter().map(|v| v * share + 1.0 - alpha).collect::<Vec<_>>()
            };
            Samples::Float(samples.chunks_exact(channels + 1).flat_map(pixel).collect())
        }
    };
    Decoded { channels, height, width, samples }
}

/// An image whose header was read.
pub(super) struct Opened<'b> {
    decoder: Box<dyn ImageDecoder + 'b>,
    name: &'static str,
}

/// Converts a decoder's error.
fn explained(name: &'static str) -> impl Fn(image::ImageError) -> DecodeError {
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

/// Reads the header of an image other than a TIFF.
pub(super) fn open<'b>(
    bytes: &'b [u8],
    format: ImageFormat,
    name: &'static str,
) -> Result<Opened<'b>, DecodeError> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    // Dimensions are bounded below; this bounds what else a decoder may allocate.
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_PIXELS * 8 + (64 << 20));
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(explained(name))?;
    check_size(name, decoder.dimensions())?;
    if format == ImageFormat::Jpeg && !jpeg_is_ended(bytes) {
        // The decoder would fill missing parts with grey without an error.
        let found = "one without an end-of-image marker: it is truncated".to_owned();
        return Err(DecodeError::Damaged { format: name, found });
    }
    Ok(Opened { decoder: Box::new(decoder), name })
}

/// Checks the size in a header.
pub(super) fn check_size(
    format: &'static str,
    (width, height): (u32, u32),
) -> Result<(), DecodeError> {
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(DecodeError::TooLarge { width, height });
    }
    if width == 0 || height == 0 {
        return Err(DecodeError::Damaged { format, found: format!("a size of {width}x{height}") });
    }
    Ok(())
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

/// Lays pixels of some channels and alpha over white, rounding to the nearest.
fn over_white<T>(samples: &[T], channels: usize, opacity: Opacity) -> Vec<T>
where
    T: Copy + Into<u64> + TryFrom<u64> + image::Primitive,
{
    let full: u64 = T::max_value().into();
    let mut out = Vec::with_capacity(samples.len() / (channels + 1) * channels);
    for pixel in samples.chunks_exact(channels + 1) {
        let alpha: u64 = pixel[channels].into();
        for &value in &pixel[..channels] {
            let value: u64 = value.into();
            let over = match opacity {
                Opacity::Straight => (value * alpha + full * (full - alpha) + full / 2) / full,
                Opacity::Premultiplied => (value + full - alpha).min(full),
            };
            out.push(T::try_from(over).unwrap_or(T::max_value()));
        }
    }
    out
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
