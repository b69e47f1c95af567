//! Checkpoints: safetensors with the names and shapes of reference.py.
//!
//! The header's metadata holds, as JSON strings, `miyasawa` (the format's version), `info` (the
//! [`ModelInfo`]) and `sha256`, a hash of everything else: of `info`, of further entries, and of
//! every tensor's name, type, shape and bytes in the order of the names. A file is written to a
//! sibling and renamed, and a changed byte is noticed on loading. A file that another program wrote
//! (PyTorch, safetensors: half precision, more metadata, other parameters) is loaded with a warning
//! if it is consistent; a run resumes only from files of this program.
//!
//! A run's checkpoint is such a file with one more entry, `state`, and with the optimiser's state
//! beside the parameters (see [`crate::train::state`]); loaded as a model it is its averaged
//! parameters.
//!
//! ```
//! use miyasawa::{Device, bundled::BundledModel, checkpoint::Checkpoint};
//! use std::path::Path;
//!
//! let bytes = BundledModel::Cifar10.bytes();
//! let checkpoint = Checkpoint::from_bytes(bytes, Path::new("bundled"))?;
//! assert!(checkpoint.info.classifies() && checkpoint.info.denoises());
//! let model = checkpoint.model(&Device::flex(), Path::new("bundled"))?;
//! assert!(model.joint().is_some());
//!
//! let mut damaged = bytes.to_vec();
//! *damaged.last_mut().unwrap() ^= 1;
//! assert!(Checkpoint::from_bytes(&damaged, Path::new("damaged")).is_err());
//! # Ok::<(), miyasawa::checkpoint::CheckpointError>(())
//! ```

mod container;
mod info;
mod opened;

pub(crate) use container::Content;
pub use container::{Precision, tensor_data};
pub use info::{DataInfo, ModelInfo, TrainingInfo};
pub(crate) use opened::{Checked, Opened};

use crate::atomic::{self, AtomicError};
use crate::model::{
    Kind, Model,
    params::{ParamError, ParamMap},
};
use crate::nn::noise_frequencies;
use burn::tensor::{Device, TensorData};
use std::path::{Path, PathBuf};

/// The entry of the metadata that makes a file a run's checkpoint.
pub(crate) const STATE: &str = "state";
/// Prefix of a run's parameters in its checkpoint.
pub(crate) const PARAM: &str = "param.";
/// Prefix of their moving averages.
pub(crate) const AVERAGE: &str = "average.";

/// PyTorch keeps the frequencies of the noise embedding as a buffer: written so that a strict load
/// there finds it, and not a parameter here.
pub(crate) const BUFFER: &str = "freqs";

/// A model as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Its description.
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
        /// The content found instead.
        found: String,
    },
    /// The content has changed since it was written.
    #[error(
        "checkpoint {path}: damaged: the content has hash {found}, the file says {expected} (a \
         program that changes it on purpose must take the entry 'sha256' out of the metadata)"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The hash in the metadata.
        expected: String,
        /// The hash of the content.
        found: String,
    },
    /// The parameters do not match the network that the metadata describes.
    #[error("checkpoint {path}: {source}")]
    Params {
        /// The file.
        path: PathBuf,
        /// The parameter that does not match.
        source: ParamError,
    },
    /// The content is not a valid checkpoint.
    #[error("checkpoint {path}: not written: {found}")]
    Content {
        /// The file.
        path: PathBuf,
        /// The error, in words.
        found: String,
    },
    /// The file could not be written.
    #[error(transparent)]
    Write(#[from] AtomicError),
}

