use super::*;
use ::image::ImageDecoder;
use ::image::codecs::jpeg::{JpegDecoder, JpegEncoder};

fn flat(side: usize, value: f32) -> Image {
    Image::filled(3, side, side, value).unwrap()
}

/// A picture with edges, slopes and texture, its channels different.
fn scene(height: usize, width: usize) -> Image {
    let value = |i: usize| {
        let (c, y, x) = (i / (height * width), i / width % height, i % width);
        let (y, x) = (y as f32 / 40.0, x as f32 / 40.0);
        let edge = if x + 0.5 * y > 1.1 { 0.3 } else { -0.2 };
        0.5 * (3.0 * x + c as f32).sin() * (2.0 * y).cos() + edge + 0.06 * (25.0 * x).sin()
    };
    let values = (0..3 * height * width).map(value).map(|v| v.clamp(-1.0, 1.0)).collect();
    Image::new((3, height, width), values).unwrap()
}

/// What the camera adds, channel by channel.
fn residual(exposure: &Exposure) -> Vec<Vec<f64>> {
    let (_, height, width) = exposure.noisy.shape();
    let of = |(a, b): (&f32, &f32)| f64::from(a - b);
    let all: Vec<f64> =
        exposure.noisy.values().iter().zip(exposure.truth.values()).map(of).collect();
    all.chunks_exact(height * width).map(<[f64]>::to_vec).collect()
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}

/// In linear light noise has the mean 0 (on the display it has not: the curve bends it).
#[test]
fn noise_has_the_mean_zero() {
    for iso in [400.0, 6400.0] {
        for value in [-0.5f32, 0.0, 0.5] {
            let camera = CameraNoise { eight_bits: false, ..CameraNoise::iso(iso) };
            let exposure = camera.expose(&flat(256, value), 1).unwrap();
            let light = colour::linear(f64::from(0.5 * value + 0.5));
            for plane in exposure.noisy.values().chunks_exact(256 * 256) {
                let linear = |v: &f32| colour::linear(f64::from(0.5 * v + 0.5)) - light;
                let values: Vec<f64> = plane.iter().map(linear).collect();
                let deviation = mean(values.iter().map(|v| v * v)).sqrt();
                let mean = mean(values.into_iter());
                // The mean of 65,536 values spreads by 1/256 of their deviation, or by more, as
                // neighbours share noise.
                assert!(mean.abs() < 0.03 * deviation, "ISO {iso} at {value}: {mean}");
            }
        }
    }
}

/// The variance in linear light is that of the sensor times the filter's, `a*x + b`: a line in x.
#[test]
fn variance_grows_with_the_light() {
    // One channel alone counts: no colour matrix, and equal gains.
    let camera = CameraNoise {
        white_balance: [1.0; 3],
        colour_matrix: 0.0,
        eight_bits: false,
        demosaic: Demosaic::Bilinear,
        ..CameraNoise::iso(1600.0)
    };
    for light in [0.05f64, 0.2, 0.7] {
        let value = (2.0 * colour::display(light) - 1.0) as f32;
        let exposure = camera.expose(&flat(256, value), 2).unwrap();
        let green = &exposure.noisy.values()[256 * 256..][..256 * 256];
        let linear = green.iter().map(|v| colour::linear(f64::from(0.5 * v + 0.5)));
        let variance = mean(linear.map(|v| (v - light).powi(2)));
        // Half of the pixels are the sensor's, half the mean of four.
        let sensor = f64::from(camera.shot) * light + f64::from(camera.read);
        let expected = sensor * (1.0 + 0.25) / 2.0;
        assert!((variance / expected - 1.0).abs() < 0.05, "{light}: {variance}, {expected}");
    }
}

/// Neighbours share what demosaicking spreads.
#[test]
fn noise_is_correlated() {
    let exposure = CameraNoise::iso(3200.0).expose(&flat(256, 0.0), 3).unwrap();
    for (c, plane) in residual(&exposure).iter().enumerate() {
        let variance = mean(plane.iter().map(|v| v * v));
        let pairs: Vec<f64> = plane
            .chunks_exact(256)
            .flat_map(|row| row.windows(2).map(|pair| pair[0] * pair[1]))
            .collect();
        let correlation = mean(pairs.into_iter()) / variance;
        assert!((0.1..0.8).contains(&correlation), "channel {c}: {correlation}");
    }
}

#[test]
fn the_same_seed_gives_the_same_noise_and_another_one_other() {
    let camera = CameraNoise { jpeg: Some(Jpeg::new(90)), ..CameraNoise::iso(800.0) };
    let image = scene(40, 51);
    let [a, b, c] = [1, 1, 2].map(|seed| camera.expose(&image, seed).unwrap());
    assert_eq!(a, b);
    assert_ne!(a.noisy, c.noisy);
    assert_eq!(a.truth, c.truth);
}

/// Without noise the camera shows the image: demosaicking costs little on smooth images, rounding
/// half a level.
#[test]
fn without_noise_the_image_comes_back() {
    let camera = CameraNoise { shot: 0.0, read: 0.0, ..CameraNoise::iso(100.0) };
    for value in [-1.0f32, -0.9, 0.0, 0.8, 1.0] {
        let exposure = camera.expose(&flat(16, value), 1).unwrap();
        for found in exposure.noisy.values() {
            assert!((found - value).abs() < 1.1 / 127.5, "{value}: {found}");
        }
    }
}

