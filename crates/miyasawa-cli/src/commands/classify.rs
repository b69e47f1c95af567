use super::{
    Outcome,
    defence::DefenceArgs,
    each::{Each, each},
    images::{self, Notes, Search},
    measured::at_least_one,
    model::{self, Level},
};
use crate::output::shown;
use crate::session::{Session, WrongCall};
use clap::Args;
use miyasawa::{classifier::Defence, prelude::*};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Classify images: the likeliest classes with their probabilities.
///
/// Images are resized to the model's input, and converted to grey or colour as the model needs. If
/// one of several images cannot be read, the others are still classified, and the exit status is 1.
///
/// Examples:
///   miyasawa classify frog.jpg truck.png --top 3
///   miyasawa classify model.safetensors noisy.png --sigma auto
#[doc = "   miyasawa classify suspicious.png --defence average --sigma 0.2   \
         # most robust: the mean over draws of noise"]
#[derive(Args, Debug)]
#[command(verbatim_doc_comment, override_usage = "miyasawa classify [OPTIONS] [MODEL] IMAGE...")]
pub struct Classify {
    /// [MODEL] IMAGE...: a checkpoint, then images (PNG, JPEG, WebP, TIFF, BMP, GIF, QOI, PNM,
    /// JPEG XL, OpenEXR), folders of them, or - for standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    bundled: model::BundledArg,
    /// Number of classes to print
    #[arg(long, default_value_t = 5)]
    top: usize,
    /// Noise level of the images at the model's size, or of the defence, in units of the [-1, 1]
    /// range; `auto` estimates it from each image [default: the smallest of the model's training
    /// with --defence softmax, else 0.2]
    #[arg(long, value_name = "S", value_parser = model::parse_level)]
    sigma: Option<Level>,
    #[command(flatten)]
    defence: DefenceArgs,
}

/// How images are classified: the arguments, checked against the model.
enum Plan {
    /// The class posterior of the image as it is.
    Softmax(Noise),
    /// With a defence.
    Behind(Defence),
}

/// The document of `--json`.
#[derive(Serialize)]
struct Report {
    model: String,
    defence: DefenceName,
    /// The level of all images; nothing where it is estimated for each image.
    sigma: Option<f64>,
    images: Vec<Each<Classified>>,
}

/// The defence in a document, without a level where it is estimated for each image.
#[derive(Serialize)]
#[serde(untagged)]
enum DefenceName {
    At(Defence),
    Estimated { kind: &'static str },
}

/// An image and its classes.
#[derive(Serialize)]
struct Classified {
    image: String,
    #[serde(flatten)]
    found: Classification,
}

impl Classify {
    fn plan(&self, predictor: &Predictor, seed: u64) -> anyhow::Result<Plan> {
        let softmax = self.defence.is_softmax();
        let sigma = match self.sigma {
            Some(Level::Auto) if softmax => return Ok(Plan::Softmax(Noise::Estimate)),
            Some(Level::Auto) => {
                let text =
                    "--sigma auto works with --defence softmax only, expected a number".to_owned();
                return Err(WrongCall(text).into());
            }
            Some(Level::Given(sigma)) => Some(sigma),
            None => None,
        };
        let defence = self.defence.at(sigma, predictor, seed)?;
        Ok(match sigma {
            _ if !softmax => Plan::Behind(defence),
            Some(_) => Plan::Softmax(Noise::Level(defence.sigma())),
            None => Plan::Softmax(Noise::Clean),
        })
    }
}

impl Plan {
    fn classify(
        &self,
        predictor: &Predictor,
        source: &Image,
        path: &Path,
    ) -> anyhow::Result<Classification> {
        Ok(match *self {
            Self::Behind(defence) => predictor.classify_behind(source, defence)?,
            Self::Softmax(Noise::Estimate) => {
                let found = predictor.classify(source, Noise::Estimate)?;
                model::say_estimated(path, found.sigma);
                found
            }
            Self::Softmax(noise) => predictor.classify(source, noise)?,
        })
    }

    /// The level of all images.
    fn sigma(&self, predictor: &Predictor) -> Option<f64> {
        match *self {
            Self::Behind(defence) => Some(defence.sigma()),
            Self::Softmax(Noise::Estimate) => None,
            Self::Softmax(Noise::Level(sigma)) => Some(sigma),
            Self::Softmax(Noise::Clean) => Some(predictor.noise_levels()[0]),
        }
    }

    fn defence(&self, predictor: &Predictor) -> DefenceName {
        match (self, self.sigma(predictor)) {
            (Self::Behind(defence), _) => DefenceName::At(*defence),
            (Self::Softmax(_), Some(sigma)) => DefenceName::At(Defence::Softmax { sigma }),
            (Self::Softmax(_), None) => DefenceName::Estimated { kind: "softmax" },
        }
    }
}

pub fn run(args: &Classify, session: &Session) -> anyhow::Result<Outcome> {
    let (path, images) = model::split_model(&args.paths);
    at_least_one("top", args.top)?;
    let images = images::expand(model::some_images(images)?, &Search::default())?.images;
    let predictor = model::load(args.bundled.or(path)?, session)?;
    predictor.require_classifier()?;
    let plan = args.plan(&predictor, session.seed.unwrap_or(0))?;
    let mut notes = Notes::default();
    let mut one = |image: &Path| -> anyhow::Result<Classified> {
        let source = images::first(image, &mut notes)?;
        let found = plan.classify(&predictor, &source, image)?.truncated(args.top);
        if !session.json {
            outln!("{}", image.display());
            for ClassProbability { class, probability, .. } in &found.classes {
                outln!("  {:>6.2}%  {class}", 100.0 * probability);
            }
        }
        Ok(Classified { image: shown(image), found })
    };
    let (images, outcome) = each(&images, |_, image| one(image))?;
    notes.finish();
    if session.json {
        let (defence, sigma) = (plan.defence(&predictor), plan.sigma(&predictor));
        session.print_json(&Report {
            model: predictor.name().to_owned(),
            defence,
            sigma,
            images,
        })?;
    }
    Ok(outcome)
}
