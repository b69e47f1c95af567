//! Opening a set: in memory where it is small, as a stream where it is not.

use std::sync::Arc;

use super::broken::Broken;
use super::dataset::{Dataset, spread};
use super::encoded::Encoded;
use super::error::DataError;
use super::fit::{CROP_SHARE, FitMode, Geometry};
use super::images::{self, Bring};
use super::order::{epoch_order, shard_order};
use super::source::Content;
use super::stream::Stream;

/// Sets whose decoded images take more bytes are streamed, unless it is said otherwise.
const IN_MEMORY: u64 = 1 << 30;

/// Whether images are decoded once and held in memory, or whenever they are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Streaming {
    /// In memory if the decoded images take at most 1 GiB and no crops of the stored ones are needed.
    #[default]
    Auto,
    /// Always streamed; sets that are not made of images (IDX, CIFAR's binary files) are small and loaded.
    Always,
    /// Always in memory.
    Never,
}

/// How a set is opened.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenOptions {
    /// The (height, width) of images; left out, their own, which must be one.
    pub size: Option<(usize, usize)>,
    /// How images are brought to that size.
    pub fit: FitMode,
    /// What [`FitMode::ResizeCrop`] keeps of the shorter side.
    pub crop_share: f64,
    /// 1 or 3; left out, colour if one image is (of a stream: of the sample).
    pub channels: Option<usize>,
    /// Take at most this many images for training, evenly spaced over the set.
    pub limit: Option<usize>,
    /// In memory or streamed.
    pub stream: Streaming,
    /// Whether crops of the stored images will be asked for ([`super::Augment::resized_crop`]), so that resized ones in
    /// memory will not do.
    pub originals: bool,
    /// Broken images that are skipped before it is an error.
    pub max_broken: usize,
    /// Leave broken images out, as measuring asks for; else the next whole one takes the place of each.
    pub whole_only: bool,
    /// Images of a stream that mean and deviation are measured on, of a fixed shuffle; 0 for none.
    pub sample: usize,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            size: None,
            fit: FitMode::Pad,
            crop_share: CROP_SHARE,
            channels: None,
            limit: None,
            stream: Streaming::Auto,
            originals: false,
            max_broken: 100,
            whole_only: false,
            sample: 4096,
        }
    }
}

impl OpenOptions {
    pub(super) fn bring(&self) -> Bring {
        match (self.size, self.fit) {
            (Some(size), FitMode::Resize) => Bring::Cover(size),
            (Some(size), FitMode::ResizeCrop) => Bring::Crop(size, self.crop_share),
            _ => Bring::Keep,
        }
    }

    pub(super) fn check(&self, name: &str) -> Result<(), DataError> {
        let problem = |expected: &str, found: String| Err(DataError::invalid(name, expected, found));
        if let Some(channels) = self.channels.filter(|c| !matches!(c, 1 | 3)) {
            return problem("1 or 3 channels", channels.to_string());
        }
        if let Some((height, width)) = self.size.filter(|&(h, w)| h == 0 || w == 0) {
            return problem("a size of at least 1x1", format!("{height}x{width}"));
        }
        if self.limit == Some(0) {
            return problem("a limit of at least 1", "0".to_owned());
        }
        if !(self.crop_share > 0.0 && self.crop_share <= 1.0) {
            return problem("a share above 0 and at most 1", self.crop_share.to_string());
        }
        Ok(())
    }
}

