use super::{EnergyNetwork, GradResNet, JointModel, PlainClassifier, PlainDenoiser};
use crate::nn::BatchNorm;
use burn::module::Module;
use burn::tensor::{Int, Tensor};

/// The quantities to compute at a batch of noisy images.
#[derive(Clone, Copy, Debug, Default)]
pub struct Query<'l> {
    /// The logits.
    pub classify: bool,
    /// `D(y)`.
    pub denoise: bool,
    /// `D(y, c)` for these classes, `[batch]`.
    pub class_conditional: Option<&'l Tensor<1, Int>>,
}

/// The results of a [`Query`]; none where a quantity was not asked for or the model has none.
#[derive(Clone, Debug, Default)]
pub struct Prediction {
    /// Class logits, `[batch, classes]`.
    pub logits: Option<Tensor<2>>,
    /// `D(y)`, `[batch, channels, height, width]`.
    pub denoised: Option<Tensor<4>>,
    /// `D(y, c)`.
    pub class_conditional: Option<Tensor<4>>,
}

/// A model of noisy images `y`, `[batch, channels, height, width]`, at noise levels `sigma`,
/// `[batch]`.
pub trait Predict {
    /// Computes the quantities of the query that the model has.
    fn predict(&self, y: &Tensor<4>, sigma: &Tensor<1>, query: &Query<'_>) -> Prediction;
}

impl<N: EnergyNetwork> Predict for JointModel<N> {
    fn predict(&self, y: &Tensor<4>, sigma: &Tensor<1>, query: &Query<'_>) -> Prediction {
        let point = self.at(y, sigma);
        Prediction {
            logits: query.classify.then(|| point.logits().clone()),
            denoised: query.denoise.then(|| point.denoised()),
            class_conditional: query
                .class_conditional
                .map(|labels| point.class_conditional_denoised(labels)),
        }
    }
}

impl<P: Predict + ?Sized> Predict for &P {
    fn predict(&self, y: &Tensor<4>, sigma: &Tensor<1>, query: &Query<'_>) -> Prediction {
        (**self).predict(y, sigma, query)
    }
}

/// A trained or trainable model of any kind.
#[derive(Module, Debug)]
pub enum Model {
    /// Classifier, denoiser and density in one network.
    Joint(JointModel<GradResNet>),
    /// A classifier alone.
    Classifier(PlainClassifier),
    /// A denoiser alone.
    Denoiser(PlainDenoiser),
}

impl Model {
    /// The joint model, if it is one.
    pub fn joint(&self) -> Option<&JointModel<GradResNet>> {
        match self {
            Self::Joint(model) => Some(model),
            _ => None,
        }
    }

    /// The batch normalisations in the order of the forward pass; the joint model has none.
    pub fn norms(&mut self) -> Vec<&mut BatchNorm> {
        match self {
            Self::Joint(_) => Vec::new(),
            Self::Classifier(model) => model.net.norms(),
            Self::Denoiser(model) => model.net.norms(),
        }
    }
}

impl Predict for Model {
    fn predict(&self, y: &Tensor<4>, sigma: &Tensor<1>, query: &Query<'_>) -> Prediction {
        match self {
            Self::Joint(model) => model.predict(y, sigma, query),
            Self::Classifier(model) => Prediction {
                logits: query.classify.then(|| model.logits(y, None)),
                ..Prediction::default()
            },
            Self::Denoiser(model) => Prediction {
                denoised: query.denoise.then(|| model.denoised(y, sigma, None)),
                ..Prediction::default()
            },
        }
    }
}
