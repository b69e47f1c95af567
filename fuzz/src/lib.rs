//! What the fuzz targets share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::OnceLock;

static READ: AtomicU64 = AtomicU64::new(0);
static ACCEPTED: AtomicU64 = AtomicU64::new(0);
static INPUTS: AtomicU64 = AtomicU64::new(0);

/// Gives an input to a parser and lets libFuzzer end in order once `FUZZ_BYTES` bytes were read, saying how many inputs were
/// taken as whole.
pub fn run(bytes: &[u8], parse: fn(&[u8]) -> bool) {
    static LIMIT: OnceLock<u64> = OnceLock::new();
    let limit = || std::env::var("FUZZ_BYTES").ok().and_then(|text| text.parse().ok()).unwrap_or(u64::MAX);
    let limit = *LIMIT.get_or_init(limit);
    let accepted = u64::from(parse(bytes));
    let accepted = ACCEPTED.fetch_add(accepted, Ordering::Relaxed) + accepted;
    let inputs = INPUTS.fetch_add(1, Ordering::Relaxed) + 1;
    let read = READ.fetch_add(bytes.len() as u64, Ordering::Relaxed) + bytes.len() as u64;
    if read >= limit && read - bytes.len() as u64 <= limit {
        eprintln!("done: {read} bytes in {inputs} inputs, {accepted} of them accepted");
        // libFuzzer takes a call of `exit` for a crash; this signal is its way to be ended.
        let process = std::process::id().to_string();
        let sent = std::process::Command::new("kill").args(["-USR1", &process]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -USR1 {process}");
    }
}
