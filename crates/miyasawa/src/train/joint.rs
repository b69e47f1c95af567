//! The joint objective: cross-entropy and denoising score matching of one network, with the exact
//! gradient.

use super::{
    adversarial::Adversary,
    config::{DsmTarget, LossConfig},
    learner::StepContext,
    objective::observed_parts,
    parts::{Batch, BatchStats, PartStats, Stat, correct, for_parts, joint_parts_of},
    reduce::{self, BatchGradient, LocalSum, Reduce},
};
use crate::model::{
    EnergyNetwork, JointModel, loss,
    params::{self, FlatMap},
};
use crate::nn::{NormObserver, update_running};
use crate::ranks::RanksError;
use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};

/// The gradient of the batch's mean loss, exact: one reverse pass over forward and adjoint.
///
/// The batch is taken in parts of `micro_batch` images, which changes the result by rounding only,
/// since no layer mixes images, and bounds the memory; batch normalisation mixes those of a part.
/// On the CPU each thread takes entire parts: operations of one part then never wait for each
/// other's threads. The parts' gradients are added in their order, so that the result is the same
/// for every number of threads. Running statistics do not move here.
///
/// # Panics
/// If the model is not on a device that records operations, [`Device::autodiff`], or `micro_batch`
/// is 0.
pub fn gradients<N: EnergyNetwork + Sync>(
    model: &JointModel<N>,
    batch: &Batch,
    config: &LossConfig,
    micro_batch: usize,
    device: &Device,
) -> (FlatMap, BatchStats) {
    let step = StepContext { number: 0, micro_batch, device, frozen_norms: false };
    let reduce = &mut LocalSum::default();
    let found = gradients_with(&mut model.clone(), batch, config, None, step, reduce);
    let BatchGradient { grads, stats, .. } = found.expect("a sum in one process cannot fail");
    (grads, stats)
}

/// As [`gradients`], with another sum of the parts, and an attack on the images that the
/// cross-entropy alone learns from. Running statistics of the model move, unless they are frozen.
pub(super) fn gradients_with<N: EnergyNetwork + Sync>(
    model: &mut JointModel<N>,
    batch: &Batch,
    config: &LossConfig,
    adversary: Option<&Adversary>,
    step: StepContext<'_>,
    reduce: &mut dyn Reduce,
) -> Result<BatchGradient, RanksError> {
    let StepContext { micro_batch, device, .. } = step;
    let plain = adversary.map(|adversary| (adversary, model.valid()));
    let work = |model: &JointModel<N>, part: [usize; 2]| {
        if part[0] < batch.for_all() {
            return part_gradients(model, batch, config, part, device);
        }
        let attacked =
            plain.as_ref().map(|(adversary, plain)| adversary.images(plain, batch, part, step));
        class_gradients(model, batch, config, attacked, part, device)
    };
    let batch_norm = !model.net.batch_norms().is_empty();
    let parts = joint_parts_of([batch.for_all(), batch.for_classes], micro_batch, batch_norm);
    if step.frozen_norms || !batch_norm {
        let work = |part| work(&own_leaves(model), part);
        for_parts(&parts, device, reduce, work, |reduce, (grads, stats)| reduce.add(grads, stats));
    } else {
        let observed = |part| {
            let (observer, own) = (NormObserver::default(), own_leaves(model));
            let own = JointModel::new(own.net.observed(&observer), model.sigma_data());
            let (grads, stats) = work(&own, part);
            (grads, stats, observer.take())
        };
        let moments = observed_parts(&parts, device, reduce, observed)?;
        update_running(model.net.batch_norms(), &moments);
    }
    reduce::finish(reduce, config)
}

