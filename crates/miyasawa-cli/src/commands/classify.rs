use super::{
    Outcome,
    defence::DefenceArgs,
    each::each,
    measured::at_least_one,
    model::{self, Level},
    pictures::{self, Notes},
};
use crate::output::shown;
use crate::session::{Session, WrongCall};
use clap::Args;
use miyasawa::{classifier::Defence, data::Geometry, infer, metrics};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Name what pictures show: the likeliest classes with their probabilities.
///
/// Pictures are fitted to the model's input, in grey or colour as the model needs. Of several pictures one that cannot be
/// read costs that one, and the exit status is 1.
///
/// Examples:
///   miyasawa classify frog.jpg truck.png --top 3
///   miyasawa classify model.safetensors noisy.png --sigma auto
///   miyasawa classify suspicious.png --defence average --sigma 0.2   # hardest to attack: the mean over draws of noise
#[derive(Args, Debug)]
#[command(verbatim_doc_comment, override_usage = "miyasawa classify [OPTIONS] [MODEL] IMAGE...")]
pub struct Classify {
    /// [MODEL] IMAGE...: a checkpoint, then pictures (PNG, JPEG, WebP, TIFF, BMP, GIF), folders of them, or - for standard
    /// input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Classes to print
    #[arg(long, default_value_t = 5)]
    top: usize,
    /// Noise level that the pictures have at the model's size, or that the defence works at; `auto` tells it from each
    /// picture [default: softmax: the smallest that the model was trained on; denoise, average: 0.2]
    #[arg(long, value_name = "S", value_parser = model::parse_level)]
    sigma: Option<Level>,
    #[command(flatten)]
    defence: DefenceArgs,
}

pub fn run(args: &Classify, session: &Session) -> anyhow::Result<Outcome> {
    let (path, images) = model::split_model(&args.paths);
    at_least_one("top", args.top)?;
    let images = pictures::expand(model::some_images(images)?)?.images;
    let loaded = model::load(path, session)?;
    loaded.must_classify()?;
    let seed = session.seed.unwrap_or(0);
    let defence = match args.sigma {
        Some(Level::Auto) if args.defence.is_softmax() => None,
        Some(Level::Auto) => {
            let text = "--sigma auto goes with --defence softmax, expected a number".to_owned();
            return Err(WrongCall(text).into());
        }
        Some(Level::Given(sigma)) => Some(args.defence.at(Some(sigma), &loaded, seed)?),
        None => Some(args.defence.at(None, &loaded, seed)?),
    };
    let Geometry { channels, height, width } = loaded.geometry();
    let behind = |defence| loaded.defended(defence, [channels, height, width]);
    let classifier = defence.filter(|_| !args.defence.is_softmax()).map(behind).transpose()?;
    let mut notes = Notes::default();
    let mut one = |image: &Path| -> anyhow::Result<Value> {
        let source = pictures::first(image, &mut notes)?;
        let picture = loaded.fitted(&source)?;
        let sigma = defence.map_or_else(|| loaded.estimate_trained_sigma(&picture, image), Defence::sigma);
        let probs = match &classifier {
            Some(classifier) => infer::classify_behind(classifier.as_ref(), &picture),
            None => {
                let noisy = args.sigma.is_some();
                let channels = if source.is_grey() { 1 } else { source.channels() };
                let conditioned =
                    if noisy { infer::level_to_tell(&loaded.info, channels, sigma) } else { sigma };
                infer::classify(&loaded.model, &picture, conditioned, &loaded.device).unwrap_or_default()
            }
        };
        let top: Vec<_> = metrics::top(&probs, args.top);
        let name = |class: &usize| loaded.info.data.classes[*class].as_str();
        if !session.json {
            outln!("{}", image.display());
            for class in &top {
                outln!("  {:>6.2}%  {}", 100.0 * probs[*class], name(class));
            }
        }
        let class = |k: &usize| json!({ "class": name(k), "index": k, "probability": probs[*k] });
        let classes: Vec<_> = top.iter().map(class).collect();
        Ok(json!({ "image": shown(image), "sigma": sigma, "classes": classes }))
    };
    let (documents, outcome) = each(&images, |_, image| one(image))?;
    notes.finish();
    if session.json {
        // Behind the softmax every picture has a level of its own.
        let told = defence.map_or_else(|| json!({ "kind": "softmax" }), |defence| json!(defence));
        session.print_json(&json!({
            "model": loaded.name, "defence": told, "sigma": defence.map(Defence::sigma), "images": documents,
        }))?;
    }
    Ok(outcome)
}
