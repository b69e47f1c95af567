//! How loops walk an image `[pixels, channels]`: in rows whose length is a multiple of the channels
//! and usually of the vector length, in segments that stay in the cache and that several threads
//! can share.

use std::ops::Range;

use crate::scratch::Scratch;
use crate::tasks;

/// Lanes of a row that a loop sums at a time, in accumulators on the stack.
pub(crate) const TILE: usize = 64;

/// Least number of values of a table of a writing loop, so that it seldom starts over.
const TABLE: usize = 256;

/// Values of a segment, rounded down to full tables.
const SEGMENT: usize = 16 * 1024;

/// Rows of an image and their segments. They depend on the shape alone and never on the threads, so
/// that sums over them do not either.
#[derive(Clone, Copy)]
pub(crate) struct Rows {
    channels: usize,
    width: usize,
    /// Values of a row, a multiple of the channels.
    pub(crate) row: usize,
    /// Values of a table of a writing loop, a multiple of the row.
    table: usize,
    image: usize,
    segment: usize,
    /// Whether the segments of an image are spread over the threads, instead of the images.
    split: bool,
}

impl Rows {
    /// The rows of images `[batch, pixels, channels]` with `groups` of channels.
    pub(crate) fn new(batch: usize, pixels: usize, channels: usize, groups: usize) -> Self {
        // A multiple of the tile where that does not make rows long.
        let in_tiles = (1..=TILE).find(|n| (n * channels).is_multiple_of(TILE)).unwrap_or(TILE);
        let in_row = if in_tiles * channels > 1024 { TILE.div_ceil(channels) } else { in_tiles };
        let row = in_row * channels;
        let table = row * TABLE.div_ceil(row);
        let (image, segment) = (pixels * channels, table * (SEGMENT / table).max(1));
        let split = image > segment && batch < 2 * rayon::current_num_threads();
        Self { channels, width: channels / groups, row, table, image, segment, split }
    }

    /// Calls `task` for every image, on several threads if there are enough images and values.
    pub(crate) fn images<T: Send>(&self, images: Vec<T>, task: impl Fn(usize, T) + Sync + Send) {
        if self.split || images.len() * self.image < SEGMENT {
            images.into_iter().enumerate().for_each(|(n, image)| task(n, image));
        } else {
            tasks::items(images, task);
        }
    }

    fn segments(&self) -> usize {
        self.image.div_ceil(self.segment)
    }

    fn range(&self, segment: usize) -> Range<usize> {
        segment * self.segment..((segment + 1) * self.segment).min(self.image)
    }

    /// Sums of `K` kinds for every channel of an image: `[K][channels]`. `sum` adds those of a
    /// segment for every position in a row to its last argument.
    pub(crate) fn read_sums<const K: usize>(
        &self,
        sum: impl Fn(Range<usize>, &mut [f64]) + Sync,
    ) -> Vec<f64> {
        let segments = vec![(); self.segments()];
        self.sums_of::<K, _>(segments, |range, (), lanes| sum(range, lanes))
    }

    /// As [`Rows::read_sums`], for a `sum` that may leave intermediate values in its part of `y`.
    pub(crate) fn sums<const K: usize>(
        &self,
        y: &mut [f32],
        sum: impl Fn(Range<usize>, &mut [f32], &mut [f64]) + Sync,
    ) -> Vec<f64> {
        self.sums_of::<K, _>(y.chunks_mut(self.segment).collect(), sum)
    }

