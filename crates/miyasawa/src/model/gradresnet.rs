use super::{
    EnergyNetwork, Outputs,
    architecture::{check_blocks, check_classes, check_widths},
    params::{self, ParamError, ParamMap},
};
use crate::nn::{
    Block, BlockTape, Conv2d, ConvTape, Layer, Linear, ModulatedNorm, NOISE_FEATURES, NormObserver,
    constant_param, groups_of, noise_features,
};
use crate::ops::{self, Operands};
use burn::module::Module;
use burn::tensor::{Device, Tensor, activation::silu};
use miyasawa_shapes::EPSILON;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Features of the noise embedding.
const EMBEDDING: usize = 64;

/// The hyper-parameters of [`GradResNet`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GradResNetConfig {
    /// Channels of an image.
    pub channels: usize,
    /// Number of classes.
    pub classes: usize,
    /// Channels of the first stage; every further stage doubles them and halves the size.
    #[serde(default = "default_width")]
    pub width: usize,
    /// Blocks of every stage.
    #[serde(default = "default_blocks")]
    pub blocks: Vec<usize>,
    /// Whether the network works without knowing the noise level.
    #[serde(default)]
    pub blind: bool,
    /// Whether the energy head starts at zero: the denoiser then starts as the best linear one for
    /// white data, and the denoising loss near 1.
    #[serde(default = "default_true")]
    pub zero_energy_head: bool,
    /// How the activations are normalised.
    #[serde(default, skip_serializing_if = "Norm::is_group")]
    pub norm: Norm,
    /// Added to the variances of group normalisation. Of the order of a tenth it bounds the
    /// amplification of images of little contrast (the book's Ablations).
    #[serde(default = "default_norm_epsilon", skip_serializing_if = "is_default_norm_epsilon")]
    pub norm_epsilon: f32,
    /// The type of the convolutions' products: they change how the network is computed, not its
    /// parameters, and are not stored.
    #[serde(skip)]
    pub operands: Operands,
}

/// How the activations of a [`GradResNet`] are normalised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Norm {
    /// Group normalisation: the mean and deviation of groups of channels over all of an image.
    #[default]
    Group,
    /// No statistics, only a learned scale and shift of every channel. A stage counts in the energy
    /// with the sum over its own pixels: with its mean times the pixels of the image, as with
    /// [`Group`](Self::Group), the last of four stages weighs 64 times as much as the first, and
    /// what bounds its gradient there is the norm.
    None,
    /// Batch normalisation: mean and deviation of each channel over the images that go through
    /// together while training, running ones afterwards and in the last part of the training
    /// (`schedule.freeze_norms`). A trained network has no statistics of an image, and counts the
    /// stages as [`None`](Self::None) does.
    Batch,
}

impl Norm {
    fn is_group(&self) -> bool {
        *self == Self::Group
    }
}

fn default_norm_epsilon() -> f32 {
    EPSILON
}

fn is_default_norm_epsilon(epsilon: &f32) -> bool {
    *epsilon == EPSILON
}

fn default_width() -> usize {
    64
}

fn default_blocks() -> Vec<usize> {
    vec![2, 2, 2, 2]
}

fn default_true() -> bool {
    true
}

impl GradResNetConfig {
    /// The default network (the ResNet-18 layout, width 64, conditioned on noise) for such images.
    pub fn new(channels: usize, classes: usize) -> Self {
        Self {
            channels,
            classes,
            width: default_width(),
            blocks: default_blocks(),
            blind: false,
            zero_energy_head: true,
            norm: Norm::Group,
            norm_epsilon: default_norm_epsilon(),
            operands: Operands::F32,
        }
    }

