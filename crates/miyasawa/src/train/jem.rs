//! JEM (Grathwohl et al. 2020, "Your classifier is secretly an energy based model", arXiv
//! 1912.03263): cross-entropy plus maximum likelihood of `log p(y) = log sum_c exp f_c(y) + const`.
//!
//! The gradient of `-log p(y)` is that of `mean LSE(samples) - mean LSE(data)`. Samples come from
//! Langevin dynamics, started from a replay buffer of former samples (Du & Mordatch 2019):
//!
//! ```text
//! x <- x + step_size * grad LSE(x) + noise * N(0, 1)
//! ```
//!
//! The gradient for `x` is the network's own adjoint, so that sampling needs no autodiff: a forward
//! and an adjoint pass for each of the 20 steps. The same noisy batch serves cross-entropy and
//! likelihood.

use super::{
    config::{JemConfig, LossConfig},
    learner::StepContext,
    parts::{Batch, PartStats, Stat, correct, for_parts, parts_of},
    reduce::{self, BatchGradient, Reduce},
};
use crate::model::host;
use crate::model::{
    GradResNet, JointModel, loss,
    params::{self, FlatMap, ParamError},
};
use crate::random::{example_rng, stream};
use crate::ranks::{RanksError, floats, to_bytes};
use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData, activation::softmax};
use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};
use std::{collections::BTreeMap, sync::Arc};

/// The buffer's name in a run's state.
const STATE: &str = "jem.buffer";

/// The replay buffer and how it is used.
#[derive(Clone, Debug)]
pub struct Jem {
    config: JemConfig,
    seed: u64,
    /// Channels, height, width.
    image: [usize; 3],
    /// Former samples, one after the other; shared by the states of a run until one moves on.
    buffer: Arc<Vec<f32>>,
}

/// The result of a part of the batch: its share of the gradient, and its samples.
struct Part {
    grads: FlatMap,
    stats: PartStats,
    samples: Vec<f32>,
}

fn uniform(rng: &mut impl Rng, out: &mut [f32]) {
    out.iter_mut().for_each(|value| *value = rng.random_range(-1.0..1.0));
}

impl Jem {
    /// A buffer of uniform noise.
    pub fn new(config: JemConfig, seed: u64, image: [usize; 3]) -> Self {
        let len = image.iter().product::<usize>();
        let mut buffer = vec![0.0; config.buffer * len];
        for (i, image) in buffer.chunks_mut(len).enumerate() {
            uniform(&mut example_rng(seed, 0, i as u64, stream::JEM_BUFFER), image);
        }
        Self { config, seed, image, buffer: Arc::new(buffer) }
    }

    /// The buffer, for a run's state.
    pub fn state(&self) -> BTreeMap<String, TensorData> {
        let [c, h, w] = self.image;
        let data = TensorData::new(self.buffer.to_vec(), [self.config.buffer, c, h, w]);
        [(STATE.to_owned(), data)].into_iter().collect()
    }

    /// Moves the buffer out of a run's state.
    ///
    /// # Errors
    /// If it is missing or of another size.
    pub fn restore(&mut self, state: &mut BTreeMap<String, TensorData>) -> Result<(), ParamError> {
        let data = state.remove(STATE).ok_or_else(|| ParamError::Missing(STATE.to_owned()))?;
        let values = data.try_to_vec::<f32>().unwrap_or_default();
        if values.len() != self.buffer.len() {
            let [c, h, w] = self.image;
            let (expected, found) = (vec![self.config.buffer, c, h, w], data.shape().to_vec());
            return Err(ParamError::Shape { name: STATE.to_owned(), expected, found });
        }
        self.buffer = Arc::new(values);
        Ok(())
    }

