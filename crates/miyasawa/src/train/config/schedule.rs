//! How the parameters move, and for how long.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The optimiser's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerName {
    /// Loshchilov & Hutter 2019.
    AdamW,
    /// Stochastic gradient descent with momentum.
    Sgd,
    /// Convolutions move along the orthogonalised momentum (Jordan et al. 2024, "Muon"), everything
    /// else as with AdamW.
    #[default]
    Muon,
}

/// How the parameters move.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerConfig {
    /// `muon`, `adamw` or `sgd`.
    pub name: OptimizerName,
    /// Largest learning rate; what suits Muon is several times what suits AdamW (the book's
    /// Ablations: 1e-2 and 2e-3).
    pub lr: f64,
    /// Decoupled weight decay of weights with two dimensions or more.
    pub weight_decay: f64,
    /// Decay of the first moment (AdamW; the small parameters of Muon).
    pub beta1: f64,
    /// Decay of the second moment (AdamW).
    pub beta2: f64,
    /// Added to the root of the second moment (AdamW).
    pub epsilon: f64,
    /// Momentum (SGD, and the convolutions of Muon).
    pub momentum: f64,
    /// Nesterov's momentum (SGD; Muon always has it).
    pub nesterov: bool,
    /// Largest norm of the gradient over all parameters; 0 for no limit.
    pub clip_norm: f64,
    /// Largest Euclidean norm of a filter (the weights of an output channel of a convolution); 0
    /// for no limit. After every step longer ones are shortened (Srivastava et al. 2014, "Dropout",
    /// section 5.1). Filters start at a norm of about 0.58. Without normalisation of the
    /// activations nothing else bounds what a deep network makes of its input.
    #[serde(skip_serializing_if = "is_zero")]
    pub max_norm: f64,
    /// Decay of the exponential moving average of the parameters that is evaluated and kept; 0 for
    /// none.
    pub ema: f64,
    /// Parameters that stay as they are, by their names or the beginnings of these: `["stem",
    /// "stages.0"]`. For fine-tuning with `init`. Running statistics of batch normalisation move
    /// all the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub freeze: Vec<String>,
    /// What `lr` is multiplied by for the parameters of these names or beginnings of names, the
    /// longest that fits: `stem = 0.2`. For parts that need smaller steps than the others, or
    /// larger ones, such as a new head while fine-tuning.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub lr_factors: BTreeMap<String, f64>,
}

impl OptimizerConfig {
    /// Whether a parameter stays as it is.
    pub fn is_frozen(&self, name: &str) -> bool {
        self.freeze.iter().any(|prefix| is_part(name, prefix))
    }

    /// What the learning rate is multiplied by for a parameter.
    pub fn lr_factor(&self, name: &str) -> f64 {
        let fitting = self.lr_factors.iter().filter(|(prefix, _)| is_part(name, prefix));
        fitting.max_by_key(|(prefix, _)| prefix.len()).map_or(1.0, |(_, factor)| *factor)
    }
}

pub(super) fn is_zero(number: &f64) -> bool {
    *number == 0.0
}

/// Whether a parameter is `prefix` or a part of it: `stages.1` is no beginning of `stages.10`.
pub(in crate::train) fn is_part(name: &str, prefix: &str) -> bool {
    let rest = name.strip_prefix(prefix.trim_end_matches('.'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            name: OptimizerName::default(),
            lr: 1e-2,
            weight_decay: 0.01,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            momentum: 0.9,
            nesterov: false,
            clip_norm: 1.0,
            max_norm: 0.0,
            ema: 0.999,
            freeze: Vec::new(),
            lr_factors: BTreeMap::new(),
        }
    }
}

/// How the learning rate falls after its rise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decay {
    /// Half a cosine (Loshchilov & Hutter 2017, "SGDR").
    Cosine,
    /// A line: the joint model of CIFAR-10 is better with it at every noise level
    /// (the book's Ablations).
    #[default]
    Linear,
}

/// For how long, and how large a batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScheduleConfig {
    /// Passes over the training set; used where `steps` is left out.
    pub epochs: f64,
    /// Optimiser steps.
    pub steps: Option<u64>,
    /// Images of a step.
    pub batch: usize,
    /// Images that go through the network at once; gradients are summed over the parts of a
    /// batch. Left out, a size that stays in the cache.
    pub micro_batch: Option<usize>,
    /// Steps over which the learning rate rises from 0.
    pub warmup: u64,
    /// `linear` or `cosine`.
    pub decay: Decay,
    /// Share of the learning rate that is left at the end.
    pub final_lr: f64,
    /// Share of the steps after which batch normalisation of a joint model keeps its running
    /// statistics (`network.norm = "batch"`): the score is that of the network that remains.
    #[serde(skip_serializing_if = "is_default_freeze")]
    pub freeze_norms: f64,
}

/// Where batch normalisation is frozen, unless the configuration says where.
const FREEZE_NORMS: f64 = 0.67;

fn is_default_freeze(share: &f64) -> bool {
    *share == FREEZE_NORMS
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self {
            epochs: 10.0,
            steps: None,
            batch: 128,
            micro_batch: None,
            warmup: 50,
            decay: Decay::default(),
            final_lr: 0.0,
            freeze_norms: FREEZE_NORMS,
        }
    }
}
