//! Parts of an image, and the part that shows best what a denoiser does.

use super::{Image, ImageError};
use crate::range::luma;

/// Side of the blocks of which a part is made up; parts begin at multiples of it.
const BLOCK: usize = 16;
/// Structure of this many times the noise's deviation is half of what can be seen at most.
const PLAIN: f32 = 2.0;
/// A block's variance of noise counts at most this many times the image's: the rest is texture.
const NOISE_AT_MOST: f32 = 4.0;

impl Image {
    /// The part of the given height and width whose first pixel is at (row, column) `at`.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let image = Image::new((1, 2, 3), vec![0.0, 0.1, 0.2, 0.3, 0.4, 0.5])?;
    /// assert_eq!(image.crop((0, 1), (2, 2))?.values(), [0.1, 0.2, 0.4, 0.5]);
    /// assert!(image.crop((1, 0), (2, 2)).is_err());
    /// # Ok::<(), miyasawa::image::ImageError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ImageError::Shape`] if it is empty or not within the image.
    pub fn crop(
        &self,
        (top, left): (usize, usize),
        (height, width): (usize, usize),
    ) -> Result<Self, ImageError> {
        let within = |from: usize, length: usize, all: usize| {
            length > 0 && from.checked_add(length).is_some_and(|end| end <= all)
        };
        if !within(top, height, self.height) || !within(left, width, self.width) {
            return Err(ImageError::Shape {
                expected: format!("{}x{}, or a part of it", self.height, self.width),
                found: format!("{height}x{width} from ({top}, {left}) on"),
            });
        }
        let planes = self.values.chunks_exact(self.height * self.width);
        let rows = planes.flat_map(|plane| plane.chunks_exact(self.width).skip(top).take(height));
        let values = rows.flat_map(|row| &row[left..left + width]).copied().collect();
        Ok(Self::new((self.channels, height, width), values)?.with_depth(self.depth))
    }

    /// Where the part of at most `side` by `side` pixels begins that shows best what a denoiser
    /// does, and its height and width: it has plain areas, in which noise is seen and goes, and
    /// structure, which has to stay. `sigma` is the level of the noise.
    ///
    /// In blocks of 16 by 16 pixels the variance of the luma is split: that of the finest diagonal
    /// differences is noise (as far as the level allows it), the rest structure. Of all parts at
    /// multiples of 16 it is the first with the largest product of the noise in plain blocks and
    /// the number of structured ones.
    pub(crate) fn telling_part(&self, side: usize, sigma: f64) -> ((usize, usize), (usize, usize)) {
        let size = (self.height.min(side), self.width.min(side));
        let (rows, columns) = (self.height / BLOCK, self.width / BLOCK);
        // Parts are counted in blocks; one of less than a block does not matter.
        let (down, across) = (size.0 / BLOCK, size.1 / BLOCK);
        if down == 0 || across == 0 || size == (self.height, self.width) {
            return ((0, 0), size);
        }
        let (plain, structured) = self.blocks((rows, columns), sigma as f32);
        let [plain, structured] = [plain, structured].map(|blocks| Sums::new(&blocks, columns));
        let (mut best, mut at) = (0.0, None);
        for top in 0..=rows - down {
            for left in 0..=columns - across {
                let part = ((top, left), (down, across));
                let score = plain.of(part) * structured.of(part);
                if score > best {
                    (best, at) = (score, Some((top * BLOCK, left * BLOCK)));
                }
            }
        }
        let middle = ((self.height - size.0) / 2, (self.width - size.1) / 2);
        (at.unwrap_or(middle), size)
    }

    /// For every block the noise in it, as far as it is plain, and how structured it is, 0 to 1.
    fn blocks(&self, (rows, columns): (usize, usize), sigma: f32) -> (Vec<f64>, Vec<f64>) {
        let (mut plain, mut structured) = (Vec::new(), Vec::new());
        let variance = sigma * sigma;
        let mut pixels = [[0.0f32; BLOCK]; BLOCK];
        for top in (0..rows).map(|row| row * BLOCK) {
            for left in (0..columns).map(|column| column * BLOCK) {
                for (y, row) in pixels.iter_mut().enumerate() {
                    self.lumas(top + y, left, row);
                }
                let (all, fine) = variances(&pixels);
                let noise = fine.min(NOISE_AT_MOST * variance);
                let structure = (all - noise).max(0.0);
                let seen = structure / (structure + PLAIN * PLAIN * variance + f32::MIN_POSITIVE);
                // Without noise the plain blocks alone count.
                let noise = if variance > 0.0 { noise } else { 1.0 };
                plain.push(f64::from((1.0 - seen) * noise));
                structured.push(f64::from(seen));
            }
        }
        (plain, structured)
    }

