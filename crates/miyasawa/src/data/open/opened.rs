//! Opening a set: in memory where it is small, as a stream where it is not.

use std::sync::Arc;

use crate::data::batch::decode::decode_all;
use crate::data::batch::order::{epoch_order, shard_order};
use crate::data::batch::stream::Stream;
use crate::data::error::DataError;
use crate::data::options::{OpenOptions, Streaming};
use crate::data::set::content::SetContent;
use crate::data::set::corrupt::CorruptLog;
use crate::data::set::dataset::{Dataset, check_labels};
use crate::data::set::image_files::{Entry, ImageFiles};
use crate::data::set::reader::{ImageReader, SharedReader};
use crate::data::set::sampling::spread;
use crate::data::set::storage::Storage;
use crate::image::Geometry;

/// Labelled images of one size: in memory, or read when they are asked for. A copy shares them.
///
/// A set of files is opened by [`DataSource::open`](crate::data::DataSource::open), arrays in
/// memory are converted from a [`Dataset`], and [`Images::from_reader`] takes a program's own
/// reader. Training ([`Trainer::with_data`](crate::train::Trainer::with_data)) and evaluation take
/// all of them alike.
#[derive(Debug, Clone)]
pub struct Images {
    held: Held,
    shards: Arc<[u32]>,
    /// Images of the set, corrupt ones too.
    listed: usize,
}

#[derive(Debug, Clone)]
enum Held {
    Memory(Arc<Dataset>),
    Stream(Arc<Stream>),
}

impl From<Dataset> for Images {
    fn from(data: Dataset) -> Self {
        let (shards, listed) = ([data.len() as u32].into(), data.len());
        Self { held: Held::Memory(Arc::new(data)), shards, listed }
    }
}

impl Images {
    /// A set of images that the program reads itself; see [`ImageReader`] for an example.
    ///
    /// # Errors
    ///
    /// [`DataError::Empty`] without images, [`DataError::LabelOutOfRange`] if a label has no class,
    /// [`DataError::MixedSizes`] if sizes differ and the options give none; what the reader fails
    /// at, if it is asked now and more images are corrupt than the options allow.
    pub fn from_reader(
        name: impl Into<String>,
        classes: Vec<String>,
        reader: impl ImageReader + 'static,
        options: &OpenOptions,
    ) -> Result<Self, DataError> {
        let name = name.into();
        options.check(&name)?;
        if reader.len() > u32::MAX as usize {
            return Err(DataError::Empty { name, found: reader.len() });
        }
        let labels: Vec<u32> = (0..reader.len()).map(|index| reader.label(index)).collect();
        check_labels(&name, &labels, classes.len())?;
        Self::new(SetContent::Files(read_by(name, classes, labels, Arc::new(reader))), options)
    }

    /// Random squares of `side` pixels out of the images of a set in memory.
    ///
    /// # Errors
    ///
    /// If no image is as large, or the set is streamed: it is opened with [`OpenOptions::patch`].
    pub fn patches(self, side: usize) -> Result<Self, DataError> {
        let data = match self.held {
            Held::Memory(data) => data,
            Held::Stream(stream) if stream.patch() == Some(side) => {
                return Ok(Self { held: Held::Stream(stream), ..self });
            }
            Held::Stream(stream) => {
                let expected = format!("a set opened for patches of {side}x{side}");
                return Err(DataError::invalid(stream.name(), expected, "another stream"));
            }
        };
        let options = OpenOptions { channels: Some(data.channels()), ..OpenOptions::default() };
        let options = OpenOptions { patch: Some(side), sample: usize::MAX, ..options };
        options.check(data.name())?;
        Self::new(SetContent::Raw(Arc::unwrap_or_clone(data)), &options)
    }

