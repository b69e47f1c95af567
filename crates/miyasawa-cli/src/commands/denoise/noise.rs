//! `--noise`, `--sigma` and `--add-noise`: which noise an image has.

use super::super::model::{self, Level};
use crate::session::WrongCall;
use anyhow::{Context, Result};
use miyasawa::{
    image::{
        Image,
        camera::CameraNoise,
        noise_level::{NoiseEstimate, NoiseKind},
    },
    metrics::mse,
    predictor::Predictor,
};
use std::{ops::RangeInclusive, path::Path};

/// ISO numbers of simulated cameras. The largest has a noise as wide as the range.
const ISO: RangeInclusive<f64> = 1.0..=1e6;

/// `--noise`.
#[derive(Clone, Copy, Debug)]
pub enum NoiseArg {
    /// What the image has.
    Auto,
    /// White noise.
    White(Level),
    /// That of a camera.
    Camera,
}

/// Reads a [`NoiseArg`].
pub fn parse_noise(text: &str) -> Result<NoiseArg, String> {
    let expected = || {
        "expected auto, white, camera, or white:S, where S is the noise level in units of the \
         [-1, 1] range: white:0.196 is 25 of 255"
            .to_owned()
    };
    match (text, text.strip_prefix("white:")) {
        ("auto", _) => Ok(NoiseArg::Auto),
        ("white", _) => Ok(NoiseArg::White(Level::Auto)),
        ("camera", _) => Ok(NoiseArg::Camera),
        (_, Some(level)) => {
            let level = level.parse().map_err(|_| expected())?;
            Ok(NoiseArg::White(Level::Given(level)))
        }
        _ => Err(expected()),
    }
}

/// `--add-noise`.
#[derive(Clone, Copy, Debug)]
pub enum AddNoise {
    /// White noise of this level.
    White(f64),
    /// That of a camera with this ISO number.
    Camera(f64),
}

/// Reads an [`AddNoise`].
pub fn parse_add_noise(text: &str) -> Result<AddNoise, String> {
    match text.strip_prefix("camera:") {
        Some(iso) => iso
            .parse()
            .map(AddNoise::Camera)
            .map_err(|_| "expected an ISO number after camera:, such as camera:1600".to_owned()),
        None => text.parse().map(AddNoise::White).map_err(|_| {
            "expected a noise level (25 of 255 is 0.196) or camera:ISO, such as camera:1600"
                .to_owned()
        }),
    }
}

/// An image to denoise.
pub struct Noisy {
    pub image: Image,
    /// What it is without noise, and its noise level, where the noise was added.
    pub truth: Option<(Image, f64)>,
}

impl AddNoise {
    /// Checks the number.
    pub fn check(self) -> Result<()> {
        match self {
            Self::White(level) => model::check_noise(Some(level)),
            Self::Camera(iso) if ISO.contains(&iso) => Ok(()),
            Self::Camera(iso) => {
                let (least, largest) = ISO.into_inner();
                let text = format!(
                    "--add-noise is camera:{iso}, expected an ISO number from {least} to {largest}"
                );
                Err(WrongCall(text).into())
            }
        }
    }

    /// Adds the noise. The truth of a camera's image went through the camera without noise.
    pub fn add(self, image: Image, seed: u64) -> Result<Noisy> {
        match self {
            Self::White(level) => {
                let noisy = model::add_noise(image.clone(), level, seed)?;
                Ok(Noisy { image: noisy, truth: Some((image, level)) })
            }
            Self::Camera(iso) => {
                let found = CameraNoise::iso(iso).expose(&image, seed);
                let found = found.with_context(|| format!("--add-noise camera:{iso}"))?;
                // As in training.
                let level = mse(found.noisy.values(), found.truth.values()).sqrt();
                Ok(Noisy { image: found.noisy, truth: Some((found.truth, level)) })
            }
        }
    }
}

/// The noise to remove from all images, checked against the model.
pub struct NoisePlan {
    /// The level of all images; nothing where it is that of the noise that is added, or estimated.
    pub sigma: Option<f64>,
    /// Whether the level of the noise that is added is known to be that of the image.
    told: bool,
    /// The kind; nothing where each image is asked.
    kind: Option<NoiseKind>,
}

