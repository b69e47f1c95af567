//! Corruptions of images: the fifteen of CIFAR-10-C, at five severities.
//!
//! D. Hendrycks and T. Dietterich (2019), "Benchmarking neural network robustness to common
//! corruptions and perturbations". CIFAR-10-C is the test set of CIFAR-10 under each of them. Here
//! they are computed for any image, after the definitions of the paper and with the numbers of its
//! script for CIFAR-10-C (`ImageNet-C/create_c/make_cifar_c.py` of `hendrycks/robustness`, which
//! also holds the numbers that the paper leaves out).
//!
//! An image has 8 bits before and after. What lies between two levels is cut to the lower one, as
//! the script does; results of JPEG and of changes of size are rounded. The random numbers are a
//! function of the seed, the corruption, the severity and the index of the image. They are not
//! those of the published files: the definitions agree, the pixels do not.
//!
//! Numbers are those for 32 by 32 pixels at every size: a blur of a large photograph is as wide in
//! pixels, and so weaker to the eye. Only elastic transforms are given in sides of the image, and
//! frost grows with it.
//!
//! | corruption | what differs from the script |
//! | --- | --- |
//! | `motion_blur`, `snow` | ImageMagick's motion blur by its definition, rounded to 8 bits |
//! | `frost` | drawn: crystals on haze, in place of six photographs of frost |
//! | `elastic_transform` | positions are exact; OpenCV's have steps of 1/32 pixel |
//! | `jpeg_compression` | [`Jpeg`](crate::image::camera::Jpeg) with 4:2:0, not libjpeg's file |
//! | `fog` | a larger map where the image is larger than 32 pixels |
//! | `zoom_blur`, `snow` | each side is magnified by itself; the script's images are square |
//!
//! Grey images are treated as one channel. Glass blur copies pixels as the script does: its
//! exchange of two pixels overwrites one of them.
//!
//! ```
//! use miyasawa::image::Image;
//! use miyasawa::image::corruption::{Corruption, Severity};
//!
//! let image = Image::filled(3, 32, 32, 0.2)?.with_noise(0.3, 1)?;
//! let severity = Severity::new(3)?;
//! let foggy = Corruption::Fog.apply(&image, severity, 0, 7);
//! assert_eq!(foggy.shape(), image.shape());
//! // The same for the same seed and index, another for another index.
//! assert_eq!(foggy, "fog".parse::<Corruption>()?.apply(&image, severity, 0, 7));
//! assert_ne!(foggy, Corruption::Fog.apply(&image, severity, 0, 8));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod blur;
mod digital;
mod noise;
mod planes;
#[cfg(test)]
mod tests;
mod weather;

use super::Image;
use crate::random::{example_rng, stream};
use planes::Planes;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// An error of naming a corruption or a severity.
///
/// ```
/// use miyasawa::image::corruption::{Corruption, CorruptionError, Severity};
/// assert!(matches!("rain".parse::<Corruption>(), Err(CorruptionError::Name { .. })));
/// assert_eq!(Severity::new(6).unwrap_err().to_string(), "severity 6, expected 1 to 5");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CorruptionError {
    /// No corruption has this name, and no group of them.
    #[error("corruption '{found}' is not known, expected all, {}", names())]
    Name {
        /// The name.
        found: String,
    },
    /// There is no such severity.
    #[error("severity {found}, expected 1 to 5")]
    Severity {
        /// What was asked for.
        found: String,
    },
}

/// All names, for a message.
fn names() -> String {
    let groups = CorruptionGroup::ALL.into_iter().map(CorruptionGroup::name);
    groups.chain(Corruption::ALL.into_iter().map(Corruption::name)).collect::<Vec<_>>().join(", ")
}

/// How strong a corruption is, from 1 to 5.
///
/// ```
/// use miyasawa::image::corruption::Severity;
/// assert_eq!(Severity::ALL.map(Severity::get), [1, 2, 3, 4, 5]);
/// assert!(Severity::new(0).is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Severity(u8);

impl Severity {
    /// All of them, the weakest first.
    pub const ALL: [Self; 5] = [Self(1), Self(2), Self(3), Self(4), Self(5)];

    /// A severity.
    ///
    /// # Errors
    /// [`CorruptionError::Severity`] if it is not from 1 to 5.
    pub fn new(severity: u8) -> Result<Self, CorruptionError> {
        match severity {
            1..=5 => Ok(Self(severity)),
            _ => Err(CorruptionError::Severity { found: severity.to_string() }),
        }
    }

    /// The number.
    pub fn get(self) -> u8 {
        self.0
    }

    /// The entry of a table of five.
    fn of<T: Copy>(self, table: [T; 5]) -> T {
        table[usize::from(self.0 - 1)]
    }
}

impl TryFrom<u8> for Severity {
    type Error = CorruptionError;

    fn try_from(severity: u8) -> Result<Self, CorruptionError> {
        Self::new(severity)
    }
}

impl From<Severity> for u8 {
    fn from(severity: Severity) -> Self {
        severity.0
    }
}

