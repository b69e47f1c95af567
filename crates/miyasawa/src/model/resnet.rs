use crate::model::gradresnet::resnet_macs;
use crate::nn::{BatchNorm, Conv2d, Linear, NormLog};
use crate::ops::{self, Operands};
use burn::module::Module;
use burn::tensor::{Device, Tensor, activation::relu};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// The hyper-parameters of [`ResNet`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResNetConfig {
    /// Channels of an image.
    pub channels: usize,
    /// Number of classes.
    pub classes: usize,
    /// Channels of the first stage; every further stage doubles them and halves the size.
    pub width: usize,
    /// Blocks of every stage.
    pub blocks: Vec<usize>,
    /// The type of the convolutions' products: they change how the network is computed, not its
    /// parameters.
    #[serde(skip)]
    pub operands: Operands,
}

impl ResNetConfig {
    /// MACs of the convolutions in one forward pass over one image.
    pub fn macs(&self, size: [usize; 2]) -> usize {
        resnet_macs(self.channels, self.width, &self.blocks, size)
    }

    /// Number of values in parameters and running statistics.
    pub fn values(&self) -> u128 {
        let (channels, classes, width) =
            (self.channels as u128, self.classes as u128, self.width as u128);
        let mut cin = width;
        let mut total = 9 * channels * width + 4 * width;
        for (k, &blocks) in self.blocks.iter().enumerate() {
            let cout = width << k;
            let first = 9 * cin * cout + 9 * cout * cout + 8 * cout;
            let shortcut = if cin == cout { 0 } else { cin * cout + 4 * cout };
            total += first + shortcut + (blocks as u128 - 1) * (18 * cout * cout + 8 * cout);
            cin = cout;
        }
        total + classes * cin + classes
    }

    /// A network with random parameters.
    ///
    /// # Panics
    /// If [`Architecture::validate`](super::Architecture::validate) finds an error in the
    /// configuration; other functions of an invalid configuration may panic too.
    pub fn init(&self, device: &Device, seed: u64) -> ResNet {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let norm = |channels| BatchNorm::new(channels, true, device);
        let conv = |channels, kernel, stride, rng: &mut ChaCha8Rng| {
            Conv2d::new(channels, kernel, stride, device, rng).with_operands(self.operands)
        };
        let stem = conv([self.channels, self.width], 3, 1, rng);
        let mut cin = self.width;
        let mut stages = Vec::new();
        for (k, &blocks) in self.blocks.iter().enumerate() {
            let cout = self.width << k;
            let mut stage = Vec::new();
            for j in 0..blocks {
                let stride = if k > 0 && j == 0 { 2 } else { 1 };
                let changes = cin != cout;
                stage.push(BasicBlock {
                    conv1: conv([cin, cout], 3, stride, rng),
                    norm1: norm(cout),
                    conv2: conv([cout, cout], 3, 1, rng),
                    norm2: norm(cout),
                    shortcut: changes.then(|| conv([cin, cout], 1, stride, rng)),
                    shortcut_norm: changes.then(|| norm(cout)),
                });
                cin = cout;
            }
            stages.push(stage);
        }
        let head = Linear::new([cin, self.classes], true, device, rng);
        ResNet { stem, norm: norm(self.width), stages, head }
    }
}

/// The residual classifier of He et al. 2016 in its form for CIFAR: a 3x3 stem without pooling,
/// basic blocks (convolution, batch normalisation, ReLU), the mean over the pixels, a linear layer.
/// `[2, 2, 2, 2]` blocks are ResNet-18. It is not conditioned on the noise level.
#[derive(Module, Debug)]
pub struct ResNet {
    stem: Conv2d,
    norm: BatchNorm,
    stages: Vec<Vec<BasicBlock>>,
    head: Linear,
}

#[derive(Module, Debug)]
struct BasicBlock {
    conv1: Conv2d,
    norm1: BatchNorm,
    conv2: Conv2d,
    norm2: BatchNorm,
    shortcut: Option<Conv2d>,
    shortcut_norm: Option<BatchNorm>,
}

impl BasicBlock {
    fn forward(&self, x: &Tensor<4>, mut log: Option<&mut NormLog>) -> Tensor<4> {
        let h = relu(self.norm1.normalise_conv(&self.conv1, x, log.as_deref_mut()));
        let h = self.norm2.normalise_conv(&self.conv2, &h, log.as_deref_mut());
        let past = match (&self.shortcut, &self.shortcut_norm) {
            (Some(conv), Some(norm)) => norm.normalise_conv(conv, x, log),
            _ => x.clone(),
        };
        relu(h + past)
    }

    /// In the order of the forward pass.
    fn norms(&mut self) -> impl Iterator<Item = &mut BatchNorm> {
        [&mut self.norm1, &mut self.norm2].into_iter().chain(self.shortcut_norm.as_mut())
    }
}

impl ResNet {
    /// The logits of images `[batch, height, width, channels]`; in training, statistics go to the
    /// log.
    pub fn forward(&self, x: &Tensor<4>, log: Option<&mut NormLog>) -> Tensor<2> {
        self.head.forward(&self.features(x, log))
    }

    /// The features that the class head sees, `[batch, features]`, of images as in
    /// [`forward`](Self::forward): the means of the last stage over its pixels.
    pub fn features(&self, x: &Tensor<4>, mut log: Option<&mut NormLog>) -> Tensor<2> {
        let mut x = relu(self.norm.normalise_conv(&self.stem, x, log.as_deref_mut()));
        for block in self.stages.iter().flatten() {
            x = block.forward(&x, log.as_deref_mut());
        }
        ops::mean_pool(&x)
    }

    /// The linear layer that makes the logits of [`features`](Self::features).
    pub fn class_head(&self) -> &Linear {
        &self.head
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.head.weight.dims()[0]
    }

    /// The batch normalisations in the order of the forward pass.
    pub fn norms(&mut self) -> Vec<&mut BatchNorm> {
        let blocks = self.stages.iter_mut().flatten().flat_map(BasicBlock::norms);
        std::iter::once(&mut self.norm).chain(blocks).collect()
    }
}
