//! An image's file with its metadata, so that a copy that is written loses nothing.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::ImageFormat;

use super::decode::{DecodeError, open};
use super::encode::{Content, encode, over_white};
use super::kind::{Format, sniff};
use super::metadata::Metadata;
use super::raster::{Opacity, Raster, Samples};
#[cfg(feature = "codecs")]
use super::tiff_write::TiffPages;
use super::{Depth, Image, ImageError, Scale, TiffFile, file::check_built, planes};
use crate::atomic::write_atomic;
use crate::range::normalise;

/// Larger files are not read.
const MAX_FILE: u64 = 4 << 30;

/// An image's file that was read: one page, or the pages of a TIFF.
pub struct ImageFile {
    path: PathBuf,
    pub(super) bytes: Arc<[u8]>,
    format: ImageFormat,
    name: &'static str,
    pub(super) tiff: Option<TiffFile>,
    notes: Vec<String>,
}

/// An image with its transparency, colour profile, EXIF, resolution, and the format of its samples.
#[derive(Debug, Clone)]
pub struct Page {
    pub(super) image: Image,
    /// Opacity in [0, 1], and how it applies to the colours.
    alpha: Option<(Vec<f32>, Opacity)>,
    /// Invisible pixels (transparent, or not finite), and the values stored there: all of the first
    /// channel, of the second, ..
    unseen: Vec<u32>,
    stored: Vec<f32>,
    scale: Option<Scale>,
    metadata: Metadata,
}

impl ImageFile {
    /// Reads a file; see [`Image::open`] for the formats.
    ///
    /// # Errors
    ///
    /// [`ImageError::Read`] or [`ImageError::Decode`], which name the path.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ImageError> {
        let path = path.as_ref();
        let error = |source| ImageError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(error)?;
        if file.metadata().map_err(error)?.is_dir() {
            return Err(error(std::io::Error::other("it is a folder, not an image")));
        }
        Self::read(path, file)
    }

    /// Reads an image from a stream of bytes; `name` is for messages.
    ///
    /// # Errors
    ///
    /// As [`ImageFile::open`].
    pub fn read(name: impl AsRef<Path>, from: impl Read) -> Result<Self, ImageError> {
        let path = name.as_ref().to_owned();
        let error = |source| ImageError::Read { path: path.clone(), source };
        let mut bytes = Vec::new();
        from.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(error)?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(error(std::io::Error::other("the file is larger than 4 GiB")));
        }
        let decode = |source| ImageError::Decode { path: path.clone(), source };
        Self::from_bytes(path.clone(), bytes.into()).map_err(decode)
    }

    fn from_bytes(path: PathBuf, bytes: Arc<[u8]>) -> Result<Self, DecodeError> {
        let (format, name) = sniff(&bytes)?;
        let (tiff, mut notes) = match format {
            ImageFormat::Tiff => {
                let mut tiff = TiffFile::open(Arc::clone(&bytes))?;
                let notes = tiff.take_notes();
                (Some(tiff), notes)
            }
            _ => {
                open(&bytes, format, name)?;
                (None, Vec::new())
            }
        };
        if is_animated(format, &bytes) {
            notes.push("an animation: its first image is taken".to_owned());
        }
        Ok(Self { path, bytes, format, name, tiff, notes })
    }

    /// The format to write its images in: the same, but PNG for GIF.
    pub fn format(&self) -> Format {
        Format::for_input(self.format)
    }

    /// How many pages it has.
    pub fn pages(&self) -> usize {
        self.tiff.as_ref().map_or(1, TiffFile::pages)
    }

    /// Notes on pages and metadata that were left out, merged or guessed, a sentence each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Pixels of a page.
    ///
    /// # Errors
    ///
    /// [`ImageError::Decode`], which names the path.
    pub fn pixels(&self, page: usize) -> Result<u64, ImageError> {
        let found = match &self.tiff {
            Some(tiff) => tiff.size(page).map(|(width, height)| width as u64 * height as u64),
            None => open(&self.bytes, self.format, self.name)
                .map(|opened| u64::from(opened.size().0) * u64::from(opened.size().1)),
        };
        found.map_err(|source| ImageError::Decode { path: self.path.clone(), source })
    }

    /// Decodes a page; pages are numbered from 0.
    ///
    /// # Errors
    ///
    /// [`ImageError::Decode`], which names the path.
    ///
    /// # Panics
    ///
    /// If there is no such page.
    pub fn page(&self, page: usize) -> Result<Page, ImageError> {
        assert!(page < self.pages(), "page {page} of {}", self.pages());
        let error = |source| ImageError::Decode { path: self.path.clone(), source };
        let (raster, mut metadata, scale) = match &self.tiff {
            Some(tiff) => {
                let raster = tiff.raster(page).map_err(error)?;
                let scale = tiff.scale().filter(|_| matches!(raster.samples, Samples::Float(_)));
                (raster, tiff.metadata(page), scale)
            }
            None => {
                let mut opened = open(&self.bytes, self.format, self.name).map_err(error)?;
                let described = opened.described();
                let metadata =
                    Metadata::read(self.format(), &self.bytes, described).map_err(error)?;
                (opened.raster().map_err(error)?, metadata, None)
            }
        };
        metadata.set_upright((raster.width, raster.height), raster.turned);
        Page::new(raster, metadata, scale)
    }
}

