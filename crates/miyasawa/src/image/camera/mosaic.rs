//! The Bayer mosaic: one colour per pixel, and the two others from the neighbours.

/// How the two colours that a pixel lacks are made from its neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demosaic {
    /// The mean of the two or four nearest pixels of the colour.
    Bilinear,
    /// Bilinear, corrected by the gradient of the colour that is there (Malvar, He & Cutler 2004,
    /// "High-quality linear interpolation for demosaicing of Bayer-patterned color images").
    GradientCorrected,
}

/// Rows and columns that the filters reach beyond a pixel.
const REACH: usize = 2;

/// The colour (0 red, 1 green, 2 blue) of a pixel of the mosaic whose red pixels are those with
/// `y % 2 == phase / 2` and `x % 2 == phase % 2`.
fn colour(y: usize, x: usize, phase: usize) -> usize {
    (y + phase / 2) % 2 + (x + phase % 2) % 2
}

/// Keeps of every pixel (planes of red, green, blue) the one colour that the mosaic has there.
pub(super) fn mosaic(planes: &[f32], (height, width): (usize, usize), phase: usize) -> Vec<f32> {
    let size = height * width;
    let at = |i: usize| planes[colour(i / width, i % width, phase) * size + i];
    (0..size).map(at).collect()
}

/// The index within `0..len` that mirroring at the first and last pixel leads to: it keeps a
/// pixel's place in the mosaic. `len` is at least 2.
fn mirrored(index: isize, len: usize) -> usize {
    let period = 2 * (len as isize - 1);
    let index = index.rem_euclid(period);
    index.min(period - index) as usize
}

/// The mosaic with [`REACH`] mirrored rows and columns on every side.
fn padded(raw: &[f32], height: usize, width: usize) -> Vec<f32> {
    let columns: Vec<usize> =
        (0..width + 2 * REACH).map(|x| mirrored(x as isize - REACH as isize, width)).collect();
    let rows = (0..height + 2 * REACH).map(|y| mirrored(y as isize - REACH as isize, height));
    rows.flat_map(|y| columns.iter().map(move |x| raw[y * width + x])).collect()
}

/// The values around a pixel: itself and sums of its neighbours.
struct Around {
    own: f32,
    /// The two beside it, the two above and below, the four diagonal ones.
    beside: f32,
    upright: f32,
    diagonal: f32,
    /// The two at distance 2 in its row, and in its column.
    far_beside: f32,
    far_upright: f32,
}

impl Around {
    #[inline(always)]
    fn new(rows: &[&[f32]; 5], x: usize) -> Self {
        let [above2, above, row, below, below2] = rows;
        Self {
            own: row[x + 2],
            beside: row[x + 1] + row[x + 3],
            upright: above[x + 2] + below[x + 2],
            diagonal: above[x + 1] + above[x + 3] + below[x + 1] + below[x + 3],
            far_beside: row[x] + row[x + 4],
            far_upright: above2[x + 2] + below2[x + 2],
        }
    }

    /// Green at a red or blue pixel.
    #[inline(always)]
    fn green(&self, corrected: bool) -> f32 {
        let near = self.beside + self.upright;
        if corrected {
            0.5 * self.own + 0.25 * near - 0.125 * (self.far_beside + self.far_upright)
        } else {
            0.25 * near
        }
    }

    /// Red at a blue pixel, and blue at a red one.
    #[inline(always)]
    fn opposite(&self, corrected: bool) -> f32 {
        if corrected {
            let far = self.far_beside + self.far_upright;
            0.75 * self.own + 0.25 * self.diagonal - 0.1875 * far
        } else {
            0.25 * self.diagonal
        }
    }

    /// At a green pixel, the colours of the pixels beside it, and of those above and below.
    #[inline(always)]
    fn at_green(&self, corrected: bool) -> [f32; 2] {
        if corrected {
            let one = |near: f32, along: f32, across: f32| {
                0.625 * self.own + 0.5 * near - 0.125 * (self.diagonal + along) + 0.0625 * across
            };
            [
                one(self.beside, self.far_beside, self.far_upright),
                one(self.upright, self.far_upright, self.far_beside),
            ]
        } else {
            [0.5 * self.beside, 0.5 * self.upright]
        }
    }
}

