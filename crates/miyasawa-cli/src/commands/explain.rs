use super::{
    Outcome,
    measured::check_tolerance,
    model,
    pictures::{self, Notes},
};
use crate::output::shown;
use crate::session::{Session, WrongCall};
use anyhow::{Context, Result};
use clap::Args;
use miyasawa::{
    explain::{self, Jacobian, JacobianOptions, PathOptions},
    infer,
    picture::Picture,
    report::{self, Plot, Series, save_plots},
};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// Rows of a figure that `all` classes may have.
const MOST: usize = 24;

/// Show what of a picture speaks for a class, the way to it, and what the denoiser keeps.
///
/// The figure has a row for every class: the picture, D(y), D(y,c), their difference, and the adversarial gradient
/// sigma^2 * grad log p(c|y) by automatic differentiation, with the number that says how equal the last two are.
///
/// --path follows D(y,c) - D(y) from the picture until it shows the class: what would have to change.
/// --jacobian shows the leading eigenvectors of the denoiser's Jacobian (it is symmetric: its singular vectors), and in
/// the JSON and beside the figure (NAME-dimension.png) its effective dimension, the trace, against the noise level. Both
/// are of the picture with noise of the level added: without it there is nothing to remove. A picture that is noisy
/// already, or made so by --add-noise, has its eigenvectors taken as it is.
///
/// Examples:
///   miyasawa explain model.safetensors cat.png --class dog --class frog --sigma 0.2 -o why.png
///   miyasawa explain model.safetensors cat.png --class all -o why.png --json
///   miyasawa explain model.safetensors cat.png --class dog -o why.png --path way.png --jacobian kept.png
#[derive(Args, Debug)]
#[command(
    verbatim_doc_comment,
    override_usage = "miyasawa explain [OPTIONS] --class <C> --out <OUT> [MODEL] IMAGE"
)]
pub struct Explain {
    /// [MODEL] IMAGE: a checkpoint, then a picture (PNG, JPEG, WebP, TIFF, BMP, GIF), or - for standard input
    #[arg(required = true, value_name = "PATH", num_args = 1..=2)]
    paths: Vec<PathBuf>,
    /// A class, by name or number; may be repeated; `all` for every class, of more than 24 for the likeliest
    #[arg(long, value_name = "C", required = true)]
    class: Vec<String>,
    /// Noise level at which the model looks
    #[arg(long, default_value_t = 0.2)]
    sigma: f64,
    /// Add noise of this level first; 0 says that the picture has noise of --sigma already
    #[arg(long, value_name = "S")]
    add_noise: Option<f64>,
    /// Largest relative error at which the identity counts as holding
    #[arg(long, default_value_t = 1e-4)]
    tolerance: f64,
    /// The figure, a PNG
    #[arg(short, long)]
    out: PathBuf,
    /// Follow the way to the first class, and draw it here
    #[arg(long, value_name = "FILE")]
    path: Option<PathBuf>,
    /// Length of a step of --path, in units of the [0, 1] range
    #[arg(long, default_value_t = 0.1)]
    step: f64,
    /// Most steps of --path
    #[arg(long, default_value_t = 100)]
    steps: usize,
    /// --path ends where the class has this probability
    #[arg(long, default_value_t = 0.95)]
    confidence: f64,
    /// Draw the leading eigenvectors of the denoiser's Jacobian here
    #[arg(long, value_name = "FILE")]
    jacobian: Option<PathBuf>,
    /// Number of eigenvectors
    #[arg(long, default_value_t = 8)]
    vectors: usize,
    /// Noise levels of the effective dimension
    #[arg(long, value_delimiter = ',', default_values_t = [0.05, 0.1, 0.2, 0.4, 0.8])]
    sigmas: Vec<f64>,
}

