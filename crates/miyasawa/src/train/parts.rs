//! What all objectives share: the batch of a step, its parts, and what a part reports.

use super::reduce::Reduce;
use crate::device::is_cpu;
use crate::model::{Architecture, Kind, host};
use crate::ops;
use crate::parallel::{equal_parts, on_workers_while, workers};
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
    pub noise: Vec<f32>,
    /// How many of the images, at the end of the batch, are for the cross-entropy alone.
    pub for_classes: usize,
}

/// What a step reports of its batch, averaged over the images.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct BatchStats {
    /// What is minimised; see [`LossConfig`](super::config::LossConfig).
    pub loss: f64,
    /// Cross-entropy.
    pub ce: f64,
    /// Clean-image cross-entropy, where it is learned (`loss.clean_ce_weight`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clean_ce: Option<f64>,
    /// Cross-entropy of the images that it alone learns from (`classification.batch`), attacked
    /// where training is adversarial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_ce: Option<f64>,
    /// Share of those images whose class is the likeliest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_accuracy: Option<f64>,
    /// Denoising score matching; 0 where it is not trained.
    pub dsm: f64,
    /// Share of the images whose class is the likeliest; none from a denoiser alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// Mean `log sum exp f` of the samples less that of the data, where they are trained apart
    /// (JEM).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy_gap: Option<f64>,
}

impl BatchStats {
    /// What a divergence shows in: the loss, or where that is a difference of either sign (JEM),
    /// its parts.
    pub fn divergence_loss(&self) -> f64 {
        self.energy_gap.map_or(self.loss, |gap| self.ce + gap.abs())
    }
}

/// A statistic of [`BatchStats`] that is a sum over images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stat {
    Ce,
    CleanCe,
    ClassCe,
    ClassAccuracy,
    Dsm,
    Accuracy,
    EnergyGap,
}

/// The statistics of a part of a batch, which may still lie on its device: reading them waits for
/// all that the device was asked for, so that those of all parts are read at once.
///
/// Made of numbers that are known by [`From`].
#[derive(Clone, Debug, Default)]
pub struct PartStats {
    known: BatchStats,
    /// Sums, `[1]` each, and what they are to be divided by.
    sums: Vec<(Stat, Tensor<1>, f64)>,
}

impl From<BatchStats> for PartStats {
    fn from(known: BatchStats) -> Self {
        Self { known, sums: Vec::new() }
    }
}

impl PartStats {
    /// With the sum of a value of each image over `total`.
    pub(super) fn with(mut self, stat: Stat, values: &Tensor<1>, total: f64) -> Self {
        let values = values.clone();
        let values = if values.is_autodiff() { values.inner() } else { values };
        self.sums.push((stat, ops::sum(&values), total));
        self
    }

    /// Reads those of several parts, and numbers beside them, `[1]` each, at once.
    pub(super) fn read(
        parts: Vec<Self>,
        beside: impl IntoIterator<Item = Tensor<1>>,
    ) -> (Vec<BatchStats>, Vec<f64>) {
        let sums = parts.iter().flat_map(|part| part.sums.iter().map(|(_, sum, _)| sum.clone()));
        let all: Vec<Tensor<1>> = sums.chain(beside).collect();
        let values = if all.is_empty() { Vec::new() } else { host(Tensor::cat(all, 0)) };
        let mut values = values.into_iter().map(f64::from);
        let stats = parts.into_iter().map(|Self { mut known, sums }| {
            for ((stat, _, total), value) in sums.into_iter().zip(&mut values) {
                let value = value / total;
                match stat {
                    Stat::Ce => known.ce = value,
                    Stat::CleanCe => known.clean_ce = Some(value),
                    Stat::ClassCe => known.class_ce = Some(value),
                    Stat::ClassAccuracy => known.class_accuracy = Some(value),
                    Stat::Dsm => known.dsm = value,
                    Stat::Accuracy => known.accuracy = Some(value),
                    Stat::EnergyGap => known.energy_gap = Some(value),
                }
            }
            known
        });
        (stats.collect(), values.collect())
    }
}

impl Batch {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.sigma.len()
    }

    /// Number of images that all losses learn from: those before the ones
    /// [for the cross-entropy alone](Self::for_classes).
    pub fn for_all(&self) -> usize {
        self.len() - self.for_classes
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.sigma.is_empty()
    }

    /// The images `from..from + count` as tensors: y, noise, sigma and labels.
    pub(super) fn tensors(
        &self,
        from: usize,
        count: usize,
        device: &Device,
    ) -> (Tensor<4>, Tensor<4>, Tensor<1>, Tensor<1, Int>) {
        let [c, h, w] = self.image;
        let values = from * c * h * w..(from + count) * c * h * w;
        let image = |data: &[f32]| {
            Tensor::<4>::from_data(TensorData::new(data.to_vec(), [count, c, h, w]), device)
        };
        let sigma = TensorData::new(self.sigma[from..from + count].to_vec(), [count]);
        let sigma = Tensor::<1>::from_data(sigma, device);
        let labels: Vec<i32> = self.labels[from..from + count].iter().map(|l| *l as i32).collect();
        let labels = Tensor::<1, Int>::from_data(TensorData::new(labels, [count]), device);
        let noise = image(&self.noise[values.clone()]);
        let y = image(&self.x[values]) + noise.clone() * sigma.clone().reshape([count, 1, 1, 1]);
        (y, noise, sigma, labels)
    }
}

