//! Classification-denoising networks: one network models the joint density of a noisy image and its
//! class.
//!
//! Classifying is a forward pass and a softmax; denoising is the Tweedie-Miyasawa formula, the
//! gradient of the same network; training joins cross-entropy with denoising score matching, with
//! exact gradients.
//!
//! # Start here
//!
//! [`Predictor`](predictor::Predictor) uses a model, [`Trainer`](train::Trainer) makes one; the
//! [`prelude`] has both. The other modules are for work on tensors, attacks and measurements.
//!
//! ```
//! use miyasawa::prelude::*;
//!
//! let model = Predictor::bundled()?;
//! let noisy = Image::filled(3, 32, 32, 0.2)?.with_noise(0.1, 0)?; // or Image::open("noisy.png")?
//! println!("{:?}", model.classify(&noisy, Noise::Estimate)?.top(3));
//! let clean = model.denoise(&noisy, Noise::Estimate)?.into_image();
//! let why = model.explain(&noisy, model.class("ship")?)?; // D(y, c) - D(y)
//! # assert_eq!((clean.shape(), why.difference.shape()), (noisy.shape(), (3, 32, 32)));
//! # Ok::<(), PredictError>(())
//! ```
//!
//! | module | content |
//! | --- | --- |
//! | [`predictor`], [`prelude`] | a model with all that is needed to use it |
//! | [`ops`] | the operations, closed under differentiation, on every device |
//! | [`nn`] | layers with hand-written adjoints |
//! | [`model`] | energy networks, the joint model, losses |
//! | [`train`], [`eval`], [`attack`], [`metrics`] | training, evaluation, attacks, their measures |
//! | [`data`], [`image`], [`checkpoint`] | data sets, image files, model files |
//! | [`certify`], [`calibrate`], [`ood`], [`explain`], [`trust`] | whether to trust a prediction |
//! | [`report`], [`demo`], [`compare`] | figures and pages, a demonstration, models side by side |
//! | [`experiment`] | the errors of the last two |
//! | [`verify`], [`mod@bench`] | correctness and speed |
//!
//! # Features
//!
//! The first four are on by default. Without them (`default-features = false`) the library opens,
//! uses and verifies models.
//!
//! | feature | modules |
//! | --- | --- |
//! | none | [`predictor`], [`checkpoint`], [`model`], [`classifier`], [`explain`], [`verify`] |
//! | | [`image`]: PNG and JPEG |
//! | `train` | [`train`], [`mod@bench`], [`data`], [`eval`] |
//! | `robustness` | [`attack`], [`certify`], [`calibrate`], [`ood`], [`data`], [`eval`] |
//! | `report` | [`report`], figures with captions (`image::Grid`) |
//! | `codecs` | WebP, TIFF, BMP, QOI and PNM, and GIF to read |
//! | `jpeg-xl` | JPEG XL, to read |
//! | `openexr` | OpenEXR |
//! | `onnx` | `onnx`: models as graphs for other runtimes |
//! | `robustness`, `report` | [`trust`] |
//! | `train`, `robustness`, `report` | [`compare`], [`demo`], [`experiment`] |
//!
//! # The joint model on tensors
//!
//! ```
//! use miyasawa::{Device, model::{GradResNetConfig, JointModel}};
//! use burn::tensor::Tensor;
//!
//! let device = Device::flex();
//! let config = GradResNetConfig { width: 8, blocks: vec![1, 1], ..GradResNetConfig::new(1, 10) };
//! let model = JointModel::new(config.init(&device, 0), 0.5);
//! let y = Tensor::<4>::zeros([1, 1, 8, 8], &device);
//! let sigma = Tensor::<1>::full([1], 0.2, &device);
//! let evaluated = model.at(&y, &sigma);
//! assert_eq!(evaluated.class_probs().dims(), [1, 10]);
//! assert_eq!(evaluated.denoised().dims(), [1, 1, 8, 8]);
//! ```
#![deny(unsafe_code)]

pub mod atomic;
#[cfg(feature = "robustness")]
pub mod attack;
#[cfg(feature = "train")]
pub mod bench;
pub mod bundled;
#[cfg(feature = "robustness")]
pub mod calibrate;
#[cfg(feature = "robustness")]
pub mod certify;
pub mod checkpoint;
pub mod classifier;
#[cfg(all(feature = "train", feature = "robustness", feature = "report"))]
pub mod compare;
#[cfg(feature = "data")]
pub mod data;
#[cfg(all(feature = "train", feature = "robustness", feature = "report"))]
pub mod demo;
pub mod device;
mod digest;
mod eigen;
#[cfg(feature = "data")]
pub mod eval;
#[cfg(all(feature = "train", feature = "robustness", feature = "report"))]
pub mod experiment;
pub mod explain;
#[cfg(feature = "train")]
#[doc(hidden)]
pub mod fuzzing;
pub mod image;
mod infer;
pub mod metrics;
pub mod model;
pub mod nn;
mod normal;
#[cfg(feature = "onnx")]
pub mod onnx;
#[cfg(feature = "robustness")]
pub mod ood;
pub mod ops;
mod parallel;
pub mod predictor;
pub mod prelude;
pub mod progress;
pub mod random;
pub mod range;
pub mod ranks;
#[cfg(feature = "report")]
pub mod report;
#[cfg(feature = "train")]
pub mod train;
#[cfg(all(feature = "robustness", feature = "report"))]
pub mod trust;
pub mod verify;

pub use burn::tensor::Device;

// Their types are part of this library's signatures: another version of them has other types.
pub use {burn, rand};

/// Returns the name of the instruction set that the CPU kernels run on.
///
/// # Panics
/// If `MIYASAWA_ISA` names one that is not available, as every operation does;
/// [`device::DeviceSpec::open`] returns that as an error.
pub fn isa_name() -> String {
    miyasawa_kernels::isa::Isa::current().to_string()
}

#[cfg(doctest)]
mod book;
