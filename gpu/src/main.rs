//! The `miyasawa` command with kernels for NVIDIA's GPUs.
#![deny(unsafe_code)]

// Only for its feature: kernels go through CUDA C++ and NVRTC.
use cubecl as _;
use std::process::ExitCode;

/// Keeps freed memory and reuses it: every training step allocates the same sizes.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    miyasawa_kernels::memory::keep_pages();
    ExitCode::from(miyasawa_cli::run(std::env::args_os()))
}
