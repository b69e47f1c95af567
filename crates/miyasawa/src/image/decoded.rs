//! Images of data sets as samples, by the same rules as single images.

use super::decode::{Bound, DecodeError, open, planes};
use super::kind::{Input, sniff};
use super::raster::{Opacity, Raster, Samples};
use super::{Depth, Image, ImageError, TiffFile};

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
                planes(&samples, self.channels, crate::range::normalise_16)
            }
            Samples::Float(samples) => planes(&samples, self.channels, |v| 2.0 * v - 1.0),
        }
    }
}

/// Decodes an image.
///
/// EXIF orientation is applied. Transparent pixels are laid over white, as a page shows them:
/// dropping alpha would reveal the colour that an editor left under it, usually black. Values stay
/// as stored (gamma-encoded, colour profiles are not applied; OpenEXR becomes sRGB). Palettes, 1,
/// 2 and 4 bits become 8; CMYK becomes RGB; float values, of TIFF, must lie in [0, 1]. Of several
/// images in a file the first is taken.
pub(crate) fn decode(bytes: &[u8]) -> Result<Decoded, DecodeError> {
    let bound = Bound::default();
    let raster = match sniff(bytes)? {
        Input::Tiff => TiffFile::open(bytes.into(), bound)?.unscaled(0)?,
        #[cfg(feature = "jpeg-xl")]
        Input::Jxl => super::jxl::JxlFile::open(bytes, bound)?.raster()?,
        #[cfg(feature = "openexr")]
        Input::Exr => super::open_exr::ExrFile::open(bytes, bound)?.srgb(),
        input => open(bytes, input, bound)?.raster()?,
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
