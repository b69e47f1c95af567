//! What JPEG does to an image, without writing a file.

use crate::image::cosine::{SIDE, cosines, from_cosines};
use crate::image::{Image, ImageError};
use crate::range::{denormalise, normalise};

pub(in crate::image) const AREA: usize = SIDE * SIDE;
/// The colour difference of grey.
const GREY: f32 = 128.0 / 255.0;

/// The example quantisation tables of ITU-T T.81, annex K.1, row by row, which nearly all encoders
/// scale.
pub(in crate::image) const LUMA: [u8; AREA] = [
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113,
    92, 49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
];
pub(in crate::image) const CHROMA: [u8; AREA] = [
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99,
    47, 66, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
];

/// The JPEG compression of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jpeg {
    /// Quality from 1 to 100, as the Independent JPEG Group's program counts it.
    pub quality: u8,
    /// Whether colour differences are stored at half the resolution in both directions (4:2:0).
    pub subsampled: bool,
    /// Rows and columns, below 8, by which the grid of blocks begins before the image: a patch cut
    /// from a photograph has any.
    pub offset: (usize, usize),
}

impl Jpeg {
    /// A quality, without subsampling, for an image that is stored as it is.
    ///
    /// ```
    /// use miyasawa::image::camera::Jpeg;
    /// assert_eq!(Jpeg::new(90).quality, 90);
    /// ```
    pub fn new(quality: u8) -> Self {
        Self { quality, subsampled: false, offset: (0, 0) }
    }

    /// The image as it is read back from a JPEG file of it: with 8 bits before and after. A grey
    /// image is compressed as grey.
    ///
    /// ```
    /// use miyasawa::image::{Image, camera::Jpeg};
    /// let image = Image::filled(3, 16, 16, 0.2)?.with_noise(0.2, 1)?;
    /// let stored = Jpeg::new(90).apply(&image)?;
    /// assert!(stored != image && stored.shape() == image.shape());
    /// # Ok::<(), miyasawa::image::ImageError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// None for an image that [`Image::new`] accepts.
    pub fn apply(&self, image: &Image) -> Result<Image, ImageError> {
        let colour = image.to_channels(3)?;
        let bytes = colour.values().iter().map(|value| f32::from(denormalise(*value)) / 255.0);
        let mut planes: Vec<f32> = bytes.collect();
        self.round_trip(&mut planes, (image.height(), image.width()));
        // A cast saturates.
        let values = planes.into_iter().map(|value| normalise((255.0 * value).round() as u8));
        let shape = (3, image.height(), image.width());
        let stored = Image::new(shape, values.collect())?.with_depth(image.depth());
        stored.to_channels(image.channels())
    }

    /// Replaces an image (planes of red, green and blue with values in [0, 1]) by what is read back
    /// from a JPEG file of it, up to rounding: colours are transformed to luma and colour
    /// differences (JFIF), blocks of 8 by 8 to cosines, and these rounded to multiples of the
    /// table's steps. Red, green and blue are not rounded and may leave [0, 1] by a little.
    ///
    /// # Panics
    ///
    /// If there are not three planes of that size.
    pub(in crate::image) fn round_trip(&self, planes: &mut [f32], (height, width): (usize, usize)) {
        let [luma, chroma] = [&LUMA, &CHROMA].map(|table| self.steps(table));
        through_luma(planes, (height, width), |y, differences| {
            compress(y, (height, width), self.offset, &luma);
            for plane in differences {
                if self.subsampled {
                    let half = (self.offset.0 / 2, self.offset.1 / 2);
                    let mut small = halved(plane, height, width);
                    compress(&mut small, (height.div_ceil(2), width.div_ceil(2)), half, &chroma);
                    doubled(&small, plane, height, width);
                } else {
                    compress(plane, (height, width), self.offset, &chroma);
                }
            }
        });
    }

    /// As [`round_trip`](Self::round_trip) without rounding: only the colour's resolution is lost,
    /// if it is subsampled.
    pub(super) fn subsample(&self, planes: &mut [f32], (height, width): (usize, usize)) {
        if self.subsampled {
            through_luma(planes, (height, width), |_, differences| {
                for plane in differences {
                    doubled(&halved(plane, height, width), plane, height, width);
                }
            });
        }
    }

    /// The steps of a table at the quality (the Independent JPEG Group's rule).
    fn steps(&self, table: &[u8; AREA]) -> [f32; AREA] {
        let quality = u32::from(self.quality.clamp(1, 100));
        let scale = if quality < 50 { 5000 / quality } else { 200 - 2 * quality };
        table.map(|entry| ((u32::from(entry) * scale + 50) / 100).clamp(1, 255) as f32)
    }
}

