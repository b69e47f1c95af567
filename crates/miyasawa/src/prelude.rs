//! The types that most programs need: `use miyasawa::prelude::*;`.
//!
//! | task | types |
//! | --- | --- |
//! | use a model | [`Predictor`], [`Image`], [`Noise`], [`DeviceSpec`] and the results |
//! | train one | [`Trainer`], [`TrainConfig`], [`Dataset`], [`Geometry`] |
//! | watch and stop long work | [`Progress`], [`Monitor`] |
//! | attack a classifier | [`Classifier`], [`Defence`], [`Pgd`], [`Norm`] |
//!
//! Training needs the feature `train`, attacks the feature `robustness`; both are on by default.
//!
//! ```
//! use miyasawa::prelude::*;
//!
//! let model = Predictor::bundled()?;
//! let image = Image::filled(3, 32, 32, 0.2)?;
//! assert_eq!(model.classify(&image, Noise::Clean)?.top(3).len(), 3);
//! assert_eq!(model.denoise(&image, Noise::Level(0.1))?.image().shape(), (3, 32, 32));
//! # Ok::<(), PredictError>(())
//! ```

#[cfg(feature = "robustness")]
pub use crate::attack::Pgd;
pub use crate::bundled::BundledModel;
pub use crate::classifier::{Classifier, Defence, Norm};
#[cfg(feature = "data")]
pub use crate::data::Dataset;
pub use crate::device::DeviceSpec;
pub use crate::image::{Geometry, Image};
pub use crate::predictor::{
    ClassProbability, Classification, Denoised, Explanation, Noise, PredictError, Predictor,
    PredictorBuilder, Strength, UncertaintyOptions,
};
pub use crate::progress::{Monitor, Progress};
#[cfg(feature = "train")]
pub use crate::train::{TrainConfig, Trainer};
