//! The file of an image: its format, its pages, and what belongs to them.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::decode::{Bound, DecodeError, open};
#[cfg(feature = "codecs")]
use super::frames::Frames;
#[cfg(feature = "jpeg-xl")]
use super::jxl::JxlFile;
use super::kind::{Format, Input, sniff};
use super::light::{self, Origin};
use super::metadata::Metadata;
#[cfg(feature = "openexr")]
use super::open_exr::ExrFile;
use super::raster::Samples;
use super::{ImageError, ImageWriter, Page, TiffFile};

/// Larger files are not read.
const MAX_FILE: u64 = 4 << 30;

/// An image's file that was read: one page, the pages of a TIFF, or the images of an animation.
///
/// ```
/// use miyasawa::image::{Format, Image, ImageFile};
/// let png = Image::filled(3, 4, 5, 0.5)?.to_png()?;
/// let file = ImageFile::read("in memory", png.as_slice())?;
/// assert_eq!((file.pages(), file.pixels(0)?, file.format()), (1, 20, Format::Png));
/// # Ok::<(), miyasawa::image::ImageError>(())
/// ```
pub struct ImageFile {
    path: PathBuf,
    pub(super) bytes: Arc<[u8]>,
    input: Input,
    pub(super) store: Store,
    notes: Vec<String>,
    linear: Option<bool>,
    bound: Bound,
}

/// Where pages come from.
pub(super) enum Store {
    Still,
    Tiff(Box<TiffFile>),
    #[cfg(feature = "codecs")]
    Frames(Frames),
    #[cfg(feature = "jpeg-xl")]
    Jxl(Box<JxlFile>),
    #[cfg(feature = "openexr")]
    Exr(ExrFile),
}

