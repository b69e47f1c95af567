use super::uniform_param;
use crate::device::is_cpu;
use crate::ops::{self, ConvShape};
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
        let y = match is_cpu(&x.device()) {
            true => x.clone().matmul(self.weight.val().transpose()),
            false => self.convolved(x),
        };
        match &self.bias {
            Some(bias) => y + bias.val().unsqueeze::<2>(),
            None => y,
        }
    }

    /// Computes the gradient for the input, from `[batch, out]` to `[batch, in]`.
    pub fn adjoint(&self, g: &Tensor<2>) -> Tensor<2> {
        match is_cpu(&g.device()) {
            true => g.clone().matmul(self.weight.val()),
            false => self.convolved_adjoint(g),
        }
    }

    /// The kernel of the layer as a convolution of images of one pixel, and its shape.
    fn kernel(&self, batch: usize) -> (Tensor<4>, ConvShape) {
        let weight = self.weight.val();
        let [out, features] = weight.dims();
        let kernel = [out, features, 1, 1];
        (weight.reshape(kernel), ops::conv_shape([batch, 1, 1, features], kernel, 1, 0))
    }

    /// The product as a convolution: a GPU's matrix products may round float32 to TF32, its direct
    /// convolutions do not.
    fn convolved(&self, x: &Tensor<2>) -> Tensor<2> {
        let [batch, features] = x.dims();
        let (kernel, shape) = self.kernel(batch);
        let x = x.clone().reshape([batch, 1, 1, features]);
        ops::conv2d(&x, &kernel, None, shape).reshape([batch, shape.out_channels])
    }

    /// The adjoint of [`convolved`](Self::convolved).
    fn convolved_adjoint(&self, g: &Tensor<2>) -> Tensor<2> {
        let [batch, out] = g.dims();
        let (kernel, shape) = self.kernel(batch);
        let g = g.clone().reshape([batch, 1, 1, out]);
        ops::conv2d_adjoint(&g, &kernel, None, shape).reshape([batch, shape.in_channels])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::host;
    use rand::SeedableRng;

    #[test]
    fn a_layer_is_a_convolution_of_one_pixel() {
        let device = Device::flex();
        let rng = &mut rand_chacha::ChaCha8Rng::seed_from_u64(0);
        let layer = Linear::new([5, 3], false, &device, rng);
        let values = |n: usize| (0..n).map(|i| (i as f32 * 0.7).sin()).collect::<Vec<_>>();
        let tensor = |n: usize| {
            Tensor::<2>::from_data(burn::tensor::TensorData::new(values(4 * n), [4, n]), &device)
        };
        let (x, g) = (tensor(5), tensor(3));
        for (a, b) in [
            (layer.forward(&x), layer.convolved(&x)),
            (layer.adjoint(&g), layer.convolved_adjoint(&g)),
        ] {
            assert_eq!(a.dims(), b.dims());
            host(a).iter().zip(host(b)).for_each(|(a, b)| assert!((a - b).abs() < 1e-6));
        }
    }
}
