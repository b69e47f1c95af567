use super::{
    Outcome,
    images::{self, Notes},
    measured::check_tolerance,
    model,
};
use crate::output::shown;
use crate::session::{Session, WrongCall};
use anyhow::Result;
use clap::Args;
use miyasawa::predictor::{Explanation, Noise, Predictor};
use miyasawa::{
    explain::{self, CounterfactualOptions, Jacobian, JacobianOptions},
    image::Image,
    report::{self, Plot, Series, save_plots},
};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Largest number of rows in the figure of `all` classes.
const MAX_ROWS: usize = 24;

/// Explain a classification: evidence for a class, a path to it, and the denoiser's Jacobian.
///
/// The figure has a row for every class: the image, D(y), D(y,c), their difference, and the
/// adversarial gradient sigma^2 * grad log p(c|y) by automatic differentiation, with the relative
/// error between the last two.
///
/// --path follows D(y,c) - D(y) from the image until the model predicts the class: what would have
/// to change. --jacobian shows the leading eigenvectors of the denoiser's Jacobian (it is
/// symmetric: its singular vectors). The JSON and a second figure (NAME-dimension.png) show its
/// effective dimension, the trace, against the noise level. Both are computed at the image with
/// noise of the level added: without noise there is nothing to remove. With --add-noise, also 0,
/// the eigenvectors are computed at the resulting image.
///
/// Examples:
///   miyasawa explain model.safetensors cat.png --class dog --class frog --sigma 0.2 -o why.png
///   miyasawa explain model.safetensors cat.png --class all -o why.png --json
#[doc = "   miyasawa explain model.safetensors cat.png --class dog -o why.png --path way.png \
         --jacobian kept.png"]
#[derive(Args, Debug)]
#[command(
    verbatim_doc_comment,
    override_usage = "miyasawa explain [OPTIONS] --class <C> --out <OUT> [MODEL] IMAGE"
)]
pub struct Explain {
    /// [MODEL] IMAGE: a checkpoint, then an image (PNG, JPEG, WebP, TIFF, BMP, GIF, QOI, PNM,
    /// JPEG XL, OpenEXR), or - for standard input
    #[arg(required = true, value_name = "PATH", num_args = 1..=2)]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    bundled: model::BundledArg,
    /// Class, by name or number; may be repeated; `all` for every class (the likeliest 24 if there
    /// are more)
    #[arg(long, value_name = "C", required = true)]
    class: Vec<String>,
    /// Noise level that the model is conditioned on, in units of the [-1, 1] range
    #[arg(long, default_value_t = 0.2)]
    sigma: f64,
    /// Add noise of this level to the image first; 0 means that the image already has noise of
    /// --sigma
    #[arg(long, value_name = "S")]
    add_noise: Option<f64>,
    /// Largest relative error at which the identity holds
    #[arg(long, default_value_t = 1e-4)]
    tolerance: f64,
    /// PNG file for the figure
    #[arg(short, long)]
    out: PathBuf,
    /// Follow the path to the first class, and draw it to this PNG file
    #[arg(long, value_name = "FILE")]
    path: Option<PathBuf>,
    /// Length of a step of --path, in units of the [0, 1] range
    #[arg(long, default_value_t = 0.1)]
    step: f64,
    /// Largest number of steps of --path
    #[arg(long, default_value_t = 100)]
    steps: usize,
    /// Probability of the class at which --path ends
    #[arg(long, default_value_t = 0.95)]
    confidence: f64,
    /// Draw the leading eigenvectors of the denoiser's Jacobian to this PNG file
    #[arg(long, value_name = "FILE")]
    jacobian: Option<PathBuf>,
    /// Number of eigenvectors of --jacobian
    #[arg(long, default_value_t = 8)]
    vectors: usize,
    /// Noise levels of the effective dimension, in units of the [-1, 1] range
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
            if outputs[..i].iter().any(|other| model::same_file(other, path)) {
                return wrong(format!("{}: given for two figures", path.display()));
            }
            if model::same_file(path, image) {
                return wrong(format!("{}: the figure would replace the image", path.display()));
            }
            if model_file.is_some_and(|model| model::same_file(path, model)) {
                return wrong(format!("{}: the figure would replace the model", path.display()));
            }
            model::check_output(path)?;
        }
        check_tolerance(self.tolerance)?;
        if !(0.0..=1.0).contains(&self.confidence) {
            return wrong(format!(
                "--confidence is {}, expected a number from 0 to 1",
                self.confidence
            ));
        }
        if !(self.step > 0.0 && self.step.is_finite()) {
            return wrong(format!("--step is {}, expected a number above 0", self.step));
        }
        if self.vectors == 0 {
            return wrong("--vectors is 0, expected at least 1".into());
        }
        Ok(())
    }

    fn labels(&self, predictor: &Predictor, y: &Image, sigma: f64) -> Result<Vec<usize>> {
        let mut labels = Vec::new();
        for text in &self.class {
            // A class may have this name.
            if text == "all" && !predictor.classes().contains(text) {
                labels.extend(likeliest(predictor, y, sigma)?);
            } else {
                labels.push(predictor.class(text)?);
            }
        }
        let mut seen = std::collections::HashSet::new();
        labels.retain(|label| seen.insert(*label));
        Ok(labels)
    }
}