impl Explain {
    fn check(&self, image: &Path, model_file: Option<&Path>) -> Result<()> {
        let wrong = |text: String| Err(WrongCall(text).into());
        let curve = self.jacobian.as_deref().map(dimension_curve);
        let others = [self.path.clone(), self.jacobian.clone(), curve];
        let outputs: Vec<PathBuf> =
            std::iter::once(self.out.clone()).chain(others.into_iter().flatten()).collect();
        for (i, path) in outputs.iter().enumerate() {
            if outputs[..i].iter().any(|other| model::same_place(other, path)) {
                return wrong(format!("{}: named for two figures", path.display()));
            }
            if model::same_place(path, image) {
                return wrong(format!("{}: the figure would replace the picture", path.display()));
            }
            if model_file.is_some_and(|model| model::same_place(path, model)) {
                return wrong(format!("{}: the figure would replace the model", path.display()));
            }
            model::check_output(path)?;
        }
        check_tolerance(self.tolerance)?;
        if !(0.0..=1.0).contains(&self.confidence) {
            return wrong(format!("--confidence is {}, expected a number from 0 to 1", self.confidence));
        }
        if !(self.step > 0.0 && self.step.is_finite()) {
            return wrong(format!("--step is {}, expected a number above 0", self.step));
        }
        if self.vectors == 0 {
            return wrong("--vectors is 0, expected at least 1".into());
        }
        Ok(())
    }

    fn labels(&self, loaded: &model::Loaded, y: &Picture, sigma: f64) -> Result<Vec<usize>> {
        let mut labels = Vec::new();
        for text in &self.class {
            // A class may have this name.
            if text == "all" && !loaded.info.data.classes.contains(text) {
                labels.extend(likeliest(loaded, y, sigma)?);
            } else {
                labels.push(loaded.class(text)?);
            }
        }
        let mut seen = std::collections::HashSet::new();
        labels.retain(|label| seen.insert(*label));
        Ok(labels)
    }
}

/// All classes in their order, or the likeliest [`MOST`] first: a figure of a thousand cannot be drawn.
fn likeliest(loaded: &model::Loaded, y: &Picture, sigma: f64) -> Result<Vec<usize>> {
    let mut labels: Vec<usize> = (0..loaded.info.data.classes.len()).collect();
    if labels.len() > MOST {
        let probs = infer::classify(&loaded.model, y, sigma, &loaded.device);
        let probs = probs.context("the model does not classify")?;
        labels.sort_by(|a, b| probs[*b].total_cmp(&probs[*a]));
        tracing::info!("the {MOST} likeliest of {} classes", labels.len());
        labels.truncate(MOST);
    }
    Ok(labels)
}

pub fn run(args: &Explain, session: &Session) -> Result<Outcome> {
    let (path, images) = model::split_model(&args.paths);
    let [image] = images else {
        return Err(WrongCall(format!("{} pictures are given, expected one", images.len())).into());
    };
    args.check(image, path)?;
    let loaded = model::load(path, session)?;
    let joint = loaded.joint("explain")?;
    let sigma = loaded.sigma(args.sigma)?;
    let sigmas = loaded.sigmas(&args.sigmas);
    // Only the Jacobian looks at them.
    let sigmas = if args.jacobian.is_some() { sigmas? } else { Vec::new() };
    let clean = loaded.fitted(&pictures::first(image, &mut Notes::default())?)?;
    let y = match args.add_noise.filter(|level| *level != 0.0) {
        Some(level) => model::add_noise(clean.clone(), level, session.seed.unwrap_or(0))?,
        None => clean.clone(),
    };
    let labels = args.labels(&loaded, &y, sigma)?;
    let classes = &loaded.info.data.classes;
    let found = explain::explain(joint, &y, sigma, &labels, &loaded.device);
    report::explanation(&y, &found, classes)?.save(&args.out)?;
    let worst = found.iter().fold(0.0f64, |worst, one| worst.max(one.relative_error));
    // A NaN passes no comparison: it must fail here.
    let holds = found.iter().all(|one| one.relative_error <= args.tolerance);

    let mut document = Map::new();
    let mut add = |key: &str, value: Value| document.insert(key.to_owned(), value);
    let one = |e: &explain::Explanation| json!({ "class": classes[e.label], "probability": e.probs[e.label], "relative_error": e.relative_error });
    add("model", json!(loaded.name));
    add("image", json!(shown(image)));
    add("sigma", json!(sigma));
    add("out", json!(shown(&args.out)));
    if let [only] = &found[..] {
        add("class", json!(classes[only.label]));
        add("probability", json!(only.probs[only.label]));
    }
    add("classes", found.iter().map(one).collect());
    add("relative_error", json!(worst));
    add("tolerance", json!(args.tolerance));
    add("holds", json!(holds));

    let mut lines = Vec::new();
    for e in &found {
        lines.push(format!(
            "{}: p({} | y) = {:.2}%; D(y,c) - D(y) and sigma^2 grad log p(c|y) differ by {:.1e} of the largest value",
            args.out.display(),
            classes[e.label],
            100.0 * e.probs[e.label],
            e.relative_error
        ));
    }
    if let Some(out) = &args.path {
        let (value, line) = way(args, &loaded, &y, labels[0], sigma, out)?;
        add("path", value);
        lines.push(line);
    }
    if let Some(out) = &args.jacobian {
        let seed = session.seed.unwrap_or(0);
        let noisy = match args.add_noise {
            None if sigma > 0.0 => model::add_noise(clean.clone(), sigma, seed)?,
            _ => y.clone(),
        };
        let (value, line) = kept(args, &loaded, [&clean, &noisy], (sigma, &sigmas), seed, out)?;
        add("jacobian", value);
        lines.push(line);
    }
    if session.json {
        session.print_json(&document)?;
    } else {
        lines.iter().for_each(|line| outln!("{line}"));
    }
    if !holds {
        tracing::error!("the identity does not hold: {worst:.1e} is more than {:.1e}", args.tolerance);
        return Ok(Outcome::Failed);
    }
    Ok(Outcome::Done)
}