/// Planes of red, green and blue from a mosaic of at least 2 by 2 pixels.
pub(super) fn demosaic(
    raw: &[f32],
    (height, width): (usize, usize),
    phase: usize,
    method: Demosaic,
) -> Vec<f32> {
    let mut planes = vec![0.0; 3 * raw.len()];
    let stride = width + 2 * REACH;
    let padded = padded(raw, height, width);
    let corrected = method == Demosaic::GradientCorrected;
    let (red, rest) = planes.split_at_mut(raw.len());
    let (green, blue) = rest.split_at_mut(raw.len());
    let rows = red.chunks_mut(width).zip(green.chunks_mut(width)).zip(blue.chunks_mut(width));
    for (y, ((red, green), blue)) in rows.enumerate() {
        let lines = [0, 1, 2, 3, 4].map(|dy| &padded[(y + dy) * stride..][..stride]);
        // The colour of the row that is not green, and the other one.
        let first = (y + phase / 2) % 2;
        let (own, other) = if first == 0 { (red, blue) } else { (blue, red) };
        for start in 0..2 {
            let is_green = colour(y, start, phase) == 1;
            for x in (start..width).step_by(2) {
                let around = Around::new(&lines, x);
                if is_green {
                    green[x] = around.own;
                    [own[x], other[x]] = around.at_green(corrected);
                } else {
                    own[x] = around.own;
                    green[x] = around.green(corrected);
                    other[x] = around.opposite(corrected);
                }
            }
        }
    }
    planes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Linear ramps of each colour come back exactly, except where mirroring bends them.
    #[test]
    fn ramps_come_back() {
        let shape @ (height, width) = (9, 12);
        let ramp = |c: usize, y: usize, x: usize| {
            [0.1, 0.4, 0.3][c] + 0.01 * (y as f32) + [0.02, 0.02, 0.02][c] * x as f32
        };
        let planes: Vec<f32> = (0..3 * height * width)
            .map(|i| ramp(i / (height * width), i / width % height, i % width))
            .collect();
        for phase in 0..4 {
            let raw = mosaic(&planes, shape, phase);
            for method in [Demosaic::Bilinear, Demosaic::GradientCorrected] {
                let found = demosaic(&raw, shape, phase, method);
                for (i, (a, b)) in planes.iter().zip(&found).enumerate() {
                    let (y, x) = (i / width % height, i % width);
                    let inside = (2..height - 2).contains(&y) && (2..width - 2).contains(&x);
                    assert!(!inside || (a - b).abs() < 1e-5, "{method:?} {phase} {i}: {a} {b}");
                }
            }
        }
    }

    /// The filters are those of the paper's figure 2, in eighths: what one pixel gives to its
    /// neighbours.
    #[test]
    fn gradient_corrected_filters_are_the_papers() {
        let shape @ (_, width) = (9, 9);
        let response = |y: usize, x: usize, (ty, tx): (usize, usize), c: usize| {
            let mut raw = vec![0.0; 81];
            raw[y * width + x] = 8.0;
            demosaic(&raw, shape, 0, Demosaic::GradientCorrected)[c * 81 + ty * width + tx]
        };
        // Green at the red pixel (4, 4).
        assert_eq!([4, 5, 6].map(|x| response(4, x, (4, 4), 1)), [4.0, 2.0, -1.0]);
        // Blue at the red pixel (4, 4).
        assert_eq!(response(4, 4, (4, 4), 2), 6.0);
        assert_eq!([response(3, 5, (4, 4), 2), response(6, 4, (4, 4), 2)], [2.0, -1.5]);
        // Red at the green pixel (4, 5) of a red row, then blue there.
        assert_eq!([5, 6, 7].map(|x| response(4, x, (4, 5), 0)), [5.0, 4.0, -1.0]);
        assert_eq!([response(6, 5, (4, 5), 0), response(3, 4, (4, 5), 0)], [0.5, -1.0]);
        assert_eq!([response(3, 5, (4, 5), 2), response(4, 7, (4, 5), 2)], [4.0, 0.5]);
    }

    #[test]
    fn the_smallest_mosaic_has_all_colours() {
        let planes: Vec<f32> = [0.2f32, 0.5, 0.7].iter().flat_map(|v| [*v; 4]).collect();
        for phase in 0..4 {
            let raw = mosaic(&planes, (2, 2), phase);
            let found = demosaic(&raw, (2, 2), phase, Demosaic::Bilinear);
            assert!(planes.iter().zip(&found).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
        }
    }
}
