//! Classification-denoising networks.
#![deny(unsafe_code)]

pub mod atomic;
pub mod checkpoint;
pub mod device;
pub mod model;
pub mod nn;
pub mod ops;
pub mod verify;

pub use burn::tensor::Device;
