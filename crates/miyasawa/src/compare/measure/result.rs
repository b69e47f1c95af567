//! What is written of a measured model.

use crate::eval::EvalRow;
use serde::{Deserialize, Serialize};

/// The measurements of a run, or of a given checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// The model's name.
    pub name: String,
    /// The run's seed; `None` for a given checkpoint.
    pub seed: Option<u64>,
    /// The checkpoint.
    pub model: String,
    /// Hash of the checkpoint.
    pub sha256: String,
    /// The kind of network.
    pub network: String,
    /// The training losses: `cross-entropy`, `score matching`, both, or `JEM`.
    pub learned: String,
    /// Numbers in the checkpoint: parameters and running statistics.
    pub parameters: usize,
    /// Number of training images seen, with repetitions.
    pub images: u64,
    /// The error that ended the training early.
    pub diverged: Option<String>,
    /// How often the training returned to an earlier state.
    pub rollbacks: u64,
    /// Number of measured images, without corrupt ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
    /// A row for every noise level.
    pub rows: Vec<EvalRow>,
    /// How many were attacked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attacked: Option<usize>,
    /// A row for every size of the attack.
    pub robust: Vec<RobustRow>,
    /// The cost of training and inference.
    pub costs: Costs,
    /// Instruction set and number of threads of the timings.
    #[serde(default)]
    pub machine: String,
}

/// A model under attack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RobustRow {
    /// Size of the attack, in units of the [0, 1] range.
    pub eps: f64,
    /// Share of the images that are classified correctly and stay so under attack.
    pub robust_accuracy: f64,
    /// Its 95% interval ([`wilson`](crate::metrics::wilson)); none in results of earlier versions.
    #[serde(default)]
    pub robust_interval: Option<[f64; 2]>,
}

/// The cost of a model: MACs of the convolutions, and measured times.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Costs {
    /// MACs to learn from one image once.
    #[serde(rename = "train_multiply_adds")]
    pub train_macs: u64,
    /// MACs of a pass over the training set.
    #[serde(rename = "epoch_multiply_adds")]
    pub epoch_macs: u64,
    /// MACs to classify an image.
    #[serde(rename = "classify_multiply_adds")]
    pub classify_macs: Option<u64>,
    /// MACs to denoise an image.
    #[serde(rename = "denoise_multiply_adds")]
    pub denoise_macs: Option<u64>,
    /// Median speed of the training's steps.
    pub train_images_per_second: Option<f64>,
    /// Seconds to classify an image, in batches of 16.
    pub classify_seconds: Option<f64>,
    /// Seconds to denoise an image, in batches of 16.
    pub denoise_seconds: Option<f64>,
}