/// Labelled images of one size: in memory, or read when they are asked for. A copy shares them.
#[derive(Debug, Clone)]
pub struct Images {
    held: Held,
    shards: Arc<[u32]>,
    /// Images of the set, broken ones too.
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
    pub(super) fn new(content: Content, options: &OpenOptions) -> Result<Self, DataError> {
        let set = match content {
            Content::Raw(data) => {
                let data = match options.limit {
                    Some(limit) => data.subset(limit)?,
                    None => data,
                };
                let (height, width) = options.size.unwrap_or((data.height(), data.width()));
                let channels = options.channels.unwrap_or(data.channels());
                let to = Geometry { channels, height, width };
                return Ok(data.fit_share(to, options.fit, options.crop_share)?.into());
            }
            Content::Encoded(set) => set.limited(options.limit),
        };
        let originals = options.originals && options.bring() != Bring::Keep;
        let stream = match options.stream {
            Streaming::Always => true,
            Streaming::Never if originals => {
                return Err(DataError::invalid(
                    &set.name,
                    "streaming for random crops (augment.resized_crop) of the images as they are stored",
                    "data.stream = never, which holds resized ones",
                ));
            }
            Streaming::Never => false,
            Streaming::Auto => originals || decoded_bytes(&set, options)? > IN_MEMORY,
        };
        let (shards, listed) = (set.shards().into(), set.len());
        if stream {
            return Ok(Self { held: Held::Stream(Arc::new(Stream::new(set, options)?)), shards, listed });
        }
        let broken = Broken::up_to(options.max_broken);
        let data = images::build(&set, options.bring(), options.channels, &broken, options.whole_only)?;
        let (height, width) = options.size.unwrap_or((data.height(), data.width()));
        let to = Geometry { channels: data.channels(), height, width };
        let data = data.fit_share(to, options.fit, options.crop_share)?;
        Ok(Self { held: Held::Memory(Arc::new(data)), shards, listed })
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

    /// (channels, height, width) of every image.
    pub fn shape(&self) -> (usize, usize, usize) {
        match &self.held {
            Held::Memory(data) => (data.channels(), data.height(), data.width()),
            Held::Stream(stream) => stream.shape(),
        }
    }

    /// Values in an image.
    pub fn image_len(&self) -> usize {
        let (channels, height, width) = self.shape();
        channels * height * width
    }

    /// The names of the classes; a label is an index into them.
    pub fn classes(&self) -> &[String] {
        match &self.held {
            Held::Memory(data) => data.classes(),
            Held::Stream(stream) => stream.classes(),
        }
    }

    /// Mean and standard deviation over all values in normalised units ([-1, 1]): of all images in memory, of the
    /// sample of a stream.
    pub fn mean_std(&self) -> (f64, f64) {
        match &self.held {
            Held::Memory(data) => data.mean_std(),
            Held::Stream(stream) => stream.mean_std(),
        }
    }

    /// The order in which an epoch visits the images: any permutation, or with a buffer the shards one after the other
    /// (see [`shard_order`]).
    pub fn order(&self, seed: u64, epoch: u64, buffer: Option<usize>) -> Vec<u32> {
        match buffer {
            None => epoch_order(seed, epoch, self.len()),
            Some(buffer) => self.whole(shard_order(seed, epoch, &self.shards, buffer)),
        }
    }

    /// The images at `indices`, as evaluation sees them, in memory.
    ///
    /// # Errors
    ///
    /// If a file cannot be read or too many are broken; if there are no indices, one is too large, or no image is whole
    /// where broken ones are left out.
    pub fn load(&self, indices: &[u32]) -> Result<Dataset, DataError> {
        let whole = self.load_whole(indices)?;
        whole.ok_or_else(|| DataError::none_whole(self.name()))
    }

    /// As [`load`](Self::load); nothing if none of the images is whole.
    pub(crate) fn load_whole(&self, indices: &[u32]) -> Result<Option<Dataset>, DataError> {
        if let Some(bad) = indices.iter().find(|&&i| i as usize >= self.len()) {
            let expected = format!("indices below the number of images, {}", self.len());
            return Err(DataError::invalid(self.name(), expected, format!("index {bad}")));
        }
        match &self.held {
            Held::Memory(data) => data.take(indices).map(Some),
            Held::Stream(stream) => stream.load_whole(indices),
        }
    }

    /// Indices of at most `limit` images, evenly spaced over the set as [`Dataset::subset`] chooses them; where broken ones
    /// are left out, those that are whole.
    pub fn spread(&self, limit: usize) -> Vec<u32> {
        self.whole(spread(self.listed, limit))
    }

    /// The indices of the images at `places` of the list. They are the places, unless broken ones were left out of memory.
    fn whole(&self, places: Vec<u32>) -> Vec<u32> {
        match self.in_memory().filter(|data| data.len() < self.listed) {
            None => places,
            Some(data) => {
                let index = |place| data.places().binary_search(&place).ok().map(|i| i as u32);
                places.into_iter().filter_map(index).collect()
            }
        }
    }

    /// At most `limit` images in memory, evenly spaced over the set; the first whole ones if none of those is whole.
    ///
    /// # Errors
    ///
    /// As [`Images::load`].
    pub fn sample(&self, limit: usize) -> Result<Dataset, DataError> {
        let chosen = self.spread(limit);
        if !chosen.is_empty()
            && let Some(found) = self.load_whole(&chosen)?
        {
            return Ok(found);
        }
        // The index of an image of a stream is its place; in memory only whole ones have one.
        let mut whole = self.spread(usize::MAX);
        if self.in_memory().is_none() {
            let all = std::mem::take(&mut whole);
            for some in all.chunks(limit.clamp(1, 64)) {
                whole.extend(self.load_whole(some)?.iter().flat_map(|found| found.places()));
                if whole.len() >= limit {
                    break;
                }
            }
        }
        whole.truncate(limit);
        if whole.is_empty() { Err(DataError::none_whole(self.name())) } else { self.load(&whole) }
    }
}

/// Bytes that the decoded set would take: as many for every image as for the first whole one.
fn decoded_bytes(set: &Encoded, options: &OpenOptions) -> Result<u64, DataError> {
    let (channels, (height, width)) = match (options.channels, options.size) {
        (Some(channels), Some(size)) => (channels, size),
        (channels, size) => {
            let mut first = None;
            for i in 0..set.len() {
                first = set.decode(i, |bytes| images::tile(bytes, Bring::Keep))?.ok();
                if first.is_some() || i == options.max_broken {
                    break;
                }
            }
            // Where none is whole, loading says so.
            let Some(first) = first else { return Ok(0) };
            // One image in colour makes the set so.
            (channels.unwrap_or(3), size.unwrap_or(first.size))
        }
    };
    Ok((set.len() as u64).saturating_mul((channels * height * width) as u64))
}

impl OpenOptions {
    /// The options for the images that a model of `train` is evaluated on.
    pub fn for_test(&self, train: &Images) -> Self {
        let (channels, height, width) = train.shape();
        Self {
            size: Some((height, width)),
            channels: Some(channels),
            limit: None,
            originals: false,
            whole_only: true,
            sample: 0,
            ..self.clone()
        }
    }
}