/// The share of the images `from..from + count` in the gradient and the statistics; the model has
/// [leaves of its own](own_leaves).
fn part_gradients<N: EnergyNetwork>(
    model: &JointModel<N>,
    batch: &Batch,
    config: &LossConfig,
    [from, count]: [usize; 2],
    device: &Device,
) -> (FlatMap, PartStats) {
    let total = batch.for_all() as f64;
    let (y, noise, sigma, labels) = batch.tensors(from, count, device);
    let point = model.at(&y, &sigma);
    let (weights, labelled) = (batch.label_weights(from, count, device), batch.labelled());
    let ce = loss::cross_entropy(point.logits(), &labels, config.label_smoothing) * weights.clone();
    let level_weights = loss::level_weights(&sigma, config.level_power);
    let matching = |score| {
        let dsm = loss::score_matching(model, score, &noise, &sigma);
        level_weights.iter().fold(dsm, |dsm, weights| dsm * weights.clone())
    };
    let dsm = (config.dsm_weight > 0.0).then(|| match config.dsm {
        DsmTarget::Marginal => matching(point.score()),
        DsmTarget::Conditional => matching(point.class_conditional_score(&labels)),
        DsmTarget::Both => {
            (matching(point.score()) + matching(point.class_conditional_score(&labels))) * 0.5
        }
    });
    let mut stats = PartStats::default()
        .with(Stat::Accuracy, &correct(point.logits(), &labels, &weights), labelled)
        .with(Stat::Ce, &ce, total);
    let mut loss = ce * config.ce_weight;
    if let Some(dsm) = dsm {
        stats = stats.with(Stat::Dsm, &dsm, total);
        loss = loss + dsm * config.dsm_weight;
    }
    drop(point);
    if config.clean_ce_weight > 0.0 {
        // The image again, with the same noise at another level.
        let clean_sigma = Tensor::<1>::full([count], config.clean_sigma as f32, device);
        let less = (sigma.clone() - clean_sigma.clone()).reshape([count, 1, 1, 1]);
        let point = model.at(&(y.clone() - noise.clone() * less), &clean_sigma);
        let clean = loss::cross_entropy(point.logits(), &labels, config.label_smoothing) * weights;
        stats = stats.with(Stat::CleanCe, &clean, total);
        loss = loss + clean * config.clean_ce_weight;
    }
    let mut grads = (loss.sum() / total).backward();
    (params::take_gradients(&model.net, &mut grads), stats)
}

/// The same for images that the cross-entropy alone learns from; `attacked` takes their place.
fn class_gradients<N: EnergyNetwork>(
    model: &JointModel<N>,
    batch: &Batch,
    config: &LossConfig,
    attacked: Option<Vec<f32>>,
    [from, count]: [usize; 2],
    device: &Device,
) -> (FlatMap, PartStats) {
    let total = batch.for_classes as f64;
    let (mut y, _, sigma, labels) = batch.tensors(from, count, device);
    if let Some(attacked) = attacked {
        y = Tensor::from_data(TensorData::new(attacked, y.dims()), device);
    }
    let point = model.at(&y, &sigma);
    let weights = batch.label_weights(from, count, device);
    let ce = loss::cross_entropy(point.logits(), &labels, config.label_smoothing) * weights.clone();
    let right = correct(point.logits(), &labels, &weights);
    let stats = PartStats::default().with(Stat::ClassCe, &ce, total).with(
        Stat::ClassAccuracy,
        &right,
        total,
    );
    let mut loss = ce.sum() * (config.class_ce_weight / total);
    if config.dsm_weight > 0.0 {
        // Every part has a gradient of every parameter, if it is zero.
        loss = loss + point.energy().clone().sum() * 0.0;
    }
    drop(point);
    let mut grads = loss.backward();
    (params::take_gradients(&model.net, &mut grads), stats)
}

