use super::{Outcome, eval};
use crate::output::shown;
use crate::progress::{Progress, span};
use crate::session::{DtypeArg, Session, WrongCall};
use crate::signals::stop_flag;
use clap::Args;
use miyasawa::{
    data::{DataSource, default_folder},
    eval::EvalRow,
    progress::Monitor,
    train::{BestEvaluation, Observer, Rollback, StepReport, TrainConfig, Trainer, cost::Cost, origins},
};
use std::{
    path::{Path, PathBuf},
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
/// and gives the same bytes as a run that was never interrupted. Without CONFIG and --set data.train or data.test it may
/// be called from any folder: relative paths begin where the run was started.
///
/// Where the loss is not finite or beyond a bound, the run returns to its last good state, lowers the learning
/// rate and passes the batch over ([divergence] in config.toml). --dry-run prints what a run would cost.
///
/// Examples:
///   miyasawa train recipes/cifar10.toml --out runs/cifar10
///   miyasawa train --resume --out runs/cifar10
///   miyasawa train recipes/imagenet64.toml --dry-run
///   miyasawa train --set data.train=photos/ --set data.size=[32,32] --set data.fit=resize --out runs/mine
///   miyasawa train --init bundled --set data.train=photos/ --set data.size=[32,32] --set data.fit=resize \
///     --set optimizer.freeze='["stem","stages.0"]' --out runs/tuned
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
    /// Start from the parameters of this model instead of random ones, with its network where the configuration
    /// does not say; `bundled` is the one inside the program. Of other classes than the data's the head starts anew
    #[arg(long, value_name = "MODEL", conflicts_with = "resume")]
    init: Option<String>,
    /// Type of the convolutions' products [default: f32, or what the configuration says]
    #[arg(long, value_enum)]
    dtype: Option<DtypeArg>,
    /// Train nothing: print parameters, MACs, memory, and hours on named hardware
    #[arg(long, conflicts_with = "resume")]
    dry_run: bool,
}

/// A bar of a run's steps, and a flag that a signal sets.
pub struct Bar {
    bar: Progress,
    stop: Arc<AtomicBool>,
    print: bool,
    begun: bool,
}