    pub(in crate::data) fn new(
        content: SetContent,
        options: &OpenOptions,
    ) -> Result<Self, DataError> {
        let set = match content {
            SetContent::Raw(data) => {
                let data = match options.limit {
                    Some(limit) => data.subset(limit)?,
                    None => data,
                };
                if options.patch.is_some() {
                    let (name, classes) = (data.name().to_owned(), data.classes().to_vec());
                    let labels = data.labels().to_vec();
                    let set = read_by(name, classes, labels, Arc::new(data));
                    // It is in memory as it is.
                    let stream = Streaming::Always;
                    let options = &OpenOptions { stream, limit: None, ..options.clone() };
                    return Self::new(SetContent::Files(set), options);
                }
                let (height, width) = options.size.unwrap_or((data.height(), data.width()));
                let channels = options.channels.unwrap_or(data.channels());
                let to = Geometry { channels, height, width };
                let data = data.resize_with_share(to, options.resize_mode, options.crop_share)?;
                return Ok(data.into());
            }
            SetContent::Files(set) => {
                if !options.unlabelled {
                    set.check_layout()?;
                }
                set.limited(options.limit)
            }
        };
        // A stream of patches keeps its images where they fit into memory.
        if options.patch.is_some() || options.streams(&set)? {
            let stream = Stream::new(set, options)?;
            let (shards, listed) = (stream.shards().into(), stream.len());
            return Ok(Self { held: Held::Stream(Arc::new(stream)), shards, listed });
        }
        let (shards, listed) = (set.shards().into(), set.len());
        let (target, corrupt) = (options.target(), CorruptLog::up_to(options.max_corrupt));
        let data = decode_all(&set, target, options.channels, &corrupt, options.skip_corrupt)?;
        let (height, width) = options.size.unwrap_or((data.height(), data.width()));
        let to = Geometry { channels: data.channels(), height, width };
        let data = data.resize_with_share(to, options.resize_mode, options.crop_share)?;
        Ok(Self { held: Held::Memory(Arc::new(data)), shards, listed })
    }

    /// All images, in memory.
    ///
    /// # Errors
    ///
    /// As [`Images::load`].
    pub fn into_dataset(self) -> Result<Dataset, DataError> {
        match self.held {
            Held::Memory(data) => Ok(Arc::unwrap_or_clone(data)),
            Held::Stream(_) => self.sample(usize::MAX),
        }
    }

    /// The set, if it is in memory.
    pub fn in_memory(&self) -> Option<&Dataset> {
        match &self.held {
            Held::Memory(data) => Some(data),
            Held::Stream(_) => None,
        }
    }

    /// The set, if it is streamed.
    pub fn stream(&self) -> Option<&Arc<Stream>> {
        match &self.held {
            Held::Memory(_) => None,
            Held::Stream(stream) => Some(stream),
        }
    }

    /// Identifies the images and their order: of those in memory the beginning of a hash of all, of
    /// a stream that of a hash of all labels and of some files.
    #[cfg(feature = "train")]
    pub(crate) fn digest(&self) -> Result<String, DataError> {
        match &self.held {
            Held::Memory(data) => Ok(data.digest()),
            Held::Stream(stream) => stream.digest(),
        }
    }

    /// What the set is called in reports: the DATA argument it came from.
    pub fn name(&self) -> &str {
        match &self.held {
            Held::Memory(data) => data.name(),
            Held::Stream(stream) => stream.name(),
        }
    }

    /// The number of images, at least 1.
    #[allow(clippy::len_without_is_empty, reason = "a data set is never empty")]
    pub fn len(&self) -> usize {
        match &self.held {
            Held::Memory(data) => data.len(),
            Held::Stream(stream) => stream.len(),
        }
    }

    /// Channels, height and width of every image.
    pub fn geometry(&self) -> Geometry {
        match &self.held {
            Held::Memory(data) => data.geometry(),
            Held::Stream(stream) => stream.geometry(),
        }
    }

    /// Values in an image.
    pub fn image_len(&self) -> usize {
        self.geometry().values()
    }

    /// The names of the classes; a label is an index into them.
    pub fn classes(&self) -> &[String] {
        match &self.held {
            Held::Memory(data) => data.classes(),
            Held::Stream(stream) => stream.classes(),
        }
    }

