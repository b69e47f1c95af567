//! Synthetic out-of-distribution images: noise and textures.

use crate::data::{
    DataError, DataSource, Dataset, Geometry, OpenOptions, Part, ResizeMode, Streaming,
};
use crate::random::{example_rng, stream};
use crate::range::denormalise;
use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;
use std::{fmt, str::FromStr};

/// Number of images if no limit is given.
const DEFAULT_COUNT: usize = 1000;

/// The source of out-of-distribution images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutSource {
    /// Every value uniform on the range.
    UniformNoise,
    /// Every value normal around grey with the standard deviation 1/4 of the range, clipped.
    GaussianNoise,
    /// Gratings, checks, rings and clouds in two random colours each.
    Textures,
    /// A data set; its classes do not matter.
    Data(DataSource),
}

impl FromStr for OutSource {
    type Err = DataError;

    fn from_str(spec: &str) -> Result<Self, DataError> {
        Ok(match spec {
            "noise" | "noise:uniform" => Self::UniformNoise,
            "noise:gaussian" => Self::GaussianNoise,
            "textures" => Self::Textures,
            _ if spec.starts_with("noise:") => {
                let problem = "expected noise:uniform or noise:gaussian".to_owned();
                return Err(DataError::Spec { spec: spec.to_owned(), problem });
            }
            _ => Self::Data(spec.parse()?),
        })
    }
}

impl fmt::Display for OutSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UniformNoise => f.write_str("noise:uniform"),
            Self::GaussianNoise => f.write_str("noise:gaussian"),
            Self::Textures => f.write_str("textures"),
            Self::Data(source) => source.fmt(f),
        }
    }
}

impl OutSource {
    /// Loads the images in a model's size and channels, at most `limit`. Images of a data set are
    /// resized with their aspect ratio; synthetic ones are a function of the seed and their index.
    ///
    /// # Errors
    /// If a data set cannot be loaded.
    pub fn load(
        &self,
        geometry: Geometry,
        limit: Option<usize>,
        seed: u64,
    ) -> Result<Dataset, DataError> {
        let Geometry { channels, height, width } = geometry;
        if let Self::Data(source) = self {
            // An image of the model's size is left as it is, whatever the resize mode.
            let options = OpenOptions {
                size: Some((height, width)),
                resize_mode: ResizeMode::Resize,
                channels: Some(channels),
                limit,
                stream: Streaming::Never,
                max_corrupt: 0,
                ..OpenOptions::default()
            };
            return source.open(Part::Test, &options)?.into_dataset();
        }
        let count = limit.unwrap_or(DEFAULT_COUNT);
        let len = channels * height * width;
        let mut pixels = vec![0u8; count * len];
        pixels.par_chunks_mut(len.max(1)).enumerate().for_each(|(i, out)| {
            let mut rng = example_rng(seed, 0, i as u64, stream::SYNTHETIC);
            match self {
                Self::UniformNoise => rng.fill_bytes(out),
                Self::GaussianNoise => out.iter_mut().for_each(|v| {
                    let z: f32 = StandardNormal.sample(&mut rng);
                    *v = denormalise(0.5 * z);
                }),
                _ => texture(&mut rng, geometry, out),
            }
        });
        Dataset::new(self.to_string(), geometry, vec!["none".to_owned()], pixels, vec![0; count])
    }
}

