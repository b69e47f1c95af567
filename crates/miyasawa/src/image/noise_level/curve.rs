//! Noise that depends on the intensity and is correlated: a curve for each channel.

use super::Planes;
use super::blocks::{Sample, ring_variance, sample};
use crate::image::camera::colour::linear;
use crate::image::cosine::{Block, SIDE};
use crate::image::local_means::local_means;
use crate::image::{Image, ImageError};

/// Intensities at which a curve has a value, evenly from -1 to 1.
pub(super) const KNOTS: usize = 17;
/// Share of a knot's blocks that are used, and the least and largest number of them.
const SHARE: usize = 16;
const LEAST: usize = 24;
const MOST: usize = 400;
/// A block is an outlier from this multiple of the median energy on.
const OUTLIER: f32 = 2.0;
/// Sums of two frequencies up to this are bounded by those of the next, because slow changes of the
/// image itself are found there.
const SLOW: usize = 2;
const SLOW_AT_MOST: f64 = 1.25;
/// Knots within this many standard deviations of the ends of the range see clipped noise.
const INSIDE: f64 = 2.0;
/// Blocks that count as much as the model.
const PRIOR: f64 = 30.0;
/// Where there are no blocks, variances are at most this multiple of the largest measured: the
/// display's curve is steep near black, and what the fit says there is uncertain and clipped.
const BEYOND_AT_MOST: f64 = 1.5;
/// Side of the square whose mean is a pixel's intensity.
const WINDOW: usize = 5;

/// The noise of an image as a function of intensity and channel, and how correlated it is.
///
/// ```
/// use miyasawa::image::{Image, camera::CameraNoise};
///
/// // A slope from dark to bright.
/// let slope = (0..3 * 128 * 128).map(|i| (i % 128) as f32 / 64.0 - 1.0).collect();
/// let noisy = CameraNoise::iso(6400.0).expose(&Image::new((3, 128, 128), slope)?, 1)?.noisy;
/// let curve = noisy.noise_curve();
/// // Demosaicking makes neighbours alike; independent noise has a share of 0.24.
/// assert!(curve.low_share() > 0.3);
/// let map = curve.level_map(&noisy)?;
/// assert_eq!(map.len(), noisy.values().len());
/// # Ok::<(), miyasawa::image::ImageError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct NoiseCurve {
    /// Standard deviations at the knots, for each channel.
    channels: Vec<[f32; KNOTS]>,
    spectrum: Block,
}

impl NoiseCurve {
    /// The standard deviation of the noise at an intensity in [-1, 1] (others are clipped), in the
    /// same units; linear between 17 intensities. A channel beyond the last is taken as the last.
    ///
    /// ```
    /// use miyasawa::image::Image;
    /// let noisy = Image::filled(3, 128, 128, 0.0)?.with_noise(0.1, 1)?;
    /// assert!((noisy.noise_curve().level(0, 0.0) - 0.1).abs() < 0.01);
    /// # Ok::<(), miyasawa::image::ImageError>(())
    /// ```
    pub fn level(&self, channel: usize, intensity: f32) -> f32 {
        let curve = &self.channels[channel.min(self.channels.len() - 1)];
        let at = (0.5 * intensity.clamp(-1.0, 1.0) + 0.5) * (KNOTS - 1) as f32;
        // A cast sends NaN to 0.
        let i = (at as usize).min(KNOTS - 2);
        let part = if at.is_nan() { 0.0 } else { at - i as f32 };
        curve[i] + part * (curve[i + 1] - curve[i])
    }

    /// The number of channels: 1 or 3.
    ///
    /// ```
    /// # use miyasawa::image::Image;
    /// assert_eq!(Image::filled(3, 32, 32, 0.0)?.noise_curve().channels(), 3);
    /// # Ok::<(), miyasawa::image::ImageError>(())
    /// ```
    pub fn channels(&self) -> usize {
        self.channels.len()
    }

