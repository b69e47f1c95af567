//! The Rust snippets of the README and of the book as doctests; `cargo test --doc` compiles them.

#[doc = include_str!("../../../README.md")]
pub struct Readme;

#[doc = include_str!("../../../docs/book/src/quick-start.md")]
pub struct QuickStart;

#[doc = include_str!("../../../docs/book/src/rust.md")]
pub struct Rust;

#[cfg(feature = "onnx")]
#[doc = include_str!("../../../docs/book/src/onnx.md")]
pub struct Onnx;
