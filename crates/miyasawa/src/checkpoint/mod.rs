//! Checkpoints: safetensors with the names and shapes of reference.py.
//!
//! The header's metadata holds, as JSON strings, `miyasawa` (the format's version), `info` (the
//! [`ModelInfo`]) and `sha256`, a hash of everything else: of `info` and of every tensor's name, type,
//! shape and bytes in the order of the names. A file is written to a sibling and renamed, and a changed
//! byte is noticed on loading.

use crate::atomic::{self, AtomicError};
use crate::model::{
    GradResNet, GradResNetConfig, JointModel,
    params::{ParamError, ParamMap},
};
use crate::nn::noise_frequencies;
use burn::tensor::{DType, Device, TensorData};
use safetensors::{
    Dtype, SafeTensors,
    tensor::{TensorInfo, TensorView},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
};

/// Version of the format.
const FORMAT: &str = "1";

/// PyTorch keeps the frequencies of the noise embedding as a buffer: written so that a strict load there
/// finds it, and not a parameter here.
const BUFFER: &str = "freqs";

/// The data that a model was trained on, and how its pictures are scaled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataInfo {
    /// The DATA argument or a name.
    pub name: String,
    /// Channels of a picture, 1 or 3.
    pub channels: usize,
    /// Height of a picture.
    pub height: usize,
    /// Width of a picture.
    pub width: usize,
    /// Class names, in the order of the logits.
    pub classes: Vec<String>,
    /// Mean of the training set, in the [-1, 1] range.
    pub mean: f64,
    /// Standard deviation of the training set in the [-1, 1] range: the model's `sigma_data`.
    pub std: f64,
}

/// What a checkpoint says of its model besides the parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// The network.
    pub network: GradResNetConfig,
    /// The data.
    pub data: DataInfo,
    /// Smallest and largest noise level that it was trained on; `classify` works at the smallest.
    pub sigma: [f64; 2],
    /// How it was trained so far.
    pub training: TrainingInfo,
}

impl ModelInfo {
    /// Says what is wrong with the values, if anything is: they come from a file.
    fn problem(&self) -> Option<String> {
        if let Some(problem) = self.network.problem() {
            return Some(problem);
        }
        let (net, data, [min, max]) = (&self.network, &self.data, self.sigma);
        if !matches!(data.channels, 1 | 3) || data.channels != net.channels {
            let (of_data, of_net) = (data.channels, net.channels);
            return Some(format!(
                "the data has {of_data} channels and the network {of_net}, expected 1 or 3"
            ));
        }
        if data.classes.len() != net.classes {
            let (names, classes) = (data.classes.len(), net.classes);
            return Some(format!("{names} class names for {classes} classes"));
        }
        let pixels = data.height.checked_mul(data.width).unwrap_or(0);
        if pixels == 0 || pixels as u64 > crate::picture::MAX_PIXELS {
            return Some(format!("pictures of {}x{}, expected at least 1x1", data.height, data.width));
        }
        if !(data.std > 0.0 && (data.std as f32).is_normal()) {
            let std = data.std;
            return Some(format!("the data's standard deviation is {std}, expected a number above 0"));
        }
        if !data.mean.is_finite() {
            return Some(format!("the data's mean is {}, expected a number", data.mean));
        }
        let smallest = if net.blind { 0.0 } else { f64::MIN_POSITIVE };
        (!(min >= smallest && min <= max && max.is_finite()))
            .then(|| format!("noise levels from {min} to {max}, expected numbers above 0 in ascending order"))
    }
}

/// How a model was trained so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainingInfo {
    /// Optimiser steps.
    pub steps: u64,
    /// Images seen, with repetitions.
    pub images: u64,
    /// Seed of the run.
    pub seed: u64,
    /// Weights of cross-entropy and denoising score matching.
    pub loss_weights: [f64; 2],
    /// Version of this program.
    pub version: String,
}

/// A model as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// What it is.
    pub info: ModelInfo,
    /// Its parameters by name.
    pub params: ParamMap,
}

/// Why a checkpoint could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file could not be read.
    #[error("checkpoint {path}: cannot be read: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The file is not a checkpoint of this program.
    #[error("checkpoint {path}: {found}; expected a safetensors file written by miyasawa")]
    Format {
        /// The file.
        path: PathBuf,
        /// What stands there.
        found: String,
    },
    /// The content is not what was written.
    #[error("checkpoint {path}: damaged: the content has hash {found}, the file says {expected}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The hash in the metadata.
        expected: String,
        /// The hash of the content.
        found: String,
    },
    /// The parameters do not fit the network that the metadata describes.
    #[error("checkpoint {path}: {source}")]
    Params {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        source: ParamError,
    },
    /// The file could not be written.
    #[error(transparent)]
    Write(#[from] AtomicError),
}

