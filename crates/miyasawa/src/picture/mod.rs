//! Pictures.
mod decode;
mod resample;
pub(crate) use decode::decode;
pub use decode::{DecodeError, MAX_PIXELS};
pub(crate) use resample::cover;
