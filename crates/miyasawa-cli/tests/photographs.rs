//! Photographs come back whole: profiles, metadata, light, depth, quality, animations.

mod common;

use common::*;
use image::{
    DynamicImage, ExtendedColorType, ImageBuffer, ImageDecoder as _, ImageEncoder as _,
    codecs::{jpeg::JpegEncoder, png::PngEncoder},
};
use miyasawa::image::{Depth, Format, Image, ImageFile, ImageWriter};
use std::{fs::File, io::BufReader, path::Path, process::Output};

fn denoise(more: &[&str]) -> Output {
    let output = run(["denoise", &model(), "--sigma", "0.1"].iter().chain(more));
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    output
}

/// A profile of RGB whose curves are powers: 2.2 is Adobe RGB's, 1 is linear light.
fn profile(power: f64) -> Vec<u8> {
    let mut profile = vec![0; 128];
    profile[16..20].copy_from_slice(b"RGB ");
    profile.extend(3u32.to_be_bytes());
    for name in [b"rTRC", b"gTRC", b"bTRC"] {
        profile.extend(name);
        profile.extend([168u32.to_be_bytes(), 16u32.to_be_bytes()].concat());
    }
    profile.extend(b"para\0\0\0\0\0\0\0\0");
    profile.extend(((power * 65536.0) as u32).to_be_bytes());
    profile
}

/// EXIF with a camera and an orientation.
fn exif(orientation: u8) -> Vec<u8> {
    let head = b"II\x2a\0\x08\0\0\0\x02\0";
    let camera = b"\x0f\x01\x02\0\x04\0\0\0Cam\0";
    let turned = [b'\x12', 1, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0];
    [&head[..], camera, &turned, &[0; 4]].concat()
}

/// A PNG of 16 bits with a profile.
fn png(path: &Path, icc: &[u8]) {
    let image: ImageBuffer<image::Rgb<u16>, _> =
        ImageBuffer::from_fn(12, 9, |x, y| image::Rgb([x as u16 * 5000, y as u16 * 7000, 20_000]));
    let mut encoder = PngEncoder::new(File::create(path).unwrap());
    encoder.set_icc_profile(icc.to_vec()).unwrap();
    encoder.set_exif_metadata(exif(1)).unwrap();
    DynamicImage::from(image).write_with_encoder(encoder).unwrap();
}

/// A JPEG with a profile and an orientation.
fn jpeg(path: &Path, quality: u8, orientation: u8) {
    let mut encoder = JpegEncoder::new_with_quality(File::create(path).unwrap(), quality);
    encoder.set_icc_profile(profile(2.2)).unwrap();
    encoder.set_exif_metadata(exif(orientation)).unwrap();
    let image = colour(24, 16);
    encoder.write_image(image.as_raw(), 24, 16, ExtendedColorType::Rgb8).unwrap();
}

/// Profile and EXIF of a PNG or JPEG.
fn described(path: &Path) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
    let reader = image::ImageReader::new(BufReader::new(File::open(path).unwrap()));
    let mut decoder = reader.with_guessed_format().unwrap().into_decoder().unwrap();
    (decoder.icc_profile().unwrap(), decoder.exif_metadata().unwrap())
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|found| found == part)
}

#[test]
fn a_profile_and_exif_go_through_every_format_that_holds_them() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    png(&at("a.png"), &profile(2.2));
    for (from, to) in [
        ("a.png", "b.png"),
        ("b.png", "c.tif"),
        ("c.tif", "d.webp"),
        ("d.webp", "e.jpg"),
        ("e.jpg", "f.jpg"),
        ("f.jpg", "g.png"),
    ] {
        let output = denoise(&[&text(&at(from)), "-o", &text(&at(to))]);
        let said = stderr(&output);
        assert!(!said.contains("colour profile") && !said.contains("EXIF"), "{to}: {said}");
    }
    for name in ["b.png", "e.jpg", "f.jpg", "g.png"] {
        let (icc, exif) = described(&at(name));
        assert_eq!(icc.as_deref(), Some(&profile(2.2)[..]), "{name}");
        assert!(contains(&exif.unwrap(), b"Cam\0"), "{name}");
    }
    for name in ["c.tif", "d.webp"] {
        let bytes = std::fs::read(at(name)).unwrap();
        assert!(contains(&bytes, &profile(2.2)) && contains(&bytes, b"Cam\0"), "{name}");
    }
    for (name, depth) in [("b.png", Depth::Sixteen), ("c.tif", Depth::Sixteen)] {
        assert_eq!(Image::open(at(name)).unwrap().depth(), depth, "{name}");
    }
    // What a format cannot hold is told.
    let output = denoise(&[&text(&at("a.png")), "-o", &text(&at("h.bmp"))]);
    let said = stderr(&output);
    for lost in ["16 bits", "colour profile", "EXIF"] {
        assert!(
            said.contains(&format!("h.bmp: lost in BMP: {lost}")) || said.contains(lost),
            "{said}"
        );
    }
}

