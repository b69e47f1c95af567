use super::{
    Outcome,
    attack::{MethodArg, NormArg},
    measured::{Measured, at_least_one, check_eps, make_folder, parse_eps, write_json},
    model,
    ood::out_of_distribution,
};
use crate::{
    ranks,
    session::{Session, WrongCall},
};
use anyhow::{Context as _, Result};
use clap::Args;
use miyasawa::predictor::Predictor;
use miyasawa::{
    atomic::write_atomic,
    attack::{Journal, Method, Norm, VERSION},
    bundled::BundledModel,
    data::Dataset,
    ood::OutSource,
    progress::Progress,
    report::Provenance,
    trust::{Subject, TrustOptions, page},
};
use serde::Serialize;
use serde_json::Value;
use std::{
    io::Write,
    path::{Path, PathBuf},
};

use super::document::{UNITS, Units, provenance};

/// Report how far a model can be trusted, or several side by side: report.html and trust.json.
///
/// Accuracy, calibration, PSNR, detection of out-of-distribution images and robust accuracy, over
/// noise levels. The numbers are those of eval, calibrate, ood and attack. The page begins with a
/// summary in words: the findings with 95% intervals, and which differences the number of images
/// can and cannot show. --limit makes the report quick, and the intervals wide. --resume continues
/// an interrupted report; attacks, which take most of the time, continue where they stopped.
///
#[doc = " Example: miyasawa trust joint.safetensors plain.safetensors --data cifar10 --limit 200 \
         --out trust"]
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Trust {
    /// One or more checkpoints [default: the bundled model]
    models: Vec<PathBuf>,
    #[command(flatten)]
    measured: Measured,
    /// Out-of-distribution images, as in `ood`; may be repeated
    #[arg(
        long,
        value_name = "DATA",
        default_values_t = ["noise".to_owned(), "textures".to_owned()]
    )]
    out_data: Vec<String>,
    /// Noise levels, in units of the [-1, 1] range
    #[arg(long, value_delimiter = ',', default_values_t = [0.02, 0.1, 0.2, 0.4, 1.0])]
    sigmas: Vec<f64>,
    /// Norm of the attacks
    #[arg(long, value_enum, default_value = "l2")]
    norm: NormArg,
    /// Sizes of the attacks, in units of the [0, 1] range
    #[arg(
        long,
        value_delimiter = ',',
        value_parser = parse_eps,
        default_values_t = [0.25, 0.5, 1.0]
    )]
    eps: Vec<f64>,
    /// The attack
    #[arg(long, value_enum, default_value = "pgd")]
    method: MethodArg,
    /// Gradient steps [default: 20 for pgd, 100 for autoattack]
    #[arg(long)]
    steps: Option<usize>,
    /// Folder for report.html and trust.json
    #[arg(long)]
    out: PathBuf,
    /// Continue the report in the folder, or show it if it is finished
    #[arg(long)]
    resume: bool,
}

/// A model and the images that it is measured on.
struct Measurement {
    predictor: Predictor,
    data: Dataset,
    out_of_distribution: Vec<Dataset>,
}

/// The report, written before the document.
const PAGE: &str = "report.html";
/// The last file to be written.
const DOCUMENT: &str = "trust.json";

/// The journal of a model's attack at a noise level, kept until the report is written.
fn journal_path(out: &Path, model: usize, sigma: f64) -> PathBuf {
    out.join(format!("attack-{model}-{sigma}.jsonl"))
}

/// The document of `--json` and of trust.json.
#[derive(Serialize)]
struct Report {
    data: String,
    models: Vec<miyasawa::trust::Trust>,
    call: Call,
    units: Units,
    provenance: Provenance,
}

/// All that the report depends on: a finished report is shown again for an equal call only.
#[derive(Serialize)]
struct Call {
    /// Hash of the checkpoint, digest of the images, digests of the out-of-distribution images.
    models: Vec<(String, String, Vec<String>)>,
    /// Version of the attacks.
    attacks: u32,
    limit: Option<usize>,
    out_data: Vec<String>,
    sigmas: Vec<f64>,
    norm: Norm,
    eps: Vec<f64>,
    method: Method,
    steps: usize,
    seed: u64,
}

impl Call {
    fn new(args: &Trust, models: &[Measurement], options: &TrustOptions) -> Self {
        let of = |Measurement { predictor, data, out_of_distribution }: &Measurement| {
            let digests: Vec<String> = out_of_distribution.iter().map(Dataset::digest).collect();
            (predictor.sha256().to_owned(), data.digest(), digests)
        };
        let TrustOptions { sigmas, norm, eps, method, steps, seed, .. } = options.clone();
        Self {
            models: models.iter().map(of).collect(),
            attacks: VERSION,
            limit: args.measured.limit,
            out_data: args.out_data.clone(),
            sigmas,
            norm,
            eps,
            method,
            steps,
            seed,
        }
    }
}

/// The journals in the folder.
fn journals(out: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(out).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_journal = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let named = name.strip_prefix("attack-").and_then(|name| name.strip_suffix(".jsonl"));
        let numbers = named.and_then(|name| name.split_once('-'));
        numbers.is_some_and(|(model, sigma)| {
            model.parse::<usize>().is_ok() && sigma.parse::<f64>().is_ok()
        })
    };
    entries.filter(is_journal).collect()
}

