//! What a checkpoint says of its model besides the parameters.

use super::{CheckpointError, Opened};
use crate::image::{CROP_SHARE, Geometry, Image, ImageError, ResizeMode, resize_image};
use crate::model::{Architecture, NOISE_LEVELS, ObjectiveName};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The data that a model was trained on, and how its images are scaled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataInfo {
    /// The DATA argument or a name.
    pub name: String,
    /// Channels of an image, 1 or 3.
    pub channels: usize,
    /// Height of an image.
    pub height: usize,
    /// Width of an image.
    pub width: usize,
    /// Class names, in the order of the logits.
    pub classes: Vec<String>,
    /// Mean of the training set, in the [-1, 1] range.
    pub mean: f64,
    /// Standard deviation of the training set in the [-1, 1] range: the model's `sigma_data`.
    pub std: f64,
    /// How images of other sizes were resized to this one.
    #[serde(default)]
    pub fit: ResizeMode,
    /// The share of the shorter side that `resize_crop` kept.
    #[serde(default = "crop_share")]
    pub crop_share: f64,
    /// The fingerprint of the set of which a tenth was held out from training; nothing if there was
    /// a separate test set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out_of: Option<String>,
}

impl DataInfo {
    /// Channels and size of an image.
    pub fn geometry(&self) -> Geometry {
        Geometry::new(self.channels, self.height, self.width)
    }

    /// Converts an image to the model's channels and resizes it to the model's size, as in training
    /// (see [`resize_image`]).
    ///
    /// # Errors
    /// If the model has no channels or size that an image can have.
    pub fn fitted(&self, image: &Image) -> Result<Image, ImageError> {
        resize_image(image, self.geometry(), self.fit, self.crop_share)
    }
}

fn crop_share() -> f64 {
    CROP_SHARE
}

/// The description of a model in its checkpoint: everything except the parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// The network.
    pub network: Architecture,
    /// The data.
    pub data: DataInfo,
    /// Smallest and largest noise level that it was trained on; `classify` works at the smallest.
    pub sigma: [f64; 2],
    /// How it was trained so far.
    pub training: TrainingInfo,
}

impl ModelInfo {
    /// The description of a network whose parameters are random or come from another program:
    /// images of `[height, width]`, classes called `class 0` and so on, data with the mean 0 and
    /// the standard deviation 0.5, noise levels from 0.02 to 1, no training. What is known
    /// otherwise is set in the fields.
    ///
    /// ```
    /// use miyasawa::checkpoint::ModelInfo;
    /// use miyasawa::model::{Architecture, GradResNetConfig};
    ///
    /// let network = Architecture::GradResNet(GradResNetConfig::new(3, 10));
    /// let info = ModelInfo { sigma: [0.05, 0.5], ..ModelInfo::new(network, [32, 32]) };
    /// assert_eq!((info.data.channels, info.data.classes.len()), (3, 10));
    /// assert!(info.validate().is_ok() && info.classifies());
    /// ```
    pub fn new(network: Architecture, [height, width]: [usize; 2]) -> Self {
        let classes = network.classes().unwrap_or(1);
        let data = DataInfo {
            name: "none".to_owned(),
            channels: network.channels(),
            height,
            width,
            classes: (0..classes).map(|class| format!("class {class}")).collect(),
            mean: 0.0,
            std: 0.5,
            fit: ResizeMode::default(),
            crop_share: CROP_SHARE,
            held_out_of: None,
        };
        Self { network, data, sigma: [0.02, 1.0], training: TrainingInfo::default() }
    }

    /// Whether it was trained to classify.
    pub fn classifies(&self) -> bool {
        self.network.classes().is_some_and(|classes| classes > 1) && self.learned(0)
    }

    /// Whether it was trained to denoise.
    pub fn denoises(&self) -> bool {
        self.network.kind().denoises() && self.learned(1)
    }

    /// Whether a loss had a weight; a model of unknown training is taken to have learned all that
    /// its network computes.
    fn learned(&self, loss: usize) -> bool {
        let weights = self.training.loss_weights;
        weights[loss] > 0.0 || weights == [0.0; 2]
    }

    /// Reads it from a file's metadata.
    pub(crate) fn read(file: &Opened<'_>, path: &Path) -> Result<Self, CheckpointError> {
        let format = |found| CheckpointError::Format { path: path.to_owned(), found };
        let info: Self =
            serde_json::from_str(file.entry("info", path)?).map_err(|e| format(e.to_string()))?;
        info.validate().map_err(format)?;
        Ok(info)
    }

    /// Checks the values: a checkpoint with invalid ones is neither written nor read.
    ///
    /// # Errors
    /// The first value that is out of range or contradicts another, in words.
    pub fn validate(&self) -> Result<(), String> {
        self.network.validate()?;
        let (net, data, [min, max]) = (&self.network, &self.data, self.sigma);
        if !matches!(data.channels, 1 | 3) || data.channels != net.channels() {
            let (of_data, of_net) = (data.channels, net.channels());
            return Err(format!(
                "the data has {of_data} channels and the network {of_net}, expected 1 or 3"
            ));
        }
        if let Some(classes) = net.classes().filter(|classes| *classes != data.classes.len()) {
            let names = data.classes.len();
            return Err(format!("{names} class names for {classes} classes"));
        }
        let pixels = data.height.checked_mul(data.width).unwrap_or(0);
        if pixels == 0 || pixels as u64 > crate::image::MAX_PIXELS {
            return Err(format!("images of {}x{}, expected at least 1x1", data.height, data.width));
        }
        if !(data.std > 0.0 && (data.std as f32).is_normal()) {
            let std = data.std;
            return Err(format!(
                "the data's standard deviation is {std}, expected a number above 0"
            ));
        }
        if !(data.crop_share > 0.0 && data.crop_share <= 1.0) {
            return Err(format!(
                "a crop share of {}, expected above 0 and at most 1",
                data.crop_share
            ));
        }
        if !data.mean.is_finite() {
            return Err(format!("the data's mean is {}, expected a number", data.mean));
        }
        let (least, most) = (*NOISE_LEVELS.start(), *NOISE_LEVELS.end());
        let smallest = if net.is_blind() { 0.0 } else { least };
        if !(min >= smallest && min <= max && max <= most) {
            return Err(format!(
                "noise levels from {min} to {max}, expected {smallest:e} to {most:e} in ascending \
                 order"
            ));
        }
        Ok(())
    }
}

/// How a model was trained so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainingInfo {
    /// Optimiser steps.
    pub steps: u64,
    /// Images trained on, with repetitions.
    pub images: u64,
    /// Seed of the run.
    pub seed: u64,
    /// Weights of cross-entropy and denoising score matching.
    pub loss_weights: [f64; 2],
    /// How a joint density was learned.
    #[serde(default)]
    pub objective: ObjectiveName,
    /// Share of the images that were made grey, with the same noise in all channels.
    #[serde(default, skip_serializing_if = "is_none_of_them")]
    pub grey: f64,
    /// Share of the noisy images that were rounded and clipped as files of 8 bits hold them.
    #[serde(default, skip_serializing_if = "is_none_of_them")]
    pub stored: f64,
    /// Share of the images that had the noise of a simulated camera.
    #[serde(default, skip_serializing_if = "is_none_of_them")]
    pub camera: f64,
    /// Version of this program.
    pub version: String,
}

fn is_none_of_them(share: &f64) -> bool {
    *share == 0.0
}
