//! Sets made of a set, and what is measured on all of its values.

use super::Dataset;
use crate::data::error::DataError;
use crate::data::set::histogram::Histogram;
use crate::data::set::sampling::{spread, stratified};

impl Dataset {
    /// The images at `indices`, in that order; an index may occur more than once. Each keeps its
    /// [source index](Dataset::source_index).
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// # let classes = vec!["dark".to_owned(), "light".to_owned()];
    /// # let pixels = vec![10, 20, 200, 210, 30, 40, 220, 230];
    /// # let geometry = Geometry::new(1, 1, 2);
    /// # let data = Dataset::new("mine", geometry, classes, pixels, vec![0, 1, 0, 1])?;
    /// assert_eq!(data.take(&[3, 1])?.image(0), [220, 230]);
    /// assert!(data.take(&[4]).is_err());
    /// # Ok::<(), miyasawa::data::DataError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`DataError::Empty`] if there are no indices, [`DataError::Invalid`] if one is not below
    /// [`Dataset::len`].
    pub fn take(&self, indices: &[u32]) -> Result<Self, DataError> {
        if let Some(&bad) = indices.iter().find(|&&i| i as usize >= self.len()) {
            return Err(DataError::invalid(
                &self.name,
                format!("indices below the number of images, {}", self.len()),
                format!("index {bad}"),
            ));
        }
        let pixels = indices.iter().flat_map(|&i| self.image(i as usize)).copied().collect();
        let labels = indices.iter().map(|&i| self.labels[i as usize]).collect();
        let from = indices.iter().map(|&i| self.source_indices[i as usize]).collect();
        let (name, classes) = (self.name.clone(), self.classes.clone());
        Ok(Self::new(name, self.geometry, classes, pixels, labels)?.with_source_indices(from))
    }

    /// The same images as parts of another set: one source index for each.
    pub(in crate::data) fn with_source_indices(self, source_indices: Vec<u32>) -> Self {
        debug_assert_eq!(source_indices.len(), self.len());
        Self { source_indices, ..self }
    }

    /// At most `limit` images, evenly spaced over the set (image floor(i * len / limit) for
    /// every i).
    ///
    /// Evenly spaced and not the first ones, because a set read from class folders is sorted by
    /// class: its beginning would hold one class only. All classes are kept, so that labels mean
    /// the same.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// # let classes = vec!["dark".to_owned(), "light".to_owned()];
    /// # let pixels = vec![10, 20, 200, 210, 30, 40, 220, 230];
    /// # let geometry = Geometry::new(1, 1, 2);
    /// # let data = Dataset::new("mine", geometry, classes, pixels, vec![0, 1, 0, 1])?;
    /// assert_eq!(data.subset(2)?.labels(), [0, 0]); // the images 0 and 2
    /// # Ok::<(), miyasawa::data::DataError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`DataError::Empty`] if `limit` is 0.
    pub fn subset(&self, limit: usize) -> Result<Self, DataError> {
        if limit >= self.len() {
            return Ok(self.clone());
        }
        self.take(&spread(self.len(), limit))
    }

    /// Splits the set into (the rest, `count` held-out images), at random but fixed by `seed`,
    /// with every class held out in proportion to its size (largest remainders, ties to the lower
    /// class). Both keep the set's order.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// # let classes = vec!["dark".to_owned(), "light".to_owned()];
    /// # let pixels = vec![10, 20, 200, 210, 30, 40, 220, 230];
    /// # let geometry = Geometry::new(1, 1, 2);
    /// # let data = Dataset::new("mine", geometry, classes, pixels, vec![0, 1, 0, 1])?;
    /// let (rest, held_out) = data.split(2, 0)?;
    /// assert_eq!((rest.len(), held_out.len()), (2, 2));
    /// # Ok::<(), miyasawa::data::DataError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`DataError::Invalid`] unless 0 < `count` < [`Dataset::len`].
    pub fn split(&self, count: usize, seed: u64) -> Result<(Self, Self), DataError> {
        let (rest, held) = stratified(&self.name, &self.labels, self.classes.len(), count, seed)?;
        Ok((self.take(&rest)?, self.take(&held)?))
    }

    /// Mean and standard deviation over all values of the set in normalised units ([-1, 1]); the
    /// standard deviation of the training set is sigma_data of the model's preconditioning (Karras
    /// et al. 2022, table 1).
    ///
    /// Computed from exact integer sums, so it does not depend on the order of the images.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// # let classes = vec!["dark".to_owned(), "light".to_owned()];
    /// # let pixels = vec![10, 20, 200, 210, 30, 40, 220, 230];
    /// # let geometry = Geometry::new(1, 1, 2);
    /// # let data = Dataset::new("mine", geometry, classes, pixels, vec![0, 1, 0, 1])?;
    /// let (mean, std) = data.mean_std();
    /// assert!(mean.abs() < 0.1 && std > 0.7);
    /// # Ok::<(), miyasawa::data::DataError>(())
    /// ```
    pub fn mean_std(&self) -> (f64, f64) {
        let mut counts = Histogram::default();
        counts.add(&self.pixels);
        counts.mean_std()
    }

    pub(in crate::data) fn renamed(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The same images with other class names, of which the index of each of its own is given.
    pub(in crate::data) fn with_classes(mut self, classes: Vec<String>, index: &[u32]) -> Self {
        self.labels.iter_mut().for_each(|label| *label = index[*label as usize]);
        Self { classes, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Geometry;

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|i| i.to_string()).collect()
    }

    fn ramp(len: usize, classes: usize) -> Dataset {
        let labels = (0..len).map(|i| (i * classes / len) as u32).collect();
        Dataset::new(
            "ramp",
            Geometry::new(1, 1, 2),
            names(classes),
            (0..2 * len).map(|i| i as u8).collect(),
            labels,
        )
        .unwrap()
    }

    #[test]
    fn a_subset_is_spread_over_the_classes() {
        let data = ramp(100, 10);
        let few = data.subset(20).unwrap();
        assert_eq!(few.labels(), (0..20).map(|i| i / 2).collect::<Vec<u32>>());
        assert_eq!(few.image(1), data.image(5));
        assert_eq!(
            (few.source_index(1), few.subset(4).unwrap().source_index(3), data.source_index(7)),
            (5, 75, 7)
        );
        assert_eq!(data.subset(1000).unwrap(), data);
        assert!(data.subset(0).is_err());
        assert!(data.take(&[100]).is_err());
    }

    #[test]
    fn a_split_is_stratified_complete_and_fixed_by_its_seed() {
        let data = ramp(103, 4);
        let (rest, held) = data.split(21, 5).unwrap();
        assert_eq!((rest.len(), held.len()), (82, 21));
        for class in 0..4 {
            let n = held.labels().iter().filter(|&&l| l == class).count();
            assert!((5..=6).contains(&n), "class {class}: {n}");
        }
        let mut all: Vec<u8> = rest.pixels().iter().chain(held.pixels()).copied().collect();
        all.sort_unstable();
        assert_eq!(all, data.pixels());
        assert_eq!(data.split(21, 5).unwrap(), (rest, held.clone()));
        assert_ne!(data.split(21, 6).unwrap().1, held);
        assert!(data.split(0, 0).is_err() && data.split(103, 0).is_err());
    }

    #[test]
    fn mean_and_deviation_are_in_normalised_units() {
        let data =
            Dataset::new("x", Geometry::new(1, 1, 2), names(1), vec![0, 255], vec![0]).unwrap();
        let (mean, std) = data.mean_std();
        assert!(mean.abs() < 1e-15 && (std - 1.0).abs() < 1e-15);
    }
}
