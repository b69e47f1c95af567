//! Contrast, elastic transforms, pixels, JPEG.

use super::{
    Severity,
    planes::{Border, Planes, bilinear, gaussian},
};
use crate::image::camera::Jpeg;
use crate::range::luma;
use rand::{Rng, RngExt as _};

pub(super) fn contrast(x: &mut Planes, severity: Severity) {
    let share = severity.of([0.75f32, 0.5, 0.4, 0.3, 0.15]);
    for plane in x.planes_mut() {
        let sum: f64 = plane.iter().map(|value| f64::from(*value)).sum();
        let mean = (sum / plane.len() as f64) as f32;
        plane.iter_mut().for_each(|value| *value = (*value - mean) * share + mean);
    }
}

/// A point, (y, x).
type Point = (f64, f64);

/// The affine map that takes three points to three others: rows of factors for y, x and 1.
fn affine(from: [Point; 3], to: [Point; 3]) -> [[f64; 3]; 2] {
    let [a, b, c] = from;
    let (u, v) = ((b.0 - a.0, b.1 - a.1), (c.0 - a.0, c.1 - a.1));
    let area = u.0 * v.1 - u.1 * v.0;
    if area.abs() < 1e-9 {
        // Three points on a line are no frame: nothing moves.
        return [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]];
    }
    let row = |[a1, b1, c1]: [f64; 3]| {
        let (p, q) = (b1 - a1, c1 - a1);
        let (down, right) = ((p * v.1 - q * u.1) / area, (q * u.0 - p * v.0) / area);
        [down, right, a1 - down * a.0 - right * a.1]
    };
    [row(to.map(|point| point.0)), row(to.map(|point| point.1))]
}

pub(super) fn elastic(x: &mut Planes, severity: Severity, rng: &mut impl Rng) {
    // Length and width of the displacements, and the shift of the three points, in sides.
    let (length, width, shift) = severity.of([
        (0.0, 0.0, 0.08),
        (0.05, 0.2, 0.07),
        (0.08, 0.06, 0.06),
        (0.1, 0.04, 0.05),
        (0.1, 0.03, 0.03),
    ]);
    let size = x.size();
    let side = size.0.min(size.1) as f64;
    let (middle, arm) = ((size.0 / 2, size.1 / 2), (size.0.min(size.1) / 3).max(1) as f64);
    let (y, right) = (middle.0 as f64, middle.1 as f64);
    let points = [(y + arm, right + arm), (y - arm, right + arm), (y - arm, right - arm)];
    let shift = shift * side;
    let moved = points
        .map(|(y, x)| (y + rng.random_range(-shift..shift), x + rng.random_range(-shift..shift)));
    // A place of the result shows where the map that moves the points came from.
    let [down, across] = affine(moved, points);
    x.replace(|plane| {
        let at = |i: usize| {
            let (y, x) = ((i / size.1) as f64, (i % size.1) as f64);
            let of = |[a, b, c]: [f64; 3]| a * y + b * x + c;
            bilinear(plane, size, (of(down), of(across)), Border::Mirror)
        };
        (0..plane.len()).map(at).collect()
    });
    let mut displacement = || -> Vec<f32> {
        let uniform: Vec<f32> = (0..size.0 * size.1).map(|_| rng.random_range(-1.0..1.0)).collect();
        let smooth = gaussian(&uniform, size, width * side, 3.0, Border::Reflect);
        smooth.into_iter().map(|value| value * (length * side) as f32).collect()
    };
    let (right, down) = (displacement(), displacement());
    x.replace(|plane| {
        let at = |i: usize| {
            let y = (i / size.1) as f64 + f64::from(down[i]);
            let x = (i % size.1) as f64 + f64::from(right[i]);
            bilinear(plane, size, (y, x), Border::Reflect)
        };
        (0..plane.len()).map(at).collect()
    });
}

/// Resizes lines of values by Pillow's box filter: the mean of the values whose middle lies in the
/// window of a place, rounded to 8 bits. `stride` is the distance of values along a line.
fn boxed(values: &[f32], from: usize, to: usize, stride: usize) -> Vec<f32> {
    let scale = from as f64 / to as f64;
    let support = 0.5 * scale.max(1.0);
    let mut out = vec![0.0; values.len() / from * to];
    for (i, out) in out.iter_mut().enumerate() {
        let (line, at, offset) = (i / (to * stride), i / stride % to, i % stride);
        let centre = (at as f64 + 0.5) * scale;
        let start = (centre - support + 0.5).max(0.0) as usize;
        let end = ((centre + support + 0.5) as usize).min(from);
        // The window includes its upper end and not its lower one.
        let within = |k: &usize| {
            let distance = (*k as f64 - centre + 0.5) / scale.max(1.0);
            distance > -0.5 && distance <= 0.5
        };
        let value = |k: usize| values[(line * from + k) * stride + offset];
        let (sum, count) = (start..end)
            .filter(within)
            .fold((0.0f32, 0.0f32), |(sum, count), k| (sum + value(k), count + 1.0));
        *out = (255.0 * sum / count.max(1.0)).round() / 255.0;
    }
    out
}

pub(super) fn pixelate(x: &mut Planes, severity: Severity) {
    let share = severity.of([0.95f64, 0.9, 0.85, 0.75, 0.65]);
    let (height, width) = x.size();
    let [rows, columns] = [height, width].map(|side| ((side as f64 * share) as usize).max(1));
    // Pillow resizes along rows first.
    x.replace(|plane| {
        let small = boxed(&boxed(plane, width, columns, 1), height, rows, columns);
        boxed(&boxed(&small, columns, width, 1), rows, height, width)
    });
}

pub(super) fn jpeg(x: &mut Planes, severity: Severity) {
    let quality = severity.of([80, 65, 58, 50, 40]);
    let jpeg = Jpeg { subsampled: true, ..Jpeg::new(quality) };
    let (size, len) = (x.size(), x.height * x.width);
    let mut planes = if x.channels == 3 { x.values.clone() } else { x.values.repeat(3) };
    jpeg.round_trip(&mut planes, size);
    x.values = match x.channels {
        3 => planes,
        _ => (0..len).map(|i| luma([planes[i], planes[len + i], planes[2 * len + i]])).collect(),
    };
    x.round();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_affine_map_takes_its_points_along() {
        let (from, to) =
            ([(0.0, 1.0), (4.0, 2.0), (3.0, 7.0)], [(1.0, 1.0), (5.0, 0.5), (2.0, 9.0)]);
        let [down, across] = affine(from, to);
        for ((y, x), expected) in from.into_iter().zip(to) {
            let of = |[a, b, c]: [f64; 3]| a * y + b * x + c;
            assert!((of(down) - expected.0).abs() < 1e-9 && (of(across) - expected.1).abs() < 1e-9);
        }
        assert_eq!(affine([(1.0, 1.0); 3], to), [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]);
    }
}
