//! What a step minimises, for every kind of model.

use super::{
    adversarial::Adversary,
    config::{LossConfig, ObjectiveName, TrainConfig},
    jem::Jem,
    joint,
    learner::StepContext,
    parts::{Batch, BatchStats, PartStats, Stat, correct, equal_parts_of, for_parts},
    reduce::{self, BatchGradient, LocalSum, Reduce},
};
use crate::model::{
    Model, PlainClassifier, PlainDenoiser, loss,
    params::{self, FlatMap, ParamError},
};
use crate::nn::{Moments, NormLog, update_running};
use crate::ranks::RanksError;
use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use std::collections::BTreeMap;

/// The loss of a run, with what it remembers between steps.
#[derive(Clone, Debug)]
pub struct Objective {
    loss: LossConfig,
    jem: Option<Jem>,
    adversary: Option<Adversary>,
}

impl Objective {
    /// The objective of a configuration for images of these channels, height and width.
    pub fn new(config: &TrainConfig, image: [usize; 3]) -> Self {
        let [_, dsm_weight] = config.loss_weights();
        let classifies = config.network.kind.classifies();
        let ce_weight = if classifies { config.loss.ce_weight } else { 0.0 };
        let jem = config.loss.objective == ObjectiveName::Jem;
        Self {
            loss: LossConfig { ce_weight, dsm_weight, ..config.loss.clone() },
            jem: jem.then(|| Jem::new(config.jem.clone(), config.seed, image)),
            adversary: Adversary::new(&config.adversarial, config.seed),
        }
    }

    /// The gradient of the batch's mean loss at step `step`. Running statistics of the model move,
    /// and samples are drawn, as a part of it.
    pub fn gradients(
        &mut self,
        model: &mut Model,
        batch: &Batch,
        step: u64,
        micro_batch: usize,
        device: &Device,
    ) -> (FlatMap, BatchStats) {
        let step = StepContext { number: step, micro_batch, device, frozen_norms: false };
        let found = self.gradients_with(model, batch, step, &mut LocalSum::default());
        let BatchGradient { grads, stats, .. } = found.expect("a sum in one process cannot fail");
        (grads, stats)
    }

    /// As [`gradients`](Self::gradients), with another sum of the parts.
    pub(super) fn gradients_with(
        &mut self,
        model: &mut Model,
        batch: &Batch,
        step: StepContext<'_>,
        reduce: &mut dyn Reduce,
    ) -> Result<BatchGradient, RanksError> {
        let (config, adversary) = (&self.loss, self.adversary.as_ref());
        let StepContext { micro_batch, device, .. } = step;
        match (&mut *model, &mut self.jem) {
            (Model::Joint(model), Some(jem)) => jem.gradients(model, batch, config, step, reduce),
            (Model::Joint(model), None) => {
                joint::gradients_with(model, batch, config, adversary, step, reduce)
            }
            (Model::Classifier(classifier), _) => {
                let plain = adversary.map(|adversary| (adversary, classifier.valid()));
                let work = |part| {
                    let attack = |(adversary, plain): &(&Adversary, _)| {
                        adversary.images_of_classifier(plain, batch, part, step)
                    };
                    let attacked = plain.as_ref().map(attack);
                    classifier_part(classifier, batch, config, attacked, part, device)
                };
                let moments = ghost_parts(batch, micro_batch, device, reduce, work)?;
                update_running(model.norms(), &moments);
                reduce::finish(reduce, config)
            }
            (Model::Denoiser(denoiser), _) => {
                let work = |part| denoiser_part(denoiser, batch, config, part, device);
                let moments = ghost_parts(batch, micro_batch, device, reduce, work)?;
                update_running(model.norms(), &moments);
                reduce::finish(reduce, config)
            }
        }
    }

    /// The weights and targets of the losses.
    pub fn loss(&self) -> &LossConfig {
        &self.loss
    }

    /// The attack of adversarial training.
    pub fn adversary(&self) -> Option<&Adversary> {
        self.adversary.as_ref()
    }

    /// What a resumed run needs besides parameters and moments, by name.
    pub fn state(&self) -> BTreeMap<String, TensorData> {
        self.jem.as_ref().map(Jem::state).unwrap_or_default()
    }

    /// Moves what [`state`](Self::state) returned out of a run's state; other names stay.
    ///
    /// # Errors
    /// If something is missing or of another size.
    pub fn restore(&mut self, state: &mut BTreeMap<String, TensorData>) -> Result<(), ParamError> {
        self.jem.as_mut().map_or(Ok(()), |jem| jem.restore(state))
    }
}

pub(super) type Share = (FlatMap, PartStats, Vec<Moments>);

/// The gradients of the parts of a batch go to `reduce`; returned are the moments of every part's
/// normalisations.
fn ghost_parts(
    batch: &Batch,
    micro_batch: usize,
    device: &Device,
    reduce: &mut dyn Reduce,
    work: impl Fn([usize; 2]) -> Share + Sync,
) -> Result<Vec<Vec<Moments>>, RanksError> {
    observed_parts(&equal_parts_of(batch.len(), micro_batch), device, reduce, work)
}

