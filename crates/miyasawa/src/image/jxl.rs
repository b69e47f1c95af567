//! JPEG XL, which is read and not written.

use jxl_oxide::image::BitDepth;
use jxl_oxide::{AllocTracker, AuxBoxData, ExtraChannelType, JxlImage, PixelFormat};

use super::decode::{Bound, DecodeError, one_line};
use super::raster::{Opacity, Raster, Samples};

/// A file whose frames are loaded and not rendered yet.
pub(super) struct JxlFile {
    image: JxlImage,
    /// EXIF without the offset that its box begins with, as some programs write it.
    bare_exif: Option<Vec<u8>>,
}

fn damaged(found: impl std::fmt::Display) -> DecodeError {
    DecodeError::Damaged { format: "JPEG XL", found: one_line(found) }
}

impl JxlFile {
    /// Reads the header and the frames of a file.
    pub fn open(bytes: &[u8], bound: Bound) -> Result<Self, DecodeError> {
        let limit = usize::try_from(bound.pixels * 32).unwrap_or(usize::MAX);
        let image = JxlImage::builder()
            .alloc_tracker(AllocTracker::with_limit(limit))
            .read(bytes)
            .map_err(damaged)?;
        bound.check_size("JPEG XL", (image.width(), image.height()))?;
        if image.num_loaded_keyframes() == 0 || !image.is_loading_done() {
            return Err(damaged("a JPEG XL file that is truncated"));
        }
        if image.pixel_format().has_black() {
            let found = "colours of CMYK: convert it to RGB first".to_owned();
            return Err(DecodeError::Unsupported { format: "JPEG XL", found });
        }
        Ok(Self { image, bare_exif: bare_exif(bytes) })
    }

    /// Whether it holds more than one image in a row.
    pub fn is_animated(&self) -> bool {
        self.image.num_loaded_keyframes() > 1
    }

    /// (width, height), upright.
    pub fn size(&self) -> (usize, usize) {
        (self.image.width() as usize, self.image.height() as usize)
    }

    /// Colour profile, EXIF and XMP. Colours of sRGB need no profile.
    pub fn described(&self) -> [Option<Vec<u8>>; 3] {
        let header = &self.image.image_header().metadata;
        let plain = header.colour_encoding.is_srgb();
        let boxes = self.image.aux_boxes();
        let exif = self.bare_exif.clone().or_else(|| match boxes.first_exif() {
            Ok(AuxBoxData::Data(exif)) => {
                exif.payload().get(exif.tiff_header_offset() as usize..).map(<[u8]>::to_vec)
            }
            _ => None,
        });
        let xmp = match boxes.first_xml() {
            AuxBoxData::Data(xmp) => Some(xmp.to_vec()),
            _ => None,
        };
        let icc = (!plain).then(|| self.image.rendered_icc()).filter(|icc| !icc.is_empty());
        [icc, exif, xmp]
    }

    /// Decodes the first image, upright.
    pub fn raster(&self) -> Result<Raster, DecodeError> {
        let render = self.image.render_frame(0).map_err(damaged)?;
        let mut stream = render.stream();
        let (width, height) = (stream.width() as usize, stream.height() as usize);
        let depth = stream.channels() as usize;
        let format = self.image.pixel_format();
        let channels = if format.is_grayscale() { 1 } else { 3 };
        let has_alpha = matches!(format, PixelFormat::Graya | PixelFormat::Rgba);
        if depth != channels + usize::from(has_alpha) {
            return Err(damaged(format!("{depth} channels where {channels} are declared")));
        }
        let header = &self.image.image_header().metadata;
        let premultiplied = header
            .ec_info
            .iter()
            .any(|e| matches!(e.ty, ExtraChannelType::Alpha { alpha_associated: true }));
        let count = width * height * depth;
        let samples = match header.bit_depth {
            BitDepth::IntegerSample { bits_per_sample: ..=8 } => {
                let mut samples = vec![0u8; count];
                stream.write_to_buffer(&mut samples);
                Samples::Eight(samples)
            }
            // Floats are stored with 16 bits, as PNG holds them.
            _ => {
                let mut samples = vec![0u16; count];
                stream.write_to_buffer(&mut samples);
                Samples::Sixteen(samples)
            }
        };
        let opacity = has_alpha.then_some(if premultiplied {
            Opacity::Premultiplied
        } else {
            Opacity::Straight
        });
        Ok(Raster { channels, opacity, height, width, samples, turned: false })
    }
}

/// The content of the first box of EXIF, if it begins with the byte order.
fn bare_exif(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut rest = bytes;
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let (name, _) = after.split_first_chunk::<4>()?;
        let (whole, next) = rest.split_at_checked(length).filter(|_| length >= 8)?;
        if name == b"Exif" {
            let begins = [b"II*\0", b"MM\0*"].iter().any(|order| whole[8..].starts_with(*order));
            return begins.then(|| whole[8..].to_vec());
        }
        rest = next;
    }
    None
}
