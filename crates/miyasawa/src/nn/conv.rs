use super::{Layer, uniform_param};
use crate::ops::{self, ConvShape, Operands};
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use rand::Rng;

/// A convolution with a square kernel and no bias; its padding keeps the size at stride 1.
#[derive(Module, Debug)]
pub struct Conv2d {
    /// `[out, in, kernel, kernel]`.
    pub weight: Param<Tensor<4>>,
    #[module(skip)]
    stride: usize,
    #[module(skip)]
    operands: Operands,
}

/// The geometry that the adjoint needs: the input's size cannot be told from the output's at stride 2.
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
        Self { weight, stride, operands: Operands::F32 }
    }

    /// The same with products of this type, in all passes; the weight and the sums stay in float32.
    pub fn with_operands(self, operands: Operands) -> Self {
        Self { operands, ..self }
    }

    fn shape(&self, x: &Tensor<4>) -> ConvShape {
        let w = self.weight.val().dims();
        ConvShape { operands: self.operands, ..ops::conv_shape(x.dims(), w, self.stride, w[2] / 2) }
    }

    /// `conv(x) + addend`: the sum costs nothing inside the convolution.
    pub fn forward_add(&self, x: &Tensor<4>, addend: Option<&Tensor<4>>) -> (Tensor<4>, ConvTape) {
        let shape = self.shape(x);
        (ops::conv2d(x, &self.weight.val(), addend, shape), shape)
    }

    /// `conv^T(g) + addend`.
    pub fn adjoint_add(&self, tape: &ConvTape, g: &Tensor<4>, addend: Option<&Tensor<4>>) -> Tensor<4> {
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