/// The same of given parts.
pub(super) fn observed_parts(
    parts: &[[usize; 2]],
    device: &Device,
    reduce: &mut dyn Reduce,
    work: impl Fn([usize; 2]) -> Share + Sync,
) -> Result<Vec<Vec<Moments>>, RanksError> {
    let mut seen = Vec::new();
    for_parts(parts, device, reduce, work, |reduce, (grads, stats, moments)| {
        reduce.add(grads, stats);
        seen.push(moments);
    });
    if seen.len() == parts.len() {
        return Ok(seen);
    }
    let mut all = Vec::new();
    for (rank, message) in reduce.gather(moments::to_bytes(&seen))?.into_iter().enumerate() {
        let found = message.len();
        let read = moments::of_bytes(&message).ok_or_else(|| {
            let expected = "statistics of normalisations".to_owned();
            RanksError::Message { rank, found, expected }
        })?;
        all.extend(read);
    }
    Ok(all)
}

fn classifier_part(
    model: &PlainClassifier,
    batch: &Batch,
    config: &LossConfig,
    attacked: Option<Vec<f32>>,
    [from, count]: [usize; 2],
    device: &Device,
) -> Share {
    let model = &params::update(model.clone(), |_, _, p| p);
    let total = batch.len() as f64;
    let (mut y, _, _, labels) = batch.tensors(from, count, device);
    if let Some(attacked) = attacked {
        y = Tensor::from_data(TensorData::new(attacked, y.dims()), device);
    }
    let mut log = NormLog::default();
    let logits = model.logits(&y, Some(&mut log));
    let weights = batch.label_weights(from, count, device);
    let ce = loss::cross_entropy(&logits, &labels, config.label_smoothing) * weights.clone();
    let stats = PartStats::default().with(Stat::Ce, &ce, total).with(
        Stat::Accuracy,
        &correct(&logits, &labels, &weights),
        batch.labelled(),
    );
    let mut grads = ((ce * config.ce_weight).sum() / total).backward();
    (params::take_gradients(model, &mut grads), stats, log.moments())
}

fn denoiser_part(
    model: &PlainDenoiser,
    batch: &Batch,
    config: &LossConfig,
    [from, count]: [usize; 2],
    device: &Device,
) -> Share {
    let model = &params::update(model.clone(), |_, _, p| p);
    let total = batch.len() as f64;
    let (y, noise, sigma, _) = batch.tensors(from, count, device);
    let x = y.clone() - noise * sigma.clone().reshape([count, 1, 1, 1]);
    let mut log = NormLog::default();
    let denoised = model.denoised(&y, &sigma, Some(&mut log));
    let dsm = loss::denoising(denoised, &x, &sigma, model.sigma_data());
    let weights = loss::level_weights(&sigma, config.level_power);
    let dsm = weights.into_iter().fold(dsm, |dsm, weights| dsm * weights);
    let stats = PartStats::default().with(Stat::Dsm, &dsm, total);
    let mut grads = ((dsm * config.dsm_weight).sum() / total).backward();
    (params::take_gradients(model, &mut grads), stats, log.moments())
}

/// The moments of parts as bytes, for other processes.
mod moments {
    use super::Moments;

    pub fn to_bytes(parts: &[Vec<Moments>]) -> Vec<u8> {
        let mut words = vec![parts.len() as u64];
        for layers in parts {
            words.push(layers.len() as u64);
            for Moments { mean, var, count } in layers {
                words.extend([mean.len() as u64, *count as u64]);
                words.extend(mean.iter().chain(var).map(|value| value.to_bits()));
            }
        }
        words.into_iter().flat_map(u64::to_le_bytes).collect()
    }

    /// Nothing if they are not what [`to_bytes`] makes.
    pub fn of_bytes(bytes: &[u8]) -> Option<Vec<Vec<Moments>>> {
        let mut words = bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word));
        let parts = words.next()?;
        let mut all = Vec::new();
        for _ in 0..parts {
            let layers = words.next()?;
            let mut part = Vec::new();
            for _ in 0..layers {
                let (channels, count) = (words.next()?, words.next()? as usize);
                let mut values = || {
                    (0..channels).map(|_| words.next().map(f64::from_bits)).collect::<Option<_>>()
                };
                part.push(Moments { mean: values()?, var: values()?, count });
            }
            all.push(part);
        }
        words.next().is_none().then_some(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_back_and_other_bytes_are_not() {
        let layer =
            |n: usize| Moments { mean: vec![0.1; n], var: vec![f64::MIN_POSITIVE; n], count: 7 };
        let parts = vec![vec![layer(3), layer(1)], Vec::new(), vec![layer(2)]];
        let bytes = moments::to_bytes(&parts);
        assert_eq!(moments::of_bytes(&bytes), Some(parts));
        assert_eq!(moments::of_bytes(&bytes[..bytes.len() - 8]), None);
        assert_eq!(moments::of_bytes(&[bytes, vec![0; 8]].concat()), None);
        assert_eq!(moments::of_bytes(&[0xff; 8]), None);
    }
}
