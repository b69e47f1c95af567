mod forecast;

use super::{Outcome, eval};
use crate::output::shown;
use crate::progress::Progress;
use crate::ranks;
use crate::session::{DtypeArg, Session, WrongCall};
use crate::signals::stop_flag;
use clap::Args;
use miyasawa::{
    data::{DataSource, default_folder},
    eval::EvalRow,
    progress::Monitor,
    ranks::Ranks,
    train::{
        BestEvaluation, Finish, Observer, Rollback, StepReport, TrainConfig, Trainer, origins,
    },
};
use serde::Serialize;
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Train a model: classifier, denoiser and density in one network.
///
/// The folder receives config.toml, model.safetensors (the model to use), best.safetensors (that of
/// the best evaluation), checkpoints/ (for --resume), metrics.jsonl, curves.png and samples.png.
///
/// Ctrl-C (or SIGTERM, SIGHUP) ends the run after the current step with a checkpoint and exit
/// status 0; a second one ends it at once with exit status 130. --resume continues from the newest
/// intact checkpoint, whatever ended the run, and gives the same bytes as an uninterrupted run.
/// Without CONFIG and without --set data.train or data.test it works from any folder: relative
/// paths begin where the run was started.
///
/// If the loss is not finite or exceeds a bound, the run returns to its last good state, lowers the
/// learning rate and skips the batch ([divergence] in config.toml). --dry-run reports what a run
/// would cost, with --ranks on several machines.
///
/// Started by mpirun or srun, a program built with the feature mpi trains in all processes
/// together, to the bytes of one process.
///
/// Examples:
///   miyasawa train recipes/cifar10.toml --out runs/cifar10
///   miyasawa train --resume --out runs/cifar10
///   miyasawa train recipes/imagenet64.toml --dry-run
#[doc = "   miyasawa train --set data.train=photos/ --set data.size=[32,32] \
         --set data.fit=resize --out runs/mine"]
#[doc = "   miyasawa train --init bundled --set data.train=photos/ --set data.size=[32,32] \
         --set data.fit=resize \\"]
///     --set optimizer.freeze='["stem","stages.0"]' --out runs/tuned
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Train {
    /// A TOML file [default: the default configuration, which trains on the digits]
    config: Option<PathBuf>,
    /// Change one value of the configuration; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Folder of the run
    #[arg(long, required_unless_present = "dry_run")]
    out: Option<PathBuf>,
    /// Continue the run in the folder; without CONFIG, with the configuration in it
    #[arg(long)]
    resume: bool,
    /// Start from the parameters of this model instead of random ones: a checkpoint, or cifar10
    /// (also `bundled`) or photo, which are bundled. What the configuration leaves out of [network]
    /// is taken from it. If the classes differ, the head starts at random
    #[arg(long, value_name = "MODEL", conflicts_with = "resume")]
    init: Option<String>,
    /// Type of the convolutions' products: f32, tf32 (NVIDIA's GPUs) or bf16 (operands rounded to
    /// bfloat16, weights and sums in float32) [default: that of the configuration, or f32]
    #[arg(long, value_enum)]
    dtype: Option<DtypeArg>,
    /// Print parameters, MACs, memory and hours on named hardware, without training
    #[arg(long, conflicts_with = "resume")]
    dry_run: bool,
    #[command(flatten)]
    cluster: forecast::ClusterArgs,
}

/// The document of `--json`.
#[derive(Serialize)]
struct Report {
    model: String,
    complete: bool,
    steps: u64,
    rows: Vec<EvalRow>,
    best: Option<BestEvaluation>,
}

impl Report {
    fn new(out: &Path, Finish { complete, steps, rows, best }: Finish) -> Self {
        Self { model: shown(&out.join("model.safetensors")), complete, steps, rows, best }
    }

    fn print(&self, out: &Path) {
        let Self { model, steps, .. } = self;
        if !self.complete {
            outln!("{model}: stopped at step {steps}; to continue: {}", resume_call(out));
            return;
        }
        eval::print_rows(&self.rows);
        outln!("{model}: {steps} steps, done");
        if let Some(best) = &self.best {
            outln!("{}", compare_models(out, best, *steps));
        }
    }
}

