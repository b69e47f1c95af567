//! Loading the MODEL argument, and checking noise levels and paths against it.

use super::outputs;
use crate::{
    ranks,
    session::{Session, WrongCall},
};
use anyhow::Result;
use clap::Args;
use miyasawa::{
    bundled::BundledModel,
    checkpoint::Checkpoint,
    classifier::{BoxedClassifier, Defence},
    image::Image,
    model::{NOISE_LEVELS, VIEWS},
    predictor::{MAX_NOISE, PredictError, Predictor},
};
use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

/// A checkpoint as it was read.
pub struct LoadedCheckpoint {
    pub checkpoint: Checkpoint,
    pub sha256: String,
    pub path: PathBuf,
}

/// `--model`.
#[derive(Args, Clone, Copy, Debug)]
pub struct BundledArg {
    /// A bundled model by its name instead of a checkpoint: cifar10 or photo (`miyasawa info` lists
    /// them)
    #[arg(id = "bundled", long = "model", value_name = "NAME")]
    name: Option<BundledModel>,
}

/// `--views`.
#[derive(Args, Clone, Copy, Debug)]
pub struct ViewsArg {
    /// Take the mean over N views of each image: 2 with its mirror image, 4 with both upside down,
    /// 8 with rows and columns exchanged too; N times as long, about 0.1 dB better; classes are of
    /// the first two
    #[arg(long, value_name = "N", default_value_t = 1)]
    views: usize,
}

/// Where a model comes from.
#[derive(Clone, Debug)]
pub enum Source {
    File(PathBuf),
    Bundled(BundledModel),
}

impl BundledArg {
    /// The checkpoint of the argument, else the model of `--model`, else the checkpoint of
    /// `MIYASAWA_MODEL`, else the bundled model `default`.
    pub fn or_file(self, path: Option<&Path>, default: BundledModel) -> Result<Source> {
        match (path, self.name) {
            (Some(path), Some(name)) => {
                let path = path.display();
                Err(WrongCall(format!("{path} and --model {name} are two models, give one")).into())
            }
            (Some(path), None) => Ok(Source::File(path.to_owned())),
            (None, Some(name)) => Ok(Source::Bundled(name)),
            (None, None) => Ok(unnamed(default)),
        }
    }

    /// Whether `--model` was given.
    pub fn is_given(self) -> bool {
        self.name.is_some()
    }

    /// As [`or_file`](Self::or_file) with the default of most commands.
    pub fn or(self, path: Option<&Path>) -> Result<Source> {
        self.or_file(path, BundledModel::default())
    }
}

/// The model where the command line names none.
pub fn unnamed(default: BundledModel) -> Source {
    let variable = std::env::var_os("MIYASAWA_MODEL").filter(|name| !name.is_empty());
    variable.map_or(Source::Bundled(default), |path| Source::File(path.into()))
}

/// Reads a checkpoint.
pub fn read(source: Source) -> Result<LoadedCheckpoint> {
    let ((checkpoint, sha256), path) = match source {
        Source::File(path) => (Checkpoint::load_with_hash(&path)?, path),
        Source::Bundled(model) => (model.checkpoint()?, model.title().into()),
    };
    Ok(LoadedCheckpoint { checkpoint, sha256, path })
}

/// Loads a model.
pub fn load(source: Source, session: &Session) -> Result<Predictor> {
    load_with(source, ViewsArg { views: 1 }, session)
}

/// Loads a model whose results are means over views of an image.
pub fn load_with(source: Source, views: ViewsArg, session: &Session) -> Result<Predictor> {
    if !VIEWS.contains(&views.views) {
        let text = format!("--views is {}, expected 1, 2, 4 or 8", views.views);
        return Err(WrongCall(text).into());
    }
    let builder = Predictor::builder().device(session.device_spec()).views(views.views);
    let predictor = match source {
        Source::File(path) => builder.load(path)?,
        Source::Bundled(model) => builder.from_bundled(model)?,
    };
    ranks::agree("model", || predictor.sha256().to_owned())?;
    Ok(predictor)
}

/// The noise level of all images to denoise, if the command line gives one by `option`; at 0 they
/// stay as they are.
pub fn given(predictor: &Predictor, option: &str, level: Level) -> Result<Option<f64>> {
    let found = match level {
        Level::Given(0.0) => return Ok(Some(0.0)),
        // Smaller ones change nothing: a slip.
        Level::Given(level) if level < *NOISE_LEVELS.start() => predictor.level(level),
        Level::Given(level) => {
            let [min, max] = predictor.noise_levels();
            if level < min && !predictor.info().network.is_blind() {
                tracing::warn!(
                    "noise level {level} is outside {min} to {max}, which the model was trained \
                     on: the correction at {min} is shortened"
                );
            }
            predictor.denoised_level(level)
        }
        Level::Auto => return Ok(None),
    };
    found.map(Some).map_err(|error| wrong_level(option, &error))
}

