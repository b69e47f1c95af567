//! Runs the five functions, and counts their lines.

use miyasawa::rand::{RngExt, SeedableRng, rngs::StdRng};
use miyasawa::{Device, burn::tensor::Tensor, metrics::log_sum_exp, nn::Linear, prelude::*};
use outside::*;

const FROG: &[u8] = include_bytes!("../../../docs/book/src/figures/frog.jpg");

#[test]
fn an_image_in_memory_is_classified_and_denoised() {
    let (class, clean) = classify_and_denoise(FROG).unwrap();
    assert_eq!((class.as_str(), clean.shape()), ("frog", (3, 32, 32)));
    // A denoiser moves a nearly clean image by little.
    let frog = Image::decode(FROG).unwrap();
    let change = miyasawa::metrics::mse(clean.values(), frog.values()).sqrt();
    assert!(change > 0.0 && change < 0.05, "{change}");
    assert!(matches!(classify_and_denoise(&FROG[..100]), Err(PredictError::Image(_))));
}

#[test]
fn the_difference_is_that_of_the_denoisers() {
    let difference = difference_of_denoisers(FROG, "ship").unwrap();
    let (model, frog) = (Predictor::bundled().unwrap(), Image::decode(FROG).unwrap());
    // The denoisers' own images: their difference is rounded, that of the explanation is not.
    let why = model.explain(&frog, model.class("ship").unwrap()).unwrap();
    let pairs = why.class_denoised.values().iter().zip(why.denoised.values());
    let expected: Vec<f32> = pairs.map(|(given, plain)| given - plain).collect();
    assert!(miyasawa::verify::relative_error(difference.values(), &expected) < 1e-2);
    assert!(difference.values().iter().any(|value| value.abs() > 1e-3));
    assert!(matches!(difference_of_denoisers(FROG, "house"), Err(PredictError::Class { .. })));
}

/// The mean cross-entropy of a network on images in [0, 1].
fn cross_entropy(net: &Net, images: &[f32], labels: &[u32]) -> f64 {
    let values: Vec<f32> = images.iter().map(|value| 2.0 * value - 1.0).collect();
    let x = Tensor::<1>::from_floats(&values[..], &Device::flex()).reshape([-1, 1, 8, 8]);
    let logits: Vec<f32> = net.logits(&x).into_data().try_to_vec().unwrap();
    let loss = |(z, label): (&[f32], &u32)| log_sum_exp(z) - f64::from(z[*label as usize]);
    logits.chunks(10).zip(labels).map(loss).sum::<f64>() / labels.len() as f64
}

#[test]
fn a_network_of_ones_own_is_attacked() {
    let (rng, device) = (&mut StdRng::seed_from_u64(1), Device::flex());
    let [first, second] =
        [[64, 32], [32, 10]].map(|features| Linear::new(features, true, &device, rng));
    let net = Net { first, second };
    let images: Vec<f32> = (0..4 * 64).map(|_| rng.random()).collect();
    let (labels, eps) = ([3, 1, 4, 1], 0.1);
    let moved = attack_own_network(net.clone(), &images, &labels, eps);
    assert!(Norm::Linf.distance(&moved, &images) <= eps + 1e-6);
    assert!(moved.iter().all(|value| (0.0..=1.0).contains(value)));
    let [before, after] = [&images, &moved].map(|images| cross_entropy(&net, images, &labels));
    assert!(after > before + 0.05, "{before} {after}");
}

#[test]
fn a_model_is_trained_on_arrays() {
    let rng = &mut StdRng::seed_from_u64(2);
    let labels: Vec<u32> = (0..200).map(|i| i % 2).collect();
    let pixel = |label: u32, rng: &mut StdRng| 40 + 120 * label as u8 + rng.random_range(0..40);
    let image = |label: &u32| (0..64).map(|_| pixel(*label, rng)).collect::<Vec<u8>>();
    let pixels = labels.iter().flat_map(image).collect();
    let model = train_on_arrays(pixels, labels).unwrap();
    for (value, class) in [(-0.6, "dark"), (0.4, "light")] {
        let image = Image::filled(1, 8, 8, value).unwrap();
        assert_eq!(model.classify(&image, Noise::Level(0.1)).unwrap().best().class, class);
    }
    assert!(train_on_arrays(vec![0; 63], vec![0]).is_err());
}

#[test]
fn a_batch_of_values_keeps_its_shape() {
    let image = Image::decode(FROG).unwrap().with_noise(0.1, 0).unwrap();
    let values = image.values().repeat(2);
    let (classes, clean) = batch(&values, [2, 3, 32, 32]).unwrap();
    assert_eq!((classes[0], classes.len(), clean.len()), (classes[1], 2, values.len()));
    let frog = Image::decode(FROG).unwrap();
    let [noisy, left] = [image.values(), &clean[..frog.values().len()]]
        .map(|values| miyasawa::metrics::mse(values, frog.values()));
    assert!(left < 0.5 * noisy, "{noisy} {left}");
    assert!(matches!(batch(&values, [3, 3, 32, 32]), Err(PredictError::Batch { .. })));
}

#[test]
fn each_use_takes_at_most_12_lines() {
    let text = include_str!("../src/lib.rs");
    let functions: Vec<usize> = text
        .split("\npub fn ")
        .skip(1)
        .map(|function| 1 + function.lines().position(|line| line == "}").unwrap())
        .collect();
    assert_eq!(functions.len(), 5, "{functions:?}");
    assert!(functions.iter().all(|lines| *lines <= 12), "{functions:?}");
}
