//! From the DATA argument to a data set.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::broken::Broken;
use super::dataset::{Dataset, spread};
use super::encoded::Encoded;
use super::error::DataError;
use super::fit::{FitMode, Geometry};
use super::images::{self, Bring};
use super::named::{self, Named};
use super::notes::Notes;
use super::{digits, path, places, tiny};
use crate::digest::hex;
use sha2::{Digest, Sha256};

/// Fixes which images [`DataSource::load_both`] holds out of a set that has no parts.
const HOLD_OUT_SEED: u64 = 0;

/// How many images [`Content::digest`] looks at.
const LOOKED_AT: usize = 512;

/// A part of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// What networks are trained on.
    Train,
    /// What they are evaluated on.
    Test,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Train => "train",
            Self::Test => "test",
        })
    }
}

/// What to do with images while they are loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// Bring every image to this (height, width): resized with its aspect kept until it covers the size, then cropped at
    /// the centre. Needed for folders of images of different sizes.
    pub resize: Option<(usize, usize)>,
    /// Convert to this many channels, 1 or 3. Without it a set of files is in colour if one of them is.
    pub channels: Option<usize>,
    /// Load at most this many images, evenly spaced over the set as [`Dataset::subset`] chooses them.
    pub limit: Option<usize>,
}

/// The parsed DATA argument: a named data set or a path.
///
/// | argument | what it is |
/// | --- | --- |
/// | `digits` | the embedded handwritten digits, 1x8x8 |
/// | `fashion-mnist[:DIR]`, `mnist[:DIR]` | four IDX files, gzipped or not |
/// | `cifar10[:DIR]`, `cifar100[:DIR]` | binary files, `cifar-*-binary.tar.gz`, or `train*.tar` and `test*.tar` of class folders |
/// | `tiny-imagenet[:DIR]` | `tiny-imagenet-200` as its archive unpacks |
/// | a path | see [`DataSource::load`] |
///
/// Without DIR, a named set is looked for in the folder that `MIYASAWA_DATA` names and in `data`, Fashion-MNIST first
/// where Debian's package has it; so is a relative path that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataSource {
    /// The embedded digits.
    Digits,
    /// Fashion-MNIST, in a folder or where it usually is.
    FashionMnist(Option<PathBuf>),
    /// MNIST, in a folder or where it usually is.
    Mnist(Option<PathBuf>),
    /// CIFAR-10, in a folder or where it usually is.
    Cifar10(Option<PathBuf>),
    /// CIFAR-100 with its fine labels, in a folder or where it usually is.
    Cifar100(Option<PathBuf>),
    /// Tiny ImageNet, in a folder or where it usually is.
    TinyImageNet(Option<PathBuf>),
    /// A file, a folder, or shards with a range in braces.
    Path(PathBuf),
}

/// A data set as it is found: images that are there already, or files of images.
#[derive(Debug, Clone)]
pub(super) enum Content {
    Raw(Dataset),
    Encoded(Encoded),
}

impl Content {
    pub fn classes(&self) -> &[String] {
        match self {
            Self::Raw(data) => data.classes(),
            Self::Encoded(set) => &set.classes,
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Self::Raw(data) => data.len(),
            Self::Encoded(set) => set.len(),
        }
    }

    pub fn labels(&self) -> Vec<u32> {
        match self {
            Self::Raw(data) => data.labels().to_vec(),
            Self::Encoded(set) => set.labels(),
        }
    }

    /// The same images with these class names, which hold its own.
    pub fn with_classes(self, classes: &[String]) -> Self {
        let index = |name: &String| classes.iter().position(|other| other == name).unwrap_or(0) as u32;
        let of: Vec<u32> = self.classes().iter().map(index).collect();
        match self {
            Self::Raw(data) => Self::Raw(data.with_classes(classes.to_vec(), &of)),
            Self::Encoded(mut set) => {
                set.entries.iter_mut().for_each(|entry| entry.label = of[entry.label as usize]);
                Self::Encoded(Encoded { classes: classes.to_vec(), ..set })
            }
        }
    }

