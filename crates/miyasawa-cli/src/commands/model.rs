//! Loading the MODEL argument, and bringing pictures to it.

use super::outputs;
use crate::session::{Session, WrongCall};
use anyhow::{Result, bail};
use miyasawa::{
    Device,
    checkpoint::{Checkpoint, ModelInfo},
    classifier::{BoxedClassifier, Defence, plain_classifier},
    data::Geometry,
    infer,
    model::{GradResNet, JointModel, Model, NOISE_LEVELS},
    picture::Picture,
    shipped,
};
use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

/// A model on its device.
pub struct Loaded {
    /// What the checkpoint says of it.
    pub info: ModelInfo,
    /// The model.
    pub model: Model,
    /// Where it computes.
    pub device: Device,
    /// What to call it in messages and documents.
    pub name: String,
    /// The hash of the checkpoint's content.
    pub hash: String,
}

/// A checkpoint as it was read.
pub struct Read {
    pub checkpoint: Checkpoint,
    pub sha256: String,
    pub path: PathBuf,
}

/// Reads a checkpoint: the one that is named, or else that of `MIYASAWA_MODEL`, or else the one that ships.
pub fn read(path: Option<&Path>) -> Result<Read> {
    let named = || std::env::var_os("MIYASAWA_MODEL").filter(|name| !name.is_empty()).map(PathBuf::from);
    let path = path.map(Path::to_owned).or_else(named);
    let ((checkpoint, sha256), path) = match path {
        Some(path) => (Checkpoint::load_with_hash(&path)?, path),
        None => (shipped::checkpoint()?, shipped::NAME.into()),
    };
    Ok(Read { checkpoint, sha256, path })
}

/// Loads the model of the MODEL argument; see [`read`].
pub fn load(path: Option<&Path>, session: &Session) -> Result<Loaded> {
    let Read { checkpoint, sha256, path } = read(path)?;
    let device = session.device()?;
    let model = checkpoint.model(&device, &path)?;
    Ok(Loaded { info: checkpoint.info, model, device, name: path.display().to_string(), hash: sha256 })
}

impl Loaded {
    /// The error of asking a model for what it was not trained to do.
    fn cannot(&self, what: &str) -> anyhow::Error {
        anyhow::anyhow!(
            "{}: does not {what}: it is a {} trained with the weights {:?} of cross-entropy and score matching",
            self.name,
            self.info.network.kind(),
            self.info.training.loss_weights
        )
    }

    /// Makes sure that the model knows classes.
    pub fn must_classify(&self) -> Result<()> {
        if self.info.classifies() {
            return Ok(());
        }
        if self.info.network.classes() == Some(1) {
            bail!("{}: does not classify: it knows one class", self.name);
        }
        Err(self.cannot("classify"))
    }

    /// Makes sure that the model is a denoiser.
    pub fn must_denoise(&self) -> Result<()> {
        if self.info.denoises() { Ok(()) } else { Err(self.cannot("denoise")) }
    }

    /// The model as attacks see it, at a noise level that it is told.
    pub fn classifier(&self, sigma: f64, shape: [usize; 3]) -> Result<BoxedClassifier<'_>> {
        let classes = self.info.data.classes.len();
        let classifier = plain_classifier(&self.model, sigma, shape, classes, &self.device);
        classifier.ok_or_else(|| self.cannot("classify"))
    }

    /// The model behind a defence, as attacks see it.
    pub fn defended(&self, defence: Defence, shape: [usize; 3]) -> Result<BoxedClassifier<'_>> {
        let joint = match defence {
            Defence::Softmax { sigma } => return self.classifier(sigma, shape),
            Defence::Denoise { .. } => {
                let joint = self.joint("denoise before it classifies")?;
                self.must_denoise()?;
                joint
            }
            Defence::Average { .. } => self.joint("answer with a mean over draws of noise")?,
        };
        Ok(defence.classifier(joint, shape, &self.device))
    }

    /// The joint model, for what no other can do.
    pub fn joint(&self, what: &str) -> Result<&JointModel<GradResNet>> {
        self.model.joint().ok_or_else(|| self.cannot(what))
    }

    /// The size and channels of the pictures that the model was trained on.
    pub fn geometry(&self) -> Geometry {
        self.info.data.geometry()
    }

    /// A picture as the model's input: in its channels, at its size, brought to it as in training.
    pub fn fitted(&self, picture: &Picture) -> Result<Picture> {
        Ok(self.info.data.fitted(picture)?)
    }

    /// A class by its name or number.
    pub fn class(&self, text: &str) -> Result<usize> {
        infer::class_index(&self.info, text).map_err(|e| WrongCall(e.to_string()).into())
    }

    /// The noise level to tell the model for a picture that is taken as clean.
    pub fn clean_sigma(&self) -> f64 {
        self.info.sigma[0]
    }

    /// The noise level of all images to denoise, if the command line names one; at 0 they stay as they are.
    pub fn given(&self, level: Level) -> Result<Option<f64>> {
        match level {
            Level::Given(0.0) => Ok(Some(0.0)),
            Level::Given(sigma) => self.sigma(sigma).map(Some),
            Level::Auto => Ok(None),
        }
    }

    /// The noise level estimated from an image, at most the largest that the model was trained on.
    pub fn estimate_sigma(&self, picture: &Picture, path: &Path) -> f64 {
        let [min, max] = self.info.sigma;
        let found = picture.noise_level();
        if found > max {
            let path = path.display();
            tracing::warn!("{path}: noise level {found:.3} estimated, above the {max} of the training");
        }
        let sigma = if found.is_finite() { found.min(max) } else { min };
        tracing::info!("{}: noise level {sigma:.3}, estimated from the picture", path.display());
        sigma
    }

    /// As [`estimate_sigma`](Self::estimate_sigma), and at least the smallest level of the training: for what
    /// has no smaller one.
    pub fn estimate_trained_sigma(&self, picture: &Picture, path: &Path) -> f64 {
        self.estimate_sigma(picture, path).max(self.info.sigma[0])
    }

    /// The noise levels of `--sigmas`.
    pub fn sigmas(&self, sigmas: &[f64]) -> Result<Vec<f64>> {
        sigmas.iter().map(|sigma| self.level("sigmas", *sigma)).collect()
    }

    /// The noise level of `--sigma`: positive for a model that is told it.
    pub fn sigma(&self, sigma: f64) -> Result<f64> {
        self.level("sigma", sigma)
    }

    fn level(&self, option: &str, sigma: f64) -> Result<f64> {
        let zero = sigma == 0.0 && self.info.network.is_blind();
        let [min, max] = self.info.sigma;
        if !zero && !(*NOISE_LEVELS.start()..=max.max(MOST_NOISE)).contains(&sigma) {
            return Err(wrong_level(option, sigma));
        }
        if sigma < min * 0.999 || sigma > max * 1.001 {
            tracing::warn!("noise level {sigma} is outside {min} to {max}, which the model was trained on");
        }
        Ok(sigma)
    }
}

