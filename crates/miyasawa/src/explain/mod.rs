//! Explanations of a classification: the adversarial gradient as a difference of denoisers, a path
//! to another class, and the directions that the denoiser preserves.

mod difference;
mod jacobian;
mod krylov;
mod path;

pub use difference::{Explanation, explain};
pub use jacobian::{Jacobian, JacobianOptions, LevelSpectrum, Spectrum, spectrum};
pub use path::{Counterfactual, CounterfactualOptions, CounterfactualStep, counterfactual};

use burn::tensor::{Device, Int, Tensor, TensorData};

fn level(sigma: f64, device: &Device) -> Tensor<1> {
    Tensor::full([1], sigma as f32, device)
}

fn class(label: usize, device: &Device) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::new(vec![label as i32], [1]), device)
}
