//! Training: configuration, noise, optimiser, the step, and the run that ties them together.

pub mod config;
mod feed;
mod files;
pub mod noise;
pub mod optimizer;
mod run;
pub mod step;

pub use config::{Dtype, TrainConfig};
pub use files::TrainState;
pub use run::{Finish, Observer, StepReport, TrainError, Trainer};
