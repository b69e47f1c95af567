use super::{Outcome, model};
use crate::{output::shown, session::Session};
use clap::Args;
use miyasawa::{bundled::BundledModel, checkpoint::ModelInfo};
use serde::Serialize;
use std::path::PathBuf;

/// Describe a checkpoint: model, data, training so far, hash. Without one, list the bundled models.
///
/// Examples:
///   miyasawa info runs/cifar/model.safetensors
///   miyasawa info --model photo
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Info {
    /// A checkpoint [default: the bundled model, and the program itself]
    model: Option<PathBuf>,
    #[command(flatten)]
    bundled: model::BundledArg,
}

/// The document of `--json`.
#[derive(Serialize)]
struct Report {
    model: String,
    parameters: usize,
    sha256: String,
    info: ModelInfo,
    isa: String,
    threads: usize,
    version: &'static str,
    /// What `--model` takes; only where no model is asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    bundled: Vec<Listed>,
}

/// A bundled model in the list.
#[derive(Serialize)]
struct Listed {
    name: &'static str,
    summary: &'static str,
    bytes: usize,
    sha256: String,
}

impl Listed {
    fn read(model: BundledModel) -> anyhow::Result<Self> {
        let (name, summary, bytes) = (model.name(), model.summary(), model.bytes().len());
        Ok(Self { name, summary, bytes, sha256: model.checkpoint()?.1 })
    }
}

impl Info {
    /// Whether the command line names no model.
    fn names_none(&self) -> bool {
        self.model.is_none() && !self.bundled.is_given()
    }
}

impl Report {
    fn read(args: &Info) -> anyhow::Result<Self> {
        let isa = miyasawa::isa_name();
        let model::LoadedCheckpoint { checkpoint, sha256, path } =
            model::read(args.bundled.or(args.model.as_deref())?)?;
        let sizes = checkpoint.params.values().map(|data| data.shape().iter().product::<usize>());
        let parameters: usize = sizes.sum();
        let bundled = if args.names_none() { BundledModel::ALL.to_vec() } else { Vec::new() };
        let bundled = bundled.into_iter().map(Listed::read).collect::<anyhow::Result<_>>()?;
        Ok(Self {
            model: shown(&path),
            parameters,
            sha256,
            info: checkpoint.info,
            isa,
            threads: rayon::current_num_threads(),
            version: env!("CARGO_PKG_VERSION"),
            bundled,
        })
    }

    fn print(&self) {
        let Self { model, parameters, sha256, info, .. } = self;
        let (net, data, training) = (&info.network, &info.data, &info.training);
        outln!("{model}");
        outln!("  network     {net}, {parameters} parameters");
        outln!(
            "  data        {}, {}x{}x{}, mean {:.4}, standard deviation {:.4}",
            data.name,
            data.channels,
            data.height,
            data.width,
            data.mean,
            data.std
        );
        outln!("  classes     {}: {}", data.classes.len(), data.classes.join(", "));
        outln!("  noise       {} to {}", info.sigma[0], info.sigma[1]);
        outln!(
            "  training    {} steps, {} images seen, seed {}, weights of CE and DSM {:?}, by \
             version {}",
            training.steps,
            training.images,
            training.seed,
            training.loss_weights,
            training.version
        );
        let pass = net.macs([data.height, data.width]) as f64 / 1e6;
        let mut cost = Vec::new();
        if info.classifies() {
            cost.push(format!("{pass:.1} million MACs to classify"));
        }
        if info.denoises() {
            cost.push(format!("{:.1} million to denoise", pass * net.denoise_passes() as f64));
        }
        outln!("  cost        {} an image of {}x{}", cost.join(", "), data.height, data.width);
        outln!("  sha256      {sha256}");
    }
}

pub fn run(args: &Info, session: &Session) -> anyhow::Result<Outcome> {
    let report = Report::read(args)?;
    if session.json {
        session.print_json(&report)?;
        return Ok(Outcome::Done);
    }
    if args.names_none() {
        let Report { version, isa, threads, .. } = &report;
        outln!("miyasawa {version}, CPU kernels {isa}, {threads} threads");
        outln!("bundled models (--model NAME):");
        for Listed { name, summary, bytes, .. } in &report.bundled {
            outln!("  {name:<11} {summary} ({:.1} MB)", *bytes as f64 / 1e6);
        }
    }
    report.print();
    Ok(Outcome::Done)
}