    /// How the variance is spread over the cosines of a block of 8 by 8 pixels, row by row:
    /// vertical frequency, then horizontal. The mean of all but the first is 1, and independent
    /// noise has 1 everywhere; the first (the mean of the block) is that of its neighbours.
    ///
    /// ```
    /// # use miyasawa::image::Image;
    /// let noisy = Image::filled(1, 128, 128, 0.0)?.with_noise(0.1, 1)?;
    /// assert!(noisy.noise_curve().spectrum().iter().all(|share| (0.7..1.4).contains(share)));
    /// # Ok::<(), miyasawa::image::ImageError>(())
    /// ```
    pub fn spectrum(&self) -> [f32; 64] {
        std::array::from_fn(|i| self.spectrum[i / SIDE][i % SIDE])
    }

    /// The share of the variance in the lower half of both frequencies, the mean left out: 15/63 =
    /// 0.24 for independent noise, more where neighbours are alike.
    ///
    /// ```
    /// # use miyasawa::image::Image;
    /// let noisy = Image::filled(1, 128, 128, 0.0)?.with_noise(0.1, 1)?;
    /// assert!((noisy.noise_curve().low_share() - 15.0 / 63.0).abs() < 0.02);
    /// # Ok::<(), miyasawa::image::ImageError>(())
    /// ```
    pub fn low_share(&self) -> f64 {
        let low = self.spectrum.iter().take(SIDE / 2).flat_map(|row| row.iter().take(SIDE / 2));
        let sum: f32 = low.skip(1).sum();
        f64::from(sum) / 63.0
    }

    /// The level at every value of an image (C, H, W): what a denoiser can be conditioned on. The
    /// intensity at a pixel is the mean of 5 by 5 pixels, because its own value has the noise in
    /// it.
    ///
    /// ```
    /// # use miyasawa::image::Image;
    /// let noisy = Image::filled(1, 64, 80, 0.0)?.with_noise(0.1, 1)?;
    /// let map = noisy.noise_curve().level_map(&noisy)?;
    /// assert!(map.iter().all(|level| (level - 0.1).abs() < 0.02));
    /// # Ok::<(), miyasawa::image::ImageError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ImageError::Shape`] if the image has another number of channels.
    pub fn level_map(&self, image: &Image) -> Result<Vec<f32>, ImageError> {
        if image.channels != self.channels.len() {
            return Err(ImageError::Shape {
                expected: format!("{} channels", self.channels.len()),
                found: format!("{} channels", image.channels),
            });
        }
        let planes = image.values.chunks_exact(image.height * image.width).enumerate();
        let level = |(c, plane): (usize, &[f32])| {
            let means = local_means(plane, [image.height, image.width], WINDOW / 2);
            means.into_iter().map(|mean| self.level(c, mean)).collect::<Vec<_>>()
        };
        Ok(planes.flat_map(level).collect())
    }
}

impl Image {
    /// Estimates the noise of the image as a function of the intensity, channel by channel, and its
    /// correlation; noise may be of any colour, of a camera and a JPEG file as well.
    ///
    /// In intervals of intensity, the blocks of 8 by 8 pixels with the flattest surroundings are
    /// chosen: the ring around a block is noisy too, but its noise is independent of the block's,
    /// so that the choice does not make the block's variance smaller (the idea of choosing by other
    /// data than is measured: Colom & Buades 2013, who choose by low and measure high frequencies,
    /// which needs white noise). To their mean variances the curve of a sensor is fitted, `a*x + b`
    /// in linear light seen through the display's curve (Foi et al. 2008, "Practical
    /// Poissonian-Gaussian noise modeling and fitting for single-image raw-data"), such that what
    /// lies above counts less: texture adds to the variance and never takes from it. Where there
    /// are many blocks the curve follows them, elsewhere the fit.
    ///
    /// Zero everywhere for an image without a block.
    ///
    /// ```
    /// use miyasawa::image::Image;
    /// let noisy = Image::filled(3, 128, 128, 0.2)?.with_noise(0.05, 1)?;
    /// assert!((noisy.noise_curve().level(1, 0.2) - 0.05).abs() < 0.005);
    /// # Ok::<(), miyasawa::image::ImageError>(())
    /// ```
    pub fn noise_curve(&self) -> NoiseCurve {
        let planes = Planes {
            planes: self.values.chunks_exact(self.height * self.width).collect(),
            height: self.height,
            width: self.width,
            clips: self.is_clipped(),
        };
        let mut spectrum = Spectrum::default();
        let channels = planes
            .planes
            .iter()
            .map(|plane| {
                let knots = measure(&planes, plane);
                knots.iter().for_each(|knot| spectrum.add(knot));
                fit(&knots)
            })
            .collect();
        NoiseCurve { channels, spectrum: spectrum.normalised() }
    }
}

