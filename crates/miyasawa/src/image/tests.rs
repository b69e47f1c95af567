//! Images written by the tests in every supported form and opened again.

use std::fs;
use std::io::Cursor;
use std::path::PathBuf;

use image::{DynamicImage, ImageBuffer, ImageFormat};
use proptest::prelude::*;

use super::*;
use crate::range::denormalise;

fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// Opens bytes through a file, as users do.
fn open(bytes: &[u8]) -> Result<Image, ImageError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    Image::open(file.path())
}

fn message(bytes: &[u8]) -> String {
    let text = open(bytes).map(|p| p.shape()).unwrap_err().to_string();
    assert!(!text.contains('\n'), "{text}");
    text
}

fn bytes(image: &Image) -> Vec<u8> {
    image.values().iter().map(|&v| denormalise(v)).collect()
}

/// A grey image with a value for every pixel.
fn ramp(height: usize, width: usize) -> Image {
    let values = (0..height * width).map(|i| (i % 256) as u8).collect::<Vec<_>>();
    Image::from_bytes((1, height, width), &values).unwrap()
}

#[test]
fn grey_and_colour_are_opened_from_all_formats() {
    let colour = DynamicImage::ImageRgb8(ImageBuffer::from_fn(5, 4, |x, y| {
        image::Rgb([x as u8, y as u8, 99])
    }));
    let grey = DynamicImage::ImageLuma8(ImageBuffer::from_fn(5, 4, |x, y| {
        image::Luma([(x * 10 + y) as u8])
    }));
    for format in
        [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Tiff, ImageFormat::Bmp, ImageFormat::Gif]
    {
        let image = open(&encode(&colour, format)).unwrap();
        assert_eq!((image.shape(), image.depth()), ((3, 4, 5), Depth::Eight));
        assert_eq!(bytes(&image)[20 + 5 * 2 + 1], 2);
    }
    let image = open(&encode(&grey, ImageFormat::Tiff)).unwrap();
    assert_eq!((image.shape(), bytes(&image)[6]), ((1, 4, 5), 11));
    let image = open(&encode(&grey, ImageFormat::Png)).unwrap();
    assert_eq!((image.shape(), bytes(&image)[6]), ((1, 4, 5), 11));
    let image = open(&encode(&grey, ImageFormat::Jpeg)).unwrap();
    assert_eq!(image.shape(), (1, 4, 5));
    assert!((i32::from(bytes(&image)[6]) - 11).abs() < 4);
    assert_eq!(
        open(&encode(&DynamicImage::new_rgb8(1, 1), ImageFormat::Png)).unwrap().values(),
        [-1.0; 3]
    );
}

#[test]
fn sixteen_bits_keep_their_precision() {
    let wide = ImageBuffer::from_vec(3, 1, vec![0u16, 1000, 65535]).unwrap();
    let image = open(&encode(&DynamicImage::ImageLuma16(wide), ImageFormat::Png)).unwrap();
    assert_eq!(image.values(), [-1.0, 1000.0 / 32767.5 - 1.0, 1.0]);
    // They are written again where the format has room, whatever happened to the image's size and
    // channels.
    let dir = tempfile::tempdir().unwrap();
    let image = image.resize(1, 3).unwrap().center_fit(1, 3).unwrap();
    for (name, channels, depth) in [
        ("a.png", 1, Depth::Sixteen),
        ("b.tif", 3, Depth::Sixteen),
        ("c.TIFF", 1, Depth::Sixteen),
        ("d.webp", 3, Depth::Eight),
        ("e.bmp", 1, Depth::Eight),
    ] {
        let path = dir.path().join(name);
        image.to_channels(channels).unwrap().save(&path).unwrap();
        let back = Image::open(&path).unwrap();
        assert_eq!(back.depth(), depth, "{name}");
        let error = (back.values()[1] - image.values()[1]).abs();
        assert!(
            if depth == Depth::Sixteen { error == 0.0 } else { error < 0.004 },
            "{name}: {error}"
        );
        image.clone().with_depth(Depth::Eight).save(&path).unwrap();
        assert_eq!(Image::open(&path).unwrap().depth(), Depth::Eight, "{name}");
    }
    // Float samples are those of [0, 1].
    let float = ImageBuffer::from_vec(1, 1, vec![0.0f32, 0.25, 1.0]).unwrap();
    let bytes = encode(&DynamicImage::ImageRgb32F(float), ImageFormat::Tiff);
    assert_eq!(open(&bytes).unwrap().values(), [-1.0, -0.5, 1.0]);
    assert_eq!(decode(&bytes).unwrap().into_bytes(), [0, 64, 255]);
    // And as data: rounded to 8 bits.
    let wide = ImageBuffer::from_vec(3, 1, vec![0u16, 1000, 65535]).unwrap();
    let decoded = decode(&encode(&DynamicImage::ImageLuma16(wide), ImageFormat::Png)).unwrap();
    assert_eq!(decoded.into_bytes(), [0, 4, 255]);
}

