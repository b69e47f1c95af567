//! Blurs: defocus, glass, motion, zoom.

use super::{
    Severity,
    planes::{Border, Planes, gaussian, motion_blur, zoomed},
};
use rand::{Rng, RngExt as _};

/// Where SciPy's Gaussian is cut by default, in standard deviations.
const TRUNCATE: f64 = 4.0;

/// A disc of the radius `radius`, every pixel in it or not, blurred over 3 by 3 pixels: rows of the
/// kernel, of an odd side.
fn disc(radius: f64, blur: f64) -> Vec<Vec<f32>> {
    let reach = radius as i32 + 1;
    let side = (2 * reach + 1) as usize;
    let inside = |y: i32, x: i32| f64::from(y * y + x * x) <= radius * radius;
    let mut kernel = vec![vec![0.0f64; side]; side];
    let near = (-0.5 / (blur * blur)).exp();
    let weights = [near, 1.0, near].map(|weight| weight / (1.0 + 2.0 * near));
    for (y, x) in (-reach..=reach).flat_map(|y| (-reach..=reach).map(move |x| (y, x))) {
        if !inside(y, x) {
            continue;
        }
        for (down, a) in (-1..=1).zip(weights) {
            for (right, b) in (-1..=1).zip(weights) {
                kernel[(y + down + reach) as usize][(x + right + reach) as usize] += a * b;
            }
        }
    }
    let sum: f64 = kernel.iter().flatten().sum();
    kernel.iter().map(|row| row.iter().map(|value| (value / sum) as f32).collect()).collect()
}

pub(super) fn defocus(x: &mut Planes, severity: Severity) {
    let (radius, blur) = severity.of([(0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1)]);
    let kernel = disc(radius, blur);
    let reach = (kernel.len() / 2) as isize;
    let (height, width) = x.size();
    x.replace(|plane| {
        let value = |y: usize, x: usize| -> f32 {
            let row = |(i, weights): (usize, &Vec<f32>)| -> f32 {
                let row = Border::Mirror.index(y as isize + i as isize - reach, height) * width;
                let column =
                    |j: usize| Border::Mirror.index(x as isize + j as isize - reach, width);
                weights.iter().enumerate().map(|(j, w)| w * plane[row + column(j)]).sum()
            };
            kernel.iter().enumerate().map(row).sum()
        };
        (0..height * width).map(|i| value(i / width, i % width)).collect()
    });
}

pub(super) fn glass(x: &mut Planes, severity: Severity, rng: &mut impl Rng) {
    let (sigma, rounds) = severity.of([(0.05, 1), (0.25, 1), (0.4, 1), (0.25, 2), (0.4, 2)]);
    let size @ (height, width) = x.size();
    x.replace(|plane| gaussian(plane, size, sigma, TRUNCATE, Border::Nearest));
    x.cut();
    for _ in 0..rounds {
        // From the last row and column to the third: the script leaves out the first two. The
        // neighbour is one that was not replaced in this round.
        for y in (2..height).rev() {
            for column in (2..width).rev() {
                let (up, left): (bool, bool) = (rng.random(), rng.random());
                let from = (y - usize::from(up)) * width + column - usize::from(left);
                x.planes_mut().for_each(|plane| plane[y * width + column] = plane[from]);
            }
        }
    }
    x.replace(|plane| gaussian(plane, size, sigma, TRUNCATE, Border::Nearest));
}

pub(super) fn motion(x: &mut Planes, severity: Severity, rng: &mut impl Rng) {
    let settings = severity.of([(6, 1.0), (6, 1.5), (6, 2.0), (8, 2.0), (9, 2.5)]);
    let angle = rng.random_range(-45.0..45.0);
    let size = x.size();
    x.replace(|plane| motion_blur(plane, size, settings, angle));
    x.round();
}

pub(super) fn zoom(x: &mut Planes, severity: Severity) {
    // The script's `arange` includes its end at the first two severities, by rounding.
    let last = severity.of([6, 11, 15, 20, 25]);
    let size = x.size();
    x.replace(|plane| {
        let mut sum = plane.to_vec();
        for step in 0..=last {
            let zoomed = zoomed(plane, size, 1.0 + 0.01 * f64::from(step));
            sum.iter_mut().zip(zoomed).for_each(|(sum, value)| *sum += value);
        }
        let count = (last + 2) as f32;
        sum.iter().map(|sum| sum / count).collect()
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_discs_are_those_of_the_script() {
        let whole = |radius, blur| {
            let kernel = disc(radius, blur);
            assert!((kernel.iter().flatten().sum::<f32>() - 1.0).abs() < 1e-6);
            kernel
        };
        // A radius below 1 is one pixel, and what is seen is the blur: 1 : exp(-1/(2 0.4^2)).
        let kernel = whole(0.3, 0.4);
        assert_eq!(kernel.len(), 3);
        assert!((kernel[1][2] / kernel[1][1] - (-3.125f32).exp()).abs() < 1e-6);
        // Five pixels, and nine, nearly without blur.
        let near = |value: f32, expected: f32| (value - expected).abs() < 1e-4;
        let kernel = whole(1.0, 0.2);
        assert!(near(kernel[2][2], 0.2) && near(kernel[1][2], 0.2) && near(kernel[1][1], 0.0));
        let kernel = whole(1.5, 0.1);
        assert!(near(kernel[1][1], 1.0 / 9.0) && near(kernel[0][2], 0.0));
    }
}
