use super::{
    Outcome,
    attack::NormArg,
    measured::{Measured, at_least_one, bar, check_eps, parse_eps},
    model,
};
use crate::session::{Session, WrongCall};
use anyhow::Result;
use clap::Args;
use miyasawa::{
    attack::{Norm, Pgd},
    calibrate::{CalibrateOptions, CalibrationRow, calibrate},
    classifier::{BoxedClassifier, Defence},
    report::{reliability, save_plots},
};
use std::path::PathBuf;

use super::document::described;

/// Are probabilities what they say? ECE (15 bins), Brier score and NLL, as they are and with a fitted temperature.
///
/// Measured on the clean images, at every noise level, and under PGD on the clean images. Temperatures are fitted to
/// every second image of each class, at each noise level and without attacks; all numbers are of the others.
///
/// Example: miyasawa calibrate model.safetensors --data cifar10 --eps 0.25,0.5 -o reliability.png
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Calibrate {
    /// A checkpoint
    model: Option<PathBuf>,
    #[command(flatten)]
    measured: Measured,
    /// Noise levels, in units of the [-1, 1] range
    #[arg(long, value_delimiter = ',', default_values_t = [0.02, 0.1, 0.2, 0.4, 1.0])]
    sigmas: Vec<f64>,
    /// How attacks are measured
    #[arg(long, value_enum, default_value = "l2")]
    norm: NormArg,
    /// Sizes of the attacks, in units of the [0, 1] pixel range
    #[arg(long, value_delimiter = ',', value_parser = parse_eps)]
    eps: Vec<f64>,
    /// Gradient steps of the attacks
    #[arg(long, default_value_t = 20)]
    steps: usize,
    /// Draw the reliability diagrams here, a PNG
    #[arg(short, long)]
    out: Option<PathBuf>,
}

pub fn run(args: &Calibrate, session: &Session) -> Result<Outcome> {
    args.measured.check()?;
    at_least_one("steps", args.steps)?;
    if let Some(out) = &args.out {
        model::check_output(out)?;
    }
    let predictor = model::load(args.model.as_deref(), session)?;
    predictor.require_classifier()?;
    let sigmas = model::sigmas(&predictor, &args.sigmas)?;
    check_eps(args.norm.into(), &args.eps, &predictor)?;
    let set = args.measured.load(&predictor)?;
    if set.len() < 2 {
        let text = "one image is given, expected at least two: a temperature is fitted to one half and measured on \
                    the other";
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
    // That the model classifies is known: there is a classifier at every level.
    predictor.classifier(Defence::Softmax { sigma: predictor.noise_levels()[0] })?;
    let at = |sigma: f64| -> BoxedClassifier<'_> {
        predictor
            .classifier(Defence::Softmax { sigma })
            .expect("a model that classifies at one level does so at all")
    };
    let mut bar = bar(session);
    bar.set_message("calibrating");
    let rows = calibrate(&at, &set, &options, &mut bar);
    bar.finish_and_clear();
    if session.json {
        let document = serde_json::json!({
            "model": predictor.name(), "data": args.measured.data, "count": set.len(), "measured": set.len() / 2,
            "rows": rows, "norm": Norm::from(args.norm), "steps": args.steps,
        });
        session.print_json(&described(document, &predictor, session))?;
    } else {
        outln!(
            "{} on {} images of {}, measured on half of them",
            predictor.name(),
            set.len(),
            args.measured.data
        );
        table(&rows);
    }
    // The numbers came first: they cost the work, and a figure may fail to be written.
    if let Some(out) = &args.out {
        save_plots(&reliability(&rows), out)?;
    }
    Ok(Outcome::Done)
}

fn table(rows: &[CalibrationRow]) {
    outln!("  condition           accuracy     ECE   Brier     NLL       T   ECE/T Brier/T   NLL/T");
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
