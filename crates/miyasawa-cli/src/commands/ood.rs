use super::{
    Outcome,
    measured::{Measured, at_least_one},
    model,
};
use crate::{ranks, session::Session};
use anyhow::Result;
use clap::Args;
use miyasawa::predictor::Predictor;
use miyasawa::{
    data::{DataSource, Dataset, OpenOptions, Streaming},
    metrics::Detection,
    model::ObjectiveName,
    ood::{self, LevelScores, MeanRow, OodOptions, OodRow, OutSource, Reference, Score},
    progress::Progress,
};
use serde::Serialize;
use std::path::PathBuf;

use super::document::Described;

/// Measure out-of-distribution detection: AUROC, AUPR and FPR95 of eight scores.
///
/// Scores: log p(y), the norm of the score, the denoising residual, the largest probability, the
/// energy, kNN and ViM, each at every noise level; and the profile of score norms over all levels,
/// fitted to every second image of --data. Each should be larger for in-distribution images: an
/// AUROC below 0.5 means that the score is larger for the others, as densities often are for
/// simpler images. Scores that the model did not learn are left out: the residual without a
/// denoiser, the largest probability without classes.
///
/// kNN (the distance to the k-th nearest training image) and ViM (the energy, less what lies
/// outside the space of the training images) compare the features of the class head with those of
/// training images, --reference: the training part of a set, or what training did not hold out.
/// They are left out without it.
///
/// Out-of-distribution images (--out-data): noise (noise:uniform, noise:gaussian), textures
/// (gratings, checks, rings, clouds; generated from the seed), or any data set; they are converted
/// to the model's size and channels. Of several sets the means are printed too, and a table of
/// sets, with each score at the noise level of its largest mean AUROC.
///
#[doc = " Example: miyasawa ood model.safetensors --data cifar10 --reference cifar10 \
         --out-data noise --out-data textures --out-data fashion-mnist"]
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Ood {
    /// A checkpoint
    model: Option<PathBuf>,
    #[command(flatten)]
    bundled: model::BundledArg,
    #[command(flatten)]
    measured: Measured,
    /// Out-of-distribution images; may be repeated
    #[arg(long, required = true, value_name = "DATA")]
    out_data: Vec<String>,
    /// Images of the training distribution, for kNN and ViM: a data set, of which the training part
    /// is taken
    #[arg(long, value_name = "DATA")]
    reference: Option<String>,
    /// Number of them, evenly spaced over the set
    #[arg(long, default_value_t = 5000, value_name = "N", requires = "reference")]
    reference_limit: usize,
    /// kNN: the nearest training image to measure the distance to, k
    #[arg(long, default_value_t = Reference::NEIGHBOUR, value_name = "K", requires = "reference")]
    neighbours: usize,
    /// Noise levels, in units of the [-1, 1] range
    #[arg(long, value_delimiter = ',', default_values_t = [0.02, 0.1, 0.2, 0.4, 1.0])]
    sigmas: Vec<f64>,
}

/// The document of `--json`.
#[derive(Serialize)]
struct Report {
    model: String,
    data: String,
    count: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<ReferenceImages>,
    pairs: Vec<Pair>,
    /// The means over several sets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mean: Vec<MeanRow>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    best_mean: Vec<MeanRow>,
}

/// What kNN and ViM compare with.
#[derive(Serialize)]
struct ReferenceImages {
    data: String,
    count: usize,
    neighbours: usize,
}

/// The detection of one set of out-of-distribution images.
#[derive(Serialize)]
struct Pair {
    out_data: String,
    count: usize,
    rows: Vec<OodRow>,
    best: Vec<OodRow>,
}

/// The columns of measures.
const HEAD: &str = "  score                sigma   AUROC    AUPR   FPR95";

fn level(sigma: Option<f64>) -> String {
    sigma.map_or("all".to_owned(), |sigma| sigma.to_string())
}

