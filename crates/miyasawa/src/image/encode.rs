//! Encoding an image and its metadata as the bytes of a file.

use image::codecs::jpeg::{JpegEncoder, PixelDensity, PixelDensityUnit};
use image::{ExtendedColorType, ImageEncoder};
use png::chunk::ChunkType;

#[cfg(feature = "codecs")]
use super::Image;
use super::encodable::Encodable;
use super::kind::Format;
use super::metadata::{Unit, segments, xmp_chunk, xmp_segment};
#[cfg(feature = "codecs")]
use super::tags::Tags;
#[cfg(feature = "codecs")]
use super::tiff_write::TiffPages;
use super::{Depth, MAX_PIXELS, metadata::MOST_IN_JPEG};
use crate::range::denormalise_16;

/// Quality of JPEG files written, of 100, unless the file that was read had one: high, because
/// images are compared by eye.
const JPEG_QUALITY: u8 = 95;

/// Encodes a file of one image.
pub(super) fn encode(format: Format, content: &Encodable<'_>) -> Result<Vec<u8>, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string().replace('\n', " ");
    let size = content.size().map_err(|e| text(&e))?;
    match format {
        Format::Png => png(content, size).map_err(|e| text(&e)),
        Format::Jpeg => jpeg(content, size).map_err(|e| text(&e)),
        #[cfg(feature = "codecs")]
        Format::WebP => webp(content, size).map_err(|e| text(&e)),
        #[cfg(feature = "codecs")]
        Format::Bmp => bmp(content, size).map_err(|e| text(&e)),
        #[cfg(feature = "codecs")]
        Format::Qoi => qoi(content, size).map_err(|e| text(&e)),
        #[cfg(feature = "codecs")]
        Format::Pnm => Ok(pnm(content, size)),
        #[cfg(feature = "openexr")]
        Format::Exr => {
            let light = super::light::Light::of_display();
            super::open_exr::encode(content, None, |value| light.light(value))
        }
        #[cfg(feature = "codecs")]
        Format::Tiff => {
            let mut pages = TiffPages::new();
            pages.add(content).map_err(|e| text(&e))?;
            Ok(pages.finish())
        }
        // Callers ask `Format::is_built` first.
        #[cfg(not(all(feature = "codecs", feature = "openexr")))]
        _ => Err("a format that needs a feature".to_owned()),
    }
}

/// A density rounded to an integer of at least 1 and at most `most`.
fn rounded(value: f64, most: f64) -> f64 {
    value.round().clamp(1.0, most)
}

fn png(content: &Encodable<'_>, _: (u32, u32)) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut writer = png_header(content, &mut bytes, |_| Ok(()))?;
    writer.write_image_data(&png_samples(content))?;
    writer.finish()?;
    Ok(bytes)
}

/// The samples of a PNG in the order of its file.
pub(super) fn png_samples(content: &Encodable<'_>) -> Vec<u8> {
    match content.image.depth() {
        Depth::Eight => content.eight(),
        Depth::Sixteen => {
            let samples = content.interleaved(denormalise_16, |a| (a * 65535.0).round() as u16);
            samples.into_iter().flat_map(u16::to_be_bytes).collect()
        }
    }
}

