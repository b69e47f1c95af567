//! Training: from a configuration or a few lines of Rust to a model.
//!
//! [`Trainer::builder`] is the front door: data (by name, or arrays as a
//! [`Dataset`](crate::data::Dataset)), a [`TrainConfig`], a folder if the run should be written
//! down, a network of one's own if you have one. [`Trainer::train`] returns a [`Trained`] model.
//! Long runs are watched and stopped by a [`Monitor`](crate::progress::Monitor), or in detail by an
//! [`Observer`].
//!
//! Inside, a step goes this way: data loader -> objective ([`objective`], [`joint`], [`jem`]),
//! which works on the [`parts`] of a batch -> [`Reduce`], which sums their gradients ->
//! [`optimizer`] -> divergence check -> log and checkpoint ([`state`]).
//!
//! ```
//! use miyasawa::prelude::*;
//!
//! // Embedded digits, a very small network, three steps.
//! let trainer = Trainer::builder()
//!     .configure(|config| {
//!         config.network.width = 8;
//!         config.network.blocks = vec![1];
//!         config.data.limit = Some(64);
//!         config.schedule.batch = 32;
//!         config.schedule.steps = Some(3);
//!         config.eval.limit = 16;
//!         config.eval.all_at_end = false;
//!     })
//!     .build()?;
//! let trained = trainer.train()?;
//! let model = Predictor::builder().from_checkpoint(trained.checkpoint, "digits")?;
//! assert_eq!(model.classes().len(), 10);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(feature = "robustness")]
pub mod adversarial;
#[cfg(not(feature = "robustness"))]
#[path = "no_adversarial.rs"]
pub mod adversarial;
mod builder;
pub mod config;
mod contrast;
pub mod cost;
mod divergence;
mod error;
mod files;
mod growth;
mod init;
pub mod jem;
pub mod joint;
mod learner;
mod loader;
mod log;
mod muon;
pub mod noise;
pub mod objective;
mod observer;
pub mod optimizer;
pub mod parts;
#[cfg(test)]
mod rank_tests;
mod reduce;
mod run;
mod speed;
pub mod state;
mod tensorboard;
#[cfg(test)]
mod tests;

pub use builder::{CustomTrainerBuilder, TrainerBuilder};
pub use config::{Dtype, TrainConfig};
pub use divergence::{DivergenceConfig, LossBound};
pub use error::TrainError;
pub use files::{CheckpointConfig, discard_run, has_checkpoint, origins};
pub use learner::{Learner, StepContext};
pub use observer::{BestEvaluation, Finish, Observer, Rollback, StepReport};
pub use parts::{Batch, BatchStats, PartStats};
pub use reduce::{BatchGradient, LocalSum, Reduce};
pub use run::{Trained, Trainer};