impl Batch {
    /// The weights of the cross-entropies of the images `from..from + count`.
    pub(super) fn label_weights(&self, from: usize, count: usize, device: &Device) -> Tensor<1> {
        let weights = self.label_weight[from..from + count].to_vec();
        Tensor::from_data(TensorData::new(weights, [count]), device)
    }

    /// The sum of the weights of the cross-entropies of the images for all losses: what shares are
    /// shares of.
    pub(super) fn labelled(&self) -> f64 {
        let weights = &self.label_weight[..self.for_all()];
        weights.iter().map(|weight| f64::from(*weight)).sum::<f64>().max(1.0)
    }
}

/// The images of a batch in parts of `micro_batch`, the last one smaller: first image and count.
pub(super) fn parts_of(batch: usize, micro_batch: usize) -> Vec<[usize; 2]> {
    let micro_batch = micro_batch.max(1);
    (0..batch).step_by(micro_batch).map(|from| [from, micro_batch.min(batch - from)]).collect()
}

/// The parts of a batch of `for_all` images and `for_classes` behind them: none holds both. They
/// are as equal as can be where `batch_norm` takes statistics of them.
pub(super) fn joint_parts_of(
    [for_all, for_classes]: [usize; 2],
    micro_batch: usize,
    batch_norm: bool,
) -> Vec<[usize; 2]> {
    let of = |batch: usize| match batch_norm && batch > 0 {
        true => equal_parts_of(batch, micro_batch),
        false => parts_of(batch, micro_batch),
    };
    let behind = of(for_classes).into_iter().map(|[from, count]| [for_all + from, count]);
    of(for_all).into_iter().chain(behind).collect()
}

/// The parts of a network's batch.
pub(super) fn network_parts(
    network: &Architecture,
    [for_all, for_classes]: [usize; 2],
    micro_batch: usize,
) -> Vec<[usize; 2]> {
    match network.kind() {
        Kind::GradResNet | Kind::Custom => {
            joint_parts_of([for_all, for_classes], micro_batch, network.has_batch_norm())
        }
        Kind::ResNet18 | Kind::DnCnn | Kind::UNet => equal_parts_of(for_all, micro_batch),
    }
}

/// The same as equal as can be: batch normalisation should not meet a part of one image.
pub(super) fn equal_parts_of(batch: usize, micro_batch: usize) -> Vec<[usize; 2]> {
    equal_parts(batch, (batch / micro_batch.max(1)).max(1))
}

/// `work` of every part that is worked on here; `take` gets the results in the order of the parts,
/// and with each what sums them. On the CPU each thread takes entire parts, group by group, and
/// what is to be done [`meanwhile`](Reduce::meanwhile) is done by this thread.
pub(super) fn for_parts<T: Send + Sync>(
    parts: &[[usize; 2]],
    device: &Device,
    reduce: &mut dyn Reduce,
    work: impl Fn([usize; 2]) -> T + Sync,
    mut take: impl FnMut(&mut dyn Reduce, T),
) {
    let workers = workers(device);
    let own = &parts[reduce.own(parts.len())];
    for group in reduce.groups(own.len()) {
        let group = &own[group];
        // A single part has all threads, unless there is something to do meanwhile.
        let alone = if workers.len() == 1 { !reduce.is_shared() } else { group.len() < 2 };
        if workers.is_empty() || alone {
            // Every rank does as many exchanges, whatever it computes with.
            reduce.meanwhile();
            group.iter().for_each(|part| take(reduce, work(*part)));
        } else {
            let meanwhile = || reduce.meanwhile();
            let found = on_workers_while(&workers, group, |part| work(*part), meanwhile);
            found.into_iter().for_each(|found| take(reduce, found));
        }
    }
}

/// Marks the images whose class is the likeliest, each with its weight.
pub(super) fn correct(
    logits: &Tensor<2>,
    labels: &Tensor<1, Int>,
    weights: &Tensor<1>,
) -> Tensor<1> {
    let correct = logits.clone().argmax(1).squeeze_dim::<1>(1).equal(labels.clone()).float();
    correct * weights.clone()
}

/// Images that go through the network at once. On the CPU as many as keep one activation of the
/// first stage within a share of the second-level cache, and enough that the small images of the
/// last stage fill the kernels; for `batch_norm`, enough for its statistics. On other devices the
/// whole batch, unless its activations would fill their memory.
pub fn default_micro_batch(
    batch: usize,
    width: usize,
    pixels: usize,
    batch_norm: bool,
    device: &Device,
) -> usize {
    /// Values of an activation that stay cached beside their neighbours.
    const CACHED: usize = 1 << 18;
    /// Values of an activation of the first stage, of which a step of the joint objective keeps
    /// about 150: 10 GB.
    const HELD: usize = 1 << 24;
    let (values, least) = match (is_cpu(device), batch_norm) {
        // The statistics of a part are those of batch normalisation: the same on every device.
        (_, true) => (CACHED, 32),
        (true, false) => (CACHED, 16),
        (false, false) => (HELD, 1),
    };
    (values / (width * pixels).max(1)).max(least).min(batch)
}
