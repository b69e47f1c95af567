//! How an image `[pixels, channels]` is walked: as rows of a whole number of vectors that repeat the channels,
//! in segments that stay in the cache and that several threads can share.

use std::ops::Range;

use rayon::prelude::*;

use super::NormShape;

/// Lanes of a row that a loop sums at a time, in accumulators on the stack.
pub(super) const TILE: usize = 64;

/// Values of a segment, rounded to whole rows.
const SEGMENT: usize = 16 * 1024;

/// Rows of an image and their segments. They depend on the shape alone and never on the threads, so that
/// sums over them do not either.
#[derive(Clone, Copy)]
pub(super) struct Rows {
    channels: usize,
    width: usize,
    /// Values of a row, a multiple of the channels.
    pub(super) row: usize,
    image: usize,
    segment: usize,
    /// Whether the segments of an image are spread over the threads, instead of the images.
    split: bool,
}

impl Rows {
    pub(super) fn new(s: &NormShape) -> Self {
        // Whole tiles where that does not make rows long.
        let pixels = (1..=TILE).find(|n| (n * s.channels).is_multiple_of(TILE)).unwrap_or(1);
        let pixels = if pixels * s.channels > 1024 { TILE.div_ceil(s.channels) } else { pixels };
        let row = pixels * s.channels;
        let image = s.pixels * s.channels;
        Self {
            channels: s.channels,
            width: s.channels / s.groups,
            row,
            image,
            segment: row * (SEGMENT / row).max(1),
            split: s.batch < 2 * rayon::current_num_threads(),
        }
    }

    /// Calls `task` for every image, on several threads if there are enough images and values.
    pub(super) fn images<T: Send>(&self, images: Vec<T>, task: impl Fn(usize, T) + Sync) {
        if self.split || images.len() * self.image < SEGMENT {
            images.into_iter().enumerate().for_each(|(n, image)| task(n, image));
        } else {
            images.into_par_iter().enumerate().for_each(|(n, image)| task(n, image));
        }
    }

    fn segments(&self) -> usize {
        self.image.div_ceil(self.segment)
    }

    fn range(&self, segment: usize) -> Range<usize> {
        segment * self.segment..((segment + 1) * self.segment).min(self.image)
    }

    /// Sums of `K` kinds for every channel of an image: `[K][channels]`. `sum` adds those of a segment for
    /// every place in a row.
    pub(super) fn sums<const K: usize>(&self, sum: impl Fn(Range<usize>, &mut [f64]) + Sync) -> Vec<f64> {
        let folded = |segment| {
            let mut lanes = vec![0.0; K * self.row];
            sum(self.range(segment), &mut lanes);
            self.fold(&lanes)
        };
        if self.split && self.segments() > 1 {
            let parts: Vec<_> = (0..self.segments()).into_par_iter().map(folded).collect();
            total(K * self.channels, parts.into_iter())
        } else {
            total(K * self.channels, (0..self.segments()).map(folded))
        }
    }

    /// As [`Rows::sums`], for a `sum` that also writes its segment of `y`.
    pub(super) fn sums_writing<const K: usize>(
        &self,
        y: &mut [f32],
        sum: impl Fn(Range<usize>, &mut [f32], &mut [f64]) + Sync,
    ) -> Vec<f64> {
        let folded = |(segment, y): (usize, &mut [f32])| {
            let mut lanes = vec![0.0; K * self.row];
            sum(self.range(segment), y, &mut lanes);
            self.fold(&lanes)
        };
        if self.split && self.segments() > 1 {
            let parts: Vec<_> = y.par_chunks_mut(self.segment).enumerate().map(folded).collect();
            total(K * self.channels, parts.into_iter())
        } else {
            total(K * self.channels, y.chunks_mut(self.segment).enumerate().map(folded))
        }
    }

    /// Adds the places of a row that hold the same channel.
    fn fold(&self, lanes: &[f64]) -> Vec<f64> {
        let kinds = lanes.chunks_exact(self.row);
        kinds
            .flat_map(|lanes| {
                let mut sums = vec![0.0; self.channels];
                for pixel in lanes.chunks_exact(self.channels) {
                    sums.iter_mut().zip(pixel).for_each(|(sum, lane)| *sum += lane);
                }
                sums
            })
            .collect()
    }

    /// Calls `write` for every segment of the outputs `y` of an image.
    pub(super) fn write<const N: usize>(
        &self,
        y: [&mut [f32]; N],
        write: impl Fn(Range<usize>, [&mut [f32]; N]) + Sync,
    ) {
        let mut outputs = y.map(|y| y.chunks_mut(self.segment));
        let mut parts: Vec<_> = (0..self.segments())
            .map(|i| (self.range(i), outputs.each_mut().map(|y| y.next().expect("as many as segments"))))
            .collect();
        if self.split && parts.len() > 1 {
            parts.into_par_iter().for_each(|(range, y)| write(range, y));
        } else {
            // The last segment is the one that the pass before has left in the cache.
            parts.drain(..).rev().for_each(|(range, y)| write(range, y));
        }
    }

    /// `N` constants of every channel, repeated along a row: `[N][row]`.
    pub(super) fn table<const N: usize>(&self, constants: impl Fn(usize) -> [f64; N]) -> Vec<f32> {
        let mut table = vec![0.0; N * self.row];
        for c in 0..self.channels {
            for (kind, value) in constants(c).into_iter().enumerate() {
                for place in table[kind * self.row..][..self.row][c..].iter_mut().step_by(self.channels) {
                    *place = value as f32;
                }
            }
        }
        table
    }

    /// The group of a channel.
    pub(super) fn group(&self, channel: usize) -> usize {
        channel / self.width
    }

    /// Means over a group of `K` kinds, from what every channel adds up to: `[groups][K]`.
    pub(super) fn means<const K: usize>(&self, of_channel: impl Fn(usize) -> [f64; K]) -> Vec<[f64; K]> {
        let count = (self.image / self.channels * self.width) as f64;
        (0..self.channels / self.width)
            .map(|group| {
                let mut sums = [0.0; K];
                for c in group * self.width..(group + 1) * self.width {
                    sums.iter_mut().zip(of_channel(c)).for_each(|(sum, value)| *sum += value);
                }
                sums.map(|sum| sum / count)
            })
            .collect()
    }
}

/// The parts added in their order.
fn total(len: usize, parts: impl Iterator<Item = Vec<f64>>) -> Vec<f64> {
    let mut sums = vec![0.0; len];
    for part in parts {
        sums.iter_mut().zip(part).for_each(|(sum, value)| *sum += value);
    }
    sums
}
