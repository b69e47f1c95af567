//! What the fuzz targets share.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

static READ: AtomicU64 = AtomicU64::new(0);
static ACCEPTED: AtomicU64 = AtomicU64::new(0);
static INPUTS: AtomicU64 = AtomicU64::new(0);

/// Where a run ends: after a number of bytes or a time, whichever comes first.
struct Limit {
    start: Instant,
    bytes: u64,
    time: Duration,
}

impl Limit {
    /// `FUZZ_BYTES` and `FUZZ_SECONDS`; what is not set is no limit.
    fn from_env() -> Self {
        let number = |name| {
            let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
            Some(text.parse::<u64>().unwrap_or_else(|e| panic!("{name}={text}: {e}")))
        };
        Self {
            start: Instant::now(),
            bytes: number("FUZZ_BYTES").unwrap_or(u64::MAX),
            time: number("FUZZ_SECONDS").map_or(Duration::MAX, Duration::from_secs),
        }
    }
}

/// Gives an input to a parser and lets libFuzzer end in order at the limit, printing how many
/// inputs were accepted.
pub fn run(bytes: &[u8], parse: fn(&[u8]) -> bool) {
    static LIMIT: OnceLock<Limit> = OnceLock::new();
    static ENDED: OnceLock<()> = OnceLock::new();
    let limit = LIMIT.get_or_init(Limit::from_env);
    let accepted = u64::from(parse(bytes));
    let accepted = ACCEPTED.fetch_add(accepted, Ordering::Relaxed) + accepted;
    let inputs = INPUTS.fetch_add(1, Ordering::Relaxed) + 1;
    let read = READ.fetch_add(bytes.len() as u64, Ordering::Relaxed) + bytes.len() as u64;
    if (read >= limit.bytes || limit.start.elapsed() >= limit.time) && ENDED.set(()).is_ok() {
        eprintln!("done: {read} bytes in {inputs} inputs, {accepted} of them accepted");
        // libFuzzer takes a call of `exit` for a crash; this signal is its way to be ended.
        let process = std::process::id().to_string();
        let sent = std::process::Command::new("kill").args(["-USR1", &process]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -USR1 {process}");
    }
}
