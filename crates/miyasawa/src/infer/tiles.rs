//! Denoising images of any size: large ones in tiles.
//!
//! Tiles begin at multiples of [`ALIGN`] pixels, so that layers with a stride see the same squares
//! of pixels in every tile, and all have the same size, so that a mean over a tile has the same
//! weight everywhere; where they reach beyond the lower or right border, the image is mirrored. Of
//! a tile the outermost pixels, where the network sees its end instead of the image, are not used,
//! and across the rest of the overlap one tile fades into the next. The weights of the fading are
//! products of one for the row and one for the column. Tiles are computed in parallel and added in
//! their order: the result does not depend on the number of threads.

use super::source::{Part, Source};
use super::{class_tensor, image_from_values, sigma_tensor, to_image, to_tensor};
use crate::image::Image;
use crate::model::{Predict, Query};
use crate::parallel;
use crate::progress::{Monitor, Progress};
use burn::tensor::Device;

/// Largest side of an image that goes through the network at once.
pub(super) const WHOLE: usize = 512;
/// Side of the tiles of larger images: memory grows with the tile, not with the image.
pub(super) const TILE: usize = 256;
/// Pixels that neighbouring tiles share, at least.
const OVERLAP: usize = 32;
/// Outermost pixels of a tile that are not used, unless the network's receptive field is smaller.
const TRIM: usize = 8;
/// Tiles begin at multiples of this: the square of pixels that one of the last stage's values
/// covers, times the tile of Winograd's convolution, in a network of four stages.
const ALIGN: usize = 32;

/// The tiles along one side of an image.
struct Side {
    /// Length of the side.
    side: usize,
    /// Length of a tile.
    tile: usize,
    /// Where they begin.
    starts: Vec<usize>,
    /// The weight of each pixel of each tile; those of a pixel in all tiles add up to 1.
    weights: Vec<Vec<f32>>,
}

impl Side {
    fn new(side: usize, trim: usize) -> Self {
        if side <= TILE {
            return Self { side, tile: side, starts: vec![0], weights: vec![vec![1.0; side]] };
        }
        // As few tiles as cover the side, with overlaps that are as equal as the alignment allows.
        let last = (side - TILE).div_ceil(ALIGN);
        let gaps = last.div_ceil((TILE - OVERLAP) / ALIGN);
        let starts: Vec<usize> = (0..=gaps).map(|i| i * last / gaps * ALIGN).collect();
        let mut weights: Vec<Vec<f32>> = Vec::with_capacity(starts.len());
        let mut sums = vec![0.0f32; side];
        for (i, start) in starts.iter().enumerate() {
            // How far a pixel is on the way from the trimmed edge to where the overlap ends.
            let rise = |from_edge: usize, overlap: usize| {
                let way = (from_edge as f32 + 0.5 - trim as f32) / (overlap - 2 * trim) as f32;
                way.clamp(0.0, 1.0)
            };
            let left = i.checked_sub(1).map(|before| starts[before] + TILE - start);
            let right = starts.get(i + 1).map(|next| start + TILE - next);
            let weight = |x: usize| {
                let left = left.map_or(1.0, |overlap| rise(x, overlap));
                right.map_or(left, |overlap| left.min(rise(TILE - 1 - x, overlap)))
            };
            let of_tile: Vec<f32> = (0..TILE.min(side - start)).map(weight).collect();
            sums[*start..].iter_mut().zip(&of_tile).for_each(|(sum, weight)| *sum += weight);
            weights.push(of_tile);
        }
        for (start, of_tile) in starts.iter().zip(&mut weights) {
            of_tile.iter_mut().zip(&sums[*start..]).for_each(|(weight, sum)| *weight /= sum);
        }
        Self { side, tile: TILE, starts, weights }
    }
}

/// The tiles of an image.
pub(super) struct Tiles {
    rows: Side,
    columns: Side,
    /// The most tiles that are computed at once.
    at_once: usize,
}

impl Tiles {
    /// Those of an image of this size, at most `at_once` of them at a time; `receptive_field` is
    /// the network's, as
    /// [`Architecture::receptive_field`](crate::model::Architecture::receptive_field).
    pub fn new(
        (height, width): (usize, usize),
        receptive_field: Option<usize>,
        at_once: usize,
    ) -> Self {
        // With a network that looks no farther than half of the overlap the tiles are exact.
        let trim = receptive_field.filter(|radius| 2 * radius < OVERLAP).unwrap_or(TRIM);
        Self { rows: Side::new(height, trim), columns: Side::new(width, trim), at_once }
    }

