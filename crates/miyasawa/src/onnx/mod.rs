//! Models as ONNX graphs, for other runtimes.
//!
//! The denoiser of a joint model is the gradient of its network. Here it is unrolled into ordinary
//! forward operations, so that any runtime computes it: operators of the standard domain alone,
//! operator set 17, and batch, height and width that are known when the graph runs.
//!
//! ```
//! use miyasawa::{bundled::BundledModel, onnx::{self, Options, Task}};
//!
//! let (checkpoint, _) = BundledModel::Cifar10.checkpoint()?;
//! let options = Options { name: "cifar10".to_owned(), ..Options::new(Task::Denoise) };
//! let bytes = onnx::export(&checkpoint, &options)?; // the content of a file `denoiser.onnx`
//! assert!(bytes.len() > 11_000_000); // 2.9 million parameters in float32
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | task | inputs | outputs |
//! | --- | --- | --- |
//! | [`Task::Classify`] | `image`, `sigma` | `logits`, `posterior` |
//! | [`Task::Denoise`] | `image`, `sigma` | `denoised` |
//! | [`Task::Joint`] | `image`, `sigma`, `class` | `logits`, `posterior`, `log_prob`, `denoised`, |
//! | | | `class_denoised` |
//!
//! `image` is `[batch, channels, height, width]`, `sigma` (the standard deviation of the noise, in
//! units of the image's values) and `class` are `[batch]`. What a network does not depend on is no
//! input: ResNet-18 has no `sigma`. `log_prob` is `log p(y)` up to a constant of the noise level.
//!
//! The graph is the network alone, as [`Predict`](crate::model::Predict) computes it. What
//! [`Predictor`](crate::predictor::Predictor) does around it is not in it: resizing, the estimate
//! of the noise level, grey images in colour models, levels outside the training, tiles, the bound
//! on the length of a correction.

mod gradresnet;
mod graph;
mod joint;
mod layers;
mod proto;
mod reference;
mod tasks;
#[cfg(test)]
mod tests;

use crate::checkpoint::{Checkpoint, CheckpointError, ModelInfo};
use crate::model::params::ParamError;
use burn::tensor::Device;
use graph::Graph;
use layers::Layers;
use prost::Message;
use proto::{ModelProto, OperatorSetIdProto, StringStringEntryProto};
use std::{fmt, path::Path};

/// The operator set: widely supported, the first with all operators that are used.
const OPERATOR_SET: i64 = 17;
/// The version of the format that came with it.
const IR_VERSION: i64 = 8;
/// A message of protocol buffers is shorter than this.
const LARGEST: usize = i32::MAX as usize;

/// What a graph computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// The logits and `p(c | y)`.
    Classify,
    /// `D(y)`.
    Denoise,
    /// All quantities of a joint model.
    Joint,
}

impl Task {
    /// All tasks.
    pub const ALL: [Self; 3] = [Self::Classify, Self::Denoise, Self::Joint];

    /// The task that shows most of what a model has learned.
    ///
    /// ```
    /// use miyasawa::{bundled::BundledModel, onnx::Task};
    /// let (photo, _) = BundledModel::Photo.checkpoint()?;
    /// assert_eq!(Task::of(&photo.info), Task::Denoise);
    /// # Ok::<(), miyasawa::checkpoint::CheckpointError>(())
    /// ```
    pub fn of(info: &ModelInfo) -> Self {
        match (info.classifies(), info.denoises()) {
            (true, true) => Self::Joint,
            (true, false) => Self::Classify,
            (false, _) => Self::Denoise,
        }
    }

    /// Whether a model has learned what the task needs.
    fn is_of(self, info: &ModelInfo) -> bool {
        match self {
            Self::Classify => info.classifies(),
            Self::Denoise => info.denoises(),
            Self::Joint => info.classifies() && info.denoises(),
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Classify => "classify",
            Self::Denoise => "denoise",
            Self::Joint => "joint",
        })
    }
}

/// The type in which matrices and the weights of convolutions are stored. Vectors are stored, and
/// everything is computed, in float32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dtype {
    /// Four bytes: nothing is lost.
    #[default]
    F32,
    /// Two bytes, 11 bits of significand.
    F16,
    /// Two bytes, 8 bits of significand and float32's exponents; some runtimes cannot read it.
    Bf16,
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        })
    }
}

/// The values of images without noise, the graph's input and output. The noise level is in the
/// same units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Range {
    /// 0 to 1: 25 of 255 is 0.098.
    #[default]
    Unit,
    /// -1 to 1, as in the rest of this library: 25 of 255 is 0.196.
    Signed,
}

impl Range {
    /// The smallest and the largest value.
    pub fn ends(self) -> [f64; 2] {
        match self {
            Self::Unit => [0.0, 1.0],
            Self::Signed => [-1.0, 1.0],
        }
    }

