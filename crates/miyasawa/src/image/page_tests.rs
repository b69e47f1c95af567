//! Images are written as they were read: transparency, profiles, EXIF, resolution, pages, and
//! samples of every type.

use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, ImageBuffer, ImageEncoder, ImageFormat};
use proptest::prelude::*;
use tiff::encoder::{TiffEncoder, TiffValue, colortype};

use super::metadata::{Density, Metadata, Unit};
use super::tags::{Reader, Tag, Tags};
use super::*;

fn read(bytes: &[u8]) -> ImageFile {
    ImageFile::read("test", bytes).unwrap()
}

/// Reads a file and writes all its pages unchanged.
fn rewrite(bytes: &[u8], format: Format) -> Vec<u8> {
    let file = read(bytes);
    let mut writer = ImageWriter::new(format);
    for number in 0..file.pages() {
        let page = file.page(number).unwrap();
        let image = page.image().clone();
        if writer.has_room() {
            writer.add(Path::new("test"), &page.with_image(image).unwrap()).unwrap();
        }
    }
    writer.into_bytes()
}

const FORMATS: [Format; 4] = [Format::Png, Format::Jpeg, Format::WebP, Format::Tiff];

/// An EXIF block with an orientation, the day, a camera, and the size that the pixels had.
fn exif(orientation: u16) -> Vec<u8> {
    let text = |id, text: &[u8]| Tag { id, kind: 2, data: text.to_vec() };
    let main = vec![
        text(271, b"TestCam\0"),
        Tag::short(274, orientation),
        text(306, b"2024:01:02 03:04:05\0"),
    ];
    let exif =
        vec![text(36867, b"2024:01:02 03:04:05\0"), Tag::short(40962, 9), Tag::short(40963, 5)];
    Tags { main, exif, gps: vec![text(1, b"N\0")] }.to_block()
}

/// A profile whose header declares the colours `kind`.
fn profile(kind: &[u8; 4]) -> Vec<u8> {
    let mut profile = vec![7; 200];
    profile[16..20].copy_from_slice(kind);
    profile
}

/// An image of (width, height) = (9, 5) that EXIF says to turn by a quarter, with all metadata that
/// its format can hold.
fn described(format: Format) -> Vec<u8> {
    let image = ImageBuffer::from_fn(9, 5, |x, y| image::Rgb([(x * 20) as u8, (y * 40) as u8, 99]));
    let mut plain = Cursor::new(Vec::new());
    image.write_to(&mut plain, ImageFormat::Png).unwrap();
    let page = read(&plain.into_inner()).page(0).unwrap();
    let xmp = br#"<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>"#.to_vec();
    let density = Some(Density { x: 300.0, y: 200.0, unit: Unit::Inch });
    let metadata = Metadata {
        icc: Some(profile(b"RGB ")),
        exif: Some(exif(6)),
        xmp: Some(xmp),
        density,
        ..Metadata::default()
    };
    let mut writer = ImageWriter::new(format);
    writer.add(Path::new("test"), &page.with_metadata(metadata)).unwrap();
    let mut bytes = writer.into_bytes();
    if format == Format::Tiff {
        // TIFF's own orientation, which the writer leaves out: a tag instead of one that nobody
        // needs.
        let predictor =
            [&317u16.to_ne_bytes()[..], &3u16.to_ne_bytes(), &1u32.to_ne_bytes()].concat();
        let at = bytes.windows(8).position(|part| part == predictor).unwrap();
        bytes[at..at + 2].copy_from_slice(&274u16.to_ne_bytes());
        bytes[at + 8..at + 10].copy_from_slice(&6u16.to_ne_bytes());
    }
    bytes
}

