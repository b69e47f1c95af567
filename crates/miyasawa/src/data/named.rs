//! The named data sets: what they hold and where they may be.

use std::path::{Path, PathBuf};

use super::error::DataError;
use super::idxnames::{self, Images};
use super::source::{Found, Part};
use super::{idx, names, path, places};

/// A named data set that is kept in files.
pub(super) struct Named {
    /// The DATA argument.
    name: &'static str,
    classes: &'static [&'static str],
    /// Names of its folder or archive below a place where data sets are.
    below: &'static [&'static str],
    /// Where a system package has it.
    package: Option<&'static str>,
    /// How to get it.
    hint: &'static str,
}

pub(super) const FASHION_MNIST: Named = Named {
    name: "fashion-mnist",
    classes: names::FASHION_MNIST,
    below: &["fashion-mnist", "FashionMNIST/raw"],
    // Debian's package dataset-fashion-mnist.
    package: Some("/usr/share/datasets/fashion-mnist"),
    hint: "`miyasawa data fetch fashion-mnist` gets it; or name the folder of its four files: fashion-mnist:DIR",
};

pub(super) const MNIST: Named = Named {
    name: "mnist",
    classes: names::DIGITS,
    below: &["mnist", "MNIST/raw"],
    package: None,
    hint: "`miyasawa data fetch mnist` gets it; or name the folder of its four files: mnist:DIR",
};

pub(super) const CIFAR10: Named = Named {
    name: "cifar10",
    classes: names::CIFAR10,
    below: &["cifar-10-batches-bin", "cifar-10-binary.tar.gz", "cifar10"],
    package: None,
    hint: "`miyasawa data fetch cifar10` gets it; or name the folder of cifar-10-binary.tar.gz: cifar10:DIR",
};

pub(super) const CIFAR100: Named = Named {
    name: "cifar100",
    classes: names::CIFAR100,
    below: &["cifar-100-binary", "cifar-100-binary.tar.gz", "cifar100"],
    package: None,
    hint: "`miyasawa data fetch cifar100` gets it; or name the folder of cifar-100-binary.tar.gz: cifar100:DIR",
};

impl Named {
    /// Finds a part in `folder`, or in the first of the usual places below `roots` that holds the set.
    pub fn find(&self, folder: Option<&Path>, roots: &[PathBuf], part: Part) -> Result<Found, DataError> {
        let mut places = places::usual(folder, roots, self.below);
        if folder.is_none() {
            places.splice(0..0, self.package.map(PathBuf::from));
        }
        places::first(places, format!("the {part} part of the data set {}", self.name), self.hint, |place| {
            let Some(set) = self.find_in(place, part)? else { return Ok(None) };
            let found = set.content.classes();
            if found != self.classes {
                return Err(DataError::malformed(
                    place,
                    format!("the {} classes of {}", self.classes.len(), self.name),
                    format!("{} classes, the first '{}'", found.len(), found[0]),
                ));
            }
            Ok(Some(set))
        })
    }

    /// Finds a part in one place; `None` if nothing there looks like the set.
    fn find_in(&self, place: &Path, part: Part) -> Result<Option<Found>, DataError> {
        if !place.exists() {
            return Ok(None);
        }
        if place.is_file() {
            return path::find(place, part).map(Some);
        }
        if let Some(images) = Images::of(place)? {
            let of_part = if part == Part::Train { &images.train } else { &images.test };
            if let Some(of_part) = of_part {
                let labels = idxnames::labels_beside(of_part)?;
                return idx::load(self.name, of_part, &labels, Some(names::owned(self.classes)), true)
                    .map(Some);
            }
        }
        if path::has_parts(place)? { path::find(place, part).map(Some) } else { Ok(None) }
    }
}
