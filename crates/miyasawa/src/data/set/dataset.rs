//! A set of labelled images of one size, in memory.

use sha2::{Digest, Sha256};

use super::histogram::Histogram;
use super::sampling::{spread, stratified};
use crate::data::error::DataError;
use crate::data::range::ValueRange;
use crate::digest::hex;
use crate::image::Geometry;

/// Labelled 8-bit images of one size, in memory.
///
/// Opened from files by [`DataSource::open`](crate::data::DataSource::open), or made of a program's
/// own arrays by [`Dataset::new`] (8 bits) and [`Dataset::from_f32`]. Either way its invariants
/// hold: there is at least one image, every label is below the number of classes, channels are 1
/// or 3, and the lengths agree.
///
/// Two sets are equal if they have the same name and hold the same images, wherever they were
/// [taken](Dataset::take) from.
#[derive(Debug, Clone)]
pub struct Dataset {
    name: String,
    geometry: Geometry,
    classes: Vec<String>,
    pixels: Vec<u8>,
    labels: Vec<u32>,
    source_indices: Vec<u32>,
}

impl PartialEq for Dataset {
    fn eq(&self, other: &Self) -> bool {
        let Self { name, geometry, classes, pixels, labels, source_indices: _ } = self;
        (name, geometry) == (&other.name, &other.geometry)
            && (classes, labels, pixels) == (&other.classes, &other.labels, &other.pixels)
    }
}

impl Eq for Dataset {}

impl Dataset {
    /// A data set from arrays: `pixels` holds N images as `[N, channels, height, width]`,
    /// contiguous, 0 for black and 255 for white; `labels` holds N indices into `classes`.
    ///
    /// ```
    /// use miyasawa::data::{Dataset, Geometry, Images};
    ///
    /// let classes = vec!["dark".to_owned(), "light".to_owned()];
    /// let pixels = vec![10, 20, 30, 40, 200, 210, 220, 230];
    /// let data = Dataset::new("mine", Geometry::new(1, 2, 2), classes, pixels, vec![0, 1])?;
    /// assert_eq!((data.len(), data.image(1)), (2, &[200, 210, 220, 230][..]));
    /// // What a `Trainer` takes.
    /// let train = Images::from(data);
    /// # assert_eq!(train.len(), 2);
    /// # Ok::<(), miyasawa::data::DataError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`DataError::Empty`] without images, [`DataError::WrongLength`] if the lengths do not
    /// agree, [`DataError::LabelOutOfRange`] if a label has no class, [`DataError::Invalid`] if a
    /// side is 0 or channels are neither 1 nor 3.
    pub fn new(
        name: impl Into<String>,
        geometry: impl Into<Geometry>,
        classes: Vec<String>,
        pixels: Vec<u8>,
        labels: Vec<u32>,
    ) -> Result<Self, DataError> {
        let (name, geometry) = (name.into(), geometry.into());
        check_geometry(&name, geometry)?;
        check_labels(&name, &labels, classes.len())?;
        check_length(&name, geometry, labels.len(), pixels.len())?;
        let source_indices = (0..labels.len() as u32).collect();
        Ok(Self { name, geometry, classes, pixels, labels, source_indices })
    }

    /// As [`Dataset::new`], from floating-point values. They are stored with 8 bits: each becomes
    /// the nearest of the 256 levels of its range.
    ///
    /// ```
    /// use miyasawa::data::{DataError, Dataset, Geometry, ValueRange};
    ///
    /// let geometry = Geometry::new(1, 1, 2);
    /// let set = |values: &[f32]| {
    ///     let (classes, labels) = (vec!["a".to_owned()], vec![0]);
    ///     Dataset::from_f32("mine", geometry, classes, values, ValueRange::Unit, labels)
    /// };
    /// assert_eq!(set(&[0.0, 0.5])?.pixels(), [0, 128]);
    /// assert!(matches!(set(&[0.0, f32::NAN]), Err(DataError::ValueOutOfRange { .. })));
    /// # Ok::<(), DataError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Dataset::new`]; also [`DataError::ValueOutOfRange`] if a value is NaN or more than half
    /// a level outside its range.
    pub fn from_f32(
        name: impl Into<String>,
        geometry: impl Into<Geometry>,
        classes: Vec<String>,
        values: &[f32],
        range: ValueRange,
        labels: Vec<u32>,
    ) -> Result<Self, DataError> {
        let (name, geometry) = (name.into(), geometry.into());
        check_geometry(&name, geometry)?;
        check_length(&name, geometry, labels.len(), values.len())?;
        if let Some(at) = values.iter().position(|value| !range.holds(*value)) {
            let (image, index) = (at / geometry.values(), at % geometry.values());
            return Err(DataError::ValueOutOfRange {
                name,
                image,
                index,
                value: values[at],
                range,
            });
        }
        let pixels = values.iter().map(|value| range.level(*value)).collect();
        Self::new(name, geometry, classes, pixels, labels)
    }

