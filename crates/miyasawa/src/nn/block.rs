use super::{Conv2d, ConvTape, Layer, ModulatedNorm, NormTape};
use crate::ops::{self, Operands, Statistics};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand::Rng;

/// `norm(gelu(conv2(gelu(conv1(x))) + shortcut(x)))`, the residual block made smooth.
///
/// The shortcut is the identity, or a 1x1 convolution where the stride or the channels change.
#[derive(Module, Debug)]
pub struct Block {
    /// 3x3, carries the stride.
    pub conv1: Conv2d,
    /// 3x3.
    pub conv2: Conv2d,
    /// 1x1, where the shape changes.
    pub shortcut: Option<Conv2d>,
    /// With the second GELU, at the end of the block: measured better than at its start
    /// (the book's Ablations).
    pub norm: ModulatedNorm,
}

/// The values that the adjoint of [`Block`] needs.
#[derive(Debug)]
pub struct BlockTape {
    conv1: ConvTape,
    conv2: ConvTape,
    shortcut: Option<ConvTape>,
    /// The input of the first GELU; the norm keeps that of the second.
    h1: Tensor<4>,
    norm: NormTape,
}

impl Block {
    /// A block from `channels[0]` to `channels[1]` channels.
    pub fn new(
        channels: [usize; 2],
        stride: usize,
        embedding: Option<usize>,
        device: &Device,
        rng: &mut impl Rng,
    ) -> Self {
        let [cin, cout] = channels;
        Self {
            conv1: Conv2d::new([cin, cout], 3, stride, device, rng),
            conv2: Conv2d::new([cout, cout], 3, 1, device, rng),
            shortcut: (stride != 1 || cin != cout)
                .then(|| Conv2d::new([cin, cout], 1, stride, device, rng)),
            norm: ModulatedNorm::new(cout, embedding, device, rng).after_gelu(),
        }
    }

    /// The same block with `epsilon` added to the variances of the norm.
    pub fn with_epsilon(self, epsilon: f32) -> Self {
        Self { norm: self.norm.with_statistics(Statistics::Group { epsilon }), ..self }
    }

    /// The same block with a norm without statistics, whose initial scale and shift are such that
    /// an input of unit variance and random convolutions lead to an output of unit variance.
    pub fn with_fixed_norm(self) -> Self {
        // The deviation of a GELU of N(0, 1) is 0.58 and its mean 0.28; a strided shortcut has a
        // third of its input's variance.
        let [scale, shift] = if self.shortcut.is_some() { [2.7, -0.35] } else { [1.7, -0.48] };
        Self { norm: self.norm.fixed(scale, shift), ..self }
    }

    /// The same block with a norm of batches.
    pub fn with_batch_norm(self) -> Self {
        Self { norm: self.norm.of_batches(), ..self }
    }

    /// The same block with convolutions whose products are of this type.
    pub fn with_operands(self, operands: Operands) -> Self {
        Self {
            conv1: self.conv1.with_operands(operands),
            conv2: self.conv2.with_operands(operands),
            shortcut: self.shortcut.map(|conv| conv.with_operands(operands)),
            ..self
        }
    }
}

impl Layer for Block {
    type Tape = BlockTape;

    fn forward(&self, x: &Tensor<4>, embedding: Option<&Tensor<2>>) -> (Tensor<4>, BlockTape) {
        let (h1, conv1) = self.conv1.forward(x, None);
        let (past, shortcut) = match &self.shortcut {
            Some(conv) => {
                let (y, tape) = conv.forward(x, None);
                (y, Some(tape))
            }
            None => (x.clone(), None),
        };
        let (h2, conv2) = self.conv2.forward_add(&ops::gelu(&h1), Some(&past));
        let (y, norm) = self.norm.forward(&h2, embedding);
        (y, BlockTape { conv1, conv2, shortcut, h1, norm })
    }

    fn adjoint(&self, tape: &BlockTape, g: &Tensor<4>) -> Tensor<4> {
        let g2 = self.norm.adjoint(&tape.norm, g);
        let g1 = ops::gelu_adjoint(&tape.h1, &self.conv2.adjoint(&tape.conv2, &g2));
        let past = match (&self.shortcut, &tape.shortcut) {
            (Some(conv), Some(shape)) => conv.adjoint(shape, &g2),
            _ => g2,
        };
        self.conv1.adjoint_add(&tape.conv1, &g1, Some(&past))
    }
}
