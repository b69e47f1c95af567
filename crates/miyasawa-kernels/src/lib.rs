//! CPU kernels of classification-denoising networks, on plain `f32` slices.
//!
//! The operations are closed under differentiation, so that a network, its input gradient and the
//! parameter gradients of a loss on that input gradient are all made of them:
//!
//! | operation | adjoint | reverse of the adjoint |
//! | --- | --- | --- |
//! | [`conv::forward`] | [`conv::adjoint`] | `forward` and [`conv::weight_grad`] |
//! | [`gelu::forward`] | [`gelu::adjoint`] | [`gelu::adjoint_reverse`] |
//! | [`norm::forward`] | [`norm::adjoint`] | [`norm::adjoint_reverse`] |
//! | [`pool::forward`] | [`pool::adjoint`] | `forward` |
//!
//! [`elementwise`] holds the optimisers' steps. [`norm`] also computes the normalised GELU of its
//! input in one pass. Functions take slices and return vectors; the optimisers' steps update slices
//! in place.
//!
//! Activations are channels-last, `[batch, height, width, channels]`, contiguous; convolution
//! weights are PyTorch's `[out, in, k, k]`. Every function checks the length of each slice with
//! `assert!` before it does anything else, and returns the same bits for every number of threads.
//!
//! The crate depends on no framework: `miyasawa` calls it from its Burn backend extension.

mod bf16;
pub mod conv;
pub mod elementwise;
pub mod gelu;
mod gemm;
pub mod isa;
#[cfg(feature = "mimalloc")]
pub mod memory;
mod multiversion;
pub mod norm;
pub mod peak;
pub mod pool;
mod rows;
pub mod scratch;
mod simd;
mod spin_pool;
mod tasks;
mod uninit;
