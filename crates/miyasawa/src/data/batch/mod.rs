//! From stored images to batches: decoding, resizing, augmentation, order and streams.

pub(super) mod augment;
pub(super) mod decode;
pub(super) mod order;
mod patches;
pub(super) mod random_crop;
pub(super) mod resize;
pub(super) mod stream;
mod streaming;
mod strong;
