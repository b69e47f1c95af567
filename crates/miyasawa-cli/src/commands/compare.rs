use super::{Outcome, train::Bar};
use crate::session::Session;
use crate::signals::stop_flag;
use clap::Args;
use miyasawa::{
    compare::{Beginning, Choice, Compare as Comparing, CompareConfig, Comparison},
    progress::monitor,
};
use std::{path::PathBuf, sync::atomic::Ordering};

use super::document::provenance;

/// Train and measure several models on one budget, and write a report with tables and plots.
///
/// CONFIG lists models, seeds and a budget of images or minutes. The folder receives a run for each
/// model and seed, report.html, report.md and report.json. Finished runs are not repeated: after
/// Ctrl-C (exit status 1) the same call continues. Of a finished run config.toml, result.json and
/// denoised.png suffice. --only trains some of the models, so that several calls, on one machine or
/// many, can share the work. Started by mpirun or srun with a folder that all ranks see, each rank
/// takes runs in turn.
///
/// Examples:
///   miyasawa compare recipes/compare-cifar10.toml --out runs/compare
///   miyasawa compare recipes/compare-cifar10.toml --only joint,unet --threads 1 --out runs/compare
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Compare {
    /// A TOML file
    config: PathBuf,
    /// Change one value of the configuration; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Train and measure only these models, without a report [default: all]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// Folder for runs and reports
    #[arg(long)]
    out: PathBuf,
}

pub fn run(args: &Compare, session: &Session) -> anyhow::Result<Outcome> {
    let mut config = CompareConfig::load(&args.config, &args.set)?;
    if let Some(seed) = session.seed {
        config.seeds = vec![seed];
        config.models.iter_mut().for_each(|entry| entry.seeds = None);
    }
    let device = session.device()?;
    let stop = stop_flag()?;
    let mut observe = |run: Beginning<'_>| {
        if !session.quiet {
            tracing::info!("{}, seed {}: {} steps", run.name, run.config.seed, run.total);
        }
        Bar::new(session, run.total, stop.clone())
    };
    let choice = if args.only.is_empty() { Choice::All } else { Choice::Only(args.only.clone()) };
    let mut watch = monitor(|_| {}, || stop.load(Ordering::Relaxed));
    let comparing =
        Comparing::new(&config, &device).choice(choice.clone()).provenance(provenance(session));
    let Some(comparison) = comparing.run(&args.out, &mut observe, &mut watch)? else {
        tracing::warn!("stopped; the same call continues");
        return Ok(Outcome::Failed);
    };
    if session.json {
        session.print_json(&comparison)?;
    } else {
        print(&comparison);
        if choice == Choice::All {
            outln!("report: {}", args.out.join("report.html").display());
        }
    }
    Ok(Outcome::Done)
}

fn print(comparison: &Comparison) {
    outln!("model                 seed    sigma   accuracy      psnr");
    for run in &comparison.runs {
        let seed = run.seed.map_or("-".to_owned(), |seed| seed.to_string());
        for row in &run.rows {
            let accuracy = row.accuracy.map_or("-".to_owned(), |a| format!("{:.2}%", 100.0 * a));
            let psnr = row.psnr.map_or("-".to_owned(), |p| format!("{p:.2}"));
            outln!("{:<20}  {seed:>4}  {:>7}  {accuracy:>9}  {psnr:>8}", run.name, row.sigma);
        }
        if let Some(diverged) = &run.diverged {
            outln!("{:<20}  {seed:>4}  {diverged}", run.name);
        }
    }
}
