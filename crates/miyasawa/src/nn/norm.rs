use super::{Layer, Linear, constant_param};
use crate::ops::{self, NormStats, Statistics};
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use rand::Rng;

/// Channels that are normalised together; fewer channels than this form one group.
pub const CHANNELS_PER_GROUP: usize = 8;

/// The number of groups that `channels` channels form.
pub fn groups_of(channels: usize) -> usize {
    (channels / CHANNELS_PER_GROUP).max(1)
}

/// Group normalisation whose scale and shift the noise embedding modulates:
/// `(xh*weight + bias)*(1 + scale) + shift` with `[scale, shift] = modulation(embedding)`.
///
/// With [`Statistics::Fixed`] there is no normalisation, `x*gamma + beta`: an output then
/// depends on its neighbourhood alone, and an image without contrast is divided by nothing.
///
/// A norm made [`after_gelu`](Self::after_gelu) takes `gelu(x)` instead of `x`.
///
/// It is computed as `xh*gamma + beta` with `gamma = weight*(1 + scale)` and
/// `beta = bias*(1 + scale) + shift` for every image and channel: one pass over the activations.
#[derive(Module, Debug)]
pub struct ModulatedNorm {
    /// Scale, `[channels]`.
    pub weight: Param<Tensor<1>>,
    /// Shift, `[channels]`.
    pub bias: Param<Tensor<1>>,
    /// From the embedding to scale and shift; absent in a blind network.
    pub modulation: Option<Linear>,
    #[module(skip)]
    groups: usize,
    #[module(skip)]
    statistics: Statistics,
    #[module(skip)]
    gelu: bool,
}

/// The values that the adjoint of [`ModulatedNorm`] needs.
#[derive(Clone, Debug)]
pub struct NormTape {
    x: Tensor<4>,
    gamma: Tensor<2>,
    stats: NormStats,
}

impl ModulatedNorm {
    /// The identity scale and shift, with a modulation for an embedding of this many features, if
    /// any.
    ///
    /// # Panics
    /// If [`groups_of`] the channels do not divide them.
    pub fn new(
        channels: usize,
        embedding: Option<usize>,
        device: &Device,
        rng: &mut impl Rng,
    ) -> Self {
        let groups = groups_of(channels);
        assert!(
            channels.is_multiple_of(groups),
            "ModulatedNorm: {channels} channels in {groups} groups"
        );
        Self {
            weight: constant_param([channels], 1.0, device),
            bias: constant_param([channels], 0.0, device),
            modulation: embedding
                .map(|features| Linear::new([features, 2 * channels], true, device, rng)),
            groups,
            statistics: Statistics::default(),
            gelu: false,
        }
    }

    /// The same layer without statistics, with an initial scale and shift.
    pub fn fixed(self, scale: f32, shift: f32) -> Self {
        let ([channels], device) = (self.weight.val().dims(), self.weight.val().device());
        Self {
            weight: constant_param([channels], scale, &device),
            bias: constant_param([channels], shift, &device),
            statistics: Statistics::Fixed,
            ..self
        }
    }

    /// The same layer with other statistics.
    pub fn with_statistics(self, statistics: Statistics) -> Self {
        Self { statistics, ..self }
    }

    /// The norm of `gelu(x)`: both in one pass.
    pub fn after_gelu(self) -> Self {
        Self { gelu: true, ..self }
    }

    fn affine(&self, batch: usize, embedding: Option<&Tensor<2>>) -> (Tensor<2>, Tensor<2>) {
        let (weight, bias) = (self.weight.val().unsqueeze::<2>(), self.bias.val().unsqueeze::<2>());
        let channels = weight.dims()[1];
        match (&self.modulation, embedding) {
            (Some(modulation), Some(embedding)) => {
                let both = modulation.forward(embedding);
                let scale = both.clone().narrow(1, 0, channels) + 1.0;
                (weight * scale.clone(), bias * scale + both.narrow(1, channels, channels))
            }
            (None, _) => (weight.expand([batch, channels]), bias.expand([batch, channels])),
            (Some(_), None) => {
                panic!("ModulatedNorm: a network conditioned on noise needs an embedding")
            }
        }
    }
}

impl Layer for ModulatedNorm {
    type Tape = NormTape;

    fn forward(&self, x: &Tensor<4>, embedding: Option<&Tensor<2>>) -> (Tensor<4>, NormTape) {
        let (gamma, beta) = self.affine(x.dims()[0], embedding);
        let (y, stats) = ops::group_norm(x, &gamma, &beta, self.groups, self.statistics, self.gelu);
        (y, NormTape { x: x.clone(), gamma, stats })
    }

    fn adjoint(&self, tape: &NormTape, g: &Tensor<4>) -> Tensor<4> {
        ops::group_norm_adjoint(&tape.x, &tape.gamma, &tape.stats, g, self.gelu)
    }
}