    /// Checks the numbers, which may come from a file or a user.
    ///
    /// # Errors
    /// The first number that is out of range, in words.
    pub fn validate(&self) -> Result<(), String> {
        check_widths(self.channels, self.width, self.blocks.len())?;
        check_blocks(&self.blocks)?;
        check_classes(self.classes)?;
        if !(self.norm_epsilon > 0.0 && self.norm_epsilon.is_finite()) {
            return Err(format!(
                "norm_epsilon is {}, expected a number above 0",
                self.norm_epsilon
            ));
        }
        let mut widths = (0..self.blocks.len()).map(|k| self.width_of(k));
        if let Some(channels) =
            widths.find(|channels| !channels.is_multiple_of(groups_of(*channels)))
        {
            let groups = groups_of(channels);
            return Err(format!(
                "width is {}: {channels} channels, expected a number that {groups} groups divide",
                self.width
            ));
        }
        Ok(())
    }

    /// Number of values in parameters.
    pub fn values(&self) -> u128 {
        let [width, channels, classes] =
            [self.width, self.channels, self.classes].map(|n| n as u128);
        let (noise, embedding) = (NOISE_FEATURES as u128, EMBEDDING as u128);
        let conditioned = u128::from(!self.blind);
        let mut total =
            9 * width * channels + conditioned * embedding * (noise + 1 + embedding + 1);
        let (mut before, mut features) = (width, 0);
        for (k, &blocks) in self.blocks.iter().enumerate() {
            let c = self.width_of(k) as u128;
            let running = u128::from(self.norm == Norm::Batch);
            let norm = 2 * c * (1 + running + conditioned * (embedding + 1));
            let first = 9 * before * c + if k > 0 { before * c } else { 0 };
            let others = 9 * c * c * (2 * blocks as u128).saturating_sub(1);
            total += first + others + norm * blocks as u128;
            (before, features) = (c, features + c);
        }
        total + features * (classes + 1) + classes
    }

    fn width_of(&self, stage: usize) -> usize {
        self.width << stage
    }

    /// MACs of the convolutions in one forward pass over an image, as reference.py counts them.
    pub fn macs(&self, size: [usize; 2]) -> usize {
        resnet_macs(self.channels, self.width, &self.blocks, size)
    }

    /// Values of an activation of one image: after the first convolution, then after every block.
    pub fn activations(&self, size: [usize; 2]) -> Vec<usize> {
        stage_activations(self.width, &self.blocks, size)
    }

    /// A network with random parameters; the seed fixes them on every device.
    ///
    /// # Panics
    /// If [`validate`](Self::validate) finds an error.
    pub fn init(&self, device: &Device, seed: u64) -> GradResNet {
        if let Err(error) = self.validate() {
            panic!("GradResNet: {error}");
        }
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let embedding = (!self.blind).then_some(EMBEDDING);
        let embed1 = embedding.map(|e| Linear::new([NOISE_FEATURES, e], true, device, rng));
        let embed2 = embedding.map(|e| Linear::new([e, e], true, device, rng));
        let stem = Conv2d::new([self.channels, self.width], 3, 1, device, rng)
            .with_operands(self.operands);
        let mut cin = self.width;
        let mut stages = Vec::new();
        for (k, &blocks) in self.blocks.iter().enumerate() {
            let cout = self.width_of(k);
            let mut stage = Vec::new();
            for j in 0..blocks {
                let stride = if k > 0 && j == 0 { 2 } else { 1 };
                let block = Block::new([cin, cout], stride, embedding, device, rng);
                let block = match self.norm {
                    Norm::Group => block.with_epsilon(self.norm_epsilon),
                    Norm::None => block.with_fixed_norm(),
                    Norm::Batch => block.with_batch_norm(),
                };
                stage.push(block.with_operands(self.operands));
                cin = cout;
            }
            stages.push(stage);
        }
        let features = (0..self.blocks.len()).map(|k| self.width_of(k)).sum();
        let class_head = Linear::new([features, self.classes], true, device, rng);
        let mut energy_head = Linear::new([features, 1], false, device, rng);
        if self.zero_energy_head {
            energy_head.weight = constant_param([1, features], 0.0, device);
        }
        let own_pixels = !self.norm.is_group();
        GradResNet { embed1, embed2, stem, stages, class_head, energy_head, own_pixels }
    }

