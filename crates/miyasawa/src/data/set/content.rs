//! What is found at a source: images that are there already, or a list of files.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use super::dataset::Dataset;
use super::image_files::ImageFiles;
use super::sampling::spread;
use crate::data::error::DataError;
use crate::data::notes::Notes;
use crate::digest::hex;

/// Fixes which images are held out of a set that has no parts.
const HOLD_OUT_SEED: u64 = 0;

/// How many images [`SetContent::digest`] reads.
const DIGEST_SAMPLE: usize = 512;

/// A data set as it is found: images that are there already, or files of images.
#[derive(Debug, Clone)]
pub(in crate::data) enum SetContent {
    Raw(Dataset),
    Files(ImageFiles),
}

impl SetContent {
    pub fn classes(&self) -> &[String] {
        match self {
            Self::Raw(data) => data.classes(),
            Self::Files(set) => &set.classes,
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Self::Raw(data) => data.len(),
            Self::Files(set) => set.len(),
        }
    }

    pub fn labels(&self) -> Vec<u32> {
        match self {
            Self::Raw(data) => data.labels().to_vec(),
            Self::Files(set) => set.labels(),
        }
    }

    /// The same images with these class names, which hold its own.
    pub fn with_classes(self, classes: &[String]) -> Self {
        let index =
            |name: &String| classes.iter().position(|other| other == name).unwrap_or(0) as u32;
        let of: Vec<u32> = self.classes().iter().map(index).collect();
        match self {
            Self::Raw(data) => Self::Raw(data.with_classes(classes.to_vec(), &of)),
            Self::Files(mut set) => {
                set.entries.iter_mut().for_each(|entry| entry.label = of[entry.label as usize]);
                Self::Files(ImageFiles { classes: classes.to_vec(), ..set })
            }
        }
    }

    /// What is trained on and what is held out of a set without parts: a tenth of every class.
    pub fn hold_out(&self) -> Result<(Self, Self), DataError> {
        let count = held_out(self.len());
        if self.len() == 1 {
            let name = match self {
                Self::Raw(data) => data.name(),
                Self::Files(set) => &set.name,
            };
            let expected =
                "two images or more, of which one is held out to test on (or others as data.test)";
            return Err(DataError::invalid(name, expected, "one image"));
        }
        Ok(match self {
            Self::Raw(data) => {
                let (rest, held) = data.split(count, HOLD_OUT_SEED)?;
                (Self::Raw(rest), Self::Raw(held))
            }
            Self::Files(set) => {
                let (rest, held) = set.split(count, HOLD_OUT_SEED)?;
                (Self::Files(rest), Self::Files(held))
            }
        })
    }

    /// Identifies the set, wherever it lies, in a folder or an archive: the beginning of a hash of
    /// its classes, of the class of every image, and of some of the images.
    pub fn digest(&self) -> Result<String, DataError> {
        let image = |i| match self {
            Self::Raw(data) => Ok(Cow::from(data.image(i))),
            Self::Files(set) => bytes_of(set, i),
        };
        digest(self.classes(), &self.labels(), image)
    }
}

/// What cannot be read is no image of any set.
fn bytes_of(set: &ImageFiles, i: usize) -> Result<Cow<'_, [u8]>, DataError> {
    Ok(set.try_read(i)?.unwrap_or_default().into())
}

/// As [`SetContent::digest`], of images in files.
#[cfg(feature = "train")]
pub(in crate::data) fn digest_of_files(set: &ImageFiles) -> Result<String, DataError> {
    digest(&set.classes, &set.labels(), |i| bytes_of(set, i))
}

fn digest<'a>(
    classes: &[String],
    labels: &[u32],
    image: impl Fn(usize) -> Result<Cow<'a, [u8]>, DataError>,
) -> Result<String, DataError> {
    let mut hash = Sha256::new();
    let mut add = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    classes.iter().for_each(|name| add(name.as_bytes()));
    labels.iter().for_each(|label| add(&label.to_le_bytes()));
    for i in spread(labels.len(), DIGEST_SAMPLE) {
        add(&image(i as usize)?);
    }
    Ok(hex(hash, 16))
}

/// How many of `count` images are held out.
fn held_out(count: usize) -> usize {
    (count / 10).max(1)
}

/// A data set, whether its source distinguishes a training from a test part, and what was left out
/// or guessed.
pub(in crate::data) struct FoundSet {
    pub content: SetContent,
    pub split: bool,
    pub notes: Notes,
}

impl FoundSet {
    /// Images that are there already.
    pub fn raw(data: Dataset, split: bool) -> Self {
        Self { content: SetContent::Raw(data), split, notes: Notes::default() }
    }
}
