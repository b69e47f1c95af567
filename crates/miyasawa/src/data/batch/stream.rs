//! Images that are read and decoded when they are asked for.

mod stored;

use std::path::PathBuf;

use rayon::prelude::*;

use super::augment::{Augment, augment_cropped, augment_example};
use super::decode::{DecodedImage, mixed, resized};
use super::order::epoch_order;
use super::patches::{centre_patch, random_patch};
use super::{random_crop, resize};
use crate::data::error::DataError;
use crate::data::options::{OpenOptions, TargetSize};
#[cfg(feature = "train")]
use crate::data::set::content::digest_of_files;
use crate::data::set::corrupt::CorruptLog;
use crate::data::set::dataset::Dataset;
use crate::data::set::histogram::Histogram;
use crate::data::set::image_files::ImageFiles;
use crate::image::{Decoded, Geometry, ResizeMode};
use crate::random::{example_rng, stream};
use crate::range::normalise;

/// Fixes which images mean and deviation are measured on: they are the data's, not a run's.
const SAMPLE_SEED: u64 = 0;

/// Labelled images of one size that are read when they are needed: only where they are stored is
/// held in memory. Of [patches](OpenOptions::patch) the images may be held too, decoded.
///
/// What image `i` is depends on `i` alone, its augmentation on (seed, epoch, `i`): any image
/// can be read at any time by any thread. The place of an image that cannot be decoded is taken by
/// the next one that can, with its class; or by none ([`OpenOptions::skip_corrupt`]).
#[derive(Debug)]
pub struct Stream {
    set: ImageFiles,
    target: TargetSize,
    /// How images of the size `unpadded` are padded.
    padding: ResizeMode,
    unpadded: (usize, usize),
    geometry: Geometry,
    /// Side of the squares that are cut out of images of any size.
    patch: Option<usize>,
    /// The images, if they are decoded once: none where one is corrupt or too small.
    kept: Option<Vec<Option<DecodedImage>>>,
    corrupt: CorruptLog,
    /// Images that are smaller than a patch.
    small: CorruptLog,
    skip_corrupt: bool,
    mean_std: (f64, f64),
}

/// An image as evaluation sees it.
struct Prepared {
    label: u32,
    /// (C, H, W).
    values: Vec<u8>,
}

/// What is measured on a sample of the set.
struct Sample {
    channels: usize,
    mean_std: (f64, f64),
}

