use super::{
    Outcome,
    model::{self, Level},
};
use crate::args::Session;
use clap::Args;
use miyasawa::{infer, metrics};
use std::path::PathBuf;

/// Name what pictures show: the likeliest classes with their probabilities.
///
/// Pictures are fitted to the model's input, in grey or colour as the model needs.
///
/// Examples:
///   miyasawa classify frog.jpg truck.png --top 3
///   miyasawa classify model.safetensors noisy.png --sigma auto
#[derive(Args, Debug)]
#[command(verbatim_doc_comment, override_usage = "miyasawa classify [OPTIONS] [MODEL] IMAGE...")]
pub struct Classify {
    /// [MODEL] IMAGE...: a checkpoint, then pictures (PNG, JPEG, WebP)
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Classes to print
    #[arg(long, default_value_t = 5)]
    top: usize,
    /// Noise level that the pictures have; `auto` tells it from each picture [default: the smallest that the model was
    /// trained on]
    #[arg(long, value_name = "S", value_parser = model::parse_level)]
    sigma: Option<Level>,
}

pub fn run(args: &Classify, session: &Session) -> anyhow::Result<Outcome> {
    let (path, images) = model::split_model(&args.paths);
    let images = model::some_images(images)?;
    let loaded = model::load(path, session)?;
    loaded.must_classify()?;
    let given = args.sigma.map_or(Ok(Some(loaded.clean_sigma())), |level| loaded.given(level))?;
    let mut documents = Vec::new();
    for image in images {
        let picture = loaded.open_fitted(image)?;
        let sigma = given.unwrap_or_else(|| loaded.told_level(&picture, image));
        let probs = infer::classify(&loaded.model, &picture, sigma, &loaded.device).unwrap_or_default();
        let top: Vec<_> = metrics::top(&probs, args.top);
        let name = |class: &usize| loaded.info.data.classes[*class].as_str();
        if session.json {
            let classes: Vec<_> = top
                .iter()
                .map(|k| serde_json::json!({ "class": name(k), "index": k, "probability": probs[*k] }))
                .collect();
            documents.push(serde_json::json!({ "image": image, "sigma": sigma, "classes": classes }));
        } else {
            outln!("{}", image.display());
            for class in &top {
                outln!("  {:>6.2}%  {}", 100.0 * probs[*class], name(class));
            }
        }
    }
    if session.json {
        session
            .print_json(&serde_json::json!({ "model": loaded.name, "sigma": given, "images": documents }))?;
    }
    Ok(Outcome::Done)
}
