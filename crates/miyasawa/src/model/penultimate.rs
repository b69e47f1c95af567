use super::{EnergyNetwork, JointModel, Model, PlainClassifier};
use crate::nn::Linear;
use burn::tensor::Tensor;

/// A classifier whose logits are a linear layer, the class head, on features: `f = W h + b`.
///
/// ```
/// use miyasawa::model::{GradResNetConfig, JointModel, Penultimate, host};
/// use miyasawa::{Device, burn::tensor::Tensor};
///
/// let device = Device::flex();
/// let net = GradResNetConfig { width: 8, blocks: vec![1, 1], ..GradResNetConfig::new(1, 10) };
/// let model = JointModel::new(net.init(&device, 0), 0.5);
/// let (y, sigma) = (Tensor::ones([2, 1, 8, 8], &device), Tensor::full([2], 0.2, &device));
///
/// // The features of both stages: 8 + 16 channels.
/// let features = model.features(&y, &sigma).unwrap();
/// assert_eq!(features.dims(), [2, 24]);
/// let logits = model.class_head().unwrap().forward(&features);
/// assert_eq!(host(logits), host(model.at(&y, &sigma).logits().clone()));
/// ```
pub trait Penultimate {
    /// The features of noisy images `y`, `[batch, channels, height, width]`, at noise levels
    /// `sigma`, `[batch]`: `[batch, features]`, by a forward pass. None of a model that has none.
    fn features(&self, y: &Tensor<4>, sigma: &Tensor<1>) -> Option<Tensor<2>>;

    /// The class head, `W` and `b`.
    fn class_head(&self) -> Option<&Linear>;
}

impl<N: EnergyNetwork> Penultimate for JointModel<N> {
    fn features(&self, y: &Tensor<4>, sigma: &Tensor<1>) -> Option<Tensor<2>> {
        self.at(y, sigma).features()
    }

    fn class_head(&self) -> Option<&Linear> {
        self.net.class_head()
    }
}

impl Penultimate for PlainClassifier {
    fn features(&self, y: &Tensor<4>, _: &Tensor<1>) -> Option<Tensor<2>> {
        Some(self.net.features(&y.clone().permute([0, 2, 3, 1]), None))
    }

    fn class_head(&self) -> Option<&Linear> {
        Some(self.net.class_head())
    }
}

impl Penultimate for Model {
    fn features(&self, y: &Tensor<4>, sigma: &Tensor<1>) -> Option<Tensor<2>> {
        match self {
            Self::Joint(model) => model.features(y, sigma),
            Self::Classifier(model) => model.features(y, sigma),
            Self::Denoiser(_) => None,
        }
    }

    fn class_head(&self) -> Option<&Linear> {
        match self {
            Self::Joint(model) => model.class_head(),
            Self::Classifier(model) => model.class_head(),
            Self::Denoiser(_) => None,
        }
    }
}