/// All classes in their order, or the likeliest [`MAX_ROWS`]: a figure with a thousand rows cannot
/// be drawn.
fn likeliest(predictor: &Predictor, y: &Image, sigma: f64) -> Result<Vec<usize>> {
    let count = predictor.classes().len();
    if count <= MAX_ROWS {
        return Ok((0..count).collect());
    }
    let found = predictor.classify(y, Noise::Level(sigma))?;
    tracing::info!("the {MAX_ROWS} likeliest of {count} classes");
    Ok(found.top(MAX_ROWS).iter().map(|class| class.index).collect())
}

/// The document of `--json`.
#[derive(Serialize)]
struct Report {
    model: String,
    image: String,
    sigma: f64,
    out: String,
    /// The values of a single class.
    #[serde(flatten)]
    only: Option<OfClass>,
    classes: Vec<ClassReport>,
    relative_error: f64,
    tolerance: f64,
    holds: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<PathReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jacobian: Option<JacobianReport>,
}

#[derive(Clone, Serialize)]
struct OfClass {
    class: String,
    probability: f32,
}

#[derive(Serialize)]
struct ClassReport {
    #[serde(flatten)]
    of: OfClass,
    relative_error: f64,
}

/// The counterfactual path.
#[derive(Serialize)]
struct PathReport {
    class: String,
    out: String,
    reached: bool,
    steps: Vec<PathStep>,
}

#[derive(Serialize)]
struct PathStep {
    distance: f64,
    probability: f32,
}

/// The Jacobian's eigenvectors, and its effective dimension.
#[derive(Serialize)]
struct JacobianReport {
    out: String,
    curve: String,
    dimensions: usize,
    spectrum: explain::Spectrum,
    levels: Vec<explain::LevelSpectrum>,
}

impl Report {
    fn print(&self) {
        let out = &self.out;
        for ClassReport { of: OfClass { class, probability }, relative_error } in &self.classes {
            let probability = 100.0 * probability;
            outln!(
                "{out}: p({class} | y) = {probability:.2}%; D(y,c) - D(y) and sigma^2 grad log \
                 p(c|y) differ by {relative_error:.1e} of the largest value"
            );
        }
        if let Some(PathReport { class, out, reached, steps }) = &self.path {
            let (distance, probability) = steps
                .last()
                .map_or((0.0, f32::NAN), |step| (step.distance, 100.0 * step.probability));
            outln!(
                "{out}: p({class} | y) = {probability:.1}% at distance {distance:.2} after {} \
                 steps{}",
                steps.len() - 1,
                if *reached { "" } else { "; not reached" }
            );
        }
        if let Some(JacobianReport { out, dimensions, spectrum, .. }) = &self.jacobian {
            let values: Vec<String> = spectrum.values.iter().map(|v| format!("{v:.3}")).collect();
            let (values, trace) = (values.join(" "), spectrum.trace);
            outln!("{out}: eigenvalues {values}; trace {trace:.1} of {dimensions} dimensions");
        }
    }
}

