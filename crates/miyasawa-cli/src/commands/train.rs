use super::{Outcome, eval};
use crate::args::{DtypeArg, Session, WrongCall};
use crate::output::shown;
use crate::signals::stop_flag;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use miyasawa::{
    eval::Row,
    train::{Observer, Rollback, StepReport, TrainConfig, Trainer, cost::Cost},
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
/// The folder receives config.toml, model.safetensors (the model to use), best.safetensors (that of the best
/// evaluation), checkpoints/ (to go on from), metrics.jsonl, curves.png and samples.png.
///
/// Ctrl-C (or SIGTERM, SIGHUP) ends the run after its step with a checkpoint and exit status 0; once more ends it at
/// once with exit status 130. --resume goes on from the newest whole checkpoint, whatever ended the run,
/// and gives the same bytes as a run that was never interrupted.
///
/// Where the loss is not finite or beyond a bound, the run returns to its last good state, lowers the learning
/// rate and passes the batch over ([divergence] in config.toml). --dry-run tells what a run would cost.
///
/// Examples:
///   miyasawa train recipes/cifar10.toml --out runs/cifar10
///   miyasawa train --resume --out runs/cifar10
///   miyasawa train recipes/imagenet64.toml --dry-run
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
    #[arg(long, required_unless_present = "dry_run")]
    out: Option<PathBuf>,
    /// Go on with the run that the folder holds; without CONFIG, with its own configuration
    #[arg(long)]
    resume: bool,
    /// Type of the convolutions' products [default: f32, or what the configuration says]
    #[arg(long, value_enum)]
    dtype: Option<DtypeArg>,
    /// Train nothing: print parameters, multiply-adds, memory, and hours on named hardware
    #[arg(long, conflicts_with = "resume")]
    dry_run: bool,
}

/// A progress bar that is told of steps, and a flag that a signal sets.
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
        let accuracy = stats.accuracy.map_or(String::new(), |a| format!(", accuracy {:.1}%", 100.0 * a));
        let gap = stats.energy_gap.map_or(String::new(), |gap| format!(", energy gap {gap:.3}"));
        self.bar.set_message(format!(
            "epoch {:.2}, {:.0} images/s, ce {:.3}, dsm {:.3}{accuracy}{gap}",
            report.epoch, report.images_per_second, stats.ce, stats.dsm,
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
                let accuracy = row.accuracy.map_or(String::new(), |a| format!(" {:.1}%", 100.0 * a));
                format!("sigma {}:{accuracy}{psnr}", row.sigma)
            })
            .collect();
        self.bar.suspend(|| tracing::info!("step {step}: {}", cells.join(", ")));
    }

    fn rollback(&mut self, event: &Rollback) {
        self.bar.suspend(|| {
            tracing::warn!(
                "step {}: the {} is {}, expected {}: back to step {} with {} times the learning rate, \
                 rollback {}",
                event.from,
                event.what,
                event.value,
                event.expected,
                event.step,
                event.lr_factor,
                event.rollbacks
            );
        });
    }

    fn should_stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Steps that passes over a small set may come to without anybody having meant it.
const FEW: u64 = 100;

/// What the run would cost.
fn dry_run(config: &TrainConfig, session: &Session) -> anyhow::Result<Outcome> {
    let cost = Cost::of(config, rayon::current_num_threads())?;
    if session.json {
        session.print_json(&cost)?;
        return Ok(Outcome::Done);
    }
    let (data, memory) = (&cost.data, &cost.memory);
    let size = format!("{}x{}x{}", data.channels, data.height, data.width);
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    outln!("data           {} pictures of {size}, {} classes", data.pictures, data.classes);
    outln!("parameters     {}", cost.parameters);
    outln!("steps          {} of {} pictures, {:.2} epochs", cost.steps, cost.batch, cost.epochs);
    outln!(
        "multiply-adds  {:.4e} a picture forward, {:.4e} a training step, {:.4e} in all",
        cost.multiply_adds_per_picture as f64,
        cost.multiply_adds_per_step as f64,
        cost.multiply_adds as f64
    );
    outln!(
        "memory         {:.2} GiB: state {:.2}, gradients {:.2}, activations {:.2} ({} threads with parts of {})",
        gib(memory.total),
        gib(memory.state),
        gib(memory.gradients),
        gib(memory.activations),
        cost.threads,
        cost.micro_batch
    );
    for device in &cost.hardware {
        outln!("{:>12.1} h   {}, {:.0} GFLOP/s ({})", device.hours, device.name, device.gflops, device.basis);
    }
    Ok(Outcome::Done)
}

pub fn run(args: &Train, session: &Session) -> anyhow::Result<Outcome> {
    let own = args.out.as_ref().map(|out| out.join("config.toml"));
    let path = match &args.config {
        None => own.filter(|own| args.resume && own.exists()),
        given => given.clone(),
    };
    let mut config = TrainConfig::load(path.as_deref(), &args.set)?;
    if let Some(seed) = session.seed {
        config.seed = seed;
    }
    if let Some(dtype) = args.dtype {
        config.dtype = dtype.into();
    }
    if args.dry_run {
        return dry_run(&config, session);
    }
    let out = args.out.as_ref().ok_or_else(|| WrongCall("--out is missing".into()))?;
    let stop = stop_flag()?;
    let schedule = config.schedule.clone();
    let trainer = Trainer::new(config, &session.device()?)?;
    let steps = trainer.total_steps();
    if schedule.steps.is_none() && steps < FEW {
        tracing::warn!(
            "{} passes over so few pictures are {steps} steps, and a denoiser needs some hundred: --set schedule.steps=1000",
            schedule.epochs
        );
    }
    let mut bar = Bar::new(session, steps, stop);
    let finish = trainer.run(out, args.resume, &mut bar)?;
    bar.finish();
    let model = out.join("model.safetensors");
    if session.json {
        session.print_json(&serde_json::json!({
            "model": shown(&model), "complete": finish.complete, "steps": finish.steps, "rows": finish.rows,
        }))?;
        return Ok(Outcome::Done);
    }
    if finish.complete {
        eval::print_rows(&finish.rows);
        outln!("{}: {} steps, done", model.display(), finish.steps);
    } else {
        let resume = format!("miyasawa train --resume --out {}", out.display());
        outln!("{}: stopped at step {}; go on with: {resume}", model.display(), finish.steps);
    }
    Ok(Outcome::Done)
}
