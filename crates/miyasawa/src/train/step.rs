//! One training step: the gradient of a batch's loss.

use super::config::{DsmTarget, LossConfig};
use crate::model::{
    EnergyNetwork, JointModel, loss,
    params::{self, FlatMap},
};
use crate::parallel::{on_workers, workers};
use burn::tensor::{Device, Int, Tensor, TensorData};

/// A batch on the host: clean images in [-1, 1], their classes, noise levels and noise.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Channels, height, width.
    pub image: [usize; 3],
    /// `[batch, channels, height, width]`.
    pub x: Vec<f32>,
    /// `[batch]`.
    pub labels: Vec<u32>,
    /// Weight of each image's cross-entropy, `[batch]`: 0 where the class is not to be learned.
    pub label_weight: Vec<f32>,
    /// `[batch]`.
    pub sigma: Vec<f32>,
    /// Standard normal, as long as `x`.
    pub eps: Vec<f32>,
}

/// What a step tells of its batch, averaged over the images.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct BatchStats {
    /// What is minimised; see [`LossConfig`].
    pub loss: f64,
    /// Cross-entropy.
    pub ce: f64,
    /// Cross-entropy of the second look, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clean_ce: Option<f64>,
    /// Denoising score matching; 0 where it is not trained.
    pub dsm: f64,
    /// Share of the images whose class is the likeliest; none from a denoiser alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// Mean `log sum exp f` of the samples less that of the data, where they are trained apart (JEM).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy_gap: Option<f64>,
}

impl BatchStats {
    /// What a divergence shows in: the loss, or where that is a difference of either sign (JEM), its parts.
    pub fn guarded(&self) -> f64 {
        self.energy_gap.map_or(self.loss, |gap| self.ce + gap.abs())
    }
}

impl Batch {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.sigma.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.sigma.is_empty()
    }

    /// The images `from..from + count` as tensors: y, eps, sigma and labels.
    pub(super) fn tensors(
        &self,
        from: usize,
        count: usize,
        device: &Device,
    ) -> (Tensor<4>, Tensor<4>, Tensor<1>, Tensor<1, Int>) {
        let [c, h, w] = self.image;
        let values = from * c * h * w..(from + count) * c * h * w;
        let image =
            |data: &[f32]| Tensor::<4>::from_data(TensorData::new(data.to_vec(), [count, c, h, w]), device);
        let sigma = TensorData::new(self.sigma[from..from + count].to_vec(), [count]);
        let sigma = Tensor::<1>::from_data(sigma, device);
        let labels: Vec<i32> = self.labels[from..from + count].iter().map(|l| *l as i32).collect();
        let labels = Tensor::<1, Int>::from_data(TensorData::new(labels, [count]), device);
        let eps = image(&self.eps[values.clone()]);
        let y = image(&self.x[values]) + eps.clone() * sigma.clone().reshape([count, 1, 1, 1]);
        (y, eps, sigma, labels)
    }
}

impl Batch {
    /// The weights of the cross-entropies of the images `from..from + count`.
    pub(super) fn label_weights(&self, from: usize, count: usize, device: &Device) -> Tensor<1> {
        let weights = self.label_weight[from..from + count].to_vec();
        Tensor::from_data(TensorData::new(weights, [count]), device)
    }

    /// The sum of the weights of all cross-entropies: what shares are shares of.
    pub(super) fn labelled(&self) -> f64 {
        self.label_weight.iter().map(|weight| f64::from(*weight)).sum::<f64>().max(1.0)
    }
}

/// The gradient of the batch's mean loss, exact: one reverse pass over forward and adjoint.
///
/// The batch is taken in parts of `micro_batch` images, which changes the result by rounding only, since no
/// layer mixes images, and bounds the memory. On the CPU each thread takes whole parts: operations of one part
/// then never wait for each other's threads. The parts' gradients are added in their order, so that the
/// result is the same for every number of threads.
///
/// # Panics
/// If the model is not on a device that records operations, [`Device::autodiff`], or `micro_batch` is 0.
pub fn gradients<N: EnergyNetwork + Sync>(
    model: &JointModel<N>,
    batch: &Batch,
    config: &LossConfig,
    micro_batch: usize,
    device: &Device,
) -> (FlatMap, BatchStats) {
    let mut sum = PartSum::default();
    let work = |part| part_gradients(model, batch, config, part, device);
    for_parts(&parts_of(batch.len(), micro_batch), device, work, |(grads, stats)| sum.add(grads, stats));
    sum.finish(config)
}

