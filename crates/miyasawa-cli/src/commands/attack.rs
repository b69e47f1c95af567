use super::{
    Outcome,
    defence::DefenceArgs,
    export::{check_not_model, check_safetensors},
    measured::{Measured, at_least_one, check_eps, make_folder, parse_eps, write_json},
    model,
};
use crate::{
    ranks,
    session::{Session, WrongCall},
};
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use miyasawa::{
    attack::{self, AttackReport, AttackRow, Journal, Method, Norm, Plan, SizeOrder},
    checkpoint::save_tensors,
    classifier::Defence,
    data::Dataset,
    metrics::Estimate,
    predictor::Predictor,
    progress::Progress,
    report::{Plot, Provenance, Series, save_plots, short_names},
};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

use super::document::{Described, provenance};

/// Measure robust accuracy: the share of images that are still correct under attacks of size --eps.
///
/// Methods: fgsm, pgd, and autoattack (the standard version of Croce & Hein 2020: APGD-CE, targeted
/// APGD-DLR, targeted FAB, Square, each on the images that are still robust). Sizes (--eps) are in
/// units of the [0, 1] range; fractions such as 8/255 are accepted. Attacks know the defence and
/// use its exact gradient. A warning reports masked gradients.
///
/// Examples:
#[doc = "   miyasawa attack model.safetensors --data cifar10 --norm l2 --eps 0.25,0.5,1 \
         --method autoattack --limit 500"]
#[doc = "   miyasawa attack model.safetensors --data cifar10 --norm linf --eps 2/255,8/255 \
         --method pgd --restarts 3 --json"]
#[doc = "   miyasawa attack model.safetensors --data cifar10 --norm l2 --eps 0.5 \
         --method pgd --defence denoise --sigma 0.25"]
#[doc = "   miyasawa attack model.safetensors --data cifar10 --norm l2 --eps 0.5 \
         --method autoattack --out robust --resume"]