#[test]
fn grey_images_stay_grey() {
    let grey = scene(32, 24).to_channels(1).unwrap();
    let exposure = CameraNoise::iso(800.0).expose(&grey, 1).unwrap();
    assert_eq!(exposure.noisy.shape(), (1, 32, 24));
    assert_eq!(exposure.truth.shape(), (1, 32, 24));
}

#[test]
fn what_is_no_camera_is_an_error() {
    let camera = CameraNoise::iso(100.0);
    assert!(matches!(
        camera.expose(&Image::filled(3, 1, 5, 0.0).unwrap(), 0),
        Err(ImageError::Shape { .. })
    ));
    for wrong in [
        CameraNoise { shot: -1.0, ..camera },
        CameraNoise { read: f32::NAN, ..camera },
        CameraNoise { white_balance: [1.0, 0.0, 1.0], ..camera },
        CameraNoise::iso(f64::NAN),
    ] {
        assert!(matches!(wrong.expose(&flat(4, 0.0), 0), Err(ImageError::Noise { .. })));
    }
}

/// Random cameras differ, and all of them are cameras.
#[test]
fn random_cameras_expose() {
    let mut rng = example_rng(1, 0, 0, stream::CAMERA);
    let image = scene(33, 47);
    let cameras: Vec<_> = (0..64).map(|_| CameraNoise::random(&mut rng)).collect();
    for camera in &cameras {
        let exposure = camera.expose(&image, 1).unwrap();
        assert!(exposure.noisy.values().iter().all(|v| (-1.0..=1.0).contains(v)), "{camera:?}");
    }
    let with_jpeg = cameras.iter().filter(|camera| camera.jpeg.is_some()).count();
    assert!((32..64).contains(&with_jpeg));
    assert!(cameras.iter().any(|c| c.shot < 1e-4) && cameras.iter().any(|c| c.shot > 5e-3));
}

/// The round trip is what the encoder and decoder of the `image` crate return.
#[test]
fn the_round_trip_is_that_of_an_encoder() {
    let noisy = CameraNoise::iso(1600.0).expose(&scene(61, 83), 1).unwrap().noisy;
    let (_, height, width) = noisy.shape();
    let size = height * width;
    let bytes: Vec<u8> = (0..3 * size)
        .map(|i| crate::range::denormalise(noisy.values()[i % 3 * size + i / 3]))
        .collect();
    for quality in [50, 75, 90, 98] {
        let mut file = Vec::new();
        JpegEncoder::new_with_quality(&mut file, quality)
            .encode(&bytes, width as u32, height as u32, ::image::ExtendedColorType::Rgb8)
            .unwrap();
        let decoder = JpegDecoder::new(std::io::Cursor::new(&file)).unwrap();
        let mut decoded = vec![0; decoder.total_bytes() as usize];
        decoder.read_image(&mut decoded).unwrap();
        let mut planes: Vec<f32> = noisy.values().iter().map(|v| 0.5 + 0.5 * v).collect();
        Jpeg::new(quality).round_trip(&mut planes, (height, width));
        let differ = |i: usize| {
            let ours = f64::from((255.0 * planes[i % 3 * size + i / 3]).clamp(0.0, 255.0));
            [ours - f64::from(decoded[i]), ours - f64::from(bytes[i])]
        };
        let rms = |which: usize| mean((0..3 * size).map(|i| differ(i)[which].powi(2))).sqrt();
        let (between, lost) = (rms(0), rms(1));
        // The encoder cuts cosines to whole numbers before it divides them, which loses up to 1 of
        // each and leads some to another multiple, a difference of a whole step: 1.05 of 7.6 at 50,
        // 1.6 of 6.5 at 75, 1.3 of 1.7 at 98.
        assert!(between < 1.2 + 0.2 * lost, "{quality}: {between} of {lost}");
    }
}

/// 4:2:0 keeps grey images and slow changes of colour; the grid's offset only moves the blocks.
#[test]
fn subsampling_and_offsets_keep_smooth_images() {
    let (height, width) = (37, 50);
    let smooth = |c: usize, y: usize, x: usize| 0.3 + 0.1 * c as f32 + 0.004 * (x + y) as f32;
    let planes: Vec<f32> = (0..3 * height * width)
        .map(|i| smooth(i / (height * width), i / width % height, i % width))
        .collect();
    for subsampled in [false, true] {
        for offset in [(0, 0), (3, 5), (7, 0)] {
            let mut found = planes.clone();
            Jpeg { quality: 95, subsampled, offset }.round_trip(&mut found, (height, width));
            let worst = planes.iter().zip(&found).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 0.02, "{subsampled} {offset:?}: {worst}");
        }
    }
}

/// Without noise next to nothing is between an image and its truth, whatever the JPEG: at edges of
/// colour the lost resolution would be ten times as much.
#[test]
fn the_truth_has_the_resolution_of_the_file() {
    let value = |i: usize| {
        let (channel, x) = (i / (40 * 40), i % 40);
        if (x / 3 + channel).is_multiple_of(2) { 0.5 } else { -0.5 }
    };
    let edges = Image::new((3, 40, 40), (0..3 * 40 * 40).map(value).collect()).unwrap();
    for subsampled in [false, true] {
        let jpeg = Some(Jpeg { subsampled, ..Jpeg::new(100) });
        let camera = CameraNoise { shot: 0.0, read: 0.0, jpeg, ..CameraNoise::iso(100.0) };
        let Exposure { noisy, truth } = camera.expose(&edges, 1).unwrap();
        let pairs = noisy.values().iter().zip(truth.values());
        let error = pairs.map(|(a, b)| (a - b).abs()).sum::<f32>() / 4800.0;
        assert!(error < 0.02, "{subsampled}: {error}");
    }
}