    /// The gradient of the batch's mean loss; the samples of the step go into the buffer.
    /// Everything random is a function of the seed, the step and the image's index in the batch.
    pub fn gradients(
        &mut self,
        model: &JointModel<GradResNet>,
        batch: &Batch,
        config: &LossConfig,
        StepContext { number: step, micro_batch, device, .. }: StepContext<'_>,
        reduce: &mut dyn Reduce,
    ) -> Result<BatchGradient, RanksError> {
        let plain = model.valid();
        let mut samples = Vec::with_capacity(batch.x.len());
        let len = self.image.iter().product::<usize>();
        let work = |[from, count]: [usize; 2]| {
            let drawn = self.sample(&plain, step, [from, count], &device.clone().inner());
            self.part(model, batch, config, drawn, [from, count], device)
        };
        let parts = parts_of(batch.len(), micro_batch);
        for_parts(&parts, device, reduce, work, |reduce, part| {
            samples.extend(part.samples);
            reduce.add(part.grads, part.stats);
        });
        if samples.len() < batch.x.len() {
            let all = reduce.gather(to_bytes(&samples))?;
            samples = all.iter().flat_map(|bytes| floats(bytes)).collect();
        }
        // After all parts have started from it: two samples may have drawn the same slot.
        let slot = |i: usize| {
            self.start(&mut example_rng(self.seed, step, i as u64, stream::JEM_SAMPLES)).0
        };
        let slots: Vec<usize> = (0..batch.len()).map(slot).collect();
        let buffer = Arc::make_mut(&mut self.buffer);
        for (slot, sample) in slots.into_iter().zip(samples.chunks(len)) {
            buffer[slot * len..][..len].copy_from_slice(sample);
        }
        let mut found = reduce::finish(reduce, config)?;
        found.stats.loss += self.config.weight * found.stats.energy_gap.unwrap_or(0.0);
        Ok(found)
    }

    /// A slot of the buffer, and whether the sample starts from noise instead of what is there.
    fn start(&self, rng: &mut impl Rng) -> (usize, bool) {
        let slot = rng.random_range(0..self.config.buffer as u64) as usize;
        (slot, rng.random::<f64>() < self.config.reinit)
    }

    /// The samples `from..from + count` of a step.
    fn sample(
        &self,
        model: &JointModel<GradResNet>,
        step: u64,
        [from, count]: [usize; 2],
        device: &Device,
    ) -> Vec<f32> {
        let [c, h, w] = self.image;
        let len = c * h * w;
        let mut rngs: Vec<_> = (from..from + count)
            .map(|i| example_rng(self.seed, step, i as u64, stream::JEM_SAMPLES))
            .collect();
        let mut values = vec![0.0; count * len];
        for (rng, image) in rngs.iter_mut().zip(values.chunks_mut(len)) {
            let (slot, anew) = self.start(rng);
            match anew {
                true => uniform(rng, image),
                false => image.copy_from_slice(&self.buffer[slot * len..][..len]),
            }
        }
        let image = |values: Vec<f32>| {
            Tensor::<4>::from_data(TensorData::new(values, [count, c, h, w]), device)
        };
        let sigma = Tensor::<1>::ones([count], device);
        let mut x = image(values);
        for _ in 0..self.config.steps {
            let mut noise = vec![0.0f32; count * len];
            for (rng, noise) in rngs.iter_mut().zip(noise.chunks_mut(len)) {
                noise.iter_mut().for_each(|value| *value = StandardNormal.sample(rng));
            }
            let point = model.at(&x, &sigma);
            let gradient = point.logit_gradient(softmax(point.logits().clone(), 1));
            x = x + gradient * self.config.step_size + image(noise) * self.config.noise;
        }
        host(x)
    }

    fn part(
        &self,
        model: &JointModel<GradResNet>,
        batch: &Batch,
        config: &LossConfig,
        samples: Vec<f32>,
        [from, count]: [usize; 2],
        device: &Device,
    ) -> Part {
        let model = &params::update(model.clone(), |_, _, p| p);
        let total = batch.len() as f64;
        let [c, h, w] = self.image;
        let (y, _, sigma, labels) = batch.tensors(from, count, device);
        let drawn =
            Tensor::<4>::from_data(TensorData::new(samples.clone(), [count, c, h, w]), device);
        let (data, drawn) = (model.at(&y, &sigma), model.at(&drawn, &sigma));
        let weights = batch.label_weights(from, count, device);
        let ce =
            loss::cross_entropy(data.logits(), &labels, config.label_smoothing) * weights.clone();
        let gap = loss::log_sum_exp(drawn.logits()) - loss::log_sum_exp(data.logits());
        let stats = PartStats::default()
            .with(Stat::Accuracy, &correct(data.logits(), &labels, &weights), batch.labelled())
            .with(Stat::Ce, &ce, total)
            .with(Stat::EnergyGap, &gap, total);
        drop((data, drawn));
        let loss = ce * config.ce_weight + gap * self.config.weight;
        let mut grads = (loss.sum() / total).backward();
        Part { grads: params::take_gradients(model, &mut grads), stats, samples }
    }
}
