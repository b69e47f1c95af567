//! What the cross-entropy alone learns from.

use super::{AugmentConfig, NoiseConfig};
use crate::classifier::Norm;
use crate::data::Augment;
use serde::{Deserialize, Serialize};

/// Images that the cross-entropy alone learns from, besides those of `schedule.batch`: a batch of
/// its own in every step, whose augmentation may be stronger than a density should see (Guo et al.
/// 2023, "EGC: Image generation and classification via a diffusion energy-based model"). Each
/// costs three passes through the convolutions where an image of a joint model costs six. Weighed
/// by `loss.class_ce_weight`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClassificationConfig {
    /// Images in every step; 0 for none.
    pub batch: usize,
    /// Share of them that gets the smallest noise level.
    pub share_at_min: f64,
    /// Largest noise level; left out, `noise.max`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_noise: Option<f64>,
    /// Crop out of the image padded by this many pixels; left out, as `augment.crop`. Mirroring
    /// and padding are those of `[augment]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crop: Option<usize>,
    /// Cut out a random part whose share of the image lies in this range and resize it; left out,
    /// as `augment.resized_crop`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resized_crop: Option<[f64; 2]>,
    /// Make a square of this side grey at a random place; 0 for none.
    pub cutout: usize,
    /// Strength of a random affine map: turns by up to 30 degrees times this, shears by up to 0.3
    /// times this, scales by up to `exp(0.3)` times this in the exponent; 0 for none.
    pub affine: f64,
}

impl Default for ClassificationConfig {
    fn default() -> Self {
        Self {
            batch: 0,
            share_at_min: 0.5,
            max_noise: None,
            crop: None,
            resized_crop: None,
            cutout: 0,
            affine: 0.0,
        }
    }
}

impl ClassificationConfig {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// How these images are changed, where the others are changed by `augment`.
    pub(in crate::train) fn augment(&self, augment: &AugmentConfig) -> Augment {
        let all = augment.augment();
        let Self { cutout, affine, .. } = *self;
        let (crop, area) = (self.crop.unwrap_or(all.crop), self.resized_crop.or(all.resized_crop));
        Augment { crop, resized_crop: area, cutout, affine, ..all }
    }

    /// Their noise levels, where those of the others are drawn by `noise`.
    pub(in crate::train) fn noise(&self, noise: &NoiseConfig) -> NoiseConfig {
        let (max, share_at_min) = (self.max_noise.unwrap_or(noise.max), self.share_at_min);
        NoiseConfig { max, share_at_min, stored: 0.0, camera: 0.0, ..noise.clone() }
    }
}

/// Adversarial training (Madry et al. 2018, "Towards deep learning models resistant to adversarial
/// attacks"): images are attacked by projected gradient descent on the cross-entropy of the network
/// as it is, and the cross-entropy learns from what the attack found. A joint model attacks the
/// images of `[classification]`, a plain classifier all images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdversarialConfig {
    /// Gradient steps of the attack; 0 for no attack. Each costs two passes through the
    /// convolutions.
    pub steps: usize,
    /// How changes are measured, `l2` or `linf`.
    pub norm: Norm,
    /// Largest change, in units of the [0, 1] range; left out, 0.5 in L2 and 8/255 in Linf.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eps: Option<f64>,
    /// Length of a step as a share of `eps`; left out, 2.5 over the number of steps, at most 1.25.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_share: Option<f64>,
}

impl Default for AdversarialConfig {
    fn default() -> Self {
        Self { steps: 0, norm: Norm::L2, eps: None, step_share: None }
    }
}

impl AdversarialConfig {
    /// Largest change, in units of the [0, 1] range.
    pub fn eps(&self) -> f64 {
        let usual = match self.norm {
            Norm::L2 => 0.5,
            Norm::Linf => 8.0 / 255.0,
        };
        self.eps.unwrap_or(usual)
    }

    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