/// The call that continues a run.
fn resume_call(out: &Path) -> String {
    format!("miyasawa train --resume --out {}", out.display())
}

/// A progress bar of training steps, and the flag that a signal sets.
pub struct Bar {
    bar: Progress,
    stop: Arc<AtomicBool>,
    print: bool,
    /// Whether a step was reported.
    started: bool,
}

impl Bar {
    pub fn new(session: &Session, total: u64, stop: Arc<AtomicBool>) -> Self {
        Self { bar: Progress::steps(session, total), stop, print: !session.quiet, started: false }
    }

    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Observer for Bar {
    fn step(&mut self, report: &StepReport, _: u64) {
        // A resumed run took its first steps before this call.
        if !std::mem::replace(&mut self.started, true) {
            self.bar.start_at(report.step.saturating_sub(1));
        }
        let stats = &report.stats;
        let accuracy = stats.accuracy.map_or(String::new(), |a| format!(" {:.1}%", 100.0 * a));
        let own = |ce: f64, share: f64| format!(", class ce {ce:.3} {:.1}%", 100.0 * share);
        let own =
            stats.class_ce.zip(stats.class_accuracy).map_or(String::new(), |(c, s)| own(c, s));
        let gap = stats.energy_gap.map_or(String::new(), |gap| format!(", energy gap {gap:.3}"));
        self.bar.set_message(format!(
            "ce {:.3}{accuracy}{own}, dsm {:.3}{gap}, {:.0} images/s, epoch {:.2}",
            stats.ce, stats.dsm, report.images_per_second, report.epoch,
        ));
        self.bar.set_position(report.step);
    }

    fn evaluation(&mut self, step: u64, rows: &[EvalRow]) {
        if !self.print {
            return;
        }
        let cells: Vec<String> = rows
            .iter()
            .map(|row| {
                let psnr = row.psnr.map_or(String::new(), |psnr| format!(" {psnr:.2} dB"));
                let accuracy =
                    row.accuracy.map_or(String::new(), |a| format!(" {:.1}%", 100.0 * a));
                format!("sigma {}:{accuracy}{psnr}", row.sigma)
            })
            .collect();
        tracing::info!("step {step}: {}", cells.join(", "));
    }

    fn rollback(&mut self, event: &Rollback) {
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
    }
}

impl Monitor for Bar {
    fn stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// A text as a value of TOML.
fn toml_text(text: &str) -> String {
    // JSON escapes as basic strings of TOML do.
    serde_json::Value::from(text).to_string()
}

/// A run given in epochs that has fewer steps than this gets a warning: on a small set that is
/// rarely intended.
const FEW_STEPS: u64 = 100;

/// Says which of the two models of a finished run is better, and how to use it.
fn compare_models(out: &Path, best: &BestEvaluation, last: u64) -> String {
    let path = out.join("best.safetensors");
    if best.step == last {
        return format!("{}: the same model: the last evaluation was the best", path.display());
    }
    let [score, of_last] = [best.score, best.last].map(|score| {
        if best.by_accuracy { format!("{:.2}%", 100.0 * score) } else { format!("{score:.2} dB") }
    });
    if best.score <= best.last {
        return format!("{}: of step {}, as good as the last: {score}", path.display(), best.step);
    }
    format!(
        "{0}: of step {1}, is the better one: {score} against {of_last} of the last, averaged \
         over the noise levels; use it as MODEL: miyasawa eval {0} --data DATA",
        path.display(),
        best.step
    )
}

/// The relative path where a set is looked up: that of the argument, or the default folder.
fn relative_path(text: &str) -> Option<PathBuf> {
    let usual = || Some(default_folder()).filter(|folder| folder.is_relative());
    let path = match text.parse().ok()? {
        DataSource::Path(path) => path,
        DataSource::FashionMnist(folder)
        | DataSource::Mnist(folder)
        | DataSource::Cifar10(folder)
        | DataSource::Cifar100(folder)
        | DataSource::TinyImageNet(folder) => folder.or_else(usual)?,
        DataSource::Digits => return None,
    };
    // Shards are named by a range, their folder is not.
    let path = if text.contains('{') { path.parent()?.to_owned() } else { path };
    path.is_relative().then_some(path)
}

/// The folder where the relative paths of a run's configuration begin, if their data is there.
fn origin(config: &TrainConfig, out: &Path) -> Option<PathBuf> {
    let sets = std::iter::once(&config.data.train).chain(&config.data.test);
    let paths: Vec<PathBuf> = sets.filter_map(|text| relative_path(text)).collect();
    let has = |folder: &Path, path: &PathBuf| {
        folder.join(path).exists() || folder.join(default_folder()).join(path).exists()
    };
    let has_all = |folder: &PathBuf| paths.iter().all(|path| has(folder, path));
    if paths.is_empty() { None } else { origins(out).into_iter().find(has_all) }
}

/// Changes to the folder where the relative paths of a resumed run begin; returns the run's folder,
/// seen from there.
fn go_to_origin(args: &Train, config: &TrainConfig, out: &Path) -> anyhow::Result<PathBuf> {
    let named = |setting: &String| {
        ["data.train", "data.test"].iter().any(|key| setting.trim().starts_with(key))
    };
    if !args.resume || args.config.is_some() || args.set.iter().any(named) {
        return Ok(out.to_owned());
    }
    let Some(folder) = origin(config, out) else { return Ok(out.to_owned()) };
    if folder.canonicalize().ok() == Path::new(".").canonicalize().ok() {
        return Ok(out.to_owned());
    }
    let out = std::path::absolute(out)?;
    std::env::set_current_dir(&folder)?;
    tracing::info!("{}: relative paths of the run begin there", folder.display());
    Ok(out)
}

pub fn run(args: &Train, session: &Session) -> anyhow::Result<Outcome> {
    let ranks = if args.dry_run { None } else { ranks::join()? };
    let found = train(args, session, ranks.clone());
    // Where others wait for this process, they and it end here.
    if let (Err(error), Some(_)) = (&found, &ranks) {
        ranks::abort(error);
    }
    found
}

fn train(
    args: &Train,
    session: &Session,
    ranks: Option<Arc<dyn Ranks>>,
) -> anyhow::Result<Outcome> {
    let of_run = args.out.as_ref().map(|out| out.join("config.toml"));
    let path = match &args.config {
        None => of_run.filter(|path| args.resume && path.exists()),
        given => given.clone(),
    };
    let init = args.init.as_ref().map(|init| format!("init={}", toml_text(init)));
    let settings: Vec<String> = init.into_iter().chain(args.set.iter().cloned()).collect();
    let mut config = TrainConfig::load(path.as_deref(), &settings)?;
    if let Some(seed) = session.seed {
        config.seed = seed;
    }
    if let Some(dtype) = args.dtype {
        config.dtype = dtype.into();
    }
    if args.dry_run {
        return forecast::run(&config, args.cluster.cluster(), session);
    }
    let out = args.out.as_ref().ok_or_else(|| WrongCall("--out is missing".into()))?;
    let folder = go_to_origin(args, &config, out)?;
    let stop = stop_flag()?;
    let schedule = config.schedule.clone();
    let first = ranks.as_ref().is_none_or(|ranks| ranks.rank() == 0);
    if ranks.is_some() && first {
        ranks::report_silence(resume_call(out));
    }
    let builder = Trainer::builder().config(config).device(&session.device()?);
    let builder = ranks.into_iter().fold(builder, |builder, ranks| builder.ranks(ranks));
    let trainer = builder.build()?;
    let steps = trainer.total_steps();
    if schedule.steps.is_none() && steps < FEW_STEPS {
        tracing::warn!(
            "{} passes over so few images are {steps} steps; a denoiser needs some hundred: --set \
             schedule.steps=1000",
            schedule.epochs
        );
    }
    let mut bar = Bar::new(session, steps, stop);
    let finish = trainer.run(&folder, args.resume, &mut bar)?;
    bar.finish();
    if !first {
        return Ok(Outcome::Done);
    }
    let report = Report::new(out, finish);
    if session.json {
        session.print_json(&report)?;
    } else {
        report.print(out);
    }
    Ok(Outcome::Done)
}
