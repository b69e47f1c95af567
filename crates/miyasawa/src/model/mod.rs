//! Energy networks, the joint model of a noisy image and its class, and the reference models beside
//! it.
//!
//! ```
//! use miyasawa::model::{GradResNetConfig, JointModel, host};
//! use miyasawa::{Device, burn::tensor::Tensor};
//!
//! let device = Device::flex();
//! let net = GradResNetConfig { width: 8, blocks: vec![1, 1], ..GradResNetConfig::new(1, 10) };
//! let model = JointModel::new(net.init(&device, 0), 0.5);
//! let y = Tensor::<4>::ones([2, 1, 8, 8], &device);
//! let sigma = Tensor::<1>::full([2], 0.2, &device);
//!
//! let point = model.at(&y, &sigma); // one forward pass, from which everything follows
//! let probs = host(point.class_probs());
//! assert!((probs[..10].iter().sum::<f32>() - 1.0).abs() < 1e-5);
//! // D(y) = y + sigma^2 grad log p(y)
//! let (denoised, score) = (host(point.denoised()), host(point.score()));
//! assert_eq!(denoised.len(), score.len());
//! ```

mod any;
mod architecture;
mod dncnn;
mod energy;
mod gradresnet;
mod joint;
pub mod loss;
pub mod params;
mod penultimate;
mod reference;
mod resnet;
mod unet;
mod views;

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
pub use penultimate::Penultimate;
pub use reference::{DenoiserNet, PlainClassifier, PlainDenoiser};
pub use resnet::{ResNet, ResNetConfig};
pub use unet::{UNet, UNetConfig};
pub use views::{VIEWS, Views};
