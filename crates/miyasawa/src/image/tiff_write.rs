//! TIFF files with one page or several.

use std::cell::RefCell;
use std::io::{self, Cursor, Seek, SeekFrom, Write};
use std::marker::PhantomData;
use std::rc::Rc;

use tiff::encoder::colortype::ColorType;
use tiff::encoder::compression::DeflateLevel;
use tiff::encoder::{
    Compression, DirectoryEncoder, ImageEncoder, TiffEncoder, TiffKind, TiffKindStandard, TiffValue,
};
use tiff::tags::{ExtraSamples, PhotometricInterpretation, ResolutionUnit, SampleFormat, Type};
use tiff::{Directory, TiffError, TiffResult};

use super::Depth;
use super::encodable::Encodable;
use super::metadata::Unit;
use super::numbers::Wide;
use super::raster::Opacity;
use super::tags::{self, Tag};
use crate::range::{denormalise, denormalise_16};

/// The bytes of a file that is being written, shared with the encoder, which does not return its
/// writer.
#[derive(Clone, Default)]
struct Bytes(Rc<RefCell<Cursor<Vec<u8>>>>);

impl Write for Bytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Bytes {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.borrow_mut().seek(to)
    }
}

/// A TIFF file that is being written.
pub(super) struct TiffPages {
    encoder: Option<TiffEncoder<Bytes>>,
    bytes: Bytes,
}

/// Grey or colour samples of a type.
struct Grey<S>(PhantomData<S>);
struct Colour<S>(PhantomData<S>);

macro_rules! kinds_of_samples {
    ($($sample:ty, $bits:literal, $format:ident;)*) => {$(
        impl ColorType for Grey<$sample> {
            type Inner = $sample;
            const TIFF_VALUE: PhotometricInterpretation = PhotometricInterpretation::BlackIsZero;
            const BITS_PER_SAMPLE: &'static [u16] = &[$bits];
            const SAMPLE_FORMAT: &'static [SampleFormat] = &[SampleFormat::$format];
            fn horizontal_predict(row: &[$sample], result: &mut Vec<$sample>) {
                result.extend_from_slice(row);
            }
        }
        impl ColorType for Colour<$sample> {
            type Inner = $sample;
            const TIFF_VALUE: PhotometricInterpretation = PhotometricInterpretation::RGB;
            const BITS_PER_SAMPLE: &'static [u16] = &[$bits; 3];
            const SAMPLE_FORMAT: &'static [SampleFormat] = &[SampleFormat::$format; 3];
            fn horizontal_predict(row: &[$sample], result: &mut Vec<$sample>) {
                result.extend_from_slice(row);
            }
        }
    )*};
}

kinds_of_samples! {
    u8, 8, Uint;
    u16, 16, Uint;
    u32, 32, Uint;
    u64, 64, Uint;
    i8, 8, Int;
    i16, 16, Int;
    i32, 32, Int;
    i64, 64, Int;
    f32, 32, IEEEFP;
    f64, 64, IEEEFP;
}

impl TiffPages {
    pub fn new() -> Self {
        Self { encoder: None, bytes: Bytes::default() }
    }

    /// Adds a page.
    pub fn add(&mut self, content: &Encodable<'_>) -> TiffResult<()> {
        let packing = match content.metadata.packing {
            Some(5) => Compression::Lzw,
            Some(32773) => Compression::Packbits,
            None | Some(1) => Compression::Uncompressed,
            // Images whose compression cannot be written (JPEG, fax, ..) are compressed without
            // loss.
            Some(_) => Compression::Deflate(DeflateLevel::Balanced),
        };
        let encoder = match self.encoder.take() {
            Some(encoder) => encoder,
            None => TiffEncoder::new(self.bytes.clone())?,
        };
        let mut encoder = encoder.with_compression(packing);
        match (content.scale, content.wide_depth()) {
            (Some(scale), _) => {
                let span = scale.high - scale.low;
                let value = |v: f32| scale.low + (f64::from(v) + 1.0) / 2.0 * span;
                let alpha = |a: f32| f64::from(a) * scale.opaque;
                // Casts of floats to integers saturate.
                match scale.kind {
                    Wide::U32 => write(
                        &mut encoder,
                        content,
                        |v| value(v).round() as u32,
                        |a| alpha(a) as u32,
                    ),
                    Wide::U64 => write(
                        &mut encoder,
                        content,
                        |v| value(v).round() as u64,
                        |a| alpha(a) as u64,
                    ),
                    Wide::I8 => {
                        write(&mut encoder, content, |v| value(v).round() as i8, |a| alpha(a) as i8)
                    }
                    Wide::I16 => write(
                        &mut encoder,
                        content,
                        |v| value(v).round() as i16,
                        |a| alpha(a) as i16,
                    ),
                    Wide::I32 => write(
                        &mut encoder,
                        content,
                        |v| value(v).round() as i32,
                        |a| alpha(a) as i32,
                    ),
                    Wide::I64 => write(
                        &mut encoder,
                        content,
                        |v| value(v).round() as i64,
                        |a| alpha(a) as i64,
                    ),
                    Wide::F16 | Wide::F32 => {
                        write(&mut encoder, content, |v| value(v) as f32, |a| alpha(a) as f32)
                    }
                    Wide::F64 => write(&mut encoder, content, value, alpha),
                }?;
            }
            (None, Depth::Sixteen) => {
                write(&mut encoder, content, denormalise_16, |a| (a * 65535.0).round() as u16)?;
            }
            (None, Depth::Eight) => {
                write(&mut encoder, content, denormalise, |a| (a * 255.0).round() as u8)?;
            }
        }
        self.encoder = Some(encoder);
        Ok(())
    }

