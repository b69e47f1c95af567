//! The named data sets: what they hold and where they may be.

use std::path::{Path, PathBuf};

use super::idx_names::{self, IdxImageFiles};
use super::{class_names, idx, path, search_paths};
use crate::data::error::DataError;
use crate::data::part::Part;
use crate::data::set::content::FoundSet;

/// A named data set that is kept in files.
pub(in crate::data) struct NamedSet {
    /// The DATA argument.
    name: &'static str,
    classes: &'static [&'static str],
    /// Names of its folder or archive below a folder of data sets.
    below: &'static [&'static str],
    /// Where a system package has it.
    package: Option<&'static str>,
    /// How to get it.
    hint: &'static str,
}

pub(in crate::data) const FASHION_MNIST: NamedSet = NamedSet {
    name: "fashion-mnist",
    classes: class_names::FASHION_MNIST,
    below: &["fashion-mnist", "FashionMNIST/raw"],
    // Debian's package dataset-fashion-mnist.
    package: Some("/usr/share/datasets/fashion-mnist"),
    hint: "`miyasawa data fetch fashion-mnist` gets it; or name the folder of its four files: \
           fashion-mnist:DIR",
};

pub(in crate::data) const MNIST: NamedSet = NamedSet {
    name: "mnist",
    classes: class_names::DIGITS,
    below: &["mnist", "MNIST/raw"],
    package: None,
    hint: "`miyasawa data fetch mnist` gets it; or name the folder of its four files: mnist:DIR",
};

pub(in crate::data) const CIFAR10: NamedSet = NamedSet {
    name: "cifar10",
    classes: class_names::CIFAR10,
    below: &["cifar-10-batches-bin", "cifar-10-binary.tar.gz", "cifar10"],
    package: None,
    hint: "`miyasawa data fetch cifar10` gets it; or name the folder of cifar-10-binary.tar.gz: \
           cifar10:DIR",
};

pub(in crate::data) const CIFAR100: NamedSet = NamedSet {
    name: "cifar100",
    classes: class_names::CIFAR100,
    below: &["cifar-100-binary", "cifar-100-binary.tar.gz", "cifar100"],
    package: None,
    hint: "`miyasawa data fetch cifar100` gets it; or name the folder of cifar-100-binary.tar.gz: \
           cifar100:DIR",
};

impl NamedSet {
    /// Finds a part in `folder`, or in the first usual folder below `roots` that holds the set.
    pub fn find(
        &self,
        folder: Option<&Path>,
        roots: &[PathBuf],
        part: Part,
    ) -> Result<FoundSet, DataError> {
        let mut candidates = search_paths::usual(folder, roots, self.below);
        if folder.is_none() {
            candidates.splice(0..0, self.package.map(PathBuf::from));
        }
        search_paths::first(
            candidates,
            format!("the {part} part of the data set {}", self.name),
            self.hint,
            |candidate| {
                let Some(set) = self.find_in(candidate, part)? else { return Ok(None) };
                let found = set.content.classes();
                if found != self.classes {
                    return Err(DataError::malformed(
                        candidate,
                        format!("the {} classes of {}", self.classes.len(), self.name),
                        format!("{} classes, the first '{}'", found.len(), found[0]),
                    ));
                }
                Ok(Some(set))
            },
        )
    }

    /// Finds a part at one path; `None` if nothing there is like the set.
    fn find_in(&self, candidate: &Path, part: Part) -> Result<Option<FoundSet>, DataError> {
        if !candidate.exists() {
            return Ok(None);
        }
        if candidate.is_file() {
            return path::find(candidate, part).map(Some);
        }
        if let Some(images) = IdxImageFiles::find(candidate)? {
            let of_part = if part == Part::Train { &images.train } else { &images.test };
            if let Some(of_part) = of_part {
                let labels = idx_names::labels_beside(of_part)?;
                return idx::load(
                    self.name,
                    of_part,
                    &labels,
                    Some(class_names::owned(self.classes)),
                    true,
                )
                .map(Some);
            }
        }
        if path::has_parts(candidate)? { path::find(candidate, part).map(Some) } else { Ok(None) }
    }
}
