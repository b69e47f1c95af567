//! Figures beside the denoised image: `--preview` and `--uncertainty`.

use super::super::{
    images::{Inputs, is_standard},
    model,
};
use super::{Denoise, plan::Plan};
use crate::output::shown;
use crate::progress::Progress;
use crate::session::WrongCall;
use anyhow::{Context, Result};
use miyasawa::{
    image::{Depth, Format, Image},
    predictor::{Noise, UncertaintyOptions},
};
use serde::Serialize;
use std::{
    collections::HashSet,
    path::{MAIN_SEPARATOR, Path, PathBuf},
};

/// Bytes of memory per pixel of a colour image that the uncertainty takes: two sums, signs, two
/// denoised images and the variance of a probe.
pub const UNCERTAINTY_BYTES: u64 = 84;

/// The figures of all images.
pub struct Extras<'a> {
    preview: Option<&'a Path>,
    /// Nothing, or one for each image; none where it is there already and stays as it is.
    uncertainty: Vec<Option<PathBuf>>,
    /// The folder of these, if they are in one.
    folder: Option<&'a Path>,
}

/// What was written.
#[derive(Serialize)]
pub struct Written {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preview: Option<PreviewFile>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uncertainty: Option<UncertaintyFile>,
}

/// The preview, and which part of the image it shows.
#[derive(Serialize)]
pub struct PreviewFile {
    out: String,
    top: usize,
    left: usize,
    height: usize,
    width: usize,
    /// By which the difference is multiplied.
    amplification: u32,
}

/// The uncertainty; a value `v` from 0 to 1 of its pixels is the standard deviation `v * white`.
#[derive(Serialize)]
pub struct UncertaintyFile {
    out: String,
    mean: f64,
    white: f64,
}

impl<'a> Extras<'a> {
    /// Those of the arguments, checked before any work is done.
    pub fn new(args: &'a Denoise, inputs: &Inputs, model_file: Option<&Path>) -> Result<Self> {
        let (preview, uncertainty) = (args.preview.as_deref(), args.uncertainty.as_deref());
        let (images, mut folder) = (&inputs.images, None);
        if let (Some(_), true) = (preview, inputs.folder || images.len() != 1) {
            return wrong("--preview is of one image, several are given, or a folder".into());
        }
        let uncertainty = match uncertainty {
            None => Vec::new(),
            Some(path) if is_several(inputs, path) => {
                folder = Some(path);
                in_folder(path, inputs)?
            }
            Some(path) => vec![path.to_owned()],
        };
        let sources: HashSet<PathBuf> =
            images.iter().filter_map(|image| image.canonicalize().ok()).collect();
        for (option, path) in preview
            .map(|path| ("--preview", path))
            .into_iter()
            .chain(uncertainty.iter().map(|path| ("--uncertainty", path.as_path())))
        {
            let name = path.display();
            if is_standard(path) {
                return wrong(format!("{option} is -, expected the name of a file"));
            }
            if path.canonicalize().is_ok_and(|path| sources.contains(&path)) {
                return wrong(format!("{name}: {option} would replace an image that is given"));
            }
            if model_file.is_some_and(|model| model::same_file(path, model)) {
                return wrong(format!("{name}: {option} would replace the model"));
            }
            let deep = [Some(Format::Png), Some(Format::Tiff), Some(Format::Pnm)];
            if option == "--uncertainty" && !deep.contains(&Format::of_name(path)) {
                return wrong(format!(
                    "{name}: --uncertainty has 16 bits: expected a name ending in .png, .tif, \
                     .tiff, .pnm, .pgm or .ppm, or a folder if several images are given"
                ));
            }
            if folder.is_none() {
                model::check_output(path)?;
            }
        }
        if let (Some(preview), [uncertainty, ..]) = (preview, &uncertainty[..])
            && model::same_file(preview, uncertainty)
        {
            let name = preview.display();
            return wrong(format!("{name}: given for --preview and --uncertainty"));
        }
        let there = |path: &PathBuf| folder.is_some() && !args.overwrite && path.is_file();
        let uncertainty =
            uncertainty.into_iter().map(|path| (!there(&path)).then_some(path)).collect();
        Ok(Self { preview, uncertainty, folder })
    }

    /// Whether they were asked for.
    pub fn any(&self) -> bool {
        self.preview.is_some() || self.uncertain()
    }

    /// Whether the uncertainty was.
    pub fn uncertain(&self) -> bool {
        !self.uncertainty.is_empty()
    }

    /// Whether there is one to make of the image of this number.
    pub fn of(&self, image: usize) -> bool {
        self.preview.is_some() || self.uncertainty.get(image).is_some_and(Option::is_some)
    }

    /// Makes sure that no denoised image would replace one: `out` is the file or folder of these.
    pub fn check_out(&self, out: &Path) -> Result<()> {
        let preview = self.preview.map(|path| ("preview", path));
        let uncertainty = match self.folder {
            Some(folder) => Some(folder),
            None => self.uncertainty.first().and_then(Option::as_deref),
        };
        let uncertainty = uncertainty.map(|path| ("uncertainty", path));
        let same = |found: &(&str, &Path)| model::same_file(found.1, out);
        match preview.into_iter().chain(uncertainty).find(same) {
            Some((option, _)) => {
                wrong(format!("{}: given for --out and --{option}", out.display()))
            }
            None => Ok(()),
        }
    }

    /// Makes the folder of the uncertainties, if they have one.
    pub fn make_folder(&self) -> Result<()> {
        let Some(folder) = self.folder else { return Ok(()) };
        std::fs::create_dir_all(folder)
            .with_context(|| format!("{}: cannot be made", folder.display()))
    }

