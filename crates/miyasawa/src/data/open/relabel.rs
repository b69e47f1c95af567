//! The classes of a set with the labels of a model: matched by their names.

use super::choose::UnopenedSet;
use crate::data::error::DataError;
use crate::data::formats::class_folders::NO_CLASS;
use crate::data::set::content::SetContent;
use crate::data::set::dataset::Dataset;
use crate::data::set::image_files::{Entry, ImageFiles};

impl SetContent {
    /// Whether its images are of no class: they lie in a folder without class folders.
    pub fn is_unlabelled(&self) -> bool {
        self.classes() == [NO_CLASS]
    }

    /// The classes of its images that are not among `classes`.
    pub fn unknown(&self, classes: &[String]) -> Vec<String> {
        let own = self.classes();
        let mut occurs = vec![false; own.len()];
        self.labels().iter().for_each(|label| occurs[*label as usize] = true);
        let unknown =
            own.iter().zip(occurs).filter(|(name, occurs)| *occurs && !classes.contains(name));
        unknown.map(|(name, _)| name.clone()).collect()
    }

    /// The same images, labelled by their indices in `classes`, which may be more and in another
    /// order.
    pub fn in_classes(self, name: &str, classes: &[String]) -> Result<Self, DataError> {
        if self.classes() == classes {
            return Ok(self);
        }
        let unknown = self.unknown(classes);
        if !unknown.is_empty() {
            let expected = format!("some of the classes {}", classes.join(", "));
            return Err(DataError::invalid(name, expected, unknown.join(", ")));
        }
        let mut label_of = Vec::with_capacity(self.classes().len());
        for own in self.classes() {
            let mut same = (0u32..).zip(classes).filter(|(_, class)| *class == own);
            // A class without images needs no label.
            label_of.push(same.next().map_or(0, |(label, _)| label));
            if same.next().is_some() {
                let found = format!("'{own}' twice");
                return Err(DataError::invalid(name, "classes with different names", found));
            }
        }
        Ok(match self {
            Self::Raw(data) => {
                let labels = data.labels().iter().map(|label| label_of[*label as usize]).collect();
                let (geometry, pixels) = (data.geometry(), data.pixels().to_vec());
                let named = Dataset::new(data.name(), geometry, classes.to_vec(), pixels, labels)?;
                Self::Raw(named.with_source_indices(data.source_indices().to_vec()))
            }
            Self::Files(set) => {
                let relabel =
                    |entry: Entry| Entry { label: label_of[entry.label as usize], ..entry };
                let entries = set.entries.into_iter().map(relabel).collect();
                Self::Files(ImageFiles { entries, classes: classes.to_vec(), ..set })
            }
        })
    }
}

impl ImageFiles {
    /// Makes sure that no image lies in a folder where another lies in none: are folders classes?
    ///
    /// # Errors
    ///
    /// [`DataError::Invalid`] with an example.
    pub(in crate::data) fn check_layout(&self) -> Result<(), DataError> {
        if self.classes != [NO_CLASS] {
            return Ok(());
        }
        let depth = |entry: &&Entry| entry.name.matches('/').count();
        let by_depth = || self.entries.iter().map(|entry| (depth(&entry), &entry.name));
        let (Some(flat), Some(foldered)) = (by_depth().min(), by_depth().max()) else {
            return Ok(());
        };
        if flat.0 == foldered.0 {
            return Ok(());
        }
        let expected = "every image in a class folder or none (all are taken where no classes are \
                        learned: data.unlabelled=true)";
        let found = format!("'{}' and '{}'", foldered.1, flat.1);
        Err(DataError::invalid(&self.name, expected, found))
    }
}

impl UnopenedSet {
    /// Whether its images are of no class: they lie in a folder without class folders.
    pub fn is_unlabelled(&self) -> bool {
        self.content.is_unlabelled()
    }

    /// The classes of its images that are not among `classes`.
    pub fn unknown(&self, classes: &[String]) -> Vec<String> {
        self.content.unknown(classes)
    }

    /// The same images, labelled by their indices in `classes`, which may be more and in another
    /// order.
    ///
    /// # Errors
    ///
    /// If an image's class is not among them, or a name is there twice.
    pub fn in_classes(mut self, classes: &[String]) -> Result<Self, DataError> {
        self.content = self.content.in_classes(&self.name, classes)?;
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{DataSource, Geometry, Images, OpenOptions};

    fn names(all: &[&str]) -> Vec<String> {
        all.iter().map(|name| (*name).to_owned()).collect()
    }

    fn raw() -> SetContent {
        let classes = names(&["dog", "cat", "nothing"]);
        SetContent::Raw(
            Dataset::new("x", Geometry::new(1, 1, 1), classes, vec![5, 6, 7], vec![1, 0, 1])
                .unwrap(),
        )
    }

    #[test]
    fn classes_are_matched_by_name() {
        let all = names(&["bird", "cat", "dog"]);
        let found = raw().in_classes("x", &all).unwrap();
        assert_eq!((found.classes(), found.labels()), (&all[..], vec![1, 2, 1]));
        assert!(raw().unknown(&all).is_empty(), "a class without images is no obstacle");
        let same = names(&["dog", "cat", "nothing"]);
        assert_eq!(raw().in_classes("x", &same).unwrap().labels(), [1, 0, 1]);
        let error = raw().in_classes("x", &names(&["cat", "bird"])).unwrap_err().to_string();
        assert!(error.contains("some of the classes cat, bird, found dog"), "{error}");
        let error = raw().in_classes("x", &names(&["cat", "dog", "cat"])).unwrap_err().to_string();
        assert!(error.contains("'cat' twice"), "{error}");
    }

    #[test]
    fn files_and_values_are_labelled_alike() {
        let dir = tempfile::tempdir().unwrap();
        for (class, value) in [("cat", 9), ("dog", 90)] {
            std::fs::create_dir(dir.path().join(class)).unwrap();
            let image = image::GrayImage::from_pixel(2, 2, image::Luma([value]));
            image.save(dir.path().join(class).join("a.png")).unwrap();
        }
        let all = names(&["dog", "emu", "cat"]);
        let source: DataSource = dir.path().display().to_string().parse().unwrap();
        let chosen = source.choose(None).unwrap();
        assert!(!chosen.is_unlabelled() && chosen.unknown(&names(&["dog"])) == ["cat"]);
        let set: Images = chosen.in_classes(&all).unwrap().open(&OpenOptions::default()).unwrap();
        let data = set.load(&[0, 1]).unwrap();
        assert_eq!((data.classes(), data.labels(), data.image(0)[0]), (&all[..], &[2, 0][..], 9));
        let flat: DataSource = dir.path().join("cat").display().to_string().parse().unwrap();
        assert!(flat.choose(None).unwrap().is_unlabelled());
    }
}