    /// The luma of a row of pixels.
    fn lumas(&self, y: usize, left: usize, to: &mut [f32]) {
        let (size, count) = (self.height * self.width, to.len());
        let plane = |c: usize| &self.values[c * size + y * self.width + left..][..count];
        if self.channels != 3 {
            return to.copy_from_slice(plane(0));
        }
        let colours = plane(0).iter().zip(plane(1)).zip(plane(2));
        to.iter_mut().zip(colours).for_each(|(to, ((r, g), b))| *to = luma([*r, *g, *b]));
    }
}

/// The variance of a block's values, and that of its finest diagonal differences, which is the same
/// for white noise.
fn variances(pixels: &[[f32; BLOCK]; BLOCK]) -> (f32, f32) {
    let count = (BLOCK * BLOCK) as f32;
    let mean = pixels.iter().flatten().sum::<f32>() / count;
    let all = pixels.iter().flatten().map(|value| (value - mean).powi(2)).sum::<f32>() / count;
    let mut fine = 0.0;
    for (upper, lower) in pixels.iter().zip(&pixels[1..]) {
        for (a, b) in upper.windows(2).zip(lower.windows(2)) {
            fine += (0.5 * (a[0] - a[1] - b[0] + b[1])).powi(2);
        }
    }
    (all, fine / ((BLOCK - 1) * (BLOCK - 1)) as f32)
}

/// Sums over rectangles of blocks.
struct Sums {
    /// Of all blocks above and to the left.
    sums: Vec<f64>,
    columns: usize,
}

impl Sums {
    fn new(blocks: &[f64], columns: usize) -> Self {
        let mut sums = vec![0.0; columns + 1];
        for row in blocks.chunks_exact(columns) {
            let above = sums.len() - (columns + 1);
            let mut sum = 0.0;
            sums.push(0.0);
            for (x, value) in row.iter().enumerate() {
                sum += value;
                sums.push(sums[above + x + 1] + sum);
            }
        }
        Self { sums, columns }
    }

    fn of(&self, ((top, left), (height, width)): ((usize, usize), (usize, usize))) -> f64 {
        let at = |y: usize, x: usize| self.sums[y * (self.columns + 1) + x];
        let (bottom, right) = (top + height, left + width);
        at(bottom, right) - at(top, right) - at(bottom, left) + at(top, left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plain on the left and in the middle, a pattern on the right of the lower half.
    fn half_textured(sigma: f64) -> Image {
        let (height, width) = (160, 320);
        let value = |i: usize| {
            let (y, x) = (i / width, i % width);
            if y >= 80 && x >= 240 { [-0.5, 0.5][(y / 4 + x / 4) % 2] } else { 0.0 }
        };
        let plane: Vec<f32> = (0..height * width).map(value).collect();
        let image = Image::new((3, height, width), plane.repeat(3)).unwrap();
        image.with_noise(sigma, 2).unwrap()
    }

    #[test]
    fn the_part_shows_plain_and_structured_areas() {
        for sigma in [0.0, 0.05, 0.2] {
            let image = half_textured(sigma);
            let ((top, left), size) = image.telling_part(96, sigma);
            assert_eq!(size, (96, 96), "{sigma}");
            // Some of the pattern, and something beside it.
            let below = (top + 96).saturating_sub(80.max(top));
            let right = (left + 96).saturating_sub(240.max(left));
            let share = (below * right) as f64 / (96.0 * 96.0);
            assert!((0.3..0.7).contains(&share), "{sigma}: ({top}, {left}), {share}");
            assert_eq!(image.telling_part(96, sigma), ((top, left), size));
        }
    }

    #[test]
    fn small_and_plain_images_have_a_part() {
        let of =
            |height, width| Image::filled(1, height, width, 0.3).unwrap().telling_part(64, 0.1);
        assert_eq!(of(7, 300), ((0, 0), (7, 64)));
        assert_eq!(of(40, 50), ((0, 0), (40, 50)));
        // Nothing is better than anything else: the middle.
        assert_eq!(of(128, 264), ((32, 100), (64, 64)));
        assert_eq!(of(1, 1), ((0, 0), (1, 1)));
    }

    #[test]
    fn crops_keep_depth_and_refuse_what_is_outside() {
        let image = half_textured(0.1).with_depth(super::super::Depth::Sixteen);
        let part = image.crop((3, 5), (2, 4)).unwrap();
        assert_eq!((part.shape(), part.depth()), ((3, 2, 4), image.depth()));
        for c in 0..3 {
            let expected = image.values()[c * 160 * 320 + 4 * 320 + 6];
            assert_eq!(part.values()[c * 8 + 4 + 1], expected);
        }
        for (at, size) in [((0, 0), (0, 1)), ((160, 0), (1, 1)), ((0, usize::MAX), (1, 2))] {
            let error = image.crop(at, size).unwrap_err().to_string();
            assert!(error.contains("160x320, or a part of it"), "{error}");
        }
    }
}