pub fn run(args: &Trust, session: &Session) -> Result<Outcome> {
    args.measured.check()?;
    args.steps.map_or(Ok(()), |steps| at_least_one("steps", steps))?;
    for source in &args.out_data {
        source.parse::<OutSource>()?;
    }
    let document = args.out.join(DOCUMENT);
    // Of several processes the first looks, before it writes.
    let looks = !args.resume && !ranks::is_silent();
    if looks && document.exists() {
        let text = format!("{}: holds a report already; choose another folder", args.out.display());
        return Err(WrongCall(text).into());
    }
    if looks && !journals(&args.out).is_empty() {
        let text =
            format!("{}: holds an unfinished report; --resume continues it", args.out.display());
        return Err(WrongCall(text).into());
    }
    let method = Method::from(args.method);
    let seed = session.seed.unwrap_or(0);
    let sources = match &args.models[..] {
        [] => vec![model::unnamed(BundledModel::default())],
        paths => paths.iter().map(|path| model::Source::File(path.clone())).collect(),
    };
    // All models are read before the first is measured: a missing file must not waste the work.
    let models =
        sources.into_iter().map(|from| model::load(from, session)).collect::<Result<Vec<_>>>()?;
    let options = TrustOptions {
        sigmas: args.sigmas.clone(),
        norm: args.norm.into(),
        eps: args.eps.clone(),
        method,
        steps: args.steps.unwrap_or(if method == Method::AutoAttack { 100 } else { 20 }),
        queries: 5000,
        batch: args.measured.batch,
        seed,
    };
    for predictor in &models {
        model::sigmas(predictor, &args.sigmas)?;
        check_eps(args.norm.into(), &args.eps, predictor)?;
    }
    let with_images = |predictor: Predictor| -> Result<Measurement> {
        let data = args.measured.load(&predictor)?;
        let out_of_distribution =
            out_of_distribution(&args.out_data, &predictor, args.measured.limit, seed)?;
        Ok(Measurement { predictor, data, out_of_distribution })
    };
    let models = models.into_iter().map(with_images).collect::<Result<Vec<_>>>()?;
    let call = Call::new(args, &models, &options);
    if ranks::of_first(document.exists() && args.out.join(PAGE).exists())? {
        if ranks::is_silent() {
            return Ok(Outcome::Done);
        }
        return finished(args, &document, &call, session);
    }
    make_folder(&args.out)?;
    let bar = crate::progress::Progress::share(session);
    let mut found = Vec::new();
    for (i, Measurement { predictor, data, out_of_distribution }) in models.iter().enumerate() {
        let subject = Subject {
            name: predictor.name(),
            sha256: predictor.sha256(),
            model: predictor.model(),
            clean_sigma: predictor.noise_levels()[0],
            classifies: predictor.info().classifies(),
            denoises: predictor.info().denoises(),
            data,
            out_of_distribution,
            device: predictor.device(),
        };
        let header = options.attack().header(&args.measured.journal_subject(predictor, None)?);
        let mut journal =
            |sigma: f64| Journal::resume(&journal_path(&args.out, i + 1, sigma), &header);
        let mut watch = session.watched(|p: &Progress<'_>| {
            bar.set_message(format!("{}: {}", predictor.name(), p.task));
            bar.set_share(p.share);
        });
        found.push(subject.measure(&options, &mut journal, &mut watch)?);
    }
    bar.finish_and_clear();
    if ranks::is_silent() {
        return Ok(Outcome::Done);
    }
    let (data, provenance) = (args.measured.data.clone(), provenance(session));
    let html = page(&found, &options, &data, &provenance)?;
    write_atomic(&args.out.join(PAGE), |w| w.write_all(html.as_bytes()))?;
    let report = Report { data, models: found, call, units: UNITS, provenance };
    write_json(&document, &report)?;
    show(args, &report, session)
}

/// Shows a finished report, if it is that of this call.
fn finished(args: &Trust, document: &Path, call: &Call, session: &Session) -> Result<Outcome> {
    let text = std::fs::read_to_string(document)
        .with_context(|| format!("{}: cannot be read", document.display()))?;
    let found: Value = serde_json::from_str(&text)
        .with_context(|| format!("{}: no report", document.display()))?;
    if found["data"] != args.measured.data.as_str() || found["call"] != serde_json::to_value(call)?
    {
        // A report of an earlier version does not name its call.
        let what =
            if found["call"].is_null() { "a report already" } else { "the report of another call" };
        let text = format!("{}: holds {what}; choose another folder", args.out.display());
        return Err(WrongCall(text).into());
    }
    show(args, &found, session)
}

fn show(args: &Trust, report: &impl Serialize, session: &Session) -> Result<Outcome> {
    // Their content is in the report.
    journals(&args.out).into_iter().try_for_each(std::fs::remove_file)?;
    if session.json {
        session.print_json(report)?;
    } else {
        outln!("{}", args.out.join(PAGE).display());
    }
    Ok(Outcome::Done)
}
