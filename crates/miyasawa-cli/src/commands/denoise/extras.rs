//! Figures beside the denoised image: `--preview` and `--uncertainty`.

use super::super::{images::is_standard, model};
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
use std::path::{Path, PathBuf};

/// Bytes of memory per pixel of a colour image that the uncertainty takes: the sum, signs, and two
/// denoised images.
pub const UNCERTAINTY_BYTES: u64 = 60;

/// The figures of an image.
#[derive(Clone, Copy)]
pub struct Extras<'a> {
    preview: Option<&'a Path>,
    uncertainty: Option<&'a Path>,
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
    pub fn new(args: &'a Denoise, images: &[PathBuf], model_file: Option<&Path>) -> Result<Self> {
        let found =
            Self { preview: args.preview.as_deref(), uncertainty: args.uncertainty.as_deref() };
        let wrong = |text: String| Err(WrongCall(text).into());
        let named = [("--preview", found.preview), ("--uncertainty", found.uncertainty)];
        for (option, path) in named {
            let Some(path) = path else { continue };
            let name = path.display();
            let [image] = images else {
                return wrong(format!("{option} is of one image, {} are given", images.len()));
            };
            if is_standard(path) {
                return wrong(format!("{option} is -, expected the name of a file"));
            }
            if !is_standard(image) && model::same_file(path, image) {
                return wrong(format!("{name}: {option} would replace the image"));
            }
            if model_file.is_some_and(|model| model::same_file(path, model)) {
                return wrong(format!("{name}: {option} would replace the model"));
            }
            let deep = [Some(Format::Png), Some(Format::Tiff), Some(Format::Pnm)];
            if option == "--uncertainty" && !deep.contains(&Format::of_name(path)) {
                return wrong(format!(
                    "{name}: --uncertainty has 16 bits: expected a name ending in .png, .tif, \
                     .tiff, .pnm, .pgm or .ppm"
                ));
            }
            model::check_output(path)?;
        }
        if let (Some(preview), Some(uncertainty)) = (found.preview, found.uncertainty)
            && model::same_file(preview, uncertainty)
        {
            let name = preview.display();
            return wrong(format!("{name}: given for --preview and --uncertainty"));
        }
        Ok(found)
    }

    /// Whether there is a figure to make.
    pub fn any(self) -> bool {
        self.preview.or(self.uncertainty).is_some()
    }

    /// Whether the uncertainty is one.
    pub fn uncertain(self) -> bool {
        self.uncertainty.is_some()
    }

    /// Makes sure that no figure would be replaced by the denoised image.
    pub fn check_target(self, target: &Path) -> Result<()> {
        for (option, path) in [("preview", self.preview), ("uncertainty", self.uncertainty)] {
            if path.is_some_and(|path| model::same_file(path, target)) {
                let text = format!("{}: given for --out and --{option}", target.display());
                return Err(WrongCall(text).into());
            }
        }
        Ok(())
    }

    /// Makes the figures of an image with noise of the level `sigma`.
    pub fn write(self, plan: &Plan, noisy: &Image, sigma: f64, name: &Path) -> Result<Written> {
        let context = || name.display().to_string();
        let preview = |out| preview(plan, noisy, sigma, out).with_context(context);
        let uncertainty = |out| uncertainty(plan, noisy, sigma, name, out).with_context(context);
        Ok(Written {
            preview: self.preview.map(preview).transpose()?,
            uncertainty: self.uncertainty.map(uncertainty).transpose()?,
        })
    }
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
        assert_eq!(
            of([0.0, 0.1], 0.2),
            (vec![-1.0, 2.0 * (0.1f32 as f64 / 0.2) as f32 - 1.0], 0.2)
        );
        assert_eq!(of([0.0, 0.5], 0.2), (vec![-1.0, 1.0], 0.5));
        assert_eq!(of([0.0, 0.0], 0.0), (vec![-1.0, -1.0], 1.0));
    }
}
