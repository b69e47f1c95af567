use super::{Outcome, model};
use crate::args::{Session, WrongCall};
use clap::Args;
use miyasawa::{infer, report};
use std::path::PathBuf;

/// Show what of a picture speaks for a class.
///
/// One figure: the picture, D(y), D(y,c), their difference, and the adversarial gradient
/// sigma^2 * grad log p(c|y) computed by itself, with the number that says how equal the last two are.
///
/// Example: miyasawa explain model.safetensors cat.png --class dog --sigma 0.2 -o why.png
#[derive(Args, Debug)]
#[command(
    verbatim_doc_comment,
    override_usage = "miyasawa explain [OPTIONS] --class <C> --out <OUT> [MODEL] IMAGE"
)]
pub struct Explain {
    /// [MODEL] IMAGE: a checkpoint, then a picture (PNG, JPEG, WebP)
    #[arg(required = true, value_name = "PATH", num_args = 1..=2)]
    paths: Vec<PathBuf>,
    /// The class, by name or number
    #[arg(long, value_name = "C")]
    class: String,
    /// Noise level at which the model looks
    #[arg(long, default_value_t = 0.2)]
    sigma: f64,
    /// Add noise of this level first
    #[arg(long, value_name = "S")]
    add_noise: Option<f64>,
    /// Largest relative error at which the identity counts as holding
    #[arg(long, default_value_t = 1e-4)]
    tolerance: f64,
    /// The figure, a PNG
    #[arg(short, long)]
    out: PathBuf,
}

pub fn run(args: &Explain, session: &Session) -> anyhow::Result<Outcome> {
    let (path, images) = model::split_model(&args.paths);
    let [image] = images else {
        return Err(WrongCall(format!("{} pictures are given, expected one", images.len())).into());
    };
    model::check_output(&args.out)?;
    let loaded = model::load(path, session)?;
    let sigma = loaded.sigma(args.sigma)?;
    let label = loaded.class(&args.class)?;
    let mut y = loaded.open_fitted(image)?;
    if let Some(level) = args.add_noise {
        y = model::add_noise(y, level, session.seed.unwrap_or(0))?;
    }
    let explanation = infer::explain(&loaded.model, &y, sigma, label, &loaded.device);
    let class = &loaded.info.data.classes[label];
    report::explanation(&y, &explanation, class)?.save(&args.out)?;
    let holds = explanation.relative_error <= args.tolerance;
    if session.json {
        session.print_json(&serde_json::json!({
            "model": loaded.name, "image": image, "class": class, "sigma": sigma, "out": args.out,
            "probability": explanation.probs[label], "relative_error": explanation.relative_error,
            "tolerance": args.tolerance, "holds": holds,
        }))?;
    } else {
        outln!(
            "{}: p({class} | y) = {:.2}%; D(y,c) - D(y) and sigma^2 grad log p(c|y) differ by {:.1e} of the largest value",
            args.out.display(),
            100.0 * explanation.probs[label],
            explanation.relative_error
        );
    }
    Ok(if holds { Outcome::Done } else { Outcome::Failed })
}
