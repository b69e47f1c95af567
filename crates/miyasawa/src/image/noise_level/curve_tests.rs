use crate::image::camera::CameraNoise;
use crate::image::{Image, ImageError};

/// A slope from dark to bright, its channels alike.
fn slope(channels: usize, side: usize) -> Image {
    let value = |i: usize| 1.9 * ((i % side) as f32 / (side - 1) as f32 - 0.5);
    let values = (0..channels * side * side).map(value).collect();
    Image::new((channels, side, side), values).unwrap()
}

/// The root of the mean square difference at the values between two intensities.
fn truth(noisy: &Image, clean: &Image, channel: usize, between: [f32; 2]) -> f64 {
    let size = noisy.height * noisy.width;
    let plane = |image: &Image| image.values[channel * size..][..size].to_vec();
    let pairs = plane(noisy).into_iter().zip(plane(clean));
    let squares: Vec<f64> = pairs
        .filter(|(_, clean)| (between[0]..between[1]).contains(clean))
        .map(|(noisy, clean)| f64::from(noisy - clean).powi(2))
        .collect();
    (squares.iter().sum::<f64>() / squares.len() as f64).sqrt()
}

#[test]
fn white_noise_has_a_level_curve_and_a_flat_spectrum() {
    for (channels, sigma) in [(1, 0.05), (3, 0.2)] {
        let curve = slope(channels, 192).with_noise(sigma, 1).unwrap().noise_curve();
        assert_eq!(curve.channels(), channels);
        for channel in 0..channels {
            for intensity in [-0.7, -0.3, 0.0, 0.4, 0.7] {
                let found = f64::from(curve.level(channel, intensity)) / sigma;
                assert!((found - 1.0).abs() < 0.12, "{sigma} at {intensity}: {found}");
            }
        }
        assert!((curve.low_share() - 15.0 / 63.0).abs() < 0.02, "{}", curve.low_share());
    }
}

/// Per channel, dark to bright, from little noise to much.
#[test]
fn the_noise_of_a_camera_is_found() {
    for iso in [400.0, 1600.0, 6400.0] {
        let exposure = CameraNoise::iso(iso).expose(&slope(3, 256), 1).unwrap();
        let curve = exposure.noisy.noise_curve();
        assert!((0.35..0.65).contains(&curve.low_share()), "{iso}: {}", curve.low_share());
        for channel in 0..3 {
            for middle in [-0.5f32, 0.0, 0.5] {
                let between = [middle - 0.06, middle + 0.06];
                let truth = truth(&exposure.noisy, &exposure.truth, channel, between);
                let found = f64::from(curve.level(channel, middle)) / truth;
                let name = format!("ISO {iso}, channel {channel} at {middle}: {found}");
                assert!((found - 1.0).abs() < 0.15, "{name}");
            }
        }
    }
}

#[test]
fn the_map_follows_the_intensity() {
    let noisy = CameraNoise::iso(6400.0).expose(&slope(3, 128), 1).unwrap().noisy;
    let curve = noisy.noise_curve();
    let map = curve.level_map(&noisy).unwrap();
    assert_eq!(map.len(), noisy.values.len());
    let column = |x: usize| (0..128).map(|y| map[y * 128 + x]).sum::<f32>() / 128.0;
    assert!(column(20) > 1.15 * column(110), "{} {}", column(20), column(110));
    assert!(matches!(curve.level_map(&slope(1, 8)), Err(ImageError::Shape { .. })));
}

#[test]
fn every_image_has_a_curve() {
    for (channels, height, width) in [(1, 1, 1), (3, 7, 40), (3, 8, 8), (1, 20, 20)] {
        for value in [0.3, 1.0, f32::NAN] {
            let values = vec![value; channels * height * width];
            let image = Image::new((channels, height, width), values).unwrap();
            let curve = image.noise_curve();
            let map = curve.level_map(&image).unwrap();
            assert!(map.iter().all(|level| *level < 1e-3), "{channels} {height} {width}");
            assert!(curve.level(7, f32::NAN) < 1e-3);
        }
    }
}