#[test]
fn metadata_is_converted_from_format_to_format() {
    for (from, to) in FORMATS.iter().flat_map(|from| FORMATS.map(|to| (*from, to))) {
        let bytes = rewrite(&described(from), to);
        let page = read(&bytes).page(0).unwrap();
        // Turned once.
        assert_eq!(page.image().shape(), (3, 9, 5), "{from:?} to {to:?}");
        let again_turned = read(&rewrite(&bytes, to)).page(0).unwrap();
        assert_eq!(again_turned.image().shape(), (3, 9, 5), "{from:?} to {to:?}");
        let found = page.metadata();
        assert_eq!(found.icc.as_deref(), Some(&profile(b"RGB ")[..]), "{from:?} to {to:?}");
        let tags = found.tags();
        let text =
            |tags: &[Tag], id| tags.iter().find(|tag| tag.id == id).map(|tag| tag.data.clone());
        let day = b"2024:01:02 03:04:05\0";
        assert_eq!(text(&tags.main, 271).as_deref(), Some(&b"TestCam\0"[..]), "{from:?} to {to:?}");
        assert_eq!(text(&tags.main, 306).as_deref(), Some(&day[..]), "{from:?} to {to:?}");
        assert_eq!(text(&tags.exif, 36867).as_deref(), Some(&day[..]), "{from:?} to {to:?}");
        assert_eq!(text(&tags.gps, 1).as_deref(), Some(&b"N\0"[..]), "{from:?} to {to:?}");
        let size = |id| tags.exif.iter().find(|tag| tag.id == id).unwrap().numbers();
        assert_eq!((size(40962), size(40963)), (vec![5], vec![9]), "{from:?} to {to:?}");
        let xmp = String::from_utf8(found.xmp.clone().unwrap()).unwrap();
        assert!(xmp.contains("tiff:Orientation=\"1\""), "{from:?} to {to:?}: {xmp}");
        // WebP can store it only in EXIF, which is left unchanged.
        if from != Format::WebP && to != Format::WebP {
            let (x, y) = found.density.unwrap().per_inch();
            assert!(
                (x - 200.0).abs() < 0.01 && (y - 300.0).abs() < 0.01,
                "{from:?} to {to:?}: {x} {y}"
            );
        }
        let exif = found.exif.as_ref().unwrap();
        let reader = Reader::new(exif).unwrap();
        let (main, thumbnail) = reader.directory(reader.first).unwrap();
        let orientation = main.iter().find(|tag| tag.id == 274).map(Tag::numbers);
        assert!(
            matches!(orientation.as_deref(), None | Some([1])) && thumbnail == 0,
            "{orientation:?}"
        );
    }
}

#[test]
fn colours_and_texts_of_png_and_comments_of_jpeg_stay() {
    let mut page = read(&described(Format::Png)).page(0).unwrap();
    let chunks = vec![(*b"gAMA", vec![0, 0, 177, 143]), (*b"tEXt", b"Author\0me".to_vec())];
    page = page.with_metadata(Metadata { chunks: chunks.clone(), ..Metadata::default() });
    let mut writer = ImageWriter::new(Format::Png);
    writer.add(Path::new("test"), &page).unwrap();
    let bytes = rewrite(&writer.into_bytes(), Format::Png);
    assert_eq!(read(&bytes).page(0).unwrap().metadata().chunks, chunks);
    assert_eq!(read(&bytes).page(0).unwrap().lost_in(Format::Jpeg), ["PNG texts"]);
    let comment = [&[0xff, 0xfe, 0, 7][..], b"hello"].concat();
    let iptc = [&[0xff, 0xed, 0, 6][..], b"8BIM"].concat();
    let mut jpeg = described(Format::Jpeg);
    jpeg.splice(2..2, [comment.clone(), iptc.clone()].concat());
    let found = read(&rewrite(&jpeg, Format::Jpeg)).page(0).unwrap();
    assert_eq!(found.metadata().segments, [comment, iptc]);
}

#[test]
fn jpeg_keeps_its_quality() {
    let image = DynamicImage::ImageRgb8(ImageBuffer::from_fn(16, 16, |x, y| {
        image::Rgb([(x * y) as u8, 0, 9])
    }));
    for (quality, expected) in [(50, 90), (93, 93), (95, 95), (98, 98), (100, 100)] {
        let mut bytes = Vec::new();
        let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, quality);
        encoder.write_image(image.as_bytes(), 16, 16, image::ExtendedColorType::Rgb8).unwrap();
        assert_eq!(read(&bytes).page(0).unwrap().metadata().quality, Some(quality));
        let found = read(&rewrite(&bytes, Format::Jpeg)).page(0).unwrap().metadata().quality;
        assert_eq!(found, Some(expected));
    }
}

