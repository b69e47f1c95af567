//! Linear light, animations, and the formats beside those of `page_tests`.

use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, ImageBuffer, ImageFormat};

use super::metadata::Metadata;
use super::*;

fn read(bytes: &[u8]) -> ImageFile {
    ImageFile::read("test", bytes).unwrap()
}

fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// Writes all pages of a file unchanged.
fn rewrite(bytes: &[u8], format: Format) -> Vec<u8> {
    let file = read(bytes);
    let mut writer = file.writer(format);
    for number in 0..file.pages() {
        writer.add(Path::new("test"), &file.page(number).unwrap()).unwrap();
    }
    writer.into_bytes()
}

fn write(page: &Page, format: Format) -> Vec<u8> {
    let mut writer = ImageWriter::new(format);
    writer.add(Path::new("test"), page).unwrap();
    writer.into_bytes()
}

fn near(found: &Image, expected: &Image, tolerance: f32) -> bool {
    found.shape() == expected.shape()
        && found.values().iter().zip(expected.values()).all(|(a, b)| (a - b).abs() <= tolerance)
}

fn wide() -> DynamicImage {
    DynamicImage::ImageRgb16(ImageBuffer::from_fn(7, 5, |x, y| {
        image::Rgb([(x * 9000) as u16, (y * 13000 + 77) as u16, 40_001])
    }))
}

/// A profile of RGB whose curves are powers; 1 is linear light.
pub(super) fn profile_of_power(exponent: f64) -> Vec<u8> {
    let mut profile = vec![0; 128];
    profile[16..20].copy_from_slice(b"RGB ");
    profile.extend(3u32.to_be_bytes());
    for name in [b"rTRC", b"gTRC", b"bTRC"] {
        profile.extend(name);
        profile.extend([168u32.to_be_bytes(), 16u32.to_be_bytes()].concat());
    }
    profile.extend(b"para\0\0\0\0\0\0\0\0");
    profile.extend(((exponent * 65536.0) as u32).to_be_bytes());
    profile
}

#[test]
fn linear_light_becomes_display_values_and_comes_back() {
    let bytes = encoded(&wide(), ImageFormat::Png);
    let plain = read(&bytes).page(0).unwrap();
    assert!(!plain.is_linear());
    let icc = |exponent| Metadata { icc: Some(profile_of_power(exponent)), ..Metadata::default() };
    let chunk = |name: &[u8; 4], content: &[u8]| Metadata {
        chunks: vec![(*name, content.to_vec())],
        ..Metadata::default()
    };
    let one = 100_000u32.to_be_bytes();
    for (metadata, format) in [
        (icc(1.0), Format::Png),
        (icc(1.0), Format::Tiff),
        (chunk(b"gAMA", &one), Format::Png),
        (chunk(b"cICP", &[1, 8, 0, 1]), Format::Png),
    ] {
        let bytes = write(&plain.clone().with_metadata(metadata.clone()), format);
        let page = read(&bytes).page(0).unwrap();
        assert!(page.is_linear(), "{metadata:?}");
        // A linear 0.18 is a display value of 0.46.
        assert!(page.image().values().iter().zip(plain.image().values()).all(|(a, b)| a >= b));
        assert!(page.lost_in(format).is_empty());
        let stored = rewrite(&bytes, format);
        assert_eq!(decode(&stored).unwrap().into_floats(), plain.image().values());
        let again = read(&stored).page(0).unwrap();
        assert!(again.is_linear() && *again.metadata() == *page.metadata());
        // Where nothing can say so, the values are those of sRGB.
        assert!(page.lost_in(Format::Bmp).iter().any(|lost| lost.contains("linear light")));
        let seen = page.image().clone().with_depth(Depth::Eight);
        let bmp = Image::decode(&rewrite(&bytes, Format::Bmp)).unwrap();
        assert!(near(&bmp, &seen, 1.01 / 255.0));
    }
    // Other curves, and the user's word.
    let bytes = write(&plain.clone().with_metadata(icc(2.2)), Format::Png);
    assert!(!read(&bytes).page(0).unwrap().is_linear());
    assert!(read(&bytes).with_linear(true).page(0).unwrap().is_linear());
    let bytes = write(&plain.clone().with_metadata(icc(1.0)), Format::Png);
    let page = read(&bytes).with_linear(false).page(0).unwrap();
    assert_eq!(page.image(), plain.image());
    // An explicit sRGB chunk has precedence.
    let both = vec![(*b"gAMA", one.to_vec()), (*b"sRGB", vec![0])];
    let metadata = Metadata { chunks: both, ..Metadata::default() };
    let bytes = write(&plain.with_metadata(metadata), Format::Png);
    assert!(!read(&bytes).page(0).unwrap().is_linear());
}

