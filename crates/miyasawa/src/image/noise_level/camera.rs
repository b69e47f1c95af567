//! The level of a camera's noise: correlated, and a function of the intensity.

use super::Planes;
use super::blocks::{Sample, sample};
use super::curve::{KNOTS, amplified, intensity};
use crate::image::Image;
use crate::image::camera::read_noise;
use crate::image::cosine::SIDE;
use crate::image::local_means::local_means;
use crate::range::luma;

/// Of colour images differences between channels are measured, at lower frequencies; of grey ones
/// the values themselves, at those that texture has less of.
const COLOUR: Bands = Bands { chosen_below: 3, measured_to: 5 };
const GREY: Bands = Bands { chosen_below: 6, measured_to: 8 };
/// The share of an interval's blocks that are used, the least number of them, and the fewest to
/// choose from.
const SHARE: f64 = 0.02;
const LEAST: usize = 24;
const ENOUGH: usize = 64;
/// Share of the intervals, weighed, that are passed over before one is believed: texture adds noise
/// and never takes it, but the least of many is too small.
const QUANTILE: f64 = 0.1;
/// Half the side of the square whose mean is a pixel's intensity.
const WINDOW: usize = 3;
/// The range of the shot noise that is searched.
const SHOT: [f64; 2] = [1e-8, 1.0];
/// Halvings of its logarithm.
const HALVINGS: usize = 30;
/// What these estimates are of the root mean square of the whole image's noise, on simulated
/// exposures of 35 photographs: a factor, and for colour an exponent about a level of 10 of 255,
/// because what is left of texture counts for less the more noise there is.
const GREY_SHARE: f64 = 1.05;
const COLOUR_SHARE: f64 = 1.36;
const COLOUR_EXPONENT: f64 = 1.15;
const PIVOT: f64 = 10.0 / 127.5;

/// Sums of two frequencies: below the first blocks are chosen, from it to the second measured.
struct Bands {
    chosen_below: usize,
    measured_to: usize,
}

/// The root mean square of the noise over the image; 0 where nothing can be measured.
///
/// In intervals of intensity the blocks with the least of low frequencies are chosen and the next
/// frequencies measured (as for white noise in `flat.rs`: the cosines of a block are nearly
/// independent for correlated noise too). Each interval tells the shot noise that a sensor must
/// have, one of the lowest is believed, and its noise is averaged over the image's intensities.
///
/// Of a colour image that is done on the differences of red and blue from green, where texture
/// cancels and noise does not. In a JPEG file the noise of luma, which all channels have, is the
/// least: with colour at half the resolution no more may be left.
pub(super) fn level(image: &Image, compressed: bool) -> f64 {
    let size = image.height * image.width;
    let shape = [image.height, image.width];
    let grey = |plane: &[f32]| level_of(shape, &[plane], plane, &GREY) / GREY_SHARE;
    let (red, rest) = image.values.split_at(size);
    if image.channels != 3 || image.is_grey() {
        return grey(red);
    }
    let (green, blue) = rest.split_at(size);
    let difference = |plane: &[f32]| -> Vec<f32> {
        plane.iter().zip(green).map(|(value, green)| value - green).collect()
    };
    let light: Vec<f32> =
        red.iter().zip(green).zip(blue).map(|((r, g), b)| luma([*r, *g, *b])).collect();
    let [red, blue] = [red, blue].map(difference);
    let found = level_of(shape, &[&red, &blue], &light, &COLOUR);
    let colour = PIVOT * (found / COLOUR_SHARE / PIVOT).powf(COLOUR_EXPONENT);
    if compressed { colour.max(grey(&light)) } else { colour }
}

/// The root mean square of the noise of planes, with the intensities of another.
fn level_of([height, width]: [usize; 2], measured: &[&[f32]], base: &[f32], bands: &Bands) -> f64 {
    let means = local_means(base, [height, width], WINDOW);
    let mut histogram = [0.0; KNOTS];
    means.iter().for_each(|mean| histogram[knot(*mean)] += 1.0 / base.len() as f64);
    let planes = Planes { planes: measured.to_vec(), height, width, clips: false };
    let of = |plane: &&[f32]| -> f64 {
        let Some(shot) = shot(&planes, plane, &means, bands) else { return 0.0 };
        (0..KNOTS).map(|i| histogram[i] * variance(i, shot)).sum()
    };
    (measured.iter().map(of).sum::<f64>() / measured.len() as f64).sqrt()
}

/// The knot next to an intensity.
fn knot(value: f32) -> usize {
    // A cast sends NaN to 0.
    ((0.5 * value.clamp(-1.0, 1.0) + 0.5) * (KNOTS - 1) as f32).round() as usize
}

/// The variance of display values at a knot, for a sensor with this shot noise and the read noise
/// that goes with it.
fn variance(knot: usize, shot: f64) -> f64 {
    let [by_shot, by_read] = amplified(intensity(knot));
    shot * by_shot + read_noise(shot) * by_read
}

/// The shot noise of a plane whose pixels' intensities are `means`.
fn shot(planes: &Planes, plane: &[f32], means: &[f32], bands: &Bands) -> Option<f64> {
    let mut bins: [Vec<(f64, f64)>; KNOTS] = std::array::from_fn(|_| Vec::new());
    for sample in sample(planes, plane) {
        let (y, x) = (sample.at.0 + SIDE / 2, sample.at.1 + SIDE / 2);
        let energies = energies(&sample, bands);
        bins[knot(means[y * planes.width + x])].push(energies);
    }
    let mut found = Vec::new();
    // At the ends of the range noise is clipped.
    for (i, bin) in bins.iter_mut().enumerate().take(KNOTS - 1).skip(1) {
        if bin.len() < ENOUGH {
            continue;
        }
        let count = ((bin.len() as f64 * SHARE) as usize).max(LEAST);
        bin.select_nth_unstable_by(count - 1, |a, b| a.0.total_cmp(&b.0));
        let measured = bin[..count].iter().map(|(_, next)| next).sum::<f64>() / count as f64;
        found.push((shot_of(i, measured), (bin.len() as f64).sqrt()));
    }
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    let all: f64 = found.iter().map(|(_, weight)| weight).sum();
    let mut passed = 0.0;
    let believed = found.iter().find(|(_, weight)| {
        passed += weight;
        passed >= QUANTILE * all
    });
    believed.map(|(shot, _)| *shot)
}

/// The sum of squares of a block's lowest cosines, and the mean square of the next.
fn energies(sample: &Sample, bands: &Bands) -> (f64, f64) {
    let (mut low, mut next, mut count) = (0.0, 0.0, 0.0);
    for (u, row) in sample.cosines.iter().enumerate() {
        for (v, value) in row.iter().enumerate() {
            let square = f64::from(value * value);
            if (1..bands.chosen_below).contains(&(u + v)) {
                low += square;
            } else if (bands.chosen_below..=bands.measured_to).contains(&(u + v)) {
                next += square;
                count += 1.0;
            }
        }
    }
    (low, next / count)
}

/// The shot noise with which the variance at a knot is the measured one.
fn shot_of(knot: usize, measured: f64) -> f64 {
    let [mut low, mut high] = SHOT.map(f64::ln);
    for _ in 0..HALVINGS {
        let middle = 0.5 * (low + high);
        if variance(knot, middle.exp()) > measured { high = middle } else { low = middle }
    }
    (0.5 * (low + high)).exp()
}
