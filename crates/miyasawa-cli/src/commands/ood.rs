use super::{Outcome, measured::Measured, model};
use crate::session::Session;
use anyhow::Result;
use clap::Args;
use miyasawa::predictor::Predictor;
use miyasawa::{
    data::Dataset,
    model::ObjectiveName,
    ood::{self, OodOptions, OodRow, OutSource},
    progress::Progress,
};
use serde::Serialize;
use std::path::PathBuf;

use super::document::Described;

/// Measure out-of-distribution detection: AUROC, AUPR and FPR95 of six scores.
///
/// Scores: log p(y), the norm of the score, the denoising residual, the largest probability, the
/// energy, each at every noise level; and the profile of score norms over all levels, fitted to
/// every second image of --data. Each should be larger for in-distribution images: an AUROC below
/// 0.5 means that the score is larger for the others, as densities often are for simpler images.
/// Scores that the model did not learn are left out: the residual without a denoiser, the largest
/// probability without classes.
///
/// Out-of-distribution images (--out-data): noise (noise:uniform, noise:gaussian), textures
/// (gratings, checks, rings, clouds; generated from the seed), or any data set; they are converted
/// to the model's size and channels.
///
#[doc = " Example: miyasawa ood model.safetensors --data cifar10 --out-data noise \
         --out-data textures --out-data fashion-mnist"]
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
    pairs: Vec<Pair>,
}

/// The detection of one set of out-of-distribution images.
#[derive(Serialize)]
struct Pair {
    out_data: String,
    count: usize,
    rows: Vec<OodRow>,
    best: Vec<OodRow>,
}

impl Pair {
    /// Prints the rows; `data` are the in-distribution images, and their number.
    fn print(&self, data: (&str, usize)) {
        outln!("{} ({}) against {} ({})", data.0, data.1, self.out_data, self.count);
        outln!("  score                sigma   AUROC    AUPR   FPR95");
        for row in &self.rows {
            let sigma = row.sigma.map_or("all".to_owned(), |s| s.to_string());
            let d = row.detection;
            let name = row.score.name();
            outln!("  {name:<18} {sigma:>7} {:>7.3} {:>7.3} {:>7.3}", d.auroc, d.aupr, d.fpr95);
        }
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

pub fn run(args: &Ood, session: &Session) -> Result<Outcome> {
    args.measured.check()?;
    for source in &args.out_data {
        source.parse::<OutSource>()?;
    }
    let predictor = model::load(args.bundled.or(args.model.as_deref())?, session)?;
    if predictor.model().joint().is_none() {
        predictor.require_classifier()?;
    }
    let sigmas = model::sigmas(&predictor, &args.sigmas)?;
    let seed = session.seed.unwrap_or(0);
    let set = args.measured.load_any(&predictor)?;
    let others = out_of_distribution(&args.out_data, &predictor, args.measured.limit, seed)?;
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
    let score = |set: &Dataset| {
        bar.set_message(set.name().to_owned());
        let mut watch = session.watched(|p: &Progress<'_>| bar.set_share(p.share));
        let learned = [predictor.info().classifies(), predictor.info().denoises()];
        ood::model_scores(
            predictor.model(),
            learned,
            &at,
            set,
            &options,
            predictor.device(),
            &mut watch,
        )
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
    if session.json {
        let (model, data) = (predictor.name().to_owned(), data.to_owned());
        let report = Report { model, data, count: set.len(), pairs };
        session.print_json(&Described::new(report, &predictor, session))?;
    }
    Ok(Outcome::Done)
}
