use super::PredictError;
use crate::image::Image;
use crate::metrics;
use serde::{Deserialize, Serialize};

/// A class and its probability.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassProbability {
    /// The class's name.
    pub class: String,
    /// Its number.
    pub index: usize,
    /// `p(c | y)`.
    pub probability: f32,
}

/// The result of [`Predictor::classify`](super::Predictor::classify).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Classification {
    /// The image's noise level.
    pub sigma: f64,
    /// All classes, the most probable first.
    pub classes: Vec<ClassProbability>,
}

impl Classification {
    pub(super) fn new(sigma: f64, probs: &[f32], names: &[String]) -> Result<Self, PredictError> {
        if probs.is_empty() || probs.len() != names.len() || probs.iter().any(|p| !p.is_finite()) {
            return Err(PredictError::NotFinite { sigma });
        }
        let class = |index: usize| ClassProbability {
            class: names[index].clone(),
            index,
            probability: probs[index],
        };
        Ok(Self {
            sigma,
            classes: metrics::top(probs, probs.len()).into_iter().map(class).collect(),
        })
    }

    /// The most probable class.
    pub fn best(&self) -> &ClassProbability {
        &self.classes[0]
    }

    /// The `n` most probable classes, or all if there are fewer.
    pub fn top(&self, n: usize) -> &[ClassProbability] {
        &self.classes[..n.min(self.classes.len())]
    }

    /// The same result with only the `n` most probable classes, at least one.
    #[must_use]
    pub fn truncated(mut self, n: usize) -> Self {
        self.classes.truncate(n.max(1));
        self
    }

    /// The probability of the class with this number.
    pub fn probability(&self, index: usize) -> Option<f32> {
        self.classes.iter().find(|class| class.index == index).map(|class| class.probability)
    }
}

/// The result of [`Predictor::denoise`](super::Predictor::denoise).
#[derive(Clone, Debug, PartialEq)]
pub struct Denoised {
    /// The noise level that was removed: given, or estimated.
    pub sigma: f64,
    pub(super) image: Image,
}

impl Denoised {
    /// The denoised image. Its values are not clipped to [-1, 1].
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// The denoised image.
    pub fn into_image(self) -> Image {
        self.image
    }
}
