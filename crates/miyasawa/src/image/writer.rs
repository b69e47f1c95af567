//! Files of images that are written: one page or several.

use std::path::Path;

use super::encodable::Encodable;
use super::encode::encode;
#[cfg(feature = "codecs")]
use super::frames::{Animation, WebPFrames};
use super::kind::{Format, check_built};
#[cfg(feature = "codecs")]
use super::png_frames::PngFrames;
#[cfg(feature = "codecs")]
use super::tiff_write::TiffPages;
use super::{ImageError, Page};
use crate::atomic::write_atomic;

/// Pages to be written to a file of a format.
pub struct ImageWriter {
    format: Format,
    quality: Option<u8>,
    #[cfg(feature = "codecs")]
    several: Several,
    bytes: Vec<u8>,
    pages: usize,
}

/// Formats of several pages.
#[cfg(feature = "codecs")]
enum Several {
    No,
    Tiff(TiffPages),
    /// An animation before its first image, which gives the size.
    Animation(Animation),
    Png(PngFrames, Animation),
    WebP(WebPFrames, super::metadata::Metadata, Animation),
}

impl ImageWriter {
    /// A file of a format, still empty.
    pub fn new(format: Format) -> Self {
        Self {
            format,
            quality: None,
            #[cfg(feature = "codecs")]
            several: match format {
                Format::Tiff => Several::Tiff(TiffPages::new()),
                _ => Several::No,
            },
            bytes: Vec::new(),
            pages: 0,
        }
    }

    /// Sets the quality of JPEG, 1 to 100; without it, that of the file that was read, at least 90.
    pub fn with_quality(self, quality: Option<u8>) -> Self {
        Self { quality, ..self }
    }

    /// The same file as an animation, where the format can hold one: PNG and WebP.
    #[cfg(feature = "codecs")]
    pub(super) fn with_animation(mut self, animation: Animation) -> Self {
        if matches!(self.format, Format::Png | Format::WebP) {
            self.several = Several::Animation(animation);
        }
        self
    }

    /// Whether the format has room for one more page.
    pub fn has_room(&self) -> bool {
        #[cfg(feature = "codecs")]
        match &self.several {
            Several::No => {}
            Several::Tiff(_) => return true,
            Several::Animation(all) | Several::Png(_, all) | Several::WebP(_, _, all) => {
                return self.pages < all.images;
            }
        }
        self.pages == 0
    }

    /// Adds a page; `path` is the name of the file to be, for messages.
    ///
    /// # Errors
    ///
    /// [`ImageError::Encode`] if the format cannot hold it, for example because it is too large;
    /// [`ImageError::NotBuilt`].
    pub fn add(&mut self, path: &Path, page: &Page) -> Result<(), ImageError> {
        check_built(path, self.format)?;
        let format = self.format;
        let error = |found: String| ImageError::Encode {
            path: path.to_owned(),
            format: format.name(),
            found,
        };
        if !self.has_room() {
            return Err(error("a second page".to_owned()));
        }
        let (image, mut metadata) = page.stored_in(format);
        metadata.quality = self.quality.or(metadata.quality_to_write());
        let content = Encodable {
            image: &image,
            alpha: page.opacity(),
            scale: page.extra().scale,
            tags: metadata.tags(),
            metadata: &metadata,
        };
        #[cfg(feature = "openexr")]
        if format == Format::Exr {
            let light = page.light().unwrap_or_else(super::light::Light::of_display);
            let light = |value| light.light(value);
            self.bytes = super::open_exr::encode(&content, page.extra().exr.as_ref(), light)
                .map_err(error)?;
            self.pages += 1;
            return Ok(());
        }
        #[cfg(feature = "codecs")]
        {
            let text = |e: &dyn std::fmt::Display| error(e.to_string().replace('\n', " "));
            if let Several::Animation(animation) = self.several {
                self.several = match format {
                    Format::Png => Several::Png(
                        PngFrames::new(&content, animation).map_err(|e| text(&e))?,
                        animation,
                    ),
                    _ => {
                        let size = content.size().map_err(|e| text(&e))?;
                        let frames = WebPFrames::new(animation, size);
                        Several::WebP(frames, metadata.clone(), animation)
                    }
                };
            }
            let delay = page.extra().delay.unwrap_or((100, 1));
            match &mut self.several {
                Several::Tiff(tiff) => tiff.add(&content).map_err(|e| text(&e))?,
                Several::Png(frames, _) => frames.add(&content, delay).map_err(|e| text(&e))?,
                Several::WebP(frames, _, _) => {
                    frames.add(&encode(format, &content).map_err(error)?, delay);
                }
                _ => self.bytes = encode(format, &content).map_err(error)?,
            }
        }
        #[cfg(not(feature = "codecs"))]
        {
            self.bytes = encode(format, &content).map_err(error)?;
        }
        self.pages += 1;
        Ok(())
    }

    /// The bytes of the file.
    pub fn into_bytes(self) -> Vec<u8> {
        #[cfg(feature = "codecs")]
        match self.several {
            Several::Tiff(tiff) => return tiff.finish(),
            Several::Png(frames, _) => return frames.finish(),
            Several::WebP(frames, metadata, _) => return frames.finish(&metadata),
            Several::No | Several::Animation(_) => {}
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
