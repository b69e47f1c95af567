//! What holds of all corruptions, and closed forms of some.

use super::planes::{Border, gaussian, motion_blur, zoomed};
use super::*;
use crate::image::camera::Jpeg;
use crate::range::to_unit;

/// Waves, edges and a gradient, different in every channel.
fn scene(channels: usize, height: usize, width: usize) -> Image {
    let value = |i: usize| {
        let (c, y, x) = (i / (height * width), i / width % height, i % width);
        let edge = if (x / 5 + y / 7) % 2 == 0 { 0.4 } else { -0.3 };
        let wave = ((0.7 * x as f32 + 1.3 * c as f32).sin() + (0.45 * y as f32).cos()) * 0.25;
        edge + wave + 0.2 * (x as f32 - y as f32) / (height + width) as f32
    };
    let values = (0..channels * height * width).map(value).collect();
    Image::new((channels, height, width), values).unwrap()
}

/// The mean squared change of images of 32 by 32 pixels, in [0, 1].
fn change(corruption: Corruption, severity: Severity) -> f64 {
    let image = scene(3, 32, 32);
    let change = |index| {
        let found = corruption.apply(&image, severity, 3, index);
        let pairs = found.values().iter().zip(image.values());
        pairs.map(|(a, b)| f64::from(0.5 * (a - b)).powi(2)).sum::<f64>() / 3072.0
    };
    (0..24).map(change).sum::<f64>() / 24.0
}

#[test]
fn every_image_keeps_its_shape_and_has_values_of_8_bits() {
    let shapes =
        [(1, 1, 1), (3, 1, 1), (1, 1, 9), (3, 2, 1), (1, 5, 7), (3, 8, 8), (3, 33, 20), (1, 2, 70)];
    for (channels, height, width) in shapes {
        let mut image = scene(channels, height, width);
        image.values[0] = f32::NAN;
        for (corruption, severity) in
            Corruption::ALL.into_iter().flat_map(|c| Severity::ALL.map(|severity| (c, severity)))
        {
            let found = corruption.apply(&image, severity, 1, 2);
            assert_eq!(found.shape(), image.shape());
            let whole = |value: &f32| {
                let level = 255.0 * to_unit(*value);
                (-1.0..=1.0).contains(value) && (level - level.round()).abs() < 1e-3
            };
            assert!(found.values().iter().all(whole), "{corruption} {severity}");
        }
    }
}

#[test]
fn random_numbers_are_a_function_of_seed_severity_and_index() {
    use Corruption::*;
    let (image, severity) = (scene(3, 32, 32), Severity(4));
    for corruption in Corruption::ALL {
        let found = corruption.apply(&image, severity, 1, 2);
        assert_eq!(found, corruption.apply(&image, severity, 1, 2), "{corruption}");
        let without = [DefocusBlur, ZoomBlur, Brightness, Contrast, Pixelate, JpegCompression];
        for (seed, index) in [(2, 2), (1, 3)] {
            let same = found == corruption.apply(&image, severity, seed, index);
            assert_eq!(same, without.contains(&corruption), "{corruption}");
        }
        assert_ne!(found, corruption.apply(&image, Severity(5), 1, 2), "{corruption}");
    }
}

#[test]
fn a_larger_severity_changes_more() {
    use Corruption::*;
    for corruption in Corruption::ALL {
        let changes = Severity::ALL.map(|severity| change(corruption, severity));
        // The first elastic transform is a large affine map. At the fourth severity glass blur has
        // a narrower Gaussian than at the third. Snow and frost differ in kind between severities,
        // and Pillow's box filter keeps some regular textures better at a smaller size.
        // The angle of motion blur is another for every severity.
        let unsteady = [ElasticTransform, GlassBlur, MotionBlur, Snow, Frost, Pixelate];
        let steady = !unsteady.contains(&corruption);
        assert!(!steady || changes.is_sorted(), "{corruption}: {changes:?}");
        let grows = changes[4] > 1.2 * changes[0];
        assert!(grows || corruption == ElasticTransform, "{corruption}: {changes:?}");
        assert!(changes.iter().all(|change| *change > 1e-5), "{corruption}: {changes:?}");
    }
}

