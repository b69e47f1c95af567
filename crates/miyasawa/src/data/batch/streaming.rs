//! Whether a set is streamed or decoded into memory.

use super::decode::resized;
use crate::data::error::DataError;
use crate::data::options::{OpenOptions, Streaming, TargetSize};
use crate::data::set::image_files::ImageFiles;

/// Sets whose decoded images take more bytes are streamed, unless it is said otherwise.
pub(super) const IN_MEMORY: u64 = 1 << 30;

impl OpenOptions {
    /// Whether the images of a set are read when they are needed.
    pub(in crate::data) fn streams(&self, set: &ImageFiles) -> Result<bool, DataError> {
        let originals = self.originals && self.target() != TargetSize::AsStored;
        Ok(match self.stream {
            Streaming::Always => true,
            Streaming::Never if originals => {
                return Err(DataError::invalid(
                    &set.name,
                    "streaming for random crops (augment.resized_crop, \
                     classification.resized_crop) of the images as they are stored",
                    "data.stream = never, which holds resized ones",
                ));
            }
            Streaming::Never => false,
            Streaming::Auto => originals || decoded_bytes(set, self)? > IN_MEMORY,
        })
    }
}

/// Bytes that the decoded set would take: as many for every image as for the first intact one.
fn decoded_bytes(set: &ImageFiles, options: &OpenOptions) -> Result<u64, DataError> {
    let (channels, (height, width)) = match (options.channels, options.size) {
        (Some(channels), Some(size)) => (channels, size),
        (channels, size) => {
            let mut first = None;
            for i in 0..set.len() {
                first = set.decode(i, |decoded| resized(decoded, TargetSize::AsStored))?.ok();
                if first.is_some() || i == options.max_corrupt {
                    break;
                }
            }
            // Where none is intact, loading says so.
            let Some(first) = first else { return Ok(0) };
            // One image in colour makes the set so.
            (channels.unwrap_or(3), size.unwrap_or(first.geometry.size()))
        }
    };
    Ok((set.len() as u64).saturating_mul((channels * height * width) as u64))
}
