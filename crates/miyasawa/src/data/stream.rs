//! Images that are read and decoded when they are asked for.

use std::path::PathBuf;

use rayon::prelude::*;

use super::batch::{Augment, augment_example, augment_into};
use super::broken::Broken;
use super::crop;
use super::dataset::{Dataset, Histogram};
use super::encoded::Encoded;
use super::error::DataError;
use super::fit::{self, FitMode};
use super::images::{Bring, Tile, mixed, tile};
use super::open::OpenOptions;
use super::order::epoch_order;
use crate::image::{DecodeError, decode};
use crate::random::{example_rng, stream};
use crate::range::normalise;

/// Fixes which images mean and deviation are measured on: they are the data's, not a run's.
const SAMPLE_SEED: u64 = 0;

/// Labelled images of one size that lie in files: only where they are is held in memory.
///
/// What image `i` is depends on `i` alone, its augmentation on (seed, epoch, `i`): any image can be read at any time by
/// any thread. The place of an image that cannot be decoded is taken by the next one that can, with its class; where only
/// whole ones are wanted ([`OpenOptions::whole_only`]), by none.
#[derive(Debug)]
pub struct Stream {
    set: Encoded,
    bring: Bring,
    /// How images of `own` size are surrounded.
    padding: FitMode,
    own: (usize, usize),
    shape: (usize, usize, usize),
    broken: Broken,
    whole_only: bool,
    mean_std: (f64, f64),
}

/// An image as evaluation sees it.
struct Fitted {
    label: u32,
    /// (C, H, W).
    values: Vec<u8>,
}

/// What the set's own images tell.
struct Sample {
    channels: usize,
    mean_std: (f64, f64),
}

impl Stream {
    /// A stream of the images of `set`. Channels that are not given, the mean and the deviation come from a sample.
    pub(super) fn new(set: Encoded, options: &OpenOptions) -> Result<Self, DataError> {
        let bring = options.bring();
        let mut this = Self {
            bring,
            padding: options.fit,
            own: (0, 0),
            shape: (options.channels.unwrap_or(3), 0, 0),
            broken: Broken::up_to(options.max_broken),
            whole_only: options.whole_only,
            mean_std: (f64::NAN, f64::NAN),
            set,
        };
        this.own = match bring {
            Bring::Cover(size) | Bring::Crop(size, _) => size,
            Bring::Keep => this.whole(0, |bytes| tile(bytes, Bring::Keep))?.1.size,
        };
        let (height, width) = options.size.unwrap_or(this.own);
        if this.own.0 > height || this.own.1 > width {
            return Err(DataError::too_large_to_pad(&this.set.name, (height, width), this.own));
        }
        this.shape = (this.shape.0, height, width);
        if options.sample > 0 || options.channels.is_none() {
            let sample = this.sample(options.sample.max(1), options.channels)?;
            this.shape.0 = sample.channels;
            this.mean_std = sample.mean_std;
        }
        Ok(this)
    }

    /// Measures `count` images of a shuffle that is always the same.
    fn sample(&self, count: usize, channels: Option<usize>) -> Result<Sample, DataError> {
        let mut order = epoch_order(SAMPLE_SEED, 0, self.set.len());
        order.truncate(count);
        order.sort_unstable();
        let measure = |&i: &u32| -> Result<(bool, Histogram), DataError> {
            let tile = self.own_tile(i as usize)?.1;
            let mut values = Vec::new();
            fit::convert_channels(
                &tile.values,
                tile.channels,
                channels.unwrap_or(tile.channels),
                &mut values,
            );
            let mut histogram = Histogram::default();
            histogram.add(&self.padded(&values));
            Ok((tile.channels == 3, histogram))
        };
        let measured: Vec<Result<(bool, Histogram), DataError>> = order.par_iter().map(measure).collect();
        let (mut grey, mut colour, mut any_colour) = (Histogram::default(), Histogram::default(), false);
        for measured in measured {
            let (is_colour, histogram) = measured?;
            any_colour |= is_colour;
            if is_colour { colour = colour.merge(&histogram) } else { grey = grey.merge(&histogram) }
        }
        let counted = match channels {
            None if any_colour => colour.merge(&grey).merge(&grey).merge(&grey),
            _ => colour.merge(&grey),
        };
        let channels = channels.unwrap_or(if any_colour { 3 } else { 1 });
        Ok(Sample { channels, mean_std: counted.mean_std() })
    }

    /// What the set is called in reports.
    pub fn name(&self) -> &str {
        &self.set.name
    }

    /// The number of images, at least 1.
    #[allow(clippy::len_without_is_empty, reason = "a data set is never empty")]
    pub fn len(&self) -> usize {
        self.set.len()
    }

    /// (channels, height, width) of every image.
    pub fn shape(&self) -> (usize, usize, usize) {
        self.shape
    }

    /// The names of the classes.
    pub fn classes(&self) -> &[String] {
        &self.set.classes
    }

    /// Mean and standard deviation in normalised units, of the sample; NaN if none was measured.
    pub fn mean_std(&self) -> (f64, f64) {
        self.mean_std
    }

    /// The path of image `index` for messages.
    ///
    /// # Panics
    ///
    /// If `index` is not below [`Stream::len`].
    pub fn path_of(&self, index: u32) -> PathBuf {
        self.set.path_of(index as usize)
    }

    /// Images that could not be decoded so far.
    pub fn broken(&self) -> usize {
        self.broken.count()
    }

