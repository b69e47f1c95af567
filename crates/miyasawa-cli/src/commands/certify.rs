use super::{
    Outcome,
    measured::{Measured, at_least_one},
    model,
};
use crate::session::{Session, WrongCall};
use anyhow::Result;
use clap::Args;
use miyasawa::{
    certify::{
        Certificate, CertifiedRow, CertifyOptions, Forecast, certified_accuracy, certify, forecast,
    },
    classifier::Defence,
    metrics::wilson,
    predictor::Predictor,
    progress::Progress,
};
use serde::Serialize;
use std::path::PathBuf;

use super::document::Described;

/// Measure certified accuracy by randomised smoothing (Cohen et al. 2019).
///
/// No change shorter than the radius alters a certified prediction: the likeliest class under noise
/// of the level --sigma, on which the model is conditioned. Noise levels are in units of the
/// [-1, 1] range as everywhere, radii (Euclidean) in units of the [0, 1] range as in the
/// literature: its sigma 0.25 is --sigma 0.5 here. Bounds are exact (Clopper-Pearson), and wrong
/// with a probability of at most --alpha.
///
/// Sampling of an image stops when every radius is certified or out of reach, or abstaining is
/// certain (--fixed makes all draws, as the paper does). The largest number of draws and an
/// estimate of the time are reported first.
///
/// Examples:
///   miyasawa certify model.safetensors --data cifar10 --sigma 0.5 --limit 200
#[doc = "   miyasawa certify model.safetensors --data cifar10 --sigma 0.5 --limit 200 --denoise \
         --n 10000 --json"]
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Certify {
    /// A checkpoint
    model: Option<PathBuf>,
    #[command(flatten)]
    bundled: model::BundledArg,
    #[command(flatten)]
    measured: Measured,
    /// Noise level, in units of the [-1, 1] range
    #[arg(long)]
    sigma: f64,
    /// Number of draws that select the class
    #[arg(long, default_value_t = 100)]
    n0: u64,
    /// Largest number of draws that bound its probability
    #[arg(long, default_value_t = 10_000)]
    n: u64,
    /// Largest probability that a certificate is wrong
    #[arg(long, default_value_t = 0.001)]
    alpha: f64,
    /// Radii, in units of the [0, 1] range, separated by commas
    #[arg(long, value_delimiter = ',', default_values_t = [0.25, 0.5, 1.0])]
    radii: Vec<f64>,
    /// Denoise every draw, then classify it at the smallest noise level
    #[arg(long)]
    denoise: bool,
    /// Make all draws for every image
    #[arg(long)]
    fixed: bool,
}

/// The largest `--n` that a warning proposes.
const MAX_DRAWS: u64 = 100_000_000;

impl Certify {
    fn check(&self) -> Result<()> {
        self.measured.check()?;
        at_least_one("n0", self.n0 as usize)?;
        at_least_one("n", self.n as usize)?;
        let wrong = |text: String| Err(WrongCall(text).into());
        if !(self.alpha > 0.0 && self.alpha < 1.0) {
            return wrong(format!("--alpha is {}, expected a number between 0 and 1", self.alpha));
        }
        if !self.radii.iter().all(|r| *r >= 0.0 && r.is_finite()) {
            return wrong(format!("--radii are {:?}, expected numbers from 0", self.radii));
        }
        if self.sigma.is_nan() || self.sigma <= 0.0 {
            return wrong(format!(
                "--sigma is {}, expected a number above 0: it is the noise",
                self.sigma
            ));
        }
        let options = self.options(0);
        if let Some(least) = options.draws_for(0.0).filter(|least| self.n < *least) {
            return wrong(format!(
                "--n is {}, expected at least {least}: fewer draws certify nothing at --alpha {}, \
                 even if all agree",
                self.n, self.alpha
            ));
        }
        Ok(())
    }

    /// Warns of radii that cannot be certified.
    fn warn_of_reach(&self, options: &CertifyOptions) {
        let largest = options.largest_radius();
        let beyond: Vec<f64> =
            self.radii.iter().copied().filter(|radius| *radius > largest).collect();
        let Some(least) = beyond.iter().copied().min_by(f64::total_cmp) else { return };
        let names: Vec<String> = beyond.iter().map(f64::to_string).collect();
        let enough = match options.draws_for(least).filter(|draws| *draws <= MAX_DRAWS) {
            Some(draws) => format!("{least} takes --n {draws}, or more noise"),
            None => "they take more noise".to_owned(),
        };
        tracing::warn!(
            "radii {} are out of reach: with --sigma {}, --n {} and --alpha {} at most \
             {largest:.3} can be certified; {enough}",
            names.join(", "),
            self.sigma,
            self.n,
            self.alpha
        );
    }

