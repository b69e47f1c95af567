use super::{Outcome, eval};
use crate::args::{DtypeArg, Session};
use anyhow::Context;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use miyasawa::{
    eval::Row,
    train::{Observer, StepReport, TrainConfig, Trainer},
};
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Train a model: classifier, denoiser and density in one network.
///
/// The folder receives config.toml, model.safetensors, state.safetensors, metrics.jsonl, curves.png and
/// samples.png. Ctrl-C ends the run with a checkpoint; --resume goes on from it.
///
/// Examples:
///   miyasawa train recipes/cifar10.toml --out runs/cifar10
///   miyasawa train --set data.train=photos/ --set data.size=[32,32] --set data.fit=resize --out runs/mine
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Train {
    /// A TOML file; left out, the defaults, which train on the digits
    config: Option<PathBuf>,
    /// Change one value of the configuration
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The run's folder
    #[arg(long)]
    out: PathBuf,
    /// Go on with the run that the folder holds; without CONFIG, with its own configuration
    #[arg(long)]
    resume: bool,
    /// Type of the convolutions' products [default: f32, or what the configuration says]
    #[arg(long, value_enum)]
    dtype: Option<DtypeArg>,
}

/// A progress bar that is told of steps, and a flag that Ctrl-C sets.
pub struct Bar {
    bar: ProgressBar,
    stop: Arc<AtomicBool>,
    print: bool,
}

impl Bar {
    pub fn new(session: &Session, total: u64, stop: Arc<AtomicBool>) -> Self {
        let bar = if session.quiet { ProgressBar::hidden() } else { ProgressBar::new(total) };
        let style = ProgressStyle::with_template("{pos}/{len} [{bar:24}] {msg}, {eta} left");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
        Self { bar, stop, print: !session.quiet }
    }

    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Observer for Bar {
    fn step(&mut self, report: &StepReport, _: u64) {
        let stats = &report.stats;
        self.bar.set_message(format!(
            "epoch {:.2}, {:.0} images/s, ce {:.3}, dsm {:.3}, accuracy {:.1}%",
            report.epoch,
            report.images_per_second,
            stats.ce,
            stats.dsm,
            100.0 * stats.accuracy
        ));
        self.bar.set_position(report.step);
    }

    fn evaluation(&mut self, step: u64, rows: &[Row]) {
        if !self.print {
            return;
        }
        let cells: Vec<String> = rows
            .iter()
            .map(|row| {
                let psnr = row.psnr.map_or(String::new(), |psnr| format!(" {psnr:.2} dB"));
                format!("sigma {}: {:.1}%{psnr}", row.sigma, 100.0 * row.accuracy)
            })
            .collect();
        self.bar.suspend(|| tracing::info!("step {step}: {}", cells.join(", ")));
    }

    fn should_stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// A flag that the first Ctrl-C sets; the second ends the process at once.
pub fn stop_flag() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        eprintln!("\nstopping after this step; once more to stop at once");
    })
    .context("listening for Ctrl-C")?;
    Ok(stop)
}

pub fn run(args: &Train, session: &Session) -> anyhow::Result<Outcome> {
    let own = args.out.join("config.toml");
    let path = match &args.config {
        None if args.resume && own.exists() => Some(own),
        given => given.clone(),
    };
    let mut config = TrainConfig::load(path.as_deref(), &args.set)?;
    if let Some(seed) = session.seed {
        config.seed = seed;
    }
    if let Some(dtype) = args.dtype {
        config.dtype = dtype.into();
    }
    let trainer = Trainer::new(config, &session.device()?)?;
    let mut bar = Bar::new(session, trainer.total_steps(), stop_flag()?);
    let finish = trainer.run(&args.out, args.resume, &mut bar)?;
    bar.finish();
    let model = args.out.join("model.safetensors");
    if session.json {
        session.print_json(&serde_json::json!({
            "model": model, "complete": finish.complete, "steps": finish.steps, "rows": finish.rows,
        }))?;
    } else {
        if !finish.rows.is_empty() {
            eval::print_rows(&finish.rows);
        }
        let state = if finish.complete { "done" } else { "stopped; go on with --resume" };
        outln!("{}: {} steps, {state}", model.display(), finish.steps);
    }
    Ok(Outcome::Done)
}
