//! What is minimised, and at which noise levels.

use crate::model::ObjectiveName;
use serde::{Deserialize, Serialize};

/// Which score the denoising loss is taken on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DsmTarget {
    /// `grad log p(y)`.
    #[default]
    Marginal,
    /// `grad log p(y, c)` of the true class.
    Conditional,
    /// The mean of both losses.
    Both,
}

/// How the samples of JEM are drawn (Grathwohl et al. 2020, "Your classifier is secretly an energy
/// based model", section 5 and appendix): stochastic gradient Langevin dynamics with a replay
/// buffer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JemConfig {
    /// Weight of `-log p(y)` beside the cross-entropy.
    pub weight: f64,
    /// Images of the replay buffer.
    pub buffer: usize,
    /// Langevin steps for every training step.
    pub steps: usize,
    /// Length of a step along the gradient.
    pub step_size: f64,
    /// Standard deviation of the noise of a step.
    pub noise: f64,
    /// Share of the samples that start from uniform noise.
    pub reinit: f64,
}

impl Default for JemConfig {
    fn default() -> Self {
        Self { weight: 1.0, buffer: 10_000, steps: 20, step_size: 1.0, noise: 0.01, reinit: 0.05 }
    }
}

/// What is minimised: `ce_weight*CE + dsm_weight*DSM`, `clean_ce_weight*CE` of the same images at
/// the noise level `clean_sigma`, and `class_ce_weight*CE` of the images of `[classification]`. A
/// classifier alone has no DSM, a denoiser alone no CE.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LossConfig {
    /// `joint`, or `jem`, which has no DSM.
    pub objective: ObjectiveName,
    /// Weight of the cross-entropy.
    pub ce_weight: f64,
    /// Weight of the clean-image cross-entropy: of every image once more, at `clean_sigma` with
    /// the same noise scaled. Clean images are then learned as often as by a classifier alone,
    /// for three more passes through the convolutions; 0 for none.
    pub clean_ce_weight: f64,
    /// The noise level of the clean-image cross-entropy.
    pub clean_sigma: f64,
    /// Weight of the cross-entropy of the images of `[classification]`.
    #[serde(skip_serializing_if = "is_one")]
    pub class_ce_weight: f64,
    /// Weight of denoising score matching; 0 trains a classifier alone. Ten times the
    /// cross-entropy's denoises best and costs robustness (the book's Ablations).
    pub dsm_weight: f64,
    /// Multiplies the denoising loss of an image at the level sigma by `sigma^level_power`. The
    /// loss falls as the level rises, so 0 favours small levels where levels are drawn uniformly.
    #[serde(skip_serializing_if = "super::schedule::is_zero")]
    pub level_power: f64,
    /// The score that is matched.
    pub dsm: DsmTarget,
    /// Share of the class target that is spread over all classes.
    pub label_smoothing: f64,
}

fn is_one(number: &f64) -> bool {
    *number == 1.0
}

impl Default for LossConfig {
    fn default() -> Self {
        let (objective, dsm) = (ObjectiveName::Joint, DsmTarget::Marginal);
        Self {
            objective,
            ce_weight: 1.0,
            clean_ce_weight: 0.0,
            clean_sigma: 0.02,
            class_ce_weight: 1.0,
            dsm_weight: 1.0,
            level_power: 0.0,
            dsm,
            label_smoothing: 0.0,
        }
    }
}

/// How noise levels are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoiseDistribution {
    /// Uniform in the logarithm from `min` to `max`.
    #[default]
    LogUniform,
    /// Normal in the logarithm (Karras et al. 2022), clipped to `min` and `max`.
    LogNormal,
    /// Uniform from `min` to `max`: more of the high levels.
    Uniform,
}

/// The noise levels, in units of the [-1, 1] range.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NoiseConfig {
    /// How levels are drawn.
    pub distribution: NoiseDistribution,
    /// Smallest level; 0 with `max` 0 trains a blind classifier on clean images.
    pub min: f64,
    /// Largest level.
    pub max: f64,
    /// Mean of the logarithm, for `log-normal`.
    pub log_mean: f64,
    /// Standard deviation of the logarithm, for `log-normal`.
    pub log_std: f64,
    /// Share of every batch that gets the smallest level.
    pub share_at_min: f64,
    /// Share of the noisy images that are rounded and clipped as files of 8 bits hold them: the
    /// noise is the difference that is left.
    pub stored: f64,
    /// Share of the colour images that get the noise of a random camera instead
    /// ([`CameraNoise`](crate::image::camera::CameraNoise)), at its own level.
    pub camera: f64,
}

impl Default for NoiseConfig {
    fn default() -> Self {
        let distribution = NoiseDistribution::LogUniform;
        Self {
            distribution,
            min: 0.02,
            max: 1.0,
            log_mean: -1.2,
            log_std: 1.2,
            share_at_min: 0.0,
            stored: 0.0,
            camera: 0.0,
        }
    }
}