/// The model with leaves of its own on the same values: the parts' graphs are apart, and so are
/// their threads.
fn own_leaves<N: EnergyNetwork>(model: &JointModel<N>) -> JointModel<N> {
    JointModel::new(params::update(model.net.clone(), |_, _, p| p), model.sigma_data())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{GradResNet, GradResNetConfig};
    use crate::train::{config::NoiseConfig, noise::training_noise};
    use crate::verify::relative_error;

    fn setting(classes: usize) -> (JointModel<GradResNet>, Batch, Device) {
        let device = Device::flex().autodiff();
        let config = GradResNetConfig {
            width: 8,
            blocks: vec![1, 1],
            zero_energy_head: false,
            ..GradResNetConfig::new(1, classes)
        };
        let model = JointModel::new(config.init(&device, 3), 0.5);
        let (sigma, noise) = training_noise(&NoiseConfig::default(), 0, 0, 5, 42);
        let x = (0..5 * 42).map(|i| ((i * 29) % 200) as f32 / 100.0 - 1.0).collect();
        let labels = (0..5).map(|i| i % classes as u32).collect();
        (
            model,
            Batch {
                image: [1, 6, 7],
                x,
                labels,
                label_weight: vec![1.0; 5],
                sigma,
                noise,
                for_classes: 0,
            },
            device,
        )
    }

    fn compare(a: &FlatMap, b: &FlatMap, tolerance: f64) {
        assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
        let values = |t: &Tensor<1>| t.to_data().try_to_vec::<f32>().unwrap();
        for (name, a) in a {
            let error = relative_error(&values(a), &values(&b[name]));
            assert!(error <= tolerance, "{name}: {error:.1e}");
        }
    }

    #[test]
    fn the_parts_of_a_batch_add_up_to_the_batch() {
        let (model, batch, device) = setting(3);
        let (whole, stats) = gradients(&model, &batch, &LossConfig::default(), 5, &device);
        for micro in [1, 2, 4] {
            let (parts, again) = gradients(&model, &batch, &LossConfig::default(), micro, &device);
            compare(&parts, &whole, 1e-5);
            assert!((again.loss - stats.loss).abs() < 1e-5 && again.accuracy == stats.accuracy);
        }
    }

    #[test]
    fn with_one_class_all_targets_of_score_matching_are_the_same() {
        let (model, batch, device) = setting(1);
        let with = |dsm| {
            gradients(&model, &batch, &LossConfig { dsm, ..LossConfig::default() }, 5, &device)
        };
        let (marginal, stats) = with(DsmTarget::Marginal);
        for target in [DsmTarget::Conditional, DsmTarget::Both] {
            let (grads, again) = with(target);
            compare(&grads, &marginal, 1e-5);
            assert!((again.dsm - stats.dsm).abs() < 1e-5, "{target:?}");
        }
        assert!(stats.ce.abs() < 1e-6, "one class is certain");
    }

    #[test]
    fn both_targets_are_the_mean_of_the_two() {
        let (model, batch, device) = setting(3);
        let with = |dsm| {
            gradients(&model, &batch, &LossConfig { dsm, ..LossConfig::default() }, 5, &device)
        };
        let [(a, one), (b, two), (both, mean)] =
            [DsmTarget::Marginal, DsmTarget::Conditional, DsmTarget::Both].map(with);
        assert!((mean.dsm - 0.5 * (one.dsm + two.dsm)).abs() < 1e-5);
        assert!((one.dsm - two.dsm).abs() > 1e-6, "the two differ where there are classes");
        let half =
            a.iter().map(|(name, a)| (name.clone(), (a.clone() + b[name].clone()) * 0.5)).collect();
        compare(&both, &half, 1e-4);
    }

    #[test]
    fn level_power_weighs_each_image_by_its_level() {
        let (model, batch, device) = setting(1);
        let of = |level_power, image: usize| {
            let config = LossConfig { level_power, ..LossConfig::default() };
            let one = image..image + 1;
            let batch = Batch {
                x: batch.x[42 * image..42 * (image + 1)].to_vec(),
                noise: batch.noise[42 * image..42 * (image + 1)].to_vec(),
                labels: batch.labels[one.clone()].to_vec(),
                label_weight: vec![1.0],
                sigma: batch.sigma[one].to_vec(),
                ..batch
            };
            gradients(&model, &batch, &config, 1, &device).1.dsm
        };
        for image in 0..batch.len() {
            let expected = of(0.0, image) * f64::from(batch.sigma[image]).powf(0.7);
            assert!((of(0.7, image) / expected - 1.0).abs() < 1e-5, "image {image}");
        }
    }

    #[test]
    fn clean_image_cross_entropy_is_that_of_the_same_noise_at_another_level() {
        let (model, batch, device) = setting(3);
        let once = LossConfig::default();
        let twice = LossConfig { clean_ce_weight: 0.7, clean_sigma: 0.1, ..once.clone() };
        let (both, stats) = gradients(&model, &batch, &twice, 2, &device);
        let (first, alone) = gradients(&model, &batch, &once, 5, &device);
        let again = Batch { sigma: vec![0.1; batch.len()], ..batch };
        let classify = LossConfig { dsm_weight: 0.0, ..once };
        let (second, clean) = gradients(&model, &again, &classify, 5, &device);
        let sum = first.iter().map(|(name, a)| {
            let b = second.get(name).map(|b| b.clone() * 0.7);
            (name.clone(), b.map_or_else(|| a.clone(), |b| a.clone() + b))
        });
        compare(&both, &sum.collect(), 1e-5);
        assert!(
            (stats.clean_ce.unwrap() - clean.ce).abs() < 1e-5 && (stats.ce - alone.ce).abs() < 1e-5
        );
        assert!((stats.loss - alone.loss - 0.7 * clean.ce).abs() < 1e-5, "{stats:?}");
    }

    /// `second` behind `first`, for the cross-entropy alone.
    fn behind(first: &Batch, second: &Batch) -> Batch {
        let join = |a: &[f32], b: &[f32]| [a, b].concat();
        Batch {
            image: first.image,
            x: join(&first.x, &second.x),
            labels: [&first.labels[..], &second.labels].concat(),
            label_weight: join(&first.label_weight, &second.label_weight),
            sigma: join(&first.sigma, &second.sigma),
            noise: join(&first.noise, &second.noise),
            for_classes: second.len(),
        }
    }

    #[test]
    fn images_for_the_cross_entropy_alone_add_theirs() {
        let (model, batch, device) = setting(3);
        let config = LossConfig { class_ce_weight: 0.7, ..LossConfig::default() };
        let mut other = batch.clone();
        other.x.reverse();
        other.labels.reverse();
        let (both, stats) = gradients(&model, &behind(&batch, &other), &config, 2, &device);
        let (first, alone) = gradients(&model, &batch, &config, 5, &device);
        let classify = LossConfig { dsm_weight: 0.0, ..config };
        let (second, own) = gradients(&model, &other, &classify, 5, &device);
        let sum = first.iter().map(|(name, a)| {
            let b = second.get(name).map(|b| b.clone() * 0.7);
            (name.clone(), b.map_or_else(|| a.clone(), |b| a.clone() + b))
        });
        compare(&both, &sum.collect(), 1e-5);
        assert!((stats.class_ce.unwrap() - own.ce).abs() < 1e-5);
        assert_eq!(stats.class_accuracy, own.accuracy);
        assert!((stats.ce - alone.ce).abs() < 1e-5 && (stats.dsm - alone.dsm).abs() < 1e-5);
        assert!((stats.loss - alone.loss - 0.7 * own.ce).abs() < 1e-5, "{stats:?}");
    }

    #[test]
    fn every_part_has_a_gradient_of_every_parameter() {
        // Ranks exchange gradients by their places.
        let (model, batch, device) = setting(3);
        for dsm_weight in [0.0, 1.0] {
            let config = LossConfig { dsm_weight, ..LossConfig::default() };
            let names = |(grads, _): (FlatMap, PartStats)| grads.into_keys().collect::<Vec<_>>();
            let both = behind(&batch, &batch);
            let first = names(part_gradients(&model, &both, &config, [0, 5], &device));
            let second = names(class_gradients(&model, &both, &config, None, [5, 5], &device));
            assert_eq!(first, second, "{dsm_weight}");
        }
    }
}