/// Prints the measures of a score; `of` are AUROC, AUPR and FPR95.
fn print_row(score: Score, sigma: Option<f64>, [auroc, aupr, fpr95]: [f64; 3]) {
    let (name, sigma) = (score.name(), level(sigma));
    outln!("  {name:<18} {sigma:>7} {auroc:>7.3} {aupr:>7.3} {fpr95:>7.3}");
}

impl Pair {
    /// Prints the rows; `data` are the in-distribution images, and their number.
    fn print(&self, data: (&str, usize)) {
        outln!("{} ({}) against {} ({})", data.0, data.1, self.out_data, self.count);
        outln!("{HEAD}");
        for row in &self.rows {
            print_row(row.score, row.sigma, of_detection(&row.detection));
        }
    }

    /// The detection of a score at a level.
    fn find(&self, like: &MeanRow) -> Option<&Detection> {
        let same = |row: &&OodRow| (row.score, row.sigma) == (like.score, like.sigma);
        self.rows.iter().find(same).map(|row| &row.detection)
    }
}

fn of_detection(d: &Detection) -> [f64; 3] {
    [d.auroc, d.aupr, d.fpr95]
}

fn of_mean(row: &MeanRow) -> [f64; 3] {
    [row.auroc, row.aupr, row.fpr95]
}

/// Prints the means over all sets, then each measure as a table of sets: the scores are at the
/// levels of the rows `best`.
fn print_means(pairs: &[Pair], mean: &[MeanRow], best: &[MeanRow]) {
    outln!("mean of {} sets", pairs.len());
    outln!("{HEAD}");
    for row in mean {
        print_row(row.score, row.sigma, of_mean(row));
    }
    let first = pairs.iter().map(|pair| pair.out_data.chars().count()).max().unwrap_or(0).max(5);
    let line = |name: &str, cells: Vec<String>| {
        let cells: String = cells.iter().map(|cell| format!(" {cell:>9}")).collect();
        outln!("  {name:<first$}{cells}");
    };
    for (k, measure) in ["AUROC", "AUPR", "FPR95"].into_iter().enumerate() {
        outln!("{measure}, each score at the noise level of its largest mean AUROC");
        line("", best.iter().map(|row| column(row.score).to_owned()).collect());
        line("sigma", best.iter().map(|row| level(row.sigma)).collect());
        for pair in pairs {
            let cell = |row| pair.find(row).map(|d| format!("{:.3}", of_detection(d)[k]));
            line(&pair.out_data, best.iter().map(|row| cell(row).unwrap_or_default()).collect());
        }
        line("mean", best.iter().map(|row| format!("{:.3}", of_mean(row)[k])).collect());
    }
}

/// A score's name over a narrow column.
fn column(score: Score) -> &'static str {
    match score {
        Score::ScoreNorm => "norm",
        Score::Residual => "residual",
        Score::MaxSoftmax => "softmax",
        Score::Profile => "profile",
        Score::LogProb | Score::Energy | Score::Knn | Score::Vim => score.name(),
    }
}

/// Out-of-distribution images in the model's geometry, at most `limit` of each set.
pub fn out_of_distribution(
    sources: &[String],
    predictor: &Predictor,
    limit: Option<usize>,
    seed: u64,
) -> Result<Vec<Dataset>> {
    let sources = sources.iter().map(|text| text.parse()).collect::<Result<Vec<OutSource>, _>>()?;
    let load = |source: &OutSource| Ok(source.load(predictor.geometry(), limit, seed)?);
    sources.iter().map(load).collect()
}

/// The training images of `--reference`, as many as asked for.
fn training_images(args: &Ood, predictor: &Predictor) -> Result<Option<Dataset>> {
    let Some(source) = &args.reference else {
        if predictor.info().classifies() {
            tracing::info!("kNN and ViM are left out: they need training images, --reference");
        }
        return Ok(None);
    };
    // All is listed and a part is read.
    let options = OpenOptions {
        stream: Streaming::Always,
        unlabelled: true,
        ..args.measured.options(predictor)
    };
    let training = source.parse::<DataSource>()?.open_both(&options)?.train;
    let set = training.sample(args.reference_limit)?;
    ranks::agree("reference", || set.digest())?;
    Ok(Some(set))
}