/// The images of a batch in parts of `micro_batch`, the last one smaller: first image and count.
pub(super) fn parts_of(batch: usize, micro_batch: usize) -> Vec<[usize; 2]> {
    let micro_batch = micro_batch.max(1);
    (0..batch).step_by(micro_batch).map(|from| [from, micro_batch.min(batch - from)]).collect()
}

/// Gradients and statistics of parts, added in the order of the parts.
#[derive(Default)]
pub(super) struct PartSum {
    grads: FlatMap,
    stats: BatchStats,
}

impl PartSum {
    pub fn add(&mut self, grads: FlatMap, part: BatchStats) {
        for (name, new) in grads {
            let sum = match self.grads.remove(&name) {
                Some(old) => old + new,
                None => new,
            };
            self.grads.insert(name, sum);
        }
        let add = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        };
        self.stats.accuracy = add(self.stats.accuracy, part.accuracy);
        self.stats.energy_gap = add(self.stats.energy_gap, part.energy_gap);
        self.stats.clean_ce = add(self.stats.clean_ce, part.clean_ce);
        self.stats.ce += part.ce;
        self.stats.dsm += part.dsm;
    }

    pub fn finish(mut self, config: &LossConfig) -> (FlatMap, BatchStats) {
        self.stats.loss = config.ce_weight * self.stats.ce
            + config.clean_ce_weight * self.stats.clean_ce.unwrap_or(0.0)
            + config.dsm_weight * self.stats.dsm;
        (self.grads, self.stats)
    }
}

/// `work` of every part; `take` is given the results in the order of the parts. On the CPU each thread takes
/// whole parts.
pub(super) fn for_parts<T: Send + Sync>(
    parts: &[[usize; 2]],
    device: &Device,
    work: impl Fn([usize; 2]) -> T + Sync,
    mut take: impl FnMut(T),
) {
    let workers = workers(device);
    // A group's gradients are held until they are added: its size bounds the memory, whatever the batch.
    for group in parts.chunks(GROUP) {
        if workers.len() < 2 || group.len() < 2 {
            group.iter().for_each(|part| take(work(*part)));
        } else {
            on_workers(&workers, group, |part| work(*part)).into_iter().for_each(&mut take);
        }
    }
}

/// Parts whose gradients are held at once.
pub(super) const GROUP: usize = 16;

/// The sum of a loss over its images.
pub(super) fn sum(loss: &Tensor<1>) -> f64 {
    f64::from(loss.clone().sum().into_scalar::<f32>())
}

/// How many images have their class as the likeliest, each with its weight.
pub(super) fn right(logits: &Tensor<2>, labels: &Tensor<1, Int>, weights: &Tensor<1>) -> f64 {
    let right = logits.clone().argmax(1).squeeze_dim::<1>(1).equal(labels.clone()).float();
    sum(&(right * weights.clone()))
}