    /// What `read` makes of image `i`, or of the next one of which it makes something; with its index.
    fn whole<T>(
        &self,
        i: usize,
        read: impl Fn(&[u8]) -> Result<T, DecodeError>,
    ) -> Result<(usize, T), DataError> {
        for at in (i..self.set.len()).chain(0..i) {
            match self.set.decode(at, &read)? {
                Ok(found) => return Ok((at, found)),
                Err(error) => self.broken.add(at, || self.set.path_of(at), error)?,
            }
        }
        Err(DataError::none_whole(self.name()))
    }

    /// Image `i` in its own channels and, where it is not resized, its own size, which all must share.
    fn own_tile(&self, i: usize) -> Result<(usize, Tile), DataError> {
        let (at, tile) = self.whole(i, |bytes| tile(bytes, self.bring))?;
        self.check_size(at, &tile)?;
        Ok((at, tile))
    }

    fn check_size(&self, at: usize, tile: &Tile) -> Result<(), DataError> {
        if tile.size != self.own {
            return Err(mixed((self.set.path_of(0), self.own), (self.set.path_of(at), tile.size)));
        }
        Ok(())
    }

    fn padded(&self, values: &[u8]) -> Vec<u8> {
        let size = (self.shape.1, self.shape.2);
        if size == self.own { values.to_vec() } else { fit::pad(values, self.own, size, self.padding) }
    }

    /// Image `i`, or the next whole one, as evaluation sees it.
    fn fitted(&self, i: usize) -> Result<Fitted, DataError> {
        let (at, tile) = self.own_tile(i)?;
        Ok(self.fit(at, &tile))
    }

    /// Image `i` itself, as evaluation sees it; nothing if it is broken.
    fn itself(&self, i: usize) -> Result<Option<Fitted>, DataError> {
        match self.set.decode(i, |bytes| tile(bytes, self.bring))? {
            Ok(tile) => self.check_size(i, &tile).map(|()| Some(self.fit(i, &tile))),
            Err(error) => self.broken.add(i, || self.set.path_of(i), error).map(|()| None),
        }
    }

    fn fit(&self, at: usize, tile: &Tile) -> Fitted {
        let mut values = Vec::new();
        fit::convert_channels(&tile.values, tile.channels, self.shape.0, &mut values);
        Fitted { label: self.set.entries[at].label, values: self.padded(&values) }
    }

    /// Writes image `index`, augmented with the random numbers of (seed, epoch, index), to `out`, (C, H, W) in [-1, 1];
    /// returns its class.
    ///
    /// A random resized crop is taken from the image as it is stored where the set's images are resized.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, more images are broken than may be, or the image has another size than the rest.
    ///
    /// # Panics
    ///
    /// If `index` is not below [`Stream::len`] or `out` has another length than an image.
    pub fn example(
        &self,
        index: u32,
        augment: &Augment,
        [seed, epoch]: [u64; 2],
        out: &mut [f32],
    ) -> Result<u32, DataError> {
        let (channels, height, width) = self.shape;
        assert!((index as usize) < self.len(), "image {index} of {}", self.len());
        assert_eq!(out.len(), channels * height * width, "values of an image");
        let key = [seed, epoch, u64::from(index)];
        if let (Some(area), false) = (augment.resized_crop, self.bring == Bring::Keep) {
            let (at, cropped) = self.whole(index as usize, |bytes| self.cropped(bytes, area, key))?;
            let mut rng = example_rng(seed, epoch, u64::from(index), stream::AUGMENT);
            augment_into(&cropped, self.shape, augment, &mut rng, out);
            return Ok(self.set.entries[at].label);
        }
        let Fitted { label, values } = self.fitted(index as usize)?;
        if *augment == Augment::default() {
            out.iter_mut().zip(&values).for_each(|(out, &value)| *out = normalise(value));
        } else {
            augment_example(&values, self.shape, augment, key, out);
        }
        Ok(label)
    }

    /// A random resized crop of a stored image, in the set's channels and size.
    fn cropped(
        &self,
        bytes: &[u8],
        area: [f64; 2],
        [seed, epoch, index]: [u64; 3],
    ) -> Result<Vec<u8>, DecodeError> {
        let decoded = decode(bytes)?;
        let (mut channels, size) = (decoded.channels, (decoded.height, decoded.width));
        let (wanted, height, width) = self.shape;
        let mut samples = decoded.into_samples();
        if (channels, wanted) == (3, 1) {
            // Grey first, as a set in memory is: the rounding is the same then.
            let colour = crate::image::planes(&samples, 3, |v| v);
            samples = Vec::new();
            fit::convert_channels(&colour, 3, 1, &mut samples);
            channels = 1;
        }
        let mut rng = example_rng(seed, epoch, index, stream::RESIZED_CROP);
        let cropped = crop::resized_crop(&samples, channels, size, (height, width), area, &mut rng);
        let mut out = Vec::new();
        fit::convert_channels(&cropped, channels, wanted, &mut out);
        Ok(out)
    }

    /// The images at `indices`, as evaluation sees them, in memory; nothing if none of them is whole.
    pub(super) fn load_whole(&self, indices: &[u32]) -> Result<Option<Dataset>, DataError> {
        let read = |&i: &u32| match self.whole_only {
            true => self.itself(i as usize),
            false => self.fitted(i as usize).map(Some),
        };
        let read: Vec<Result<Option<Fitted>, DataError>> = indices.par_iter().map(read).collect();
        let (mut places, mut labels, mut pixels) = (Vec::new(), Vec::new(), Vec::new());
        for (read, place) in read.into_iter().zip(indices) {
            let Some(Fitted { label, values }) = read? else { continue };
            places.push(*place);
            labels.push(label);
            pixels.extend(values);
        }
        if places.is_empty() && !indices.is_empty() {
            return Ok(None);
        }
        let data = Dataset::new(self.name(), self.shape, self.classes().to_vec(), pixels, labels)?;
        Ok(Some(data.placed(places)))
    }
}