    /// The network with these parameters. The configuration is compared with them before anything
    /// is allocated: both may come from an untrusted file.
    ///
    /// # Errors
    /// If [`validate`](Self::validate) finds an error, or a parameter is missing, unknown, or has
    /// another shape.
    pub fn with_params(&self, values: ParamMap, device: &Device) -> Result<GradResNet, ParamError> {
        self.validate().map_err(ParamError::Config)?;
        let same = |name: String, expected: Vec<usize>| match values
            .get(&name)
            .map(|data| data.shape().to_vec())
        {
            Some(found) if found == expected => Ok(()),
            Some(found) => Err(ParamError::Shape { name, expected, found }),
            None => Err(ParamError::Missing(name)),
        };
        same("stem.weight".to_owned(), vec![self.width, self.channels, 3, 3])?;
        // The first missing block ends the loop, so that it takes no more steps than the file has
        // blocks.
        let mut cin = self.width;
        for (k, &blocks) in self.blocks.iter().enumerate() {
            for j in 0..blocks {
                same(format!("stages.{k}.{j}.conv1.weight"), vec![self.width_of(k), cin, 3, 3])?;
                cin = self.width_of(k);
            }
        }
        let features = (0..self.blocks.len()).map(|k| self.width_of(k)).sum();
        same("class_head.weight".to_owned(), vec![self.classes, features])?;
        params::check_count(&values, self.values())?;
        params::assign(self.init(device, 0), values)
    }
}

/// MACs of the convolutions of a residual network with basic blocks.
pub(super) fn resnet_macs(
    channels: usize,
    first_width: usize,
    blocks: &[usize],
    [mut h, mut w]: [usize; 2],
) -> usize {
    let mut cin = first_width;
    let mut total = h * w * first_width * channels * 9;
    for (k, &blocks) in blocks.iter().enumerate() {
        let cout = first_width << k;
        for j in 0..blocks {
            let shrinks = k > 0 && j == 0;
            if shrinks {
                (h, w) = (h.div_ceil(2), w.div_ceil(2));
            }
            let shortcut = if shrinks { cin } else { 0 };
            total += h * w * cout * (9 * cin + 9 * cout + shortcut);
            cin = cout;
        }
    }
    total
}

/// Values of an activation of one image in a residual network: after the first convolution, then
/// after every block.
pub(super) fn stage_activations(
    first_width: usize,
    blocks: &[usize],
    [mut height, mut width]: [usize; 2],
) -> Vec<usize> {
    let mut sizes = vec![height * width * first_width];
    for (k, &blocks) in blocks.iter().enumerate() {
        if k > 0 {
            (height, width) = (height.div_ceil(2), width.div_ceil(2));
        }
        sizes.extend(std::iter::repeat_n(height * width * (first_width << k), blocks));
    }
    sizes
}

/// The ResNet-18 layout made smooth (GELU, group normalisation, no bias), so that its input
/// gradient is a denoiser with the structure of a UNet. The mean-pooled output of every stage feeds
/// both heads. Parameters carry the names and shapes of reference.py.
#[derive(Module, Debug)]
pub struct GradResNet {
    embed1: Option<Linear>,
    embed2: Option<Linear>,
    stem: Conv2d,
    stages: Vec<Vec<Block>>,
    class_head: Linear,
    energy_head: Linear,
    /// Whether a stage counts in the energy with the sum over its own pixels, not with its mean
    /// times the pixels of the image ([`Norm::None`], [`Norm::Batch`]).
    own_pixels: bool,
}

/// The pixels of a stage over the pixels of the image.
fn share_of_pixels([height, width, _]: [usize; 3], pixels: usize) -> f64 {
    (height * width) as f64 / pixels as f64
}

/// The values that the adjoint of [`GradResNet`] needs.
#[derive(Debug)]
pub struct GradResNetTape {
    stem: ConvTape,
    h: Tensor<4>,
    stages: Vec<Stage>,
    pixels: usize,
    features: Tensor<2>,
}