#[test]
fn transparency_is_laid_over_white() {
    let clear =
        ImageBuffer::from_vec(3, 1, vec![0u8, 0, 0, 0, 100, 100, 100, 255, 0, 0, 0, 128]).unwrap();
    let image = open(&encode(&DynamicImage::ImageRgba8(clear), ImageFormat::Png)).unwrap();
    assert_eq!(bytes(&image)[..3], [255, 100, 127]);
    let clear = ImageBuffer::from_vec(2, 1, vec![0u16, 0, 65535, 65535]).unwrap();
    let image = open(&encode(&DynamicImage::ImageLumaA16(clear), ImageFormat::Png)).unwrap();
    assert_eq!(image.values(), [1.0, 1.0]);
}

/// CMYK as Pillow writes it (Adobe, inverted), and YCCK: red, green, blue and yellow patches.
/// Pillow opens both with these colours, one unit off at most.
#[test]
fn cmyk_jpeg_has_the_right_colours() {
    for file in [&include_bytes!("testdata/cmyk.jpg")[..], include_bytes!("testdata/ycck.jpg")] {
        let image = open(file).unwrap();
        assert_eq!(image.shape(), (3, 16, 64));
        let values = bytes(&image);
        for (x, colour) in
            [(8, [255, 0, 0]), (24, [0, 255, 0]), (40, [20, 40, 250]), (56, [200, 180, 20])]
        {
            for (c, expected) in colour.into_iter().enumerate() {
                let found = i32::from(values[(c * 16 + 8) * 64 + x]);
                assert!((found - expected).abs() <= 1, "x {x} channel {c}: {found}");
            }
        }
    }
}

#[test]
fn exif_orientation_is_applied() {
    // Left half black, right half white; orientation 6: to be turned a quarter clockwise, so black
    // comes to the top.
    let wide = DynamicImage::ImageLuma8(ImageBuffer::from_fn(16, 8, |x, _| {
        image::Luma([if x < 8 { 0 } else { 255 }])
    }));
    let jpeg = encode(&wide, ImageFormat::Jpeg);
    let tiff = [
        &b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01"[..],
        &[1, 0x12, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0],
    ]
    .concat();
    let segment = [&[0xff, 0xe1, 0, (tiff.len() + 2) as u8][..], &tiff].concat();
    let turned = open(&[&jpeg[..2], &segment, &jpeg[2..]].concat()).unwrap();
    assert_eq!(turned.shape(), (1, 16, 8));
    assert!(
        turned.values()[..64].iter().all(|&v| v < -0.9)
            && turned.values()[64..].iter().all(|&v| v > 0.9)
    );
}

#[test]
fn files_that_are_not_images_are_named() {
    let good = encode(
        &DynamicImage::ImageRgb8(ImageBuffer::from_fn(40, 40, |x, y| {
            image::Rgb([(x * y) as u8, 0, x as u8])
        })),
        ImageFormat::Png,
    );
    let jpeg = encode(
        &DynamicImage::ImageRgb8(ImageBuffer::from_fn(40, 40, |x, y| {
            image::Rgb([(x * y) as u8, 0, x as u8])
        })),
        ImageFormat::Jpeg,
    );
    let expected =
        format!("expected a {} image, found bytes that begin with 6a757374", kind::FORMAT_NAMES);
    assert!(message(b"just text").contains(&expected));
    assert!(message(b"").contains("an empty file"));
    assert!(message(b"GIF89a....").contains("expected an intact GIF image"));
    assert!(message(b"qoif....").contains("QOI image"));
    assert!(message(b"farbfeld").contains("format 'ff'"));
    assert!(message(&jpeg[..jpeg.len() / 2]).contains("truncated"));
    assert!(message(&good[..good.len() / 2]).contains("expected an intact PNG image"));
    let missing = PathBuf::from("no/such/image.png");
    assert!(
        Image::open(&missing)
            .unwrap_err()
            .to_string()
            .starts_with("no/such/image.png: cannot be read")
    );
    let dir = tempfile::tempdir().unwrap();
    assert!(Image::open(dir.path()).unwrap_err().to_string().contains("it is a folder"));
}

