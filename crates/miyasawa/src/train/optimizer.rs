//! AdamW, SGD and Muon with clipping, and the moving average of the parameters.
//!
//! The state is kept by parameter name, so that it is saved and restored like the parameters
//! themselves.

use super::{
    config::{Decay, OptimizerConfig, OptimizerName, ScheduleConfig},
    muon,
};
use crate::model::params::{self, FlatMap, ParamError, ParamMap};
use crate::ops::{self, AdamW, Sgd, StepInfo};
use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use std::collections::BTreeMap;

/// The learning rate at step 0, 1, ... of `total`: a linear rise, then half a cosine or a line
/// down.
pub fn learning_rate(lr: f64, schedule: &ScheduleConfig, step: u64, total: u64) -> f64 {
    let warmup = schedule.warmup.min(total / 2);
    if step < warmup {
        return lr * (step + 1) as f64 / warmup as f64;
    }
    let progress = ((step - warmup) as f64 / (total - warmup).max(1) as f64).min(1.0);
    let left = match schedule.decay {
        Decay::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
        Decay::Linear => 1.0 - progress,
    };
    lr * (schedule.final_lr + (1.0 - schedule.final_lr) * left)
}

/// A convolution's weight, flattened, whose filters are no longer than `max_norm`.
fn shortened(p: Tensor<1>, shape: &[usize], max_norm: f64) -> Tensor<1> {
    let filters = p.reshape([shape[0], shape[1..].iter().product()]);
    let norms = filters.clone().powi_scalar(2).sum_dim(1).sqrt();
    // A filter of zeros is divided by the limit.
    let factors = norms.clamp_min(max_norm).recip() * max_norm;
    (filters * factors).reshape([-1])
}

/// The optimiser's state.
#[derive(Clone, Debug)]
pub struct Optimizer {
    config: OptimizerConfig,
    first: FlatMap,
    second: FlatMap,
    average: FlatMap,
    /// Steps taken.
    step: u64,
}

/// Names of the state's parts in [`Optimizer::state`].
const PARTS: [&str; 3] = ["first", "second", "average"];

impl Optimizer {
    /// A fresh state.
    pub fn new(config: OptimizerConfig) -> Self {
        let (first, second, average) = (FlatMap::new(), FlatMap::new(), FlatMap::new());
        Self { config, first, second, average, step: 0 }
    }

    /// The state as data: the moments and the average by `part.parameter`.
    pub fn state(&self) -> BTreeMap<String, TensorData> {
        let parts = [&self.first, &self.second, &self.average];
        let named = |(part, map): (&'static str, &FlatMap)| {
            map.iter().map(|(name, t)| (format!("{part}.{name}"), t.to_data())).collect::<Vec<_>>()
        };
        PARTS.into_iter().zip(parts).flat_map(named).collect()
    }

    /// Restores what [`state`](Self::state) gave after `step` steps of the parameters `params`.
    ///
    /// # Errors
    /// If a value belongs to no parameter, or is not as long as its parameter.
    pub fn restore(
        &mut self,
        step: u64,
        state: &BTreeMap<String, TensorData>,
        params: &ParamMap,
        device: &burn::tensor::Device,
    ) -> Result<(), ParamError> {
        let mut maps = [(); PARTS.len()].map(|()| FlatMap::new());
        for (key, data) in state {
            let name = key.split_once('.').map_or("", |(_, name)| name);
            let part =
                PARTS.iter().position(|part| key.strip_suffix(name) == Some(&format!("{part}.")));
            let (Some(part), Some(param)) = (part, params.get(name)) else {
                return Err(ParamError::Unknown(key.clone()));
            };
            let expected = vec![param.shape().iter().product()];
            let found = data.shape().to_vec();
            if found != expected {
                return Err(ParamError::Shape { name: key.clone(), expected, found });
            }
            maps[part].insert(name.to_owned(), Tensor::from_data(data.clone(), device));
        }
        self.step = step;
        [self.first, self.second, self.average] = maps;
        // An average that is not kept any more would stand still, and be what is measured and
        // saved.
        if self.config.ema == 0.0 {
            self.average.clear();
        }
        Ok(())
    }

