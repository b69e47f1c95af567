//! What all objectives share: the batch of a step, its parts, and what a part reports.

use crate::parallel::{equal_parts, on_workers, workers};
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

impl Batch {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.sigma.len()
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

    /// The sum of the weights of all cross-entropies: what shares are shares of.
    pub(super) fn labelled(&self) -> f64 {
        self.label_weight.iter().map(|weight| f64::from(*weight)).sum::<f64>().max(1.0)
    }
}

/// The images of a batch in parts of `micro_batch`, the last one smaller: first image and count.
pub(super) fn parts_of(batch: usize, micro_batch: usize) -> Vec<[usize; 2]> {
    let micro_batch = micro_batch.max(1);
    (0..batch).step_by(micro_batch).map(|from| [from, micro_batch.min(batch - from)]).collect()
}

/// The same as equal as can be: batch normalisation should not meet a part of one image.
pub(super) fn equal_parts_of(batch: usize, micro_batch: usize) -> Vec<[usize; 2]> {
    equal_parts(batch, (batch / micro_batch.max(1)).max(1))
}

/// `work` of every part; `take` gets the results in the order of the parts. On the CPU each thread
/// takes entire parts.
pub(super) fn for_parts<T: Send + Sync>(
    parts: &[[usize; 2]],
    device: &Device,
    work: impl Fn([usize; 2]) -> T + Sync,
    mut take: impl FnMut(T),
) {
    let workers = workers(device);
    // A group's gradients are held until they are added: its size bounds the memory, whatever the
    // batch.
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

/// The sum of a loss over its images, on the host.
pub(super) fn sum_on_host(loss: &Tensor<1>) -> f64 {
    f64::from(loss.clone().sum().into_scalar::<f32>())
}

/// The number of images whose class is the likeliest, each counted with its weight.
pub(super) fn count_correct(
    logits: &Tensor<2>,
    labels: &Tensor<1, Int>,
    weights: &Tensor<1>,
) -> f64 {
    let correct = logits.clone().argmax(1).squeeze_dim::<1>(1).equal(labels.clone()).float();
    sum_on_host(&(correct * weights.clone()))
}

/// Images that go through the network at once: as many as keep one activation of the first stage
/// within a share of the second-level cache, and enough that the small images of the last stage
/// fill the kernels; for `batch_norm`, enough for its statistics.
pub fn default_micro_batch(batch: usize, width: usize, pixels: usize, batch_norm: bool) -> usize {
    /// Values of an activation that stay cached beside their neighbours.
    const CACHED: usize = 1 << 18;
    let least = if batch_norm { 32 } else { 16 };
    (CACHED / (width * pixels).max(1)).max(least).min(batch)
}
