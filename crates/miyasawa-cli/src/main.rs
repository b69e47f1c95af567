//! The `miyasawa` command: train, evaluate and use classification-denoising networks.
#![deny(unsafe_code)]

#[macro_use]
mod output;
mod args;
mod commands;
mod fetch;
mod progress;
mod session;
mod signals;
mod status;

use std::process::ExitCode;

/// Keeps freed memory and reuses it: every training step allocates the same sizes.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    miyasawa_kernels::memory::keep_pages();
    let cli = match args::Cli::read() {
        Ok(cli) => cli,
        Err(error) => return status::of_parsing(&error),
    };
    let session = match session::Session::new(&cli.common) {
        Ok(session) => session,
        Err(error) => return status::fail(&error),
    };
    // Inside the pool a kernel's caller takes part in its work; from outside each kernel would wake
    // the pool and wait, which costs more than a small kernel.
    let waits = cli.command.waits();
    let run = || commands::run(cli.command, &session);
    match if waits { run() } else { rayon::scope(|_| run()) } {
        Ok(commands::Outcome::Done) => ExitCode::SUCCESS,
        Ok(commands::Outcome::Failed) => ExitCode::from(1),
        Err(error) => status::fail(&error),
    }
}