    /// Moves the parameters one step; `norm` is the gradient's
    /// [`norm`](super::BatchGradient::norm).
    pub fn step<M: Module>(&mut self, module: M, grads: &mut FlatMap, norm: f64, lr: f64) -> M {
        self.step += 1;
        let config = &self.config;
        let clip = config.clip_norm;
        let g_scale = if clip > 0.0 && norm > clip { (clip / norm) as f32 } else { 1.0 };
        // The average of the first steps must not remember the random start for long.
        let t = self.step as f64;
        let decay = config.ema.min((1.0 + t) / (10.0 + t)) as f32;
        let at = StepInfo { step: self.step, g_scale, decay };
        params::update(module, |name, shape, p| {
            let Some(g) = grads.remove(name) else {
                if !config.freeze.is_empty() && config.is_frozen(name) {
                    return p;
                }
                // Running statistics are averaged along with the parameters that they belong to.
                if config.ema > 0.0 {
                    let average = self.average.remove(name).unwrap_or_else(|| p.clone());
                    let moved = (p.clone() - average.clone()) * (1.0 - decay);
                    self.average.insert(name.to_owned(), average + moved);
                }
                return p;
            };
            let learning_rate = (lr * config.lr_factor(name)) as f32;
            let weight_decay = if shape.len() > 1 { config.weight_decay as f32 } else { 0.0 };
            let zeros = || g.zeros_like();
            let first = self.first.remove(name).unwrap_or_else(zeros);
            // The first average is a copy: the parameter itself goes on to be updated in place.
            let copy = || p.clone() * 1.0;
            let average =
                (config.ema > 0.0).then(|| self.average.remove(name).unwrap_or_else(copy));
            let averages = average.is_some();
            // The average follows the shortened filters.
            let shortens = config.max_norm > 0.0 && shape.len() == 4;
            let (average, kept) = if shortens { (None, average) } else { (average, None) };
            let rule = match config.name {
                OptimizerName::Muon if shape.len() < 4 => OptimizerName::AdamW,
                name => name,
            };
            let (p, first, average) = match rule {
                OptimizerName::AdamW => {
                    let second = self.second.remove(name).unwrap_or_else(zeros);
                    let betas = [config.beta1 as f32, config.beta2 as f32];
                    let epsilon = config.epsilon as f32;
                    let rule = AdamW { learning_rate, betas, epsilon, weight_decay };
                    let [p, first, second, average] =
                        ops::adamw_update([p, first, second], average, g, rule, at);
                    self.second.insert(name.to_owned(), second);
                    (p, first, average)
                }
                OptimizerName::Sgd => {
                    let momentum = config.momentum as f32;
                    let nesterov = config.nesterov;
                    let rule =
                        Sgd { learning_rate, momentum, nesterov, weight_decay, decoupled: true };
                    let [p, first, average] = ops::sgd_update([p, first], average, g, rule, at);
                    (p, first, average)
                }
                OptimizerName::Muon => {
                    let (direction, first) =
                        muon::direction(g * g_scale, first, config.momentum, shape);
                    let (momentum, nesterov, decoupled) = (0.0, false, true);
                    let rule = Sgd { learning_rate, momentum, nesterov, weight_decay, decoupled };
                    let (velocity, at) = (direction.zeros_like(), StepInfo { g_scale: 1.0, ..at });
                    let [p, _, average] =
                        ops::sgd_update([p, velocity], average, direction, rule, at);
                    (p, first, average)
                }
            };
            let p = if shortens { shortened(p, shape, config.max_norm) } else { p };
            let moved = kept.map(|kept| kept.clone() + (p.clone() - kept) * (1.0 - decay));
            let average = moved.unwrap_or(average);
            self.first.insert(name.to_owned(), first);
            if averages {
                self.average.insert(name.to_owned(), average);
            }
            p
        })
    }