/// A hash of everything that a checkpoint holds.
fn content_hash(info: &str, tensors: &SafeTensors<'_>) -> String {
    let mut names: Vec<&str> = tensors.names();
    names.sort_unstable();
    let mut hash = Sha256::new();
    hash.update(info.as_bytes());
    for name in names {
        let Ok(view) = tensors.tensor(name) else { continue };
        hash.update(format!("\0{name}\0{:?}\0{:?}\0", view.dtype(), view.shape()).as_bytes());
        hash.update(view.data());
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A safetensors file of float32 tensors, the metadata in the order of its keys: the library writes them in
/// a random order, and the same run must give the same bytes.
fn serialize(
    metadata: &BTreeMap<&str, &str>,
    values: &BTreeMap<&str, (Vec<usize>, Vec<u8>)>,
) -> serde_json::Result<Vec<u8>> {
    let mut header = format!("{{\"__metadata__\":{}", serde_json::to_string(metadata)?);
    let mut end = 0;
    for (name, (shape, bytes)) in values {
        let (start, shape) = (end, shape.clone());
        end += bytes.len();
        let info = TensorInfo { dtype: Dtype::F32, shape, data_offsets: (start, end) };
        let (name, info) = (serde_json::to_string(name)?, serde_json::to_string(&info)?);
        // Writing to a String cannot fail.
        let _ = write!(header, ",{name}:{info}");
    }
    header.push('}');
    // The values begin at a multiple of 8.
    let length = header.len().next_multiple_of(8);
    let mut out = (length as u64).to_le_bytes().to_vec();
    out.extend_from_slice(format!("{header:<length$}").as_bytes());
    values.values().for_each(|(_, bytes)| out.extend_from_slice(bytes));
    Ok(out)
}

impl Checkpoint {
    /// The checkpoint as a file's bytes.
    ///
    /// # Errors
    /// If a parameter is not float32, which this program never makes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, String> {
        let info = serde_json::to_string(&self.info).map_err(|e| e.to_string())?;
        let mut values: BTreeMap<&str, (Vec<usize>, Vec<u8>)> = BTreeMap::new();
        for (name, data) in &self.params {
            if data.dtype() != DType::F32 {
                return Err(format!("parameter {name} is {:?}, expected float32", data.dtype()));
            }
            values.insert(name, (data.shape().to_vec(), data.as_bytes().to_vec()));
        }
        if !self.info.network.blind {
            let freqs = noise_frequencies();
            let bytes = freqs.iter().flat_map(|f| f.to_le_bytes()).collect();
            values.insert(BUFFER, (vec![freqs.len()], bytes));
        }
        let write = |hash: &str| {
            let metadata = BTreeMap::from([("miyasawa", FORMAT), ("info", &info), ("sha256", hash)]);
            serialize(&metadata, &values).map_err(|e| e.to_string())
        };
        let unsigned = write("")?;
        let tensors = SafeTensors::deserialize(&unsigned).map_err(|e| e.to_string())?;
        write(&content_hash(&info, &tensors))
    }

    /// Writes to a sibling of `path`, then renames it.
    ///
    /// # Errors
    /// If the file cannot be written; nothing is left half-written then.
    pub fn save(&self, path: &Path) -> Result<(), CheckpointError> {
        let bytes =
            self.to_bytes().map_err(|found| CheckpointError::Format { path: path.to_owned(), found })?;
        Ok(atomic::write_atomic(path, |file| std::io::Write::write_all(file, &bytes))?)
    }

    /// Reads a checkpoint and checks its hash.
    ///
    /// # Errors
    /// If the file cannot be read, is not a checkpoint, or is damaged.
    pub fn load(path: &Path) -> Result<Self, CheckpointError> {
        let read = |source| CheckpointError::Read { path: path.to_owned(), source };
        Self::from_bytes(&std::fs::read(path).map_err(read)?, path)
    }

    /// Reads a checkpoint from a file's bytes; `path` is for messages.
    ///
    /// # Errors
    /// If the bytes are not a checkpoint, or are damaged.
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self, CheckpointError> {
        let format = |found: String| CheckpointError::Format { path: path.to_owned(), found };
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| format(e.to_string()))?;
        let tensors = SafeTensors::deserialize(bytes).map_err(|e| format(e.to_string()))?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let entry =
            |key: &str| metadata.get(key).ok_or_else(|| format(format!("the metadata has no entry '{key}'")));
        let (version, info_text, expected) = (entry("miyasawa")?, entry("info")?, entry("sha256")?);
        if version != FORMAT {
            return Err(format(format!("it has format version {version}, this program reads {FORMAT}")));
        }
        let found = content_hash(info_text, &tensors);
        if found != *expected {
            let (path, expected) = (path.to_owned(), expected.clone());
            return Err(CheckpointError::Damaged { path, expected, found });
        }
        let info: ModelInfo = serde_json::from_str(info_text).map_err(|e| format(e.to_string()))?;
        if let Some(problem) = info.problem() {
            return Err(format(problem));
        }
        let mut params = ParamMap::new();
        for (name, view) in tensors.iter().filter(|(name, _)| *name != BUFFER) {
            let data = tensor_data(&view).map_err(|e| format(format!("{name} {e}")))?;
            let values = data.as_slice::<f32>();
            let values = values.map_err(|_| format(format!("{name} holds integers, expected floats")))?;
            // A model that answers NaN to everything must not get as far as a picture.
            if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                return Err(format(format!("{name} holds the value {value}")));
            }
            params.insert(name.to_owned(), data);
        }
        Ok(Self { info, params })
    }

    /// The hash that [`save`](Self::save) writes.
    ///
    /// # Errors
    /// As [`to_bytes`](Self::to_bytes).
    pub fn hash(&self) -> Result<String, String> {
        let bytes = self.to_bytes()?;
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| e.to_string())?;
        let metadata = header.metadata().clone().unwrap_or_default();
        metadata.get("sha256").cloned().ok_or_else(|| "no hash".to_owned())
    }

    /// The model on a device.
    ///
    /// # Errors
    /// If the parameters do not fit the network; `path` is for the message.
    pub fn model(&self, device: &Device, path: &Path) -> Result<JointModel<GradResNet>, CheckpointError> {
        let net = self
            .info
            .network
            .with_params(self.params.clone(), device)
            .map_err(|source| CheckpointError::Params { path: path.to_owned(), source })?;
        Ok(JointModel::new(net, self.info.data.std))
    }
}

