use super::{Outcome, measured::check_tolerance};
use crate::session::{DtypeArg, Session};
use anyhow::Context;
use clap::Args;
use miyasawa::train::Dtype;
use miyasawa::verify::{Deviation, EMBEDDED, verify_in};
use serde::Serialize;
use std::path::PathBuf;

/// Recompute every quantity of an oracle file on the chosen device and compare.
///
/// Example: miyasawa verify oracle.safetensors --tolerance 1e-4 --device vulkan
#[derive(Args, Debug)]
pub struct Verify {
    /// An oracle file that reference.py wrote [default: a small one inside the program]
    oracle: Option<PathBuf>,
    /// Largest relative error that passes
    #[arg(long, default_value_t = 1e-4)]
    tolerance: f64,
    /// Type of the products: f32, tf32 (NVIDIA's GPUs) or bf16; the last two are accurate to about
    /// 1e-2 and 1e-1
    #[arg(long, value_enum, default_value = "f32")]
    dtype: DtypeArg,
}

/// The document of `--json`.
#[derive(Serialize)]
struct Report {
    oracle: String,
    tolerance: f64,
    passed: bool,
    quantities: Vec<Deviation>,
}

impl Report {
    fn new(oracle: String, tolerance: f64, quantities: Vec<Deviation>) -> Self {
        let passed = quantities.iter().all(|d| passes(d, tolerance));
        Self { oracle, tolerance, passed, quantities }
    }

    fn print(&self) {
        for d in &self.quantities {
            let mark = if passes(d, self.tolerance) { "" } else { "  FAILED" };
            outln!("{:<44} {:.2e}{mark}", d.quantity, d.relative_error);
        }
        let worst =
            self.quantities.iter().max_by(|a, b| a.relative_error.total_cmp(&b.relative_error));
        if let Some(worst) = worst {
            let verdict = if self.passed { "passed" } else { "failed" };
            outln!(
                "{}: {verdict}, {} quantities, largest relative error {:.2e} ({}), tolerance \
                 {:.0e}",
                self.oracle,
                self.quantities.len(),
                worst.relative_error,
                worst.quantity,
                self.tolerance
            );
        }
    }
}

/// Whether a deviation is small enough. NaN compares as false, so it fails.
fn passes(deviation: &Deviation, tolerance: f64) -> bool {
    deviation.relative_error <= tolerance
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
    let dtype = Dtype::from(args.dtype);
    dtype.check(&device)?;
    let deviations = verify_in(&bytes, dtype.operands(), &device).with_context(|| name.clone())?;
    let report = Report::new(name, args.tolerance, deviations);
    if session.json {
        session.print_json(&report)?;
    } else {
        report.print();
    }
    Ok(if report.passed { Outcome::Done } else { Outcome::Failed })
}
