//! How a set is opened.

use super::error::DataError;
use crate::image::{CROP_SHARE, Geometry, ResizeMode};

/// Whether images are decoded once and held in memory, or whenever they are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Streaming {
    /// In memory if the decoded images take at most 1 GiB and no crops of the stored ones are
    /// needed.
    #[default]
    Auto,
    /// Always streamed; sets that are not made of images (IDX, CIFAR's binary files) are small
    /// and loaded.
    Always,
    /// Always in memory.
    Never,
}

/// How a set is opened.
///
/// ```
/// use miyasawa::data::{DataSource, OpenOptions, Part, ResizeMode};
///
/// let options = OpenOptions {
///     size: Some((16, 12)),
///     resize_mode: ResizeMode::Resize,
///     channels: Some(3),
///     limit: Some(100),
///     ..OpenOptions::default()
/// };
/// let set = DataSource::Digits.open(Part::Train, &options)?;
/// assert_eq!((set.len(), set.geometry().to_string().as_str()), (100, "3x16x12"));
/// # Ok::<(), miyasawa::data::DataError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct OpenOptions {
    /// The (height, width) of images; `None` for their own, which must be the same for all.
    pub size: Option<(usize, usize)>,
    /// How images come to that size.
    pub resize_mode: ResizeMode,
    /// The share of the shorter side that [`ResizeMode::ResizeCrop`] keeps.
    pub crop_share: f64,
    /// 1 or 3; `None` for colour if one image is in colour (of a stream: one of the sample).
    pub channels: Option<usize>,
    /// Take at most this many images for training, evenly spaced over the set.
    pub limit: Option<usize>,
    /// In memory or streamed.
    pub stream: Streaming,
    /// Side of the random squares that are cut out of the images, which then may have any sizes;
    /// those that are smaller are left out. Evaluation sees the square in the middle.
    pub patch: Option<usize>,
    /// Whether crops of the stored images will be asked for
    /// ([`Augment::resized_crop`](super::Augment::resized_crop)), so that resized ones in memory
    /// will not do.
    pub originals: bool,
    /// Whether no classes are learned: images may then lie in folders and beside them.
    pub unlabelled: bool,
    /// Corrupt images that are tolerated before it is an error.
    pub max_corrupt: usize,
    /// Leave corrupt images out, as evaluation needs it. Otherwise the next intact one takes
    /// the place of each, as training needs it.
    pub skip_corrupt: bool,
    /// Images of a stream that mean and deviation are measured on, of a fixed shuffle; 0 for
    /// none.
    pub sample: usize,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            size: None,
            resize_mode: ResizeMode::Pad,
            crop_share: CROP_SHARE,
            channels: None,
            limit: None,
            stream: Streaming::Auto,
            patch: None,
            originals: false,
            unlabelled: false,
            max_corrupt: 100,
            skip_corrupt: false,
            sample: 4096,
        }
    }
}

impl OpenOptions {
    /// The options for the test set of a model that learns from images of this geometry: the
    /// same geometry, all images, corrupt ones left out.
    pub fn for_test(&self, train: Geometry) -> Self {
        Self {
            size: Some(train.size()),
            channels: Some(train.channels),
            limit: None,
            patch: None,
            originals: false,
            skip_corrupt: true,
            sample: 0,
            ..self.clone()
        }
    }

    pub(super) fn target(&self) -> TargetSize {
        match (self.size, self.resize_mode) {
            (Some(size), ResizeMode::Resize) => TargetSize::Cover(size),
            (Some(size), ResizeMode::ResizeCrop) => TargetSize::Crop(size, self.crop_share),
            _ => TargetSize::AsStored,
        }
    }

    pub(super) fn check(&self, name: &str) -> Result<(), DataError> {
        let problem =
            |expected: &str, found: String| Err(DataError::invalid(name, expected, found));
        if let Some(channels) = self.channels.filter(|c| !matches!(c, 1 | 3)) {
            return problem("1 or 3 channels", channels.to_string());
        }
        if let Some((height, width)) = self.size.filter(|&(h, w)| h == 0 || w == 0) {
            return problem("a size of at least 1x1", format!("{height}x{width}"));
        }
        if self.patch == Some(0) {
            return problem("patches of at least 1x1", "0".to_owned());
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

/// The size to which images are resized while they are decoded. Padding comes later.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum TargetSize {
    /// As they are stored.
    AsStored,
    /// [`ResizeMode::Resize`] to this (height, width).
    Cover((usize, usize)),
    /// [`ResizeMode::ResizeCrop`] to this (height, width) with this share.
    Crop((usize, usize), f64),
}
