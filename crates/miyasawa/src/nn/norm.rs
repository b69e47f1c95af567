use super::{
    Layer, Linear,
    batch_norm::EPSILON,
    constant_param,
    moments::{Moments, RunningMoments, moved},
};
use crate::ops::{self, NormStats, Statistics};
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use rand::Rng;
use std::sync::{Arc, Mutex, PoisonError};

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
/// A norm [`of_batches`](Self::of_batches) subtracts a mean and divides by a deviation of each
/// channel over images and pixels (Ioffe & Szegedy 2015): when it is to
/// [`observe`](Self::observe), those of the images that go through together, else running ones.
/// The adjoint takes either as constants, so that a score is that of one image; a parameter's
/// gradient goes through both.
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
    /// Running mean of each channel, of a norm of batches.
    pub running_mean: Option<Param<Tensor<1>>>,
    /// Running variance.
    pub running_var: Option<Param<Tensor<1>>>,
    #[module(skip)]
    observer: Option<(NormObserver, usize)>,
    #[module(skip)]
    groups: usize,
    #[module(skip)]
    statistics: Statistics,
    #[module(skip)]
    gelu: bool,
}

/// Where norms of batches write what they see.
#[derive(Clone, Debug, Default)]
pub struct NormObserver(Arc<Mutex<Vec<Seen>>>);

/// Mean and variance of every channel, `[channels]`, the layer, and of how many values.
#[derive(Debug)]
struct Seen {
    layer: usize,
    mean: Tensor<1>,
    var: Tensor<1>,
    count: usize,
}

impl NormObserver {
    /// What was seen since the last call, of every layer.
    pub fn take(&self) -> Vec<Moments> {
        let seen = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if seen.is_empty() {
            return Vec::new();
        }
        // Read from the device at once.
        let all = seen.iter().flat_map(|seen| [seen.mean.clone(), seen.var.clone()]).collect();
        let all = Tensor::cat(all, 0).into_data().try_to_vec::<f32>();
        let mut all = all.expect("the models compute in float32").into_iter().map(f64::from);
        let layers = seen.iter().map(|seen| seen.layer + 1).max().unwrap_or(0);
        let mut of_layers = vec![Vec::new(); layers];
        for Seen { layer, mean, count, .. } in seen {
            let mut next = || all.by_ref().take(mean.dims()[0]).collect();
            of_layers[layer].push(Moments { mean: next(), var: next(), count });
        }
        of_layers.iter().map(|seen| Moments::pool(&seen.iter().collect::<Vec<_>>())).collect()
    }
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
            running_mean: None,
            running_var: None,
            observer: None,
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

    /// The same layer as a norm of batches.
    pub fn of_batches(self) -> Self {
        let ([channels], device) = (self.weight.val().dims(), self.weight.val().device());
        let fixed =
            |value| Some(constant_param([channels], value, &device).set_require_grad(false));
        Self {
            running_mean: fixed(0.0),
            running_var: fixed(1.0),
            statistics: Statistics::Fixed,
            ..self
        }
    }

    /// Whether it is a norm of batches.
    pub fn is_of_batches(&self) -> bool {
        self.running_mean.is_some()
    }

    /// From now on it is in training, as the layer of this number: a norm of batches takes the
    /// statistics of the images that go through together, and the observer gets them.
    pub fn observe(&mut self, observer: &NormObserver, layer: usize) {
        self.observer = Some((observer.clone(), layer));
    }

    /// Mean and variance by which a norm of batches normalises `x`, `[1, channels]` each.
    fn moments(&self, x: &Tensor<4>) -> Option<[Tensor<2>; 2]> {
        let (mean, var) = self.running_mean.as_ref().zip(self.running_var.as_ref())?;
        let Some((observer, layer)) = &self.observer else {
            // Running statistics are not tracked, and may lie outside autodiff.
            let like_x = |t: Tensor<1>| match (x.is_autodiff(), t.is_autodiff()) {
                (true, false) => Tensor::from_inner(t),
                _ => t,
            };
            return Some([mean, var].map(|param| like_x(param.val()).unsqueeze::<2>()));
        };
        let [n, h, w, c] = x.dims();
        let one = x.clone().reshape([1, n * h, w, c]);
        let one = if self.gelu { ops::gelu(&one) } else { one };
        let mean = ops::mean_pool(&one);
        let centred = one - mean.clone().reshape([1, 1, 1, c]);
        let var = ops::mean_pool(&centred.powi_scalar(2));
        let plain = |t: &Tensor<2>| {
            let t = t.clone().reshape([c]);
            if t.is_autodiff() { t.inner() } else { t }
        };
        let seen = Seen { layer: *layer, mean: plain(&mean), var: plain(&var), count: n * h * w };
        observer.0.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
        Some([mean, var])
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
        let (mut gamma, mut beta) = self.affine(x.dims()[0], embedding);
        if let Some([mean, var]) = self.moments(x) {
            gamma = gamma / (var + EPSILON).sqrt();
            beta = beta - mean * gamma.clone();
        }
        let (y, stats) = ops::group_norm(x, &gamma, &beta, self.groups, self.statistics, self.gelu);
        (y, NormTape { x: x.clone(), gamma, stats })
    }