/// The share of the images `from..from + count` in the gradient and the statistics.
fn part_gradients<N: EnergyNetwork>(
    model: &JointModel<N>,
    batch: &Batch,
    config: &LossConfig,
    [from, count]: [usize; 2],
    device: &Device,
) -> (FlatMap, BatchStats) {
    // Leaves of its own, on the same values: the parts' graphs are apart, and so are their threads.
    let net = params::update(model.net.clone(), |_, _, p| p);
    let model = &JointModel::new(net, model.sigma_data());
    let total = batch.len() as f64;
    let (y, eps, sigma, labels) = batch.tensors(from, count, device);
    let point = model.at(&y, &sigma);
    let (weights, labelled) = (batch.label_weights(from, count, device), batch.labelled());
    let ce = loss::cross_entropy(point.logits(), &labels, config.label_smoothing) * weights.clone();
    let matching = |score| loss::score_matching(model, score, &eps, &sigma);
    let dsm = (config.dsm_weight > 0.0).then(|| match config.dsm {
        DsmTarget::Marginal => matching(point.score()),
        DsmTarget::Conditional => matching(point.score_given(&labels)),
        DsmTarget::Both => (matching(point.score()) + matching(point.score_given(&labels))) * 0.5,
    });
    let mut stats = BatchStats {
        accuracy: Some(right(point.logits(), &labels, &weights) / labelled),
        ce: sum(&ce) / total,
        ..BatchStats::default()
    };
    let mut loss = ce * config.ce_weight;
    if let Some(dsm) = dsm {
        stats.dsm = sum(&dsm) / total;
        loss = loss + dsm * config.dsm_weight;
    }
    drop(point);
    if config.clean_ce_weight > 0.0 {
        // The image again, with the same noise at another level.
        let clean_sigma = Tensor::<1>::full([count], config.clean_sigma as f32, device);
        let less = (sigma.clone() - clean_sigma.clone()).reshape([count, 1, 1, 1]);
        let point = model.at(&(y.clone() - eps.clone() * less), &clean_sigma);
        let clean = loss::cross_entropy(point.logits(), &labels, config.label_smoothing) * weights;
        stats.clean_ce = Some(sum(&clean) / total);
        loss = loss + clean * config.clean_ce_weight;
    }
    let mut grads = (loss.sum() / total).backward();
    (params::take_gradients(&model.net, &mut grads), stats)
}

/// Images that go through the network at once: as many as keep one activation of the first stage within
/// a share of the second-level cache, and enough that the small images of the last stage fill the
/// kernels; for `batch_norm`, enough for its statistics.
pub fn default_micro_batch(batch: usize, width: usize, pixels: usize, batch_norm: bool) -> usize {
    /// Values of an activation that stay cached beside their neighbours.
    const CACHED: usize = 1 << 18;
    let least = if batch_norm { 32 } else { 16 };
    (CACHED / (width * pixels).max(1)).max(least).min(batch)
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
        let (sigma, eps) = training_noise(&NoiseConfig::default(), 0, 0, 5, 42);
        let x = (0..5 * 42).map(|i| ((i * 29) % 200) as f32 / 100.0 - 1.0).collect();
        let labels = (0..5).map(|i| i % classes as u32).collect();
        (model, Batch { image: [1, 6, 7], x, labels, label_weight: vec![1.0; 5], sigma, eps }, device)
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
        let with = |dsm| gradients(&model, &batch, &LossConfig { dsm, ..LossConfig::default() }, 5, &device);
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
        let with = |dsm| gradients(&model, &batch, &LossConfig { dsm, ..LossConfig::default() }, 5, &device);
        let [(a, one), (b, two), (both, mean)] =
            [DsmTarget::Marginal, DsmTarget::Conditional, DsmTarget::Both].map(with);
        assert!((mean.dsm - 0.5 * (one.dsm + two.dsm)).abs() < 1e-5);
        assert!((one.dsm - two.dsm).abs() > 1e-6, "the two differ where there are classes");
        let half = a.iter().map(|(name, a)| (name.clone(), (a.clone() + b[name].clone()) * 0.5)).collect();
        compare(&both, &half, 1e-4);
    }

    #[test]
    fn a_second_look_is_the_cross_entropy_of_the_same_noise_at_another_level() {
        let (model, batch, device) = setting(3);
        let once = LossConfig::default();
        let twice = LossConfig { clean_ce_weight: 0.7, clean_sigma: 0.1, ..once.clone() };
        let (both, stats) = gradients(&model, &batch, &twice, 2, &device);
        let (first, alone) = gradients(&model, &batch, &once, 5, &device);
        let again = Batch { sigma: vec![0.1; batch.len()], ..batch };
        let classify = LossConfig { dsm_weight: 0.0, ..once };
        let (second, look) = gradients(&model, &again, &classify, 5, &device);
        let sum = first.iter().map(|(name, a)| {
            let b = second.get(name).map(|b| b.clone() * 0.7);
            (name.clone(), b.map_or_else(|| a.clone(), |b| a.clone() + b))
        });
        compare(&both, &sum.collect(), 1e-5);
        assert!((stats.clean_ce.unwrap() - look.ce).abs() < 1e-5 && (stats.ce - alone.ce).abs() < 1e-5);
        assert!((stats.loss - alone.loss - 0.7 * look.ce).abs() < 1e-5, "{stats:?}");
    }
}