impl Bar {
    pub fn new(session: &Session, total: u64, stop: Arc<AtomicBool>) -> Self {
        Self { bar: Progress::steps(session, total), stop, print: !session.quiet, begun: false }
    }

    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Observer for Bar {
    fn step(&mut self, report: &StepReport, _: u64) {
        // A run that goes on has not taken all of its steps since now.
        if !std::mem::replace(&mut self.begun, true) {
            self.bar.start_at(report.step.saturating_sub(1));
        }
        let stats = &report.stats;
        let accuracy = stats.accuracy.map_or(String::new(), |a| format!(" {:.1}%", 100.0 * a));
        let gap = stats.energy_gap.map_or(String::new(), |gap| format!(", energy gap {gap:.3}"));
        self.bar.set_message(format!(
            "ce {:.3}{accuracy}, dsm {:.3}{gap}, {:.0} images/s, epoch {:.2}",
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
                let accuracy = row.accuracy.map_or(String::new(), |a| format!(" {:.1}%", 100.0 * a));
                format!("sigma {}:{accuracy}{psnr}", row.sigma)
            })
            .collect();
        tracing::info!("step {step}: {}", cells.join(", "));
    }

    fn rollback(&mut self, event: &Rollback) {
        tracing::warn!(
            "step {}: the {} is {}, expected {}: back to step {} with {} times the learning rate, rollback {}",
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

/// Steps that passes over a small set may come to without anybody having meant it.
const FEW: u64 = 100;

/// What the run would cost.
fn dry_run(config: &TrainConfig, session: &Session) -> anyhow::Result<Outcome> {
    let cost = Cost::estimate(config, rayon::current_num_threads())?;
    let here = cost.measure_here(config, &session.device()?)?;
    if session.json {
        let mut document = serde_json::to_value(&cost)?;
        document["here"] = serde_json::to_value(&here)?;
        session.print_json(&document)?;
        return Ok(Outcome::Done);
    }
    let (data, memory) = (&cost.data, &cost.memory);
    let size = format!("{}x{}x{}", data.channels, data.height, data.width);
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    outln!("data           {} images of {size}, {} classes", data.images, data.classes);
    outln!("parameters     {}", cost.parameters);
    outln!("steps          {} of {} images, {:.2} epochs", cost.steps, cost.batch, cost.epochs);
    outln!(
        "MACs  {:.4e} an image forward, {:.4e} a training step, {:.4e} in all",
        cost.macs_per_image as f64,
        cost.macs_per_step as f64,
        cost.macs as f64
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
    outln!("time           of all steps, evaluations come on top");
    for device in std::iter::once(&here).chain(&cost.hardware) {
        let time = span(3600.0 * device.hours);
        outln!("{time:>12}   {}, {:.0} GFLOP/s ({})", device.name, device.gflops, device.basis);
    }
    Ok(Outcome::Done)
}

/// Which of the two models of a finished run is the better one, and what to do with it.
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
        "{0}: of step {1}, is the better one: {score} against {of_last} of the last, in the mean over the noise levels; use \
         it as MODEL: miyasawa eval {0} --data DATA",
        path.display(),
        best.step
    )
}

/// Where a set lies, if that depends on the folder that the process works in: its path, or the usual places.
fn relative_place(text: &str) -> Option<PathBuf> {
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
    let place = if text.contains('{') { path.parent()?.to_owned() } else { path };
    place.is_relative().then_some(place)
}

/// The folder where the relative paths of a run's own configuration begin, if their data is there.
fn origin(config: &TrainConfig, out: &Path) -> Option<PathBuf> {
    let sets = std::iter::once(&config.data.train).chain(&config.data.test);
    let places: Vec<PathBuf> = sets.filter_map(|text| relative_place(text)).collect();
    let has = |folder: &Path, place: &PathBuf| {
        folder.join(place).exists() || folder.join(default_folder()).join(place).exists()
    };
    let has_all = |folder: &PathBuf| places.iter().all(|place| has(folder, place));
    if places.is_empty() { None } else { origins(out).into_iter().find(has_all) }
}

/// Goes to where the relative paths of a run that goes on begin; the run's folder as it is named from there.
fn go_to_origin(args: &Train, config: &TrainConfig, out: &Path) -> anyhow::Result<PathBuf> {
    let named =
        |setting: &String| ["data.train", "data.test"].iter().any(|key| setting.trim().starts_with(key));
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
    let own = args.out.as_ref().map(|out| out.join("config.toml"));
    let path = match &args.config {
        None => own.filter(|own| args.resume && own.exists()),
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
        return dry_run(&config, session);
    }
    let out = args.out.as_ref().ok_or_else(|| WrongCall("--out is missing".into()))?;
    let place = go_to_origin(args, &config, out)?;
    let stop = stop_flag()?;
    let schedule = config.schedule.clone();
    let trainer = Trainer::new(config, &session.device()?)?;
    let steps = trainer.total_steps();
    if schedule.steps.is_none() && steps < FEW {
        tracing::warn!(
            "{} passes over so few images are {steps} steps, and a denoiser needs some hundred: --set schedule.steps=1000",
            schedule.epochs
        );
    }
    let mut bar = Bar::new(session, steps, stop);
    let finish = trainer.run(&place, args.resume, &mut bar)?;
    bar.finish();
    let model = out.join("model.safetensors");
    if session.json {
        session.print_json(&serde_json::json!({
            "model": shown(&model), "complete": finish.complete, "steps": finish.steps, "rows": finish.rows,
            "best": finish.best,
        }))?;
        return Ok(Outcome::Done);
    }
    if finish.complete {
        eval::print_rows(&finish.rows);
        outln!("{}: {} steps, done", model.display(), finish.steps);
        if let Some(best) = &finish.best {
            outln!("{}", compare_models(out, best, finish.steps));
        }
    } else {
        let resume = format!("miyasawa train --resume --out {}", out.display());
        outln!("{}: stopped at step {}; go on with: {resume}", model.display(), finish.steps);
    }
    Ok(Outcome::Done)
}
