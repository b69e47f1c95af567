//! Pictures from files and into files.

use std::path::Path;

use super::encode::{Content, encode};
use super::kind::Format;
use super::metadata::Metadata;
use super::tags::Tags;
use super::{Picture, PictureError, PictureFile};
use crate::atomic::write_atomic;

impl Picture {
    /// Opens a PNG, JPEG, WebP, TIFF, BMP or GIF file; its content, not its name, tells which.
    ///
    /// Grey pictures have 1 channel, colour 3. 16-bit samples keep their precision, and the picture is
    /// [to be stored](Picture::depth) with 16 bits again. EXIF orientation is applied, transparency is laid over white, CMYK is
    /// converted to RGB. Float samples are those of the range [0, 1]; samples of TIFF whose range says nothing of black and
    /// white (floats beyond [0, 1], signed and 32-bit numbers) are brought to what the file holds, with a warning. Of several
    /// pictures in a file the first is taken. [`PictureFile`] gives all of them, and what belongs to them.
    ///
    /// # Errors
    ///
    /// [`PictureError::Read`] or [`PictureError::Decode`], which name the path.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, PictureError> {
        let path = path.as_ref();
        let file = PictureFile::open(path)?;
        for note in file.notes() {
            tracing::warn!("{}: {note}", path.display());
        }
        if file.pages() > 1 {
            tracing::warn!("{}: the first of {} pages is taken", path.display(), file.pages());
        }
        Ok(file.page(0)?.into_opaque())
    }

    /// Decodes an image from the bytes of a file in memory; see [`Picture::open`].
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let bytes = Image::filled(3, 2, 2, 1.0)?.to_png()?;
    /// assert_eq!(Image::decode(&bytes)?.values(), [1.0; 12]);
    /// assert!(Image::decode(b"no image").is_err());
    /// # Ok::<(), miyasawa::picture::PictureError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`PictureError::Decode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, PictureError> {
        Ok(PictureFile::read("in memory", bytes)?.page(0)?.into_opaque())
    }

    /// Whether [`Picture::save`] can write to a file of this name: to be asked before long work.
    ///
    /// # Errors
    ///
    /// [`PictureError::Extension`].
    pub fn check_extension(path: impl AsRef<Path>) -> Result<(), PictureError> {
        format_of(path.as_ref()).map(drop)
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
        self.save_as(path, format_of(path)?)
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
        Ok(write_atomic(path, |file| std::io::Write::write_all(file, &bytes))?)
    }

    fn encode(&self, path: &Path, format: Format) -> Result<Vec<u8>, PictureError> {
        let (metadata, tags) = (&Metadata::default(), Tags::default());
        encode(format, &Content { picture: self, alpha: None, scale: None, metadata, tags })
            .map_err(|found| PictureError::Encode { path: path.to_owned(), format: format.name(), found })
    }
}

fn format_of(path: &Path) -> Result<Format, PictureError> {
    Format::of_name(path).ok_or_else(|| PictureError::Extension { path: path.to_owned() })
}

/// A value of [-1, 1], or what is nearest to it, as 16 bits.
pub(super) fn sixteen_bits(value: f32) -> u16 {
    (value * 32767.5 + 32767.5).round() as u16
}
