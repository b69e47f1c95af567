use super::{
    Outcome,
    attack::NormArg,
    measured::{Measured, at_least_one, check_eps, parse_eps},
    model,
};
use crate::{
    ranks,
    session::{Session, WrongCall},
};
use anyhow::Result;
use clap::Args;
use miyasawa::{
    attack::{Norm, Pgd},
    calibrate::{CalibrateOptions, CalibrationRow, calibrate},
    classifier::Defence,
    report::{reliability, save_plots},
};
use serde::Serialize;
use std::path::PathBuf;

use super::document::Described;

/// Measure calibration: ECE (15 bins), Brier score and NLL, before and after temperature scaling.
///
/// Measured on the clean images, at every noise level, and under PGD on the clean images. A
/// temperature is fitted at each noise level, without attacks, to every second image of each class;
/// all numbers are measured on the other images.
///
/// Example: miyasawa calibrate model.safetensors --data cifar10 --eps 0.25,0.5 -o reliability.png
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Calibrate {
    /// A checkpoint
    model: Option<PathBuf>,
    #[command(flatten)]
    bundled: model::BundledArg,
    #[command(flatten)]
    measured: Measured,
    /// Noise levels, in units of the [-1, 1] range
    #[arg(long, value_delimiter = ',', default_values_t = [0.02, 0.1, 0.2, 0.4, 1.0])]
    sigmas: Vec<f64>,
    /// Norm of the attacks
    #[arg(long, value_enum, default_value = "l2")]
    norm: NormArg,
    /// Sizes of the attacks, in units of the [0, 1] range [default: no attack]
    #[arg(long, value_delimiter = ',', value_parser = parse_eps)]
    eps: Vec<f64>,
    /// Gradient steps of the attacks
    #[arg(long, default_value_t = 20)]
    steps: usize,
    /// PNG file for the reliability diagrams
    #[arg(short, long)]
    out: Option<PathBuf>,
}

/// The document of `--json`.
#[derive(Serialize)]
struct Report {
    model: String,
    data: String,
    count: usize,
    measured: usize,
    rows: Vec<CalibrationRow>,
    norm: Norm,
    steps: usize,
}

impl Report {
    fn print(&self) {
        outln!(
            "{} on {} images of {}, measured on half of them",
            self.model,
            self.count,
            self.data
        );
        table(&self.rows);
    }
}

pub fn run(args: &Calibrate, session: &Session) -> Result<Outcome> {
    args.measured.check()?;
    at_least_one("steps", args.steps)?;
    if let Some(out) = &args.out {
        model::check_output(out)?;
    }
    let predictor = model::load(args.bundled.or(args.model.as_deref())?, session)?;
    predictor.require_classifier()?;
    let sigmas = model::sigmas(&predictor, &args.sigmas)?;
    check_eps(args.norm.into(), &args.eps, &predictor)?;
    let set = args.measured.load(&predictor)?;
    if set.len() < 2 {
        let text = "one image is given, expected at least two: a temperature is fitted to one \
                    half and measured on the other";
        return Err(WrongCall(text.into()).into());
    }
    let seed = session.seed.unwrap_or(0);
    let sizes = args.eps.iter().filter(|eps| **eps > 0.0);
    let options = CalibrateOptions {
        clean_sigma: predictor.noise_levels()[0],
        sigmas,
        attacks: sizes.map(|eps| Pgd::new(args.norm.into(), *eps, args.steps, seed)).collect(),
        batch: args.measured.batch,
        seed,
    };
    // The model classifies, so there is a classifier at every level.
    predictor.classifier(Defence::Softmax { sigma: predictor.noise_levels()[0] })?;
    let at = |sigma: f64| model::classifier_at(&predictor, sigma);
    let bar = crate::progress::Progress::named(session, "calibrating");
    let mut watch = session.watched(|p: &miyasawa::progress::Progress<'_>| bar.set_share(p.share));
    let rows = calibrate(&at, &set, &options, &mut watch);
    bar.finish_and_clear();
    let report = Report {
        model: predictor.name().to_owned(),
        data: args.measured.data.clone(),
        count: set.len(),
        measured: set.len() / 2,
        rows,
        norm: args.norm.into(),
        steps: args.steps,
    };
    if session.json {
        session.print_json(&Described::new(&report, &predictor, session))?;
    } else {
        report.print();
    }
    // The numbers come first: they took the time, and writing a figure may fail.
    if let Some(out) = args.out.as_ref().filter(|_| !ranks::is_silent()) {
        save_plots(&reliability(&report.rows), out)?;
    }
    Ok(Outcome::Done)
}

fn table(rows: &[CalibrationRow]) {
    outln!(
        "  condition           accuracy     ECE   Brier     NLL       T   ECE/T Brier/T   NLL/T"
    );
    for row in rows {
        let condition = row.condition();
        let (b, a) = (&row.before, &row.after);
        outln!(
            "  {condition:<18} {:>8.1}% {:>7.4} {:>7.4} {:>7.4} {:>7.3} {:>7.4} {:>7.4} {:>7.4}",
            100.0 * b.accuracy,
            b.ece,
            b.brier,
            b.nll,
            row.temperature,
            a.ece,
            a.brier,
            a.nll
        );
    }
}
