use super::*;
use crate::data::Geometry;
use crate::model::{
    Architecture, DnCnnConfig, GradResNetConfig, Penultimate, Predict, Query, ResNetConfig,
};
use crate::ops::Operands;
use crate::progress::monitor;

/// With a zero energy head and one class, the model is the Gaussian of the preconditioning:
/// `log p(y) = -|y|^2/(2(s^2 + sigma^2))`, and every score has a closed form.
#[test]
fn scores_of_a_gaussian_model_have_their_closed_form() {
    let device = Device::flex();
    let config = GradResNetConfig { width: 8, blocks: vec![1], ..GradResNetConfig::new(1, 1) };
    let mut values = crate::model::params::collect(&config.init(&device, 0));
    let zero = burn::tensor::TensorData::new(vec![0.0f32; 8], [1, 8]);
    values.insert("class_head.weight".into(), zero);
    let bias = burn::tensor::TensorData::new(vec![0.25f32], [1]);
    values.insert("class_head.bias".into(), bias);
    let net = config.with_params(values, &device).unwrap();
    let model = JointModel::new(net, 0.5);
    let geometry = Geometry { channels: 1, height: 6, width: 5 };
    let noise = OutSource::UniformNoise.load(geometry, Some(5), 0).unwrap();
    let options = OodOptions { sigmas: vec![0.2, 0.4], batch: 2, seed: 3 };
    let found = scores(&model, &noise, &options, &device, &mut ());
    for (level, scores) in found.iter().enumerate() {
        let sigma = options.sigmas[level];
        let variance = 0.25 + sigma * sigma;
        let batch = noisy_batch(&noise, [0, 5], sigma, [3, level as u64], &device);
        for (i, (y, x)) in host(batch.y).chunks(30).zip(batch.clean.chunks(30)).enumerate() {
            let square: f64 = y.iter().map(|v| f64::from(*v).powi(2)).sum();
            let shrunk: Vec<f32> = y.iter().map(|v| v * (0.25 / variance) as f32).collect();
            let expected = [
                0.25 - square / (2.0 * variance),
                -sigma * sigma * square / (variance * variance) / 30.0,
                -mse(&shrunk, x),
                1.0,
                0.25,
            ];
            for (k, expected) in expected.into_iter().enumerate() {
                let value = scores.values[k][i];
                assert!(
                    (value - expected).abs() < 1e-4 * expected.abs().max(1.0),
                    "{k}: {value} {expected}"
                );
            }
        }
    }
    // The two scores of a classifier have the same values.
    let at = |sigma: f64| {
        crate::classifier::Defence::Softmax { sigma }.classifier(&model, [1, 6, 5], &device)
    };
    let of_classifier = classifier_scores(&at, &noise, &options, &mut ());
    for (a, b) in of_classifier.iter().zip(&found) {
        assert!(a.values[..3].iter().all(Vec::is_empty));
        let close = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-5;
        assert!(
            (3..5)
                .all(|k| a.values[k].len() == 5 && a.values[k].iter().zip(&b.values[k]).all(close))
        );
    }
    assert_eq!(compare(&of_classifier, &of_classifier).len(), 2 * 2);
    // Identical sets cannot be distinguished, whatever the score.
    assert!(compare(&found, &found).iter().all(|row| row.detection.aupr < 0.9), "more of one kind");
    // Against images of one shade: the residual and the profile tell them apart.
    let grey =
        Dataset::new("grey", Geometry::new(1, 6, 5), vec!["a".into()], vec![128; 150], vec![0; 5])
            .unwrap();
    let grey = scores(&model, &grey, &options, &device, &mut ());
    let rows = compare(&found, &grey);
    assert_eq!(rows.len(), 2 * 5 + 1);
    let alone = only_learned(found.clone(), [false, false]);
    assert!(
        compare(&alone, &grey)
            .iter()
            .all(|r| !matches!(r.score, Score::Residual | Score::MaxSoftmax))
    );
    assert_eq!(compare(&alone, &grey).len(), 2 * 3 + 1);
    let auroc =
        |score: Score| best(&rows).into_iter().find(|r| r.score == score).unwrap().detection.auroc;
    // The density prefers the simpler images, whatever it was trained on: the known failure.
    assert!(auroc(Score::LogProb) < 0.1 && auroc(Score::MaxSoftmax) == 0.5, "{rows:?}");
    assert!(auroc(Score::ScoreNorm) < 0.1, "{rows:?}");
}

