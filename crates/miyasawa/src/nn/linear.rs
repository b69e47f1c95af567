use super::uniform_param;
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use rand::Rng;

/// `x*W^T + b`, with PyTorch's layout of the weight so that checkpoints load there unchanged.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[out, in]`.
    pub weight: Param<Tensor<2>>,
    /// `[out]`.
    pub bias: Option<Param<Tensor<1>>>,
}

impl Linear {
    /// A linear layer with PyTorch's default initialisation.
    pub fn new(features: [usize; 2], bias: bool, device: &Device, rng: &mut impl Rng) -> Self {
        let [fan_in, out] = features;
        let weight = uniform_param([out, fan_in], fan_in, device, rng);
        let bias = bias.then(|| uniform_param([out], fan_in, device, rng));
        Self { weight, bias }
    }

    /// Computes the output, from `[batch, in]` to `[batch, out]`.
    pub fn forward(&self, x: &Tensor<2>) -> Tensor<2> {
        let y = x.clone().matmul(self.weight.val().transpose());
        match &self.bias {
            Some(bias) => y + bias.val().unsqueeze::<2>(),
            None => y,
        }
    }

    /// Computes the gradient for the input, from `[batch, out]` to `[batch, in]`.
    pub fn adjoint(&self, g: &Tensor<2>) -> Tensor<2> {
        g.clone().matmul(self.weight.val())
    }
}
