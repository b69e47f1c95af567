//! Denoising an image in its own memory, for images that are denoised in tiles.

use super::{
    class_tensor,
    clipping::Clipping,
    level::{conditioning_sigma, is_unchanged, knows_clipping, limited, square, within},
    sigma_tensor,
    source::{Part, Source},
    tiles::{TILE, Tiles},
    to_image, to_tensor,
};
use crate::checkpoint::ModelInfo;
use crate::image::{Image, ImageError};
use crate::model::{Architecture, Predict, Query};
use crate::progress::{Monitor, Piece};
use burn::tensor::Device;
use std::ops::Range;

/// Bytes of memory that an image and the tiles that are worked on should not exceed, where this
/// leaves a tile.
const MEMORY: usize = 900 << 20;
/// Rows whose corrections are measured or shortened at once.
const ROWS: usize = 64;

/// As [`denoise_any`](super::denoise_any), in tiles.
pub(super) fn denoise(
    model: &(impl Predict + Sync),
    info: &ModelInfo,
    noisy: Image,
    sigma: f64,
    label: Option<usize>,
    device: &Device,
    monitor: &mut dyn Monitor,
) -> Result<Option<Image>, ImageError> {
    if is_unchanged(info, sigma) {
        return Ok(Some(noisy));
    }
    // A model with other channels than those of an image is an error here, not in every tile.
    Image::filled(1, 1, 1, 0.0)?.to_channels(info.data.channels)?;
    let (shape, depth) = (noisy.shape(), noisy.depth());
    let (channels, height, width) = shape;
    let is_grey = channels == 3 && noisy.is_grey();
    // How many pieces, and the channels of each.
    let (count, of_each) = match (is_grey, channels > info.data.channels) {
        (true, _) => (1, 1),
        (false, true) => (channels, 1),
        (false, false) => (1, channels),
    };
    let pieces: Vec<Range<usize>> = (0..count).map(|c| c..c + of_each).collect();
    let (source, mut values) = Source::new(noisy);
    let held = source.bytes() + size_of_val(&values[..]);
    let at_once = MEMORY.saturating_sub(held) / tile_bytes(&info.network).max(1);
    let size = (height, width);
    let tiles = Tiles::new(size, info.network.receptive_field(), at_once.max(1));
    let label = label.map(|label| class_tensor(label, device));
    let query =
        Query { denoise: label.is_none(), class_conditional: label.as_ref(), ..Query::default() };
    for (i, channels) in pieces.iter().enumerate() {
        let range = [i as f64 / pieces.len() as f64, 1.0 / pieces.len() as f64];
        let mut piece = Piece { monitor: &mut *monitor, task: None, range };
        let input = Input::new(info, &source, channels.clone(), sigma);
        let output = &mut values[channels.start * height * width..channels.end * height * width];
        let tile = |part| input.denoised(model, info, part, &query, device);
        if tiles.denoise(output, device, &mut piece, tile).is_none() {
            return Ok(None);
        }
        input.correct(output);
    }
    if is_grey {
        values.copy_within(..height * width, height * width);
        values.copy_within(..height * width, 2 * height * width);
    }
    Ok(Some(Image::new(shape, values)?.with_depth(depth)))
}

/// About the bytes that a tile takes while it is worked on; 0 where the network is not known. In
/// every block the joint model keeps two activations for its adjoint pass, and before the blocks
/// one; about four of the largest are there besides.
fn tile_bytes(network: &Architecture) -> usize {
    let sizes = network.activations([TILE, TILE]);
    let kept = 2 * sizes.iter().skip(1).sum::<usize>() + sizes.first().unwrap_or(&0);
    size_of::<f32>() * (kept + 4 * sizes.iter().max().unwrap_or(&0))
}

/// The network's input of an image, or of one of its channels.
struct Input<'s> {
    source: &'s Source<'s>,
    channels: Range<usize>,
    clipping: Option<Clipping>,
    /// The level that the network is conditioned on.
    level: f64,
    /// The share of its correction that is applied.
    share: f64,
    /// The image's noise level.
    sigma: f64,
}

impl<'s> Input<'s> {
    fn new(info: &ModelInfo, source: &'s Source<'s>, channels: Range<usize>, sigma: f64) -> Self {
        let clipping = if knows_clipping(info) { None } else { source.clipping(&channels, sigma) };
        let (level, share) = within(info, conditioning_sigma(info, channels.len(), sigma));
        Self { source, channels, clipping, level, share, sigma }
    }

    /// A part of the image with clipped values replaced by their means.
    fn part(&self, part: Part) -> Image {
        self.source.part(&self.channels, part, self.clipping.as_ref())
    }

    /// A part, denoised by itself; nothing from a model that does not denoise.
    fn denoised(
        &self,
        model: &impl Predict,
        info: &ModelInfo,
        part: Part,
        query: &Query<'_>,
        device: &Device,
    ) -> Option<Image> {
        let y = to_tensor(&self.part(part).to_channels(info.data.channels).ok()?, device);
        let found = model.predict(&y, &sigma_tensor(self.level, device), query);
        let denoised = to_image(found.class_conditional.or(found.denoised)?);
        denoised.to_channels(self.channels.len()).ok()
    }

    /// Shortens the correction of denoised channels where it is not to be applied as it is.
    fn correct(&self, denoised: &mut [f32]) {
        let count = denoised.len() as f64;
        let mut sum = 0.0;
        self.each_pair(denoised, |y, denoised| sum += square(self.share, y, *denoised));
        let share = limited(self.share, sum / count, count, self.sigma);
        if share != 1.0 {
            self.each_pair(denoised, |y, denoised| *denoised = y + share as f32 * (*denoised - y));
        }
    }

    /// Calls `visit` with every noisy and every denoised value.
    fn each_pair(&self, denoised: &mut [f32], mut visit: impl FnMut(f32, &mut f32)) {
        let (height, width) = self.source.size();
        for top in (0..height).step_by(ROWS) {
            let rows = ROWS.min(height - top);
            let y = self.part(Part { top, left: 0, height: rows, width });
            let bands = y.values().chunks_exact(rows * width);
            for (band, plane) in bands.zip(denoised.chunks_exact_mut(height * width)) {
                let denoised = &mut plane[top * width..][..rows * width];
                band.iter().zip(denoised).for_each(|(y, denoised)| visit(*y, denoised));
            }
        }
    }
}
