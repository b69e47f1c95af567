//! Single images: opened from files, resized, saved, and laid out as figures.
//!
//! An [`Image`] holds values in [-1, 1] as the networks see them. `Grid` (feature `report`) lays
//! images out in rows and columns with captions.
//!
//! PNG and JPEG are always read and written; WebP, TIFF, BMP, QOI and PNM, and GIF to read, need
//! the feature `codecs`, OpenEXR `openexr`, and JPEG XL, to read, `jpeg-xl`. A build without them
//! returns [`DecodeError::NotBuilt`] or [`ImageError::NotBuilt`].
//!
//! ```
//! use miyasawa::image::{Image, grid};
//!
//! let grey = Image::filled(1, 20, 30, 0.5)?;
//! let noisy = grey.clone().with_noise(0.1, 0)?;
//! assert_eq!(noisy.resize(10, 15)?.to_channels(3)?.shape(), (3, 10, 15));
//!
//! let figure = grid(&[vec![grey, noisy]], 2, 1)?; // side by side, two pixels between them
//! assert_eq!(figure.shape(), (1, 20, 62));
//! let png = figure.to_png()?;
//! assert_eq!(Image::decode(&png)?.shape(), figure.shape());
//! # Ok::<(), miyasawa::image::ImageError>(())
//! ```

mod amplify;
mod bilinear;
pub mod camera;
pub mod corruption;
mod cosine;
mod crop;
mod decode;
#[cfg(feature = "data")]
mod decoded;
mod encodable;
mod encode;
mod error;
mod file;
mod fit;
#[cfg(all(test, feature = "codecs"))]
mod format_tests;
#[cfg(feature = "codecs")]
mod frames;
mod geometry;
#[cfg(feature = "report")]
mod grid;
mod handover;
mod image_file;
#[cfg(feature = "jpeg-xl")]
mod jxl;
mod kind;
mod light;
pub(crate) mod local_means;
mod metadata;
#[cfg(not(feature = "codecs"))]
mod no_tiff;
pub mod noise_level;
#[cfg(feature = "codecs")]
mod numbers;
#[cfg(feature = "openexr")]
mod open_exr;
mod page;
#[cfg(all(test, feature = "codecs"))]
mod page_tests;
#[cfg(feature = "codecs")]
mod png_frames;
mod raster;
mod refused;
mod resample;
mod tags;
#[cfg(all(test, feature = "codecs"))]
mod tests;
#[cfg(feature = "report")]
mod text;
#[cfg(feature = "codecs")]
mod tiff_read;
#[cfg(feature = "codecs")]
mod tiff_write;
mod writer;

pub(crate) use bilinear::resize_crop;
#[cfg(feature = "data")]
pub(crate) use bilinear::{Window, bilinear};
pub(crate) use decode::planes;
pub use decode::{DecodeError, MAX_PIXELS};
pub use error::ImageError;
pub use fit::{CROP_SHARE, ResizeMode, resize_image};
pub use geometry::Geometry;
#[cfg(feature = "report")]
pub use grid::{Grid, GridRow, grid};
pub use image_file::ImageFile;
pub use kind::Format;
#[cfg(not(feature = "codecs"))]
pub(in crate::image) use no_tiff::{Scale, TiffFile};
pub use page::Page;
pub(crate) use resample::cover;
pub use writer::ImageWriter;
#[cfg(feature = "data")]
pub(crate) use {
    decode::interleave,
    decoded::{Decoded, decode},
    fit::resize_crop_planes,
    kind::FORMAT_NAMES,
};
#[cfg(feature = "codecs")]
pub(in crate::image) use {numbers::Scale, tiff_read::TiffFile};

use crate::random::evaluation_noise;
use crate::range::{luma, normalise};

/// The number of bits with which a value is stored in a file, if its format can hold them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Depth {
    /// 8 bits.
    #[default]
    Eight,
    /// 16 bits: PNG, TIFF and PNM; OpenEXR writes 32-bit floats for it.
    Sixteen,
}

/// An image with values in [-1, 1].
///
/// Values outside the range may occur (a denoiser's output is not clipped); they are clipped when
/// the image is saved.
///
/// ```
/// use miyasawa::prelude::*;
/// let image = Image::filled(3, 4, 5, 0.5)?;
/// assert_eq!((image.channels(), image.height(), image.width()), (3, 4, 5));
/// # Ok::<(), miyasawa::image::ImageError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    channels: usize,
    height: usize,
    width: usize,
    values: Vec<f32>,
    depth: Depth,
}