impl Page {
    fn new(raster: Raster, metadata: Metadata, scale: Option<Scale>) -> Result<Self, ImageError> {
        let (channels, depth) = (raster.channels, raster.depth());
        let shape = (channels, raster.height, raster.width);
        let (mut values, bits, alpha) = match raster.samples {
            Samples::Eight(samples) => {
                let mut values = planes(&samples, depth, normalise);
                let alpha = values.split_off(channels * samples.len() / depth);
                (values, Depth::Eight, alpha)
            }
            Samples::Sixteen(samples) => {
                let mut values = planes(&samples, depth, |v| f32::from(v) / 32767.5 - 1.0);
                let alpha = values.split_off(channels * samples.len() / depth);
                (values, Depth::Sixteen, alpha)
            }
            Samples::Float(samples) => {
                let mut values = planes(&samples, depth, |v| 2.0 * v - 1.0);
                let alpha = values.split_off(channels * samples.len() / depth);
                (values, Depth::Sixteen, alpha)
            }
        };
        let opacity = |v: f32| ((v + 1.0) / 2.0).clamp(0.0, 1.0);
        let alpha =
            raster.opacity.map(|kind| (alpha.into_iter().map(opacity).collect::<Vec<f32>>(), kind));
        let plane = raster.height * raster.width;
        let clear = |at: usize| alpha.as_ref().is_some_and(|(alpha, _)| alpha[at] == 0.0);
        let not_finite = |at: usize| values[at..].iter().step_by(plane).any(|v| !v.is_finite());
        let unseen: Vec<u32> = match (&alpha, scale) {
            (None, None) => Vec::new(),
            _ => {
                (0..plane).filter(|at| clear(*at) || not_finite(*at)).map(|at| at as u32).collect()
            }
        };
        let mut stored = Vec::with_capacity(channels * unseen.len());
        for plane in values.chunks_exact_mut(plane) {
            for at in &unseen {
                // White, as transparent pixels are shown: their values must not leak into visible
                // pixels.
                stored.push(std::mem::replace(&mut plane[*at as usize], 1.0));
            }
        }
        let image = Image::new(shape, values)?.with_depth(bits);
        Ok(Self { image, alpha, unseen, stored, scale, metadata })
    }

    /// The colours; invisible pixels (transparent, or not finite) are white.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// The image laid over white where it is transparent, as a page shows it.
    pub fn into_opaque(self) -> Image {
        match &self.alpha {
            Some((alpha, kind)) => over_white(&self.image, alpha, *kind),
            None => self.image,
        }
    }

    /// The same page with other colours, for example denoised ones. Invisible pixels keep their
    /// stored values.
    ///
    /// # Errors
    ///
    /// [`ImageError::Shape`] if the image has another size or other channels.
    pub fn with_image(self, image: Image) -> Result<Self, ImageError> {
        if image.shape() != self.image.shape() {
            return Err(ImageError::Shape {
                expected: format!("{:?} as the page", self.image.shape()),
                found: format!("{:?}", image.shape()),
            });
        }
        let mut image = image.with_depth(self.image.depth());
        let plane = image.height() * image.width();
        let mut stored = self.stored.iter();
        for values in image.values.chunks_exact_mut(plane) {
            for (at, value) in self.unseen.iter().zip(&mut stored) {
                values[*at as usize] = *value;
            }
        }
        Ok(Self { image, ..self })
    }

    /// The properties of the page that a file of this format cannot hold, a few words each.
    pub fn lost_in(&self, format: Format) -> Vec<String> {
        let mut lost = Vec::new();
        if self.alpha.is_some() && matches!(format, Format::Jpeg | Format::Bmp) {
            lost.push("transparency (laid over white)".to_owned());
        }
        if self.scale.is_some() && format != Format::Tiff {
            lost.push("sample type (samples are scaled to black and white)".to_owned());
        }
        if self.image.depth() == Depth::Sixteen && !matches!(format, Format::Png | Format::Tiff) {
            lost.push("16 bits (8 are written)".to_owned());
        }
        if let Some(profile) = self.unfit_profile(format) {
            lost.push(format!("colour profile (it is one of {profile}, the pixels are not)"));
        }
        lost.extend(self.metadata.lost(format).into_iter().map(str::to_owned));
        lost
    }

