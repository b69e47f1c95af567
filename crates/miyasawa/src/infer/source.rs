//! The noisy image while it is denoised in tiles: its values in as few bytes as hold them, and
//! parts of it.

use super::{
    clipping::{Clipping, REACH},
    image_from_values,
};
use crate::image::Image;
use crate::range::{denormalise, denormalise_16, normalise, normalise_16};
use std::{borrow::Cow, ops::Range};

/// The values of an image, all of its channels.
enum Values<'v> {
    /// Every value is one of 256.
    Eight(Vec<u8>),
    /// Every value is one of 65,536.
    Sixteen(Vec<u16>),
    /// Any values.
    Float(Cow<'v, [f32]>),
}

/// A noisy image.
pub(super) struct Source<'v> {
    values: Values<'v>,
    height: usize,
    width: usize,
}

/// A rectangle of pixels. It may reach beyond the lower and right borders of the image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub top: usize,
    pub left: usize,
    pub height: usize,
    pub width: usize,
}

/// The pixel of a side that stands for pixel `at`: beyond the end, its mirror image.
fn mirrored(at: usize, side: usize) -> usize {
    if at < side { at } else { 2 * side - 2 - at }
}

impl Source<'static> {
    /// The image, and a buffer of as many zeros, for the denoised one: that of the values, unless
    /// they are numbers of more than 16 bits and stay where they are.
    pub fn new(image: Image) -> (Self, Vec<f32>) {
        let (_, height, width) = image.shape();
        let mut buffer = image.into_values();
        let values = if buffer.iter().all(|v| normalise(denormalise(*v)) == *v) {
            Values::Eight(buffer.iter().map(|v| denormalise(*v)).collect())
        } else if buffer.iter().all(|v| normalise_16(denormalise_16(*v)) == *v) {
            Values::Sixteen(buffer.iter().map(|v| denormalise_16(*v)).collect())
        } else {
            let zeros = vec![0.0; buffer.len()];
            Values::Float(Cow::Owned(std::mem::replace(&mut buffer, zeros)))
        };
        buffer.fill(0.0);
        (Self { values, height, width }, buffer)
    }
}

impl<'v> Source<'v> {
    /// An image that stays where it is.
    pub fn borrowed(image: &'v Image) -> Self {
        let (_, height, width) = image.shape();
        Self { values: Values::Float(Cow::Borrowed(image.values())), height, width }
    }

    /// Height and width.
    pub fn size(&self) -> (usize, usize) {
        (self.height, self.width)
    }

    /// Bytes of memory that it takes.
    pub fn bytes(&self) -> usize {
        match &self.values {
            Values::Eight(values) => values.len(),
            Values::Sixteen(values) => 2 * values.len(),
            Values::Float(values) => 4 * values.len(),
        }
    }

    /// Appends a range of the values.
    fn read(&self, range: Range<usize>, into: &mut Vec<f32>) {
        match &self.values {
            Values::Eight(values) => into.extend(values[range].iter().map(|v| normalise(*v))),
            Values::Sixteen(values) => into.extend(values[range].iter().map(|v| normalise_16(*v))),
            Values::Float(values) => into.extend_from_slice(&values[range]),
        }
    }

    /// The clipping of some of its channels by noise of a level.
    pub fn clipping(&self, channels: &Range<usize>, sigma: f64) -> Option<Clipping> {
        let plane = self.height * self.width;
        let range = channels.start * plane..channels.end * plane;
        match &self.values {
            Values::Eight(values) => {
                Clipping::of(values[range].iter().map(|v| normalise(*v)), sigma)
            }
            Values::Sixteen(values) => {
                Clipping::of(values[range].iter().map(|v| normalise_16(*v)), sigma)
            }
            Values::Float(values) => Clipping::of(values[range].iter().copied(), sigma),
        }
    }