impl Image {
    /// Creates an image of shape (channels, height, width) from its values (C, H, W), to be stored
    /// with 8 bits.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// assert_eq!(Image::new((1, 1, 2), vec![-1.0, 1.0])?.width(), 2);
    /// assert!(Image::new((1, 1, 2), vec![0.0]).is_err());
    /// # Ok::<(), miyasawa::image::ImageError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ImageError::Shape`] if channels are neither 1 nor 3, a side is 0, or the number of values
    /// differs from the shape's.
    pub fn new(
        (channels, height, width): (usize, usize, usize),
        values: Vec<f32>,
    ) -> Result<Self, ImageError> {
        let wanted = channels.checked_mul(height).and_then(|n| n.checked_mul(width));
        if !matches!(channels, 1 | 3) || height == 0 || width == 0 || wanted != Some(values.len()) {
            return Err(ImageError::Shape {
                expected: "1 or 3 channels, at least 1x1, and as many values".to_owned(),
                found: format!("{channels}x{height}x{width} with {} values", values.len()),
            });
        }
        Ok(Self { channels, height, width, values, depth: Depth::Eight })
    }

    /// Creates an image of one value.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// assert_eq!(Image::filled(3, 4, 5, 0.5)?.values(), [0.5; 60]);
    /// assert!(Image::filled(2, 4, 5, 0.5).is_err());
    /// # Ok::<(), miyasawa::image::ImageError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Image::new`].
    pub fn filled(
        channels: usize,
        height: usize,
        width: usize,
        value: f32,
    ) -> Result<Self, ImageError> {
        check_size(height, width)?;
        if !matches!(channels, 1 | 3) {
            // The error, before any memory is asked for.
            return Self::new((channels, height, width), Vec::new());
        }
        Self::new((channels, height, width), vec![value; channels * height * width])
    }

    /// Adds normal noise of the level `sigma`, in units of the [-1, 1] range and not clipped to it:
    /// an input to try a denoiser on. The noise depends only on the seed and the number of values.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let noisy = Image::filled(1, 64, 64, 0.0)?.with_noise(0.1, 3)?;
    /// assert!((noisy.noise_level() - 0.1).abs() < 0.01);
    /// # Ok::<(), miyasawa::image::ImageError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ImageError::Noise`] if the level is negative or not finite.
    pub fn with_noise(mut self, sigma: f64, seed: u64) -> Result<Self, ImageError> {
        if !(sigma >= 0.0 && sigma.is_finite()) {
            return Err(ImageError::Noise { found: sigma });
        }
        let noise = evaluation_noise(seed, 0, 0, 1, self.values.len());
        self.values.iter_mut().zip(noise).for_each(|(value, noise)| *value += sigma as f32 * noise);
        Ok(self)
    }

    /// The same image, to be stored with another number of bits.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// use miyasawa::image::Depth;
    /// let image = Image::filled(1, 2, 2, 0.0)?.with_depth(Depth::Sixteen);
    /// assert_eq!(image.depth(), Depth::Sixteen);
    /// # Ok::<(), miyasawa::image::ImageError>(())
    /// ```
    pub fn with_depth(self, depth: Depth) -> Self {
        Self { depth, ..self }
    }

    /// The number of bits with which it was stored, or is to be stored.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// assert_eq!(Image::filled(1, 2, 2, 0.0)?.depth(), miyasawa::image::Depth::Eight);
    /// # Ok::<(), miyasawa::image::ImageError>(())
    /// ```
    pub fn depth(&self) -> Depth {
        self.depth
    }

    /// An image from 8-bit values (C, H, W), such as an image of a `data::Dataset`.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// assert_eq!(Image::from_bytes((1, 1, 2), &[0, 255])?.values(), [-1.0, 1.0]);
    /// # Ok::<(), miyasawa::image::ImageError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Image::new`].
    pub fn from_bytes(shape: (usize, usize, usize), bytes: &[u8]) -> Result<Self, ImageError> {
        Self::new(shape, bytes.iter().map(|&value| normalise(value)).collect())
    }

    /// (channels, height, width).
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// assert_eq!(Image::filled(3, 4, 5, 0.0)?.shape(), (3, 4, 5));
    /// # Ok::<(), miyasawa::image::ImageError>(())
    /// ```
    pub fn shape(&self) -> (usize, usize, usize) {
        (self.channels, self.height, self.width)
    }

