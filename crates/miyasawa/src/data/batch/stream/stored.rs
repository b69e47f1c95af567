//! The images of a stream as they are stored: read from files, or decoded once and held.

use std::borrow::Cow;

use rayon::prelude::*;

use super::Stream;
use crate::data::batch::decode::{DecodedImage, resized};
use crate::data::batch::streaming::IN_MEMORY;
use crate::data::error::DataError;
use crate::data::notes::plural;
use crate::data::options::Streaming;

/// Images that are decoded at once before their bytes are counted.
const CHUNK: usize = 64;

/// What was found of an image.
enum Found {
    Intact(DecodedImage),
    Small,
    Corrupt(DataError),
}

impl Stream {
    /// Image `i`, or the next intact one, in its own channels and before padding.
    pub(super) fn unpadded_image(
        &self,
        i: usize,
    ) -> Result<(usize, Cow<'_, DecodedImage>), DataError> {
        for at in (i..self.len()).chain(0..i) {
            if let Some(image) = self.stored(at)? {
                return Ok((at, image));
            }
        }
        Err(self.none_found())
    }

    /// Image `i` itself, before padding; nothing if it is corrupt, or smaller than a patch.
    pub(super) fn stored(&self, i: usize) -> Result<Option<Cow<'_, DecodedImage>>, DataError> {
        if let Some(kept) = &self.kept {
            return Ok(kept[i].as_ref().map(Cow::Borrowed));
        }
        if self.small.has(i) {
            return Ok(None);
        }
        Ok(self.noted(i, self.found(i)?)?.map(Cow::Owned))
    }

    fn found(&self, i: usize) -> Result<Found, DataError> {
        let image = match self.set.decode(i, |decoded| resized(decoded, self.target))? {
            Ok(image) => image,
            Err(error) => return Ok(Found::Corrupt(error)),
        };
        let Some(side) = self.patch else {
            self.check_size(i, &image)?;
            return Ok(Found::Intact(image));
        };
        let fits = image.geometry.height.min(image.geometry.width) >= side;
        Ok(if fits { Found::Intact(image) } else { Found::Small })
    }

    /// The image, if it is intact and large enough; counts it otherwise.
    fn noted(&self, i: usize, found: Found) -> Result<Option<DecodedImage>, DataError> {
        match found {
            Found::Intact(image) => return Ok(Some(image)),
            Found::Corrupt(error) => self.corrupt.add(i, || self.set.path_of(i), error)?,
            Found::Small => {
                if self.small.count() == 0 && self.kept.is_none() {
                    let (side, path) = (self.unpadded.0, self.set.path_of(i));
                    tracing::warn!(
                        "{}: images smaller than the patches of {side}x{side} are left out: {}, ..",
                        self.name(),
                        path.display()
                    );
                }
                self.small.add(i, || self.set.path_of(i), self.none_found())?;
            }
        }
        Ok(None)
    }

    fn none_found(&self) -> DataError {
        let Some(side) = self.patch else { return DataError::none_intact(self.name()) };
        let expected = format!("an intact image of at least {side}x{side}, the size of a patch");
        DataError::invalid(self.name(), expected, "none")
    }

    /// Decodes all images and keeps them, unless they are to be streamed or take too much memory.
    pub(super) fn keep(&mut self, streaming: Streaming) -> Result<(), DataError> {
        if streaming == Streaming::Always {
            return Ok(());
        }
        // The count is said at the end.
        self.kept = Some(Vec::new());
        let (mut kept, mut bytes) = (Vec::with_capacity(self.len()), 0);
        for from in (0..self.len()).step_by(CHUNK) {
            let to = self.len().min(from + CHUNK);
            let found: Vec<Result<Found, DataError>> =
                (from..to).into_par_iter().map(|i| self.found(i)).collect();
            for (i, found) in (from..).zip(found) {
                let image = self.noted(i, found?)?;
                bytes += image.as_ref().map_or(0, |image| image.values.len() as u64);
                kept.push(image);
            }
            if bytes > IN_MEMORY && streaming == Streaming::Auto {
                self.kept = None;
                self.warn_of_small();
                return Ok(());
            }
        }
        if kept.iter().all(Option::is_none) {
            return Err(self.none_found());
        }
        self.kept = Some(kept);
        self.warn_of_small();
        Ok(())
    }

    fn warn_of_small(&self) {
        let Some(example) = self.small.example() else { return };
        let (name, side, count) = (self.name(), self.unpadded.0, self.small.count());
        tracing::warn!(
            "{name}: left out {count} {} smaller than the patches of {side}x{side}: {}",
            plural("image", count),
            example.display()
        );
    }

    /// Whether all intact images have one size, as they are stored.
    pub(in crate::data) fn is_of_one_size(&self) -> bool {
        let fits = |i: usize| {
            let size = |decoded| resized(decoded, self.target).geometry.size() == self.unpadded;
            self.set.decode(i, size).is_ok_and(|found| found.unwrap_or(true))
        };
        (0..self.len()).into_par_iter().all(fits)
    }
}
