//! Training: configuration, noise, optimiser, the step, and the run that ties them together.

pub mod config;
mod contrast;
pub mod cost;
mod feed;
mod files;
mod guard;
mod init;
pub mod jem;
mod log;
mod muon;
pub mod noise;
pub mod objective;
pub mod optimizer;
mod patch;
mod run;
mod speed;
pub mod state;
pub mod step;

pub use config::{Dtype, TrainConfig};
pub use files::{CheckpointConfig, discard_run, has_checkpoint, origins};
pub use guard::{DivergenceConfig, Guard};
pub use run::{BestEvaluation, Finish, Observer, Rollback, StepReport, TrainError, Trainer};