    fn sums_of<const K: usize, T: Send>(
        &self,
        segments: Vec<T>,
        sum: impl Fn(Range<usize>, T, &mut [f64]) + Sync,
    ) -> Vec<f64> {
        let part = |segment, y, lanes: &mut [f64]| {
            sum(self.range(segment), y, lanes);
            self.fold(lanes);
        };
        let mut total = vec![0.0; K * self.channels];
        let mut add = |lanes: &[f64]| {
            for (total, lanes) in
                total.chunks_exact_mut(self.channels).zip(lanes.chunks_exact(self.row))
            {
                total.iter_mut().zip(lanes).for_each(|(total, lane)| *total += lane);
            }
        };
        if self.split {
            let mut lanes = vec![0.0; segments.len() * K * self.row];
            let parts = segments.into_iter().zip(lanes.chunks_mut(K * self.row));
            tasks::items(parts, |segment, (y, lanes)| part(segment, y, lanes));
            // Added in their order, whichever is ready first.
            lanes.chunks(K * self.row).for_each(add);
        } else {
            let mut lanes = vec![0.0; K * self.row];
            for (segment, y) in segments.into_iter().enumerate() {
                lanes.fill(0.0);
                part(segment, y, &mut lanes);
                add(&lanes);
            }
        }
        total
    }

    /// Adds the positions of a row that hold the same channel to the first of them.
    fn fold(&self, lanes: &mut [f64]) {
        for lanes in lanes.chunks_exact_mut(self.row) {
            let (first, rest) = lanes.split_at_mut(self.channels);
            for pixel in rest.chunks_exact(self.channels) {
                first.iter_mut().zip(pixel).for_each(|(sum, lane)| *sum += lane);
            }
        }
    }

    /// Calls `write` for every segment of the outputs `y` of an image.
    pub(crate) fn write<const N: usize>(
        &self,
        y: [&mut [f32]; N],
        write: impl Fn(Range<usize>, [&mut [f32]; N]) + Sync + Send,
    ) {
        let mut outputs = y.map(|y| y.chunks_mut(self.segment));
        let parts: Vec<_> = (0..self.segments())
            .map(|i| {
                (self.range(i), outputs.each_mut().map(|y| y.next().expect("as many as segments")))
            })
            .collect();
        if self.split {
            tasks::items(parts, |_, (range, y)| write(range, y));
        } else {
            // The last segment is the one that the pass before has left in the cache.
            parts.into_iter().rev().for_each(|(range, y)| write(range, y));
        }
    }

    /// A constant of every channel, repeated along a row.
    pub(crate) fn along_row(&self, constant: impl Fn(usize) -> f64) -> Scratch {
        self.repeat(self.row, |c| [constant(c)])
    }

    /// `N` constants of every channel, each repeated along a table: `[N][table]`.
    pub(crate) fn tables<const N: usize>(&self, constants: impl Fn(usize) -> [f64; N]) -> Scratch {
        self.repeat(self.table.min(self.image), constants)
    }

    fn repeat<const N: usize>(&self, len: usize, constants: impl Fn(usize) -> [f64; N]) -> Scratch {
        let mut table = Scratch::new(N * len);
        for c in 0..self.channels {
            for (kind, value) in constants(c).into_iter().enumerate() {
                table[kind * len + c] = value as f32;
            }
        }
        for row in table.chunks_exact_mut(len) {
            let (first, rest) = row.split_at_mut(self.channels);
            rest.chunks_exact_mut(self.channels).for_each(|pixel| pixel.copy_from_slice(first));
        }
        table
    }

    /// The group of a channel.
    pub(crate) fn group(&self, channel: usize) -> usize {
        channel / self.width
    }

    /// Means over a group of `K` kinds, from the sums of every channel: `[groups][K]`.
    pub(crate) fn means<const K: usize>(
        &self,
        of_channel: impl Fn(usize) -> [f64; K],
    ) -> Vec<[f64; K]> {
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

/// Accumulators of a tile, on the boundary of a cache line.
#[repr(align(64))]
pub(crate) struct Sums<T, const K: usize>(pub(crate) [[T; TILE]; K]);

impl<T: Copy + Into<f64>, const K: usize> Sums<T, K> {
    /// Adds the accumulators, which belong to the positions from `start` on, to the `sums` of the
    /// row.
    #[inline(always)]
    pub(crate) fn add_to(&self, sums: &mut [f64], start: usize, row: usize) {
        let width = TILE.min(row - start);
        for (kind, acc) in self.0.iter().enumerate() {
            let sums = &mut sums[kind * row + start..][..width];
            sums.iter_mut().zip(acc).for_each(|(sum, &value)| *sum += value.into());
        }
    }
}
