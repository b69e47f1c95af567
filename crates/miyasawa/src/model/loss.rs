//! The losses of joint training, one value for every image.

use super::{EnergyNetwork, JointModel, Point};
use burn::tensor::{Int, Tensor};

/// `CE = -log p(c | y)`, `[batch]`, with a share `smoothing` of the target spread over all classes
/// (Szegedy et al. 2016; 0 for none).
pub fn cross_entropy<N: EnergyNetwork>(
    point: &Point<'_, N>,
    labels: &Tensor<1, Int>,
    smoothing: f64,
) -> Tensor<1> {
    let log_probs = point.class_log_probs();
    let classes = log_probs.dims()[1] as f64;
    let target = point.one_hot(labels) * (1.0 - smoothing) + smoothing / classes;
    -(log_probs * target).sum_dim(1).squeeze_dim::<1>(1)
}

/// Denoising score matching of a score at `y = x + sigma*eps`, `[batch]`:
/// `(s^2 + sigma^2)/(s*sigma)^2 * |y + sigma^2*score - x|^2 / d`, or, for a blind network,
/// `|sigma*score + eps|^2 / d`.
pub fn score_matching<N: EnergyNetwork>(
    model: &JointModel<N>,
    score: Tensor<4>,
    eps: &Tensor<4>,
    sigma: &Tensor<1>,
) -> Tensor<1> {
    let n = sigma.dims()[0];
    let sigma4 = sigma.clone().reshape([n, 1, 1, 1]);
    // y + sigma^2*score - x = sigma*(sigma*score + eps): without the difference of two pictures.
    let residual = score * sigma4 + eps.clone();
    let mean = residual.powi_scalar(2).reshape([n as i32, -1]).mean_dim(1).squeeze_dim::<1>(1);
    if model.net.is_blind() {
        return mean;
    }
    // weight*sigma^2 = (s^2 + sigma^2)/s^2
    mean * (sigma.clone().powi_scalar(2) / model.sigma_data().powi(2) + 1.0)
}