/// `--sigma` of a picture.
#[derive(Clone, Copy, Debug)]
pub enum Level {
    /// As the picture itself tells.
    Auto,
    /// A number.
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

/// The largest noise level that makes sense for a model that was not trained on larger ones: noise as wide as the range.
const MOST_NOISE: f64 = 2.0;

fn wrong_level(option: &str, found: f64) -> anyhow::Error {
    let min = NOISE_LEVELS.start();
    let mut text = format!("--{option} is {found}, expected a number from {min:e} to {MOST_NOISE}");
    text += ", in units of the [-1, 1] range";
    if found > MOST_NOISE && found <= 255.0 {
        text += &format!(": {found} of 255 is {:.3}", found / 127.5);
    }
    WrongCall(text).into()
}

/// Makes sure that a picture can be written under a name, before any work is done for it.
pub fn check_output(path: &Path) -> Result<()> {
    Picture::check_extension(path).map_err(|e| WrongCall(e.to_string()))?;
    Ok(miyasawa::atomic::check_writable(path)?)
}

/// Splits `[MODEL] IMAGE...`: the first path is the model if it is a safetensors file, by its name or its content.
pub fn split_model(paths: &[PathBuf]) -> (Option<&Path>, &[PathBuf]) {
    let is_model = |path: &Path| {
        path.extension().is_some_and(|e| e.eq_ignore_ascii_case("safetensors")) || is_safetensors(path)
    };
    match paths {
        [first, rest @ ..] if is_model(first) => (Some(first), rest),
        all => (None, all),
    }
}

/// Whether a file begins as safetensors do: the length of a JSON header, which is within the file, and the header.
fn is_safetensors(path: &Path) -> bool {
    let begin = || {
        // A pipe gives its bytes once, and /dev/stdin may share its place in the file.
        let metadata = std::fs::metadata(path).ok().filter(|m| m.is_file() && !path.starts_with("/dev"))?;
        let mut bytes = [0; 9];
        std::fs::File::open(path).ok()?.read_exact(&mut bytes).ok()?;
        let length: [u8; 8] = bytes[..8].try_into().ok()?;
        Some(u64::from_le_bytes(length) <= metadata.len() && bytes[8] == b'{')
    };
    begin().unwrap_or(false)
}

/// Whether two paths are one file or folder, or would be once it is written.
pub fn same_place(a: &Path, b: &Path) -> bool {
    let place = |path: &Path| {
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        path.canonicalize().ok().or_else(|| Some(folder.canonicalize().ok()?.join(path.file_name()?)))
    };
    // Two names may lead to one file without a link that could be seen.
    place(a).is_some_and(|a| place(b) == Some(a))
        || outputs::place(a).is_some_and(|a| outputs::place(b) == Some(a))
}

/// Makes sure that a picture is named.
pub fn some_images(images: &[PathBuf]) -> Result<&[PathBuf]> {
    if images.is_empty() { Err(WrongCall("no picture is given".into()).into()) } else { Ok(images) }
}

/// Checks `--add-noise`.
pub fn check_noise(level: Option<f64>) -> Result<()> {
    level
        .filter(|level| !(*NOISE_LEVELS.start()..=MOST_NOISE).contains(level))
        .map_or(Ok(()), |level| Err(wrong_level("add-noise", level)))
}

/// Adds normal noise of the level `sigma`, not clipped to the range: what a denoiser is tried on.
pub fn add_noise(picture: Picture, sigma: f64, seed: u64) -> Result<Picture> {
    check_noise(Some(sigma))?;
    let eps = miyasawa::random::evaluation_noise(seed, 0, 0, 1, picture.values().len());
    let (shape, values) = (picture.shape(), picture.into_values());
    let noisy = values.iter().zip(eps).map(|(value, eps)| value + sigma as f32 * eps).collect();
    Ok(Picture::new(shape, noisy)?)
}