#[test]
fn qoi_and_pnm_are_read_and_written() {
    for (image, format, expected) in [
        (DynamicImage::ImageRgb8(wide().to_rgb8()), ImageFormat::Qoi, Format::Qoi),
        (DynamicImage::ImageRgba8(wide().to_rgba8()), ImageFormat::Qoi, Format::Qoi),
        (DynamicImage::ImageRgb8(wide().to_rgb8()), ImageFormat::Pnm, Format::Pnm),
        (DynamicImage::ImageLuma8(wide().to_luma8()), ImageFormat::Pnm, Format::Pnm),
    ] {
        let file = read(&encoded(&image, format));
        assert_eq!(file.format(), expected);
        let page = file.page(0).unwrap();
        assert_eq!(page.alpha().is_some(), image.color().has_alpha());
        assert!(page.lost_in(expected).is_empty());
        let again = read(&write(&page, expected)).page(0).unwrap();
        assert_eq!((again.image(), again.alpha()), (page.image(), page.alpha()));
    }
    // 16 bits, and grey in a format without it.
    for image in [wide(), DynamicImage::ImageLuma16(wide().to_luma16())] {
        let page = read(&encoded(&image, ImageFormat::Png)).page(0).unwrap();
        let again = read(&write(&page, Format::Pnm)).page(0).unwrap();
        assert_eq!(again.image(), page.image());
        assert!(page.lost_in(Format::Qoi)[0].contains("16 bits"));
        let again = read(&write(&page, Format::Qoi)).page(0).unwrap();
        assert!(near(again.image(), &page.image().to_channels(3).unwrap(), 1.01 / 255.0));
    }
    assert!(ImageFile::read("x", &b"P5 begins this text"[..]).is_err());
    let text = ImageFile::read("x", &b"P5begins this text"[..]).err().unwrap().to_string();
    assert!(text.contains("found a text"), "{text}");
}

#[cfg(feature = "jpeg-xl")]
#[test]
fn jpeg_xl_is_read() {
    // Made by scripts/test_images.py.
    let colour = read(include_bytes!("../../tests/images/colour.jxl"));
    assert_eq!((colour.format(), colour.pixels(0).unwrap()), (Format::Png, 108));
    let expected = ImageBuffer::from_fn(12, 9, |x, y| image::Rgb([20 * x as u8, 25 * y as u8, 90]));
    let png = encoded(&DynamicImage::ImageRgb8(expected), ImageFormat::Png);
    let expected = Image::decode(&png).unwrap();
    let page = colour.page(0).unwrap();
    // Its orientation is that of the codestream: EXIF's does not turn it again.
    assert_eq!(*page.image(), expected);
    let back = read(&write(&page, Format::Png)).page(0).unwrap();
    assert_eq!(*back.image(), expected);
    let exif = back.metadata().tags();
    assert_eq!(exif.main.iter().find(|tag| tag.id == 271).unwrap().data, b"TestCam\0");
    assert!(back.metadata().xmp.is_some());
    let lossy = Image::decode(include_bytes!("../../tests/images/lossy.jxl")).unwrap();
    let errors = lossy.values().iter().zip(expected.values()).map(|(a, b)| (a - b).abs());
    assert!(errors.sum::<f32>() / 324.0 < 0.06, "{:?}", lossy.values());
    let grey = Image::decode(include_bytes!("../../tests/images/grey.jxl")).unwrap();
    assert_eq!(grey.shape(), (1, 9, 12));
    let alpha = read(include_bytes!("../../tests/images/alpha.jxl")).page(0).unwrap();
    assert!(alpha.alpha().unwrap().is_sorted_by(|a, b| a <= &(b + 0.01)), "{:?}", alpha.alpha());
    assert_eq!(read(&write(&alpha, Format::Png)).page(0).unwrap().alpha(), alpha.alpha());
    let bytes = include_bytes!("../../tests/images/colour.jxl");
    for length in 0..bytes.len() - 1 {
        assert!(ImageFile::read("cut", &bytes[..length]).is_err(), "{length}");
    }
    for at in 0..bytes.len() {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 0xff;
        let _ = ImageFile::read("flipped", &bytes[..]).and_then(|file| file.page(0));
    }
    assert_eq!(decode(bytes).unwrap().into_bytes().len(), 324);
}

