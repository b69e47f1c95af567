//! The reference models to compare the joint one with: a classifier alone, a denoiser alone.
//!
//! They use the layers of [`crate::nn`] and so the same convolution kernels as the joint model,
//! which makes their measured times comparable; ReLU and other cheap operations come from the
//! framework.

use super::{DnCnn, ResNet, UNet, joint::per_image};
use crate::nn::{BatchNorm, NormLog};
use burn::module::Module;
use burn::tensor::Tensor;

/// A classifier of noisy images, `p(c | y)`; it is not conditioned on the noise level.
#[derive(Module, Debug)]
pub struct PlainClassifier {
    /// The network.
    pub net: ResNet,
}

impl PlainClassifier {
    /// The logits of images `[batch, channels, height, width]`; in training, statistics go to the
    /// log.
    pub fn logits(&self, y: &Tensor<4>, log: Option<&mut NormLog>) -> Tensor<2> {
        self.net.forward(&y.clone().permute([0, 2, 3, 1]), log)
    }
}

/// The network of a [`PlainDenoiser`].
#[derive(Module, Debug)]
pub enum DenoiserNet {
    /// See [`DnCnn`].
    DnCnn(DnCnn),
    /// See [`UNet`].
    UNet(UNet),
}

impl DenoiserNet {
    fn forward(&self, x: &Tensor<4>, log: Option<&mut NormLog>) -> Tensor<4> {
        match self {
            Self::DnCnn(net) => net.forward(x, log),
            Self::UNet(net) => net.forward(x),
        }
    }

    /// The batch normalisations in the order of the forward pass.
    pub fn norms(&mut self) -> Vec<&mut BatchNorm> {
        match self {
            Self::DnCnn(net) => net.norms(),
            Self::UNet(_) => Vec::new(),
        }
    }
}

/// A denoiser alone, `D(y)`, with `F` the network.
///
/// A blind denoiser predicts the noise (Zhang et al. 2017): `D(y) = y - F(y)`. One that is
/// conditioned on the noise level has the preconditioning of Karras et al. 2022 with `s` the
/// standard deviation of the data, and the noise level as an additional channel:
/// `D(y) = c_skip*y + c_out*F(c_in*[y, sigma])`, `c_skip = s^2/(s^2 + sigma^2)`,
/// `c_out = sigma*s/sqrt(s^2 + sigma^2)`, `c_in = 1/sqrt(s^2 + sigma^2)`.
#[derive(Module, Debug)]
pub struct PlainDenoiser {
    /// The network.
    pub net: DenoiserNet,
    #[module(skip)]
    sigma_data: f64,
    #[module(skip)]
    conditioned: bool,
}

impl PlainDenoiser {
    /// A denoiser for data with the standard deviation `sigma_data`.
    pub fn new(net: DenoiserNet, sigma_data: f64, conditioned: bool) -> Self {
        Self { net, sigma_data, conditioned }
    }

    /// The standard deviation of the data, in units of the [-1, 1] range.
    pub fn sigma_data(&self) -> f64 {
        self.sigma_data
    }

    /// `D(y)` for images `[batch, channels, height, width]`; in training, statistics go to the log.
    pub fn denoised(
        &self,
        y: &Tensor<4>,
        sigma: &Tensor<1>,
        log: Option<&mut NormLog>,
    ) -> Tensor<4> {
        let channels_last = |x: Tensor<4>| x.permute([0, 2, 3, 1]);
        let net = |x: Tensor<4>, log| self.net.forward(&x, log).permute([0, 3, 1, 2]);
        if !self.conditioned {
            return y.clone() - net(channels_last(y.clone()), log);
        }
        let variance = sigma.clone().powi_scalar(2) + self.sigma_data.powi(2);
        let c_in = variance.clone().sqrt().recip();
        let c_skip = variance.recip() * self.sigma_data.powi(2);
        let c_out = sigma.clone() * self.sigma_data * c_in.clone();
        let [n, _, h, w] = y.dims();
        let level = per_image(sigma).expand([n, 1, h, w]);
        let u = Tensor::cat(vec![y.clone(), level], 1) * per_image(&c_in);
        y.clone() * per_image(&c_skip) + net(channels_last(u), log) * per_image(&c_out)
    }
}