/// A flat image stays flat under what only moves and averages.
#[test]
fn blurs_leave_flat_images_alone() {
    use Corruption::*;
    let image = Image::from_bytes((3, 17, 32), &[90; 3 * 17 * 32]).unwrap();
    for corruption in
        [DefocusBlur, GlassBlur, MotionBlur, ZoomBlur, Contrast, ElasticTransform, Pixelate]
    {
        for severity in Severity::ALL {
            assert_eq!(corruption.apply(&image, severity, 0, 0), image, "{corruption} {severity}");
        }
    }
}

#[test]
fn noise_has_its_moments() {
    let image = Image::from_bytes((1, 200, 200), &[102; 40_000]).unwrap();
    let units = |corruption: Corruption, severity| -> Vec<f64> {
        let found = corruption.apply(&image, severity, 5, 6);
        found.values().iter().map(|value| f64::from(to_unit(*value))).collect()
    };
    let moments = |values: &[f64]| {
        let mean = values.iter().sum::<f64>() / 40_000.0;
        let square = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 40_000.0;
        (mean, square.sqrt())
    };
    for (severity, c) in Severity::ALL.into_iter().zip([0.04, 0.06, 0.08, 0.09, 0.1]) {
        let (mean, deviation) = moments(&units(Corruption::GaussianNoise, severity));
        // Values are cut to the level below.
        assert!((mean - 0.4 + 0.5 / 255.0).abs() < 2e-3, "{mean}");
        assert!((deviation / c - 1.0).abs() < 0.02, "{deviation}");
    }
    for (severity, c) in Severity::ALL.into_iter().zip([500.0f64, 250.0, 100.0, 75.0, 50.0]) {
        let (mean, deviation) = moments(&units(Corruption::ShotNoise, severity));
        assert!((mean - 0.4).abs() < 4e-3, "{mean}");
        // 250 photons fall on 256 levels with a gap in the middle: 2% more.
        assert!((deviation / (0.4 / c).sqrt() - 1.0).abs() < 0.03, "{deviation}");
    }
    for (severity, c) in Severity::ALL.into_iter().zip([0.01, 0.02, 0.03, 0.05, 0.07]) {
        let values = units(Corruption::ImpulseNoise, severity);
        for end in [0.0, 1.0] {
            let share = values.iter().filter(|value| **value == end).count() as f64 / 40_000.0;
            assert!((share - 0.5 * c).abs() < 2e-3, "{share} {c}");
        }
    }
}

#[test]
fn light_has_its_closed_forms() {
    let image = Image::from_bytes((3, 1, 2), &[100, 200, 50, 0, 0, 0]).unwrap();
    let bytes = |corruption: Corruption, severity| -> Vec<u8> {
        let found = corruption.apply(&image, Severity(severity), 0, 0);
        found.values().iter().map(|value| (255.0 * to_unit(*value)).round() as u8).collect()
    };
    // The value of the first pixel, 100, becomes 151 at 0.2; that of the second, 200, becomes 251.
    assert_eq!(bytes(Corruption::Brightness, 4), [151, 251, 75, 0, 0, 0]);
    // Means are 150, 25 and 0.
    assert_eq!(bytes(Corruption::Contrast, 2), [125, 175, 37, 12, 0, 0]);
    let same = Jpeg { subsampled: true, ..Jpeg::new(50) };
    let scene = scene(3, 19, 24);
    assert_eq!(
        Corruption::JpegCompression.apply(&scene, Severity(4), 0, 0),
        same.apply(&scene).unwrap()
    );
}

