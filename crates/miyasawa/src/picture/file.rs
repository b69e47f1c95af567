//! Pictures from files and into files.

use std::fs::File;
use std::io::{Cursor, Read, Write};
use std::path::Path;

use image::codecs::bmp::BmpEncoder;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::codecs::tiff::TiffEncoder;
use image::codecs::webp::WebPEncoder;
use image::{ExtendedColorType, ImageEncoder};

use super::{Depth, Picture, PictureError, decode};
use crate::atomic::write_atomic;
use crate::data::denormalise;

/// Quality of JPEG files written, of 100: high, for pictures are compared by eye.
const JPEG_QUALITY: u8 = 95;

/// A larger file is not read: no picture within [`super::MAX_PIXELS`] needs more.
const MAX_FILE: u64 = 1 << 30;

/// A format that can be written.
#[derive(Debug, Clone, Copy)]
enum Format {
    Png,
    Jpeg,
    WebP,
    Tiff,
    Bmp,
}

impl Format {
    fn of(path: &Path) -> Result<Self, PictureError> {
        let extension =
            path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
        match extension.as_str() {
            "png" => Ok(Self::Png),
            "jpg" | "jpeg" => Ok(Self::Jpeg),
            "webp" => Ok(Self::WebP),
            "tif" | "tiff" => Ok(Self::Tiff),
            "bmp" => Ok(Self::Bmp),
            _ => Err(PictureError::Extension { path: path.to_owned() }),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
            Self::WebP => "WebP",
            Self::Tiff => "TIFF",
            Self::Bmp => "BMP",
        }
    }
}

impl Picture {
    /// Opens a PNG, JPEG, WebP, TIFF, BMP or GIF file; its content, not its name, tells which.
    ///
    /// Grey pictures have 1 channel, colour 3. 16-bit samples keep their precision, and the picture is
    /// [to be stored](Picture::depth) with 16 bits again. EXIF orientation is applied, transparency is laid over white, CMYK is
    /// converted to RGB. Float samples are those of the range [0, 1]; of several pictures in a file the first is taken.
    ///
    /// # Errors
    ///
    /// [`PictureError::Read`] or [`PictureError::Decode`], which name the path.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, PictureError> {
        let path = path.as_ref();
        let error = |source| PictureError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(error)?;
        if file.metadata().map_err(error)?.is_dir() {
            return Err(error(std::io::Error::other("it is a folder, not a picture")));
        }
        let mut bytes = Vec::new();
        file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(error)?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(error(std::io::Error::other("the file is larger than 1 GiB")));
        }
        let decoded =
            decode(&bytes).map_err(|source| PictureError::Decode { path: path.to_owned(), source })?;
        decoded.into_picture()
    }

    /// Whether [`Picture::save`] can write to a file of this name: to be asked before long work.
    ///
    /// # Errors
    ///
    /// [`PictureError::Extension`].
    pub fn check_extension(path: impl AsRef<Path>) -> Result<(), PictureError> {
        Format::of(path.as_ref()).map(drop)
    }

    /// Saves the picture in the format that the name's extension tells: PNG, JPEG (quality 95), WebP (lossless), TIFF or BMP;
    /// with its own [depth](Picture::depth) where the format has it, else with 8 bits a value. Values are clipped to [-1, 1].
    /// The file appears whole or not at all.
    ///
    /// # Errors
    ///
    /// [`PictureError::Extension`], [`PictureError::Encode`] or [`PictureError::Write`], which name the path.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), PictureError> {
        let path = path.as_ref();
        self.save_as(path, Format::of(path)?)
    }

    /// Saves the picture as a PNG whatever the name. Otherwise as [`Picture::save`].
    ///
    /// # Errors
    ///
    /// [`PictureError::Encode`] or [`PictureError::Write`], which name the path.
    pub fn save_png(&self, path: impl AsRef<Path>) -> Result<(), PictureError> {
        self.save_as(path.as_ref(), Format::Png)
    }

    /// The bytes of the picture as a PNG file, for pages that embed it.
    ///
    /// # Errors
    ///
    /// [`PictureError::Encode`].
    pub fn to_png(&self) -> Result<Vec<u8>, PictureError> {
        self.encode(Path::new("picture"), Format::Png)
    }

    fn save_as(&self, path: &Path, format: Format) -> Result<(), PictureError> {
        let bytes = self.encode(path, format)?;
        Ok(write_atomic(path, |file| file.write_all(&bytes))?)
    }

    fn encode(&self, path: &Path, format: Format) -> Result<Vec<u8>, PictureError> {
        let error =
            |found: String| PictureError::Encode { path: path.to_owned(), format: format.name(), found };
        let plane = self.height * self.width;
        let values = (0..plane).flat_map(|at| self.values[at..].iter().step_by(plane));
        let wide = self.depth == Depth::Sixteen && matches!(format, Format::Png | Format::Tiff);
        let samples: Vec<u8> = if wide {
            values.flat_map(|&value| sixteen_bits(value).to_ne_bytes()).collect()
        } else {
            values.map(|&value| denormalise(value)).collect()
        };
        let colour = match (self.channels, wide) {
            (1, false) => ExtendedColorType::L8,
            (1, true) => ExtendedColorType::L16,
            (_, false) => ExtendedColorType::Rgb8,
            (_, true) => ExtendedColorType::Rgb16,
        };
        let (Ok(width), Ok(height)) = (u32::try_from(self.width), u32::try_from(self.height)) else {
            return Err(error(format!("a size of {}x{}", self.height, self.width)));
        };
        let mut bytes = Cursor::new(Vec::new());
        let written = match format {
            Format::Png => PngEncoder::new(&mut bytes).write_image(&samples, width, height, colour),
            Format::Jpeg => JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY)
                .write_image(&samples, width, height, colour),
            Format::WebP => {
                WebPEncoder::new_lossless(&mut bytes).write_image(&samples, width, height, colour)
            }
            Format::Tiff => TiffEncoder::new(&mut bytes).write_image(&samples, width, height, colour),
            Format::Bmp => BmpEncoder::new(&mut bytes).write_image(&samples, width, height, colour),
        };
        written.map_err(|e| error(e.to_string().replace('\n', " ")))?;
        Ok(bytes.into_inner())
    }
}

/// A value of [-1, 1], or what is nearest to it, as 16 bits.
fn sixteen_bits(value: f32) -> u16 {
    (value * 32767.5 + 32767.5).round() as u16
}