pub fn run(args: &Explain, session: &Session) -> Result<Outcome> {
    let (path, images) = model::split_model(&args.paths);
    let [image] = images else {
        return Err(WrongCall(format!("{} images are given, expected one", images.len())).into());
    };
    args.check(image, path)?;
    let predictor = model::load(args.bundled.or(path)?, session)?;
    predictor.joint("explain")?;
    let sigma = model::sigma(&predictor, args.sigma)?;
    let sigmas = model::sigmas(&predictor, &args.sigmas);
    // Only the Jacobian uses them.
    let sigmas = if args.jacobian.is_some() { sigmas? } else { Vec::new() };
    let clean = predictor.input(&images::first(image, &mut Notes::default())?)?;
    let seed = session.seed.unwrap_or(0);
    let y = match args.add_noise.filter(|level| *level != 0.0) {
        Some(level) => model::add_noise(clean.clone(), level, seed)?,
        None => clean.clone(),
    };
    let labels = args.labels(&predictor, &y, sigma)?;
    let classes = predictor.classes();
    let found = predictor.explain_classes(&y, &labels, sigma)?;
    report::explanation(&y, &found, classes)?.save(&args.out)?;
    // NaN compares as false, so it fails.
    let holds = found.iter().all(|one| one.relative_error <= args.tolerance);
    let of = |one: &Explanation| OfClass {
        class: classes[one.label].clone(),
        probability: one.probability,
    };
    let of_class =
        |one: &Explanation| ClassReport { of: of(one), relative_error: one.relative_error };
    let path_to = |out: &Path| follow(args, &predictor, &y, labels[0], sigma, out);
    let jacobian_at = |out: &Path| {
        let noisy = match args.add_noise {
            None if sigma > 0.0 => model::add_noise(clean.clone(), sigma, seed)?,
            _ => y.clone(),
        };
        eigenvectors(args, &predictor, [&clean, &noisy], (sigma, &sigmas), seed, out)
    };
    let report = Report {
        model: predictor.name().to_owned(),
        image: shown(image),
        sigma,
        out: shown(&args.out),
        only: if let [only] = &found[..] { Some(of(only)) } else { None },
        classes: found.iter().map(of_class).collect(),
        relative_error: found.iter().fold(0.0f64, |worst, one| worst.max(one.relative_error)),
        tolerance: args.tolerance,
        holds,
        path: args.path.as_deref().map(path_to).transpose()?,
        jacobian: args.jacobian.as_deref().map(jacobian_at).transpose()?,
    };
    if session.json {
        session.print_json(&report)?;
    } else {
        report.print();
    }
    if !holds {
        let worst = report.relative_error;
        tracing::error!(
            "the identity does not hold: {worst:.1e} is more than {:.1e}",
            args.tolerance
        );
        return Ok(Outcome::Failed);
    }
    Ok(Outcome::Done)
}

/// The path of the second figure of `--jacobian`.
fn dimension_curve(jacobian: &Path) -> PathBuf {
    let stem = jacobian.file_stem().unwrap_or_default().to_string_lossy();
    jacobian.with_file_name(format!("{stem}-dimension.png"))
}

/// Follows the counterfactual path and draws it.
fn follow(
    args: &Explain,
    predictor: &Predictor,
    y: &Image,
    label: usize,
    sigma: f64,
    out: &Path,
) -> Result<PathReport> {
    let options = CounterfactualOptions {
        sigma,
        label,
        step: args.step,
        steps: args.steps,
        confidence: args.confidence,
    };
    let found =
        explain::counterfactual(predictor.joint("explain")?, y, &options, predictor.device());
    let class = predictor.classes()[label].clone();
    report::path(&found, label, &class)?.save(out)?;
    let step = |s: &explain::CounterfactualStep| PathStep {
        distance: s.distance,
        probability: s.probs[label],
    };
    let steps = found.steps.iter().map(step).collect();
    Ok(PathReport { class, out: shown(out), reached: found.reached, steps })
}

/// Draws the Jacobian's eigenvectors at the noisy image, and its effective dimension against the
/// noise level.
fn eigenvectors(
    args: &Explain,
    predictor: &Predictor,
    [clean, y]: [&Image; 2],
    (sigma, sigmas): (f64, &[f64]),
    seed: u64,
    out: &Path,
) -> Result<JacobianReport> {
    let options = JacobianOptions { vectors: args.vectors, seed, ..JacobianOptions::default() };
    let (joint, device) = (predictor.joint("explain")?, predictor.device());
    let jacobian = Jacobian::new(joint, y, sigma, options.batch, device);
    let spectrum = jacobian.spectrum(&options);
    report::eigenvectors(y, &jacobian.denoised(), &spectrum)?.save(out)?;
    let levels = explain::spectrum(joint, clean, sigmas, &options, device);
    let curve = dimension_curve(out);
    let line = |name: &str, value: &dyn Fn(&explain::LevelSpectrum) -> f64| {
        Series::new(name, levels.iter().map(|l| (l.sigma, value(l))).collect())
    };
    let series =
        vec![line("trace", &|l| l.trace), line("sum of squared eigenvalues", &|l| l.squares)];
    let title = format!("Effective dimension of {}", jacobian.len());
    let plot =
        Plot { log_x: true, log_y: true, ..Plot::new(title, "noise level", "dimensions", series) };
    save_plots(&[plot], &curve)?;
    let (out, curve) = (shown(out), shown(&curve));
    Ok(JacobianReport { out, curve, dimensions: jacobian.len(), spectrum, levels })
}
