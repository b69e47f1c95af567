use super::{Outcome, train::Bar};
use crate::session::{Session, WrongCall};
use crate::signals::stop_flag;
use clap::Args;
use miyasawa::{
    demo::{self, DemoResult},
    train::TrainConfig,
};
use std::path::PathBuf;

use super::document::provenance;

/// Train and compare two small models, as a first demonstration: about a minute on two cores.
///
/// Trains a joint model and a plain classifier of the same size on the embedded digits, measures
/// both at several noise levels and under attack, and writes images and one self-contained
/// report.html.
///
/// Example: miyasawa demo --out demo
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Demo {
    /// Folder for models, images and the report
    #[arg(long, default_value = "miyasawa-demo")]
    out: PathBuf,
    /// Training steps of each model [default: 500]
    #[arg(long)]
    steps: Option<u64>,
    /// Number of images to attack
    #[arg(long, default_value_t = 360)]
    attacked: usize,
}

pub fn run(args: &Demo, session: &Session) -> anyhow::Result<Outcome> {
    if args.steps == Some(0) || args.attacked == 0 {
        return Err(WrongCall("--steps or --attacked is 0, expected at least 1".into()).into());
    }
    let device = session.device()?;
    let stop = stop_flag()?;
    let seed = session.seed.unwrap_or(0);
    let mut observe = |config: &TrainConfig, total: u64| {
        let kind = if config.loss.dsm_weight > 0.0 { "joint model" } else { "plain classifier" };
        if !session.quiet {
            tracing::info!("training the {kind}: {total} steps");
        }
        Bar::new(session, total, stop.clone())
    };
    let options = demo::DemoOptions {
        out: args.out.clone(),
        steps: args.steps,
        attacked: args.attacked,
        seed,
        from: provenance(session),
    };
    let Some(comparison) = demo::run(&options, &device, &mut observe)? else {
        tracing::warn!("stopped before the comparison");
        return Ok(Outcome::Failed);
    };
    if session.json {
        session.print_json(&comparison)?;
    } else {
        print(&comparison);
        outln!("report: {}", args.out.join("report.html").display());
    }
    Ok(Outcome::Done)
}

fn print(comparison: &DemoResult) {
    let percent = |share: f64| format!("{:.1}%", 100.0 * share);
    outln!("sigma   joint accuracy   plain accuracy   noisy PSNR   joint PSNR");
    for row in &comparison.rows {
        outln!(
            "{:>5}   {:>14}   {:>14}   {:>7.2} dB   {:>7.2} dB",
            row.sigma,
            percent(row.joint_accuracy),
            percent(row.plain_accuracy),
            row.psnr_noisy,
            row.psnr
        );
    }
    outln!(
        "robust accuracy, {}-step L2 PGD on {} images",
        comparison.pgd_steps,
        comparison.attacked
    );
    outln!("  eps   joint    plain");
    for row in &comparison.robust {
        outln!("{:>5}   {:>6}   {:>6}", row.eps, percent(row.joint), percent(row.plain));
    }
}
