use super::{Layer, uniform_param};
use crate::ops::{self, ConvShape, Operands};
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use rand::Rng;

/// A convolution with a square kernel; its padding keeps the size at stride 1. The layers of
/// [`GradResNet`](crate::model::GradResNet) have no bias.
#[derive(Module, Debug)]
pub struct Conv2d {
    /// `[out, in, kernel, kernel]`.
    pub weight: Param<Tensor<4>>,
    /// `[out]`, in some reference models.
    pub bias: Option<Param<Tensor<1>>>,
    #[module(skip)]
    stride: usize,
    #[module(skip)]
    operands: Operands,
}

/// The geometry that the adjoint needs: the input's size does not follow from the output's at
/// stride 2.
pub type ConvTape = ConvShape;

impl Conv2d {
    /// A convolution with PyTorch's default initialisation.
    pub fn new(
        channels: [usize; 2],
        kernel: usize,
        stride: usize,
        device: &Device,
        rng: &mut impl Rng,
    ) -> Self {
        let [cin, cout] = channels;
        let weight = uniform_param([cout, cin, kernel, kernel], cin * kernel * kernel, device, rng);
        Self { weight, bias: None, stride, operands: Operands::F32 }
    }

    /// The same layer with products of this type, in all passes; the weight and the sums stay in
    /// float32.
    pub fn with_operands(self, operands: Operands) -> Self {
        Self { operands, ..self }
    }

    /// The same layer with a bias, in PyTorch's default initialisation.
    pub fn with_bias(mut self, device: &Device, rng: &mut impl Rng) -> Self {
        let [out, cin, kernel, _] = self.weight.lazy_shape().dims();
        self.bias = Some(uniform_param([out], cin * kernel * kernel, device, rng));
        self
    }

    fn shape(&self, x: &Tensor<4>) -> ConvShape {
        let w = self.weight.val().dims();
        ConvShape { operands: self.operands, ..ops::conv_shape(x.dims(), w, self.stride, w[2] / 2) }
    }

    /// `conv(x) + addend`: the sum costs nothing inside the convolution.
    pub fn forward_add(&self, x: &Tensor<4>, addend: Option<&Tensor<4>>) -> (Tensor<4>, ConvTape) {
        let shape = self.shape(x);
        let y = ops::conv2d(x, &self.weight.val(), addend, shape);
        let y = match &self.bias {
            Some(bias) => y + bias.val().reshape([1, 1, 1, -1]),
            None => y,
        };
        (y, shape)
    }

    /// `scale*conv(x) + shift`, both `[out]`: a convolution with a folded normalisation of fixed
    /// statistics.
    pub fn scaled(&self, x: &Tensor<4>, scale: &Tensor<1>, shift: Option<&Tensor<1>>) -> Tensor<4> {
        let weight = self.weight.val() * scale.clone().reshape([-1, 1, 1, 1]);
        let y = ops::conv2d(x, &weight, None, self.shape(x));
        match shift {
            Some(shift) => y + shift.clone().reshape([1, 1, 1, -1]),
            None => y,
        }
    }

    /// The transposed convolution, from this layer's output channels to its input channels and to
    /// the size that it would take to the size of `g`, which `size` = `[height, width]` selects.
    pub fn transposed(
        &self,
        g: &Tensor<4>,
        size: [usize; 2],
        addend: Option<&Tensor<4>>,
    ) -> Tensor<4> {
        let w = self.weight.val();
        let [batch, _, _, _] = g.dims();
        let input = [batch, size[0], size[1], w.dims()[1]];
        let shape = ops::conv_shape(input, w.dims(), self.stride, w.dims()[2] / 2);
        ops::conv2d_adjoint(g, &w, addend, ConvShape { operands: self.operands, ..shape })
    }

    /// `conv^T(g) + addend`.
    pub fn adjoint_add(
        &self,
        tape: &ConvTape,
        g: &Tensor<4>,
        addend: Option<&Tensor<4>>,
    ) -> Tensor<4> {
        ops::conv2d_adjoint(g, &self.weight.val(), addend, *tape)
    }
}

impl Layer for Conv2d {
    type Tape = ConvTape;

    fn forward(&self, x: &Tensor<4>, _: Option<&Tensor<2>>) -> (Tensor<4>, ConvTape) {
        self.forward_add(x, None)
    }

    fn adjoint(&self, tape: &ConvTape, g: &Tensor<4>) -> Tensor<4> {
        self.adjoint_add(tape, g, None)
    }
}