    /// A noise level of the library in units of this range.
    ///
    /// ```
    /// use miyasawa::onnx::Range;
    /// assert_eq!((Range::Unit.level(0.2), Range::Signed.level(0.2)), (0.1, 0.2));
    /// ```
    pub fn level(self, sigma: f64) -> f64 {
        let [low, high] = self.ends();
        sigma * (high - low) / 2.0
    }
}

/// How a model is exported.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the graph computes.
    pub task: Task,
    /// The type of the stored weights.
    pub dtype: Dtype,
    /// The values of images.
    pub range: Range,
    /// The model's name in the metadata.
    pub name: String,
}

impl Options {
    /// Weights in float32, images in [0, 1], no name.
    pub fn new(task: Task) -> Self {
        let (dtype, range) = (Dtype::default(), Range::default());
        Self { task, dtype, range, name: String::new() }
    }
}

/// Why a model could not be exported.
#[derive(Debug, thiserror::Error)]
pub enum OnnxError {
    /// The model was not trained for it.
    #[error("task {task}: the model ({network}) was not trained for it, expected task {expected}")]
    Task {
        /// The task.
        task: Task,
        /// The model's network.
        network: String,
        /// The tasks of the model.
        expected: String,
    },
    /// The checkpoint's parameters do not match its network.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A parameter is missing.
    #[error(transparent)]
    Params(#[from] ParamError),
    /// A value exceeds the type of the export.
    #[error("parameter {name}: {value} is too large for {dtype}, expected bf16 or f32")]
    TooLarge {
        /// The parameter's name.
        name: String,
        /// The value.
        value: f32,
        /// The type.
        dtype: Dtype,
    },
    /// The network has no layers.
    #[error("the network has no stages, expected at least 1")]
    Empty,
    /// The file would be longer than the format allows.
    #[error("the graph takes {found} bytes, expected at most {LARGEST}, the limit of ONNX files")]
    Size {
        /// Its length.
        found: usize,
    },
}

impl OnnxError {
    /// Whether the call was wrong: another task or type would have worked.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Task { .. } | Self::TooLarge { .. })
    }
}

/// Writes a model as the bytes of an ONNX file.
///
/// # Errors
/// [`OnnxError::Task`] if the model was not trained for the task; [`OnnxError::Checkpoint`] if its
/// parameters do not match its network, or the network is its author's own;
/// [`OnnxError::TooLarge`] if a value is too large for the type.
pub fn export(checkpoint: &Checkpoint, options: &Options) -> Result<Vec<u8>, OnnxError> {
    let bytes = model(checkpoint, options)?.encode_to_vec();
    match bytes.len() {
        0..=LARGEST => Ok(bytes),
        found => Err(OnnxError::Size { found }),
    }
}

fn model(checkpoint: &Checkpoint, options: &Options) -> Result<ModelProto, OnnxError> {
    let info = &checkpoint.info;
    if !options.task.is_of(info) {
        let known = Task::ALL.into_iter().filter(|task| task.is_of(info));
        let expected = known.map(|task| task.to_string()).collect::<Vec<_>>().join(" or ");
        let network = info.network.to_string();
        return Err(OnnxError::Task { task: options.task, network, expected });
    }
    // Compares names and shapes of all parameters.
    let path = Path::new(&options.name);
    checkpoint.model(&Device::flex(), path)?;
    let mut layers = Layers::new(Graph::new("miyasawa", options.dtype), &checkpoint.params);
    tasks::write(&mut layers, info, options)?;
    let entry = |(key, value): (&str, String)| StringStringEntryProto { key: key.into(), value };
    let metadata = metadata(info, options, checkpoint.hash(path)?);
    Ok(ModelProto {
        ir_version: IR_VERSION,
        producer_name: "miyasawa".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        doc_string: format!("{}: {}, {}", options.name, options.task, info.network),
        graph: Some(layers.graph.finish()),
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPERATOR_SET }],
        metadata_props: metadata.into_iter().map(entry).collect(),
    })
}

/// What a program may want to know of the model; lists are JSON.
fn metadata(info: &ModelInfo, options: &Options, sha256: String) -> Vec<(&'static str, String)> {
    let data = &info.data;
    let json = |value: serde_json::Value| value.to_string();
    vec![
        ("name", options.name.clone()),
        ("task", options.task.to_string()),
        ("network", info.network.to_string()),
        ("classes", json(data.classes.clone().into())),
        ("channels", data.channels.to_string()),
        ("trained_size", json(vec![data.height, data.width].into())),
        ("value_range", json(options.range.ends().to_vec().into())),
        // As short as it is in the checkpoint.
        ("sigma_range", json(info.sigma.map(|sigma| options.range.level(sigma)).to_vec().into())),
        ("weights", options.dtype.to_string()),
        ("checkpoint_sha256", sha256),
    ]
}
