//! The form in which corruptions are computed, and what several of them share.

use crate::image::{Depth, Image};
use crate::range::{denormalise, normalise};

/// Values within this distance below a level are that level: what is left of a sum in float32.
const LEVEL: f32 = 1e-3;

/// What lies beyond the border of a plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Border {
    /// The nearest value: `a a | a b c | c c`.
    Nearest,
    /// The mirror image with the border's value: `b a | a b c | c b`.
    Reflect,
    /// The mirror image without the border's value: `c b | a b c | b a`.
    Mirror,
}

impl Border {
    /// The index inside that stands for any index.
    pub fn index(self, at: isize, len: usize) -> usize {
        let len = len as isize;
        let inside = match self {
            Self::Nearest => at.clamp(0, len - 1),
            Self::Reflect => {
                let at = at.rem_euclid(2 * len);
                at.min(2 * len - 1 - at)
            }
            Self::Mirror => {
                let period = (2 * len - 2).max(1);
                let at = at.rem_euclid(period);
                at.min(period - at)
            }
        };
        inside as usize
    }
}

/// Planes of values in [0, 1], (C, H, W).
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Planes {
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    pub values: Vec<f32>,
}

impl Planes {
    /// An image at 8 bits.
    pub fn of(image: &Image) -> Self {
        let (channels, height, width) = image.shape();
        let values = image.values().iter().map(|value| f32::from(denormalise(*value)) / 255.0);
        Self { channels, height, width, values: values.collect() }
    }

    /// The image, cut to 8 bits.
    pub fn into_image(mut self, depth: Depth) -> Image {
        self.cut();
        let values = self.values.iter().map(|value| normalise((255.0 * value).round() as u8));
        let Self { channels, height, width, .. } = self;
        Image { channels, height, width, values: values.collect(), depth }
    }

    /// Cuts values to the level of 8 bits below them, within [0, 1].
    pub fn cut(&mut self) {
        self.values.iter_mut().for_each(|value| {
            *value = (255.0 * *value + LEVEL).floor().clamp(0.0, 255.0) / 255.0;
        });
    }

    /// Rounds values to the nearest level of 8 bits, within [0, 1].
    pub fn round(&mut self) {
        self.values.iter_mut().for_each(|value| {
            *value = (255.0 * *value).round().clamp(0.0, 255.0) / 255.0;
        });
    }

    /// Height and width.
    pub fn size(&self) -> (usize, usize) {
        (self.height, self.width)
    }

    /// The planes, one for each channel.
    pub fn planes(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.height * self.width)
    }

    /// The planes, to change them.
    pub fn planes_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        let size = self.height * self.width;
        self.values.chunks_exact_mut(size)
    }

    /// Replaces each plane by what is computed from it.
    pub fn replace(&mut self, with: impl FnMut(&[f32]) -> Vec<f32>) {
        self.values = self.planes().flat_map(with).collect();
    }

    /// Changes a plane and every place of it by its row and column: `with(value, y, x)`.
    pub fn each(&mut self, with: impl Fn(f32, usize, usize) -> f32) {
        let width = self.width;
        for plane in self.planes_mut() {
            for (i, value) in plane.iter_mut().enumerate() {
                *value = with(*value, i / width, i % width);
            }
        }
    }
}

/// Convolves a plane with a Gaussian of `sigma` pixels, cut at `truncate` of them, as SciPy's
/// `gaussian_filter` does.
pub(super) fn gaussian(
    plane: &[f32],
    (height, width): (usize, usize),
    sigma: f64,
    truncate: f64,
    border: Border,
) -> Vec<f32> {
    let radius = (truncate * sigma + 0.5) as isize;
    if radius == 0 {
        return plane.to_vec();
    }
    let weight = |i: isize| (-0.5 * (i as f64 / sigma).powi(2)).exp();
    let sum: f64 = (-radius..=radius).map(weight).sum();
    let taps: Vec<(isize, f32)> =
        (-radius..=radius).map(|i| (i, (weight(i) / sum) as f32)).collect();
    let along = |values: &[f32], down: bool| -> Vec<f32> {
        let value = |y: usize, x: usize| {
            let tap = |(i, weight): &(isize, f32)| match down {
                true => weight * values[border.index(y as isize + i, height) * width + x],
                false => weight * values[y * width + border.index(x as isize + i, width)],
            };
            taps.iter().map(tap).sum()
        };
        (0..height)
            .flat_map(|y| (0..width).map(move |x| (y, x)))
            .map(|(y, x)| value(y, x))
            .collect()
    };
    along(&along(plane, true), false)
}