///
/// A folder (--out) keeps all finished results. With --resume, more sizes or twice the --limit cost
/// only the new work.
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Attack {
    /// A checkpoint
    model: Option<PathBuf>,
    #[command(flatten)]
    bundled: model::BundledArg,
    #[command(flatten)]
    measured: Measured,
    /// Norm of the changes
    #[arg(long, value_enum)]
    norm: NormArg,
    /// Sizes of the largest changes, in units of the [0, 1] range, separated by commas
    #[arg(long, required = true, value_delimiter = ',', value_parser = parse_eps)]
    eps: Vec<f64>,
    /// The attack
    #[arg(long, value_enum)]
    method: MethodArg,
    #[command(flatten)]
    defence: DefenceArgs,
    /// Noise level that the model is conditioned on, in units of the [-1, 1] range [default: the
    /// smallest of its training with --defence softmax, else 0.2]
    #[arg(long)]
    sigma: Option<f64>,
    /// Gradient steps [default: 50 for pgd, 100 for autoattack]
    #[arg(long)]
    steps: Option<usize>,
    /// Begin with the largest size: images that are robust to it get only the first stage at
    /// smaller sizes, which saves up to half of the time [default: smallest first, every size with
    /// all stages]
    #[arg(long)]
    largest_first: bool,
    /// Random starts of PGD and APGD
    #[arg(long, default_value_t = 1)]
    restarts: usize,
    /// Queries of Square per image
    #[arg(long, default_value_t = 5000)]
    queries: usize,
    /// Folder for the journal of finished images, attack.json and curve.png
    #[arg(long)]
    out: Option<PathBuf>,
    /// Continue the attack in the folder
    #[arg(long, requires = "out")]
    resume: bool,
    /// Folder (--out) of an attack on another model, to draw its curve in the same figure; may be
    /// repeated
    #[arg(long, value_name = "DIR", requires = "out")]
    beside: Vec<PathBuf>,
    /// Safetensors file for the clean images (values in [0, 1]) and labels, for other programs
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

/// What an attack was run on. Curves of equal setups are drawn in one figure.
#[derive(PartialEq, Deserialize)]
struct Setup {
    norm: Norm,
    method: Method,
    data: String,
    count: usize,
}

impl Setup {
    /// The setup in a message.
    fn shown(&self) -> String {
        let Self { norm, method, data, count } = self;
        format!("{method} in {norm} on {count} images of {data}")
    }
}

/// The document of `--json` and of attack.json.
#[derive(Serialize)]
struct Report {
    model: String,
    data: String,
    norm: Norm,
    method: Method,
    order: SizeOrder,
    steps: usize,
    restarts: u64,
    queries: usize,
    defence: Defence,
    /// With all warnings.
    #[serde(flatten)]
    found: AttackReport,
    seconds: f64,
    provenance: Provenance,
}

impl Report {
    fn print(&self) {
        let Self { model, data, norm, method, found, .. } = self;
        outln!("{model} on {} images of {data}", found.count);
        outln!("{method} in {norm}, clean accuracy {:.1}%", 100.0 * found.clean_accuracy);
        for row in &found.rows {
            let by: Vec<String> = row
                .misclassified_by
                .iter()
                .filter(|b| *b.1 > 0)
                .map(|(name, n)| format!("{name} {n}"))
                .collect();
            outln!(
                "  eps {:<8.5} {:>5.1}%   {}",
                row.eps,
                100.0 * row.robust_accuracy,
                by.join(", ")
            );
        }
    }

    fn curve(&self) -> Series {
        curve(&self.model, (self.found.clean_accuracy, self.found.clean_interval), &self.found.rows)
    }
}

/// The part of an earlier report that its curve is drawn from.
#[derive(Deserialize)]
struct PastReport {
    model: String,
    #[serde(flatten)]
    setup: Setup,
    clean_accuracy: f64,
    /// Nothing in documents of earlier versions.
    #[serde(default)]
    clean_interval: Option<[f64; 2]>,
    rows: Vec<AttackRow>,
}

/// Accuracy against the size of the change; `clean` is the accuracy at size 0 and its interval.
fn curve(model: &str, clean: (f64, Option<[f64; 2]>), rows: &[AttackRow]) -> Series {
    let percent = |share, interval| Estimate::within(share, interval).scaled(100.0);
    let mut points = vec![(0.0, percent(clean.0, clean.1))];
    points.extend(
        rows.iter().map(|row| (row.eps, percent(row.robust_accuracy, row.robust_interval))),
    );
    Series::estimated(model, &points)
}

/// The curve of an attack of the same setup on another model.
fn curve_of(folder: &Path, setup: &Setup) -> Result<Series> {
    let path = folder.join(REPORT);
    let name = path.display();
    let text = std::fs::read_to_string(&path).with_context(|| format!("{name}: cannot be read"))?;
    let past: PastReport =
        serde_json::from_str(&text).with_context(|| format!("{name}: not an attack's report"))?;
    if past.setup != *setup {
        bail!("{name}: is of {}, expected {}", past.setup.shown(), setup.shown());
    }
    Ok(curve(&past.model, (past.clean_accuracy, past.clean_interval), &past.rows))
}

impl Attack {
    fn check(&self) -> Result<()> {
        self.measured.check()?;
        at_least_one("restarts", self.restarts)?;
        self.steps.map_or(Ok(()), |steps| at_least_one("steps", steps))?;
        // Of several processes the first looks, before it makes the file.
        let looks = !self.resume && !ranks::is_silent();
        if let Some(out) = self.out.as_ref().filter(|out| looks && out.join(JOURNAL).exists()) {
            let text = format!("{}: holds an attack already; --resume continues it", out.display());
            return Err(WrongCall(text).into());
        }
        self.dump.as_ref().map_or(Ok(()), |dump| check_safetensors("--dump", dump))
    }

    fn plan(&self, seed: u64) -> Plan {
        let method = Method::from(self.method);
        Plan {
            norm: self.norm.into(),
            method,
            eps: self.eps.clone(),
            order: if self.largest_first {
                SizeOrder::LargestFirst
            } else {
                SizeOrder::SmallestFirst
            },
            steps: self.steps.unwrap_or(if method == Method::AutoAttack { 100 } else { 50 }),
            restarts: self.restarts as u64,
            queries: self.queries,
            batch: self.measured.batch,
            seed,
        }
    }

    fn journal(&self, plan: &Plan, predictor: &Predictor, defence: Defence) -> Result<Journal> {
        let Some(out) = &self.out else { return Ok(Journal::in_memory()) };
        make_folder(out)?;
        let header = plan.header(&self.measured.journal_subject(predictor, Some(defence))?);
        let path = out.join(JOURNAL);
        Ok(if self.resume {
            Journal::resume(&path, &header)?
        } else {
            Journal::create(&path, &header)?
        })
    }
}

/// Writes the images, with values in [0, 1], and their labels.
fn dump(path: &Path, set: &Dataset) -> Result<()> {
    let x = attack::unit_values(set, &(0..set.len()).collect::<Vec<_>>());
    let labels = set.labels().iter().map(|l| *l as f32).collect();
    let shape = vec![set.len(), set.channels(), set.height(), set.width()];
    Ok(save_tensors(path, &[("x", shape, x), ("labels", vec![set.len()], labels)])?)
}

/// Draws the curves of all models in one figure.
fn save_curves(path: &Path, report: &Report, beside: Vec<Series>) -> Result<()> {
    let mut curves: Vec<Series> = std::iter::once(report.curve()).chain(beside).collect();
    let names = short_names(&curves.iter().map(|curve| curve.name.clone()).collect::<Vec<_>>());
    curves.iter_mut().zip(names).for_each(|(curve, name)| curve.name = name);
    let title = format!("Robust accuracy, {} in {}", report.method, report.norm);
    let mut plot = Plot::new(title, "eps", "accuracy, %", curves);
    plot.y_range = Some((0.0, 100.0));
    Ok(save_plots(&[plot], path)?)
}

pub fn run(args: &Attack, session: &Session) -> Result<Outcome> {
    args.check()?;
    let predictor = model::load(args.bundled.or(args.model.as_deref())?, session)?;
    if let Some(path) = &args.dump {
        check_not_model("--dump", path, Path::new(predictor.name()))?;
    }
    predictor.require_classifier()?;
    let too_large = check_eps(args.norm.into(), &args.eps, &predictor)?;
    let seed = session.seed.unwrap_or(0);
    let defence = args.defence.at(args.sigma, &predictor, seed)?;
    let set = args.measured.load(&predictor)?;
    if let Some(path) = args.dump.as_ref().filter(|_| !ranks::is_silent()) {
        dump(path, &set)?;
    }
    let plan = args.plan(seed);
    let data = args.measured.data.clone();
    let setup =
        Setup { norm: plan.norm, method: plan.method, data: data.clone(), count: set.len() };
    let beside = args.beside.iter().map(|dir| curve_of(dir, &setup)).collect::<Result<Vec<_>>>()?;
    let mut journal = args.journal(&plan, &predictor, defence)?;
    let classifier = predictor.classifier(defence)?;
    let bar = crate::progress::Progress::share(session);
    let mut watch = session.watched(|p: &Progress<'_>| {
        let [eps, remaining] = ["eps", "remaining"].map(|name| p.value(name).unwrap_or_default());
        bar.set_message(format!("eps {eps:.4}, {}, {:.1}% robust", p.task, 100.0 * remaining));
        bar.set_share(p.share);
    });
    let mut found = attack::run(classifier.as_ref(), &set, &plan, &mut journal, &mut watch)?;
    bar.finish_and_clear();
    for warning in &found.warnings {
        tracing::warn!("{warning}");
    }
    found.warnings.extend(too_large);
    let report = Report {
        model: predictor.name().to_owned(),
        data,
        norm: plan.norm,
        method: plan.method,
        order: plan.order,
        steps: plan.steps,
        restarts: plan.restarts,
        queries: plan.queries,
        defence,
        found,
        seconds: journal.seconds(),
        provenance: provenance(session),
    };
    let document = Described::new(&report, &predictor, session);
    if let Some(out) = args.out.as_ref().filter(|_| !ranks::is_silent()) {
        write_json(&out.join(REPORT), &document)?;
        save_curves(&out.join("curve.png"), &report, beside)?;
    }
    if session.json {
        session.print_json(&document)?;
    } else {
        report.print();
    }
    Ok(Outcome::Done)
}
