//! How noisy an image is, estimated from the image alone: the level of white noise
//! ([`Image::noise_level`]), noise that depends on the intensity ([`NoiseCurve`]), and which of the
//! two it has ([`Image::noise`]).

mod blocks;
mod camera;
mod censored;
mod curve;
#[cfg(test)]
mod curve_tests;
mod estimate;
#[cfg(test)]
mod estimate_tests;
mod flat;
mod jpeg;
mod patches;

pub use curve::NoiseCurve;
pub use estimate::{NoiseEstimate, NoiseKind};

use super::Image;

/// The median of the absolute value of a standard normal number.
const MEDIAN: f64 = 0.674_489_750_196_081_7;
/// Values this close to the ends of the range may have been clipped there, which hides noise.
const CLIPPED: f32 = 0.99;
/// From this level on an estimate that clipping may have made too small is replaced by one that
/// models it.
const CENSORED_FROM: f64 = 0.22;
/// The most squares of which the median is taken: rows of a larger image are left out evenly.
const SQUARES: usize = 1 << 22;
/// An estimate from patches replaces others if it is below this share of them: it is the one with
/// the largest error.
const SURELY: f64 = 0.9;
/// Share of clipped values below which clipping changes no estimate.
const FEW_CLIPPED: f64 = 0.02;

/// The planes of an image, rows of `width` values; equal channels are one plane.
struct Planes<'a> {
    planes: Vec<&'a [f32]>,
    height: usize,
    width: usize,
    /// Whether values at the ends of the range may have been clipped.
    clips: bool,
}

impl<'a> Planes<'a> {
    fn new(image: &'a Image) -> Self {
        let (height, width) = (image.height, image.width);
        let count = if image.is_grey() { 1 } else { image.channels };
        let planes = image.values.chunks_exact(height * width).take(count).collect();
        Self { planes, height, width, clips: image.is_clipped() }
    }

    fn clipped(&self, value: f32) -> bool {
        self.clips && value.abs() >= CLIPPED
    }

    /// Share of the values that may have been clipped.
    fn clipped_share(&self) -> f64 {
        let values = || self.planes.iter().flat_map(|plane| plane.iter());
        values().filter(|value| self.clipped(**value)).count() as f64 / values().count() as f64
    }

    /// Half of `x00 - x01 - x10 + x11` over all squares of two by two pixels, and whether one of
    /// the four may have been clipped.
    fn diagonals(&self) -> impl Iterator<Item = (f32, bool)> + '_ {
        let width = self.width;
        let stride = (self.planes.len() * self.height * width).div_ceil(SQUARES).max(1);
        self.planes.iter().flat_map(move |plane| {
            let rows = plane.chunks_exact(width).zip(plane.chunks_exact(width).skip(1));
            rows.step_by(stride)
                .flat_map(|(upper, lower)| upper.windows(2).zip(lower.windows(2)))
                .map(|(a, b)| {
                    let square = [a[0], a[1], b[0], b[1]];
                    let clipped = square.iter().any(|value| self.clipped(*value));
                    (0.5 * (square[0] - square[1] - square[2] + square[3]), clipped)
                })
        })
    }

    /// The median of the finest diagonal Haar coefficients' size, divided by that of a standard
    /// normal number (Donoho & Johnstone 1994, "Ideal spatial adaptation by wavelet shrinkage").
    /// Changes of the image itself from pixel to pixel count as noise. 0 for an image without such
    /// a square.
    fn haar(&self) -> f64 {
        let (count, kept) = self
            .diagonals()
            .fold((0, 0), |(n, kept), (_, clipped)| (n + 1, kept + usize::from(!clipped)));
        let enough = 8 * kept > count;
        let sizes = || {
            let used = self.diagonals().filter(move |(_, clipped)| !enough || !clipped);
            used.map(|(diagonal, _)| diagonal.abs())
        };
        let middle = if enough { kept } else { count } / 2;
        f64::from(nth_smallest(sizes, middle).unwrap_or(0.0)) / MEDIAN
    }
}