#[test]
fn borders_repeat_and_mirror() {
    let at = |border: Border| (-4..7).map(|i| border.index(i, 3)).collect::<Vec<_>>();
    assert_eq!(at(Border::Nearest), [0, 0, 0, 0, 0, 1, 2, 2, 2, 2, 2]);
    assert_eq!(at(Border::Reflect), [2, 2, 1, 0, 0, 1, 2, 2, 1, 0, 0]);
    assert_eq!(at(Border::Mirror), [0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2]);
    for border in [Border::Nearest, Border::Reflect, Border::Mirror] {
        assert!((-9..9).all(|i| border.index(i, 1) == 0));
    }
}

#[test]
fn a_motion_is_along_its_line() {
    let mut plane = vec![0.0; 81];
    plane[4 * 9 + 4] = 1.0;
    // At 0 degrees each place takes from those on its right.
    let found = motion_blur(&plane, (9, 9), (1, 1.0), 0.0);
    let sum = 1.0 + (-0.5f32).exp() + (-2.0f32).exp();
    let row = [(-2.0f32).exp() / sum, (-0.5f32).exp() / sum, 1.0 / sum];
    for (i, value) in found.iter().enumerate() {
        let expected = if (38..=40).contains(&i) { row[i - 38] } else { 0.0 };
        assert!((value - expected).abs() < 1e-6, "{i}: {value}");
    }
    // At -90 degrees from those above.
    let found = motion_blur(&plane, (9, 9), (1, 1.0), -90.0);
    assert!((found[5 * 9 + 4] - row[1]).abs() < 1e-6 && found[3 * 9 + 4] == 0.0);
}

/// Values of SciPy and Pillow: scripts/corruptions_oracle.py.
#[test]
fn agrees_with_scipy_and_pillow() {
    let plane: Vec<f32> =
        (0..81).map(|i| ((7 * (i / 9) + 3 * (i % 9) * (i % 9)) % 11) as f32 / 11.0).collect();
    let check = |found: &[f32], expected: [f32; 9]| {
        for (value, expected) in found[36..45].iter().zip(expected) {
            assert!((value - expected).abs() < 1e-5, "{value} {expected}");
        }
    };
    check(&zoomed(&plane, (9, 9), 1.75), ZOOMED);
    check(&gaussian(&plane, (9, 9), 0.4, 4.0, Border::Nearest), BLURRED);
    check(&gaussian(&plane, (9, 9), 1.5, 3.0, Border::Reflect), REFLECTED);
    let bytes: Vec<u8> = (0..81).map(|i| (37 * (i / 9) * (i % 9) + 11 * i) as u8).collect();
    let image = Image::from_bytes((1, 9, 9), &bytes).unwrap();
    let found = Corruption::Pixelate.apply(&image, Severity(5), 0, 0);
    let expected = Image::from_bytes((1, 9, 9), &PIXELATED).unwrap();
    assert_eq!(found, expected);
}

const ZOOMED: [f32; 9] =
    [0.323232, 0.222222, 0.157127, 0.235690, 0.312009, 0.384961, 0.491582, 0.620651, 0.646465];
const BLURRED: [f32; 9] =
    [0.554838, 0.761061, 0.580881, 0.096287, 0.814845, 0.384035, 0.384035, 0.814844, 0.073846];
const REFLECTED: [f32; 9] =
    [0.495549, 0.474923, 0.450504, 0.437229, 0.432589, 0.428952, 0.427788, 0.427974, 0.425948];
const PIXELATED: [u8; 81] = [
    65, 65, 124, 124, 40, 84, 84, 143, 143, 65, 65, 124, 124, 40, 84, 84, 143, 143, 108, 108, 123,
    123, 22, 113, 113, 128, 128, 108, 108, 123, 123, 22, 113, 113, 128, 128, 92, 92, 154, 154, 8,
    119, 119, 181, 181, 140, 140, 57, 57, 251, 189, 189, 106, 106, 140, 140, 57, 57, 251, 189, 189,
    106, 106, 119, 119, 184, 184, 233, 90, 90, 91, 91, 119, 119, 184, 184, 233, 90, 90, 91, 91,
];
