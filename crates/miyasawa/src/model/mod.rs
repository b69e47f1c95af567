//! Energy networks, the joint model of a noisy image and its class, and the reference models beside
//! it.

mod any;
mod architecture;
mod dncnn;
mod energy;
mod gradresnet;
mod joint;
pub mod loss;
pub mod params;
mod reference;
mod resnet;
mod unet;

/// Copies the values of a tensor to the host.
pub fn host<const D: usize>(tensor: burn::tensor::Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec::<f32>().expect("the models compute in float32")
}

/// Noise levels whose square and its inverse are finite in float32.
pub const NOISE_LEVELS: std::ops::RangeInclusive<f64> = 1e-6..=1e6;

pub use any::{Model, Predict, Prediction, Query};
pub use architecture::{Architecture, CustomNetwork, Kind};
pub use dncnn::{DnCnn, DnCnnConfig};
pub use energy::{EnergyNetwork, Outputs};
pub use gradresnet::{GradResNet, GradResNetConfig, GradResNetTape, Norm};
pub use joint::{Evaluated, JointModel};
pub use loss::ObjectiveName;
pub use reference::{DenoiserNet, PlainClassifier, PlainDenoiser};
pub use resnet::{ResNet, ResNetConfig};
pub use unet::{UNet, UNetConfig};