/// The figure beside that of the Jacobian.
fn dimension_curve(jacobian: &Path) -> PathBuf {
    let stem = jacobian.file_stem().unwrap_or_default().to_string_lossy();
    jacobian.with_file_name(format!("{stem}-dimension.png"))
}

/// The counterfactual path.
fn way(
    args: &Explain,
    loaded: &model::Loaded,
    y: &Picture,
    label: usize,
    sigma: f64,
    out: &Path,
) -> Result<(Value, String)> {
    let options =
        PathOptions { sigma, label, step: args.step, steps: args.steps, confidence: args.confidence };
    let found = explain::counterfactual(loaded.joint("explain")?, y, &options, &loaded.device);
    let class = &loaded.info.data.classes[label];
    report::path(&found, label, class)?.save(out)?;
    let points: Vec<Value> = found
        .steps
        .iter()
        .map(|s| json!({ "distance": s.distance, "probability": s.probs[label] }))
        .collect();
    let end = found.steps.last();
    let (distance, probability) = end.map_or((0.0, f32::NAN), |s| (s.distance, s.probs[label]));
    let text = format!(
        "{}: p({class} | y) = {:.1}% at distance {distance:.2} after {} steps{}",
        out.display(),
        100.0 * probability,
        found.steps.len() - 1,
        if found.reached { "" } else { "; not reached" }
    );
    Ok((json!({ "class": class, "out": shown(out), "reached": found.reached, "steps": points }), text))
}

/// The Jacobian's eigenvectors at the noisy picture, and its effective dimension against the noise level.
fn kept(
    args: &Explain,
    loaded: &model::Loaded,
    [clean, y]: [&Picture; 2],
    (sigma, sigmas): (f64, &[f64]),
    seed: u64,
    out: &Path,
) -> Result<(Value, String)> {
    let options = JacobianOptions { vectors: args.vectors, seed, ..JacobianOptions::default() };
    let joint = loaded.joint("explain")?;
    let jacobian = Jacobian::new(joint, y, sigma, options.batch, &loaded.device);
    let found = jacobian.spectrum(&options);
    let denoised = infer::denoise(joint, y, sigma, None, &loaded.device, &mut |_| ());
    let denoised = denoised.with_context(|| format!("{}: no denoised picture", loaded.name))?;
    report::eigenvectors(y, &denoised, &found)?.save(out)?;
    let levels = explain::spectrum(joint, clean, sigmas, &options, &loaded.device);
    let curve = dimension_curve(out);
    let line = |name: &str, value: &dyn Fn(&explain::LevelSpectrum) -> f64| {
        Series::new(name, levels.iter().map(|l| (l.sigma, value(l))).collect())
    };
    let series = vec![line("trace", &|l| l.trace), line("sum of squared eigenvalues", &|l| l.squares)];
    let title = format!("Effective dimension of {}", jacobian.len());
    let plot = Plot { log_x: true, log_y: true, ..Plot::new(title, "noise level", "dimensions", series) };
    save_plots(&[plot], &curve)?;
    let text = format!(
        "{}: eigenvalues {}; trace {:.1} of {} dimensions",
        out.display(),
        found.values.iter().map(|v| format!("{v:.3}")).collect::<Vec<_>>().join(" "),
        found.trace,
        jacobian.len()
    );
    let value = json!({
        "out": shown(out), "curve": shown(&curve), "dimensions": jacobian.len(), "spectrum": found, "levels": levels,
    });
    Ok((value, text))
}