impl NoisePlan {
    /// The plan of `--noise` or `--sigma` and `--add-noise`.
    pub fn new(
        predictor: &Predictor,
        (noise, sigma): (Option<NoiseArg>, Option<Level>),
        added: Option<AddNoise>,
    ) -> Result<Self> {
        let (white, camera) = (Some(NoiseKind::White), Some(NoiseKind::Camera));
        let (level, kind) = match (noise, sigma, added) {
            (Some(NoiseArg::Auto), ..) | (None, Some(Level::Auto), _) | (None, None, None) => {
                (Some(Level::Auto), None)
            }
            (Some(NoiseArg::White(level)), ..) | (None, Some(level), _) => (Some(level), white),
            (Some(NoiseArg::Camera), ..) => (Some(Level::Auto), camera),
            (None, None, Some(AddNoise::White(level))) => (Some(Level::Given(level)), white),
            (None, None, Some(AddNoise::Camera(_))) => (None, camera),
        };
        if matches!(noise, Some(NoiseArg::Camera)) && predictor.info().training.camera == 0.0 {
            let name = predictor.name();
            tracing::warn!(
                "{name}: has learned white noise alone, of which a camera's is not removed well"
            );
        }
        let option = if noise.is_some() { "noise white:S" } else { "sigma" };
        let sigma = model::given(predictor, option, level.unwrap_or(Level::Auto))?;
        Ok(Self { sigma, told: level.is_none(), kind })
    }

    /// The level and the kind of an image's noise.
    pub fn of(
        &self,
        predictor: &Predictor,
        noisy: &Noisy,
        name: &Path,
    ) -> Result<(f64, NoiseKind)> {
        let added = noisy.truth.as_ref().map(|(_, level)| *level).filter(|_| self.told);
        // Noise that rounding took away has the level 0.
        let added = added.map(|level| predictor.denoised_level(level)).transpose()?;
        let kind = self.kind.unwrap_or(NoiseKind::White);
        if let Some(level) = self.sigma.or(added) {
            return Ok((level, kind));
        }
        let shown = name.display();
        let NoiseEstimate { kind, level, .. } =
            predictor.estimate_noise(&noisy.image, self.kind, &shown.to_string());
        match kind {
            NoiseKind::White => model::say_estimated(name, level),
            NoiseKind::Camera => tracing::info!(
                "{shown}: noise of a camera, of the level {level:.3}, estimated from the image"
            ),
        }
        Ok((level, kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_noise_are_read() {
        assert!(matches!(parse_noise("auto"), Ok(NoiseArg::Auto)));
        assert!(matches!(parse_noise("white"), Ok(NoiseArg::White(Level::Auto))));
        assert!(matches!(parse_noise("camera"), Ok(NoiseArg::Camera)));
        let level = parse_noise("white:0.25");
        assert!(matches!(level, Ok(NoiseArg::White(Level::Given(0.25)))), "{level:?}");
        for text in ["", "white:", "white:much", "white:auto", "black", "camera:100", "0.2"] {
            assert!(parse_noise(text).unwrap_err().contains("white:S"), "{text}");
        }
    }

    #[test]
    fn noise_to_add_is_read_and_checked() {
        assert!(matches!(parse_add_noise("0.2"), Ok(AddNoise::White(0.2))));
        assert!(matches!(parse_add_noise("camera:1600"), Ok(AddNoise::Camera(1600.0))));
        for text in ["camera:", "camera:high", "camera", "much"] {
            assert!(parse_add_noise(text).unwrap_err().contains("camera:1600"), "{text}");
        }
        for iso in [0.0, -100.0, f64::NAN, 1e7] {
            let error = AddNoise::Camera(iso).check().unwrap_err().to_string();
            assert!(error.contains("an ISO number from 1 to 1000000"), "{error}");
        }
        AddNoise::Camera(1600.0).check().unwrap();
    }

    #[test]
    fn the_truth_of_a_camera_is_what_it_shows_without_noise() {
        let values = (0..3 * 32 * 32).map(|i| (i % 32) as f32 / 16.0 - 1.0).collect();
        let image = Image::new((3, 32, 32), values).unwrap();
        let noisy = AddNoise::Camera(6400.0).add(image.clone(), 1).unwrap();
        let (truth, level) = noisy.truth.unwrap();
        assert_ne!(truth, image);
        let squares = mse(noisy.image.values(), truth.values());
        assert!((level - squares.sqrt()).abs() < 1e-9 && level > 0.03, "{level}");
        let small = Image::filled(1, 1, 1, 0.0).unwrap();
        let error = AddNoise::Camera(100.0).add(small, 1).err().expect("a mosaic is 2x2");
        assert!(format!("{error:#}").contains("at least 2x2"), "{error:#}");
    }
}
