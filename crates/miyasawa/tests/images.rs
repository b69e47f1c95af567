//! The bundled models on synthetic images unlike photographs: they must not increase their error.

use miyasawa::{image::Image, prelude::*, random::evaluation_noise};

const SIDE: usize = 64;

/// Clean images by name: value of a pixel, `[channel, row, column]`, in [-1, 1].
type Clean = fn(usize, f32, f32) -> f32;

/// From black to white through mid-grey, where an image without contrast cannot be normalised.
const LEVELS: [f32; 7] = [-1.0, -0.5, -0.05, 0.004, 0.05, 0.57, 1.0];

const IMAGES: [(&str, Clean); 7] = [
    ("gradient", |_, y, x| (x + 0.5 * y) / 60.0 - 0.8),
    ("fog", |_, y, x| 0.05 * (x / 9.0).sin() * (y / 7.0).cos()),
    ("low contrast edge", |_, _, x| if x < 30.0 { 0.02 } else { -0.02 }),
    ("saturated halves", |_, _, x| if x < 30.0 { 1.0 } else { -1.0 }),
    ("coloured flats", |c, y, _| [0.6, -0.3, 0.1][c] * if y < 40.0 { 1.0 } else { -0.5 }),
    ("texture", |_, y, x| 0.6 * (x * 1.9).sin() * (y * 2.3).cos()),
    ("stripes", |_, y, _| if (y as usize / 3).is_multiple_of(2) { 0.8 } else { -0.8 }),
];

fn image(clean: impl Fn(usize, f32, f32) -> f32) -> Vec<f32> {
    let value = |i: usize| clean(i / (SIDE * SIDE), (i / SIDE % SIDE) as f32, (i % SIDE) as f32);
    (0..3 * SIDE * SIDE).map(value).collect()
}

fn deviation(a: &[f32], b: &[f32]) -> f64 {
    let sum: f64 = a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    (sum / a.len() as f64).sqrt()
}

#[test]
fn the_model_of_cifar10_does_not_increase_the_error() {
    does_not_increase_the_error(BundledModel::Cifar10);
}

#[test]
fn the_model_of_photographs_does_not_increase_the_error() {
    does_not_increase_the_error(BundledModel::Photo);
}

/// For any constant, gradient, low-contrast, textured or saturated image at any level from 0 to the
/// largest of the training, the output error is at most the input error; for constants from level
/// 0.05 on it is below a third of it.
fn does_not_increase_the_error(model: BundledModel) {
    let model = Predictor::from_bundled(model).unwrap();
    let largest = model.info().sigma[1] as f32;
    let constants = LEVELS.map(|level| (format!("constant {level}"), image(|_, _, _| level), true));
    let others = IMAGES.map(|(name, clean)| (name.to_owned(), image(clean), false));
    let mut worse = Vec::new();
    for (name, clean, constant) in constants.into_iter().chain(others) {
        let levels = [0.0f32, 0.004, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0].into_iter().enumerate();
        for (k, sigma) in levels.filter(|(_, sigma)| *sigma <= largest) {
            let noise = evaluation_noise(5, k as u64, 0, 1, clean.len());
            let noisy: Vec<f32> =
                clean.iter().zip(noise).map(|(x, noise)| x + sigma * noise).collect();
            let shape = (3, SIDE, SIDE);
            let before = deviation(&noisy, &clean);
            let noisy = Image::new(shape, noisy).unwrap();
            let sigma = f64::from(sigma);
            let denoised = model.denoise(&noisy, Noise::Level(sigma)).unwrap();
            let after = deviation(denoised.image().values(), &clean);
            let most = if constant && sigma >= 0.05 { before / 3.0 } else { before };
            if after > most {
                worse.push(format!("{name} at {sigma}: {before:.4} before, {after:.4} after"));
            }
        }
    }
    assert!(worse.is_empty(), "{}", worse.join("\n"));
}

/// The models change a clean constant by less than the noise level that they are conditioned on; at
/// 0 not at all.
#[test]
fn a_clean_constant_stays_constant() {
    let models = BundledModel::ALL.map(|model| Predictor::from_bundled(model).unwrap());
    for (model, level) in models.iter().flat_map(|model| LEVELS.map(|level| (model, level))) {
        for sigma in [0.0, 0.02, 0.1] {
            let clean = Image::new((3, SIDE, SIDE), image(|_, _, _| level)).unwrap();
            let found = model.denoise(&clean, Noise::Level(sigma)).unwrap();
            let error = deviation(found.image().values(), clean.values());
            let name = model.name();
            assert!(error <= 0.9 * sigma, "{name}: constant {level} at {sigma}: off by {error}");
        }
    }
}
