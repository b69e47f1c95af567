use super::{NoiseKind, jpeg};
use crate::image::Image;
use crate::image::camera::{CameraNoise, Demosaic, Jpeg};

/// A slope from dark to bright in slightly different colours, with an edge, and texture in its
/// lower third.
fn scene(side: usize) -> Image {
    let value = |i: usize| {
        let [channel, y, x] = [i / (side * side), i / side % side, i % side].map(|n| n as f32);
        let side = side as f32;
        let texture = 0.25 * (1.3 * x + 0.9 * y).sin() * (0.7 * x - 1.1 * y).cos();
        let edge = if x + y > side { 0.15 } else { -0.15 };
        let slope = 1.3 * (x / side - 0.5) + 0.1 * (channel - 1.0);
        (slope + edge + if y > 0.67 * side { texture } else { 0.0 }).clamp(-1.0, 1.0)
    };
    Image::new((3, side, side), (0..3 * side * side).map(value).collect()).unwrap()
}

fn stored(image: &Image) -> Image {
    Image::decode(&image.to_png().unwrap()).unwrap()
}

fn rms(noisy: &Image, clean: &Image) -> f64 {
    let pairs = noisy.values().iter().zip(clean.values());
    let sum: f64 = pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum();
    (sum / noisy.values().len() as f64).sqrt()
}

#[test]
fn white_noise_is_white_in_floating_point_and_in_a_file() {
    let colour = scene(160);
    for clean in [colour.to_channels(1).unwrap(), colour] {
        for level in [5.0, 25.0, 75.0] {
            let sigma = level / 127.5;
            let noisy = clean.clone().with_noise(sigma, 3).unwrap();
            for image in [stored(&noisy), noisy] {
                let found = image.noise();
                assert_eq!((found.kind, found.compressed), (NoiseKind::White, false), "{level}");
                assert!((found.level / sigma - 1.0).abs() < 0.1, "{level}: {}", found.level);
                assert_eq!(found.level, image.noise_level());
            }
        }
    }
}

#[test]
fn a_file_of_a_camera_is_known_and_has_the_level_of_training() {
    let clean = scene(192);
    for iso in [400.0, 1600.0, 6400.0] {
        for jpeg in [None, Some(Jpeg::new(90)), Some(Jpeg { subsampled: true, ..Jpeg::new(80) })] {
            for demosaic in [Demosaic::GradientCorrected, Demosaic::Bilinear] {
                let camera = CameraNoise { jpeg, demosaic, ..CameraNoise::iso(iso) };
                let exposure = camera.expose(&clean, 1).unwrap();
                let found = exposure.noisy.noise();
                let name = format!("ISO {iso}, {jpeg:?}, {demosaic:?}: {found:?}");
                assert_eq!(found.kind, NoiseKind::Camera, "{name}");
                assert_eq!(found.compressed, jpeg.is_some(), "{name}");
                // Bilinear demosaicking leaves less noise at high frequencies, and of colour at
                // half the resolution it is not to be seen how much detail was lost.
                let plain = demosaic == Demosaic::GradientCorrected
                    && !jpeg.is_some_and(|jpeg| jpeg.subsampled);
                let [least, most] = if plain { [0.6, 1.4] } else { [0.4, 2.5] };
                let ratio = found.level / rms(&exposure.noisy, &exposure.truth);
                assert!((least..most).contains(&ratio), "{name}: {ratio}");
            }
        }
    }
}

/// White noise in a JPEG file is not white for a denoiser, whether it is still correlated or not.
#[test]
fn compression_is_known_from_the_values() {
    let clean = scene(160);
    for level in [5.0, 25.0, 75.0] {
        let noisy = clean.clone().with_noise(level / 127.5, 2).unwrap();
        for quality in [75, 90] {
            let file = Jpeg::new(quality).apply(&noisy).unwrap();
            let found = stored(&file).noise();
            assert!(found.compressed && found.kind == NoiseKind::Camera, "{level} {quality}");
            let ratio = found.level / rms(&file, &clean);
            assert!((0.75..1.25).contains(&ratio), "{level} {quality}: {ratio}");
        }
    }
}

/// Of a clean image nothing but the rounding is wrong, which is found where it is larger than what
/// 8 bits do.
#[test]
fn what_jpeg_rounded_away_is_estimated() {
    let clean = scene(192);
    for quality in [50, 75, 90] {
        let file = Jpeg::new(quality).apply(&clean).unwrap();
        let found = jpeg::Compression::find(&file).unwrap().loss(&file);
        let ratio = found / rms(&file, &clean);
        assert!((0.5..1.8).contains(&ratio), "{quality}: {ratio}");
    }
    assert!(jpeg::Compression::find(&stored(&clean)).is_none());
}

#[test]
fn images_without_noise_and_small_ones_have_an_estimate() {
    for (channels, height, width) in [(1, 1, 1), (3, 1, 9), (3, 8, 8), (1, 9, 30), (3, 64, 64)] {
        for value in [0.3, 1.0, f32::NAN, f32::INFINITY] {
            let values = vec![value; channels * height * width];
            let found = Image::new((channels, height, width), values).unwrap().noise();
            assert!(found.kind == NoiseKind::White && !found.compressed, "{found:?}");
            assert!(found.level < 1e-6 || !value.is_finite(), "{value}: {found:?}");
        }
    }
}
