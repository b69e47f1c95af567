//! Hashes as text.

use sha2::{Digest, Sha256};

/// The first `bytes` bytes of a hash, all of them if there are fewer, two hexadecimal digits each.
pub(crate) fn hex(hash: Sha256, bytes: usize) -> String {
    hash.finalize().iter().take(bytes).map(|byte| format!("{byte:02x}")).collect()
}
