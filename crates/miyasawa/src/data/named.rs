//! The named data sets: what they hold and where they may be.

use std::path::{Path, PathBuf};

use super::error::DataError;
use super::source::{LoadOptions, Loaded, Part};
use super::{idx, listing, names, path, read};

/// The environment variable that names the folder where data sets are.
const DATA_FOLDER: &str = "MIYASAWA_DATA";

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
    hint: "Install Debian's package dataset-fashion-mnist, or get the four files from \
           https://github.com/zalandoresearch/fashion-mnist and name their folder: fashion-mnist:DIR",
};

pub(super) const MNIST: Named = Named {
    name: "mnist",
    classes: names::DIGITS,
    below: &["mnist", "MNIST/raw"],
    package: None,
    hint: "Get the four files of MNIST (train-images-idx3-ubyte.gz and so on) and name their folder: mnist:DIR",
};

pub(super) const CIFAR10: Named = Named {
    name: "cifar10",
    classes: names::CIFAR10,
    below: &["cifar-10-batches-bin", "cifar-10-binary.tar.gz", "cifar10"],
    package: None,
    hint: "Get https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz and name its folder: cifar10:DIR",
};

pub(super) const CIFAR100: Named = Named {
    name: "cifar100",
    classes: names::CIFAR100,
    below: &["cifar-100-binary", "cifar-100-binary.tar.gz", "cifar100"],
    package: None,
    hint: "Get https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz and name its folder: cifar100:DIR",
};

/// The folders where data sets are looked for when none is named.
pub(super) fn search_roots() -> Vec<PathBuf> {
    let named = std::env::var_os(DATA_FOLDER).filter(|value| !value.is_empty()).map(PathBuf::from);
    named.into_iter().chain([PathBuf::from("data")]).collect()
}

impl Named {
    /// Loads a part from `folder`, or from the first of the usual places below `roots` that holds the set.
    pub fn load(
        &self,
        folder: Option<&Path>,
        roots: &[PathBuf],
        part: Part,
        options: &LoadOptions,
    ) -> Result<Loaded, DataError> {
        let below = |root: &Path| self.below.iter().map(|name| root.join(name)).collect::<Vec<PathBuf>>();
        let places: Vec<PathBuf> = match folder {
            Some(folder) => [vec![folder.to_owned()], below(folder)].concat(),
            None => self
                .package
                .iter()
                .map(PathBuf::from)
                .chain(roots.iter().flat_map(|root| below(root)))
                .collect(),
        };
        for place in &places {
            if let Some(loaded) = self.load_from(place, part, options)? {
                let found = loaded.dataset.classes();
                if found != self.classes {
                    return Err(DataError::malformed(
                        place,
                        format!("the {} classes of {}", self.classes.len(), self.name),
                        format!("{} classes, the first '{}'", found.len(), found[0]),
                    ));
                }
                return Ok(loaded);
            }
        }
        Err(DataError::NotFound {
            what: format!("the {part} part of the data set {}", self.name),
            looked: places,
            hint: self.hint.to_owned(),
        })
    }

    /// Loads a part from one place; `None` if nothing there looks like the set.
    fn load_from(
        &self,
        place: &Path,
        part: Part,
        options: &LoadOptions,
    ) -> Result<Option<Loaded>, DataError> {
        if !place.exists() {
            return Ok(None);
        }
        if place.is_file() {
            return path::load(place, part, options).map(Some);
        }
        if let Some(images) = idx_images(place, part)? {
            let labels = idx::labels_beside(&images)?;
            let dataset = idx::load(self.name, &images, &labels, Some(names::owned(self.classes)))?;
            return Ok(Some(Loaded { dataset, split: true }));
        }
        if path::has_parts(place)? { path::load(place, part, options).map(Some) } else { Ok(None) }
    }
}

/// The IDX image file of a part in a folder: by its prefix, `t10k` being MNIST's name for the test part.
pub(super) fn idx_images(folder: &Path, part: Part) -> Result<Option<PathBuf>, DataError> {
    let prefixes: &[&str] = match part {
        Part::Train => listing::part_names(Part::Train),
        Part::Test => &["t10k", "test", "val"],
    };
    let files = path::files(folder)?;
    Ok(prefixes
        .iter()
        .find_map(|prefix| {
            files.iter().find(|file| {
                let name = read::file_name(file);
                name.starts_with(prefix) && idx::is_image_name(&name)
            })
        })
        .cloned())
}