/// Of a joint model and of a classifier alone, both conditioned on the level and not.
#[test]
fn reference_scores_are_those_of_the_features() {
    let device = Device::flex();
    let (width, blocks, operands) = (8, vec![1, 1], Operands::F32);
    let joint = GradResNetConfig { width, blocks: blocks.clone(), ..GradResNetConfig::new(1, 3) };
    let plain = ResNetConfig { channels: 1, classes: 3, width, blocks, operands };
    let geometry = Geometry { channels: 1, height: 8, width: 8 };
    let load = |source: OutSource, count| source.load(geometry, Some(count), 1).unwrap();
    let (training, set) = (load(OutSource::Textures, 60), load(OutSource::UniformNoise, 9));
    let options = OodOptions { sigmas: vec![0.2, 0.4], batch: 4, seed: 3 };
    for architecture in [Architecture::GradResNet(joint), Architecture::ResNet18(plain)] {
        let model = architecture.init(&device, 0, 0.5);
        let head = Penultimate::class_head(&model).unwrap();
        let [_, features] = head.weight.dims();
        // All stages of the joint model, the last of the classifier.
        assert_eq!(features, if model.joint().is_some() { 24 } else { 16 });
        let reference = Reference::fit(&model, &training, 5, &options, &device, &mut ()).unwrap();
        let mut found = vec![LevelScores::default(); 2];
        reference.add_scores(&mut found, &model, &set, &options, &device, &mut ());
        for (level, sigma) in options.sigmas.iter().enumerate() {
            let of = |data: &Dataset, noise: u64| {
                let batch = noisy_batch(data, [0, data.len()], *sigma, [3, noise], &device);
                let features = model.features(&batch.y, &batch.sigma).unwrap();
                let query = Query { classify: true, ..Query::default() };
                let logits = model.predict(&batch.y, &batch.sigma, &query).logits.unwrap();
                let pairs = host(head.forward(&features)).into_iter().zip(host(logits));
                assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-5));
                host(features)
            };
            let level = level as u64;
            let (own, others) = (of(&training, (1 << 32) + level), of(&set, level));
            let knn = Knn::fit(&own, features, 5).unwrap().scores(&others);
            let [weight, bias] = [host(head.weight.val()), host(head.bias.as_ref().unwrap().val())];
            let vim = Vim::fit(&own, &weight, &bias, features / 2).unwrap().scores(&others);
            let scores = &found[level as usize];
            for (score, expected, tolerance) in [(Score::Knn, knn, 1e-4), (Score::Vim, vim, 1e-2)] {
                let found = scores.values_of(score).unwrap();
                let close = |(a, b): (&f64, &f64)| (a - b).abs() < tolerance * b.abs().max(1.0);
                assert!(found.len() == 9 && found.iter().zip(&expected).all(close), "{found:?}");
            }
        }
        assert_eq!(compare(&found, &found).len(), 2 * 2);

        let mut stopped = monitor(|_| {}, || true);
        reference.add_scores(&mut found, &model, &set, &options, &device, &mut stopped);
        assert!(found.is_empty());
        let none = Reference::fit(&model, &training, 5, &options, &device, &mut stopped).unwrap();
        let mut kept = vec![LevelScores::default(); 2];
        none.add_scores(&mut kept, &model, &set, &options, &device, &mut ());
        assert_eq!(kept, vec![LevelScores::default(); 2]);
    }
    let denoiser = DnCnnConfig {
        channels: 1,
        width: 8,
        depth: 2,
        bias_free: false,
        conditioned: false,
        operands,
    };
    let model = Architecture::DnCnn(denoiser).init(&device, 0, 0.5);
    let found = Reference::fit(&model, &training, 5, &options, &device, &mut ()).unwrap_err();
    assert_eq!(found, ReferenceError::NoClassHead);
}
