use super::*;
use crate::random::evaluation_noise;

/// `clean` with noise of the level, stored with 8 bits if so.
fn noisy(
    [channels, height, width]: [usize; 3],
    sigma: f32,
    stored: bool,
    clean: impl Fn(usize, usize) -> f32,
) -> Image {
    let noise = evaluation_noise(1, 0, 0, 1, channels * height * width);
    let value = |i: usize| {
        let value = clean(i / width % height, i % width) + sigma * noise[i];
        if stored { ((value.clamp(-1.0, 1.0) + 1.0) * 127.5).round() / 127.5 - 1.0 } else { value }
    };
    let values = (0..channels * height * width).map(value).collect();
    Image::new((channels, height, width), values).unwrap()
}

fn slopes(y: usize, x: usize) -> f32 {
    (y as f32 - 20.0) * 0.02 + (x as f32 - 20.0) * 0.01 + if x > y { 0.1 } else { -0.1 }
}

#[test]
fn the_noise_that_was_added_is_found() {
    for channels in [1, 3] {
        for sigma in [0.02f32, 0.1, 0.3, 1.0] {
            let found = noisy([channels, 48, 41], sigma, false, slopes).noise_level();
            assert!(
                (found / f64::from(sigma) - 1.0).abs() < 0.1,
                "{channels} channels, {sigma}: {found}"
            );
        }
    }
}

/// Stripes and checks as fine as pixels are not noise: the median of wavelet coefficients estimates
/// 0.2 of them.
#[test]
fn texture_is_not_taken_for_noise() {
    let texture = |y: usize, x: usize| {
        let (y, x) = (y as f32, x as f32);
        0.4 * (x * 1.9).sin() * (y * 2.3).cos() + 0.3 * (0.9 * x + 1.4 * y).sin()
    };
    for (sigma, most) in [(0.0f32, 0.03), (0.1, 0.12)] {
        let image = noisy([3, 96, 96], sigma, true, texture);
        let found = image.noise_level();
        assert!(found >= 0.9 * f64::from(sigma) && found < most, "{sigma}: {found}");
    }
}

/// Rounded and clipped to 8 bits, as files hold it.
#[test]
fn noise_that_was_clipped_is_found() {
    let bright = |y: usize, x: usize| 0.7 * slopes(y, x).sin() + 0.2;
    for sigma in [0.1f32, 0.4, 0.7, 1.0] {
        let found = noisy([3, 96, 96], sigma, true, bright).noise_level();
        assert!((found / f64::from(sigma) - 1.0).abs() < 0.12, "{sigma}: {found}");
    }
}

#[test]
fn a_grey_image_has_the_same_level_however_it_is_stored() {
    let grey = noisy([1, 64, 64], 0.1, true, slopes);
    assert!(grey.is_grey());
    let colour = grey.to_channels(3).unwrap();
    assert!(colour.is_grey());
    assert_eq!(grey.noise_level(), colour.noise_level());
    assert!(!noisy([3, 8, 8], 0.1, true, slopes).is_grey());
}

#[test]
fn small_flat_and_clipped_images_have_an_estimate() {
    let of = |shape, values: Vec<f32>| Image::new(shape, values).unwrap().noise_level();
    assert_eq!(of((1, 1, 1), vec![0.3]), 0.0);
    assert_eq!(of((3, 1, 5), vec![0.3; 15]), 0.0);
    assert_eq!(of((1, 4, 4), vec![0.3; 16]), 0.0);
    assert!(of((3, 32, 32), vec![0.3; 3072]) < 1e-6);
    assert_eq!(of((1, 2, 2), vec![1.0, -1.0, -1.0, 1.0]), 2.0 / MEDIAN);
    assert!(of((1, 2, 2), vec![f32::NAN; 4]).is_nan());
}

/// Half flat, half textured, a part of it saturated.
#[test]
fn flat_parts_tell_the_level_of_a_textured_image() {
    let texture = |y: usize, x: usize| {
        let grain = ((x * 7919 + y * 104_729) % 101) as f32 / 101.0 - 0.5;
        let edge = if y > 100 && x > 100 { 1.2 } else { 0.1 };
        if x < 60 { 0.2 } else { edge + 0.5 * grain }
    };
    for level in [2.0f32, 5.0, 15.0, 25.0] {
        for stored in [false, true] {
            let sigma = level / 127.5;
            let found = noisy([3, 128, 128], sigma, stored, texture).noise_level();
            let ratio = found / f64::from(sigma);
            assert!((ratio - 1.0).abs() < 0.12, "{level} {stored}: {ratio}");
        }
    }
    assert!(127.5 * noisy([3, 128, 128], 0.0, true, texture).noise_level() < 0.3);
}

/// Nearly all of it white, a bright plane, and a dark one: few values or none are without clipping.
#[test]
fn saturated_images_have_the_level_of_what_is_left() {
    type Clean = fn(usize, usize) -> f32;
    let nearly_white: Clean = |y, x| if x < 25 { y as f32 / 256.0 - 0.5 } else { 1.2 };
    let cases: [(&str, Clean); 3] =
        [("nearly white", nearly_white), ("bright", |_, _| 0.9), ("dark", |_, _| -0.7)];
    for (name, clean) in cases {
        for level in [2.0f32, 10.0, 25.0, 75.0] {
            let sigma = level / 127.5;
            let image = noisy([1, 192, 192], sigma, true, |y, x| clean(y, x).clamp(-1.0, 1.0));
            let ratio = image.noise_level() / f64::from(sigma);
            assert!((ratio - 1.0).abs() < 0.1, "{name} {level}: {ratio}");
        }
    }
}

/// Stripes in one direction leave the frequencies across them to the noise.
#[test]
fn texture_of_one_direction_leaves_the_other() {
    let stripes = |_: usize, x: usize| 0.2 * (2.6 * x as f32).sin();
    for level in [2.0f32, 15.0] {
        let sigma = level / 127.5;
        let found = noisy([1, 256, 256], sigma, true, stripes).noise_level();
        assert!((found / f64::from(sigma) - 1.0).abs() < 0.12, "{level}: {found}");
    }
}

/// The squares of a large image are thinned out, and its level stays.
#[test]
fn large_images_have_the_level_of_their_parts() {
    let found = noisy([1, 2100, 2100], 0.1, false, slopes).noise_level();
    assert!((found / 0.1 - 1.0).abs() < 0.03, "{found}");
}

#[test]
fn a_number_is_found_as_in_the_sorted_numbers() {
    let noise = evaluation_noise(4, 0, 0, 1, 1001);
    let sizes: Vec<f32> = noise.iter().map(|v| v.abs()).chain([0.0, 0.25, 0.25, 1e-30]).collect();
    let mut sorted = sizes.clone();
    sorted.sort_by(f32::total_cmp);
    for n in [0, 1, 7, 500, 502, 1004] {
        assert_eq!(nth_smallest(|| sizes.iter().copied(), n), Some(sorted[n]));
    }
    assert_eq!(nth_smallest(|| sizes.iter().copied(), 1005), None);
}
