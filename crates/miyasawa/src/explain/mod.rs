//! Explanations of a classification: the adversarial gradient as a difference of denoisers, a path
//! to another class, and the directions that the denoiser preserves.
//!
//! ```
//! use miyasawa::explain::{CounterfactualOptions, counterfactual, explain};
//! use miyasawa::model::{GradResNetConfig, JointModel};
//! use miyasawa::{Device, prelude::*};
//!
//! // An untrained network, to be quick; `Predictor::explain` takes any image.
//! let device = Device::flex();
//! let net = GradResNetConfig { width: 8, blocks: vec![1], ..GradResNetConfig::new(1, 10) };
//! let model = JointModel::new(net.init(&device, 0), 0.5);
//! let image = Image::filled(1, 8, 8, 0.2)?.with_noise(0.3, 1)?;
//!
//! let why = explain(&model, &image, 0.2, &[3], &device).remove(0);
//! assert!(why.relative_error < 1e-3); // D(y, c) - D(y) against reverse-mode autodiff
//!
//! let options =
//!     CounterfactualOptions { sigma: 0.2, label: 3, step: 0.1, steps: 4, confidence: 0.99 };
//! let path = counterfactual(&model, &image, &options, &device);
//! assert!(path.steps.last().unwrap().probs[3] > path.steps[0].probs[3]);
//! # Ok::<(), miyasawa::image::ImageError>(())
//! ```

mod difference;
mod jacobian;
mod krylov;
mod path;

pub use difference::{Explanation, explain};
pub use jacobian::{Jacobian, JacobianOptions, LevelSpectrum, Spectrum, spectrum};
pub use path::{Counterfactual, CounterfactualOptions, CounterfactualStep, counterfactual};

use crate::infer::{class_tensor as class, sigma_tensor as level};
