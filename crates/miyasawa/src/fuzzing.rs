//! The entry points of the fuzz targets: every parser of untrusted bytes, up to the result that its
//! callers get. Not part of the public interface.

use crate::checkpoint::Checkpoint;
use crate::train::TrainConfig;
use std::path::Path;

pub use crate::data::fuzzing::{archive, cifar, class_names, idx, image};

/// A checkpoint, and the model in it. The hash is not checked: no change of a byte would get past
/// it.
pub fn checkpoint(bytes: &[u8]) -> bool {
    let path = Path::new("fuzz.safetensors");
    let _ = Checkpoint::from_bytes(bytes, path);
    let Ok(checkpoint) = Checkpoint::from_bytes_unchecked(bytes, path) else { return false };
    checkpoint.model(&burn::tensor::Device::flex(), path).is_ok()
}

/// A configuration.
pub fn config(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(config) = TrainConfig::parse(text, "fuzz".to_owned(), &[]) else { return false };
    let written = config.to_toml().expect("a configuration that was read can be written");
    let again = TrainConfig::parse(&written, "fuzz".to_owned(), &[]).expect("and read again");
    // NaN, which TOML can express, is not equal to itself.
    assert!(again == config || written.contains("nan"), "it is the same");
    true
}
