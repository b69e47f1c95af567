//! What all commands share: the global options, and the session that they open.

use crate::progress::Stderr;
use anyhow::Context;
use clap::{Args, ValueEnum};
use miyasawa::{device::DeviceSpec, train::Dtype};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

/// Largest number of threads: starting more would take longer than they save.
const MAX_THREADS: usize = 1024;

/// Options of every command.
#[derive(Args, Debug)]
pub struct Common {
    /// Device to compute on: cpu, vulkan, cuda[:N], metal or rocm[:N]
    #[arg(long, global = true, default_value = "cpu", value_parser = parse_device)]
    pub device: DeviceSpec,
    /// Number of CPU threads [default: all cores]
    #[arg(long, global = true)]
    pub threads: Option<usize>,
    /// Seed of all random numbers [default: that of the configuration, or 0]
    #[arg(long, global = true)]
    pub seed: Option<u64>,
    /// Print the result as one JSON document on standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// Print errors and requested results (classes, tables, --json) only, no names of written files
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Print more messages; twice for all
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// `--dtype`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum DtypeArg {
    // A comment for documentation would be printed as a list in the help.
    F32,
    Bf16,
}

impl From<DtypeArg> for Dtype {
    fn from(arg: DtypeArg) -> Self {
        match arg {
            DtypeArg::F32 => Self::F32,
            DtypeArg::Bf16 => Self::Bf16,
        }
    }
}

fn parse_device(text: &str) -> Result<DeviceSpec, String> {
    text.parse().map_err(|e: miyasawa::device::DeviceError| e.to_string())
}

/// An error in the call itself: exit status 2.
#[derive(Debug)]
pub struct WrongCall(pub String);

impl std::fmt::Display for WrongCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WrongCall {}

/// The global options, applied.
pub struct Session {
    /// The device, not opened yet: commands that compute nothing must not need a driver.
    spec: DeviceSpec,
    /// `--seed`, where it was given.
    pub seed: Option<u64>,
    /// `--json`.
    pub json: bool,
    /// `-q`.
    pub quiet: bool,
}

impl Session {
    /// Sets up threads and logs.
    pub fn new(common: &Common) -> anyhow::Result<Self> {
        let level = match (common.quiet, common.verbose) {
            (true, _) => LevelFilter::ERROR,
            (false, 0) => LevelFilter::INFO,
            (false, 1) => LevelFilter::DEBUG,
            (false, _) => LevelFilter::TRACE,
        };
        let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
        let lines =
            fmt::layer().with_writer(|| Stderr).with_ansi(ansi).with_target(false).without_time();
        // The decoder of JPEG XL logs what it also returns as errors.
        let targets = Targets::new().with_default(level).with_target("jxl", LevelFilter::OFF);
        tracing_subscriber::registry().with(targets).with(lines).init();
        miyasawa_kernels::isa::Isa::from_env()
            .map_err(|e| WrongCall(format!("MIYASAWA_ISA: {e}")))?;
        if let Some(threads) = common.threads.filter(|threads| !(1..=MAX_THREADS).contains(threads))
        {
            let text = format!("--threads is {threads}, expected 1 to {MAX_THREADS}");
            return Err(WrongCall(text).into());
        }
        rayon::ThreadPoolBuilder::new()
            .num_threads(common.threads.unwrap_or(0))
            .build_global()
            .context("starting the threads")?;
        Ok(Self { spec: common.device, seed: common.seed, json: common.json, quiet: common.quiet })
    }

    /// The device, not opened.
    pub fn device_spec(&self) -> DeviceSpec {
        self.spec
    }

    /// Opens the device.
    pub fn device(&self) -> anyhow::Result<miyasawa::Device> {
        Ok(self.spec.open()?)
    }

    /// Prints one JSON document, with its keys in alphabetical order.
    pub fn print_json(&self, value: &impl serde::Serialize) -> anyhow::Result<()> {
        outln!("{}", serde_json::to_value(value)?);
        Ok(())
    }
}
