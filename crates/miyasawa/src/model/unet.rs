use crate::nn::Conv2d;
use crate::ops::Operands;
use burn::module::Module;
use burn::tensor::{Device, Tensor, activation::relu};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// The hyper-parameters of [`UNet`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UNetConfig {
    /// Channels of an image.
    pub channels: usize,
    /// Channels of the first scale; every further scale doubles them and halves the size.
    pub width: usize,
    /// Residual blocks of every scale, going down; going up every scale but the last has as many
    /// again.
    pub blocks: Vec<usize>,
    /// No constants anywhere (Mohan et al. 2020; DRUNet is so).
    pub bias_free: bool,
    /// Whether the noise level is an additional input channel.
    pub conditioned: bool,
    /// The type of the convolutions' products: they change how the network is computed, not its
    /// parameters.
    #[serde(skip)]
    pub operands: Operands,
}

impl UNetConfig {
    fn inputs(&self) -> usize {
        self.channels + usize::from(self.conditioned)
    }

    /// For every scale: its width and how often its blocks occur.
    fn scales(&self) -> impl Iterator<Item = (usize, usize)> {
        let last = self.blocks.len() - 1;
        let times = move |k| if k == last { 1 } else { 2 };
        self.blocks.iter().enumerate().map(move |(k, blocks)| (self.width << k, times(k) * blocks))
    }

    /// MACs of the convolutions in one forward pass over one image.
    pub fn macs(&self, [mut height, mut width]: [usize; 2]) -> usize {
        let mut total = 9 * height * width * self.width * (self.inputs() + self.channels);
        for (k, (channels, blocks)) in self.scales().enumerate() {
            if k > 0 {
                (height, width) = (height.div_ceil(2), width.div_ceil(2));
                // Down and up, both counted at the smaller size.
                total += 2 * 9 * height * width * channels * (channels / 2);
            }
            total += 18 * height * width * channels * channels * blocks;
        }
        total
    }

    /// Values of an activation of one image: after the first convolution, then after every block.
    pub fn activations(&self, [mut height, mut width]: [usize; 2]) -> Vec<usize> {
        let mut sizes = vec![height * width * self.width];
        for (k, (channels, blocks)) in self.scales().enumerate() {
            if k > 0 {
                (height, width) = (height.div_ceil(2), width.div_ceil(2));
            }
            sizes.extend(std::iter::repeat_n(height * width * channels, blocks));
        }
        sizes
    }

    /// Number of values in parameters.
    pub fn values(&self) -> u128 {
        let bias = u128::from(!self.bias_free);
        let (width, channels) = (self.width as u128, self.channels as u128);
        let mut total = 9 * width * (self.inputs() as u128 + channels) + bias * (width + channels);
        for (k, (c, blocks)) in
            self.scales().map(|(c, blocks)| (c as u128, blocks as u128)).enumerate()
        {
            if k > 0 {
                total += 9 * c * c + bias * c;
            }
            total += blocks * (18 * c * c + bias * 2 * c);
        }
        total
    }

    /// A network with random parameters.
    ///
    /// # Panics
    /// If [`Architecture::validate`](super::Architecture::validate) finds an error in the
    /// configuration; other functions of an invalid configuration may panic too.
    pub fn init(&self, device: &Device, seed: u64) -> UNet {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let conv = |channels, stride, rng: &mut ChaCha8Rng| {
            let conv = Conv2d::new(channels, 3, stride, device, rng).with_operands(self.operands);
            if self.bias_free { conv } else { conv.with_bias(device, rng) }
        };
        let blocks = |count: usize, width, rng: &mut ChaCha8Rng| -> Vec<ResidualBlock> {
            let mut block = || ResidualBlock {
                conv1: conv([width, width], 1, rng),
                conv2: conv([width, width], 1, rng),
            };
            (0..count).map(|_| block()).collect()
        };
        let last = self.blocks.len() - 1;
        let head = conv([self.inputs(), self.width], 1, rng);
        let mut scales = Vec::new();
        for (k, &count) in self.blocks[..last].iter().enumerate() {
            let width = self.width << k;
            scales.push(Scale {
                before: blocks(count, width, rng),
                down: conv([width, 2 * width], 2, rng),
                up: up_conv(width, device, rng).with_operands(self.operands),
                after: blocks(count, width, rng),
            });
        }
        let body = blocks(self.blocks[last], self.width << last, rng);
        let tail = conv([self.width, self.channels], 1, rng);
        UNet { head, scales, body, tail }
    }
}

/// The transposed convolution has no bias: the skip is added to it instead.
fn up_conv(width: usize, device: &Device, rng: &mut impl Rng) -> Conv2d {
    Conv2d::new([width, 2 * width], 3, 2, device, rng)
}

/// A residual UNet as a denoiser, after DRUNet (Zhang et al. 2021, "Plug-and-play image restoration
/// with deep denoiser prior", itself after Ronneberger et al. 2015): residual blocks of
/// convolution, ReLU, convolution at several scales, skips that are added. Down and up go through
/// 3x3 convolutions with stride 2 and their transposes, so that the output has the size of the
/// input, whatever it is.
#[derive(Module, Debug)]
pub struct UNet {
    head: Conv2d,
    scales: Vec<Scale>,
    body: Vec<ResidualBlock>,
    tail: Conv2d,
}

#[derive(Module, Debug)]
struct Scale {
    before: Vec<ResidualBlock>,
    down: Conv2d,
    /// `[2*width, width, 3, 3]`, as PyTorch's transposed convolution has it.
    up: Conv2d,
    after: Vec<ResidualBlock>,
}

#[derive(Module, Debug)]
struct ResidualBlock {
    conv1: Conv2d,
    conv2: Conv2d,
}

fn residual(blocks: &[ResidualBlock], x: Tensor<4>) -> Tensor<4> {
    blocks.iter().fold(x, |x, block| {
        let h = relu(block.conv1.forward_add(&x, None).0);
        block.conv2.forward_add(&h, Some(&x)).0
    })
}

impl UNet {
    /// The output for `[batch, height, width, channels (+ 1)]`.
    pub fn forward(&self, x: &Tensor<4>) -> Tensor<4> {
        let mut x = self.head.forward_add(x, None).0;
        let mut skips = Vec::new();
        for scale in &self.scales {
            let skip = residual(&scale.before, x);
            x = scale.down.forward_add(&skip, None).0;
            skips.push(skip);
        }
        x = residual(&self.body, x);
        for (scale, skip) in self.scales.iter().zip(skips).rev() {
            let [_, height, width, _] = skip.dims();
            x = residual(&scale.after, scale.up.transposed(&x, [height, width], Some(&skip)));
        }
        self.tail.forward_add(&x, None).0
    }
}
