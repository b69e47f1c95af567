mod corruptions;

use super::{Outcome, measured::Measured, model};
use crate::{
    progress::Progress,
    session::{Session, WrongCall},
};
use anyhow::{Context as _, bail};
use clap::Args;
use miyasawa::predictor::Predictor;
use miyasawa::{
    data::{OpenOptions, Streaming, TestSet},
    eval::{EvalOptions, EvalRow, Evaluation, ImageEvalOptions},
};
use serde::Serialize;
use std::path::PathBuf;

use super::document::Described;

/// Measure a model at several noise levels.
///
/// A row holds accuracy, negative log-likelihood, calibration error (15 bins), PSNR and SSIM of
/// D(y), PSNR of D(y, true class), and PSNR of the noisy image. Quantities that the model does not
/// support are left out. Classes are matched by name; the data may have some of the model's classes
/// only. On images without classes only denoising is measured. Images for denoising alone may
/// differ in size; each is measured in its own channels, as denoise treats it.
///
/// With --corruptions, accuracy is measured under the fifteen corruptions of CIFAR-10-C (Hendrycks
/// & Dietterich 2019) instead: the error of each at each severity, and their mean, beside the error
/// on clean images. They are generated from the images at the model's size. No other noise is
/// added, and the model is conditioned on the smallest of --sigmas, or with --estimate on an
/// estimate.
///
/// Examples:
/// miyasawa eval model.safetensors --data cifar10 --sigmas 0.1,0.2 --limit 1000 --json
/// miyasawa eval model.safetensors --data cifar10 --corruptions all --limit 1000
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Eval {
    /// A checkpoint
    model: Option<PathBuf>,
    #[command(flatten)]
    bundled: model::BundledArg,
    #[command(flatten)]
    measured: Measured,
    /// Noise levels, in units of the [-1, 1] range
    #[arg(long, value_delimiter = ',', default_values_t = [0.02, 0.1, 0.2, 0.4, 1.0])]
    sigmas: Vec<f64>,
    /// Round and clip noisy images as files of 8 bits hold them (images for denoising alone)
    #[arg(long)]
    stored: bool,
    /// Estimate the level from each noisy image (images for denoising alone, and --corruptions)
    #[arg(long)]
    estimate: bool,
    #[command(flatten)]
    corruptions: corruptions::CorruptionArgs,
    #[command(flatten)]
    views: model::ViewsArg,
}

/// The document of `--json`.
#[derive(Serialize)]
struct Report {
    model: String,
    data: String,
    count: usize,
    rows: Vec<EvalRow>,
}

impl Report {
    fn print(&self) {
        outln!("{} on {} images of {}", self.model, self.count, self.data);
        print_rows(&self.rows);
    }
}

/// Opens the images of `--data`, and says whether they have classes that the model can predict.
/// Images that only denoising is measured on keep their sizes.
fn open(args: &Eval, predictor: &Predictor) -> anyhow::Result<(TestSet, bool)> {
    let measured = &args.measured;
    let options = measured.options(predictor);
    let (chosen, labelled) = measured.choose_named(predictor)?;
    if !labelled && predictor.info().classifies() {
        if !predictor.info().denoises() {
            bail!("{}: has no classes, and {} does not denoise", measured.data, predictor.name());
        }
        tracing::info!("{}: has no classes: only denoising is measured", measured.data);
    }
    let as_files = args.stored || args.estimate;
    if labelled || measured.fit.is_some() {
        if as_files {
            let text = "--stored and --estimate are for images without classes, at their own sizes";
            return Err(WrongCall(text.into()).into());
        }
        // Of a part only that part is read.
        let stream = if measured.limit.is_some() { Streaming::Always } else { Streaming::Auto };
        return Ok((TestSet::Set(chosen.open(&OpenOptions { stream, ..options })?), labelled));
    }
    let options = OpenOptions { limit: measured.limit, ..options };
    if !as_files && let TestSet::Set(set) = chosen.clone().open_as_stored(&options)? {
        return Ok((TestSet::Set(set), labelled));
    }
    // Each in its own channels.
    let images = chosen.gallery(&OpenOptions { channels: None, ..options })?;
    Ok((TestSet::Gallery(images.into()), labelled))
}

/// The rows as a table.
pub fn print_rows(rows: &[EvalRow]) {
    outln!("  sigma  accuracy     nll     ece    psnr    ssim  psnr, true class  psnr noisy");
    let optional = |value: Option<f64>, digits: usize| match value {
        Some(value) => format!("{value:.digits$}"),
        None => "-".to_owned(),
    };
    for row in rows {
        outln!(
            "{:>7}  {:>8} {:>7} {:>7} {:>7} {:>7} {:>17} {:>11}",
            row.sigma,
            row.accuracy.map_or("-".to_owned(), |a| format!("{:.2}%", 100.0 * a)),
            optional(row.nll, 4),
            optional(row.ece, 4),
            optional(row.psnr, 2),
            optional(row.ssim, 4),
            optional(row.psnr_given_label, 2),
            optional(row.psnr_noisy, 2)
        );
    }
}

pub fn run(args: &Eval, session: &Session) -> anyhow::Result<Outcome> {
    args.measured.check()?;
    if args.corruptions.is_given() {
        return corruptions::run(args, session);
    }
    let source = args.bundled.or(args.model.as_deref())?;
    let predictor = model::load_with(source, args.views, session)?;
    let sigmas = model::sigmas(&predictor, &args.sigmas)?;
    let (set, classify) = open(args, &predictor)?;
    let denoise = predictor.info().denoises();
    let options = EvalOptions {
        sigmas,
        limit: args.measured.limit,
        batch: args.measured.batch,
        seed: session.seed.unwrap_or(0),
        classify,
        denoise,
    };
    let bar = Progress::named(session, "evaluating");
    let mut watch = session.watched(|p: &miyasawa::progress::Progress<'_>| bar.set_share(p.share));
    let found = match &set {
        TestSet::Gallery(images) => {
            let EvalOptions { sigmas, limit, seed, .. } = options;
            let (stored, estimated) = (args.stored, args.estimate);
            let options = ImageEvalOptions { sigmas, limit, seed, stored, estimated };
            let rows = predictor.evaluate_images(images, &options, &mut watch)?;
            let count = options.limit.unwrap_or(usize::MAX).min(images.len());
            rows.map(|rows| Evaluation { count, rows })
        }
        set => set.evaluate(&predictor.views(), &options, predictor.device(), &mut watch)?,
    };
    bar.finish_and_clear();
    let Evaluation { count, rows } = found.context("the evaluation was stopped")?;
    let (model, data) = (predictor.name().to_owned(), args.measured.data.clone());
    let report = Report { model, data, count, rows };
    if session.json {
        session.print_json(&Described::new(&report, &predictor, session))?;
    } else {
        report.print();
    }
    Ok(Outcome::Done)
}