impl Stream {
    /// A stream of the images of `set`. Channels that are not given, the mean and the deviation
    /// come from a sample.
    pub(in crate::data) fn new(set: ImageFiles, options: &OpenOptions) -> Result<Self, DataError> {
        let target = options.target();
        let mut this = Self {
            target,
            padding: options.resize_mode,
            patch: options.patch,
            kept: None,
            unpadded: (0, 0),
            geometry: Geometry::new(options.channels.unwrap_or(3), 0, 0),
            corrupt: CorruptLog::up_to(options.max_corrupt),
            small: CorruptLog::quiet(),
            skip_corrupt: options.skip_corrupt,
            mean_std: (f64::NAN, f64::NAN),
            set,
        };
        this.unpadded = match (options.patch, target) {
            (Some(side), _) => (side, side),
            (None, TargetSize::Cover(size) | TargetSize::Crop(size, _)) => size,
            (None, TargetSize::AsStored) => {
                this.next_intact(0, |d| resized(d, target))?.1.geometry.size()
            }
        };
        let size = if options.patch.is_some() { None } else { options.size };
        let (height, width) = size.unwrap_or(this.unpadded);
        if this.unpadded.0 > height || this.unpadded.1 > width {
            return Err(DataError::too_large_to_pad(
                &this.set.name,
                (height, width),
                this.unpadded,
            ));
        }
        this.geometry = Geometry { height, width, ..this.geometry };
        if options.patch.is_some() {
            this.keep(options.stream)?;
        }
        if options.sample > 0 || options.channels.is_none() {
            let sample = this.sample(options.sample.max(1), options.channels)?;
            this.geometry.channels = sample.channels;
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
            let image = self.unpadded_image(i as usize)?.1;
            let of = image.geometry.channels;
            let mut converted = Vec::new();
            resize::convert_channels(&image.values, of, channels.unwrap_or(of), &mut converted);
            let mut histogram = Histogram::default();
            histogram.add(&self.padded(&converted));
            Ok((of == 3, histogram))
        };
        let measured: Vec<Result<(bool, Histogram), DataError>> =
            order.par_iter().map(measure).collect();
        let (mut grey, mut colour, mut any_colour) =
            (Histogram::default(), Histogram::default(), false);
        for measured in measured {
            let (is_colour, histogram) = measured?;
            any_colour |= is_colour;
            if is_colour {
                colour = colour.merge(&histogram)
            } else {
                grey = grey.merge(&histogram)
            }
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

    /// Channels, height and width of every image.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// The names of the classes.
    pub fn classes(&self) -> &[String] {
        &self.set.classes
    }

    /// Mean and standard deviation in normalised units, of the sample; NaN if none was measured.
    pub fn mean_std(&self) -> (f64, f64) {
        self.mean_std
    }

    /// Side of the squares that are cut out of the images, if any.
    pub(in crate::data) fn patch(&self) -> Option<usize> {
        self.patch
    }

    /// See [`SetContent::digest`](crate::data::set::content::SetContent::digest).
    #[cfg(feature = "train")]
    pub(in crate::data) fn digest(&self) -> Result<String, DataError> {
        digest_of_files(&self.set)
    }

    /// See [`ImageFiles::shards`].
    pub(in crate::data) fn shards(&self) -> Vec<u32> {
        self.set.shards()
    }

    /// The path of image `index` for messages.
    ///
    /// # Panics
    ///
    /// If `index` is not below [`Stream::len`].
    pub fn path_of(&self, index: u32) -> PathBuf {
        self.set.path_of(index as usize)
    }

    /// Images that could not be read or decoded so far.
    pub fn corrupt_count(&self) -> usize {
        self.corrupt.count()
    }

    /// What `make` makes of image `i`, or of the next intact one; with its index.
    fn next_intact<T>(
        &self,
        i: usize,
        make: impl Fn(Decoded) -> T,
    ) -> Result<(usize, T), DataError> {
        for at in (i..self.set.len()).chain(0..i) {
            match self.set.decode(at, &make)? {
                Ok(made) => return Ok((at, made)),
                Err(error) => self.corrupt.add(at, || self.set.path_of(at), error)?,
            }
        }
        Err(DataError::none_intact(self.name()))
    }

    /// All must have one size before they are padded.
    fn check_size(&self, at: usize, image: &DecodedImage) -> Result<(), DataError> {
        let size = image.geometry.size();
        if size != self.unpadded {
            return Err(mixed((self.set.path_of(0), self.unpadded), (self.set.path_of(at), size)));
        }
        Ok(())
    }

    fn padded(&self, values: &[u8]) -> Vec<u8> {
        let size = self.geometry.size();
        if size == self.unpadded {
            return values.to_vec();
        }
        resize::pad(values, self.unpadded, size, self.padding)
    }

    /// Image `i`, or the next intact one, as evaluation sees it.
    fn prepared(&self, i: usize) -> Result<Prepared, DataError> {
        let (at, image) = self.unpadded_image(i)?;
        Ok(self.prepare(at, &image))
    }

    /// Image `i` itself, as evaluation sees it; nothing if it is corrupt.
    fn itself(&self, i: usize) -> Result<Option<Prepared>, DataError> {
        Ok(self.stored(i)?.map(|image| self.prepare(i, &image)))
    }

    fn prepare(&self, at: usize, image: &DecodedImage) -> Prepared {
        let values = match self.patch {
            Some(side) => self.in_channels(&centre_patch(image, side)),
            None => self.padded(&self.in_channels(image)),
        };
        Prepared { label: self.set.entries[at].label, values }
    }

    /// The values of an image in the set's channels.
    fn in_channels(&self, image: &DecodedImage) -> Vec<u8> {
        let mut values = Vec::new();
        let (from, to) = (image.geometry.channels, self.geometry.channels);
        resize::convert_channels(&image.values, from, to, &mut values);
        values
    }

    /// Writes image `index`, augmented with the random numbers of (seed, epoch, index), to `out`,
    /// (C, H, W) in [-1, 1]; returns its class.
    ///
    /// Of a set opened for [`OpenOptions::patch`] it is a random square of the image. A random
    /// resized crop is taken from the image as it is stored where the set's images are
    /// resized.
    ///
    /// ```no_run
    /// use miyasawa::data::{Augment, DataSource, OpenOptions, Part, Streaming};
    ///
    /// let options = OpenOptions { stream: Streaming::Always, ..OpenOptions::default() };
    /// let set = "photos".parse::<DataSource>()?.open(Part::Train, &options)?;
    /// if let Some(stream) = set.stream() {
    ///     let mut image = vec![0.0; stream.geometry().values()];
    ///     let label = stream.example(0, &Augment::default(), [0, 0], &mut image)?;
    ///     println!("{} is a {}", stream.path_of(0).display(), stream.classes()[label as usize]);
    /// }
    /// # Ok::<(), miyasawa::data::DataError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the image cannot be read, more images are corrupt than may be, or the image has
    /// another size than the rest.
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
        assert!((index as usize) < self.len(), "image {index} of {}", self.len());
        assert_eq!(out.len(), self.geometry.values(), "values of an image");
        let key = [seed, epoch, u64::from(index)];
        if let Some(side) = self.patch {
            let (at, image) = self.unpadded_image(index as usize)?;
            let rng = &mut example_rng(seed, epoch, u64::from(index), stream::PATCH);
            let values = self.in_channels(&random_patch(&image, side, augment, rng));
            out.iter_mut().zip(&values).for_each(|(out, &value)| *out = normalise(value));
            return Ok(self.set.entries[at].label);
        }
        if let (Some(area), false) = (augment.resized_crop, self.target == TargetSize::AsStored) {
            let crop = |decoded| self.cropped(decoded, area, key);
            let (at, cropped) = self.next_intact(index as usize, crop)?;
            augment_cropped(&cropped, self.geometry, augment, key, out);
            return Ok(self.set.entries[at].label);
        }
        let Prepared { label, values } = self.prepared(index as usize)?;
        if *augment == Augment::default() {
            out.iter_mut().zip(&values).for_each(|(out, &value)| *out = normalise(value));
        } else {
            augment_example(&values, self.geometry, augment, key, out);
        }
        Ok(label)
    }

    /// A random resized crop of a stored image, in the set's channels and size.
    fn cropped(&self, decoded: Decoded, area: [f64; 2], [seed, epoch, index]: [u64; 3]) -> Vec<u8> {
        let (mut channels, size) = (decoded.channels, (decoded.height, decoded.width));
        let wanted = self.geometry.channels;
        let mut samples = decoded.into_samples();
        if (channels, wanted) == (3, 1) {
            // Grey first, as a set in memory is: the rounding is the same then.
            let colour = crate::image::planes(&samples, 3, |v| v);
            samples = Vec::new();
            resize::convert_channels(&colour, 3, 1, &mut samples);
            channels = 1;
        }
        let mut rng = example_rng(seed, epoch, index, stream::RESIZED_CROP);
        let to = self.geometry.size();
        let cropped = random_crop::resized_crop(&samples, channels, size, to, area, &mut rng);
        let mut out = Vec::new();
        resize::convert_channels(&cropped, channels, wanted, &mut out);
        out
    }

    /// The images at `indices`, as evaluation sees them, in memory; nothing if none of them is
    /// intact.
    pub(in crate::data) fn load_intact(
        &self,
        indices: &[u32],
    ) -> Result<Option<Dataset>, DataError> {
        let read = |&i: &u32| match self.skip_corrupt {
            true => self.itself(i as usize),
            false => self.prepared(i as usize).map(Some),
        };
        let read: Vec<Result<Option<Prepared>, DataError>> = indices.par_iter().map(read).collect();
        let (mut kept, mut labels, mut pixels) = (Vec::new(), Vec::new(), Vec::new());
        for (read, index) in read.into_iter().zip(indices) {
            let Some(Prepared { label, values }) = read? else { continue };
            kept.push(*index);
            labels.push(label);
            pixels.extend(values);
        }
        if kept.is_empty() && !indices.is_empty() {
            return Ok(None);
        }
        let classes = self.classes().to_vec();
        let data = Dataset::new(self.name(), self.geometry, classes, pixels, labels)?;
        Ok(Some(data.with_source_indices(kept)))
    }
}
