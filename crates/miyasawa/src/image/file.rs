//! Images from files and into files.

use std::path::Path;

use super::encodable::Encodable;
use super::encode::encode;
use super::kind::{Format, check_built};
use super::metadata::Metadata;
use super::tags::Tags;
use super::{Image, ImageError, ImageFile};
use crate::atomic::write_atomic;

impl Image {
    /// Opens a PNG or JPEG file, with the feature `codecs` a WebP, TIFF, BMP, GIF, QOI or PNM file,
    /// and with features of their own JPEG XL (`jpeg-xl`) and OpenEXR (`openexr`); its content, not
    /// its name, determines the format.
    ///
    /// Grey images have 1 channel, colour 3. 16-bit samples keep their precision, and the image is
    /// [to be stored](Image::depth) with 16 bits again. EXIF orientation is applied, transparency
    /// is laid over white, CMYK is converted to RGB. Float samples lie in [0, 1]; samples of TIFF
    /// whose type does not determine black and white (floats beyond [0, 1], signed and 32-bit
    /// numbers) are scaled by the range of the file's values, with a warning. Linear light (of
    /// OpenEXR, or by the colour profile) becomes display values. Of several images in a file the
    /// first is taken. [`ImageFile`] reads all of them, and their metadata.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let frog = Image::open("../../docs/book/src/figures/frog.jpg")?;
    /// assert_eq!(frog.shape(), (3, 32, 32));
    /// assert!(Image::open("no such file").is_err());
    /// # Ok::<(), miyasawa::image::ImageError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ImageError::Read`] or [`ImageError::Decode`], which name the path.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ImageError> {
        let path = path.as_ref();
        let file = ImageFile::open(path)?;
        for note in file.notes() {
            tracing::warn!("{}: {note}", path.display());
        }
        if file.pages() > 1 {
            tracing::warn!("{}: the first of {} pages is taken", path.display(), file.pages());
        }
        Ok(file.page(0)?.into_opaque())
    }

    /// Decodes an image from the bytes of a file in memory; see [`Image::open`].
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let bytes = Image::filled(3, 2, 2, 1.0)?.to_png()?;
    /// assert_eq!(Image::decode(&bytes)?.values(), [1.0; 12]);
    /// assert!(Image::decode(b"no image").is_err());
    /// # Ok::<(), miyasawa::image::ImageError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ImageError::Decode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ImageError> {
        Ok(ImageFile::read("in memory", bytes)?.page(0)?.into_opaque())
    }

    /// Checks that [`Image::save`] can write to a file of this name: to be called before long work.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// assert!(Image::check_extension("clean.png").is_ok());
    /// assert!(Image::check_extension("clean.txt").is_err());
    /// ```
    ///
    /// # Errors
    ///
    /// [`ImageError::Extension`] or [`ImageError::NotBuilt`].
    pub fn check_extension(path: impl AsRef<Path>) -> Result<(), ImageError> {
        format_of(path.as_ref()).map(drop)
    }

    /// Saves the image in the format of the name's extension: PNG, JPEG (quality 95), with the
    /// feature `codecs` WebP (lossless), TIFF, BMP, QOI or PNM, with `openexr` OpenEXR; with its
    /// own [depth](Image::depth) where the format has it, else with 8 bits a value. Values are
    /// clipped to [-1, 1]. The file is written completely or not at all.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("image.png");
    /// Image::filled(1, 2, 2, 1.0)?.save(&path)?;
    /// assert_eq!(Image::open(&path)?.values(), [1.0; 4]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ImageError::Extension`], [`ImageError::NotBuilt`], [`ImageError::Encode`] or
    /// [`ImageError::Write`], which name the path.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), ImageError> {
        let path = path.as_ref();
        self.save_as(path, format_of(path)?)
    }

    /// Saves the image as a PNG whatever the name. Otherwise as [`Image::save`].
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("image");
    /// Image::filled(1, 2, 2, 1.0)?.save_png(&path)?;
    /// assert_eq!(Image::open(&path)?.values(), [1.0; 4]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ImageError::Encode`] or [`ImageError::Write`], which name the path.
    pub fn save_png(&self, path: impl AsRef<Path>) -> Result<(), ImageError> {
        self.save_as(path.as_ref(), Format::Png)
    }

    /// Encodes the image as a PNG file in memory, for pages that embed it.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let png = Image::filled(1, 2, 2, 1.0)?.to_png()?;
    /// assert!(png.starts_with(b"\x89PNG"));
    /// # Ok::<(), miyasawa::image::ImageError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ImageError::Encode`].
    pub fn to_png(&self) -> Result<Vec<u8>, ImageError> {
        self.encode(Path::new("image"), Format::Png)
    }

    fn save_as(&self, path: &Path, format: Format) -> Result<(), ImageError> {
        let bytes = self.encode(path, format)?;
        Ok(write_atomic(path, |file| std::io::Write::write_all(file, &bytes))?)
    }

    fn encode(&self, path: &Path, format: Format) -> Result<Vec<u8>, ImageError> {
        check_built(path, format)?;
        let (metadata, tags) = (&Metadata::default(), Tags::default());
        encode(format, &Encodable { image: self, alpha: None, scale: None, metadata, tags })
            .map_err(|found| ImageError::Encode {
                path: path.to_owned(),
                format: format.name(),
                found,
            })
    }
}

fn format_of(path: &Path) -> Result<Format, ImageError> {
    let found = Format::of_name(path);
    let format = found.ok_or_else(|| ImageError::Extension { path: path.to_owned() })?;
    check_built(path, format)?;
    Ok(format)
}
