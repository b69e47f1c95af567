//! Shapes of the operations of classification-denoising networks.
//!
//! What an operation is asked for, apart from its values: sizes, strides, the type of products, the
//! statistics of a norm, the settings of an optimiser's step. `miyasawa-kernels` computes the
//! operations on the CPU, the `ops` of `miyasawa` on any device; both read these types, and an
//! implementation for another device needs no more than this crate. It has no dependency.
//!
//! ```
//! use miyasawa_shapes::{ConvShape, Operands};
//!
//! let s = ConvShape {
//!     batch: 1, height: 5, width: 4, in_channels: 3, out_channels: 8,
//!     kernel: 3, stride: 2, padding: 1, operands: Operands::F32,
//! };
//! assert_eq!([s.out_height(), s.out_width()], [3, 2]);
//! assert_eq!(s.macs(), 3 * 2 * 8 * 3 * 9);
//! ```

#![deny(unsafe_code)]

mod conv;
mod norm;
mod optimizer;

pub use conv::{ConvShape, Operands};
pub use norm::{EPSILON, NormShape, Statistics};
pub use optimizer::{AdamW, Sgd};
