use super::{Outcome, measured::check_tolerance};
use crate::session::Session;
use anyhow::Context;
use clap::Args;
use miyasawa::verify::{EMBEDDED, verify};
use std::path::PathBuf;

/// Recompute everything in an oracle file on the chosen device and compare.
///
/// Example: miyasawa verify oracle.safetensors --tolerance 1e-4 --device vulkan
#[derive(Args, Debug)]
pub struct Verify {
    /// A file that reference.py wrote [default: a small one that ships inside the binary]
    oracle: Option<PathBuf>,
    /// Largest relative error that passes
    #[arg(long, default_value_t = 1e-4)]
    tolerance: f64,
}

pub fn run(args: &Verify, session: &Session) -> anyhow::Result<Outcome> {
    check_tolerance(args.tolerance)?;
    let device = session.device()?;
    let (name, bytes) = match &args.oracle {
        None => ("the embedded oracle".to_owned(), EMBEDDED.to_vec()),
        Some(path) => {
            let name = format!("oracle {}", path.display());
            let bytes = std::fs::read(path).with_context(|| format!("{name}: cannot be read"))?;
            (name, bytes)
        }
    };
    let deviations = verify(&bytes, &device).with_context(|| name.clone())?;
    // A NaN passes no comparison: it must fail here.
    let passes = |error: f64| error <= args.tolerance;
    let passed = deviations.iter().all(|d| passes(d.relative_error));
    if session.json {
        session.print_json(&serde_json::json!({
            "oracle": name, "tolerance": args.tolerance, "passed": passed, "quantities": deviations,
        }))?;
    } else {
        for d in &deviations {
            let mark = if passes(d.relative_error) { "" } else { "  FAILED" };
            outln!("{:<44} {:.2e}{mark}", d.quantity, d.relative_error);
        }
        let worst = deviations.iter().max_by(|a, b| a.relative_error.total_cmp(&b.relative_error));
        if let Some(worst) = worst {
            let verdict = if passed { "passed" } else { "failed" };
            outln!(
                "{name}: {verdict}, {} quantities, largest relative error {:.2e} ({}), tolerance {:.0e}",
                deviations.len(),
                worst.relative_error,
                worst.quantity,
                args.tolerance
            );
        }
    }
    Ok(if passed { Outcome::Done } else { Outcome::Failed })
}