#[test]
fn a_bomb_is_refused_by_its_header() {
    // A PNG header of 100,000 x 100,000 grey pixels, its check sum right.
    let mut good = encode(&DynamicImage::new_luma8(1, 1), ImageFormat::Png);
    good[16..24].copy_from_slice(&[0, 1, 0x86, 0xa0, 0, 1, 0x86, 0xa0]);
    let sum = crc32(&good[12..29]);
    good[29..33].copy_from_slice(&sum.to_be_bytes());
    let text = message(&good);
    assert!(text.contains("at most 268435456 pixels, found one of 100000x100000"), "{text}");
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 }
        })
    })
}

#[test]
fn saving_keeps_every_value_and_clips() {
    let dir = tempfile::tempdir().unwrap();
    for (name, colour) in [("a.png", true), ("b.PNG", false), ("c.webp", true), ("d.webp", false)] {
        let image = ramp(16, 16).to_channels(if colour { 3 } else { 1 }).unwrap();
        let path = dir.path().join(name);
        image.save(&path).unwrap();
        let back = Image::open(&path).unwrap();
        // WebP has no grey.
        assert_eq!(bytes(&back.to_channels(image.channels()).unwrap()), bytes(&image), "{name}");
    }
    let loud = Image::new((1, 1, 3), vec![-7.0, f32::NAN, 7.0]).unwrap();
    loud.save_png(dir.path().join("no-extension")).unwrap();
    assert_eq!(bytes(&Image::open(dir.path().join("no-extension")).unwrap()), [0, 0, 255]);
    ramp(8, 8).save(dir.path().join("e.jpg")).unwrap();
    assert_eq!(Image::open(dir.path().join("e.jpg")).unwrap().shape(), (1, 8, 8));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 6, "no siblings remain");
    for name in ["x.gif", "x"] {
        let error = ramp(1, 1).save(dir.path().join(name)).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(".png"), "{error}");
        assert!(Image::check_extension(name).is_err());
    }
    let error = ramp(1, 1).save(dir.path().join("none/x.png")).unwrap_err().to_string();
    assert!(error.contains("none/x.png"), "{error}");
    // JPEG ends at 65,535, WebP at 16,384.
    let long = Image::new((1, 1, 70_000), vec![0.0; 70_000]).unwrap();
    for name in ["l.jpg", "l.webp"] {
        let error = long.save(dir.path().join(name)).unwrap_err().to_string();
        assert!(error.contains(name) && !dir.path().join(name).exists(), "{error}");
    }
}

#[test]
fn sizes_are_changed_and_checked() {
    let image = ramp(6, 10).to_channels(3).unwrap();
    assert_eq!(image.resize(3, 7).unwrap().shape(), (3, 3, 7));
    assert_eq!(image.center_fit(6, 10).unwrap(), image);
    let square = image.center_fit(6, 6).unwrap();
    assert_eq!(square.values()[..6], image.values()[2..8]);
    assert_eq!(image.center_fit(3, 9).unwrap().shape(), (3, 3, 9));
    assert!(image.resize(0, 4).is_err() && image.center_fit(1 << 20, 1 << 20).is_err());
    assert!(image.to_channels(2).is_err());
    assert!(Image::new((1, 2, 2), vec![0.0; 3]).is_err() && Image::new((1, 0, 2), vec![]).is_err());
    let grey = Image::new((3, 1, 1), vec![1.0, -1.0, 0.0]).unwrap().to_channels(1).unwrap();
    assert!((grey.values()[0] - (0.299 - 0.587)).abs() < 1e-6);
}

