//! What is learned from, and how images are changed and measured.

use crate::data::{Augment, CROP_SHARE, OpenOptions, Padding, ResizeMode, Streaming};
use serde::{Deserialize, Serialize};

/// What is learned from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// A DATA argument for training.
    pub train: String,
    /// A DATA argument for evaluation; left out, the test part of `train`.
    pub test: Option<String>,
    /// Height and width that images are resized to; left out, their own.
    pub size: Option<[usize; 2]>,
    /// How: `pad` with black, `pad_edge`, `resize`, or `resize_crop` as networks for ImageNet are
    /// evaluated.
    pub fit: ResizeMode,
    /// What `resize_crop` keeps of the shorter side: 0.875 is 224 of 256.
    pub crop_share: f64,
    /// Channels that images are converted to, 1 or 3; left out, their own.
    pub channels: Option<usize>,
    /// Train on this many images only, evenly spaced over the set.
    pub limit: Option<usize>,
    /// Forget the classes: every image is of the one class `image`.
    pub unlabelled: bool,
    /// Whether images are decoded whenever they are needed: `auto` (where they would take more
    /// than 1 GiB), `always` or `never`.
    pub stream: Streaming,
    /// Threads that read and decode a stream ahead of the steps; left out, as many as compute.
    pub workers: Option<usize>,
    /// Batches of a stream that are prepared ahead of the step.
    pub prefetch: usize,
    /// Read shards from their beginnings to their ends, in a random order and through a shuffle
    /// buffer of this many images: for disks on which jumping is slow. Left out, the entire set is
    /// shuffled.
    pub shuffle_buffer: Option<usize>,
    /// Images that may be corrupt: each is named; in training the next intact one replaces it,
    /// in evaluations none.
    pub max_broken: usize,
    /// Images of a stream that its mean and standard deviation are measured on.
    pub sample: usize,
    /// What `--dry-run` takes the data to be, so that it need not be there.
    pub assume: Option<AssumedData>,
}

/// A data set as far as the cost of a run depends on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssumedData {
    /// Training images.
    #[serde(rename = "pictures")]
    pub images: usize,
    /// Channels of an image, 1 or 3.
    pub channels: usize,
    /// Height of an image; `data.size` comes first.
    pub height: usize,
    /// Width of an image.
    pub width: usize,
    /// Number of classes.
    pub classes: usize,
}

impl Default for DataConfig {
    fn default() -> Self {
        let OpenOptions { max_corrupt: max_broken, sample, .. } = OpenOptions::default();
        Self {
            train: "digits".to_owned(),
            test: None,
            size: None,
            fit: ResizeMode::Pad,
            crop_share: CROP_SHARE,
            channels: None,
            limit: None,
            unlabelled: false,
            stream: Streaming::Auto,
            workers: None,
            prefetch: 2,
            shuffle_buffer: None,
            max_broken,
            sample,
            assume: None,
        }
    }
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// Random changes of the images.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AugmentConfig {
    /// Cut out a random part whose share of the image lies in this range and resize it, `[0.08,
    /// 1.0]` for ImageNet (Szegedy et al. 2015).
    pub resized_crop: Option<[f64; 2]>,
    /// Mirror every second image. Where none of `flip`, `crop`, `resized_crop` and `patch` is
    /// given, the data decide: colour images in folders, archives, CIFAR and Tiny ImageNet are
    /// flipped, and cropped by an eighth of the shorter side; others are not. A run writes down
    /// what was decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flip: Option<bool>,
    /// Crop out of the image padded by this many pixels on each side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crop: Option<usize>,
    /// What the padding holds, `zero` or `reflect`.
    pub padding: Padding,
    /// Learn from random squares of this side out of the images, which may have any sizes;
    /// smaller ones are left out. Without `crop` and `resized_crop`.
    pub patch: Option<usize>,
    /// Turn patches by random multiples of 90 degrees.
    pub rotate: bool,
    /// Make a square of this side grey at a random place, 0 for none (DeVries & Taylor 2017,
    /// "Improved regularization of convolutional neural networks with cutout"). It also teaches a
    /// denoiser grey squares: a joint model takes `classification.cutout`.
    #[serde(skip_serializing_if = "is_zero")]
    pub cutout: usize,
    /// Share of the colour images that are made grey, with the same noise in all channels: how a
    /// grey image goes through a model of colour images.
    pub grey: f64,
    /// Share of the images whose contrast is reduced, half of them to a constant, about a random
    /// colour: what a data set of photographs lacks, and what a denoiser meets in skies, walls and
    /// micrographs. They have no part in the cross-entropy.
    pub low_contrast: f64,
}

impl AugmentConfig {
    /// As the data module takes it.
    pub fn augment(&self) -> Augment {
        let Self { resized_crop, flip, crop, padding, rotate, cutout, .. } = *self;
        let (flip, crop) = (flip.unwrap_or(false), crop.unwrap_or(0));
        Augment { resized_crop, flip, crop, crop_padding: padding, rotate, cutout, affine: 0.0 }
    }

    /// Whether the data decide on flips and crops.
    pub fn is_auto(&self) -> bool {
        let Self { resized_crop, flip, crop, patch, .. } = self;
        flip.is_none() && crop.is_none() && resized_crop.is_none() && patch.is_none()
    }

    /// Decides what is left out, so that it can be written down, and says whether the data did so.
    /// Natural photographs of `[height, width]` get flips, and crops by an eighth of the shorter
    /// side out of the image mirrored at its border (He et al. 2016 crop CIFAR so, by 4 of 32);
    /// anything else gets neither.
    pub(in crate::train) fn resolve(
        &mut self,
        photographs: bool,
        [height, width]: [usize; 2],
    ) -> bool {
        let chosen = self.is_auto() && photographs;
        if chosen {
            (self.flip, self.crop) = (Some(true), Some(height.min(width) / 8));
            self.padding = Padding::Reflect;
        }
        self.flip.get_or_insert(false);
        self.crop.get_or_insert(0);
        chosen
    }

    /// What the data decided, for people.
    pub(in crate::train) fn describe(&self) -> String {
        format!(
            "colour images are flipped and cropped at random (augment.flip=true, augment.crop={}); \
             --set augment.flip=false where left and right mean something",
            self.crop.unwrap_or(0)
        )
    }
}

/// What is measured on the way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvalConfig {
    /// Noise levels.
    pub sigmas: Vec<f64>,
    /// Images of the evaluations during training; the last one takes all, if `all_at_end` says
    /// so.
    pub limit: usize,
    /// Whether the last evaluation takes all images.
    pub all_at_end: bool,
    /// Steps between evaluations; left out, an epoch.
    pub every: Option<u64>,
}

impl Default for EvalConfig {
    fn default() -> Self {
        Self { sigmas: vec![0.02, 0.1, 0.2, 0.4, 1.0], limit: 1000, all_at_end: true, every: None }
    }
}