#[cfg(feature = "openexr")]
mod openexr {
    use super::*;
    use exr::image::{AnyChannel, AnyChannels, Encoding, FlatImage, FlatSamples, Layer};
    use exr::meta::attribute::AttributeValue;
    use exr::meta::header::{ImageAttributes, LayerAttributes};
    use exr::prelude::{ReadChannels as _, ReadLayers as _, WritableImage as _};
    use half::f16;

    /// A file of colours in half precision that are up to four times white, a depth, and an
    /// attribute.
    fn file() -> (FlatImage, Vec<u8>) {
        let colour = |times: f32| {
            FlatSamples::F16((0..24).map(|i| f16::from_f32(i as f32 / 24.0 * times)).collect())
        };
        let depth = FlatSamples::F32((0..24).map(|i| 1000.0 + i as f32).collect());
        let channels = [("R", colour(4.0)), ("G", colour(1.0)), ("B", colour(0.2)), ("Z", depth)];
        let channels = channels.map(|(name, samples)| AnyChannel::new(name, samples));
        let comments = Some("of a camera".into());
        let attributes = LayerAttributes { comments, ..LayerAttributes::default() };
        let list = AnyChannels::sort(channels.into_iter().collect());
        let layer = Layer::new((6, 4), attributes, Encoding::SMALL_LOSSLESS, list);
        let mut window = ImageAttributes::with_size((6, 4));
        window.other.insert("exposure".into(), AttributeValue::F32(0.5));
        let image = FlatImage::from_layers(window, vec![layer]);
        let mut bytes = Cursor::new(Vec::new());
        image.write().to_buffered(&mut bytes).unwrap();
        (image, bytes.into_inner())
    }

    fn parsed(bytes: &[u8]) -> FlatImage {
        let read = exr::prelude::read().no_deep_data().largest_resolution_level();
        let read = read.all_channels().all_layers().all_attributes();
        read.from_buffered(Cursor::new(bytes)).unwrap()
    }

    #[test]
    fn all_of_a_file_comes_back_but_the_colours_that_changed() {
        let bytes = file().1;
        let image = parsed(&bytes);
        let file = read(&bytes);
        assert_eq!((file.format(), file.pixels(0).unwrap()), (Format::Exr, 24));
        assert!(file.notes()[0].contains("stay as they are"), "{:?}", file.notes());
        let page = file.page(0).unwrap();
        assert!(page.is_linear() && page.lost_in(Format::Exr).is_empty());
        assert!(page.image().values().iter().all(|v| (-1.0..=1.0).contains(v)));
        let same = parsed(&rewrite(&bytes, Format::Exr));
        let (before, after) = (&image.layer_data[0], &same.layer_data[0]);
        assert_eq!(after.attributes, before.attributes);
        let exposure = after.attributes.other.iter().chain(&same.attributes.other);
        assert!(exposure.into_iter().any(|(name, _)| name == "exposure"));
        assert_eq!(after.encoding, before.encoding);
        // To the last bit: half precision is coarser than the curve.
        assert_eq!(after.channel_data, before.channel_data);
        let grey = Image::filled(3, 4, 6, page.image().values()[0]).unwrap();
        let black = parsed(&write(&page.with_image(grey).unwrap(), Format::Exr));
        let list = &black.layer_data[0].channel_data.list;
        assert!(list[0].sample_data.values_as_f32().all(|v| v == 0.0));
        assert_eq!(list[3], before.channel_data.list[3]);
    }

