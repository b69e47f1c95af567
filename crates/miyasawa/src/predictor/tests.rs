use super::*;
use crate::atomic::write_atomic;
use crate::bundled::BundledModel;
use crate::checkpoint::TrainingInfo;
use crate::model::{Architecture, GradResNetConfig, ResNetConfig};
use std::io::Write as _;

/// A small untrained model of a kind of network; one class makes it a denoiser.
fn untrained(kind: &str, classes: usize, weights: [f64; 2]) -> Predictor {
    let network = match kind {
        "resnet18" => Architecture::ResNet18(ResNetConfig {
            channels: 3,
            classes,
            width: 8,
            blocks: vec![1, 1],
            operands: Default::default(),
        }),
        _ => Architecture::GradResNet(GradResNetConfig {
            width: 8,
            blocks: vec![1],
            zero_energy_head: false,
            ..GradResNetConfig::new(3, classes)
        }),
    };
    let model = network.init(&Device::flex(), 0, 0.5);
    let training = TrainingInfo { loss_weights: weights, ..TrainingInfo::default() };
    let info = ModelInfo { training, ..ModelInfo::new(network, [8, 8]) };
    let checkpoint = Checkpoint { info, params: crate::model::params::collect(&model) };
    Predictor::builder().from_checkpoint(checkpoint, "untrained").unwrap()
}

fn image(side: usize) -> Image {
    let values = (0..3 * side * side).map(|i| ((i * 37) % 101) as f32 / 50.5 - 1.0).collect();
    Image::new((3, side, side), values).unwrap()
}

#[test]
fn a_predictor_is_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Predictor>();
    shared::<PredictError>();
    let model = untrained("gradresnet", 3, [1.0, 1.0]);
    let expected = model.classify(&image(8), Noise::Clean).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(model.classify(&image(8), Noise::Clean).unwrap(), expected));
        }
    });
}

#[test]
fn invalid_calls_return_errors_and_do_not_panic() {
    let model = untrained("gradresnet", 3, [1.0, 1.0]);
    let fails = |result: Result<(), PredictError>, text: &str| {
        let error = result.expect_err(text).to_string();
        assert!(error.contains(text) && !error.contains('\n'), "{error}");
    };
    let image = image(8);
    for sigma in [0.0, -1.0, f64::NAN, f64::INFINITY, 25.0] {
        fails(model.classify(&image, Noise::Level(sigma)).map(drop), "noise level");
        fails(model.explain_at(&image, 0, sigma).map(drop), "noise level");
        fails(model.log_density(&image, sigma).map(drop), "noise level");
        if sigma != 0.0 {
            fails(model.denoise(&image, Noise::Level(sigma)).map(drop), "noise level");
        }
    }
    assert!(model.level(25.0).unwrap_err().to_string().contains("25 of 255 is 0.196"));
    let not_finite = [f32::NAN, f32::INFINITY].map(|value| {
        let mut values = image.values().to_vec();
        values[5] = value;
        Image::new((3, 8, 8), values).unwrap()
    });
    for image in &not_finite {
        fails(model.classify(image, Noise::Clean).map(drop), "value 5 of the image");
        fails(model.denoise(image, Noise::Estimate).map(drop), "value 5 of the image");
        fails(model.explain(image, 0).map(drop), "value 5 of the image");
        fails(model.denoise_batch(std::slice::from_ref(image), 0.1.into()).map(drop), "value 5");
        fails(model.classify_batch(std::slice::from_ref(image), 0.1.into()).map(drop), "value 5");
    }
    fails(model.explain(&image, 3).map(drop), "class '3' is not known");
    fails(model.class("class 3").map(drop), "class 'class 3' is not known");
    fails(model.denoise_with(&image, 0.1.into(), Some(9), &mut ()).map(drop), "class '9'");
    fails(
        model.classify_values(&[0.0; 7], [1, 3, 2, 2], Noise::Clean).map(drop),
        "expected 12 values",
    );
    fails(model.denoise_values(&[0.0; 8], [1, 2, 2, 2], 0.1.into()).map(drop), "1 or 3 channels");
    fails(
        model.classify_values(&[], [usize::MAX, usize::MAX, 2, 2], Noise::Clean).map(drop),
        "found 0",
    );
    fails(model.classify_values(&[], [5, 3, 0, 0], Noise::Clean).map(drop), "at least 1x1");
    for draws in [0, usize::MAX] {
        let defence = Defence::Average { sigma: 0.2, draws, seed: 0 };
        fails(model.classify_behind(&image, defence).map(drop), "draws of noise, expected 1 to");
    }
    let huge = Image::filled(1 << 30, 1 << 14, 1 << 14, 0.0).unwrap_err().to_string();
    assert!(huge.contains("1 or 3 channels"), "{huge}");
    for share in [0.0, 1.5, f64::NAN] {
        let mode = crate::image::ResizeMode::ResizeCrop;
        let error = crate::image::resize_image(&image, Geometry::new(3, 4, 4), mode, share);
        assert!(error.unwrap_err().to_string().contains("crop share"));
    }
    fails(Predictor::builder().threads(0).bundled().map(drop), "expected 1 to 1024");
    fails(Predictor::load("missing.safetensors").map(drop), "missing.safetensors: cannot be read");
    fails(Predictor::from_bytes(&[0; 100]).map(drop), "in memory");
    assert!(
        Image::new((2, 8, 8), vec![0.0; 128]).is_err() && Image::new((1, 0, 8), vec![]).is_err()
    );
}

