//! One training step: the gradient of a batch's loss.

use super::config::{DsmTarget, LossConfig};
use crate::model::{
    EnergyNetwork, JointModel, loss,
    params::{self, FlatMap},
};
use burn::tensor::{Device, Int, Tensor, TensorData};

/// A batch on the host: clean pictures in [-1, 1], their classes, noise levels and noise.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Channels, height, width.
    pub image: [usize; 3],
    /// `[batch, channels, height, width]`.
    pub x: Vec<f32>,
    /// `[batch]`.
    pub labels: Vec<u32>,
    /// `[batch]`.
    pub sigma: Vec<f32>,
    /// Standard normal, as long as `x`.
    pub eps: Vec<f32>,
}

/// What a step tells of its batch, averaged over the images.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct BatchStats {
    /// `ce_weight*CE + dsm_weight*DSM`.
    pub loss: f64,
    /// Cross-entropy.
    pub ce: f64,
    /// Denoising score matching; 0 where it is not trained.
    pub dsm: f64,
    /// Share of the images whose class is the likeliest.
    pub accuracy: f64,
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
    fn tensors(
        &self,
        from: usize,
        count: usize,
        device: &Device,
    ) -> (Tensor<4>, Tensor<4>, Tensor<1>, Tensor<1, Int>) {
        let [c, h, w] = self.image;
        let values = from * c * h * w..(from + count) * c * h * w;
        let picture =
            |data: &[f32]| Tensor::<4>::from_data(TensorData::new(data.to_vec(), [count, c, h, w]), device);
        let sigma = TensorData::new(self.sigma[from..from + count].to_vec(), [count]);
        let sigma = Tensor::<1>::from_data(sigma, device);
        let labels: Vec<i32> = self.labels[from..from + count].iter().map(|l| *l as i32).collect();
        let labels = Tensor::<1, Int>::from_data(TensorData::new(labels, [count]), device);
        let eps = picture(&self.eps[values.clone()]);
        let y = picture(&self.x[values]) + eps.clone() * sigma.clone().reshape([count, 1, 1, 1]);
        (y, eps, sigma, labels)
    }
}

/// The gradient of the batch's mean loss, exact: one reverse pass over forward and adjoint. The batch is
/// taken in parts of `micro_batch` images, which changes the result by rounding only, since no layer
/// mixes images, and bounds the memory.
pub fn gradients<N: EnergyNetwork>(
    model: &JointModel<N>,
    batch: &Batch,
    config: &LossConfig,
    micro_batch: usize,
    device: &Device,
) -> (FlatMap, BatchStats) {
    let mut sums = FlatMap::new();
    let mut stats = BatchStats::default();
    let total = batch.len() as f64;
    for from in (0..batch.len()).step_by(micro_batch.max(1)) {
        let count = micro_batch.min(batch.len() - from);
        let (y, eps, sigma, labels) = batch.tensors(from, count, device);
        let point = model.at(&y, &sigma);
        let ce = loss::cross_entropy(&point, &labels, config.label_smoothing);
        let matching = |score| loss::score_matching(model, score, &eps, &sigma);
        let dsm = (config.dsm_weight > 0.0).then(|| match config.dsm {
            DsmTarget::Marginal => matching(point.score()),
            DsmTarget::Conditional => matching(point.score_given(&labels)),
            DsmTarget::Both => (matching(point.score()) + matching(point.score_given(&labels))) * 0.5,
        });
        let right = point.logits().clone().argmax(1).squeeze_dim::<1>(1).equal(labels).int().sum();
        stats.accuracy += f64::from(right.into_scalar::<i32>()) / total;
        let sum = |loss: &Tensor<1>| f64::from(loss.clone().sum().into_scalar::<f32>()) / total;
        stats.ce += sum(&ce);
        let mut loss = ce * config.ce_weight;
        if let Some(dsm) = dsm {
            stats.dsm += sum(&dsm);
            loss = loss + dsm * config.dsm_weight;
        }
        drop(point);
        let mut grads = (loss.sum() / total).backward();
        params::accumulate(&model.net, &mut grads, &mut sums);
    }
    stats.loss = config.ce_weight * stats.ce + config.dsm_weight * stats.dsm;
    (sums, stats)
}

/// Images that go through the network at once: as many as keep one activation of the first stage within
/// a share of the second-level cache, and enough that the small pictures of the last stage fill the
/// kernels. Measured, see ARCHITECTURE.md.
pub fn default_micro_batch(batch: usize, width: usize, pixels: usize) -> usize {
    /// Values of an activation that stay cached beside their neighbours.
    const CACHED: usize = 1 << 18;
    (CACHED / (width * pixels).max(1)).max(16).min(batch)
}
