//! Weather: snow, frost, fog, and the light.

use super::{
    Severity,
    planes::{Planes, motion_blur, zoomed},
};
use crate::random::fill_normal;
use crate::range::luma;
use rand::{Rng, RngExt as _};
use std::f64::consts::{FRAC_PI_3, TAU};

/// The luma of every place; grey is its own.
fn lumas(x: &Planes) -> Vec<f32> {
    let len = x.height * x.width;
    match x.channels {
        3 => {
            let at = |i: usize| luma([x.values[i], x.values[len + i], x.values[2 * len + i]]);
            (0..len).map(at).collect()
        }
        _ => x.values.clone(),
    }
}

/// The settings of snow.
#[derive(Clone, Copy)]
struct Flakes {
    /// Mean and standard deviation of the normal numbers.
    normal: (f32, f32),
    /// How much they are magnified.
    zoom: f64,
    /// Below it there is no flake.
    threshold: f32,
    /// Radius and standard deviation of the motion.
    motion: (usize, f64),
    /// The share of the image that is not whitened.
    clear: f32,
}

pub(super) fn snow(x: &mut Planes, severity: Severity, rng: &mut impl Rng) {
    let flakes =
        |normal, zoom, threshold, motion, clear| Flakes { normal, zoom, threshold, motion, clear };
    let c = severity.of([
        flakes((0.1, 0.2), 1.0, 0.6, (8, 3.0), 0.95),
        flakes((0.1, 0.2), 1.0, 0.5, (10, 4.0), 0.9),
        flakes((0.15, 0.3), 1.75, 0.55, (10, 4.0), 0.9),
        flakes((0.25, 0.3), 2.25, 0.6, (12, 6.0), 0.85),
        flakes((0.3, 0.3), 1.25, 0.65, (14, 12.0), 0.8),
    ]);
    let (height, width) = x.size();
    let mut values = vec![0.0; height * width];
    fill_normal(rng, &mut values);
    values.iter_mut().for_each(|value| *value = c.normal.0 + c.normal.1 * *value);
    let mut layer = Planes { channels: 1, height, width, values };
    layer.replace(|plane| zoomed(plane, (height, width), c.zoom));
    layer.each(|value, _, _| if value < c.threshold { 0.0 } else { value });
    layer.cut();
    let angle = rng.random_range(-135.0..-45.0);
    layer.replace(|plane| motion_blur(plane, (height, width), c.motion, angle));
    layer.round();
    let (lumas, layer) = (lumas(x), layer.values);
    let last = layer.len() - 1;
    x.each(|value, y, x| {
        let at = y * width + x;
        let white = value.max(1.5 * lumas[at] + 0.5);
        // The same flakes once more, turned by half.
        c.clear * value + (1.0 - c.clear) * white + layer[at] + layer[last - at]
    });
}

/// The plasma fractal of a square whose side is a power of two, and at least 32 and `side`, by
/// diamond-square on a torus: values in [0, 1], and the square's side. Displacements are
/// `w u` with `u` uniform in `[-w, w]`, and `w` is divided by `decay` at each half step.
fn plasma(side: usize, decay: f64, rng: &mut impl Rng) -> (Vec<f32>, usize) {
    let side = side.max(32).next_power_of_two();
    let mut map = vec![0.0f64; side * side];
    let (mut step, mut wibble) = (side, 100.0f64);
    while step >= 2 {
        let half = step / 2;
        // The mean of four places, and a displacement.
        let mut fill = |map: &mut [f64], (y, x): (usize, usize), around: [(usize, usize); 4]| {
            let of = |(y, x): (usize, usize)| map[y % side * side + x % side];
            let mean = around.into_iter().map(of).sum::<f64>() / 4.0;
            map[y * side + x] = mean + wibble * rng.random_range(-wibble..wibble);
        };
        let places = |from: (usize, usize)| {
            let rows = (from.0..side).step_by(step);
            rows.flat_map(move |y| (from.1..side).step_by(step).map(move |x| (y, x)))
        };
        for (y, x) in places((half, half)) {
            let (top, left) = (y - half, x - half);
            let corners =
                [(top, left), (top, left + step), (top + step, left), (top + step, left + step)];
            fill(&mut map, (y, x), corners);
        }
        for (y, x) in places((0, half)).chain(places((half, 0))) {
            let around = [(y + side - half, x), (y + half, x), (y, x + side - half), (y, x + half)];
            fill(&mut map, (y, x), around);
        }
        step = half;
        wibble /= decay;
    }
    let low = map.iter().fold(f64::INFINITY, |low, value| low.min(*value));
    let high = map.iter().fold(f64::NEG_INFINITY, |high, value| high.max(*value));
    let values = map.iter().map(|value| ((value - low) / (high - low)) as f32);
    (values.collect(), side)
}

pub(super) fn fog(x: &mut Planes, severity: Severity, rng: &mut impl Rng) {
    let (amount, decay) =
        severity.of([(0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75)]);
    let (map, side) = plasma(x.height.max(x.width), decay, rng);
    let most = x.values.iter().fold(0.0f32, |most, value| most.max(*value));
    x.each(|value, y, x| (value + amount * map[y * side + x]) * most / (most + amount));
}