/// The value of a plane at any position, bilinear.
pub(super) fn bilinear(
    plane: &[f32],
    (height, width): (usize, usize),
    (y, x): (f64, f64),
    border: Border,
) -> f32 {
    let (top, left) = (y.floor(), x.floor());
    let (down, right) = ((y - top) as f32, (x - left) as f32);
    let row = |i: isize| border.index(top as isize + i, height) * width;
    let column = |i: isize| border.index(left as isize + i, width);
    let at = |i, j| plane[row(i) + column(j)];
    let upper = at(0, 0) * (1.0 - right) + at(0, 1) * right;
    let lower = at(1, 0) * (1.0 - right) + at(1, 1) * right;
    upper * (1.0 - down) + lower * down
}

/// The centre of a plane, magnified to the plane's size: its `1/factor` of each side is stretched
/// so that its first and last values stay (SciPy's `zoom` of order 1), and the centre of that is
/// cropped. `factor` is at least 1.
pub(super) fn zoomed(plane: &[f32], (height, width): (usize, usize), factor: f64) -> Vec<f32> {
    // The first position and the step of a side.
    let positions = |len: usize| -> Vec<f64> {
        let part = ((len as f64 / factor).ceil() as usize).clamp(1, len);
        let stretched = ((part as f64 * factor).round_ties_even() as usize).max(len);
        let step = (part - 1) as f64 / (stretched - 1).max(1) as f64;
        let (from, trim) = ((len - part) / 2, (stretched - len) / 2);
        (0..len).map(|i| from as f64 + (i + trim) as f64 * step).collect()
    };
    let (rows, columns) = (positions(height), positions(width));
    let value = |y: &f64, x: &f64| bilinear(plane, (height, width), (*y, *x), Border::Nearest);
    rows.iter().flat_map(|y| columns.iter().map(move |x| value(y, x))).collect()
}

/// The motion blur of ImageMagick (`MotionBlurImage`): weights `exp(-i^2 / 2 sigma^2)` for the
/// whole numbers `i` from 0 to twice the radius, at the pixels nearest to a line through the place
/// at `angle` degrees. Beyond the border is the nearest value.
pub(super) fn motion_blur(
    plane: &[f32],
    (height, width): (usize, usize),
    (radius, sigma): (usize, f64),
    angle: f64,
) -> Vec<f32> {
    let (sin, cos) = angle.to_radians().sin_cos();
    let weight = |i: usize| (-0.5 * (i as f64 / sigma).powi(2)).exp();
    let sum: f64 = (0..=2 * radius).map(weight).sum();
    let nearest = |along: f64| (along - 0.5).ceil() as isize;
    let tap = |i: usize| {
        let (down, right) = (nearest(i as f64 * sin), nearest(i as f64 * cos));
        (down, right, (weight(i) / sum) as f32)
    };
    let taps: Vec<(isize, isize, f32)> = (0..=2 * radius).map(tap).collect();
    let value = |y: usize, x: usize| {
        let at = |(down, right, weight): &(isize, isize, f32)| {
            let row = Border::Nearest.index(y as isize + down, height);
            weight * plane[row * width + Border::Nearest.index(x as isize + right, width)]
        };
        taps.iter().map(at).sum()
    };
    (0..height).flat_map(|y| (0..width).map(move |x| (y, x))).map(|(y, x)| value(y, x)).collect()
}
