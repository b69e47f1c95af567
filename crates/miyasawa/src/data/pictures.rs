//! A data set out of encoded pictures, decoded in parallel.

use std::borrow::Cow;
use std::path::PathBuf;

use rayon::prelude::*;

use super::batch::denormalise;
use super::dataset::Dataset;
use super::error::DataError;
use super::fit;
use super::source::LoadOptions;
use crate::picture::decode;

/// One decoded picture: 8-bit values (C, H, W).
struct Tile {
    channels: usize,
    size: (usize, usize),
    values: Vec<u8>,
}

/// Builds a data set of the pictures with the given labels. `fetch(i)` gives the path for messages and the file's bytes.
///
/// The set is in colour as soon as one picture is, unless the options say otherwise. The error reported is that of
/// the first picture in order, whichever thread met one first.
pub(super) fn build<'a>(
    name: &str,
    classes: Vec<String>,
    labels: &[u32],
    options: &LoadOptions,
    path_of: impl Fn(usize) -> PathBuf + Sync,
    fetch: impl Fn(usize) -> Result<Cow<'a, [u8]>, DataError> + Sync,
) -> Result<Dataset, DataError> {
    let count = labels.len();
    let limit = options.limit.unwrap_or(count).min(count);
    // The same choice as Dataset::subset, made before anything is decoded.
    let chosen: Vec<usize> = (0..limit).map(|i| (i as u64 * count as u64 / limit as u64) as usize).collect();
    let tiles: Vec<Result<Tile, DataError>> = chosen
        .par_iter()
        .map(|&i| {
            let decoded =
                decode(&fetch(i)?).map_err(|source| DataError::Picture { path: path_of(i), source })?;
            let (channels, size) = (decoded.channels, (decoded.height, decoded.width));
            Ok(match options.resize {
                Some(to) if to != size => {
                    let floats = crate::picture::cover(&decoded.into_floats(), channels, size, to);
                    Tile { channels, size: to, values: floats.into_iter().map(denormalise).collect() }
                }
                _ => Tile { channels, size, values: decoded.into_bytes() },
            })
        })
        .collect();
    let tiles = tiles.into_iter().collect::<Result<Vec<Tile>, DataError>>()?;
    let Some(first) = tiles.first() else {
        return Err(DataError::invalid(name, "at least one picture", "none"));
    };
    if let Some(odd) = tiles.iter().position(|tile| tile.size != first.size) {
        return Err(DataError::MixedSizes {
            first: path_of(chosen[0]),
            first_size: first.size,
            odd: path_of(chosen[odd]),
            odd_size: tiles[odd].size,
        });
    }
    let channels = tiles.iter().map(|tile| tile.channels).max().unwrap_or(1);
    let channels = options.channels.unwrap_or(channels);
    let (height, width) = first.size;
    let mut pixels = Vec::with_capacity(tiles.len() * channels * height * width);
    for tile in &tiles {
        fit::convert_channels(&tile.values, tile.channels, channels, &mut pixels);
    }
    let labels = chosen.iter().map(|&i| labels[i]).collect();
    Dataset::new(name, (channels, height, width), classes, pixels, labels)
}