    /// The bytes of the file.
    pub fn finish(self) -> Vec<u8> {
        drop(self.encoder);
        self.bytes.0.take().into_inner()
    }
}

/// Writes a page with samples of a type.
fn write<S: Copy>(
    encoder: &mut TiffEncoder<Bytes>,
    content: &Encodable<'_>,
    value: impl Fn(f32) -> S,
    alpha: impl Fn(f32) -> S,
) -> TiffResult<()>
where
    Grey<S>: ColorType<Inner = S>,
    Colour<S>: ColorType<Inner = S>,
    [S]: TiffValue,
{
    let samples = content.interleaved(value, alpha);
    let below =
        [(tags::EXIF, content.tags.exif.as_slice()), (tags::GPS, content.tags.gps.as_slice())];
    let mut pointers = Vec::new();
    for (id, tags) in below.into_iter().filter(|(_, tags)| !tags.is_empty()) {
        let mut directory = encoder.extra_directory()?;
        add_tags(&mut directory, tags)?;
        let at = directory.finish_with_offsets()?;
        pointers.push(Tag { id, kind: 4, data: at.offset.to_ne_bytes().to_vec() });
    }
    let (width, height) = content.size()?;
    if content.image.channels() == 1 {
        page(encoder.new_image::<Grey<S>>(width, height)?, content, &pointers, &samples)
    } else {
        page(encoder.new_image::<Colour<S>>(width, height)?, content, &pointers, &samples)
    }
}

fn page<C: ColorType>(
    mut image: ImageEncoder<'_, Bytes, C, TiffKindStandard>,
    content: &Encodable<'_>,
    pointers: &[Tag],
    samples: &[C::Inner],
) -> TiffResult<()>
where
    [C::Inner]: TiffValue,
{
    if let Some((_, opacity)) = content.alpha {
        image.extra_samples(&[match opacity {
            Opacity::Straight => ExtraSamples::UnassociatedAlpha,
            Opacity::Premultiplied => ExtraSamples::AssociatedAlpha,
        }])?;
    }
    let directory = image.encoder();
    let kept = |tag: &&Tag| {
        !matches!(tag.id, tags::X_RESOLUTION | tags::Y_RESOLUTION | tags::RESOLUTION_UNIT)
    };
    let mut main: Vec<Tag> =
        content.tags.main.iter().filter(kept).chain(pointers).cloned().collect();
    let (photoshop, _) = content.metadata.photoshop_and_comments();
    if !photoshop.is_empty() && main.iter().all(|tag| tag.id != tags::PHOTOSHOP) {
        main.push(Tag { id: tags::PHOTOSHOP, kind: 1, data: photoshop });
    }
    add_tags(directory, &main)?;
    let block = |id: u16, block: &Option<Vec<u8>>| {
        block.as_ref().map(|data| Tag {
            id,
            kind: if id == tags::XMP { 1 } else { 7 },
            data: data.clone(),
        })
    };
    let blocks = [block(tags::ICC, &content.metadata.icc), block(tags::XMP, &content.metadata.xmp)];
    add_tags(directory, &blocks.into_iter().flatten().collect::<Vec<_>>())?;
    if let Some(density) = content.metadata.density {
        let ratio = |value: f64| {
            let (n, d) = tags::fraction(value);
            tiff::encoder::Rational { n, d }
        };
        image.resolution_unit(match density.unit {
            Unit::None => ResolutionUnit::None,
            Unit::Inch => ResolutionUnit::Inch,
            Unit::Centimetre => ResolutionUnit::Centimeter,
        });
        image.x_resolution(ratio(density.x));
        image.y_resolution(ratio(density.y));
    }
    image.write_data(samples)
}

/// Adds tags to a directory unchanged.
fn add_tags<K: TiffKind>(
    directory: &mut DirectoryEncoder<'_, Bytes, K>,
    tags: &[Tag],
) -> Result<(), TiffError> {
    let mut entries = Directory::empty();
    for tag in tags {
        let kind = match tag.kind {
            1 => Type::BYTE,
            2 => Type::ASCII,
            3 => Type::SHORT,
            4 => Type::LONG,
            5 => Type::RATIONAL,
            6 => Type::SBYTE,
            8 => Type::SSHORT,
            9 => Type::SLONG,
            10 => Type::SRATIONAL,
            11 => Type::FLOAT,
            12 => Type::DOUBLE,
            _ => Type::UNDEFINED,
        };
        let entry = directory.write_entry_bytes(kind, &tag.data)?;
        entries.extend([(tiff::tags::Tag::from_u16_exhaustive(tag.id), entry)]);
    }
    directory.extend_from(&entries);
    Ok(())
}