    #[test]
    fn other_formats_get_its_light_or_srgb() {
        let (_, bytes) = file();
        let page = read(&bytes).page(0).unwrap();
        let lost = page.lost_in(Format::Png);
        assert!(lost.iter().any(|lost| lost.contains("brighter than white")), "{lost:?}");
        let png = Image::decode(&write(&page, Format::Png)).unwrap();
        // Green is 12/24 at the middle, which sRGB stores as 188 of 255; red is white there.
        assert_eq!((png.values()[12], png.values()[23]), (1.0, 1.0));
        assert!(((png.values()[24 + 12] + 1.0) / 2.0 * 255.0 - 187.5).abs() < 0.6);
        let tiff = read(&write(&page, Format::Tiff)).page(0).unwrap();
        let numbers = |i: usize| (tiff.image().values()[i] + 1.0) / 2.0;
        // As numbers of light, from 0 to the largest.
        assert!((numbers(12) * 23.0 / 6.0 - 2.0).abs() < 1e-3, "{}", numbers(12));
        // Data sets have one white for all images.
        let data = decode(&bytes).unwrap().into_bytes();
        assert_eq!((data[12], data[24 + 12]), (255, 188));
        // And back: a new file of linear light.
        for image in [wide(), DynamicImage::ImageLumaA8(wide().to_luma_alpha8())] {
            let page = read(&encoded(&image, ImageFormat::Png)).page(0).unwrap();
            let exr = read(&write(&page, Format::Exr)).page(0).unwrap();
            assert!(near(exr.image(), page.image(), 2e-3));
            assert_eq!(exr.alpha(), page.alpha());
        }
    }

    #[test]
    fn damaged_files_are_errors() {
        let (_, bytes) = file();
        for length in 0..bytes.len() {
            assert!(ImageFile::read("cut", &bytes[..length]).is_err(), "{length}");
        }
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0xff;
            let _ = ImageFile::read("flipped", &bytes[..]).and_then(|file| file.page(0));
        }
    }
}

/// A GIF of one colour an image.
fn gif(levels: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = image::codecs::gif::GifEncoder::new(&mut bytes);
    encoder.set_repeat(image::codecs::gif::Repeat::Infinite).unwrap();
    let frames = levels.iter().map(|level| {
        let image = image::RgbaImage::from_pixel(4, 3, image::Rgba([*level, 0, 0, 255]));
        let delay = image::Delay::from_numer_denom_ms(70, 1);
        image::Frame::from_parts(image, 0, 0, delay)
    });
    encoder.encode_frames(frames).unwrap();
    drop(encoder);
    bytes
}

#[test]
fn animations_keep_all_their_images() {
    let levels = [10, 90, 170, 250];
    let source = gif(&levels);
    for (from, to) in [
        (source.clone(), Format::Png),
        (source.clone(), Format::WebP),
        (rewrite(&source, Format::Png), Format::Png),
        (rewrite(&source, Format::WebP), Format::WebP),
        (rewrite(&source, Format::Png), Format::WebP),
    ] {
        let file = read(&from);
        assert_eq!((file.pages(), file.page_name()), (4, "image"));
        assert_eq!(file.pixels(3).unwrap(), 12);
        let back = read(&rewrite(&from, to));
        assert_eq!(back.pages(), 4, "{to:?}");
        // In any order, too.
        for at in [0, 1, 2, 3, 1] {
            let page = back.page(at).unwrap();
            assert_eq!(page.image().shape(), (3, 3, 4));
            let level = (page.image().values()[0] + 1.0) * 127.5;
            assert!((level - f32::from(levels[at])).abs() < 1.5, "{to:?} {at}: {level}");
            let (numerator, denominator) = page.extra().delay.unwrap();
            assert_eq!(f64::from(numerator) / f64::from(denominator), 70.0, "{to:?}");
        }
    }
    // Formats of one image have room for one.
    let file = read(&source);
    let mut writer = file.writer(Format::Jpeg);
    writer.add(Path::new("a.jpg"), &file.page(0).unwrap()).unwrap();
    assert!(!writer.has_room());
    // A single image is no animation.
    let single = read(&gif(&[7]));
    assert_eq!((single.pages(), single.page_name()), (1, "page"));
    assert_eq!(read(&rewrite(&gif(&[7]), Format::Png)).pages(), 1);
    // Fewer images than a file says.
    let mut png = rewrite(&source, Format::Png);
    let at = png.windows(4).position(|part| part == b"acTL").unwrap() + 4;
    let crc = {
        let mut body = png[at - 4..at + 8].to_vec();
        body[7] = 9;
        crc32(&body)
    };
    png[at + 3] = 9;
    png[at + 8..at + 12].copy_from_slice(&crc.to_be_bytes());
    let file = read(&png);
    assert!(file.pages() == 9 && file.page(3).is_ok() && file.page(8).is_err());
    for length in 0..source.len() {
        if let Ok(file) = ImageFile::read("cut", &source[..length]) {
            (0..file.pages()).for_each(|page| drop(file.page(page)));
        }
    }
}