    /// What is trained on and what is held out of a set without parts: a tenth of every class.
    pub fn hold_out(&self) -> Result<(Self, Self), DataError> {
        let count = held_out(self.len());
        if self.len() == 1 {
            let name = match self {
                Self::Raw(data) => data.name(),
                Self::Encoded(set) => &set.name,
            };
            let expected = "two images or more, of which one is held out to test on (or others as data.test)";
            return Err(DataError::invalid(name, expected, "one image"));
        }
        Ok(match self {
            Self::Raw(data) => {
                let (rest, held) = data.split(count, HOLD_OUT_SEED)?;
                (Self::Raw(rest), Self::Raw(held))
            }
            Self::Encoded(set) => {
                let (rest, held) = set.split(count, HOLD_OUT_SEED)?;
                (Self::Encoded(rest), Self::Encoded(held))
            }
        })
    }

    /// Tells the set from others, wherever it lies, in a folder or an archive: the beginning of a hash of its classes, of the
    /// class of every image, and of some of the images.
    pub fn digest(&self) -> Result<String, DataError> {
        let mut hash = Sha256::new();
        let mut add = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        self.classes().iter().for_each(|name| add(name.as_bytes()));
        self.labels().iter().for_each(|label| add(&label.to_le_bytes()));
        for i in spread(self.len(), LOOKED_AT) {
            match self {
                Self::Raw(data) => add(data.image(i as usize)),
                // What cannot be read is no image of any set.
                Self::Encoded(set) => {
                    let read = set.decode(i as usize, |bytes| Ok(bytes.to_vec()))?;
                    add(&read.unwrap_or_default());
                }
            }
        }
        Ok(hex(hash, 16))
    }
}

/// How many of so many images are held out.
fn held_out(count: usize) -> usize {
    (count / 10).max(1)
}

/// A data set, whether its source distinguishes a training from a test part, and what was left out or guessed.
pub(super) struct Found {
    pub content: Content,
    pub split: bool,
    pub notes: Notes,
}

impl Found {
    /// Images that are there already.
    pub fn raw(data: Dataset, split: bool) -> Self {
        Self { content: Content::Raw(data), split, notes: Notes::default() }
    }
}

impl FromStr for DataSource {
    type Err = DataError;

    fn from_str(spec: &str) -> Result<Self, DataError> {
        let problem = |problem: &str| DataError::Spec { spec: spec.to_owned(), problem: problem.to_owned() };
        if spec.trim().is_empty() {
            return Err(problem("it is empty; give a data set's name or a path"));
        }
        let (name, folder) = match spec.split_once(':') {
            Some((name, folder)) => (name, Some(PathBuf::from(folder))),
            None => (spec, None),
        };
        let named: fn(Option<PathBuf>) -> Self = match name {
            "digits" if folder.is_some() => {
                return Err(problem("the digits are embedded and have no folder"));
            }
            "digits" => |_| Self::Digits,
            "fashion-mnist" => Self::FashionMnist,
            "mnist" => Self::Mnist,
            "cifar10" => Self::Cifar10,
            "cifar100" => Self::Cifar100,
            "tiny-imagenet" => Self::TinyImageNet,
            _ => return Ok(Self::Path(PathBuf::from(spec))),
        };
        if folder.as_ref().is_some_and(|folder| folder.as_os_str().is_empty()) {
            return Err(problem("there is no folder after the colon"));
        }
        Ok(named(folder))
    }
}

impl fmt::Display for DataSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, folder) = match self {
            Self::Digits => ("digits", &None),
            Self::FashionMnist(folder) => ("fashion-mnist", folder),
            Self::Mnist(folder) => ("mnist", folder),
            Self::Cifar10(folder) => ("cifar10", folder),
            Self::Cifar100(folder) => ("cifar100", folder),
            Self::TinyImageNet(folder) => ("tiny-imagenet", folder),
            Self::Path(path) => return write!(f, "{}", path.display()),
        };
        match folder {
            Some(folder) => write!(f, "{name}:{}", folder.display()),
            None => f.write_str(name),
        }
    }
}