    /// 1 for grey, 3 for red, green, blue.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// assert_eq!(Image::filled(3, 4, 5, 0.0)?.channels(), 3);
    /// # Ok::<(), miyasawa::image::ImageError>(())
    /// ```
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Rows.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// assert_eq!(Image::filled(3, 4, 5, 0.0)?.height(), 4);
    /// # Ok::<(), miyasawa::image::ImageError>(())
    /// ```
    pub fn height(&self) -> usize {
        self.height
    }

    /// Columns.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// assert_eq!(Image::filled(3, 4, 5, 0.0)?.width(), 5);
    /// # Ok::<(), miyasawa::image::ImageError>(())
    /// ```
    pub fn width(&self) -> usize {
        self.width
    }

    /// The values, (C, H, W).
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// assert_eq!(Image::filled(1, 1, 2, 0.5)?.values(), [0.5, 0.5]);
    /// # Ok::<(), miyasawa::image::ImageError>(())
    /// ```
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The values, (C, H, W).
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// assert_eq!(Image::filled(1, 1, 2, 0.5)?.into_values(), vec![0.5, 0.5]);
    /// # Ok::<(), miyasawa::image::ImageError>(())
    /// ```
    pub fn into_values(self) -> Vec<f32> {
        self.values
    }

    /// Converts the image to 1 channel (ITU-R BT.601 luma, 0.299 R + 0.587 G + 0.114 B) or 3 (grey
    /// repeated).
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let grey = Image::new((3, 1, 1), vec![1.0, 0.0, 0.0])?.to_channels(1)?;
    /// assert_eq!(grey.values(), [0.299]);
    /// # Ok::<(), miyasawa::image::ImageError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ImageError::Shape`] if `channels` is neither 1 nor 3.
    pub fn to_channels(&self, channels: usize) -> Result<Self, ImageError> {
        let values = match (self.channels, channels) {
            (1, 3) => self.values.repeat(3),
            (3, 1) => {
                let (red, rest) = self.values.split_at(self.height * self.width);
                let (green, blue) = rest.split_at(red.len());
                red.iter().zip(green).zip(blue).map(|((r, g), b)| luma([*r, *g, *b])).collect()
            }
            _ => self.values.clone(),
        };
        Ok(Self::new((channels, self.height, self.width), values)?.with_depth(self.depth))
    }

    /// Resizes the image, its aspect ratio not kept; antialiased bicubic (Keys, a = -1/2), clipped
    /// to [-1, 1].
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let image = Image::filled(3, 20, 30, 0.5)?.resize(8, 8)?;
    /// assert_eq!(image.shape(), (3, 8, 8));
    /// # Ok::<(), miyasawa::image::ImageError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ImageError::Shape`] if a side is 0 or the result would exceed [`MAX_PIXELS`].
    pub fn resize(&self, height: usize, width: usize) -> Result<Self, ImageError> {
        check_size(height, width)?;
        let from = (self.height, self.width);
        let values = self
            .values
            .chunks_exact(self.height * self.width)
            .flat_map(|plane| resample::resample(plane, from, (height, width)))
            .map(|value| value.clamp(-1.0, 1.0))
            .collect();
        Ok(Self::new((self.channels, height, width), values)?.with_depth(self.depth))
    }

    /// Resizes the image, its aspect ratio kept, until it just covers the size, and crops its
    /// centre: the preprocessing of a model's input. An image that has this size is returned
    /// unchanged.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let image = Image::filled(3, 20, 30, 0.5)?;
    /// assert_eq!(image.center_fit(8, 8)?.shape(), (3, 8, 8));
    /// assert_eq!(image.center_fit(20, 30)?, image);
    /// # Ok::<(), miyasawa::image::ImageError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Image::resize`].
    pub fn center_fit(&self, height: usize, width: usize) -> Result<Self, ImageError> {
        check_size(height, width)?;
        if (height, width) == (self.height, self.width) {
            return Ok(self.clone());
        }
        let values = cover(&self.values, self.channels, (self.height, self.width), (height, width));
        Ok(Self::new((self.channels, height, width), values)?.with_depth(self.depth))
    }
}

fn check_size(height: usize, width: usize) -> Result<(), ImageError> {
    let pixels = (height as u64).checked_mul(width as u64);
    if pixels.is_none_or(|pixels| pixels == 0 || pixels > MAX_PIXELS) {
        return Err(ImageError::Shape {
            expected: format!("a size from 1x1 to {MAX_PIXELS} pixels"),
            found: format!("{height}x{width}"),
        });
    }
    Ok(())
}
