//! Image formats with and without the feature `codecs`: what a build lacks is an error that names
//! the feature.

use miyasawa::image::{DecodeError, Format, Image, ImageError, ImageFile, ImageWriter};
use std::path::Path;

const FORMATS: [Format; 8] = [
    Format::Png,
    Format::Jpeg,
    Format::WebP,
    Format::Tiff,
    Format::Bmp,
    Format::Qoi,
    Format::Pnm,
    Format::Exr,
];

fn image() -> Image {
    Image::filled(3, 6, 5, 0.25).unwrap()
}

#[test]
fn png_and_jpeg_are_always_built_and_the_others_with_codecs() {
    let codecs = cfg!(feature = "codecs");
    let built = FORMATS.map(Format::is_built);
    let openexr = cfg!(feature = "openexr");
    assert_eq!(built, [true, true, codecs, codecs, codecs, codecs, codecs, openexr]);
}

#[test]
fn a_format_is_saved_and_opened_or_the_error_names_the_feature() {
    let folder = tempfile::tempdir().unwrap();
    for format in FORMATS {
        let path = folder.path().join("image").with_extension(format.extension());
        match image().save(&path) {
            Ok(()) => {
                assert!(format.is_built());
                let found = Image::open(&path).unwrap();
                assert_eq!(found.shape(), (3, 6, 5));
                assert!(found.values().iter().all(|v| (v - 0.25).abs() < 0.02), "{format:?}");
            }
            Err(error @ ImageError::NotBuilt { .. }) => {
                assert!(!format.is_built() && !path.exists());
                assert!(Image::check_extension(&path).is_err());
                assert!(names_the_feature(&error, format.name()), "{error}");
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_writer_of_pages_has_the_same_formats() {
    let bytes = image().to_png().unwrap();
    let page = ImageFile::read("page.png", bytes.as_slice()).unwrap().page(0).unwrap();
    for format in FORMATS {
        let mut writer = ImageWriter::new(format);
        let added = writer.add(Path::new("pages"), &page);
        assert_eq!(added.is_ok(), format.is_built(), "{added:?}");
        let is_missing = matches!(added, Err(ImageError::NotBuilt { .. }));
        assert_eq!(is_missing, !format.is_built());
        assert_eq!(writer.into_bytes().is_empty(), !format.is_built());
    }
}

/// The first bytes of each format: damaged images where the format is read.
#[test]
fn a_format_that_is_not_read_is_an_error_of_its_own() {
    let files: [(&str, &[u8]); 8] = [
        ("WebP", b"RIFF\x10\0\0\0WEBPVP8L\0\0\0\0"),
        ("TIFF", b"II\x2a\0\x08\0\0\0\0\0\0\0\0\0"),
        ("BMP", b"BM\x10\0\0\0\0\0\0\0\x36\0\0\0"),
        ("GIF", b"GIF89a\x01\0\x01\0\0\0\0"),
        ("QOI", b"qoif\0\0\0\x01\0\0\0\x01\x03\0"),
        ("PNM", b"P6 1 1 255 "),
        ("JPEG XL", b"\xff\x0a\x40\x30"),
        ("OpenEXR", b"v/1\x01\x02\0\0\0"),
    ];
    for (name, bytes) in files {
        let error = Image::decode(bytes).unwrap_err();
        let ImageError::Decode { source, .. } = &error else { panic!("{name}: {error}") };
        let not_built = matches!(source, DecodeError::NotBuilt { .. });
        let features = [
            ("jpeg-xl", cfg!(feature = "jpeg-xl")),
            ("openexr", cfg!(feature = "openexr")),
            ("codecs", cfg!(feature = "codecs")),
        ];
        let is_built = features.contains(&(feature(name), true));
        assert_eq!(not_built, !is_built, "{name}: {error}");
        assert!(!not_built || names_the_feature(&error, name), "{error}");
    }
}

fn feature(format: &str) -> &'static str {
    match format {
        "JPEG XL" => "jpeg-xl",
        "OpenEXR" => "openexr",
        _ => "codecs",
    }
}

fn names_the_feature(error: &ImageError, format: &str) -> bool {
    let text = error.to_string();
    let feature = feature(format);
    text.contains(&format!(" no {format}: build with the feature `{feature}`"))
}
