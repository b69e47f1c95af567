//! What batch normalisation remembers: moments of activations, and how they run along.

use burn::module::Param;
use burn::tensor::{Tensor, TensorData};

/// Weight of a step's statistics in the running ones, PyTorch's default.
const MOMENTUM: f64 = 0.1;

/// The statistics of one layer, on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    /// Mean of every channel.
    pub mean: Vec<f64>,
    /// Variance of every channel.
    pub var: Vec<f64>,
    /// Values of a channel.
    pub count: usize,
}

impl Moments {
    /// The statistics of several parts together, in their order: the mean, and the variance within
    /// and between the parts.
    pub(super) fn pool(parts: &[&Self]) -> Self {
        let count: usize = parts.iter().map(|part| part.count).sum();
        let share = |part: &Self| part.count as f64 / count as f64;
        let channels = 0..parts.first().map_or(0, |part| part.mean.len());
        let mean: Vec<f64> =
            channels.clone().map(|c| parts.iter().map(|p| share(p) * p.mean[c]).sum()).collect();
        let second = |p: &Self, c: usize| p.var[c] + (p.mean[c] - mean[c]).powi(2);
        let var = channels.map(|c| parts.iter().map(|p| share(p) * second(p, c)).sum()).collect();
        Self { mean, var, count }
    }

    /// The variances as PyTorch tracks them: those of a sample.
    pub(super) fn unbiased(&self) -> Vec<f64> {
        let factor = self.count as f64 / (self.count.max(2) - 1) as f64;
        self.var.iter().map(|var| factor * var).collect()
    }
}

/// A layer with running statistics.
pub trait RunningMoments {
    /// Moves the running statistics towards those that were seen.
    fn track(&mut self, seen: &Moments);
}

/// Updates the running statistics of a network's layers by those of the parts of a batch; `parts`
/// holds the layers' statistics for every part. Nothing depends on the number of threads.
pub fn update_running<N: RunningMoments>(layers: Vec<&mut N>, parts: &[Vec<Moments>]) {
    for (k, layer) in layers.into_iter().enumerate() {
        let seen: Vec<&Moments> = parts.iter().filter_map(|part| part.get(k)).collect();
        if !seen.is_empty() {
            layer.track(&Moments::pool(&seen));
        }
    }
}

/// A running statistic, moved towards what was seen.
pub(super) fn moved(param: &Param<Tensor<1>>, seen: &[f64]) -> Param<Tensor<1>> {
    let old = param.val().into_data().try_to_vec::<f32>().expect("the models compute in float32");
    let toward =
        |(old, new): (&f32, &f64)| (f64::from(*old) + MOMENTUM * (new - f64::from(*old))) as f32;
    let values: Vec<f32> = old.iter().zip(seen).map(toward).collect();
    let count = values.len();
    param.clone().map(|old| Tensor::from_data(TensorData::new(values, [count]), &old.device()))
}