#[test]
fn an_orientation_is_applied_once() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    jpeg(&at("a.jpg"), 95, 6);
    denoise(&[&text(&at("a.jpg")), "-o", &text(&at("b.jpg"))]);
    assert_eq!(size(at("b.jpg")), (16, 24));
    let (_, found) = described(&at("b.jpg"));
    assert!(contains(&found.unwrap(), &exif(1)[10..34]), "the camera, and upright");
    denoise(&[&text(&at("b.jpg")), "-o", &text(&at("c.png"))]);
    assert_eq!(size(at("c.png")), (16, 24));
    let before = Image::open(at("a.jpg")).unwrap();
    let after = Image::open(at("b.jpg")).unwrap();
    let error = |a: &Image, b: &Image| {
        a.values().iter().zip(b.values()).map(|(a, b)| (a - b).abs()).sum::<f32>()
    };
    let turned = {
        let mut values = after.values().to_vec();
        values.reverse();
        Image::new(after.shape(), values).unwrap()
    };
    assert!(error(&before, &after) < error(&before, &turned), "the right way up");
}

#[test]
fn linear_light_is_denoised_as_display_values() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    png(&at("linear.png"), &profile(1.0));
    png(&at("plain.png"), &profile(2.2));
    let out = |from: &str, to: &str, more: &[&str]| {
        let (from, to) = (text(&at(from)), text(&at(to)));
        let output = run(["denoise", &model(), &from, "-o", &to].iter().chain(more));
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        stderr(&output)
    };
    let stored = |name: &str| image::open(at(name)).unwrap().into_rgb16().into_raw();
    let said = out("linear.png", "a.png", &["--sigma", "0.2"]);
    assert!(said.contains("linear light"), "{said}");
    assert!(!out("plain.png", "b.png", &["--sigma", "0.2"]).contains("linear light"));
    // The same numbers with another meaning.
    assert_ne!(stored("a.png"), stored("b.png"));
    out("linear.png", "c.png", &["--sigma", "0.2", "--light", "display"]);
    assert_eq!(stored("c.png"), stored("b.png"));
    out("plain.png", "d.png", &["--sigma", "0.2", "--light", "linear"]);
    assert_eq!(stored("d.png"), stored("a.png"));
    // Unchanged without noise, up to rounding.
    out("linear.png", "e.png", &["--sigma", "0"]);
    let (before, after) = (stored("linear.png"), stored("e.png"));
    assert!(before.iter().zip(&after).all(|(a, b)| a.abs_diff(*b) <= 1));
    assert_eq!(described(&at("e.png")).0, Some(profile(1.0)));
    fails(2, ["denoise", &text(&at("plain.png")), "-o", "x.png", "--light", "dim"], &["--light"]);
}

#[test]
fn jpeg_has_the_quality_of_its_source_or_the_one_that_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| text(&dir.path().join(name));
    jpeg(&dir.path().join("high.jpg"), 98, 1);
    jpeg(&dir.path().join("low.jpg"), 30, 1);
    // The first numbers of the tables are 16 of quality 50, scaled.
    let first = |name: &str| {
        let bytes = std::fs::read(at(name)).unwrap();
        let table = bytes.windows(2).position(|pair| pair == [0xff, 0xdb]).unwrap();
        bytes[table + 5]
    };
    for (from, more, expected) in [
        ("high.jpg", &[][..], 1),
        ("low.jpg", &[], 3),
        ("low.jpg", &["--quality", "30"], 27),
        ("high.jpg", &["--quality", "50"], 16),
    ] {
        denoise(&[&[&at(from), "-o", &at("o.jpg")], more].concat());
        assert_eq!(first("o.jpg"), expected, "{from} {more:?}");
    }
    for quality in ["0", "101", "best"] {
        let args = ["denoise", &at("low.jpg"), "-o", &at("o.jpg"), "--quality", quality];
        fails(2, args, &["--quality", quality]);
    }
}

#[test]
fn more_formats_are_read_and_written() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../miyasawa/tests/images/colour.jxl");
    std::fs::create_dir(at("in")).unwrap();
    std::fs::copy(fixture, at("in/a.jxl")).unwrap();
    // JPEG XL becomes PNG.
    denoise(&[&text(&at("in")), "-o", &text(&at("out"))]);
    assert_eq!((names(&at("out")), size(at("out/a.png"))), (vec!["a.png".into()], (12, 9)));
    let from = text(&at("out/a.png"));
    for name in ["b.exr", "b.qoi", "b.ppm", "b.pnm"] {
        denoise(&[&from, "-o", &text(&at(name))]);
        denoise(&[&text(&at(name)), "-o", &text(&at(&format!("again-{name}")))]);
        for name in [name.to_owned(), format!("again-{name}")] {
            let file = ImageFile::open(at(&name)).unwrap();
            assert_eq!(Some(file.format()), Format::of_name(&at(&name)));
            assert_eq!(Image::open(at(&name)).unwrap().shape(), (3, 9, 12), "{name}");
        }
    }
    let output = denoise(&[&text(&at("b.exr")), "-o", &text(&at("c.jpg"))]);
    assert!(stderr(&output).contains("linear light (values become those of sRGB)"));
    let found = json(["classify", &model(), &text(&at("b.exr")), "--json"]);
    assert_eq!(found["images"].as_array().unwrap().len(), 1);
}