    /// Mean and standard deviation over all values in normalised units ([-1, 1]): of all images
    /// in memory, of the sample of a stream.
    pub fn mean_std(&self) -> (f64, f64) {
        match &self.held {
            Held::Memory(data) => data.mean_std(),
            Held::Stream(stream) => stream.mean_std(),
        }
    }

    /// The order in which an epoch visits the images: any permutation, or with a buffer the
    /// shards one after the other (see [`shard_order`]).
    pub fn order(&self, seed: u64, epoch: u64, buffer: Option<usize>) -> Vec<u32> {
        match buffer {
            None => epoch_order(seed, epoch, self.len()),
            Some(buffer) => self.held_indices(shard_order(seed, epoch, &self.shards, buffer)),
        }
    }

    /// The images at `indices`, as evaluation sees them, in memory.
    ///
    /// # Errors
    ///
    /// If a file cannot be read or too many are corrupt; if there are no indices, one is too large,
    /// or no image is intact where corrupt ones are left out.
    pub fn load(&self, indices: &[u32]) -> Result<Dataset, DataError> {
        let intact = self.load_intact(indices)?;
        intact.ok_or_else(|| DataError::none_intact(self.name()))
    }

    /// As [`load`](Self::load); nothing if none of the images is intact.
    pub(crate) fn load_intact(&self, indices: &[u32]) -> Result<Option<Dataset>, DataError> {
        if let Some(bad) = indices.iter().find(|&&i| i as usize >= self.len()) {
            let expected = format!("indices below the number of images, {}", self.len());
            return Err(DataError::invalid(self.name(), expected, format!("index {bad}")));
        }
        match &self.held {
            Held::Memory(data) => data.take(indices).map(Some),
            Held::Stream(stream) => stream.load_intact(indices),
        }
    }

    /// Indices of at most `limit` images, evenly spaced over the set as [`Dataset::subset`]
    /// chooses them; where corrupt ones are left out, those that are intact.
    pub fn spread(&self, limit: usize) -> Vec<u32> {
        self.held_indices(spread(self.listed, limit))
    }

    /// From indices in the list of files to indices of images. They are the same, unless corrupt
    /// ones were left out of memory.
    fn held_indices(&self, listed: Vec<u32>) -> Vec<u32> {
        match self.in_memory().filter(|data| data.len() < self.listed) {
            None => listed,
            Some(data) => {
                let held = data.source_indices();
                let index = |listed| held.binary_search(&listed).ok().map(|i| i as u32);
                listed.into_iter().filter_map(index).collect()
            }
        }
    }

    /// At most `limit` images in memory, evenly spaced over the set; if none of those is intact,
    /// the first that are.
    ///
    /// # Errors
    ///
    /// As [`Images::load`].
    pub fn sample(&self, limit: usize) -> Result<Dataset, DataError> {
        let chosen = self.spread(limit);
        if !chosen.is_empty()
            && let Some(found) = self.load_intact(&chosen)?
        {
            return Ok(found);
        }
        // A stream has an index for every image of the list, memory for intact ones alone.
        let mut intact = self.spread(usize::MAX);
        if self.in_memory().is_none() {
            let all = std::mem::take(&mut intact);
            for some in all.chunks(limit.clamp(1, 64)) {
                let found = self.load_intact(some)?;
                intact.extend(found.iter().flat_map(|found| found.source_indices()));
                if intact.len() >= limit {
                    break;
                }
            }
        }
        intact.truncate(limit);
        if intact.is_empty() {
            return Err(DataError::none_intact(self.name()));
        }
        self.load(&intact)
    }
}

/// A set whose images a reader gives.
fn read_by(
    name: String,
    classes: Vec<String>,
    labels: Vec<u32>,
    reader: Arc<dyn ImageReader>,
) -> ImageFiles {
    let entry = |(index, label): (u64, u32)| {
        let name = index.to_string().into_boxed_str();
        Entry { storage: 0, label, len: 0, offset: index, name }
    };
    let entries = (0..).zip(labels).map(entry).collect();
    let storages = vec![Storage::reader_of(&name, SharedReader(reader))];
    ImageFiles { name, classes, storages, entries }
}