/// One texture: a pattern in [0, 1] that mixes two colours.
fn texture(rng: &mut ChaCha8Rng, Geometry { channels, height, width }: Geometry, out: &mut [u8]) {
    let kind = rng.random_range(0..4u32);
    let angle = rng.random::<f32>() * std::f32::consts::TAU;
    let phase = rng.random::<f32>() * std::f32::consts::TAU;
    // Periods from 3 pixels to half the image.
    let side = height.min(width) as f32;
    let period = 3.0 * (side / 6.0).max(1.0).powf(rng.random::<f32>());
    let frequency = std::f32::consts::TAU / period;
    let centre = (rng.random::<f32>() * height as f32, rng.random::<f32>() * width as f32);
    let cloud = clouds(rng, height, width);
    let pattern = |y: usize, x: usize| -> f32 {
        let (fy, fx) = (y as f32, x as f32);
        let (u, v) = (fx * angle.cos() + fy * angle.sin(), fy * angle.cos() - fx * angle.sin());
        match kind {
            0 => 0.5 + 0.5 * (frequency * u + phase).sin(),
            1 => {
                let on = (frequency * u + phase).sin() * (frequency * v + phase).sin() > 0.0;
                f32::from(u8::from(on))
            }
            2 => {
                let r = ((fy - centre.0).powi(2) + (fx - centre.1).powi(2)).sqrt();
                0.5 + 0.5 * (frequency * r + phase).sin()
            }
            _ => cloud[y * width + x],
        }
    };
    for channel in 0..channels {
        let (low, high) = (rng.random_range(-1.0f32..1.0), rng.random_range(-1.0f32..1.0));
        for y in 0..height {
            for x in 0..width {
                let share = pattern(y, x);
                out[(channel * height + y) * width + x] = denormalise(low + (high - low) * share);
            }
        }
    }
}

/// Sums of random values on grids of falling spacing, interpolated: a spectrum that falls with
/// frequency, as in nature.
fn clouds(rng: &mut ChaCha8Rng, height: usize, width: usize) -> Vec<f32> {
    let mut out = vec![0.0f32; height * width];
    let (mut cells, mut weight, mut total) = (2usize, 1.0f32, 0.0f32);
    while cells <= height.max(width) {
        let grid: Vec<f32> = (0..(cells + 1) * (cells + 1)).map(|_| rng.random()).collect();
        for y in 0..height {
            for x in 0..width {
                let (gy, gx) = (
                    y as f32 * cells as f32 / height as f32,
                    x as f32 * cells as f32 / width as f32,
                );
                let (iy, ix) = (gy as usize, gx as usize);
                let (ty, tx) = (gy.fract(), gx.fract());
                let at = |dy: usize, dx: usize| grid[(iy + dy) * (cells + 1) + ix + dx];
                let top = at(0, 0) * (1.0 - tx) + at(0, 1) * tx;
                let bottom = at(1, 0) * (1.0 - tx) + at(1, 1) * tx;
                out[y * width + x] += weight * (top * (1.0 - ty) + bottom * ty);
            }
        }
        total += weight;
        (cells, weight) = (cells * 2, weight * 0.5);
    }
    out.iter_mut().for_each(|v| *v /= total.max(1e-6));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const GEOMETRY: Geometry = Geometry { channels: 3, height: 12, width: 9 };

    #[test]
    fn names_are_read_and_written_back() {
        for text in ["noise:uniform", "noise:gaussian", "textures", "digits"] {
            assert_eq!(text.parse::<OutSource>().unwrap().to_string(), text);
        }
        assert_eq!("noise".parse::<OutSource>().unwrap(), OutSource::UniformNoise);
        assert!(
            "noise:pink"
                .parse::<OutSource>()
                .unwrap_err()
                .to_string()
                .contains("expected noise:uniform")
        );
    }

    #[test]
    fn synthetic_images_depend_on_seed_and_number_and_differ() {
        for source in [OutSource::UniformNoise, OutSource::GaussianNoise, OutSource::Textures] {
            let many = source.load(GEOMETRY, Some(30), 1).unwrap();
            let few = source.load(GEOMETRY, Some(5), 1).unwrap();
            assert_eq!(few.pixels(), &many.pixels()[..few.pixels().len()]);
            assert_ne!(source.load(GEOMETRY, Some(5), 2).unwrap().pixels(), few.pixels());
            assert!((1..30).all(|i| many.image(i) != many.image(0)), "{source}");
            let (mean, std) = many.mean_std();
            assert!(mean.abs() < 0.3 && (0.15..0.8).contains(&std), "{source}: {mean} {std}");
        }
        let digits = "digits".parse::<OutSource>().unwrap().load(GEOMETRY, Some(7), 0).unwrap();
        assert_eq!(
            (digits.len(), digits.channels(), digits.height(), digits.width()),
            (7, 3, 12, 9)
        );
    }
}
