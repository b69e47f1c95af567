//! Layers with hand-written adjoints.
//!
//! A [`Layer`] computes its output and, from the values that it recorded on the way, the gradient
//! for its input. Both are made of tracked operations ([`crate::ops`]), so that parameter gradients
//! of a loss on the input gradient are exact. A network built of such layers implements
//! [`EnergyNetwork`](crate::model::EnergyNetwork) and gets the classifier, the denoisers, the
//! losses, training, evaluation and the attacks from the library. `examples/own_network.rs` shows
//! one.
//!
//! ```
//! use miyasawa::{Device, burn::tensor::Tensor, model::host, nn::Linear};
//! use rand::SeedableRng;
//!
//! let (device, rng) = (Device::flex(), &mut rand_chacha::ChaCha8Rng::seed_from_u64(0));
//! let layer = Linear::new([3, 2], false, &device, rng);
//! let x = Tensor::<2>::from_floats([[1.0, -2.0, 0.5]], &device);
//! let g = Tensor::<2>::from_floats([[0.3, 0.7]], &device);
//! // <forward(x), g> = <x, adjoint(g)>
//! let [a, b] = [(layer.forward(&x) * g.clone()).sum(), (x * layer.adjoint(&g)).sum()].map(host);
//! assert!((a[0] - b[0]).abs() < 1e-5);
//! ```

mod batch_norm;
mod block;
mod conv;
mod embedding;
mod linear;
mod moments;
mod norm;

pub use batch_norm::{BatchNorm, NormLog};
pub use block::{Block, BlockTape};
pub use conv::{Conv2d, ConvTape};
pub use embedding::{NOISE_FEATURES, noise_features, noise_frequencies};
pub use linear::Linear;
pub use moments::{Moments, RunningMoments, update_running};
pub use norm::{CHANNELS_PER_GROUP, ModulatedNorm, NormObserver, NormTape, groups_of};

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use rand::{Rng, RngExt};

/// A layer on channels-last activations, `[batch, height, width, channels]`.
///
/// `embedding` describes the noise level of every image, `[batch, features]`; blind networks have
/// none.
///
/// The law that ties the two methods, for every `x`, direction `d` and cotangent `g`:
/// `<d/dt forward(x + t*d) at 0, g> = <d, adjoint(tape, g)>`.
pub trait Layer: Module {
    /// The values of the forward pass that `adjoint` needs.
    type Tape;

    /// Computes the output, and the tape for [`adjoint`](Self::adjoint).
    fn forward(&self, x: &Tensor<4>, embedding: Option<&Tensor<2>>) -> (Tensor<4>, Self::Tape);

    /// Computes the gradient for the input from the gradient `g` for the output.
    fn adjoint(&self, tape: &Self::Tape, g: &Tensor<4>) -> Tensor<4>;
}

/// A parameter drawn from `U(-1/sqrt(fan_in), 1/sqrt(fan_in))`, PyTorch's default for convolutions
/// and linear layers. Drawn on the host, so that a seed determines the network on every device.
pub fn uniform_param<const D: usize>(
    shape: [usize; D],
    fan_in: usize,
    device: &Device,
    rng: &mut impl Rng,
) -> Param<Tensor<D>> {
    let bound = 1.0 / (fan_in as f32).sqrt();
    let values: Vec<f32> =
        (0..shape.iter().product()).map(|_| rng.random_range(-bound..=bound)).collect();
    Param::from_data(TensorData::new(values, shape), device)
}

/// A parameter that holds one value everywhere.
pub fn constant_param<const D: usize>(
    shape: [usize; D],
    value: f32,
    device: &Device,
) -> Param<Tensor<D>> {
    Param::from_data(TensorData::new(vec![value; shape.iter().product()], shape), device)
}