    #[cfg(test)]
    pub(super) fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    #[cfg(test)]
    pub(super) fn with_metadata(self, metadata: Metadata) -> Self {
        Self { metadata, ..self }
    }

    #[cfg(test)]
    pub(super) fn alpha(&self) -> Option<&[f32]> {
        self.alpha.as_ref().map(|(alpha, _)| alpha.as_slice())
    }

    #[cfg(test)]
    pub(super) fn stored(&self) -> &[f32] {
        &self.stored
    }

    /// The kind of a colour profile that does not describe the pixels that are written.
    fn unfit_profile(&self, format: Format) -> Option<String> {
        let kind = self.metadata.profile_of()?;
        let grey = self.image.channels() == 1 && format != Format::WebP;
        // A profile of colours describes grey too.
        let matching = kind == b"RGB " || (kind == b"GRAY" && grey);
        (!matching).then(|| String::from_utf8_lossy(kind).trim().to_owned())
    }
}

/// Pages to be written to a file of a format.
pub struct ImageWriter {
    format: Format,
    #[cfg(feature = "codecs")]
    tiff: TiffPages,
    bytes: Vec<u8>,
    pages: usize,
}

impl ImageWriter {
    /// A file of a format, still empty.
    pub fn new(format: Format) -> Self {
        Self {
            format,
            #[cfg(feature = "codecs")]
            tiff: TiffPages::new(),
            bytes: Vec::new(),
            pages: 0,
        }
    }

    /// Whether the format has room for one more page.
    pub fn has_room(&self) -> bool {
        self.pages == 0 || self.format == Format::Tiff
    }

    /// Adds a page; `path` is the name of the file to be, for messages.
    ///
    /// # Errors
    ///
    /// [`ImageError::Encode`] if the format cannot hold it, for example because it is too large;
    /// [`ImageError::NotBuilt`].
    pub fn add(&mut self, path: &Path, page: &Page) -> Result<(), ImageError> {
        check_built(path, self.format)?;
        let error =
            |found| ImageError::Encode { path: path.to_owned(), format: self.format.name(), found };
        if !self.has_room() {
            return Err(error("a second page".to_owned()));
        }
        let mut metadata = page.metadata.clone();
        if page.unfit_profile(self.format).is_some() {
            metadata.icc = None;
        }
        let content = Content {
            image: &page.image,
            alpha: page.alpha.as_ref().map(|(alpha, kind)| (alpha.as_slice(), *kind)),
            scale: page.scale,
            tags: metadata.tags(),
            metadata: &metadata,
        };
        match self.format {
            #[cfg(feature = "codecs")]
            Format::Tiff => {
                self.tiff.add(&content).map_err(|e| error(e.to_string().replace('\n', " ")))?
            }
            format => self.bytes = encode(format, &content).map_err(error)?,
        }
        self.pages += 1;
        Ok(())
    }

    /// The bytes of the file.
    pub fn into_bytes(self) -> Vec<u8> {
        #[cfg(feature = "codecs")]
        if self.format == Format::Tiff {
            return self.tiff.finish();
        }
        self.bytes
    }

    /// Writes the file, completely or not at all.
    ///
    /// # Errors
    ///
    /// [`ImageError::Write`], which names the path.
    pub fn save(self, path: &Path) -> Result<(), ImageError> {
        let bytes = self.into_bytes();
        Ok(write_atomic(path, |file| std::io::Write::write_all(file, &bytes))?)
    }
}

/// Whether a file holds more than one image in a row.
fn is_animated(format: ImageFormat, bytes: &[u8]) -> bool {
    match format {
        ImageFormat::Gif => gif_images(bytes).unwrap_or(2) > 1,
        ImageFormat::WebP => {
            bytes.get(12..16) == Some(b"VP8X") && bytes.get(20).is_some_and(|flags| flags & 2 != 0)
        }
        ImageFormat::Png => bytes.windows(4).take(1 << 16).any(|name| name == b"acTL"),
        _ => false,
    }
}

/// How many images a GIF holds, up to two (GIF89a, section 12 and after).
fn gif_images(bytes: &[u8]) -> Option<usize> {
    let table = |flags: u8| if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) };
    let mut at = 13 + table(*bytes.get(10)?);
    let mut found = 0;
    while found < 2 {
        match bytes.get(at) {
            Some(0x2c) => {
                found += 1;
                at += 11 + table(*bytes.get(at + 9)?);
            }
            Some(0x21) => at += 2,
            _ => break,
        }
        // Blocks, each with its length before it, up to an empty one.
        while let Some(length) = bytes.get(at) {
            at += 1 + usize::from(*length);
            if *length == 0 {
                break;
            }
        }
    }
    Some(found)
}