impl FromStr for Severity {
    type Err = CorruptionError;

    fn from_str(text: &str) -> Result<Self, CorruptionError> {
        let wrong = || CorruptionError::Severity { found: format!("'{text}'") };
        Self::new(text.trim().parse().map_err(|_| wrong())?)
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The four kinds of corruptions.
///
/// ```
/// use miyasawa::image::corruption::{Corruption, CorruptionGroup};
/// assert_eq!(Corruption::Frost.group(), CorruptionGroup::Weather);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CorruptionGroup {
    /// Random values.
    Noise,
    /// Lost detail.
    Blur,
    /// What is between the camera and the scene, and the light.
    Weather,
    /// What is done to files.
    Digital,
}

impl CorruptionGroup {
    /// All of them, in the order of the paper.
    pub const ALL: [Self; 4] = [Self::Noise, Self::Blur, Self::Weather, Self::Digital];

    /// Its name: `noise`, `blur`, `weather` or `digital`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Noise => "noise",
            Self::Blur => "blur",
            Self::Weather => "weather",
            Self::Digital => "digital",
        }
    }
}

/// A corruption. `x` is the image in [0, 1]; numbers in brackets are those of the five severities.
///
/// ```
/// use miyasawa::image::corruption::Corruption;
/// assert_eq!(Corruption::ALL.len(), 15);
/// assert_eq!("motion-blur".parse(), Ok(Corruption::MotionBlur));
/// assert_eq!(Corruption::MotionBlur.to_string(), "motion_blur");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Corruption {
    /// `x + c n` with standard normal `n`; c = [0.04, 0.06, 0.08, 0.09, 0.1].
    GaussianNoise,
    /// `Poisson(c x) / c`; c = [500, 250, 100, 75, 50].
    ShotNoise,
    /// Each value is 0 or 1, as often, with the probability c = [0.01, 0.02, 0.03, 0.05, 0.07].
    ImpulseNoise,
    /// Convolution with a disc of the radius r = [0.3, 0.4, 0.5, 1, 1.5] pixels, itself blurred
    /// over 3 by 3 pixels with s = [0.4, 0.5, 0.6, 0.2, 0.1].
    DefocusBlur,
    /// Gaussian blur of s = [0.05, 0.25, 0.4, 0.25, 0.4] before and after pixels are replaced by
    /// one of themselves and three neighbours, [1, 1, 1, 2, 2] times.
    GlassBlur,
    /// The mean along a line at up to 45 degrees, weighted by half of a Gaussian of
    /// s = [1, 1.5, 2, 2, 2.5] pixels.
    MotionBlur,
    /// The mean of the image and of its centre magnified by 1 to [1.06, 1.11, 1.15, 1.2, 1.25] in
    /// steps of 0.01.
    ZoomBlur,
    /// A whiter image under streaks of flakes in two directions: normal numbers above a threshold,
    /// magnified, and blurred by motion.
    Snow,
    /// `a x + b f` with frost `f`; a = [1, 1, 0.9, 0.85, 0.75], b = [0.2, 0.3, 0.4, 0.4, 0.45].
    ///
    /// `f` is drawn, as the photographs of the paper are not here: crystals with six arms and side
    /// branches on haze, bluish. How it looks is our choice; its mean is near 1/2.
    Frost,
    /// `(x + c f) m / (m + c)` with a plasma fractal `f` (diamond-square) and the largest value `m`
    /// of the image; c = [0.2, 0.5, 0.75, 1, 1.5], and the fractal is rougher with it.
    Fog,
    /// `V + c` in hue, saturation and value; c = [0.05, 0.1, 0.15, 0.2, 0.3].
    Brightness,
    /// `c (x - mean) + mean` for each channel; c = [0.75, 0.5, 0.4, 0.3, 0.15].
    Contrast,
    /// A random affine map that moves three points by up to [0.08, 0.07, 0.06, 0.05, 0.03] of the
    /// shorter side, then smooth random displacements. The first severity has none of the latter,
    /// and often changes most.
    ElasticTransform,
    /// Reduced to [0.95, 0.9, 0.85, 0.75, 0.65] of each side and enlarged again, by Pillow's box
    /// filter.
    Pixelate,
    /// JPEG at the quality [80, 65, 58, 50, 40], colour differences at half the resolution.
    JpegCompression,
}

impl Corruption {
    /// All of them, in the order of the paper's tables.
    pub const ALL: [Self; 15] = [
        Self::GaussianNoise,
        Self::ShotNoise,
        Self::ImpulseNoise,
        Self::DefocusBlur,
        Self::GlassBlur,
        Self::MotionBlur,
        Self::ZoomBlur,
        Self::Snow,
        Self::Frost,
        Self::Fog,
        Self::Brightness,
        Self::Contrast,
        Self::ElasticTransform,
        Self::Pixelate,
        Self::JpegCompression,
    ];

