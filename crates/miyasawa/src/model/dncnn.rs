use crate::nn::{BatchNorm, Conv2d, NormLog};
use crate::ops::Operands;
use burn::module::Module;
use burn::tensor::{Device, Tensor, activation::relu};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// The hyper-parameters of [`DnCnn`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DnCnnConfig {
    /// Channels of an image.
    pub channels: usize,
    /// Channels of the layers between; 64 in the paper.
    pub width: usize,
    /// Convolutions; 17 in the paper for one noise level, 20 for many.
    pub depth: usize,
    /// No constants anywhere (Mohan et al. 2020): the denoiser is homogeneous and works beyond the
    /// noise levels of its training.
    pub bias_free: bool,
    /// Whether the noise level is an additional input channel (Zhang et al. 2018, FFDNet).
    pub conditioned: bool,
    /// The type of the convolutions' products: they change how the network is computed, not its
    /// parameters.
    #[serde(skip)]
    pub operands: Operands,
}

impl DnCnnConfig {
    /// Channels of the network's input.
    fn inputs(&self) -> usize {
        self.channels + usize::from(self.conditioned)
    }

    /// MACs of the convolutions in one forward pass over one image.
    pub fn macs(&self, [height, width]: [usize; 2]) -> usize {
        let ends = self.width * (self.inputs() + self.channels);
        9 * height * width * (ends + (self.depth - 2) * self.width * self.width)
    }

    /// Number of values in parameters and running statistics.
    pub fn values(&self) -> u128 {
        let (w, c, i) = (self.width as u128, self.channels as u128, self.inputs() as u128);
        let (norm, bias) = if self.bias_free { (2 * w, 0) } else { (4 * w, w + c) };
        9 * w * (i + c) + bias + (self.depth as u128 - 2) * (9 * w * w + norm)
    }

    /// A network with random parameters.
    ///
    /// # Panics
    /// If [`Architecture::validate`](super::Architecture::validate) finds an error in the
    /// configuration; other functions of an invalid configuration may panic too.
    pub fn init(&self, device: &Device, seed: u64) -> DnCnn {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let mut conv = |from, to, bias: bool| {
            let conv = Conv2d::new([from, to], 3, 1, device, rng).with_operands(self.operands);
            if bias { conv.with_bias(device, rng) } else { conv }
        };
        let first = conv(self.inputs(), self.width, !self.bias_free);
        let middle = (2..self.depth).map(|_| conv(self.width, self.width, false)).collect();
        let last = conv(self.width, self.channels, !self.bias_free);
        let norms =
            (2..self.depth).map(|_| BatchNorm::new(self.width, !self.bias_free, device)).collect();
        DnCnn { first, middle, norms, last }
    }
}

/// DnCNN (Zhang et al. 2017, "Beyond a Gaussian denoiser"): 3x3 convolutions at full size, batch
/// normalisation and ReLU between them; it predicts the noise.
#[derive(Module, Debug)]
pub struct DnCnn {
    first: Conv2d,
    middle: Vec<Conv2d>,
    norms: Vec<BatchNorm>,
    last: Conv2d,
}

impl DnCnn {
    /// The output for `[batch, height, width, channels (+ 1)]`; in training, statistics go to the
    /// log.
    pub fn forward(&self, x: &Tensor<4>, mut log: Option<&mut NormLog>) -> Tensor<4> {
        let mut x = relu(self.first.forward_add(x, None).0);
        for (conv, norm) in self.middle.iter().zip(&self.norms) {
            x = relu(norm.normalise_conv(conv, &x, log.as_deref_mut()));
        }
        self.last.forward_add(&x, None).0
    }

    /// The batch normalisations in the order of the forward pass.
    pub fn norms(&mut self) -> Vec<&mut BatchNorm> {
        self.norms.iter_mut().collect()
    }
}