impl DataSource {
    /// Loads a part of the data set.
    ///
    /// A path may be
    /// - an IDX image file with its label file beside it (`images` in its name becomes `labels`, `idx3` `idx1`);
    /// - a CIFAR binary file;
    /// - a tar or tar.gz of any of the folders below, or WebDataset shards (`name-{00000..00004}.tar`: images with
    ///   `.cls` files, numbers or names, or a `.json` file with a field `label`; class names from `classes.txt` beside them);
    /// - a folder with IDX or CIFAR binary files; with `train*.tar` and `test*.tar` or `val*.tar`, or such tars in subfolders of
    ///   these names; with shards alone; with a tar for each ImageNet class (`n01440764.tar`); with a subfolder for each class; or
    ///   with images alone, which are then all of the class `image`.
    ///
    /// `part` chooses in a named set and where the files are divided by their names or by folders: `train`, `training`,
    /// `train_set`, ... and `test`, `testing`, `val`, `valid`, `dev`, `t10k`, ..., in any case. Anything else is one set whatever the
    /// part. What is left out or guessed is said as a warning, once.
    ///
    /// # Errors
    ///
    /// [`DataError`]: what is missing, damaged or of different sizes, by name.
    pub fn load(&self, part: Part, options: &LoadOptions) -> Result<Dataset, DataError> {
        self.load_part(part, options).map(|(dataset, _)| dataset)
    }

    /// Loads the training and the test part. Of a set that has no parts a tenth of every class is held out for testing,
    /// always the same images.
    ///
    /// # Errors
    ///
    /// As [`DataSource::load`]; also if a set without parts has a single image.
    pub fn load_both(&self, options: &LoadOptions) -> Result<(Dataset, Dataset), DataError> {
        let (train, split) = self.load_part(Part::Train, options)?;
        if split {
            let test = self.load(Part::Test, options)?;
            return match self.aligned(Content::Raw(train), Content::Raw(test))? {
                (Content::Raw(train), Content::Raw(test)) => Ok((train, test)),
                _ => Err(DataError::none_whole(&self.to_string())),
            };
        }
        train.split(held_out(train.len()), HOLD_OUT_SEED)
    }

    /// Finds a part: what can be listed is not read.
    pub(super) fn find(&self, part: Part) -> Result<Found, DataError> {
        let roots = places::search_roots();
        let from = |set: &Named, folder: &Option<PathBuf>| set.find(folder.as_deref(), &roots, part);
        let found = match self {
            Self::Digits => Found::raw(digits::load(part)?, true),
            Self::FashionMnist(folder) => from(&named::FASHION_MNIST, folder)?,
            Self::Mnist(folder) => from(&named::MNIST, folder)?,
            Self::Cifar10(folder) => from(&named::CIFAR10, folder)?,
            Self::Cifar100(folder) => from(&named::CIFAR100, folder)?,
            Self::TinyImageNet(folder) => tiny::find_named(folder.as_deref(), &roots, part)?,
            Self::Path(path) => path::find_below(path, &roots, part)?,
        };
        let Found { content, split, notes } = found;
        let content = match content {
            Content::Raw(data) => Content::Raw(data.renamed(self.to_string())),
            Content::Encoded(set) => Content::Encoded(Encoded { name: self.to_string(), ..set }),
        };
        notes.warn(&self.to_string());
        if content.len() == 0 {
            return Err(DataError::invalid(&self.to_string(), "at least one image", "none"));
        }
        Ok(Found { content, split, notes })
    }

    fn load_part(&self, part: Part, options: &LoadOptions) -> Result<(Dataset, bool), DataError> {
        if let Some(channels) = options.channels.filter(|c| !matches!(c, 1 | 3)) {
            return Err(DataError::invalid(&self.to_string(), "1 or 3 channels", channels.to_string()));
        }
        if let Some((height, width)) = options.resize.filter(|&(h, w)| h == 0 || w == 0) {
            let found = format!("{height}x{width}");
            return Err(DataError::invalid(&self.to_string(), "a size of at least 1x1", found));
        }
        if options.limit == Some(0) {
            return Err(DataError::invalid(&self.to_string(), "a limit of at least 1", "0"));
        }
        let found = self.find(part)?;
        let loaded = match found.content {
            Content::Raw(data) => data,
            Content::Encoded(set) => {
                let bring = options.resize.map_or(Bring::Keep, Bring::Cover);
                images::build(&set.limited(options.limit), bring, options.channels, &Broken::up_to(0), false)?
            }
        };
        // Images were brought to the options' form while they were decoded; raw formats are now.
        let mut dataset = loaded;
        if let Some(limit) = options.limit.filter(|&limit| limit < dataset.len()) {
            dataset = dataset.subset(limit)?;
        }
        let (height, width) = options.resize.unwrap_or((dataset.height(), dataset.width()));
        let channels = options.channels.unwrap_or(dataset.channels());
        let dataset = dataset.fit(Geometry { channels, height, width }, FitMode::Resize)?;
        Ok((dataset, found.split))
    }
}