/// The `n`th smallest, from 0, of numbers that are not negative and are passed over twice rather
/// than held, as a large image has many: the order of their bits is theirs.
fn nth_smallest<I: Iterator<Item = f32>>(numbers: impl Fn() -> I, n: usize) -> Option<f32> {
    let mut left = n;
    // The number in whose range of equal digits the count falls.
    let mut digit = |digits: &mut dyn Iterator<Item = u16>| {
        let mut counts = vec![0usize; 1 << 16];
        digits.for_each(|digit| counts[usize::from(digit)] += 1);
        let found = counts.iter().position(|count| {
            let within = left < *count;
            left -= if within { 0 } else { *count };
            within
        });
        found.map(|digit| digit as u16)
    };
    let bits = || numbers().map(f32::to_bits);
    let upper = digit(&mut bits().map(|bits| (bits >> 16) as u16))?;
    let same = bits().filter(|bits| (bits >> 16) as u16 == upper);
    let lower = digit(&mut same.map(|bits| bits as u16))?;
    Some(f32::from_bits(u32::from(upper) << 16 | u32::from(lower)))
}

impl Image {
    /// Whether all channels are the same: a grey image, however it is stored.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// assert!(Image::filled(3, 2, 2, 0.5)?.is_grey());
    /// assert!(!Image::new((3, 1, 1), vec![0.1, 0.2, 0.3])?.is_grey());
    /// # Ok::<(), miyasawa::image::ImageError>(())
    /// ```
    pub fn is_grey(&self) -> bool {
        let (first, others) = self.values.split_at(self.height * self.width);
        others.chunks_exact(first.len()).all(|plane| plane == first)
    }

    /// Whether values may have been clipped to the range: values at its ends occur, and none beyond
    /// them.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// assert!(Image::new((1, 1, 2), vec![0.2, 1.0])?.is_clipped());
    /// assert!(!Image::new((1, 1, 2), vec![0.2, 1.3])?.is_clipped());
    /// # Ok::<(), miyasawa::image::ImageError>(())
    /// ```
    pub fn is_clipped(&self) -> bool {
        let largest = self.values.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        (CLIPPED..=1.0).contains(&largest)
    }

    /// Estimates the standard deviation of white noise in the image, in units of the [-1, 1] range.
    ///
    /// It is the level of the high frequencies of the flattest blocks of 8 by 8 pixels (Ponomarenko
    /// et al. 2007; Colom & Buades 2013), the smallest over several shares of the blocks and
    /// directions of the frequencies, because texture adds to it and has directions; for an image
    /// with fewer than 2,000 blocks to choose from, the median of the finest diagonal wavelet
    /// coefficients (Donoho & Johnstone 1994, "Ideal spatial adaptation by wavelet shrinkage").
    /// Where clearly smaller, it is that of the smallest eigenvalues of the covariance of patches,
    /// all channels together (Chen, Zhu & Heng 2015, "An efficient statistical method for image
    /// noise level estimation"): even full of texture, images leave some directions of a patch to
    /// the noise. Blocks and patches near the ends of the range are passed over where enough others
    /// are left; where noise is so large that they are not, the estimate is the level of clipped
    /// normal numbers, block by block. 0 for an image of fewer than two by two pixels.
    ///
    /// Noise that the image had before counts too: scans have 1 to 2 of 255.
    ///
    /// For noise of a camera see [`Image::noise`] and [`Image::noise_curve`].
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let image = Image::filled(3, 64, 64, 0.0)?;
    /// assert_eq!(image.noise_level(), 0.0);
    /// assert!((image.with_noise(0.2, 5)?.noise_level() - 0.2).abs() < 0.02);
    /// # Ok::<(), miyasawa::image::ImageError>(())
    /// ```
    pub fn noise_level(&self) -> f64 {
        let planes = Planes::new(self);
        let flat = flat::level(&planes);
        let level = flat.unwrap_or_else(|| planes.haar());
        if !level.is_finite() {
            return level;
        }
        let patches = patches::level(&planes, flat).filter(|patches| *patches < SURELY * level);
        let level = patches.unwrap_or(level);
        // Where enough blocks are not clipped they are right up to some level.
        if (flat.is_some() && level < CENSORED_FROM) || planes.clipped_share() < FEW_CLIPPED {
            return level;
        }
        censored::level(&planes).map_or(level, |censored| censored.max(level))
    }
}

#[cfg(test)]
mod tests;