pub fn run(args: &Ood, session: &Session) -> Result<Outcome> {
    args.measured.check()?;
    at_least_one("reference-limit", args.reference_limit)?;
    at_least_one("neighbours", args.neighbours)?;
    for source in &args.out_data {
        source.parse::<OutSource>()?;
    }
    args.reference.as_ref().map(|source| source.parse::<DataSource>()).transpose()?;
    let predictor = model::load(args.bundled.or(args.model.as_deref())?, session)?;
    if predictor.model().joint().is_none() || args.reference.is_some() {
        predictor.require_classifier()?;
    }
    let sigmas = model::sigmas(&predictor, &args.sigmas)?;
    let seed = session.seed.unwrap_or(0);
    let set = args.measured.load_any(&predictor)?;
    let others = out_of_distribution(&args.out_data, &predictor, args.measured.limit, seed)?;
    let training = training_images(args, &predictor)?;
    let options = OodOptions { sigmas, batch: args.measured.batch, seed };
    let at = |sigma: f64| model::classifier_at(&predictor, sigma);
    let jem = predictor.info().training.objective == ObjectiveName::Jem;
    if predictor.model().joint().is_some() && !predictor.info().denoises() && !jem {
        tracing::warn!(
            "{}: was not trained by score matching: log p(y) and the norm of the score are those \
             that its classifier implies",
            predictor.name()
        );
    }
    let bar = crate::progress::Progress::share(session);
    let watch = |task: String| {
        bar.set_message(task);
        session.watched(|p: &Progress<'_>| bar.set_share(p.share))
    };
    let (net, device) = (predictor.model(), predictor.device());
    let fit = |set: &Dataset| {
        let mut watch = watch(format!("{}, training", set.name()));
        Reference::fit(net, set, args.neighbours, &options, device, &mut watch)
    };
    let reference = training.as_ref().map(fit).transpose()?;
    let score = |set: &Dataset| -> Vec<LevelScores> {
        let learned = [predictor.info().classifies(), predictor.info().denoises()];
        let mut of_model = watch(set.name().to_owned());
        let mut scores = ood::model_scores(net, learned, &at, set, &options, device, &mut of_model);
        if let Some(reference) = &reference {
            let mut watch = watch(format!("{}, features", set.name()));
            reference.add_scores(&mut scores, net, set, &options, device, &mut watch);
        }
        scores
    };
    let (inside, data) = (score(&set), args.measured.data.as_str());
    let mut pairs = Vec::new();
    for other in &others {
        let rows = ood::compare(&inside, &score(other));
        let best = ood::best(&rows);
        let pair = Pair { out_data: other.name().to_owned(), count: other.len(), rows, best };
        if !session.json {
            bar.suspend(|| pair.print((data, set.len())));
        }
        pairs.push(pair);
    }
    bar.finish_and_clear();
    let (mut mean, mut best_mean) = (Vec::new(), Vec::new());
    if pairs.len() > 1 {
        mean = ood::means(&pairs.iter().map(|pair| pair.rows.clone()).collect::<Vec<_>>());
        best_mean = ood::best_mean(&mean);
    }
    if session.json {
        let reference = training.map(|training| ReferenceImages {
            data: training.name().to_owned(),
            count: training.len(),
            neighbours: args.neighbours,
        });
        let (model, data) = (predictor.name().to_owned(), data.to_owned());
        let report = Report { model, data, count: set.len(), reference, pairs, mean, best_mean };
        session.print_json(&Described::new(report, &predictor, session))?;
    } else if !mean.is_empty() {
        print_means(&pairs, &mean, &best_mean);
    }
    Ok(Outcome::Done)
}