#[test]
fn differences_are_amplified_to_the_full_range() {
    let (image, peak) = Image::new((1, 1, 3), vec![0.0, -0.02, 0.01]).unwrap().amplified();
    assert_eq!((image.values(), peak), (&[0.0, -1.0, 0.5][..], 0.02));
    assert_eq!(Image::new((1, 1, 1), vec![0.0]).unwrap().amplified().1, 1.0);
}

#[test]
fn a_plain_grid_is_images_and_gaps() {
    let (a, b) = (ramp(1, 2), Image::new((3, 1, 1), vec![0.5, 0.0, -0.5]).unwrap());
    let figure = grid(&[vec![a.clone(), b], vec![a.clone()]], 1, 2).unwrap();
    assert_eq!(figure.shape(), (3, 5, 7));
    let row = |y: usize| &figure.values()[y * 7..][..7];
    let (v0, v1) = (a.values()[0], a.values()[1]);
    assert_eq!(row(0), [v0, v0, v1, v1, 1.0, 0.5, 0.5]);
    assert_eq!((row(0), row(2)), (row(1), &[1.0; 7][..]));
    assert_eq!(row(4), [v0, v0, v1, v1, 1.0, 1.0, 1.0]);
    assert!(grid(&[], 1, 1).is_err() && grid(&[vec![a.clone()]], 1, 0).is_err());
    assert!(grid(&[vec![a.clone()]], 1, usize::MAX / 2).is_err());
    assert!(grid(&[vec![a.clone(), a]], usize::MAX / 2, 1).is_err());
}

#[test]
fn captions_are_beside_and_above_the_images() {
    let image = Image::new((3, 20, 20), vec![0.0; 1200]).unwrap();
    let figure = Grid {
        rows: vec![
            GridRow { caption: "σ = 0.1\n31.1 dB".into(), images: vec![&image, &image] },
            GridRow { caption: "σ = 0.4".into(), images: vec![&image] },
        ],
        columns: vec!["noisy".into(), "the denoised image".into()],
        note: "equal to 3e-6 of the largest value".into(),
        scale: 2,
        ..Grid::default()
    };
    let drawn = figure.draw().unwrap();
    let bare = Grid { columns: vec![], note: String::new(), ..figure.clone() }.draw().unwrap();
    assert!(drawn.height() > bare.height() + 30 && drawn.width() >= bare.width());
    // Ink above the first image, below the last, and left of them; paper at the border.
    let dark = |rows: std::ops::Range<usize>, columns: std::ops::Range<usize>| {
        rows.flat_map(|y| columns.clone().map(move |x| (y, x)))
            .filter(|(y, x)| drawn.values()[y * drawn.width() + x] < -0.3)
            .count()
    };
    let (height, width) = (drawn.height(), drawn.width());
    assert!(
        dark(0..30, width / 3..width) > 20
            && dark(height - 22..height, 0..width) > 20
            && dark(20..80, 0..50) > 20
    );
    assert_eq!(
        dark(0..3, 0..width) + dark(0..height, 0..3) + dark(height - 2..height, 0..width),
        0
    );
    if let Some(path) = std::env::var_os("MIYASAWA_FIGURE") {
        drawn.save(path).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn damaged_images_never_panic(
        format in 0usize..7, at: prop::sample::Index, to: u8, cut: Option<prop::sample::Index>,
    ) {
        let colour = |x, y| image::Rgb([(x * 25) as u8, (y * 30) as u8, 7]);
        let image = DynamicImage::ImageRgb8(ImageBuffer::from_fn(9, 7, colour));
        let mut bytes = match format {
            0 => encode(&image, ImageFormat::Png),
            1 => encode(&image, ImageFormat::Jpeg),
            2 => encode(&image, ImageFormat::WebP),
            3 => encode(&image, ImageFormat::Tiff),
            4 => encode(&image, ImageFormat::Bmp),
            5 => encode(&image, ImageFormat::Gif),
            _ => include_bytes!("testdata/ycck.jpg").to_vec(),
        };
        let at = at.index(bytes.len());
        bytes[at] = to;
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let _ = decode(&bytes);
    }
}