    /// The module with the averaged parameters; as it is where no average is kept.
    pub fn averaged<M: Module>(&self, module: M) -> M {
        params::update(module, |name, _, p| self.average.get(name).cloned().unwrap_or(p))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;
    use crate::nn::{Conv2d, Linear};
    use rand::SeedableRng;

    #[test]
    fn the_rate_rises_then_falls() {
        let schedule = ScheduleConfig { warmup: 10, final_lr: 0.1, ..ScheduleConfig::default() };
        let at = |step| learning_rate(2.0, &schedule, step, 110);
        assert!(
            (at(0) - 0.2).abs() < 1e-12
                && (at(9) - 2.0).abs() < 1e-12
                && (at(10) - 2.0).abs() < 1e-12
        );
        assert!((at(60) - 1.1).abs() < 1e-12 && (at(110) - 0.2).abs() < 1e-12);
        let schedule = ScheduleConfig { decay: Decay::Linear, ..schedule };
        let at = |step| learning_rate(2.0, &schedule, step, 110);
        assert!(
            (at(9) - 2.0).abs() < 1e-12
                && (at(35) - 1.55).abs() < 1e-12
                && (at(110) - 0.2).abs() < 1e-12
        );
    }

    /// Three steps on a 1x2 weight with the gradients (1, -2), (0.5, 0.5), (-1, 0.25), clipped at
    /// 2; the numbers come from scripts/optimizer_oracle.py (torch.optim, clip_grad_norm_).
    #[test]
    fn steps_agree_with_pytorch() {
        let cases = [
            (OptimizerName::AdamW, false, [0.478_271_7, -0.232_270_96]),
            (OptimizerName::Sgd, false, [0.474_793_46, -0.212_819_65]),
            (OptimizerName::Sgd, true, [0.473_242_9, -0.206_105]),
        ];
        // A factor on twice the rate is the rate.
        let factors = [(0.01, BTreeMap::new()), (0.02, [("weight".to_owned(), 0.5)].into())];
        let cases = cases.into_iter().flat_map(|case| factors.iter().map(move |f| (case, f)));
        for ((name, nesterov, expected), (rate, factors)) in cases {
            let config = OptimizerConfig {
                name,
                nesterov,
                weight_decay: 0.1,
                clip_norm: 2.0,
                ema: 0.0,
                lr_factors: factors.clone(),
                ..OptimizerConfig::default()
            };
            let device = Device::flex().autodiff();
            let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(0);
            let mut layer = Linear::new([2, 1], false, &device, &mut rng);
            layer = params::assign(
                layer,
                [("weight".to_owned(), TensorData::from([[0.5f32, -0.25]]))].into_iter().collect(),
            )
            .unwrap();
            let mut optimizer = Optimizer::new(config);
            for g in [[1.0f32, -2.0], [0.5, 0.5], [-1.0, 0.25]] {
                let g = Tensor::<1>::from_data(TensorData::from(g), &Device::flex());
                let mut grads: FlatMap = [("weight".to_owned(), g)].into_iter().collect();
                let norm =
                    f64::from(ops::sum_squares(&grads["weight"]).into_scalar::<f32>()).sqrt();
                layer = optimizer.step(layer, &mut grads, norm, *rate);
            }
            let found = layer.weight.val().into_data().try_to_vec::<f32>().unwrap();
            for (a, b) in found.iter().zip(expected) {
                assert!(
                    (a - b).abs() < 1e-6,
                    "{name:?} nesterov {nesterov}: {found:?}, {expected:?}"
                );
            }
        }
    }

    /// Filters longer than the limit are shortened to it, others stay, and the average follows.
    #[test]
    fn filters_are_no_longer_than_the_limit() {
        for name in [OptimizerName::AdamW, OptimizerName::Sgd, OptimizerName::Muon] {
            let config = OptimizerConfig {
                name,
                weight_decay: 0.0,
                max_norm: 0.5,
                ema: 0.9,
                ..OptimizerConfig::default()
            };
            let device = Device::flex().autodiff();
            let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(0);
            let layer = Conv2d::new([1, 2], 1, 1, &device, &mut rng);
            let weight = TensorData::new(vec![2.0f32, 0.1], [2, 1, 1, 1]);
            let mut layer =
                params::assign(layer, [("weight".to_owned(), weight)].into_iter().collect())
                    .unwrap();
            let mut optimizer = Optimizer::new(config);
            let g = Tensor::<1>::from_data(TensorData::from([-1.0f32, -1.0]), &Device::flex());
            let mut grads: FlatMap = [("weight".to_owned(), g)].into_iter().collect();
            layer = optimizer.step(layer, &mut grads, 1.0, 1e-3);
            let found = layer.weight.val().into_data().try_to_vec::<f32>().unwrap();
            assert!((found[0] - 0.5).abs() < 1e-6, "{name:?}: {found:?}");
            assert!(found[1] > 0.1 && found[1] < 0.11, "{name:?}: {found:?}");
            let average = optimizer.averaged(layer).weight.val().into_data();
            let average = average.try_to_vec::<f32>().unwrap();
            // The decay of the first step is 2/11.
            let expected = 0.5 + 1.5 * 2.0 / 11.0;
            assert!((f64::from(average[0]) - expected).abs() < 1e-6, "{name:?}: {average:?}");
        }
    }
}