/// A profile of CMYK does not describe the RGB that it became.
#[test]
fn a_profile_of_other_colours_is_dropped() {
    let page = read(&described(Format::Png)).page(0).unwrap();
    let page = page.with_metadata(Metadata { icc: Some(profile(b"CMYK")), ..Metadata::default() });
    assert!(page.lost_in(Format::Jpeg)[0].contains("CMYK"));
    let mut writer = ImageWriter::new(Format::Jpeg);
    writer.add(Path::new("test"), &page).unwrap();
    assert_eq!(read(&writer.into_bytes()).page(0).unwrap().metadata().icc, None);
}

#[test]
fn transparency_and_hidden_pixels_are_kept() {
    let clear = |x: u32| [0, 128, 255][x as usize % 3];
    let colour = DynamicImage::ImageRgba8(ImageBuffer::from_fn(6, 2, |x, y| {
        image::Rgba([200, 40, y as u8, clear(x)])
    }));
    let grey = DynamicImage::ImageLumaA16(ImageBuffer::from_fn(6, 2, |x, y| {
        image::LumaA([1000 + y as u16, 257 * u16::from(clear(x))])
    }));
    for (image, from, to) in [
        (&colour, ImageFormat::Png, Format::Png),
        (&colour, ImageFormat::Png, Format::WebP),
        (&colour, ImageFormat::Png, Format::Tiff),
        (&colour, ImageFormat::WebP, Format::WebP),
        (&colour, ImageFormat::Tiff, Format::Tiff),
        (&grey, ImageFormat::Png, Format::Png),
        (&grey, ImageFormat::Png, Format::Tiff),
    ] {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, from).unwrap();
        let bytes = bytes.into_inner();
        let page = read(&bytes).page(0).unwrap();
        // Hidden pixels are white for the model and are not denoised.
        let shape = page.image().shape();
        assert_eq!(page.image().values()[0], 1.0);
        assert!(
            page.lost_in(to).is_empty() && page.lost_in(Format::Jpeg)[0].contains("transparency")
        );
        let black = Image::new(shape, vec![-1.0; shape.0 * shape.1 * shape.2]).unwrap();
        let mut writer = ImageWriter::new(to);
        writer.add(Path::new("test"), &page.with_image(black).unwrap()).unwrap();
        // TIFF with grey and alpha is a variety that only this reader knows.
        let back = read(&writer.into_bytes()).page(0).unwrap();
        let expected = read(&bytes).page(0).unwrap();
        assert_eq!(back.alpha(), expected.alpha(), "{from:?} to {to:?}");
        let (hidden, seen) = (back.stored(), back.image().values());
        assert_eq!(hidden, expected.stored(), "{from:?} to {to:?}");
        assert_eq!(seen.iter().filter(|v| **v == 1.0).count(), 4 * shape.0, "{from:?} to {to:?}");
        assert_eq!(seen.iter().filter(|v| **v == -1.0).count(), 8 * shape.0, "{from:?} to {to:?}");
    }
}

/// A TIFF of pages, 4 wide.
fn tiff<C: colortype::ColorType>(pages: &[&[C::Inner]], big: bool) -> Vec<u8>
where
    [C::Inner]: TiffValue,
{
    let mut bytes = Cursor::new(Vec::new());
    let height = |page: &[C::Inner]| (page.len() / C::BITS_PER_SAMPLE.len() / 4) as u32;
    if big {
        let mut encoder = TiffEncoder::new_big(&mut bytes).unwrap();
        pages.iter().for_each(|page| encoder.write_image::<C>(4, height(page), page).unwrap());
    } else {
        let mut encoder = TiffEncoder::new(&mut bytes).unwrap();
        pages.iter().for_each(|page| encoder.write_image::<C>(4, height(page), page).unwrap());
    }
    bytes.into_inner()
}

/// The grey samples of a TIFF as they are stored.
fn samples(bytes: &[u8]) -> Vec<tiff::decoder::DecodingResult> {
    let mut decoder = tiff::decoder::Decoder::new(Cursor::new(bytes)).unwrap();
    let mut found = vec![decoder.read_image().unwrap()];
    while decoder.more_images() {
        decoder.next_image().unwrap();
        found.push(decoder.read_image().unwrap());
    }
    found
}

