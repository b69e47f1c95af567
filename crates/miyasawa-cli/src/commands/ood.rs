use super::{
    Outcome,
    measured::{Measured, bar},
    model,
};
use crate::session::Session;
use anyhow::Result;
use clap::Args;
use miyasawa::predictor::Predictor;
use miyasawa::{
    classifier::{BoxedClassifier, Defence},
    data::Dataset,
    model::ObjectiveName,
    ood::{self, OodOptions, OutSource},
    progress::Progress,
};
use std::path::PathBuf;

use super::document::described;

/// Tell the model's own kind of images from others: AUROC, AUPR and FPR95 of five scores at every noise level.
///
/// Scores: log p(y), the norm of the score, the denoising residual, the largest probability, the energy; and the profile
/// of score norms over all levels, fitted to every second image of --data. Each should be larger for the model's own
/// kind: an AUROC below 0.5 means that the score takes the others for its own, as densities do with simpler images.
/// What the model did not learn is left out: the residual without a denoiser, the largest probability without classes.
///
/// Other images (--out-data): noise (noise:uniform, noise:gaussian), textures (gratings, checks, rings, clouds; made
/// from the seed), or any data set; they are brought to the model's size and channels.
///
/// Example: miyasawa ood model.safetensors --data cifar10 --out-data noise --out-data textures --out-data fashion-mnist
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Ood {
    /// A checkpoint
    model: Option<PathBuf>,
    #[command(flatten)]
    measured: Measured,
    /// Images of another kind; may be repeated
    #[arg(long, required = true, value_name = "DATA")]
    out_data: Vec<String>,
    /// Noise levels, in units of the [-1, 1] range
    #[arg(long, value_delimiter = ',', default_values_t = [0.02, 0.1, 0.2, 0.4, 1.0])]
    sigmas: Vec<f64>,
}

/// Other images in the model's geometry, of each at most `limit`.
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
    let predictor = model::load(args.model.as_deref(), session)?;
    if predictor.model().joint().is_none() {
        predictor.require_classifier()?;
    }
    let sigmas = model::sigmas(&predictor, &args.sigmas)?;
    let seed = session.seed.unwrap_or(0);
    let own = args.measured.load_any(&predictor)?;
    let others = out_of_distribution(&args.out_data, &predictor, args.measured.limit, seed)?;
    let options = OodOptions { sigmas, batch: args.measured.batch, seed };
    let at = |sigma: f64| -> BoxedClassifier<'_> {
        predictor
            .classifier(Defence::Softmax { sigma })
            .expect("a model that classifies at one level does so at all")
    };
    let jem = predictor.info().training.objective == ObjectiveName::Jem;
    if predictor.model().joint().is_some() && !predictor.info().denoises() && !jem {
        tracing::warn!(
            "{}: was not trained by score matching: log p(y) and the norm of the score say what its classifier implies",
            predictor.name()
        );
    }
    let bar = bar(session);
    let score = |set: &Dataset| {
        bar.set_message(set.name().to_owned());
        let mut watch = |p: &Progress<'_>| bar.set_share(p.share);
        let learned = [predictor.info().classifies(), predictor.info().denoises()];
        ood::model_scores(predictor.model(), learned, &at, set, &options, predictor.device(), &mut watch)
    };
    let own_scores = score(&own);
    let mut documents = Vec::new();
    for set in &others {
        let rows = ood::compare(&own_scores, &score(set));
        if session.json {
            documents.push(serde_json::json!({
                "out_data": set.name(), "count": set.len(), "rows": rows, "best": ood::best(&rows),
            }));
            continue;
        }
        bar.suspend(|| {
            outln!("{} ({}) against {} ({})", args.measured.data, own.len(), set.name(), set.len());
            outln!("  score                sigma   AUROC    AUPR   FPR95");
            for row in &rows {
                let sigma = row.sigma.map_or("all".to_owned(), |s| s.to_string());
                let d = row.detection;
                let name = row.score.name();
                outln!("  {name:<18} {sigma:>7} {:>7.3} {:>7.3} {:>7.3}", d.auroc, d.aupr, d.fpr95);
            }
        });
    }
    bar.finish_and_clear();
    if session.json {
        let document = serde_json::json!({
            "model": predictor.name(), "data": args.measured.data, "count": own.len(), "pairs": documents,
        });
        session.print_json(&described(document, &predictor, session))?;
    }
    Ok(Outcome::Done)
}