    fn part(&self, i: usize) -> Part {
        let (row, column) = self.at(i);
        Part {
            top: self.rows.starts[row],
            left: self.columns.starts[column],
            height: self.rows.tile,
            width: self.columns.tile,
        }
    }

    fn count(&self) -> usize {
        self.rows.starts.len() * self.columns.starts.len()
    }

    /// The row and column of a tile.
    fn at(&self, i: usize) -> (usize, usize) {
        (i / self.columns.starts.len(), i % self.columns.starts.len())
    }

    /// Adds the weighted values of a tile to an image of this size.
    fn add(&self, i: usize, tile: &Image, output: &mut [f32]) {
        let ((row, column), (height, width)) = (self.at(i), (self.rows.side, self.columns.side));
        let (down, across) = (&self.rows.weights[row], &self.columns.weights[column]);
        let (top, left) = (self.rows.starts[row], self.columns.starts[column]);
        let planes = output.chunks_exact_mut(height * width);
        for (plane, tile) in planes.zip(tile.values().chunks_exact(self.rows.tile * tile.width())) {
            for ((y, share), from) in down.iter().enumerate().zip(tile.chunks(self.columns.tile)) {
                let to = &mut plane[(top + y) * width + left..][..across.len()];
                for ((to, value), weight) in to.iter_mut().zip(from).zip(across) {
                    *to += share * weight * value;
                }
            }
        }
    }

    /// Adds the denoised tiles to `output`, which is zero. The monitor is asked before the first
    /// and after each but the last; `None` if it stops the work, or a tile fails.
    pub fn denoise(
        &self,
        output: &mut [f32],
        device: &Device,
        monitor: &mut dyn Monitor,
        tile: impl Fn(Part) -> Option<Image> + Sync,
    ) -> Option<()> {
        let count = self.count();
        let mut proceed = |done: usize| {
            let stop = monitor.stop();
            if !stop {
                monitor.progress(&Progress::new("denoising", done as f64 / count as f64));
            }
            !stop
        };
        if !proceed(0) {
            return None;
        }
        let mut added = 0;
        parallel::with_workers(device, self.at_once, |workers| {
            parallel::in_order(
                workers,
                count,
                |i| tile(self.part(i)),
                |i, found| {
                    let Some(found) = found else { return false };
                    self.add(i, &found, output);
                    added = i + 1;
                    added == count || proceed(added)
                },
            );
        });
        (added == count).then_some(())
    }
}

/// Denoises an image at its own size: `D(y)`, or `D(y, label)`. An image larger than 512 pixels is
/// denoised in overlapping tiles of 256 that are blended; the monitor is asked between them and
/// gets the share that is done. `None` if it stops the work, or the model does not denoise, or not
/// for a class. `sigma` is as for [`classify`](super::classify); a `label` that is not one of the
/// classes selects no class: see [`Predictor::class`](crate::predictor::Predictor::class).
///
/// # Panics
/// If the image has other channels than the model's.
pub fn denoise(
    model: &(impl Predict + Sync),
    noisy: &Image,
    sigma: f64,
    label: Option<usize>,
    device: &Device,
    monitor: &mut dyn Monitor,
) -> Option<Image> {
    let label = label.map(|label| class_tensor(label, device));
    let query =
        Query { denoise: label.is_none(), class_conditional: label.as_ref(), ..Query::default() };
    let at_once = |part: &Image| {
        let found = model.predict(&to_tensor(part, device), &sigma_tensor(sigma, device), &query);
        found.class_conditional.or(found.denoised).map(to_image)
    };
    let (channels, height, width) = noisy.shape();
    if height <= WHOLE && width <= WHOLE {
        if monitor.stop() {
            return None;
        }
        monitor.progress(&Progress::new("denoising", 0.0));
        return at_once(noisy);
    }
    let source = Source::borrowed(noisy);
    let mut output = vec![0.0; noisy.values().len()];
    let tile = |part| at_once(&source.part(&(0..channels), part, None));
    Tiles::new((height, width), None, usize::MAX).denoise(&mut output, device, monitor, tile)?;
    Some(image_from_values(noisy.shape(), output))
}

#[cfg(test)]
mod tests;
