//! What all commands share: the global options, and the session that they open.

use crate::progress::Stderr;
use crate::ranks;
use anyhow::Context;
use clap::{Args, ValueEnum};
use miyasawa::{
    device::DeviceSpec,
    progress::{Monitor, Progress, monitor},
    train::Dtype,
};
use std::{
    ffi::OsString,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};
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

impl Common {
    /// Checks what holds for every command.
    fn check(&self) -> anyhow::Result<()> {
        miyasawa_kernels::isa::Isa::from_env()
            .map_err(|e| WrongCall(format!("MIYASAWA_ISA: {e}")))?;
        match self.threads.filter(|threads| !(1..=MAX_THREADS).contains(threads)) {
            Some(threads) => {
                let text = format!("--threads is {threads}, expected 1 to {MAX_THREADS}");
                Err(WrongCall(text).into())
            }
            None => Ok(()),
        }
    }
}

/// `--dtype`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum DtypeArg {
    // A comment for documentation would be printed as a list in the help.
    F32,
    Tf32,
    Bf16,
}

impl From<DtypeArg> for Dtype {
    fn from(arg: DtypeArg) -> Self {
        match arg {
            DtypeArg::F32 => Self::F32,
            DtypeArg::Tf32 => Self::Tf32,
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
    /// The arguments of the call.
    pub args: Vec<OsString>,
    /// The program that the command line is in, if it is not the program itself.
    host: Option<Host>,
}

/// A program that has the command line in it.
pub struct Host {
    stop: Arc<AtomicBool>,
    watch: Box<dyn Fn(&Progress<'_>) + Send + Sync>,
    document: Mutex<Option<serde_json::Value>>,
}

impl Host {
    pub fn new(
        stop: Arc<AtomicBool>,
        watch: impl Fn(&Progress<'_>) + Send + Sync + 'static,
    ) -> Self {
        Self { stop, watch: Box::new(watch), document: Mutex::default() }
    }
}

impl Session {
    /// Sets up threads and logs.
    pub fn new(common: &Common, args: Vec<OsString>) -> anyhow::Result<Self> {
        // Of several processes one speaks.
        let quiet = common.quiet || ranks::is_silent();
        let level = match (quiet, common.verbose) {
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
        common.check()?;
        rayon::ThreadPoolBuilder::new()
            .num_threads(common.threads.unwrap_or(0))
            .build_global()
            .context("starting the threads")?;
        let (spec, seed) = (common.device, common.seed);
        Ok(Self { spec, seed, json: common.json, quiet, args, host: None })
    }

    /// A session of a program that wants documents, and has threads and logs of its own.
    pub fn hosted(common: &Common, args: Vec<OsString>, host: Host) -> anyhow::Result<Self> {
        common.check()?;
        let (spec, seed, host) = (common.device, common.seed, Some(host));
        Ok(Self { spec, seed, json: true, quiet: true, args, host })
    }

    /// A monitor of a closure that shows progress; a host sees it too, and may stop the work.
    pub fn watched<'s>(&'s self, mut show: impl FnMut(&Progress<'_>) + 's) -> impl Monitor + 's {
        monitor(
            move |progress: &Progress<'_>| {
                show(progress);
                self.host.iter().for_each(|host| (host.watch)(progress));
            },
            || self.host.as_ref().is_some_and(|host| host.stop.load(Ordering::Relaxed)),
        )
    }

    /// The document that a hosted command made.
    pub fn take_document(&self) -> Option<serde_json::Value> {
        self.host.as_ref()?.document.lock().unwrap_or_else(PoisonError::into_inner).take()
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
        let value = serde_json::to_value(value)?;
        match &self.host {
            Some(host) => {
                *host.document.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
            }
            None => outln!("{value}"),
        }
        Ok(())
    }
}