    /// Its name, that of the file of CIFAR-10-C.
    pub fn name(self) -> &'static str {
        match self {
            Self::GaussianNoise => "gaussian_noise",
            Self::ShotNoise => "shot_noise",
            Self::ImpulseNoise => "impulse_noise",
            Self::DefocusBlur => "defocus_blur",
            Self::GlassBlur => "glass_blur",
            Self::MotionBlur => "motion_blur",
            Self::ZoomBlur => "zoom_blur",
            Self::Snow => "snow",
            Self::Frost => "frost",
            Self::Fog => "fog",
            Self::Brightness => "brightness",
            Self::Contrast => "contrast",
            Self::ElasticTransform => "elastic_transform",
            Self::Pixelate => "pixelate",
            Self::JpegCompression => "jpeg_compression",
        }
    }

    /// The kind that it is of. Brightness counts as weather, as in the paper.
    pub fn group(self) -> CorruptionGroup {
        match self {
            Self::GaussianNoise | Self::ShotNoise | Self::ImpulseNoise => CorruptionGroup::Noise,
            Self::DefocusBlur | Self::GlassBlur | Self::MotionBlur | Self::ZoomBlur => {
                CorruptionGroup::Blur
            }
            Self::Snow | Self::Frost | Self::Fog | Self::Brightness => CorruptionGroup::Weather,
            Self::Contrast | Self::ElasticTransform | Self::Pixelate | Self::JpegCompression => {
                CorruptionGroup::Digital
            }
        }
    }

    /// The corruptions that a word stands for: `all`, the name of a group, or that of one of them.
    ///
    /// ```
    /// use miyasawa::image::corruption::Corruption;
    /// assert_eq!(Corruption::named("all")?, Corruption::ALL);
    /// assert_eq!(Corruption::named("noise")?.len(), 3);
    /// assert_eq!(Corruption::named("fog")?, [Corruption::Fog]);
    /// # Ok::<(), miyasawa::image::corruption::CorruptionError>(())
    /// ```
    ///
    /// # Errors
    /// [`CorruptionError::Name`] for any other word.
    pub fn named(word: &str) -> Result<Vec<Self>, CorruptionError> {
        if word.trim() == "all" {
            return Ok(Self::ALL.to_vec());
        }
        match CorruptionGroup::ALL.into_iter().find(|group| group.name() == word.trim()) {
            Some(group) => Ok(Self::ALL.into_iter().filter(|c| c.group() == group).collect()),
            None => Ok(vec![word.parse()?]),
        }
    }

    /// The corrupted image: of the same shape, with values that 8 bits hold.
    ///
    /// `index` is the index of the image in its set: with the seed, the corruption and the severity
    /// it determines the random numbers. Values outside [-1, 1] are clipped before.
    ///
    /// ```
    /// use miyasawa::image::{Image, corruption::{Corruption, Severity}};
    /// let image = Image::filled(1, 8, 8, -1.0)?;
    /// let light = Corruption::Brightness.apply(&image, Severity::new(5)?, 0, 0);
    /// assert_eq!(light, Image::from_bytes((1, 8, 8), &[76; 64])?); // 0.3 of 255 is 76.5
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn apply(self, image: &Image, severity: Severity, seed: u64, index: u64) -> Image {
        let number = Self::ALL.iter().position(|other| *other == self).unwrap_or_default() as u64;
        // Eight numbers are kept for each corruption.
        let condition = 8 * number + u64::from(severity.get());
        let rng = &mut example_rng(seed, condition, index, stream::CORRUPTION);
        let mut x = Planes::of(image);
        match self {
            Self::GaussianNoise => noise::gaussian(&mut x, severity, rng),
            Self::ShotNoise => noise::shot(&mut x, severity, rng),
            Self::ImpulseNoise => noise::impulse(&mut x, severity, rng),
            Self::DefocusBlur => blur::defocus(&mut x, severity),
            Self::GlassBlur => blur::glass(&mut x, severity, rng),
            Self::MotionBlur => blur::motion(&mut x, severity, rng),
            Self::ZoomBlur => blur::zoom(&mut x, severity),
            Self::Snow => weather::snow(&mut x, severity, rng),
            Self::Frost => weather::frost(&mut x, severity, rng),
            Self::Fog => weather::fog(&mut x, severity, rng),
            Self::Brightness => weather::brightness(&mut x, severity),
            Self::Contrast => digital::contrast(&mut x, severity),
            Self::ElasticTransform => digital::elastic(&mut x, severity, rng),
            Self::Pixelate => digital::pixelate(&mut x, severity),
            Self::JpegCompression => digital::jpeg(&mut x, severity),
        }
        x.into_image(image.depth)
    }
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Corruption {
    type Err = CorruptionError;

    /// Words may be joined by `_` or `-`.
    fn from_str(text: &str) -> Result<Self, CorruptionError> {
        let name = text.trim().replace('-', "_");
        let found = Self::ALL.into_iter().find(|corruption| corruption.name() == name);
        found.ok_or_else(|| CorruptionError::Name { found: text.to_owned() })
    }
}