    /// What the set is called in reports: the DATA argument it came from.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number of images, at least 1.
    #[allow(clippy::len_without_is_empty, reason = "a data set is never empty")]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Channels, height and width of every image.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// 1 for grey, 3 for red, green, blue.
    pub fn channels(&self) -> usize {
        self.geometry.channels
    }

    /// Rows of every image.
    pub fn height(&self) -> usize {
        self.geometry.height
    }

    /// Columns of every image.
    pub fn width(&self) -> usize {
        self.geometry.width
    }

    /// Values in an image: channels * height * width.
    pub fn image_len(&self) -> usize {
        self.geometry.values()
    }

    /// The names of the classes; a label is an index into them.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// All values, (N, C, H, W).
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The class of every image.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// The values of image `i`, (C, H, W).
    ///
    /// # Panics
    ///
    /// If `i` is not below [`Dataset::len`].
    pub fn image(&self, i: usize) -> &[u8] {
        let len = self.image_len();
        &self.pixels[i * len..(i + 1) * len]
    }

    /// The index of image `i` in the set that this one was [taken](Dataset::take) from; `i`
    /// itself if it was not.
    ///
    /// # Panics
    ///
    /// If `i` is not below [`Dataset::len`].
    pub fn source_index(&self, i: usize) -> usize {
        self.source_indices[i] as usize
    }

    /// Identifies the images and their classes: the beginning of a hash.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        let Geometry { channels, height, width } = self.geometry;
        for number in [channels, height, width, self.len()] {
            hash.update((number as u64).to_le_bytes());
        }
        self.labels.iter().for_each(|label| hash.update(label.to_le_bytes()));
        hash.update(&self.pixels);
        hex(hash, 16)
    }

    /// The [source index](Self::source_index) of every image.
    pub(in crate::data) fn source_indices(&self) -> &[u32] {
        &self.source_indices
    }

    /// The images at `indices`, in that order; an index may occur more than once. Each keeps its
    /// [source index](Dataset::source_index).
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

pub(in crate::data) fn check_geometry(name: &str, of: Geometry) -> Result<(), DataError> {
    if of.channels != 1 && of.channels != 3 {
        return Err(DataError::invalid(name, "1 or 3 channels", of.channels.to_string()));
    }
    if of.height == 0 || of.width == 0 {
        let found = format!("height {}, width {}", of.height, of.width);
        return Err(DataError::invalid(name, "images of at least 1x1", found));
    }
    Ok(())
}

/// Whether there are labels, each below the number of classes.
pub(in crate::data) fn check_labels(
    name: &str,
    labels: &[u32],
    classes: usize,
) -> Result<(), DataError> {
    let name = || name.to_owned();
    if labels.is_empty() || labels.len() > u32::MAX as usize {
        return Err(DataError::Empty { name: name(), found: labels.len() });
    }
    match labels.iter().position(|&label| label as usize >= classes) {
        Some(image) => {
            Err(DataError::LabelOutOfRange { name: name(), image, label: labels[image], classes })
        }
        None => Ok(()),
    }
}

fn check_length(
    name: &str,
    geometry: Geometry,
    images: usize,
    found: usize,
) -> Result<(), DataError> {
    // A product beyond `usize` is no length; `Geometry::values` stops there.
    if geometry.values() < usize::MAX && geometry.values().checked_mul(images) == Some(found) {
        return Ok(());
    }
    Err(DataError::WrongLength { name: name.to_owned(), images, geometry, found })
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn construction_is_validated() {
        let shape = Geometry::new(1, 2, 2);
        let new = |shape, classes, pixels: usize, labels: Vec<u32>| {
            Dataset::new("x", shape, names(classes), vec![0; pixels], labels)
        };
        assert!(new(shape, 2, 8, vec![0, 1]).is_ok());
        let message = |r: Result<Dataset, DataError>| r.unwrap_err().to_string();
        assert_eq!(
            message(new(shape, 2, 8, vec![0, 2])),
            "data set x: expected labels below the number of classes, 2, found label 2 at image 1"
        );
        assert!(
            message(new(shape, 2, 7, vec![0, 1]))
                .contains("2 images of 1x2x2 values, found 7 values")
        );
        assert!(message(new(Geometry::new(2, 2, 2), 2, 8, vec![0])).contains("1 or 3 channels"));
        assert!(message(new(Geometry::new(1, 0, 2), 2, 0, vec![0])).contains("height 0"));
        assert!(message(new(shape, 2, 0, vec![])).contains("found 0"));
        assert!(message(new(Geometry::new(3, usize::MAX, 2), 2, 8, vec![0])).contains("8 values"));
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
