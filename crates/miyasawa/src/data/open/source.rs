//! From the DATA argument to a data set.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::data::error::DataError;
use crate::data::formats::named_sets::{self, NamedSet};
use crate::data::formats::{digits, path, search_paths, tiny_imagenet};
use crate::data::part::Part;
use crate::data::set::content::{FoundSet, SetContent};
use crate::data::set::image_files::ImageFiles;

/// The parsed DATA argument: a named data set or a path.
///
/// | argument | what it is |
/// | --- | --- |
/// | `digits` | the embedded handwritten digits, 1x8x8 |
/// | `fashion-mnist[:DIR]`, `mnist[:DIR]` | four IDX files, gzipped or not |
/// | `cifar10[:DIR]`, `cifar100[:DIR]` | binary files, `cifar-*-binary.tar.gz`, tars of classes |
/// | `tiny-imagenet[:DIR]` | `tiny-imagenet-200` as its archive unpacks |
/// | a path | see [`DataSource::open`] |
///
/// Without DIR, a named set is searched for in the folder that `MIYASAWA_DATA` names and in `data`,
/// Fashion-MNIST first where Debian's package has it; so is a relative path that is not there.
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

impl FromStr for DataSource {
    type Err = DataError;

    fn from_str(spec: &str) -> Result<Self, DataError> {
        let problem =
            |problem: &str| DataError::Spec { spec: spec.to_owned(), problem: problem.to_owned() };
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
    /// Finds a part: what can be listed is not read.
    pub(in crate::data) fn find(&self, part: Part) -> Result<FoundSet, DataError> {
        let roots = search_paths::search_roots();
        let from =
            |set: &NamedSet, folder: &Option<PathBuf>| set.find(folder.as_deref(), &roots, part);
        let found = match self {
            Self::Digits => FoundSet::raw(digits::load(part)?, true),
            Self::FashionMnist(folder) => from(&named_sets::FASHION_MNIST, folder)?,
            Self::Mnist(folder) => from(&named_sets::MNIST, folder)?,
            Self::Cifar10(folder) => from(&named_sets::CIFAR10, folder)?,
            Self::Cifar100(folder) => from(&named_sets::CIFAR100, folder)?,
            Self::TinyImageNet(folder) => {
                tiny_imagenet::find_named(folder.as_deref(), &roots, part)?
            }
            Self::Path(path) => path::find_below(path, &roots, part)?,
        };
        let FoundSet { content, split, notes } = found;
        let content = match content {
            SetContent::Raw(data) => SetContent::Raw(data.renamed(self.to_string())),
            SetContent::Files(set) => {
                SetContent::Files(ImageFiles { name: self.to_string(), ..set })
            }
        };
        notes.warn(&self.to_string());
        if content.len() == 0 {
            return Err(DataError::invalid(&self.to_string(), "at least one image", "none"));
        }
        Ok(FoundSet { content, split, notes })
    }
}
