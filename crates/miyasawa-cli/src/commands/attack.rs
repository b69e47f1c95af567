use super::{
    Outcome,
    defence::DefenceArgs,
    export::{check_not_model, check_safetensors},
    measured::{Measured, at_least_one, bar, check_eps, make_folder, parse_eps, write_json},
    model,
};
use crate::session::{Session, WrongCall};
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use miyasawa::{
    attack::{self, Journal, Method, Norm, Plan, SizeOrder},
    checkpoint::save_tensors,
    metrics::Estimate,
    progress::Progress,
    report::{Plot, Series, save_plots, short_names},
};
use serde_json::Value;
use std::path::{Path, PathBuf};

use super::document::{described, provenance};

/// Robust accuracy: the share of images that stay right whatever small change an attack makes.
///
/// Methods: fgsm, pgd, and autoattack (the standard version of Croce & Hein 2020: APGD-CE, targeted APGD-DLR, targeted
/// FAB, Square, each on what still stands). Sizes (--eps) are in units of the [0, 1] pixel range; fractions such as
/// 8/255 are understood. Attacks know the defence and have its exact gradient. Warnings tell of masked gradients.
///
/// Examples:
///   miyasawa attack model.safetensors --data cifar10 --norm l2 --eps 0.25,0.5,1 --method autoattack --limit 500
///   miyasawa attack model.safetensors --data cifar10 --norm linf --eps 2/255,8/255 --method pgd --restarts 3 --json
///   miyasawa attack model.safetensors --data cifar10 --norm l2 --eps 0.5 --method pgd --defence denoise --sigma 0.25
///   miyasawa attack model.safetensors --data cifar10 --norm l2 --eps 0.5 --method autoattack --out robust --resume
///
/// What was finished in a folder (--out) is kept for another --resume: with more sizes, or a --limit of twice as many
/// images, only what is new is done.
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Attack {
    /// A checkpoint
    model: Option<PathBuf>,
    #[command(flatten)]
    measured: Measured,
    /// How changes are measured
    #[arg(long, value_enum)]
    norm: NormArg,
    /// Largest changes, in units of the [0, 1] range
    #[arg(long, required = true, value_delimiter = ',', value_parser = parse_eps)]
    eps: Vec<f64>,
    /// The attack
    #[arg(long, value_enum)]
    method: MethodArg,
    #[command(flatten)]
    defence: DefenceArgs,
    /// Noise level that the model is told [default: softmax: the smallest of its training; denoise, average: 0.2]
    #[arg(long)]
    sigma: Option<f64>,
    /// Gradient steps [default: 50 for pgd, 100 for autoattack]
    #[arg(long)]
    steps: Option<usize>,
    /// Begin with the largest change: what withstands it is only checked with the first stage at smaller ones, which
    /// saves up to half of the time (smallest first, every size is attacked with all stages)
    #[arg(long)]
    largest_first: bool,
    /// Random starts of PGD and APGD
    #[arg(long, default_value_t = 1)]
    restarts: usize,
    /// Queries of Square for each image
    #[arg(long, default_value_t = 5000)]
    queries: usize,
    /// A folder for the journal of finished images, attack.json and curve.png
    #[arg(long)]
    out: Option<PathBuf>,
    /// Go on with the attack that the folder holds
    #[arg(long, requires = "out")]
    resume: bool,
    /// The folder (--out) of an attack on another model, for its curve in the same figure; may be repeated
    #[arg(long, value_name = "DIR", requires = "out")]
    beside: Vec<PathBuf>,
    /// Write the clean images (values in [0, 1]) and labels to a safetensors file, for other programs
    #[arg(long, value_name = "FILE")]
    dump: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum NormArg {
    L2,
    Linf,
}

impl From<NormArg> for Norm {
    fn from(norm: NormArg) -> Self {
        match norm {
            NormArg::L2 => Self::L2,
            NormArg::Linf => Self::Linf,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum MethodArg {
    Fgsm,
    Pgd,
    Autoattack,
}

impl From<MethodArg> for Method {
    fn from(method: MethodArg) -> Self {
        match method {
            MethodArg::Fgsm => Self::Fgsm,
            MethodArg::Pgd => Self::Pgd,
            MethodArg::Autoattack => Self::AutoAttack,
        }
    }
}

const JOURNAL: &str = "attack.jsonl";
const REPORT: &str = "attack.json";

/// Accuracy against the size of the change, as a report tells it.
fn curve(report: &Value) -> Option<Series> {
    let estimate = |of: &Value, share: &str, interval: &str| {
        let [low, high] = [0, 1].map(|end| of[interval][end].as_f64());
        let within = Estimate::within(of[share].as_f64()?, low.zip(high).map(|(low, high)| [low, high]));
        Some(within.scaled(100.0))
    };
    let mut points = vec![(0.0, estimate(report, "clean_accuracy", "clean_interval")?)];
    for row in report["rows"].as_array()? {
        points.push((row["eps"].as_f64()?, estimate(row, "robust_accuracy", "robust_interval")?));
    }
    Some(Series::estimated(report["model"].as_str()?, &points))
}

/// The curve of an attack of the same kind on another model.
fn curve_of(folder: &Path, kind: &Value) -> Result<Series> {
    let path = folder.join(REPORT);
    let name = path.display();
    let text = std::fs::read_to_string(&path).with_context(|| format!("{name}: cannot be read"))?;
    let report: Value =
        serde_json::from_str(&text).with_context(|| format!("{name}: not an attack's report"))?;
    let found = serde_json::json!([report["norm"], report["method"], report["data"], report["count"]]);
    if found != *kind {
        bail!("{name}: tells of {found}, expected {kind}");
    }
    curve(&report).with_context(|| format!("{name}: not an attack's report"))
}

pub fn run(args: &Attack, session: &Session) -> Result<Outcome> {
    args.measured.check()?;
    at_least_one("restarts", args.restarts)?;
    args.steps.map_or(Ok(()), |steps| at_least_one("steps", steps))?;
    if let Some(out) = args.out.as_ref().filter(|out| !args.resume && out.join(JOURNAL).exists()) {
        let text = format!("{}: holds an attack already; --resume goes on with it", out.display());
        return Err(WrongCall(text).into());
    }
    if let Some(dump) = &args.dump {
        check_safetensors("--dump", dump)?;
    }
    let predictor = model::load(args.model.as_deref(), session)?;
    if let Some(dump) = &args.dump {
        check_not_model("--dump", dump, Path::new(predictor.name()))?;
    }
    predictor.require_classifier()?;
    let too_large = check_eps(args.norm.into(), &args.eps, &predictor)?;
    let seed = session.seed.unwrap_or(0);
    let defence = args.defence.at(args.sigma, &predictor, seed)?;
    let set = args.measured.load(&predictor)?;
    let shape = [set.channels(), set.height(), set.width()];
    if let Some(path) = &args.dump {
        let x = attack::unit_values(&set, &(0..set.len()).collect::<Vec<_>>());
        let labels = set.labels().iter().map(|l| *l as f32).collect();
        let [c, h, w] = shape;
        save_tensors(path, &[("x", vec![set.len(), c, h, w], x), ("labels", vec![set.len()], labels)])?;
    }
    let method = Method::from(args.method);
    let plan = Plan {
        norm: args.norm.into(),
        method,
        eps: args.eps.clone(),
        order: if args.largest_first { SizeOrder::LargestFirst } else { SizeOrder::SmallestFirst },
        steps: args.steps.unwrap_or(if method == Method::AutoAttack { 100 } else { 50 }),
        restarts: args.restarts as u64,
        queries: args.queries,
        batch: args.measured.batch,
        seed,
    };
    let kind = serde_json::json!([plan.norm, method, args.measured.data, set.len()]);
    let beside = args.beside.iter().map(|dir| curve_of(dir, &kind)).collect::<Result<Vec<_>>>()?;
    let mut journal = match &args.out {
        None => Journal::in_memory(),
        Some(out) => {
            make_folder(out)?;
            let header = plan.header(&serde_json::json!({
                "model": predictor.sha256(), "data": args.measured.data, "fit": format!("{:?}", args.measured.fit_for(&predictor)),
                "defence": defence,
            }));
            let path = out.join(JOURNAL);
            if args.resume { Journal::resume(&path, &header)? } else { Journal::create(&path, &header)? }
        }
    };
    let classifier = predictor.classifier(defence)?;
    let bar = bar(session);
    let mut watch = |p: &Progress<'_>| {
        let [eps, remaining] = ["eps", "remaining"].map(|name| p.value(name).unwrap_or_default());
        bar.set_message(format!("eps {eps:.4}, {}, {:.1}% remaining", p.task, 100.0 * remaining));
        bar.set_share(p.share);
    };
    let found = attack::run(classifier.as_ref(), &set, &plan, &mut journal, &mut watch)?;
    bar.finish_and_clear();
    for warning in &found.warnings {
        tracing::warn!("{warning}");
    }
    let warnings: Vec<&String> = found.warnings.iter().chain(&too_large).collect();
    let document = serde_json::json!({
        "clean_interval": found.clean_interval, "steps": plan.steps, "restarts": plan.restarts, "queries": plan.queries,
        "provenance": provenance(),
        "model": predictor.name(), "data": args.measured.data, "norm": plan.norm, "method": method,
        "order": plan.order, "defence": defence, "count": found.count, "clean_accuracy": found.clean_accuracy, "rows": found.rows,
        "warnings": warnings, "seconds": journal.seconds(),
    });
    let document = described(document, &predictor, session);
    if let Some(out) = &args.out {
        write_json(&out.join(REPORT), &document)?;
        let mut curves: Vec<Series> = curve(&document).into_iter().chain(beside).collect();
        let names = short_names(&curves.iter().map(|curve| curve.name.clone()).collect::<Vec<_>>());
        curves.iter_mut().zip(names).for_each(|(curve, name)| curve.name = name);
        let title = format!("Robust accuracy, {method} in {}", plan.norm);
        let mut plot = Plot::new(title, "eps", "accuracy, %", curves);
        plot.y_range = Some((0.0, 100.0));
        save_plots(&[plot], &out.join("curve.png"))?;
    }
    if session.json {
        session.print_json(&document)?;
        return Ok(Outcome::Done);
    }
    outln!("{} on {} images of {}", predictor.name(), found.count, args.measured.data);
    outln!("{method} in {}, clean accuracy {:.1}%", plan.norm, 100.0 * found.clean_accuracy);
    for row in &found.rows {
        let by: Vec<String> =
            row.broken_by.iter().filter(|b| *b.1 > 0).map(|(name, n)| format!("{name} {n}")).collect();
        outln!("  eps {:<8.5} {:>5.1}%   {}", row.eps, 100.0 * row.robust_accuracy, by.join(", "));
    }
    Ok(Outcome::Done)
}