/// What was measured at a knot.
struct Knot {
    index: usize,
    /// Mean squares of the cosines.
    squares: [[f64; SIDE]; SIDE],
    /// Blocks used.
    count: f64,
    variance: f64,
}

/// The intensity of a knot.
pub(super) fn intensity(index: usize) -> f64 {
    2.0 * index as f64 / (KNOTS - 1) as f64 - 1.0
}

/// The knots around which there are blocks, with what is found in the flattest of them.
fn measure(planes: &Planes, plane: &[f32]) -> Vec<Knot> {
    let mut bins: [Vec<Sample>; KNOTS] = std::array::from_fn(|_| Vec::new());
    for sample in sample(planes, plane) {
        let at = f64::from(0.5 * sample.mean.clamp(-1.0, 1.0) + 0.5) * (KNOTS - 1) as f64;
        // A cast sends NaN to 0.
        bins[at.round() as usize].push(sample);
    }
    let knots = bins.into_iter().enumerate().filter(|(_, bin)| bin.len() >= LEAST);
    let all: Vec<Knot> = knots
        .map(|(index, bin)| {
            let mut bin: Vec<(f32, Sample)> =
                bin.into_iter().map(|s| (ring_variance(planes, plane, s.at), s)).collect();
            let count = (bin.len() / SHARE).clamp(LEAST, MOST);
            bin.select_nth_unstable_by(count - 1, |a, b| a.0.total_cmp(&b.0));
            bin.truncate(count);
            knot(index, bin.into_iter().map(|(_, sample)| sample))
        })
        .collect();
    let inside = |knot: &Knot| {
        intensity(knot.index).abs() + INSIDE * knot.variance.sqrt() <= 1.0 || !planes.clips
    };
    // An image of which all is clipped has but clipped noise.
    if all.iter().any(inside) { all.into_iter().filter(inside).collect() } else { all }
}

/// The sum of squares of the cosines of a block, those of slow changes left out.
fn energy(sample: &Sample) -> f32 {
    let rows = sample.cosines.iter().enumerate();
    let squares = rows.flat_map(|(u, row)| {
        row.iter().enumerate().map(move |(v, value)| if u + v > SLOW { value * value } else { 0.0 })
    });
    squares.sum()
}

fn knot(index: usize, blocks: impl Iterator<Item = Sample>) -> Knot {
    let mut blocks: Vec<(f32, Sample)> = blocks.map(|sample| (energy(&sample), sample)).collect();
    let middle = blocks.len() / 2;
    let median = blocks.select_nth_unstable_by(middle, |a, b| a.0.total_cmp(&b.0)).1.0;
    // A block with an edge among flat ones; means and not medians otherwise, because of the cosines
    // of a JPEG file more than half may be 0.
    blocks.retain(|(energy, _)| *energy <= OUTLIER * median);
    let mut squares = [[0.0; SIDE]; SIDE];
    for (_, sample) in &blocks {
        for (sums, row) in squares.iter_mut().zip(&sample.cosines) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += f64::from(value * value);
            }
        }
    }
    let count = blocks.len() as f64;
    squares.iter_mut().flatten().for_each(|sum| *sum /= count.max(1.0));
    let next = (0..=SLOW + 1).map(|u| squares[u][SLOW + 1 - u]).sum::<f64>() / (SLOW + 2) as f64;
    for (u, row) in squares.iter_mut().enumerate() {
        for (v, value) in row.iter_mut().enumerate() {
            if u + v <= SLOW {
                *value = value.min(SLOW_AT_MOST * next);
            }
        }
    }
    // Of the mean nothing is known.
    squares[0][0] = 0.5 * (squares[0][1] + squares[1][0]);
    let variance = squares.iter().flatten().skip(1).sum::<f64>() / 63.0;
    Knot { index, squares, count, variance }
}

