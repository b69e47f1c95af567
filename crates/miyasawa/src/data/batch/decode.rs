//! From files to 8-bit images of one size and number of channels.

use std::path::PathBuf;

use rayon::prelude::*;

use super::resize;
use crate::data::error::DataError;
use crate::data::options::TargetSize;
use crate::data::set::corrupt::CorruptLog;
use crate::data::set::dataset::Dataset;
use crate::data::set::image_files::ImageFiles;
use crate::image::{Decoded, Geometry, planes, resize_crop};
use crate::range::denormalise;

/// A decoded image: 8-bit values (C, H, W).
#[derive(Clone)]
pub(in crate::data) struct DecodedImage {
    pub geometry: Geometry,
    pub values: Vec<u8>,
}

impl std::fmt::Debug for DecodedImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DecodedImage({})", self.geometry)
    }
}

/// Resizes a decoded image; one that has the size is left as it is.
pub(in crate::data) fn resized(decoded: Decoded, target: TargetSize) -> DecodedImage {
    let (channels, size) = (decoded.channels, (decoded.height, decoded.width));
    match target {
        TargetSize::Cover(to) if to != size => {
            let floats = crate::image::cover(&decoded.into_floats(), channels, size, to);
            let values = floats.into_iter().map(denormalise).collect();
            DecodedImage { geometry: Geometry::new(channels, to.0, to.1), values }
        }
        TargetSize::Crop(to, share) if to != size => {
            let cropped = resize_crop(&decoded.into_samples(), channels, size, to, share);
            let values = planes(&cropped, channels, |v| v);
            DecodedImage { geometry: Geometry::new(channels, to.0, to.1), values }
        }
        _ => {
            let geometry = Geometry::new(channels, size.0, size.1);
            DecodedImage { geometry, values: decoded.into_bytes() }
        }
    }
}

/// Decodes a set into memory. The place of a corrupt image is taken by the next intact one, or
/// by none if `skip_corrupt`: the others keep their indices.
///
/// The set is in colour as soon as one image is, unless `channels` says otherwise. The error
/// reported is that of the first image in order, whichever thread met one first.
pub(in crate::data) fn decode_all(
    set: &ImageFiles,
    target: TargetSize,
    channels: Option<usize>,
    corrupt: &CorruptLog,
    skip_corrupt: bool,
) -> Result<Dataset, DataError> {
    let decode = |i| set.decode(i, |decoded| resized(decoded, target));
    let decoded: Vec<Result<Result<DecodedImage, DataError>, DataError>> =
        (0..set.len()).into_par_iter().map(decode).collect();
    let mut images: Vec<Option<DecodedImage>> = Vec::with_capacity(decoded.len());
    for (i, image) in decoded.into_iter().enumerate() {
        match image? {
            Ok(image) => images.push(Some(image)),
            Err(error) => {
                corrupt.add(i, || set.path_of(i), error)?;
                images.push(None);
            }
        }
    }
    let intact = || images.iter().enumerate().filter_map(|(i, image)| Some((i, image.as_ref()?)));
    let Some((first, model)) = intact().next() else {
        return Err(DataError::none_intact(&set.name));
    };
    let size = model.geometry.size();
    if let Some((i, odd)) = intact().find(|(_, image)| image.geometry.size() != size) {
        return Err(mixed((set.path_of(first), size), (set.path_of(i), odd.geometry.size())));
    }
    let most = intact().map(|(_, image)| image.geometry.channels).max().unwrap_or(1);
    let geometry = Geometry::new(channels.unwrap_or(most), size.0, size.1);
    let mut pixels = Vec::with_capacity(images.len().saturating_mul(geometry.values()));
    let (mut labels, mut kept) =
        (Vec::with_capacity(images.len()), Vec::with_capacity(images.len()));
    for i in (0..images.len()).filter(|i| !skip_corrupt || images[*i].is_some()) {
        // One of them is intact, so that the search ends.
        let mut candidates = (i..images.len()).chain(0..i);
        let Some((at, image)) = candidates.find_map(|at| Some((at, images[at].as_ref()?))) else {
            continue;
        };
        let DecodedImage { geometry: of, values } = image;
        resize::convert_channels(values, of.channels, geometry.channels, &mut pixels);
        labels.push(set.entries[at].label);
        kept.push(i as u32);
    }
    let data = Dataset::new(&set.name, geometry, set.classes.clone(), pixels, labels)?;
    Ok(data.with_source_indices(kept))
}

/// The error for images of two sizes.
pub(in crate::data) fn mixed(
    first: (PathBuf, (usize, usize)),
    odd: (PathBuf, (usize, usize)),
) -> DataError {
    DataError::MixedSizes { first: first.0, first_size: first.1, odd: odd.0, odd_size: odd.1 }
}