impl Checkpoint {
    fn content(&self, precision: Precision) -> Result<Content<'_>, String> {
        self.info.validate()?;
        let mut content = Content::new(precision);
        content
            .entries
            .insert("info", serde_json::to_string(&self.info).map_err(|e| e.to_string())?);
        for (name, data) in &self.params {
            content.add(name.clone(), data)?;
        }
        if self.info.network.kind() == Kind::GradResNet && !self.info.network.is_blind() {
            content.add_values(BUFFER, &noise_frequencies());
        }
        Ok(content)
    }

    /// Returns the checkpoint as the bytes of a file.
    ///
    /// # Errors
    /// If [`ModelInfo::validate`] finds an error, or a parameter is not float32, which this program
    /// never makes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, String> {
        self.to_bytes_in(Precision::F32)
    }

    /// As [`to_bytes`](Self::to_bytes), with the values in another type; reading returns float32
    /// again.
    ///
    /// # Errors
    /// As [`to_bytes`](Self::to_bytes), or if a value is too large for the type.
    pub fn to_bytes_in(&self, precision: Precision) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        self.content(precision)?.write(&mut bytes).map_err(|e| e.to_string())?;
        Ok(bytes)
    }

    /// Writes to a sibling of `path`, then renames it.
    ///
    /// # Errors
    /// As [`to_bytes`](Self::to_bytes), or if the file cannot be written; nothing is left
    /// half-written then.
    pub fn save(&self, path: &Path) -> Result<(), CheckpointError> {
        self.save_in(Precision::F32, path)
    }

    /// As [`save`](Self::save), with the values in another type.
    ///
    /// # Errors
    /// As [`save`](Self::save), or if a value is too large for the type.
    pub fn save_in(&self, precision: Precision, path: &Path) -> Result<(), CheckpointError> {
        let content = |found| CheckpointError::Content { path: path.to_owned(), found };
        let content = self.content(precision).map_err(content)?;
        Ok(atomic::write_atomic(path, |file| content.write(file))?)
    }

    /// Reads a checkpoint and checks its hash. A file that another program wrote is loaded with a
    /// warning if its names, shapes and values are those of a model.
    ///
    /// # Errors
    /// If the file cannot be read, is not a checkpoint, or is damaged.
    pub fn load(path: &Path) -> Result<Self, CheckpointError> {
        Self::load_with_hash(path).map(|(checkpoint, _)| checkpoint)
    }

    /// As [`load`](Self::load), and returns the hash of the content too.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_with_hash(path: &Path) -> Result<(Self, String), CheckpointError> {
        let read = |source| CheckpointError::Read { path: path.to_owned(), source };
        Self::from_bytes_with_hash(&std::fs::read(path).map_err(read)?, path)
    }

    /// Reads a checkpoint from a file's bytes; `path` is for messages.
    ///
    /// # Errors
    /// If the bytes are not a checkpoint, or are damaged.
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self, CheckpointError> {
        Self::from_bytes_with_hash(bytes, path).map(|(checkpoint, _)| checkpoint)
    }

    /// As [`from_bytes`](Self::from_bytes), and returns the hash of the content too.
    ///
    /// # Errors
    /// As [`from_bytes`](Self::from_bytes).
    pub fn from_bytes_with_hash(
        bytes: &[u8],
        path: &Path,
    ) -> Result<(Self, String), CheckpointError> {
        let file = Opened::unchecked(bytes, path)?;
        let Checked { sha256, edited } = file.check(path)?;
        let checkpoint = Self::read(&file, path)?;
        if let Some(edited) = edited {
            checkpoint.model(&Device::flex(), path)?;
            tracing::warn!("checkpoint {}: {edited}", path.display());
        }
        Ok((checkpoint, sha256))
    }

    /// As [`from_bytes`](Self::from_bytes) without checking the hash, for fuzzing, which never
    /// guesses a correct one.
    #[cfg(feature = "train")]
    pub(crate) fn from_bytes_unchecked(bytes: &[u8], path: &Path) -> Result<Self, CheckpointError> {
        Self::read(&Opened::unchecked(bytes, path)?, path)
    }

    fn read(file: &Opened<'_>, path: &Path) -> Result<Self, CheckpointError> {
        let info = ModelInfo::read(file, path)?;
        let mut params = file.floats(path)?;
        params.remove(BUFFER);
        if file.has(STATE) {
            params = averaged(params);
        }
        Ok(Self { info, params })
    }

    /// Computes the hash of the content as it is stored in float32; `path` is for the message.
    ///
    /// # Errors
    /// If the content is not a valid checkpoint.
    pub fn hash(&self, path: &Path) -> Result<String, CheckpointError> {
        let content = self.content(Precision::F32);
        let content =
            content.map_err(|found| CheckpointError::Content { path: path.to_owned(), found })?;
        Ok(content.hash())
    }

    /// Builds the model on a device.
    ///
    /// # Errors
    /// If the parameters do not match the network; `path` is for the message.
    pub fn model(&self, device: &Device, path: &Path) -> Result<Model, CheckpointError> {
        let model = self.info.network.with_params(self.params.clone(), device, self.info.data.std);
        model.map_err(|source| CheckpointError::Params { path: path.to_owned(), source })
    }
}

/// The parameters of the model in a run's checkpoint: the average of each one in its shape, or the
/// parameter itself where no average is kept.
fn averaged(mut tensors: ParamMap) -> ParamMap {
    let params = tensors.split_off(PARAM).into_iter();
    let params =
        params.filter_map(|(name, data)| Some((name.strip_prefix(PARAM)?.to_owned(), data)));
    let average =
        |(name, param): (String, TensorData)| match tensors.remove(&format!("{AVERAGE}{name}")) {
            Some(average) if average.num_elements() == param.num_elements() => {
                let (bytes, _, dtype) = average.into_parts();
                (name, TensorData::from_bytes(bytes, param.shape().clone(), dtype))
            }
            _ => (name, param),
        };
    params.map(average).collect()
}

/// Writes tensors of float32 by name to a plain safetensors file, for other programs.
///
/// # Errors
/// If the file cannot be written.
///
/// # Panics
/// If the number of values is not that of the shape.
pub fn save_tensors(
    path: &Path,
    tensors: &[(&str, Vec<usize>, Vec<f32>)],
) -> Result<(), CheckpointError> {
    let mut content = container::Content::default();
    for (name, shape, values) in tensors {
        content.add_shaped(name, shape, values);
    }
    Ok(atomic::write_atomic(path, |file| content.write_plain(file))?)
}