    /// A part of some channels, clipped values replaced. Beyond the borders the image is mirrored.
    pub fn part(&self, channels: &Range<usize>, part: Part, clipping: Option<&Clipping>) -> Image {
        // Clipped values are replaced by what the pixels around them say.
        let margin = if clipping.is_some() { REACH } else { 0 };
        let with_margin = |from: usize, size: usize, side: usize| {
            let first = from.min(mirrored(from + size - 1, side));
            first.saturating_sub(margin)..(from + size + margin).min(side)
        };
        let rows = with_margin(part.top, part.height, self.height);
        let columns = with_margin(part.left, part.width, self.width);
        let width = columns.len();
        let across: Vec<usize> = (part.left..part.left + part.width)
            .map(|x| mirrored(x, self.width) - columns.start)
            .collect();
        let mut plane = Vec::with_capacity(rows.len() * width);
        let mut values = Vec::with_capacity(channels.len() * part.height * part.width);
        for channel in channels.clone() {
            plane.clear();
            for y in rows.clone() {
                let row = (channel * self.height + y) * self.width;
                self.read(row + columns.start..row + columns.end, &mut plane);
            }
            if let Some(clipping) = clipping {
                clipping.replace(&mut plane, width);
            }
            for y in part.top..part.top + part.height {
                let row = &plane[(mirrored(y, self.height) - rows.start) * width..][..width];
                values.extend(across.iter().map(|x| row[*x]));
            }
        }
        image_from_values((channels.len(), part.height, part.width), values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::evaluation_noise;

    fn image(values: Vec<f32>) -> Image {
        Image::new((3, 20, 30), values).unwrap()
    }

    #[test]
    fn values_take_as_few_bytes_as_hold_them() {
        let noise = evaluation_noise(1, 0, 0, 1, 3 * 20 * 30);
        let eight = noise.iter().map(|v| normalise(denormalise(*v))).collect::<Vec<_>>();
        let sixteen = noise.iter().map(|v| normalise_16(denormalise_16(*v))).collect::<Vec<_>>();
        for (values, bytes) in [(eight, 1), (sixteen, 2), (noise, 4)] {
            let (source, buffer) = Source::new(image(values.clone()));
            assert_eq!(source.bytes(), bytes * values.len());
            assert_eq!(buffer, vec![0.0; values.len()]);
            let all = Part { top: 0, left: 0, height: 20, width: 30 };
            assert_eq!(source.part(&(0..3), all, None).values(), values);
            let (of, all) = (image(values), Source::borrowed);
            let part = Part { top: 3, left: 25, height: 2, width: 8 };
            let found = source.part(&(1..2), part, None);
            assert_eq!(found, all(&of).part(&(1..2), part, None));
            let row = &of.values()[(20 + 3) * 30..][..30];
            assert_eq!(found.values()[..5], row[25..]);
            assert_eq!(found.values()[5..8], [row[28], row[27], row[26]]);
        }
    }

    /// Clipped values are replaced in a part as in the image.
    #[test]
    fn parts_of_a_clipped_image_are_those_of_the_replaced_image() {
        let noise = evaluation_noise(2, 0, 0, 1, 3 * 20 * 30);
        let clipped = image(noise.iter().map(|v| (0.7 + 0.5 * v).clamp(-1.0, 1.0)).collect());
        let replaced = super::super::clipping::unclipped(Cow::Borrowed(&clipped), 0.5);
        assert_ne!(*replaced, clipped);
        let source = Source::borrowed(&clipped);
        let clipping = source.clipping(&(0..3), 0.5);
        assert!(clipping.is_some());
        let whole = Source::borrowed(&replaced);
        for (top, left, height, width) in [(0, 0, 20, 30), (4, 7, 9, 12), (13, 22, 14, 12)] {
            let part = Part { top, left, height, width };
            let found = source.part(&(0..3), part, clipping.as_ref());
            assert_eq!(found, whole.part(&(0..3), part, None));
        }
    }
}
