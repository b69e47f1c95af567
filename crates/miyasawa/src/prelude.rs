//! The types that most programs need: `use miyasawa::prelude::*;`.

pub use crate::device::DeviceSpec;
pub use crate::image::Image;
pub use crate::predictor::{
    ClassProbability, Classification, Denoised, Explanation, Noise, PredictError, Predictor,
    PredictorBuilder,
};