/// Says the noise level that was estimated from an image.
pub fn say_estimated(path: &Path, sigma: f64) {
    tracing::info!("{}: noise level {sigma:.3}, estimated from the image", path.display());
}

/// The noise levels of `--sigmas`.
pub fn sigmas(predictor: &Predictor, sigmas: &[f64]) -> Result<Vec<f64>> {
    sigmas.iter().map(|sigma| level(predictor, "sigmas", *sigma)).collect()
}

/// The noise level of `--sigma`: positive for a model that is conditioned on it.
pub fn sigma(predictor: &Predictor, sigma: f64) -> Result<f64> {
    level(predictor, "sigma", sigma)
}

fn level(predictor: &Predictor, option: &str, sigma: f64) -> Result<f64> {
    predictor.level(sigma).map_err(|error| wrong_level(option, &error))
}

/// `--sigma` of an image.
#[derive(Clone, Copy, Debug)]
pub enum Level {
    /// Estimated from the image.
    Auto,
    /// This number.
    Given(f64),
}

/// Reads a [`Level`].
pub fn parse_level(text: &str) -> Result<Level, String> {
    match text.parse() {
        Ok(sigma) => Ok(Level::Given(sigma)),
        Err(_) if text == "auto" => Ok(Level::Auto),
        Err(_) => Err("expected a number, or auto".to_owned()),
    }
}

/// The error of a noise level, which names the option that gave it.
fn wrong_level(option: &str, error: &PredictError) -> anyhow::Error {
    WrongCall(error.to_string().replacen("noise level", &format!("--{option} is"), 1)).into()
}

/// Makes sure that an image can be written to a path, before any work is done for it.
pub fn check_output(path: &Path) -> Result<()> {
    Image::check_extension(path).map_err(|e| WrongCall(e.to_string()))?;
    Ok(miyasawa::atomic::check_writable(path)?)
}

/// Splits `[MODEL] IMAGE...`: the first path is the model if it is a safetensors file, by its name
/// or its content.
pub fn split_model(paths: &[PathBuf]) -> (Option<&Path>, &[PathBuf]) {
    let is_model = |path: &Path| {
        path.extension().is_some_and(|e| e.eq_ignore_ascii_case("safetensors"))
            || is_safetensors(path)
    };
    match paths {
        [first, rest @ ..] if is_model(first) => (Some(first), rest),
        all => (None, all),
    }
}

/// Whether a file begins as safetensors do: the length of a JSON header, which is within the file,
/// and the header.
fn is_safetensors(path: &Path) -> bool {
    let begin = || {
        // A pipe gives its bytes once, and /dev/stdin may share its position in the file.
        let metadata =
            std::fs::metadata(path).ok().filter(|m| m.is_file() && !path.starts_with("/dev"))?;
        let mut bytes = [0; 9];
        std::fs::File::open(path).ok()?.read_exact(&mut bytes).ok()?;
        let length: [u8; 8] = bytes[..8].try_into().ok()?;
        Some(u64::from_le_bytes(length) <= metadata.len() && bytes[8] == b'{')
    };
    begin().unwrap_or(false)
}

/// Whether two paths are one file or folder, or would be once it is written.
pub fn same_file(a: &Path, b: &Path) -> bool {
    let resolved = |path: &Path| {
        let folder =
            path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        path.canonicalize()
            .ok()
            .or_else(|| Some(folder.canonicalize().ok()?.join(path.file_name()?)))
    };
    // Two names may lead to one file without a link that could be seen.
    resolved(a).is_some_and(|a| resolved(b) == Some(a))
        || outputs::file_id(a).is_some_and(|a| outputs::file_id(b) == Some(a))
}

/// The classifier conditioned on a noise level that was checked with [`sigma`].
///
/// # Panics
/// If the model has no logits: ask [`Predictor::require_classifier`] first.
pub fn classifier_at(predictor: &Predictor, sigma: f64) -> BoxedClassifier<'_> {
    let classifier = predictor.classifier(Defence::Softmax { sigma });
    classifier.expect("a model that classifies at one level does so at all")
}

/// Makes sure that at least one image is given.
pub fn some_images(images: &[PathBuf]) -> Result<&[PathBuf]> {
    if images.is_empty() { Err(WrongCall("no image is given".into()).into()) } else { Ok(images) }
}

/// Checks `--add-noise`.
pub fn check_noise(level: Option<f64>) -> Result<()> {
    level
        .filter(|level| !(*NOISE_LEVELS.start()..=MAX_NOISE).contains(level))
        .map_or(Ok(()), |found| {
            Err(wrong_level("add-noise", &PredictError::Level { found, largest: MAX_NOISE }))
        })
}

/// Adds normal noise of the level `sigma`; see [`Image::with_noise`].
pub fn add_noise(image: Image, sigma: f64, seed: u64) -> Result<Image> {
    check_noise(Some(sigma))?;
    Ok(image.with_noise(sigma, seed)?)
}
