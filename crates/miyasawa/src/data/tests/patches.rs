//! Squares out of images of any size.

use super::*;

const SIDE: usize = 6;

/// Images of five sizes, of which the last two are too small.
fn images() -> tempfile::TempDir {
    let of = |(i, &(width, height)): (usize, &(u32, u32))| {
        let image = image::RgbImage::from_fn(width, height, |x, y| {
            image::Rgb([x * 9, y * 9, i as u32 * 40].map(|v| v as u8))
        });
        (format!("{i}.png"), encode(image.into(), image::ImageFormat::Png))
    };
    let sizes = [(20, 9), (9, 20), (6, 6), (5, 30), (30, 3)];
    let files: Vec<(String, Vec<u8>)> = sizes.iter().enumerate().map(of).collect();
    folder(&files.iter().map(|(path, bytes)| (path.as_str(), bytes.clone())).collect::<Vec<_>>())
}

fn opened(path: &Path, stream: Streaming, side: usize) -> Result<Images, DataError> {
    let options = OpenOptions { patch: Some(side), stream, ..OpenOptions::default() };
    DataSource::Path(path.to_owned()).open(Part::Train, &options)
}

fn example(images: &Images, index: u32, epoch: u64) -> Vec<f32> {
    let stream = images.stream().unwrap();
    let mut values = vec![0.0; images.image_len()];
    let augment = Augment { flip: true, rotate: true, ..Augment::default() };
    stream.example(index, &augment, [3, epoch], &mut values).unwrap();
    values
}

#[test]
fn patches_are_the_same_from_memory_and_from_files() {
    let dir = images();
    let kept = opened(dir.path(), Streaming::Auto, SIDE).unwrap();
    let read = opened(dir.path(), Streaming::Always, SIDE).unwrap();
    assert_eq!((kept.len(), kept.geometry()), (5, Geometry::new(3, SIDE, SIDE)));
    assert_eq!((read.len(), read.geometry()), (5, kept.geometry()));
    assert_eq!(kept.load(&[0, 1, 4]).unwrap(), read.load(&[0, 1, 4]).unwrap());
    for index in 0..5 {
        assert_eq!(example(&kept, index, 1), example(&read, index, 1));
    }
    assert_ne!(example(&kept, 0, 1), example(&kept, 0, 2));
    // The next image that is large enough takes the place of one that is not.
    let blue = |index| example(&read, index, 0)[2 * SIDE * SIDE];
    assert_eq!((blue(3), blue(4)), (blue(0), blue(0)));
    assert_ne!(blue(0), blue(1));
    let (mean, std) = kept.mean_std();
    assert!(mean.is_finite() && std > 0.0);
}

#[test]
fn images_that_are_all_too_small_are_an_error() {
    let dir = images();
    for stream in [Streaming::Auto, Streaming::Always] {
        let error = opened(dir.path(), stream, 21).unwrap_err().to_string();
        assert!(error.contains("at least 21x21, the size of a patch"), "{error}");
    }
}

#[test]
fn sets_in_memory_give_patches_too() {
    let pixels: Vec<u8> = (0..2 * 80).collect();
    let geometry = Geometry::new(1, 8, 10);
    let data = Dataset::new("mine", geometry, vec!["a".into()], pixels, vec![0, 0]).unwrap();
    let patches = Images::from(data.clone()).patches(4).unwrap();
    assert_eq!((patches.len(), patches.geometry()), (2, Geometry::new(1, 4, 4)));
    assert_eq!(patches.mean_std(), data.mean_std());
    assert_eq!(patches.load(&[1]).unwrap().image(0)[..4], [103, 104, 105, 106]);
    assert!(patches.clone().patches(4).is_ok());
    assert!(patches.patches(5).unwrap_err().to_string().contains("another stream"));
    assert!(Images::from(data.clone()).patches(9).is_err());
    assert!(Images::from(data).patches(0).is_err());
}
