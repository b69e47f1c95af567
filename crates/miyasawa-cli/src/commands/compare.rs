use super::{Outcome, train::Bar};
use crate::args::Session;
use crate::signals::stop_flag;
use clap::Args;
use miyasawa::compare::{self, Beginning, CompareConfig, Comparison};
use std::path::PathBuf;

/// Train and measure several models on one budget; one report with tables and plots.
///
/// CONFIG names models, seeds and a budget of pictures or minutes. The folder receives a run for each model and
/// seed, report.html, report.md and report.json. What is there already is not done again: after Ctrl-C the
/// same call goes on.
///
/// Example: miyasawa compare recipes/compare-cifar10.toml --out runs/compare
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Compare {
    /// A TOML file
    config: PathBuf,
    /// Change one value of the configuration
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The folder for runs and reports
    #[arg(long)]
    out: PathBuf,
}

pub fn run(args: &Compare, session: &Session) -> anyhow::Result<Outcome> {
    let mut config = CompareConfig::load(&args.config, &args.set)?;
    if let Some(seed) = session.seed {
        config.seeds = vec![seed];
    }
    let device = session.device()?;
    let stop = stop_flag()?;
    let mut observe = |run: Beginning<'_>| {
        if !session.quiet {
            tracing::info!("{}, seed {}: {} steps", run.name, run.config.seed, run.total);
        }
        Bar::new(session, run.total, stop.clone())
    };
    let Some(comparison) = compare::run(&config, &args.out, &device, &mut observe)? else {
        tracing::warn!("stopped; the same call goes on");
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