#[derive(Debug)]
struct Stage {
    blocks: Vec<BlockTape>,
    /// Height, width and channels of the stage's output.
    size: [usize; 3],
}

impl EnergyNetwork for GradResNet {
    type Tape = GradResNetTape;

    fn forward(&self, u: &Tensor<4>, sigma: &Tensor<1>) -> (Outputs, GradResNetTape) {
        let embedding = match (&self.embed1, &self.embed2) {
            (Some(embed1), Some(embed2)) => {
                let features = silu(embed1.forward(&noise_features(sigma)));
                Some(silu(embed2.forward(&features)))
            }
            _ => None,
        };
        let (h, stem) = self.stem.forward(u, None);
        let mut x = ops::gelu(&h);
        let [_, height, width, _] = u.dims();
        let pixels = height * width;
        let (mut stages, mut pooled, mut shares) = (Vec::new(), Vec::new(), Vec::new());
        for stage in &self.stages {
            let mut blocks = Vec::new();
            for block in stage {
                let (y, tape) = block.forward(&x, embedding.as_ref());
                x = y;
                blocks.push(tape);
            }
            pooled.push(ops::mean_pool(&x));
            let [_, size @ ..] = x.dims();
            let share = self.own_pixels.then(|| share_of_pixels(size, pixels));
            shares.extend(share.map(|share| pooled[pooled.len() - 1].clone() * share));
            stages.push(Stage { blocks, size });
        }
        let features = Tensor::cat(pooled, 1);
        let logits = self.class_head.forward(&features);
        let summed = if self.own_pixels { Tensor::cat(shares, 1) } else { features.clone() };
        let energy = self.energy_head.forward(&summed).squeeze_dim::<1>(1) * pixels as f64;
        (Outputs { logits, energy }, GradResNetTape { stem, h, stages, pixels, features })
    }

    fn adjoint(&self, tape: &GradResNetTape, g: &Outputs) -> Tensor<4> {
        let g_energy = g.energy.clone().unsqueeze_dim::<2>(1) * tape.pixels as f64;
        let (class, energy) =
            (self.class_head.adjoint(&g.logits), self.energy_head.adjoint(&g_energy));
        let mut end = class.dims()[1];
        let mut gradient: Option<Tensor<4>> = None;
        for (stage, taped) in self.stages.iter().zip(&tape.stages).rev() {
            let [height, width, channels] = taped.size;
            end -= channels;
            let part = |features: &Tensor<2>| features.clone().narrow(1, end, channels);
            let pooled = match self.own_pixels {
                true => part(&class) + part(&energy) * share_of_pixels(taped.size, tape.pixels),
                false => part(&class) + part(&energy),
            };
            let mut x = ops::mean_pool_adjoint(&pooled, gradient.as_ref(), [height, width]);
            for (block, taped) in stage.iter().zip(&taped.blocks).rev() {
                x = block.adjoint(taped, &x);
            }
            gradient = Some(x);
        }
        let gradient = gradient.expect("a network has at least one stage");
        self.stem.adjoint(&tape.stem, &ops::gelu_adjoint(&tape.h, &gradient))
    }

    fn is_blind(&self) -> bool {
        self.embed1.is_none()
    }

    fn classes(&self) -> usize {
        self.class_head.weight.dims()[0]
    }

    fn observed(mut self, observer: &NormObserver) -> Self {
        let blocks = self.stages.iter_mut().flatten().enumerate();
        blocks.for_each(|(k, block)| block.norm.observe(observer, k));
        self
    }

    fn batch_norms(&mut self) -> Vec<&mut ModulatedNorm> {
        let norms = self.stages.iter_mut().flatten().map(|block| &mut block.norm);
        norms.filter(|norm| norm.is_of_batches()).collect()
    }

    fn features(&self, tape: &GradResNetTape) -> Option<Tensor<2>> {
        Some(tape.features.clone())
    }

    fn class_head(&self) -> Option<&Linear> {
        Some(&self.class_head)
    }
}