pub(super) fn brightness(x: &mut Planes, severity: Severity) {
    let added = severity.of([0.05f32, 0.1, 0.15, 0.2, 0.3]);
    let len = x.height * x.width;
    for i in 0..len {
        let colour =
            |x: &Planes| (0..x.channels).map(|c| x.values[c * len + i]).fold(0.0, f32::max);
        let value = colour(x);
        let lighter = (value + added).min(1.0);
        for channel in 0..x.channels {
            // Hue and saturation stay where all channels grow by one factor; black becomes grey.
            let at = &mut x.values[channel * len + i];
            *at = if value > 0.0 { *at * lighter / value } else { lighter };
        }
    }
}

/// A crystal of frost: six arms with side branches at 60 degrees.
struct Crystal<'a> {
    layer: &'a mut [f32],
    size: (usize, usize),
    /// Pixels of a unit of length.
    unit: f64,
}

impl Crystal<'_> {
    /// Draws a needle that fades to its tip.
    fn needle(&mut self, (y, x): (f64, f64), angle: f64, length: f64, light: f64) {
        let (sin, cos) = angle.sin_cos();
        let steps = (2.0 * length).ceil() as usize;
        for step in 0..=steps {
            let along = 0.5 * step as f64;
            let light = light * (1.0 - 0.7 * along / (length + 0.5));
            self.spot((y + along * sin * self.unit, x + along * cos * self.unit), light);
        }
    }

    /// Draws a point of half a unit's width.
    fn spot(&mut self, (y, x): (f64, f64), light: f64) {
        let (height, width) = (self.size.0 as isize, self.size.1 as isize);
        let reach = (1.5 * self.unit).ceil() as isize;
        let (row, column) = (y.round() as isize, x.round() as isize);
        for at_y in (row - reach).max(0)..(row + reach + 1).min(height) {
            for at_x in (column - reach).max(0)..(column + reach + 1).min(width) {
                let square = (at_y as f64 - y).powi(2) + (at_x as f64 - x).powi(2);
                let value = (light * (-2.0 * square / self.unit.powi(2)).exp()) as f32;
                let place = &mut self.layer[(at_y * width + at_x) as usize];
                *place = place.max(value);
            }
        }
    }
}

/// Frost on a window, in [0, 1], one value a place: haze and crystals. Lengths are in units of 1/32
/// of the shorter side, at least a pixel.
fn frost_layer((height, width): (usize, usize), rng: &mut impl Rng) -> Vec<f32> {
    let unit = (height.min(width) as f64 / 32.0).max(1.0);
    let (haze, side) = plasma(height.max(width), 2.0, rng);
    let mut layer = vec![0.0; height * width];
    let mut crystal = Crystal { layer: &mut layer, size: (height, width), unit };
    // One in about 11 by 11 units, and at least two.
    let count = ((height * width) as f64 / (120.0 * unit * unit)).ceil().max(2.0) as usize;
    for _ in 0..count {
        let at = (rng.random_range(0.0..height as f64), rng.random_range(0.0..width as f64));
        let (turn, light) = (rng.random_range(0.0..TAU), rng.random_range(0.6..1.0));
        for arm in 0..6 {
            let angle = turn + f64::from(arm) * FRAC_PI_3;
            let length = rng.random_range(3.0..11.0);
            crystal.needle(at, angle, length, light);
            let (sin, cos) = angle.sin_cos();
            let mut along = 2.0;
            while along < length {
                let from = (at.0 + along * sin * unit, at.1 + along * cos * unit);
                for turn in [-FRAC_PI_3, FRAC_PI_3] {
                    crystal.needle(from, angle + turn, 0.4 * (length - along), 0.7 * light);
                }
                along += 2.0;
            }
        }
    }
    let at = |i: usize| {
        let haze = 0.15 + 0.5 * haze[i / width * side + i % width];
        (haze + 0.55 * layer[i]).min(1.0)
    };
    (0..height * width).map(at).collect()
}

pub(super) fn frost(x: &mut Planes, severity: Severity, rng: &mut impl Rng) {
    let (kept, added) =
        severity.of([(1.0, 0.2), (1.0, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)]);
    let layer = frost_layer(x.size(), rng);
    // Ice is bluish; grey images get its luma.
    let tint = [0.88f32, 0.98, 1.08];
    let tints = if x.channels == 3 { tint.to_vec() } else { vec![luma(tint)] };
    for (plane, tint) in x.planes_mut().zip(tints) {
        for (value, frost) in plane.iter_mut().zip(&layer) {
            *value = kept * *value + added * (tint * frost).min(1.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::example_rng;

    #[test]
    fn plasma_fills_the_range_and_is_smoother_with_more_decay() {
        let rough = |decay: f64| {
            let (map, side) = plasma(40, decay, &mut example_rng(1, 0, 0, 98));
            assert_eq!((side, map.len()), (64, 64 * 64));
            let ends = map.iter().fold((1.0f32, 0.0f32), |(a, b), v| (a.min(*v), b.max(*v)));
            assert_eq!(ends, (0.0, 1.0));
            map.windows(2).map(|pair| (pair[1] - pair[0]).abs()).sum::<f32>()
        };
        assert!(rough(1.75) > 1.3 * rough(3.0));
    }

    #[test]
    fn frost_covers_about_a_half() {
        for size in [(32, 32), (96, 64)] {
            let mean = |seed: u64| {
                let layer = frost_layer(size, &mut example_rng(seed, 0, 0, 98));
                layer.iter().sum::<f32>() / layer.len() as f32
            };
            let mean = (0..40).map(mean).sum::<f32>() / 40.0;
            assert!((0.45..0.65).contains(&mean), "{size:?}: {mean}");
        }
    }
}
