//! The `miyasawa` command: train, evaluate and use classification-denoising networks.
#![deny(unsafe_code)]

use std::process::ExitCode;

/// Keeps freed memory and reuses it: every training step allocates the same sizes.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    miyasawa_kernels::memory::keep_pages();
    ExitCode::from(miyasawa_cli::run(std::env::args_os()))
}