#[test]
fn samples_of_every_type_are_kept() {
    macro_rules! check {
        ($kind:ty, $variant:ident, $values:expr, $note:expr) => {{
            let values = $values;
            let bytes = tiff::<$kind>(&[&values], false);
            let file = read(&bytes);
            let note: Option<&str> = $note;
            assert_eq!(file.notes().len(), usize::from(note.is_some()), "{:?}", file.notes());
            assert!(note.is_none_or(|note| file.notes()[0].contains(note)), "{:?}", file.notes());
            let (low, high) = (file.page(0).unwrap(), file.page(0).unwrap());
            let (low, high) = (low.image().values()[0], high.image().values()[3]);
            assert!((-1.0..=-0.4).contains(&low) && (0.6..=1.0).contains(&high), "{low} {high}");
            let found = samples(&rewrite(&bytes, Format::Tiff)).remove(0);
            let tiff::decoder::DecodingResult::$variant(found) = found else { panic!("{found:?}") };
            for (found, value) in found.iter().zip(&values) {
                let (found, value) = (*found as f64, *value as f64);
                assert!((found - value).abs() <= 1e-6 * value.abs().max(1.0), "{found} {value}");
            }
        }};
    }
    check!(colortype::Gray8, U8, [0u8, 1, 2, 255], None);
    check!(colortype::Gray16, U16, [0u16, 1, 2, 65535], None);
    check!(colortype::Gray32Float, F32, [0.0f32, 0.25, 0.5, 1.0], None);
    check!(colortype::Gray64Float, F64, [0.0f64, 0.25, 0.5, 1.0], None);
    check!(colortype::Gray32Float, F32, [10.0f32, 20.0, 40.0, 255.0], Some("white as 255"));
    check!(colortype::Gray32Float, F32, [-3.5f32, 0.0, 1.0, 1.5], Some("black is taken as -3.5"));
    check!(colortype::Gray64Float, F64, [0.0f64, 0.0, 0.0, 4e6], Some("64-bit float samples"));
    check!(colortype::GrayI8, I8, [-100i8, 0, 1, 90], Some("signed 8-bit"));
    check!(colortype::GrayI16, I16, [-1000i16, 0, 1, 3000], Some("signed 16-bit"));
    check!(colortype::GrayI32, I32, [-1_000_000i32, 0, 1, 3_000_000], Some("signed 32-bit"));
    check!(colortype::Gray32, U32, [0u32, 1000, 4_000_000, 8_000_000], Some("32-bit samples"));
    // In formats of fewer bits they are scaled, with a note.
    let page = read(&tiff::<colortype::Gray32Float>(&[&[0.0, 50.0, 100.0, 200.0]], false))
        .page(0)
        .unwrap();
    assert!(page.lost_in(Format::Png)[0].contains("scaled"), "{:?}", page.lost_in(Format::Png));
    assert!(page.lost_in(Format::Tiff).is_empty());
    // In data sets, where each file would have a separate scale, they are refused.
    for bytes in [
        tiff::<colortype::Gray32Float>(&[&[0.0, 50.0, 100.0, 200.0]], false),
        tiff::<colortype::GrayI16>(&[&[0, 50, 100, 200]], false),
    ] {
        let error = decode(&bytes).err().unwrap().to_string();
        assert!(error.contains("samples up to 200") && error.contains("rescale"), "{error}");
    }
    assert!(decode(&tiff::<colortype::Gray64Float>(&[&[0.0, 0.5, 1.0, 1.0]], false)).is_ok());
}

#[test]
fn values_that_are_not_finite_are_kept() {
    let bytes = tiff::<colortype::Gray32Float>(&[&[f32::NAN, 0.0, 0.5, f32::INFINITY]], false);
    let file = read(&bytes);
    assert!(file.notes()[0].contains("2 values that are not finite"), "{:?}", file.notes());
    assert!(file.page(0).unwrap().image().values().iter().all(|v| v.is_finite()));
    let found = samples(&rewrite(&bytes, Format::Tiff)).remove(0);
    let tiff::decoder::DecodingResult::F32(found) = found else { panic!("{found:?}") };
    assert!(found[0].is_nan() && found[1..] == [0.0, 0.5, f32::INFINITY], "{found:?}");
    let nothing = tiff::<colortype::Gray32Float>(&[&[f32::NAN; 4]], false);
    let error = ImageFile::read("x.tif", &nothing[..]).err().unwrap().to_string();
    assert!(error.contains("x.tif") && error.contains("without a finite value"), "{error}");
}

