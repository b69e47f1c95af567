//! `eval --corruptions`: accuracy under corruptions.

use super::Eval;
use crate::commands::{Outcome, document::Described, model};
use crate::{
    progress::Progress,
    session::{Session, WrongCall},
};
use anyhow::{Context as _, bail};
use clap::Args;
use miyasawa::{
    data::{Images, OpenOptions, Streaming},
    eval::{CorruptionEvaluation, CorruptionOptions, evaluate_corruptions},
    image::{
        Image,
        corruption::{Corruption, Severity},
    },
    predictor::Predictor,
};
use serde::Serialize;

/// Which corruptions are measured.
#[derive(Args, Debug)]
pub struct CorruptionArgs {
    /// Measure accuracy under corruptions instead of noise, each generated as for CIFAR-10-C: all,
    /// noise, blur, weather, digital, or names such as fog and motion_blur
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = parse)]
    corruptions: Vec<Chosen>,
    /// Severities of the corruptions, from 1 to 5
    #[arg(
        long,
        value_delimiter = ',',
        default_values_t = Severity::ALL,
        requires = "corruptions"
    )]
    severities: Vec<Severity>,
}

/// The corruptions that a word of `--corruptions` stands for.
#[derive(Clone, Debug)]
struct Chosen(Vec<Corruption>);

fn parse(word: &str) -> Result<Chosen, String> {
    Corruption::named(word).map(Chosen).map_err(|error| error.to_string())
}

impl CorruptionArgs {
    /// Whether corruptions are measured.
    pub fn is_given(&self) -> bool {
        !self.corruptions.is_empty()
    }

    /// The corruptions and their severities, each once, in the order in which they were given.
    fn chosen(&self) -> (Vec<Corruption>, Vec<Severity>) {
        let words = self.corruptions.iter().flat_map(|chosen| chosen.0.iter());
        (once(words), once(self.severities.iter()))
    }
}

fn once<'a, T: Copy + PartialEq + 'a>(items: impl Iterator<Item = &'a T>) -> Vec<T> {
    items.fold(Vec::new(), |mut kept, item| {
        if !kept.contains(item) {
            kept.push(*item);
        }
        kept
    })
}

/// The document of `--json`.
#[derive(Serialize)]
struct Report {
    model: String,
    data: String,
    /// Whether the level that the model is conditioned on is estimated from each image.
    estimated: bool,
    corruptions: Vec<Corruption>,
    severities: Vec<Severity>,
    #[serde(flatten)]
    found: CorruptionEvaluation,
}

impl Report {
    fn print(&self) {
        let Self { model, data, corruptions, severities, found, .. } = self;
        outln!("{model} on {} images of {data}", found.count);
        let level = found.clean.sigma;
        let how = if self.estimated { "estimated, of clean images " } else { "" };
        outln!("conditioned on noise level {how}{level:.4}");
        let percent =
            |share: Option<f64>| share.map_or("-".into(), |s| format!("{:.2}%", 100.0 * s));
        let line = |name: &str, cells: Vec<String>| {
            let cells = cells.iter().map(|cell| format!(" {cell:>8}")).collect::<String>();
            outln!("  {name:<18}{cells}");
        };
        let numbers = severities.iter().map(ToString::to_string);
        line("error at severity", numbers.chain(["mean".into()]).collect());
        for corruption in corruptions {
            let of = |severity: Severity| {
                found.mean_of(|row| row.corruption == *corruption && row.severity == severity)
            };
            let mean = found.mean_of(|row| row.corruption == *corruption);
            let cells = severities.iter().map(|severity| of(*severity)).chain([mean]);
            line(corruption.name(), cells.map(percent).collect());
        }
        let of = |severity: Severity| found.mean_of(|row| row.severity == severity);
        let means = severities.iter().map(|severity| of(*severity)).chain([found.mean_error]);
        line("mean", means.map(percent).collect());
        outln!(
            "mean corruption error {}, clean error {}",
            percent(found.mean_error),
            percent(Some(found.clean.error))
        );
    }
}

/// Opens the images, which must have classes that the model knows.
fn open(args: &Eval, predictor: &Predictor) -> anyhow::Result<Images> {
    let measured = &args.measured;
    let (chosen, labelled) = measured.choose_named(predictor)?;
    if !labelled {
        bail!("{}: has no classes: accuracy under corruptions needs them", measured.data);
    }
    // Of a part only that part is read.
    let stream = if measured.limit.is_some() { Streaming::Always } else { Streaming::Auto };
    Ok(chosen.open(&OpenOptions { stream, ..measured.options(predictor) })?)
}

/// Runs the command with `--corruptions`.
pub fn run(args: &Eval, session: &Session) -> anyhow::Result<Outcome> {
    if args.stored {
        let text = "--stored is for images without classes; corrupted images have 8 bits anyway";
        return Err(WrongCall(text.into()).into());
    }
    let source = args.bundled.or(args.model.as_deref())?;
    let predictor = model::load_with(source, args.views, session)?;
    predictor.require_classifier()?;
    // Corrupted images have no known level: the smallest is that of clean ones.
    let sigmas = model::sigmas(&predictor, &args.sigmas)?;
    let sigma = sigmas.iter().copied().fold(f64::INFINITY, f64::min);
    let smallest = predictor.noise_levels()[0];
    let level = |image: &Image| match args.estimate {
        true => predictor.estimate_sigma(image, "a corrupted image").max(smallest),
        false => sigma,
    };
    let images = open(args, &predictor)?;
    let (corruptions, severities) = args.corruptions.chosen();
    let options = CorruptionOptions {
        corruptions,
        severities,
        limit: args.measured.limit,
        batch: args.measured.batch,
        seed: session.seed.unwrap_or(0),
    };
    let bar = Progress::named(session, "evaluating");
    let mut watch = session.watched(|p: &miyasawa::progress::Progress<'_>| bar.set_share(p.share));
    let (views, device) = (predictor.views(), predictor.device());
    let found = evaluate_corruptions(&views, &level, &images, &options, device, &mut watch)?;
    bar.finish_and_clear();
    let found = found.context("the evaluation was stopped")?;
    let CorruptionOptions { corruptions, severities, .. } = options;
    let (model, data) = (predictor.name().to_owned(), args.measured.data.clone());
    let estimated = args.estimate;
    let report = Report { model, data, estimated, corruptions, severities, found };
    if session.json {
        session.print_json(&Described::new(&report, &predictor, session))?;
    } else {
        report.print();
    }
    Ok(Outcome::Done)
}
