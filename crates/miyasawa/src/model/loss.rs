//! The losses of joint training, one value for every image.

use super::{EnergyNetwork, JointModel};
use burn::tensor::{
    Int, Tensor,
    activation::{log_softmax, relu},
};
use serde::{Deserialize, Serialize};

/// How a joint density is learned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObjectiveName {
    /// Cross-entropy and denoising score matching.
    #[default]
    Joint,
    /// Cross-entropy and maximum likelihood by sampling (Grathwohl et al. 2020).
    Jem,
}

/// `[batch, classes]` with a one at the label.
pub fn one_hot(labels: &Tensor<1, Int>, classes: usize) -> Tensor<2> {
    // The framework's function refuses a single class, which a pure denoiser has.
    let batch = labels.dims()[0];
    let numbers = Tensor::<1, Int>::arange(0..classes as i64, &labels.device());
    let numbers = numbers.unsqueeze::<2>().expand([batch, classes]);
    numbers.equal(labels.clone().unsqueeze_dim::<2>(1).expand([batch, classes])).float()
}

/// `log(1 + exp(x))`, whose value and derivative neither overflow nor are lost in a 1.
pub(super) fn softplus(x: Tensor<1>) -> Tensor<1> {
    // At 0, where two classes are equally likely, the framework takes the derivatives of both parts
    // as 0: they are 1/2 together.
    let x = x.clone() + x.equal_elem(0.0).float() * 1e-30;
    relu(x.clone()) + (-x.abs()).exp().log1p()
}

/// Computes the cross-entropy `CE = -log p(c | y)`, `[batch]`, with a share `smoothing` of the
/// target spread over all classes (Szegedy et al. 2016; 0 for none).
pub fn cross_entropy(logits: &Tensor<2>, labels: &Tensor<1, Int>, smoothing: f64) -> Tensor<1> {
    let log_probs = log_softmax(logits.clone(), 1);
    let classes = log_probs.dims()[1];
    let target = one_hot(labels, classes) * (1.0 - smoothing) + smoothing / classes as f64;
    -(log_probs * target).sum_dim(1).squeeze_dim::<1>(1)
}

/// Computes `log sum_c exp f_c`, `[batch]`.
pub fn log_sum_exp(logits: &Tensor<2>) -> Tensor<1> {
    let max = logits.clone().detach().max_dim(1);
    let sum = (logits.clone() - max.clone()).exp().sum_dim(1).log() + max;
    sum.squeeze_dim::<1>(1)
}

/// Computes the loss of a denoiser `D`, `[batch]`, for clean images `x` (Karras et al. 2022,
/// "Elucidating the design space"): `(s^2 + sigma^2)/(s*sigma)^2 * |D(y) - x|^2 / d`. For the joint
/// model's `D` it is [`score_matching`].
pub fn denoising(
    denoised: Tensor<4>,
    x: &Tensor<4>,
    sigma: &Tensor<1>,
    sigma_data: f64,
) -> Tensor<1> {
    let n = sigma.dims()[0];
    let error = (denoised - x.clone()).powi_scalar(2).reshape([n as i32, -1]).mean_dim(1);
    let variance = sigma.clone().powi_scalar(2);
    let weight = (variance.clone() + sigma_data.powi(2)) / variance / sigma_data.powi(2);
    error.squeeze_dim::<1>(1) * weight
}

/// Computes the denoising score matching loss of a score at `y = x + sigma*noise`, `[batch]`:
/// `(s^2 + sigma^2)/(s*sigma)^2 * |y + sigma^2*score - x|^2 / d`, or, for a blind network,
/// `|sigma*score + noise|^2 / d`.
pub fn score_matching<N: EnergyNetwork>(
    model: &JointModel<N>,
    score: Tensor<4>,
    noise: &Tensor<4>,
    sigma: &Tensor<1>,
) -> Tensor<1> {
    let n = sigma.dims()[0];
    let sigma4 = sigma.clone().reshape([n, 1, 1, 1]);
    // y + sigma^2*score - x = sigma*(sigma*score + noise): without the difference of two images.
    let residual = score * sigma4 + noise.clone();
    let mean = residual.powi_scalar(2).reshape([n as i32, -1]).mean_dim(1).squeeze_dim::<1>(1);
    if model.net.is_blind() {
        return mean;
    }
    // weight*sigma^2 = (s^2 + sigma^2)/s^2
    mean * (sigma.clone().powi_scalar(2) / model.sigma_data().powi(2) + 1.0)
}

/// The weights `sigma^power` of the denoising losses of images, `[batch]`; nothing for 0, where all
/// are 1.
///
/// ```
/// use miyasawa::model::{host, loss::level_weights};
/// use miyasawa::{Device, burn::tensor::Tensor};
/// let sigma = Tensor::<1>::from_floats([0.25, 1.0], &Device::flex());
/// assert!(level_weights(&sigma, 0.0).is_none());
/// let weights = level_weights(&sigma, 0.5).map(host).unwrap_or_default();
/// assert!((weights[0] - 0.5).abs() < 1e-6 && (weights[1] - 1.0).abs() < 1e-6);
/// ```
pub fn level_weights(sigma: &Tensor<1>, power: f64) -> Option<Tensor<1>> {
    (power != 0.0).then(|| (sigma.clone().log() * power).exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    #[test]
    fn softplus_has_its_slope_everywhere() {
        let device = Device::flex().autodiff();
        let at = [-40.0f32, -3.0, 0.0, 3.0, 200.0];
        let x = Tensor::<1>::from_data(TensorData::from(at), &device).require_grad();
        let y = softplus(x.clone());
        let slope = x.grad(&y.clone().sum().backward()).unwrap();
        let (y, slope) = (super::super::host(y), super::super::host(slope));
        for ((x, y), slope) in at.into_iter().zip(y).zip(slope) {
            let (x, sigmoid) = (f64::from(x), 1.0 / (1.0 + f64::from(-x).exp()));
            let expected = if x > 100.0 { x } else { x.exp().ln_1p() };
            assert!((f64::from(y) - expected).abs() < 1e-6, "{x}: {y}");
            assert!((f64::from(slope) / sigmoid - 1.0).abs() < 1e-6, "{x}: {slope}");
        }
    }
}