    /// Makes those of the image of this number, with noise of the level `sigma`.
    pub fn write(
        &self,
        plan: &Plan,
        image: usize,
        noisy: &Image,
        sigma: f64,
        name: &Path,
    ) -> Result<Written> {
        let context = || name.display().to_string();
        let preview = |out| preview(plan, noisy, sigma, out).with_context(context);
        let uncertainty = |out| uncertainty(plan, noisy, sigma, name, out).with_context(context);
        let out = self.uncertainty.get(image).and_then(Option::as_deref);
        Ok(Written {
            preview: self.preview.map(preview).transpose()?,
            uncertainty: out.map(uncertainty).transpose()?,
        })
    }
}

fn wrong<T>(text: String) -> Result<T> {
    Err(WrongCall(text).into())
}

/// Whether a path is a folder for one file of each image.
fn is_several(inputs: &Inputs, path: &Path) -> bool {
    let separator = path.as_os_str().as_encoded_bytes().ends_with(&[MAIN_SEPARATOR as u8]);
    inputs.folder || inputs.images.len() != 1 || separator || path.is_dir()
}

/// The files in a folder: PNGs under the names of the images, in the same folders.
fn in_folder(folder: &Path, inputs: &Inputs) -> Result<Vec<PathBuf>> {
    if folder.exists() && !folder.is_dir() {
        let name = folder.display();
        return wrong(format!("{name}: several images are given: --uncertainty must be a folder"));
    }
    let mut seen = HashSet::new();
    let file = |(image, below): (&PathBuf, &PathBuf)| {
        if is_standard(image) {
            return wrong("standard input has no name: --uncertainty must be a file".into());
        }
        let path = folder.join(below).with_extension("png");
        if !seen.insert(path.clone()) {
            let (image, path) = (image.display(), path.display());
            return wrong(format!("{image}: the uncertainty of another image goes to {path} too"));
        }
        Ok(path)
    };
    inputs.images.iter().zip(&inputs.below).map(file).collect()
}

fn preview(plan: &Plan, noisy: &Image, sigma: f64, out: &Path) -> Result<PreviewFile> {
    let found = plan.predictor.preview(noisy, Noise::Level(sigma), plan.class, plan.strength)?;
    found.figure()?.save(out)?;
    let (_, height, width) = found.before.shape();
    let (top, left) = found.at;
    Ok(PreviewFile { out: shown(out), top, left, height, width, amplification: found.factor })
}

fn uncertainty(
    plan: &Plan,
    noisy: &Image,
    sigma: f64,
    name: &Path,
    out: &Path,
) -> Result<UncertaintyFile> {
    let options = UncertaintyOptions { seed: plan.session.seed.unwrap_or(0), ..Default::default() };
    let mut bar = Progress::share(plan.session);
    bar.set_message(format!("uncertainty of {}", name.display()));
    let found = plan.predictor.uncertainty(noisy, Noise::Level(sigma), options, &mut bar);
    bar.finish_and_clear();
    let found = found?.context("stopped")?;
    let (stored, white) = stored(&found, sigma)?;
    if let Some(folder) = out.parent().filter(|path| !path.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("{}: cannot be made", folder.display()))?;
    }
    stored.save(out)?;
    let sum: f64 = found.values().iter().map(|value| f64::from(*value)).sum();
    let mean = sum / found.values().len() as f64;
    Ok(UncertaintyFile { out: shown(out), mean, white })
}

/// Deviations as an image of 16 bits, from 0 (black) to white: the noise level, which they hardly
/// ever exceed, or the largest if one does.
fn stored(deviations: &Image, sigma: f64) -> Result<(Image, f64)> {
    let largest = deviations.values().iter().fold(0.0f32, |largest, value| largest.max(*value));
    let white = f64::from(largest).max(sigma);
    let white = if white > 0.0 { white } else { 1.0 };
    let value = |deviation: &f32| (2.0 * f64::from(*deviation) / white - 1.0) as f32;
    let values = deviations.values().iter().map(value).collect();
    Ok((Image::new(deviations.shape(), values)?.with_depth(Depth::Sixteen), white))
}

impl Written {
    /// A line for each.
    pub fn lines(&self) -> Vec<String> {
        let preview = self.preview.as_ref().map(|found| {
            let PreviewFile { out, top, left, height, width, amplification } = found;
            format!(
                "{out}: {width}x{height} pixels at ({left}, {top}): before, after, and the \
                 difference {amplification} times as large"
            )
        });
        let uncertainty = self.uncertainty.as_ref().map(|found| {
            let UncertaintyFile { out, mean, white } = found;
            format!(
                "{out}: standard deviation {mean:.4} in the mean; black is 0, white {white:.4}, in \
                 units of the [-1, 1] range"
            )
        });
        preview.into_iter().chain(uncertainty).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_is_the_noise_level_unless_a_deviation_exceeds_it() {
        let of = |values: [f32; 2], sigma| {
            let (image, white) =
                stored(&Image::new((1, 1, 2), values.into()).unwrap(), sigma).unwrap();
            (image.values().to_vec(), white)
        };
        assert_eq!(of([0.0, 0.125], 0.25), (vec![-1.0, 0.0], 0.25));
        assert_eq!(of([0.0, 0.5], 0.2), (vec![-1.0, 1.0], 0.5));
        assert_eq!(of([0.0, 0.0], 0.0), (vec![-1.0, -1.0], 1.0));
    }
}