/// Begins a PNG with all that comes before the pixels. `set` changes the encoder.
pub(super) fn png_header<W: std::io::Write>(
    content: &Encodable<'_>,
    to: W,
    set: impl FnOnce(&mut png::Encoder<'_, W>) -> Result<(), png::EncodingError>,
) -> Result<png::Writer<W>, png::EncodingError> {
    let (image, metadata) = (content.image, content.metadata);
    let (width, height) = (image.width() as u32, image.height() as u32);
    let mut info = png::Info::with_size(width, height);
    info.color_type = match (image.channels(), content.alpha.is_some()) {
        (1, false) => png::ColorType::Grayscale,
        (1, true) => png::ColorType::GrayscaleAlpha,
        (_, false) => png::ColorType::Rgb,
        (_, true) => png::ColorType::Rgba,
    };
    if image.depth() == Depth::Sixteen {
        info.bit_depth = png::BitDepth::Sixteen;
    }
    info.pixel_dims = metadata.density.map(|density| {
        let (by, unit) = match density.unit {
            Unit::None => (1.0, png::Unit::Unspecified),
            Unit::Inch => (1.0 / 0.0254, png::Unit::Meter),
            Unit::Centimetre => (100.0, png::Unit::Meter),
        };
        let along = |value: f64| rounded(value * by, f64::from(i32::MAX)) as u32;
        png::PixelDimensions { xppu: along(density.x), yppu: along(density.y), unit }
    });
    info.icc_profile = metadata.icc.clone().map(Into::into);
    info.exif_metadata = metadata.exif.clone().map(Into::into);
    let mut encoder = png::Encoder::with_info(to, info)?;
    encoder.set_compression(png::Compression::Fast);
    encoder.set_filter(png::Filter::Adaptive);
    set(&mut encoder)?;
    let mut writer = encoder.write_header()?;
    for (name, chunk) in &metadata.chunks {
        writer.write_chunk(ChunkType(*name), chunk)?;
    }
    if let Some(xmp) = &metadata.xmp {
        writer.write_chunk(ChunkType(*b"iTXt"), &xmp_chunk(xmp))?;
    }
    Ok(writer)
}

/// 8-bit samples of a format without alpha, and their kind.
fn opaque_samples(content: &Encodable<'_>) -> (Vec<u8>, ExtendedColorType) {
    let opaque = content.opaque();
    let image = opaque.as_ref().unwrap_or(content.image);
    let content = content.without_alpha(image);
    let colour =
        if image.channels() == 1 { ExtendedColorType::L8 } else { ExtendedColorType::Rgb8 };
    (content.eight(), colour)
}

fn jpeg(
    content: &Encodable<'_>,
    (width, height): (u32, u32),
) -> Result<Vec<u8>, image::ImageError> {
    let metadata = content.metadata;
    let (samples, colour) = opaque_samples(content);
    let mut bytes = Vec::new();
    let quality = metadata.quality.unwrap_or(JPEG_QUALITY);
    let mut encoder = JpegEncoder::new_with_quality(&mut bytes, quality);
    if let Some(density) = metadata.density {
        // Integers for each centimetre are stored exactly.
        let is_integer = |v: f64| (v - v.round()).abs() < 1e-6;
        let metric =
            density.unit == Unit::Centimetre && is_integer(density.x) && is_integer(density.y);
        let (x, y) = if metric { (density.x, density.y) } else { density.per_inch() };
        let unit = match density.unit {
            Unit::None => PixelDensityUnit::PixelAspectRatio,
            Unit::Centimetre if metric => PixelDensityUnit::Centimeters,
            _ => PixelDensityUnit::Inches,
        };
        let density = (rounded(x, 65535.0) as u16, rounded(y, 65535.0) as u16);
        encoder.set_pixel_density(PixelDensity { density, unit });
    }
    let fits = |block: &&Vec<u8>| block.len() <= MOST_IN_JPEG;
    // This encoder can store both.
    let _ = encoder.set_icc_profile(metadata.icc.clone().unwrap_or_default());
    let _ =
        encoder.set_exif_metadata(metadata.exif.as_ref().filter(fits).cloned().unwrap_or_default());
    encoder.write_image(&samples, width, height, colour)?;
    // The other segments come before the first one that is not an application's.
    let more: Vec<u8> = metadata
        .xmp
        .iter()
        .filter(fits)
        .map(|xmp| xmp_segment(xmp))
        .chain(metadata.segments.iter().cloned())
        .chain(metadata.segments_of_tags())
        .flatten()
        .collect();
    let applications = segments(&bytes).take_while(|(marker, _)| (0xe0..=0xef).contains(marker));
    let at = 2 + applications.map(|(_, segment)| segment.len()).sum::<usize>();
    bytes.splice(at..at, more);
    Ok(bytes)
}

#[cfg(feature = "codecs")]
fn webp(
    content: &Encodable<'_>,
    (width, height): (u32, u32),
) -> Result<Vec<u8>, image_webp::EncodingError> {
    use image_webp::{ColorType, WebPEncoder};
    let metadata = content.metadata;
    let colour = match (content.image.channels(), content.alpha.is_some()) {
        (1, false) => ColorType::L8,
        (1, true) => ColorType::La8,
        (_, false) => ColorType::Rgb8,
        (_, true) => ColorType::Rgba8,
    };
    let mut bytes = Vec::new();
    let mut encoder = WebPEncoder::new(&mut bytes);
    encoder.set_icc_profile(metadata.icc.clone().unwrap_or_default());
    encoder.set_exif_metadata(metadata.exif_with_resolution().unwrap_or_default());
    encoder.set_xmp_metadata(metadata.xmp.clone().unwrap_or_default());
    encoder.encode(&content.eight(), width, height, colour)?;
    Ok(bytes)
}

#[cfg(feature = "codecs")]
fn bmp(content: &Encodable<'_>, (width, height): (u32, u32)) -> Result<Vec<u8>, image::ImageError> {
    let (samples, colour) = opaque_samples(content);
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::codecs::bmp::BmpEncoder::new(&mut bytes).write_image(&samples, width, height, colour)?;
    Ok(bytes.into_inner())
}

#[cfg(feature = "codecs")]
fn qoi(content: &Encodable<'_>, (width, height): (u32, u32)) -> Result<Vec<u8>, image::ImageError> {
    // Grey is written as colour: this format knows no other.
    let grey = content.image.channels() == 1;
    let colour = grey.then(|| Image {
        channels: 3,
        values: content.image.values().repeat(3),
        ..*content.image
    });
    let content = Encodable {
        image: colour.as_ref().unwrap_or(content.image),
        alpha: content.alpha,
        scale: None,
        metadata: content.metadata,
        tags: Tags::default(),
    };
    let kind = match content.alpha {
        Some(_) => ExtendedColorType::Rgba8,
        None => ExtendedColorType::Rgb8,
    };
    let mut bytes = Vec::new();
    image::codecs::qoi::QoiEncoder::new(&mut bytes).write_image(
        &content.eight(),
        width,
        height,
        kind,
    )?;
    Ok(bytes)
}

/// Netpbm's binary PGM or PPM: a header in text, then samples, those of 16 bits with the high byte
/// first.
#[cfg(feature = "codecs")]
fn pnm(content: &Encodable<'_>, (width, height): (u32, u32)) -> Vec<u8> {
    let opaque = content.opaque();
    let image = opaque.as_ref().unwrap_or(content.image);
    let content = content.without_alpha(image);
    let kind = if image.channels() == 1 { 5 } else { 6 };
    let (most, samples) = match image.depth() {
        Depth::Eight => (255, content.eight()),
        Depth::Sixteen => {
            let samples = content.interleaved(denormalise_16, |_| 0);
            (65535, samples.into_iter().flat_map(u16::to_be_bytes).collect())
        }
    };
    [format!("P{kind}\n{width} {height}\n{most}\n").into_bytes(), samples].concat()
}

const _: () = assert!(MAX_PIXELS < u32::MAX as u64, "pixels are counted in 32 bits");