#[test]
fn all_pages_are_read_and_written_on_one_scale() {
    let pages: [&[f32]; 3] = [&[0.0, 1.0, 2.0, 3.0], &[0.0, 10.0, 20.0, 200.0], &[7.0; 8]];
    for big in [false, true] {
        let bytes = tiff::<colortype::Gray32Float>(&pages, big);
        let file = read(&bytes);
        assert_eq!(file.pages(), 3);
        // The second page holds the largest number of all.
        assert!(
            (file.page(0).unwrap().image().values()[3] - (2.0 * 3.0 / 200.0 - 1.0)).abs() < 1e-6
        );
        // In any order.
        assert_eq!((file.page(2).unwrap().image().height(), file.pixels(2).unwrap()), (2, 8));
        assert_eq!(file.page(1).unwrap().image().values()[3], 1.0);
        let found = samples(&rewrite(&bytes, Format::Tiff));
        assert_eq!(found.len(), 3);
        assert_eq!(samples(&rewrite(&bytes, Format::Tiff)).len(), 3);
        // Other formats hold one.
        let mut writer = ImageWriter::new(Format::Png);
        writer.add(Path::new("a.png"), &file.page(0).unwrap()).unwrap();
        assert!(!writer.has_room());
        assert!(writer.add(Path::new("a.png"), &file.page(1).unwrap()).is_err());
    }
    // A single image is the first page.
    assert_eq!(
        open_first(&tiff::<colortype::Gray8>(&[&[1, 2, 3, 4], &[9; 4]], false)),
        [1, 2, 3, 4]
    );
}

fn open_first(bytes: &[u8]) -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    Image::open(file.path())
        .unwrap()
        .values()
        .iter()
        .map(|v| crate::range::denormalise(*v))
        .collect()
}

#[test]
fn raw_files_in_the_format_of_tiff_are_reported_as_raw() {
    let mut bytes = tiff::<colortype::Gray16>(&[&[1, 2, 3, 4]], false);
    // The photometric interpretation becomes that of a colour filter array.
    let photometric =
        [&262u16.to_ne_bytes()[..], &3u16.to_ne_bytes(), &1u32.to_ne_bytes()].concat();
    let at = bytes.windows(8).position(|part| part == photometric).unwrap();
    bytes[at + 8..at + 10].copy_from_slice(&32803u16.to_ne_bytes());
    let error = ImageFile::read("a.nef", &bytes[..]).err().unwrap().to_string();
    assert!(error.contains("a.nef") && error.contains("camera raw"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn damaged_files_never_panic(
        kind in 0usize..8, at: prop::sample::Index, to: u8, cut: Option<prop::sample::Index>,
    ) {
        const SAMPLES: [u16; 16] = [1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8];
        let mut bytes = match kind {
            0..4 => described(FORMATS[kind]),
            4 => tiff::<colortype::Gray32Float>(&[&[0.0, 9.0, f32::NAN, 1.0], &[7.0; 8]], false),
            5 => tiff::<colortype::GrayI16>(&[&[-5, 9, 1, 1]], true),
            6 => tiff::<colortype::RGBA16>(&[&SAMPLES], false),
            _ => {
                let wide = tiff::<colortype::Gray64Float>(&[&[0.0, 1.0, 2.0, 3.0]], false);
                rewrite(&wide, Format::Tiff)
            }
        };
        let at = at.index(bytes.len());
        bytes[at] = to;
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(file) = ImageFile::read("test", &bytes[..]) {
            for page in (0..file.pages()).flat_map(|number| file.page(number)) {
                for format in FORMATS {
                    let _ = ImageWriter::new(format).add(Path::new("test"), &page);
                }
            }
        }
    }
}
