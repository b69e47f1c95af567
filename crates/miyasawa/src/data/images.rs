//! From encoded images to 8-bit images of one size and number of channels.

use std::path::PathBuf;

use rayon::prelude::*;

use super::broken::Broken;
use super::dataset::Dataset;
use super::encoded::Encoded;
use super::error::DataError;
use super::fit;
use crate::image::{DecodeError, decode, planes, resize_crop};
use crate::range::denormalise;

/// How images of any size are brought to one size while they are decoded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Bring {
    /// Not at all.
    Keep,
    /// [`super::FitMode::Resize`] to this (height, width).
    Cover((usize, usize)),
    /// [`super::FitMode::ResizeCrop`] to this (height, width) with this share.
    Crop((usize, usize), f64),
}

/// One decoded image: 8-bit values (C, H, W).
pub(super) struct Tile {
    pub channels: usize,
    pub size: (usize, usize),
    pub values: Vec<u8>,
}

/// Decodes an image and brings it to a size; one that has the size is left as it is.
pub(super) fn tile(bytes: &[u8], bring: Bring) -> Result<Tile, DecodeError> {
    let decoded = decode(bytes)?;
    let (channels, size) = (decoded.channels, (decoded.height, decoded.width));
    Ok(match bring {
        Bring::Cover(to) if to != size => {
            let floats = crate::image::cover(&decoded.into_floats(), channels, size, to);
            Tile { channels, size: to, values: floats.into_iter().map(denormalise).collect() }
        }
        Bring::Crop(to, share) if to != size => {
            let cropped = resize_crop(&decoded.into_samples(), channels, size, to, share);
            Tile { channels, size: to, values: planes(&cropped, channels, |v| v) }
        }
        _ => Tile { channels, size, values: decoded.into_bytes() },
    })
}

/// Decodes a whole set. A broken image's place is taken by the next whole one, or by none if `whole_only`: the others keep
/// theirs.
///
/// The set is in colour as soon as one image is, unless `channels` says otherwise. The error reported is that of
/// the first image in order, whichever thread met one first.
pub(super) fn build(
    set: &Encoded,
    bring: Bring,
    channels: Option<usize>,
    broken: &Broken,
    whole_only: bool,
) -> Result<Dataset, DataError> {
    let tiles: Vec<Result<Result<Tile, DataError>, DataError>> =
        (0..set.len()).into_par_iter().map(|i| set.decode(i, |bytes| tile(bytes, bring))).collect();
    let mut whole: Vec<Option<Tile>> = Vec::with_capacity(tiles.len());
    for (i, tile) in tiles.into_iter().enumerate() {
        match tile? {
            Ok(tile) => whole.push(Some(tile)),
            Err(error) => {
                broken.add(i, || set.path_of(i), error)?;
                whole.push(None);
            }
        }
    }
    let Some((first, model)) = whole.iter().enumerate().find_map(|(i, tile)| tile.as_ref().map(|t| (i, t)))
    else {
        return Err(DataError::none_whole(&set.name));
    };
    let (height, width) = model.size;
    for (i, tile) in whole.iter().enumerate() {
        if let Some(tile) = tile.as_ref().filter(|tile| tile.size != model.size) {
            return Err(mixed((set.path_of(first), model.size), (set.path_of(i), tile.size)));
        }
    }
    let seen = whole.iter().flatten().map(|tile| tile.channels).max().unwrap_or(1);
    let channels = channels.unwrap_or(seen);
    let mut pixels = Vec::with_capacity(whole.len() * channels * height * width);
    let (mut labels, mut kept) = (Vec::with_capacity(whole.len()), Vec::with_capacity(whole.len()));
    for i in (0..whole.len()).filter(|i| !whole_only || whole[*i].is_some()) {
        // There is a whole one, so that the search ends.
        let places = (i..whole.len()).chain(0..i);
        let Some((at, tile)) = places.into_iter().find_map(|at| Some((at, whole[at].as_ref()?))) else {
            continue;
        };
        fit::convert_channels(&tile.values, tile.channels, channels, &mut pixels);
        labels.push(set.entries[at].label);
        kept.push(i as u32);
    }
    Ok(Dataset::new(&set.name, (channels, height, width), set.classes.clone(), pixels, labels)?.placed(kept))
}

/// The error for images of two sizes.
pub(super) fn mixed(first: (PathBuf, (usize, usize)), odd: (PathBuf, (usize, usize))) -> DataError {
    DataError::MixedSizes { first: first.0, first_size: first.1, odd: odd.0, odd_size: odd.1 }
}