#[test]
fn all_images_of_an_animation_are_denoised() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    // An animated PNG by the library's own writer would need one to begin with: a GIF of three
    // images of one colour, by its specification.
    let image = b",\0\0\0\0\x02\0\x02\0\0\x02\x03\x44\x02\x05\0";
    let wait = b"!\xf9\x04\0\x05\0\0\0";
    let head = b"GIF89a\x02\0\x02\0\x80\0\0\0\0\0\xff\xff\xff!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0";
    let frames = [&wait[..], image].concat().repeat(3);
    std::fs::write(at("a.gif"), [&head[..], &frames, b";"].concat()).unwrap();
    let (from, out) = (text(&at("a.gif")), text(&at("o.png")));
    let found = json(["denoise", &model(), &from, "--sigma", "0.1", "-o", &out, "--json"]);
    assert_eq!(found["images"][0]["pages"].as_array().unwrap().len(), 3, "{found}");
    for (from, to) in [("o.png", "o.webp"), ("o.webp", "p.png")] {
        denoise(&[&text(&at(from)), "-o", &text(&at(to))]);
        assert_eq!(ImageFile::open(at(to)).unwrap().pages(), 3, "{to}");
    }
    for (to, said) in [
        ("o.jpg", "JPEG holds one image: 2 more are left out, PNG and WebP hold all"),
        ("o.bmp", "BMP holds one image"),
    ] {
        let output = denoise(&[&from, "-o", &text(&at(to))]);
        assert!(stderr(&output).contains(said), "{}", stderr(&output));
    }
    let output = run(["classify", &model(), &from]);
    assert!(stderr(&output).contains("the first of its 3 images"), "{}", stderr(&output));
}

#[test]
fn floats_of_tiff_stay_what_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| text(&dir.path().join(name));
    let values = (0..192).map(|i| i as f32 / 96.0 - 1.0).collect();
    Image::new((3, 8, 8), values).unwrap().save(at("a.exr")).unwrap();
    // A TIFF of 32-bit floats, which an OpenEXR becomes.
    let mut writer = ImageWriter::new(Format::Tiff);
    let page = ImageFile::open(at("a.exr")).unwrap().page(0).unwrap();
    writer.add(Path::new("a.tif"), &page).unwrap();
    writer.save(Path::new(&at("a.tif"))).unwrap();
    let said = stderr(&denoise(&[&at("a.tif"), "-o", &at("b.tif")]));
    assert!(!said.contains("WARN"), "{said}");
    let bytes = std::fs::read(at("b.tif")).unwrap();
    // SampleFormat, of which there are three: 3 is floating point.
    assert!(contains(&bytes, &[83, 1, 3, 0, 3, 0, 0, 0]) || cfg!(target_endian = "big"));
    assert_eq!(Image::open(at("b.tif")).unwrap().shape(), (3, 8, 8));
}

/// A denoiser learns from patches of a folder of photographs as it is: of any sizes and formats, in
/// memory or streamed, which gives the same weights.
#[test]
fn training_takes_patches_of_a_folder_of_any_photographs() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::create_dir_all(at("photos/more")).unwrap();
    let deep: ImageBuffer<image::Rgb<u16>, _> =
        ImageBuffer::from_fn(20, 31, |x, y| image::Rgb([x as u16 * 3000, y as u16 * 2000, 9]));
    colour(40, 24).save(at("photos/wide.png")).unwrap();
    colour(18, 50).save(at("photos/tall.jpg")).unwrap();
    deep.save(at("photos/more/deep.tif")).unwrap();
    grey(33, 33).save(at("photos/grey.bmp")).unwrap();
    colour(25, 25).save(at("photos/more/small.ppm")).unwrap();
    colour(12, 90).save(at("photos/more/narrow.png")).unwrap();
    let weights = |name: &str, stream: &str| {
        let photos = format!("data.train={}", text(&at("photos")));
        let stream = format!("data.stream={stream}");
        let settings = [
            photos.as_str(),
            &stream,
            "data.unlabelled=true",
            "data.channels=3",
            "augment.patch=16",
            "loss.ce_weight=0",
            "schedule.batch=8",
        ];
        let more: Vec<&str> = settings.iter().flat_map(|set| ["--set", set]).collect();
        let output = train(&at(name), 3, &more);
        assert!(output.status.success(), "{}", stderr(&output));
        let said = stderr(&output);
        assert!(said.contains("left out") && said.contains("narrow.png"), "{said}");
        bytes(&at(name), "model.safetensors")
    };
    assert_eq!(weights("a", "never"), weights("b", "always"));
    // Classes are not guessed.
    let photos = format!("data.train={}", text(&at("photos")));
    let parts = ["every image in a class folder or none", "data.unlabelled=true"];
    fails(1, ["train", "--set", &photos, "--out", &text(&at("c"))], &parts);

    let model = text(&at("a/model.safetensors"));
    let (from, out) = (text(&at("photos/wide.png")), text(&at("out.png")));
    ok(["denoise", &model, &from, "--sigma", "0.1", "-o", &out]);
    assert_eq!(size(&out), (40, 24));
}
