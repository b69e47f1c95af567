use super::{Outcome, model};
use crate::args::Session;
use clap::Args;
use miyasawa::{infer, metrics};
use std::path::PathBuf;

/// Name what pictures show: the likeliest classes with their probabilities.
///
/// Pictures are fitted to the model's input, in grey or colour as the model needs.
///
/// Example: miyasawa classify runs/cifar/model.safetensors frog.jpg truck.png --top 3
#[derive(Args, Debug)]
#[command(override_usage = "miyasawa classify [OPTIONS] [MODEL] IMAGE...")]
pub struct Classify {
    /// [MODEL] IMAGE...: a checkpoint, then pictures (PNG, JPEG, WebP)
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Classes to print
    #[arg(long, default_value_t = 5)]
    top: usize,
    /// Noise level that the pictures have [default: the smallest that the model was trained on]
    #[arg(long)]
    sigma: Option<f64>,
}

pub fn run(args: &Classify, session: &Session) -> anyhow::Result<Outcome> {
    let (path, images) = model::split_model(&args.paths);
    let images = model::some_images(images)?;
    let loaded = model::load(path, session)?;
    loaded.must_classify()?;
    let sigma = args.sigma.map_or(Ok(loaded.clean_sigma()), |s| loaded.sigma(s))?;
    let mut documents = Vec::new();
    for image in images {
        let picture = loaded.open_fitted(image)?;
        let probs = infer::classify(&loaded.model, &picture, sigma, &loaded.device).unwrap_or_default();
        let top: Vec<_> = metrics::top(&probs, args.top);
        let name = |class: &usize| loaded.info.data.classes[*class].as_str();
        if session.json {
            let classes: Vec<_> = top
                .iter()
                .map(|k| serde_json::json!({ "class": name(k), "index": k, "probability": probs[*k] }))
                .collect();
            documents.push(serde_json::json!({ "image": image, "classes": classes }));
        } else {
            outln!("{}", image.display());
            for class in &top {
                outln!("  {:>6.2}%  {}", 100.0 * probs[*class], name(class));
            }
        }
    }
    if session.json {
        session
            .print_json(&serde_json::json!({ "model": loaded.name, "sigma": sigma, "images": documents }))?;
    }
    Ok(Outcome::Done)
}
