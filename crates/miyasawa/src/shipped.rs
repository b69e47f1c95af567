//! The model that ships inside the program.

use crate::checkpoint::{Checkpoint, CheckpointError};
use std::path::Path;

/// The file, as `miyasawa export MODEL --dtype bf16` writes it: a checkpoint in bfloat16, at most 12 MB. None
/// ships yet; one that does lies in `crates/miyasawa/assets/model.safetensors` and is named here as
/// `Some(include_bytes!("../assets/model.safetensors"))`.
pub const BYTES: Option<&[u8]> = None;

/// What messages call it.
pub const NAME: &str = "the model that ships";

/// The model that ships and its hash, if one does.
///
/// # Errors
/// If the file in the program is not a checkpoint: the tests would have noticed.
pub fn checkpoint() -> Result<Option<(Checkpoint, String)>, CheckpointError> {
    BYTES.map(|bytes| Checkpoint::from_bytes_with_hash(bytes, Path::new(NAME))).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ships_can_be_read_and_is_small() {
        let Some((checkpoint, _)) = checkpoint().unwrap() else { return };
        assert!(BYTES.unwrap_or_default().len() <= 12_000_000);
        checkpoint.model(&crate::Device::flex(), Path::new(NAME)).unwrap();
        assert!(checkpoint.info.classifies() && checkpoint.info.denoises());
    }
}