impl ImageFile {
    /// Reads a file; see [`Image::open`](super::Image::open) for the formats.
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
        Self::read_within(name, from, super::MAX_PIXELS)
    }

    /// As [`read`](ImageFile::read), for an image of at most `pixels` pixels, each page of it: a
    /// larger one is refused by its header, before memory is asked for. For programs that read
    /// what strangers send.
    ///
    /// ```
    /// use miyasawa::image::{Image, ImageFile};
    /// let png = Image::filled(3, 4, 5, 0.5)?.to_png()?;
    /// assert!(ImageFile::read_within("in memory", png.as_slice(), 20).is_ok());
    /// let error = ImageFile::read_within("in memory", png.as_slice(), 19).err();
    /// let text = "in memory: expected an image of at most 19 pixels, found one of 5x4";
    /// assert!(error.is_some_and(|error| error.to_string().starts_with(text)));
    /// # Ok::<(), miyasawa::image::ImageError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`ImageFile::open`].
    pub fn read_within(
        name: impl AsRef<Path>,
        from: impl Read,
        pixels: u64,
    ) -> Result<Self, ImageError> {
        let path = name.as_ref().to_owned();
        let error = |source| ImageError::Read { path: path.clone(), source };
        let mut bytes = Vec::new();
        from.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(error)?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(error(std::io::Error::other("the file is larger than 4 GiB")));
        }
        let decode = |source| ImageError::Decode { path: path.clone(), source };
        Self::from_bytes(path.clone(), bytes.into(), Bound::new(pixels)).map_err(decode)
    }

    fn from_bytes(path: PathBuf, bytes: Arc<[u8]>, bound: Bound) -> Result<Self, DecodeError> {
        let input = sniff(&bytes)?;
        let mut notes = Vec::new();
        let store = match input {
            Input::Tiff => {
                let mut tiff = TiffFile::open(Arc::clone(&bytes), bound)?;
                notes = tiff.take_notes();
                Store::Tiff(Box::new(tiff))
            }
            #[cfg(feature = "jpeg-xl")]
            Input::Jxl => {
                let file = JxlFile::open(&bytes, bound)?;
                if file.is_animated() {
                    notes.push("an animation in JPEG XL: its first image is taken".to_owned());
                }
                Store::Jxl(Box::new(file))
            }
            #[cfg(feature = "openexr")]
            Input::Exr => {
                let mut file = ExrFile::open(&bytes, bound)?;
                notes = file.take_notes();
                Store::Exr(file)
            }
            _ => {
                open(&bytes, input, bound)?;
                #[cfg(feature = "codecs")]
                let store = Frames::open(&bytes, input, bound)?.map_or(Store::Still, Store::Frames);
                #[cfg(not(feature = "codecs"))]
                let store = Store::Still;
                store
            }
        };
        Ok(Self { path, bytes, input, store, notes, linear: None, bound })
    }

    /// Says whether values are linear light, in proportion to the light, instead of what the file
    /// says: pages are then brought to display values, and back when they are written.
    pub fn with_linear(self, linear: bool) -> Self {
        Self { linear: Some(linear), ..self }
    }

    /// The format to write its images in: the same, but PNG for GIF and JPEG XL.
    pub fn format(&self) -> Format {
        self.input.output()
    }

    /// How many pages it has: one, those of a TIFF, or the images of an animation.
    pub fn pages(&self) -> usize {
        match &self.store {
            Store::Tiff(tiff) => tiff.pages(),
            #[cfg(feature = "codecs")]
            Store::Frames(frames) => frames.animation.images,
            _ => 1,
        }
    }

    /// What its pages are called: `page`, or `image` of an animation.
    pub fn page_name(&self) -> &'static str {
        match &self.store {
            #[cfg(feature = "codecs")]
            Store::Frames(_) => "image",
            _ => "page",
        }
    }

    /// A file of a format for its pages, still empty: an animation where the format can hold one.
    pub fn writer(&self, format: Format) -> ImageWriter {
        match &self.store {
            #[cfg(feature = "codecs")]
            Store::Frames(frames) => ImageWriter::new(format).with_animation(frames.animation),
            _ => ImageWriter::new(format),
        }
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
        let found = match &self.store {
            Store::Still => open(&self.bytes, self.input, self.bound)
                .map(|opened| (opened.size().0 as usize, opened.size().1 as usize)),
            Store::Tiff(tiff) => tiff.size(page),
            #[cfg(feature = "codecs")]
            Store::Frames(frames) => Ok((frames.size().0 as usize, frames.size().1 as usize)),
            #[cfg(feature = "jpeg-xl")]
            Store::Jxl(file) => Ok(file.size()),
            #[cfg(feature = "openexr")]
            Store::Exr(file) => Ok(file.size()),
        };
        let error = |source| ImageError::Decode { path: self.path.clone(), source };
        found.map(|(width, height)| width as u64 * height as u64).map_err(error)
    }

    /// Decodes a page; pages are numbered from 0. The images of an animation are decoded fastest in
    /// their order.
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
        self.decode(page).map_err(|source| ImageError::Decode { path: self.path.clone(), source })
    }

    fn decode(&self, page: usize) -> Result<Page, DecodeError> {
        let mut extra = super::page::Extra::default();
        // Black and white in units of white, where values lie beyond these.
        #[cfg_attr(not(feature = "codecs"), allow(unused_mut))]
        let mut range = (0.0, 1.0);
        let by_format = self.input == Input::Exr;
        let (raster, mut metadata) = match &self.store {
            Store::Tiff(tiff) => {
                let raster = tiff.raster(page)?;
                extra.scale = tiff.scale().filter(|_| matches!(raster.samples, Samples::Float(_)));
                #[cfg(feature = "codecs")]
                if let Some(scale) = extra.scale.filter(|scale| scale.kind.is_float()) {
                    range = (scale.low, scale.high);
                }
                (raster, tiff.metadata(page))
            }
            #[cfg(feature = "codecs")]
            Store::Frames(frames) => {
                let (raster, delay) = frames.raster(page)?;
                extra.delay = Some(delay);
                let described = open(&self.bytes, self.input, self.bound)?.described();
                (raster, Metadata::read(self.input, &self.bytes, described)?)
            }
            #[cfg(feature = "jpeg-xl")]
            Store::Jxl(file) => {
                let metadata = Metadata::read(self.input, &self.bytes, file.described())?;
                (file.raster()?, metadata)
            }
            #[cfg(feature = "openexr")]
            Store::Exr(file) => {
                let (raster, found) = file.raster();
                range = found;
                extra.exr = Some(file.kept());
                extra.scale = Some(super::Scale::float(found));
                (raster, Metadata::default())
            }
            Store::Still => {
                let mut opened = open(&self.bytes, self.input, self.bound)?;
                let metadata = Metadata::read(self.input, &self.bytes, opened.described())?;
                (opened.raster()?, metadata)
            }
        };
        metadata.set_upright((raster.width, raster.height), raster.turned);
        let origin = match self.linear {
            Some(true) => Some(Origin::Told),
            Some(false) => None,
            None if by_format => Some(Origin::Format),
            None => light::origin(&metadata),
        };
        Page::new(raster, metadata, extra, origin.map(|origin| (origin, range)))
            .map_err(|e| DecodeError::Damaged { format: self.input.name(), found: e.to_string() })
    }
}
