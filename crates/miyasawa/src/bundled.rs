//! The bundled model inside the program.
//!
//! ```
//! let (checkpoint, sha256) = miyasawa::bundled::checkpoint()?;
//! assert_eq!((checkpoint.info.data.classes.len(), sha256.len()), (10, 64));
//! // The front door: `Predictor::bundled()`.
//! # Ok::<(), miyasawa::checkpoint::CheckpointError>(())
//! ```

use crate::checkpoint::{Checkpoint, CheckpointError};
use std::path::Path;

/// The file, as `miyasawa export MODEL --dtype bf16` writes it: a checkpoint in bfloat16, at most
/// 12 MB. The model card describes it.
pub const BYTES: &[u8] = include_bytes!("../assets/model.safetensors");

/// The name of the model in messages.
pub const NAME: &str = "the bundled model";

/// The bundled model and its hash.
///
/// # Errors
/// If the file in the program is not a checkpoint: the tests would have noticed.
pub fn checkpoint() -> Result<(Checkpoint, String), CheckpointError> {
    Checkpoint::from_bytes_with_hash(BYTES, Path::new(NAME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundled_model_can_be_read_and_is_small() {
        let (checkpoint, _) = checkpoint().unwrap();
        assert!(BYTES.len() <= 12_000_000);
        checkpoint.model(&crate::Device::flex(), Path::new(NAME)).unwrap();
        assert!(checkpoint.info.classifies() && checkpoint.info.denoises());
    }
}
