//! Energy networks and the joint model of a noisy image and its class.

mod energy;
mod gradresnet;
mod joint;
pub mod loss;
pub mod params;

pub use energy::{EnergyNetwork, Outputs};
pub use gradresnet::{GradResNet, GradResNetConfig, GradResNetTape};
pub use joint::{JointModel, Point};