/// The checksum of PNG (annex D).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 }
        })
    })
}

#[test]
fn iptc_goes_from_jpeg_to_tiff_and_back() {
    let blocks = b"8BIM\x04\x04\0\0\0\0\0\x04word".to_vec();
    let segment = [&b"\xff\xed\0\x20Photoshop 3.0\0"[..], &blocks].concat();
    let mut jpeg = encoded(&DynamicImage::ImageRgb8(wide().to_rgb8()), ImageFormat::Jpeg);
    jpeg.splice(2..2, segment.clone());
    let page = read(&jpeg).page(0).unwrap();
    assert!(page.lost_in(Format::Jpeg).is_empty() && page.lost_in(Format::Tiff).is_empty());
    assert_eq!(page.lost_in(Format::Png), ["IPTC"]);
    let tiff = rewrite(&jpeg, Format::Tiff);
    let main = read(&tiff).page(0).unwrap().metadata().tags().main;
    assert_eq!(main.iter().find(|tag| tag.id == 34377).unwrap().data, blocks);
    let back = read(&rewrite(&tiff, Format::Jpeg)).page(0).unwrap();
    assert_eq!(back.metadata().segments, [segment]);
    // A second time it is not doubled.
    let again = read(&rewrite(&rewrite(&tiff, Format::Jpeg), Format::Jpeg)).page(0).unwrap();
    assert_eq!(again.metadata().segments, back.metadata().segments);
}

#[test]
fn colours_multiplied_by_alpha_are_divided_where_a_format_wants_them_so() {
    use tiff::encoder::{TiffEncoder, colortype::RGB8};
    let mut bytes = Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut bytes).unwrap();
    let mut image = encoder.new_image::<RGB8>(2, 1).unwrap();
    image.extra_samples(&[tiff::tags::ExtraSamples::AssociatedAlpha]).unwrap();
    image.write_data(&[100, 50, 0, 128, 0, 0, 0, 0]).unwrap();
    let page = read(bytes.get_ref()).page(0).unwrap();
    for format in [Format::Png, Format::WebP, Format::Qoi] {
        let back = image::load_from_memory(&write(&page, format)).unwrap().into_rgba8();
        assert_eq!(back.get_pixel(0, 0).0, [199, 100, 0, 128], "{format:?}");
        assert_eq!(back.get_pixel(1, 0).0[3], 0, "{format:?}");
    }
}

#[test]
fn a_quality_that_is_asked_for_is_used() {
    let page = read(&encoded(&wide(), ImageFormat::Png)).page(0).unwrap();
    let quality = |asked| {
        let mut writer = ImageWriter::new(Format::Jpeg).with_quality(asked);
        writer.add(Path::new("a.jpg"), &page).unwrap();
        read(&writer.into_bytes()).page(0).unwrap().metadata().quality.unwrap()
    };
    assert_eq!([None, Some(40), Some(100)].map(quality), [95, 40, 100]);
}