#[test]
fn empty_batches_and_single_pixels_are_valid() {
    let model = untrained("gradresnet", 3, [1.0, 1.0]);
    assert!(model.classify_batch(&[], Noise::Clean).unwrap().is_empty());
    assert!(model.denoise_batch(&[], Noise::Estimate).unwrap().is_empty());
    assert!(model.classify_values(&[], [0, 3, 8, 8], Noise::Clean).unwrap().is_empty());
    for channels in [1, 3] {
        let pixel = Image::filled(channels, 1, 1, 0.3).unwrap();
        for noise in [Noise::Clean, Noise::Level(0.2), Noise::Estimate] {
            assert_eq!(model.classify(&pixel, noise).unwrap().classes.len(), 3);
            assert_eq!(model.denoise(&pixel, noise).unwrap().image().shape(), (channels, 1, 1));
        }
        assert!(model.explain(&pixel, 1).unwrap().relative_error < 1e-3);
    }
}

#[test]
fn errors_name_the_task_that_a_model_cannot_do() {
    let plain = untrained("resnet18", 3, [1.0, 0.0]);
    let says = |error: PredictError, text: &str| {
        assert!(error.to_string().contains(text), "{error}");
        assert!(!error.is_usage());
    };
    assert!(plain.can_classify() && !plain.can_denoise());
    plain.classify(&image(8), Noise::Clean).unwrap();
    says(plain.denoise(&image(8), Noise::Clean).unwrap_err(), "does not denoise: it is a resnet18");
    says(plain.explain(&image(8), 0).unwrap_err(), "does not explain");
    says(plain.log_density(&image(8), 0.1).unwrap_err(), "does not compute a density");
    let defence = Defence::Average { sigma: 0.2, draws: 2, seed: 0 };
    says(plain.classify_behind(&image(8), defence).unwrap_err(), "mean over draws");
    let one = untrained("gradresnet", 1, [0.0, 1.0]);
    assert!(!one.can_classify() && one.can_denoise() && one.classes().len() == 1);
    says(one.classify(&image(8), Noise::Clean).unwrap_err(), "it has only one class");
    says(one.classify_batch(&[image(8)], Noise::Clean).unwrap_err(), "it has only one class");
}

#[test]
fn a_batch_returns_the_results_of_its_images() {
    let model = untrained("gradresnet", 3, [1.0, 1.0]);
    let grey = Image::filled(1, 8, 8, 0.2).unwrap().with_noise(0.2, 1).unwrap();
    let stored_as_colour = grey.to_channels(3).unwrap();
    let images = [image(8), grey, image(20), stored_as_colour, image(8), image(600)];
    for noise in [Noise::Level(0.1), Noise::Level(0.0), Noise::Estimate] {
        let batch = model.denoise_batch(&images, noise).unwrap();
        for (image, found) in images.iter().zip(&batch) {
            let alone = model.denoise(image, noise).unwrap();
            assert_eq!((found.sigma, found.image().shape()), (alone.sigma, image.shape()));
            let error =
                crate::verify::relative_error(alone.image().values(), found.image().values());
            assert!(error < 1e-5, "{error}");
        }
        if noise == Noise::Level(0.0) {
            assert!(images.iter().zip(&batch).all(|(image, found)| image == found.image()));
            continue;
        }
        for (image, found) in images.iter().zip(model.classify_batch(&images, noise).unwrap()) {
            let alone = model.classify(image, noise).unwrap();
            assert_eq!(found.sigma, alone.sigma);
            for class in &alone.classes {
                assert!((found.probability(class.index).unwrap() - class.probability).abs() < 1e-5);
            }
        }
    }
}

#[test]
fn the_number_of_threads_does_not_change_results() {
    let (checkpoint, sha256) = BundledModel::Cifar10.checkpoint().unwrap();
    let one = Predictor::builder().threads(1).bundled().unwrap();
    let three = Predictor::builder().threads(3).from_checkpoint(checkpoint, "copy").unwrap();
    let images = vec![image(32); 20];
    let found = [&one, &three].map(|model| model.classify_batch(&images, 0.2.into()).unwrap());
    assert_eq!(found[0], found[1]);
    assert_eq!(one.sha256(), sha256);
}

#[test]
fn bfloat16_is_near_float32() {
    let exact = Predictor::bundled().unwrap();
    let rounded = Predictor::builder().operands(crate::ops::Operands::Bf16).bundled().unwrap();
    let image = image(32).with_noise(0.2, 0).unwrap();
    let found =
        [&exact, &rounded].map(|model| model.denoise(&image, 0.2.into()).unwrap().into_image());
    let error = crate::verify::relative_error(found[0].values(), found[1].values());
    assert!(error > 0.0 && error < 0.05, "{error}");
}

#[test]
fn a_file_is_loaded_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    write_atomic(&path, |file| file.write_all(BundledModel::Cifar10.bytes())).unwrap();
    let model = Predictor::load(&path).unwrap();
    assert_eq!(model.name(), path.display().to_string());
    assert_eq!(model.sha256(), Predictor::bundled().unwrap().sha256());
    assert!(format!("{model:?}").contains("GradResNet"));
}

#[test]
fn results_are_documents() {
    let model = untrained("gradresnet", 3, [1.0, 1.0]);
    let found = model.classify(&image(8), 0.2.into()).unwrap().truncated(2);
    let text = serde_json::to_string(&found).unwrap();
    assert_eq!(serde_json::from_str::<Classification>(&text).unwrap(), found);
    assert!(text.starts_with("{\"sigma\":0.2,\"classes\":[{\"class\":\"class "), "{text}");
}
