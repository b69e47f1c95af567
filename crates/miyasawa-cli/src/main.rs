//! The `miyasawa` command: train, evaluate and use classification-denoising networks.
#![deny(unsafe_code)]

mod args;
mod commands;

use clap::Parser;
use std::process::ExitCode;

/// Freed memory is kept and handed out again: a training step allocates the same sizes every time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    let session = match args::Session::new(&cli.common) {
        Ok(session) => session,
        Err(error) => return fail(&error, 2),
    };
    match commands::run(cli.command, &session) {
        Ok(commands::Outcome::Done) => ExitCode::SUCCESS,
        Ok(commands::Outcome::Failed) => ExitCode::from(1),
        Err(error) => fail(&error, if error.is::<args::WrongCall>() { 2 } else { 1 }),
    }
}

/// One line on standard error: what was done, and every cause.
fn fail(error: &anyhow::Error, status: u8) -> ExitCode {
    eprintln!("error: {}", format!("{error:#}").replace('\n', " "));
    ExitCode::from(status)
}