/// Variances per unit of `a` and of `b` in [-1, 1] at an intensity: the display's curve amplifies
/// noise by its slope.
pub(super) fn amplified(intensity: f64) -> [f64; 2] {
    const STEP: f64 = 1e-4;
    let value = 0.5 * intensity + 0.5;
    let [low, high] = [value - STEP, value + STEP].map(|value| linear(value.max(0.0)));
    let slope = (value + STEP - (value - STEP).max(0.0)) / (high - low);
    // From [0, 1] to [-1, 1] variances grow by 4.
    [4.0 * slope * slope * linear(value), 4.0 * slope * slope]
}

/// Standard deviations at all knots.
fn fit(knots: &[Knot]) -> [f32; KNOTS] {
    let used: Vec<&Knot> = knots.iter().filter(|knot| knot.variance > 0.0).collect();
    if used.is_empty() {
        return [0.0; KNOTS];
    }
    let [a, b] = sensor(&used);
    let model = |index: usize| {
        let [shot, read] = amplified(intensity(index));
        (a * shot + b * read).max(f64::MIN_POSITIVE)
    };
    // Where blocks differ from the fit, their logarithm, weighed by their number, spread to the
    // neighbours.
    let (mut weights, mut ratios) = ([0.0; KNOTS], [0.0; KNOTS]);
    for knot in &used {
        let ratio = (knot.variance / model(knot.index)).ln().clamp(-1.5, 1.0);
        for (offset, share) in [(0usize, 0.25), (1, 0.5), (2, 0.25)] {
            if let Some(i) = (knot.index + offset).checked_sub(1).filter(|i| *i < KNOTS) {
                weights[i] += share * knot.count;
                ratios[i] += share * knot.count * ratio;
            }
        }
    }
    let largest = used.iter().map(|knot| knot.variance).fold(0.0, f64::max);
    std::array::from_fn(|i| {
        let variance = model(i) * (ratios[i] / (weights[i] + PRIOR)).exp();
        variance.min(BEYOND_AT_MOST * largest).sqrt() as f32
    })
}

/// `a` and `b` of the variance `a*x + b` in linear light, neither negative: least squares of
/// relative errors, knots above the fit counting less and less.
fn sensor(knots: &[&Knot]) -> [f64; 2] {
    let mut weights: Vec<f64> = knots.iter().map(|knot| knot.count).collect();
    let mut found = [0.0; 2];
    for _ in 0..10 {
        // Of sum w*(a*p + b*q - 1)^2, with p and q per measured variance.
        let [mut pp, mut pq, mut qq, mut p1, mut q1] = [0.0; 5];
        for (knot, weight) in knots.iter().zip(&weights) {
            let [p, q] = amplified(intensity(knot.index)).map(|value| value / knot.variance);
            pp += weight * p * p;
            pq += weight * p * q;
            qq += weight * q * q;
            p1 += weight * p;
            q1 += weight * q;
        }
        let determinant = pp * qq - pq * pq;
        let both = [(p1 * qq - q1 * pq) / determinant, (q1 * pp - p1 * pq) / determinant];
        let alone = if p1 * p1 * qq >= q1 * q1 * pp { [p1 / pp, 0.0] } else { [0.0, q1 / qq] };
        let well = determinant > 1e-9 * pp * qq && both.iter().all(|value| *value >= 0.0);
        found = if well { both } else { alone };
        for (knot, weight) in knots.iter().zip(&mut weights) {
            let [p, q] = amplified(intensity(knot.index));
            let ratio = knot.variance / (found[0] * p + found[1] * q).max(f64::MIN_POSITIVE);
            *weight = knot.count * if ratio > 1.0 { ratio.powi(-2) } else { 1.0 };
        }
    }
    found
}

/// The mean of the spectra of knots, each with its variance as unit.
#[derive(Default)]
struct Spectrum {
    sums: [[f64; SIDE]; SIDE],
    weight: f64,
}

impl Spectrum {
    fn add(&mut self, knot: &Knot) {
        if knot.variance > 0.0 {
            self.weight += knot.count;
            for (sums, squares) in self.sums.iter_mut().zip(&knot.squares) {
                for (sum, square) in sums.iter_mut().zip(squares) {
                    *sum += knot.count * square / knot.variance;
                }
            }
        }
    }

    /// 1 everywhere where nothing was added.
    fn normalised(&self) -> Block {
        let weight = self.weight;
        let share = |sum: f64| if weight > 0.0 { (sum / weight) as f32 } else { 1.0 };
        self.sums.map(|row| row.map(share))
    }
}
