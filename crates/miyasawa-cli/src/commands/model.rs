//! Loading the MODEL argument, and bringing pictures to it.

use crate::args::{Session, WrongCall};
use anyhow::Result;
use miyasawa::{
    Device,
    checkpoint::{Checkpoint, ModelInfo},
    data::Geometry,
    infer,
    model::{GradResNet, JointModel},
    picture::Picture,
};
use std::path::{Path, PathBuf};

/// A model on its device.
pub struct Loaded {
    /// What the checkpoint says of it.
    pub info: ModelInfo,
    /// The model.
    pub model: JointModel<GradResNet>,
    /// Where it computes.
    pub device: Device,
    /// What to call it in messages and documents.
    pub name: String,
    /// The hash of the checkpoint's content.
    pub hash: String,
}

/// Loads the checkpoint that `--model` names.
pub fn load(path: Option<&Path>, session: &Session) -> Result<Loaded> {
    let Some(path) = path else {
        return Err(WrongCall(
            "no model is given, and none ships inside this binary yet: name a checkpoint, \
             for example the model.safetensors that `miyasawa train` or `miyasawa demo` writes"
                .into(),
        )
        .into());
    };
    let device = session.device()?;
    let checkpoint = Checkpoint::load(path)?;
    let model = checkpoint.model(&device, path)?;
    let hash = checkpoint.hash().map_err(anyhow::Error::msg)?;
    Ok(Loaded { info: checkpoint.info, model, device, name: path.display().to_string(), hash })
}

impl Loaded {
    /// The size and channels of the pictures that the model was trained on.
    pub fn geometry(&self) -> Geometry {
        let data = &self.info.data;
        Geometry { channels: data.channels, height: data.height, width: data.width }
    }

    /// Reads a picture in the model's channels, at its own size.
    pub fn open(&self, path: &Path) -> Result<Picture> {
        Ok(Picture::open(path)?.to_channels(self.info.data.channels)?)
    }

    /// Reads a picture and fits it to the model's input.
    pub fn open_fitted(&self, path: &Path) -> Result<Picture> {
        let data = &self.info.data;
        Ok(self.open(path)?.center_fit(data.height, data.width)?)
    }

    /// A class by its name or number.
    pub fn class(&self, text: &str) -> Result<usize> {
        infer::class_index(&self.info, text).map_err(|e| WrongCall(e.to_string()).into())
    }

    /// The noise level to tell the model for a picture that is taken as clean.
    pub fn clean_sigma(&self) -> f64 {
        self.info.sigma[0]
    }

    /// A noise level of the command line: positive for a model that is told it.
    pub fn sigma(&self, sigma: f64) -> Result<f64> {
        let zero = sigma == 0.0 && self.info.network.blind;
        if !zero && !LEVELS.contains(&sigma) {
            return Err(wrong_level("sigma", sigma));
        }
        let [min, max] = self.info.sigma;
        if sigma < min * 0.999 || sigma > max * 1.001 {
            tracing::warn!("noise level {sigma} is outside {min} to {max}, which the model was trained on");
        }
        Ok(sigma)
    }
}

/// Noise levels whose square and its inverse are numbers in float32.
const LEVELS: std::ops::RangeInclusive<f64> = 1e-6..=1e6;

fn wrong_level(option: &str, found: f64) -> anyhow::Error {
    let (min, max) = (LEVELS.start(), LEVELS.end());
    WrongCall(format!("--{option} is {found}, expected a number from {min:e} to {max:e}")).into()
}

/// Checks the name of a picture to write, before any work is done for it.
pub fn check_output(path: &Path) -> Result<()> {
    Picture::check_extension(path).map_err(|e| WrongCall(e.to_string()).into())
}

/// Splits `[MODEL] IMAGE...`: the first path is the model if it is a safetensors file.
pub fn split_model(paths: &[PathBuf]) -> (Option<&Path>, &[PathBuf]) {
    match paths {
        [first, rest @ ..] if first.extension().is_some_and(|e| e == "safetensors") => (Some(first), rest),
        all => (None, all),
    }
}

/// Makes sure that a picture is named.
pub fn some_images(images: &[PathBuf]) -> Result<&[PathBuf]> {
    if images.is_empty() { Err(WrongCall("no picture is given".into()).into()) } else { Ok(images) }
}

/// Adds normal noise of the level `sigma`, not clipped to the range: what a denoiser is tried on.
pub fn add_noise(picture: Picture, sigma: f64, seed: u64) -> Result<Picture> {
    if !LEVELS.contains(&sigma) {
        return Err(wrong_level("add-noise", sigma));
    }
    let eps = miyasawa::train::noise::evaluation_noise(seed, 0, 0, 1, picture.values().len());
    let (shape, values) = (picture.shape(), picture.into_values());
    let noisy = values.iter().zip(eps).map(|(value, eps)| value + sigma as f32 * eps).collect();
    Ok(Picture::new(shape, noisy)?)
}
