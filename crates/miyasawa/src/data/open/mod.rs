//! Sources of data, and sets that are opened, measured, relabelled and written.

pub(super) mod choose;
#[cfg(feature = "report")]
mod figure;
#[cfg(feature = "train")]
pub(crate) mod fuzzing;
pub(super) mod gallery;
pub(super) mod opened;
pub(super) mod relabel;
pub(super) mod source;
pub(super) mod summary;
pub(super) mod write_shards;