/// Writes tensors of float32 by name to a plain safetensors file, for other programs.
///
/// # Errors
/// If the file cannot be written.
///
/// # Panics
/// If the number of values is not that of the shape.
pub fn save_tensors(path: &Path, tensors: &[(&str, Vec<usize>, Vec<f32>)]) -> Result<(), CheckpointError> {
    let mut values = BTreeMap::new();
    for (name, shape, data) in tensors {
        assert_eq!(shape.iter().product::<usize>(), data.len(), "{name}: values for its shape");
        values.insert(*name, (shape.clone(), data.iter().flat_map(|v| v.to_le_bytes()).collect()));
    }
    let format =
        |e: serde_json::Error| CheckpointError::Format { path: path.to_owned(), found: e.to_string() };
    let bytes = serialize(&BTreeMap::new(), &values).map_err(format)?;
    Ok(atomic::write_atomic(path, |file| std::io::Write::write_all(file, &bytes))?)
}

/// A safetensors view as tensor data in float32 (from float32, float16, bfloat16 or float64) or int64.
///
/// # Errors
/// If the type is another one.
pub fn tensor_data(view: &TensorView<'_>) -> Result<TensorData, String> {
    let (bytes, shape) = (view.data(), view.shape().to_vec());
    fn read<const N: usize, T>(bytes: &[u8], read: impl Fn([u8; N]) -> T) -> Vec<T> {
        bytes.as_chunks::<N>().0.iter().map(|chunk| read(*chunk)).collect()
    }
    use burn::tensor::{bf16, f16};
    Ok(match view.dtype() {
        Dtype::F32 => TensorData::new(read(bytes, f32::from_le_bytes), shape),
        Dtype::F64 => TensorData::new(read(bytes, |b| f64::from_le_bytes(b) as f32), shape),
        Dtype::F16 => TensorData::new(read(bytes, |b| f16::from_le_bytes(b).to_f32()), shape),
        Dtype::BF16 => TensorData::new(read(bytes, |b| bf16::from_le_bytes(b).to_f32()), shape),
        Dtype::I64 => TensorData::new(read(bytes, i64::from_le_bytes), shape),
        other => return Err(format!("has type {other:?}, expected a float type or I64")),
    })
}