/// Changes planes of red, green and blue as luma and two differences of colour (JFIF).
///
/// # Panics
///
/// If there are not three planes of that size.
fn through_luma(
    planes: &mut [f32],
    (height, width): (usize, usize),
    change: impl FnOnce(&mut [f32], [&mut [f32]; 2]),
) {
    let size = height * width;
    assert_eq!(planes.len(), 3 * size, "three planes of {height}x{width}");
    let (red, rest) = planes.split_at_mut(size);
    let (green, blue) = rest.split_at_mut(size);
    for ((r, g), b) in red.iter_mut().zip(green.iter_mut()).zip(blue.iter_mut()) {
        let y = 0.299 * *r + 0.587 * *g + 0.114 * *b;
        (*b, *g) = (GREY + (*b - y) / 1.772, GREY + (*r - y) / 1.402);
        *r = y;
    }
    change(red, [green, blue]);
    let (luma, rest) = planes.split_at_mut(size);
    let (to_red, to_blue) = rest.split_at_mut(size);
    for ((y, r), b) in luma.iter_mut().zip(to_red).zip(to_blue) {
        let (red, blue) = (*y + 1.402 * (*r - GREY), *y + 1.772 * (*b - GREY));
        (*r, *b) = ((*y - 0.299 * red - 0.114 * blue) / 0.587, blue);
        *y = red;
    }
}

/// The nearest whole number of a value below 2^22 in size: beyond 2^23 numbers are whole. A plain
/// addition, so that it is done for many values at once; `round` is a call on processors before
/// SSE4.1.
#[inline(always)]
fn nearest(value: f32) -> f32 {
    const WHOLE: f32 = 1.5 * (1 << 23) as f32;
    (value + WHOLE) - WHOLE
}

/// Rounds the cosines of every block of a plane to multiples of the steps. Values are rounded to 8
/// bits before and after, as files have it.
fn compress(
    plane: &mut [f32],
    (height, width): (usize, usize),
    (top, left): (usize, usize),
    steps: &[f32; AREA],
) {
    let inverse: [f32; AREA] = steps.map(|step| 1.0 / step);
    // Rows and columns beyond the image repeat its last, as encoders do.
    let within = |start: usize, offset: usize, len: usize| {
        [0, 1, 2, 3, 4, 5, 6, 7].map(|i| (start + i).saturating_sub(offset).min(len - 1))
    };
    for y in (0..height + top).step_by(SIDE) {
        let rows = within(y, top, height);
        for x in (0..width + left).step_by(SIDE) {
            let columns = within(x, left, width);
            let block = rows.map(|y| {
                let row = &plane[y * width..][..width];
                columns.map(|x| nearest(255.0 * row[x]) - 128.0)
            });
            let mut weights = cosines(&block);
            for ((row, steps), inverse) in
                weights.iter_mut().zip(steps.chunks_exact(SIDE)).zip(inverse.chunks_exact(SIDE))
            {
                for ((value, step), inverse) in row.iter_mut().zip(steps).zip(inverse) {
                    *value = nearest(*value * inverse) * step;
                }
            }
            let block = from_cosines(&weights);
            for (dy, values) in block.iter().enumerate() {
                // Places outside the image are not written.
                let Some(at) = (y + dy).checked_sub(top).filter(|at| *at < height) else {
                    continue;
                };
                for (dx, value) in values.iter().enumerate() {
                    if let Some(to) = (x + dx).checked_sub(left).filter(|to| *to < width) {
                        plane[at * width + to] = (nearest(*value) + 128.0) / 255.0;
                    }
                }
            }
        }
    }
}

/// The means of squares of two by two pixels; the last row or column is repeated where one lacks.
fn halved(plane: &[f32], height: usize, width: usize) -> Vec<f32> {
    let (rows, columns) = (height.div_ceil(2), width.div_ceil(2));
    let at = |y: usize, x: usize| plane[y.min(height - 1) * width + x.min(width - 1)];
    let mean =
        |y: usize, x: usize| 0.25 * (at(y, x) + at(y, x + 1) + at(y + 1, x) + at(y + 1, x + 1));
    (0..rows).flat_map(|y| (0..columns).map(move |x| mean(2 * y, 2 * x))).collect()
}

/// Fills a plane from one of half the size: three quarters of the nearest value and one quarter of
/// the next in each direction, as decoders do.
fn doubled(small: &[f32], plane: &mut [f32], height: usize, width: usize) {
    let (rows, columns) = (height.div_ceil(2), width.div_ceil(2));
    let next = |i: usize, len: usize| {
        let step =
            if i.is_multiple_of(2) { (i / 2).saturating_sub(1) } else { (i / 2 + 1).min(len - 1) };
        (i / 2, step)
    };
    for y in 0..height {
        let (near, far) = next(y, rows);
        let [near, far] = [near, far].map(|row| &small[row * columns..][..columns]);
        let mix = |x: usize| 0.75 * near[x] + 0.25 * far[x];
        for (x, value) in plane[y * width..][..width].iter_mut().enumerate() {
            let (near, far) = next(x, columns);
            *value = 0.75 * mix(near) + 0.25 * mix(far);
        }
    }
}
