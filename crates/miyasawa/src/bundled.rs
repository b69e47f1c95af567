//! The bundled models: those inside the program.
//!
//! ```
//! use miyasawa::bundled::BundledModel;
//!
//! let (checkpoint, sha256) = BundledModel::Photo.checkpoint()?;
//! assert!(checkpoint.info.denoises() && sha256.len() == 64);
//! // The front doors: `Predictor::bundled()`, `Predictor::from_bundled(BundledModel::Photo)`.
//! # Ok::<(), miyasawa::checkpoint::CheckpointError>(())
//! ```

use crate::checkpoint::{Checkpoint, CheckpointError};
use std::{fmt, path::Path, str::FromStr};

/// A bundled model. The files are written by `miyasawa export MODEL --dtype bf16`: checkpoints in
/// bfloat16, at most 12 MB each. Cards describe them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BundledModel {
    /// `cifar10`: CIFAR-10's ten classes and a denoiser of images of any size. The default, but for
    /// `miyasawa denoise`.
    #[default]
    Cifar10,
    /// `photo`: a denoiser of photographs of any size, in colour and grey.
    Photo,
}

/// No bundled model has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no bundled model is called {found:?}, expected {}", names())]
pub struct UnknownModel {
    /// The name.
    pub found: String,
}

/// All names in words.
fn names() -> String {
    BundledModel::ALL.map(BundledModel::name).join(" or ")
}

impl BundledModel {
    /// All bundled models.
    pub const ALL: [Self; 2] = [Self::Cifar10, Self::Photo];

    /// The name, as `--model` takes it.
    ///
    /// ```
    /// use miyasawa::bundled::BundledModel;
    /// assert_eq!("photo".parse(), Ok(BundledModel::Photo));
    /// assert!("digits".parse::<BundledModel>().is_err());
    /// ```
    pub fn name(self) -> &'static str {
        match self {
            Self::Cifar10 => "cifar10",
            Self::Photo => "photo",
        }
    }

    /// What the model is for, in a few words.
    pub fn summary(self) -> &'static str {
        match self {
            Self::Cifar10 => "classifies the ten classes of CIFAR-10, denoises, explains",
            Self::Photo => "denoises photographs of any size, in colour and grey",
        }
    }

    /// The name of the model in messages and documents.
    pub fn title(self) -> &'static str {
        match self {
            Self::Cifar10 => "the bundled model",
            Self::Photo => "the bundled model photo",
        }
    }

    /// The file.
    pub fn bytes(self) -> &'static [u8] {
        match self {
            Self::Cifar10 => include_bytes!("../assets/model.safetensors"),
            Self::Photo => include_bytes!("../assets/photo.safetensors"),
        }
    }

    /// The model and its hash.
    ///
    /// # Errors
    /// If the file in the program is not a checkpoint: the tests would have noticed.
    pub fn checkpoint(self) -> Result<(Checkpoint, String), CheckpointError> {
        Checkpoint::from_bytes_with_hash(self.bytes(), Path::new(self.title()))
    }
}

impl fmt::Display for BundledModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for BundledModel {
    type Err = UnknownModel;

    fn from_str(name: &str) -> Result<Self, UnknownModel> {
        let found = Self::ALL.into_iter().find(|model| model.name() == name);
        found.ok_or_else(|| UnknownModel { found: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundled_models_can_be_read_and_are_small() {
        let sizes = BundledModel::ALL.map(|model| {
            let (checkpoint, _) = model.checkpoint().unwrap();
            checkpoint.model(&crate::Device::flex(), Path::new(model.title())).unwrap();
            assert!(checkpoint.info.denoises());
            assert_eq!(checkpoint.info.classifies(), model == BundledModel::Cifar10);
            assert_eq!(model.name().parse(), Ok(model));
            model.bytes().len()
        });
        assert!(sizes.iter().all(|size| *size <= 12_000_000));
        assert!(sizes.iter().sum::<usize>() <= 30_000_000);
    }
}