    fn adjoint(&self, tape: &NormTape, g: &Tensor<4>) -> Tensor<4> {
        ops::group_norm_adjoint(&tape.x, &tape.gamma, &tape.stats, g, self.gelu)
    }
}

impl RunningMoments for ModulatedNorm {
    fn track(&mut self, seen: &Moments) {
        self.running_mean = self.running_mean.as_ref().map(|mean| moved(mean, &seen.mean));
        self.running_var = self.running_var.as_ref().map(|var| moved(var, &seen.unbiased()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::host;
    use crate::nn::update_running;
    use burn::tensor::TensorData;
    use rand::SeedableRng;

    fn setting(device: &Device) -> (ModulatedNorm, Tensor<4>) {
        let rng = &mut rand_chacha::ChaCha8Rng::seed_from_u64(1);
        let norm = ModulatedNorm::new(8, None, device, rng).after_gelu().of_batches();
        let x: Vec<f32> =
            (0..2 * 5 * 6 * 8).map(|i| ((i * 37) % 101) as f32 / 30.0 - 1.5).collect();
        (norm, Tensor::from_data(TensorData::new(x, [2, 5, 6, 8]), device))
    }

    #[test]
    fn a_norm_of_batches_normalises_and_its_running_statistics_follow() {
        let (mut norm, x) = setting(&Device::flex());
        let observer = NormObserver::default();
        let mut observed = norm.clone();
        observed.observe(&observer, 0);
        let y = host(observed.forward(&x, None).0);
        for c in 0..8 {
            let values: Vec<f64> = y.iter().skip(c).step_by(8).map(|v| f64::from(*v)).collect();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let var = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64;
            assert!(mean.abs() < 1e-5 && (var - 1.0).abs() < 1e-3, "{mean} {var}");
        }
        let moments = vec![observer.take()];
        assert!(observer.take().is_empty());
        for _ in 0..200 {
            update_running(vec![&mut norm], &moments);
        }
        // Out of training an image does not depend on the others.
        let first = host(norm.forward(&x.clone().narrow(0, 0, 1), None).0);
        let both = host(norm.forward(&x, None).0);
        assert_eq!(first, both[..240]);
        for (a, b) in both.iter().zip(&y) {
            assert!((a - b).abs() < 0.02 * (1.0 + a.abs()), "{a} {b}");
        }
    }

    #[test]
    fn the_adjoint_takes_statistics_as_constants_and_parameters_see_them_move() {
        let device = Device::flex().autodiff();
        let (mut norm, x) = setting(&device);
        let observer = NormObserver::default();
        norm.observe(&observer, 0);
        let (y, tape) = norm.forward(&x, None);
        let g = y.clone().powi_scalar(2);
        let found = host(norm.adjoint(&tape, &g));
        // The same by a norm whose running statistics are those of the batch.
        let Moments { mean, var, .. } = &observer.take()[0];
        let param = |values: &[f64]| {
            let values: Vec<f32> = values.iter().map(|v| *v as f32).collect();
            Some(Param::from_data(TensorData::new(values, [8]), &device))
        };
        let (running_mean, running_var) = (param(mean), param(var));
        let frozen = ModulatedNorm { running_mean, running_var, observer: None, ..norm };
        let (_, tape) = frozen.forward(&x, None);
        for (a, b) in found.iter().zip(host(frozen.adjoint(&tape, &g))) {
            assert!((a - b).abs() < 1e-4 * (1.0 + b.abs()), "{a} {b}");
        }
        // The sum over a batch of what is normalised does not depend on the scale of its input.
        let mut norm = frozen;
        norm.observe(&observer, 0);
        let scale = Tensor::<1>::from_floats([1.3], &device).require_grad();
        let scaled = x * scale.clone().reshape([1, 1, 1, 1]);
        let norm = ModulatedNorm { gelu: false, ..norm };
        let loss = norm.forward(&scaled, None).0.powi_scalar(4).sum();
        let total = host(loss.clone())[0];
        let mut grads = loss.backward();
        let slope = host(scale.grad_remove(&mut grads).unwrap())[0];
        // With constant statistics it would be four times the sum.
        assert!(slope.abs() < 1e-4 * total, "{slope} of {total}");
    }
}