    fn options(&self, seed: u64) -> CertifyOptions {
        CertifyOptions {
            sigma: self.sigma,
            n0: self.n0,
            n: self.n,
            alpha: self.alpha,
            radii: self.radii.clone(),
            fixed: self.fixed,
            batch: self.measured.batch,
            seed,
        }
    }
}

/// The document of `--json`.
#[derive(Serialize)]
struct Report {
    model: String,
    data: String,
    count: usize,
    sigma: f64,
    defence: Defence,
    n0: u64,
    n: u64,
    alpha: f64,
    fixed: bool,
    accuracy: f64,
    accuracy_interval: [f64; 2],
    abstained: f64,
    rows: Vec<CertifiedRow>,
    draws: u64,
    largest_radius: f64,
    forecast: Forecast,
    seconds: f64,
    certificates: Vec<Certificate>,
}

impl Report {
    fn print(&self) {
        let Self { model, data, sigma, draws, seconds, .. } = self;
        let [accuracy, abstained] = [self.accuracy, self.abstained].map(|share| 100.0 * share);
        outln!("{model} on {} images of {data}, noise {sigma}", self.count);
        outln!("smoothed accuracy {accuracy:.1}%, abstained {abstained:.1}%");
        for row in &self.rows {
            outln!("  radius {:<6} {:>5.1}% certified", row.radius, 100.0 * row.certified_accuracy);
        }
        outln!("{draws} draws in {seconds:.0} s");
    }
}

/// Certifies every image.
fn measure(args: &Certify, predictor: &Predictor, session: &Session) -> Result<Report> {
    predictor.require_classifier()?;
    let sigma = model::sigma(predictor, args.sigma)?;
    let set = args.measured.load(predictor)?;
    let defence = if args.denoise {
        Defence::Denoise { sigma, then: predictor.noise_levels()[0] }
    } else {
        Defence::Softmax { sigma }
    };
    let classifier = predictor.classifier(defence)?;
    let options = args.options(session.seed.unwrap_or(0));
    args.warn_of_reach(&options);
    let forecast = forecast(classifier.as_ref(), &set, &options);
    if !session.quiet {
        tracing::info!(
            "at most {} draws, {:.0} per second: {:.1} minutes; less where fewer draws suffice",
            forecast.draws,
            forecast.draws_per_second,
            forecast.seconds / 60.0
        );
    }
    let bar = crate::progress::Progress::share(session);
    let started = std::time::Instant::now();
    let mut watch = session.watched(|p: &Progress<'_>| {
        let [images, correct] = ["images", "correct"].map(|name| p.value(name).unwrap_or_default());
        bar.set_message(format!("{images} images, {correct} correct"));
        bar.set_share(p.share);
    });
    let found = certify(classifier.as_ref(), &set, &options, &mut watch);
    bar.finish_and_clear();
    let seconds = started.elapsed().as_secs_f64();
    let correct = count_correct(&found);
    let abstained = found.iter().filter(|c| c.class.is_none()).count();
    let share = |n: usize| n as f64 / found.len() as f64;
    Ok(Report {
        model: predictor.name().to_owned(),
        data: args.measured.data.clone(),
        count: found.len(),
        sigma,
        defence,
        n0: args.n0,
        n: args.n,
        alpha: args.alpha,
        fixed: args.fixed,
        accuracy: share(correct),
        accuracy_interval: wilson(share(correct), found.len()),
        abstained: share(abstained),
        rows: certified_accuracy(&found, &args.radii),
        draws: found.iter().map(|c| args.n0 + c.draws).sum(),
        largest_radius: options.largest_radius(),
        forecast,
        seconds,
        certificates: found,
    })
}

fn count_correct(certificates: &[Certificate]) -> usize {
    certificates.iter().filter(|c| c.class == Some(c.label)).count()
}

pub fn run(args: &Certify, session: &Session) -> Result<Outcome> {
    args.check()?;
    let predictor = model::load(args.bundled.or(args.model.as_deref())?, session)?;
    let report = measure(args, &predictor, session)?;
    if session.json {
        session.print_json(&Described::new(&report, &predictor, session))?;
    } else {
        report.print();
    }
    Ok(Outcome::Done)
}
