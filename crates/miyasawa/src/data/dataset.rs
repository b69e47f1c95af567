//! A set of labelled images of one size, in memory.

use rand::seq::SliceRandom;
use sha2::{Digest, Sha256};

use super::error::DataError;
use crate::digest::hex;
use crate::random::{example_rng, stream};

/// Labelled 8-bit images of one size, in memory.
///
/// Built by [`crate::data::DataSource::load`] or from parts by [`Dataset::new`]; either way its invariants hold:
/// there is at least one image, every label is below the number of classes, channels are 1 or 3, and the
/// lengths agree.
///
/// Two sets are equal if they are called the same and hold the same images, wherever they were
/// [taken](Dataset::take) from.
#[derive(Debug, Clone)]
pub struct Dataset {
    name: String,
    channels: usize,
    height: usize,
    width: usize,
    classes: Vec<String>,
    pixels: Vec<u8>,
    labels: Vec<u32>,
    places: Vec<u32>,
}

impl PartialEq for Dataset {
    fn eq(&self, other: &Self) -> bool {
        let Self { name, channels, height, width, classes, pixels, labels, places: _ } = self;
        (name, channels, height, width) == (&other.name, &other.channels, &other.height, &other.width)
            && (classes, labels, pixels) == (&other.classes, &other.labels, &other.pixels)
    }
}

impl Eq for Dataset {}

impl Dataset {
    /// A data set from its parts: `pixels` holds N images as (N, C, H, W), contiguous; `labels` N class indices.
    ///
    /// # Errors
    ///
    /// [`DataError::Invalid`] if there are no images, a size is 0, channels are neither 1 nor 3, the lengths do not
    /// agree, or a label has no class.
    pub fn new(
        name: impl Into<String>,
        (channels, height, width): (usize, usize, usize),
        classes: Vec<String>,
        pixels: Vec<u8>,
        labels: Vec<u32>,
    ) -> Result<Self, DataError> {
        let name = name.into();
        if channels != 1 && channels != 3 {
            return Err(DataError::invalid(&name, "1 or 3 channels", channels.to_string()));
        }
        if height == 0 || width == 0 {
            return Err(DataError::invalid(
                &name,
                "images of at least 1x1",
                format!("height {height}, width {width}"),
            ));
        }
        if labels.is_empty() || labels.len() > u32::MAX as usize {
            return Err(DataError::invalid(&name, "between 1 and 2^32 - 1 images", labels.len().to_string()));
        }
        let wanted = channels
            .checked_mul(height)
            .and_then(|values| values.checked_mul(width))
            .and_then(|values| values.checked_mul(labels.len()));
        if wanted != Some(pixels.len()) {
            return Err(DataError::invalid(
                &name,
                format!("{} images of {channels}x{height}x{width} values", labels.len()),
                format!("{} values", pixels.len()),
            ));
        }
        if let Some(at) = labels.iter().position(|&label| label as usize >= classes.len()) {
            return Err(DataError::invalid(
                &name,
                format!("labels below the number of classes, {}", classes.len()),
                format!("label {} at image {at}", labels[at]),
            ));
        }
        let places = (0..labels.len() as u32).collect();
        Ok(Self { name, channels, height, width, classes, pixels, labels, places })
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

    /// 1 for grey, 3 for red, green, blue.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Rows of every image.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Columns of every image.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Values in an image: channels * height * width.
    pub fn image_len(&self) -> usize {
        self.channels * self.height * self.width
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

    /// Where image `i` stands in the set that this one was [taken](Dataset::take) from; `i` itself in a whole set.
    ///
    /// # Panics
    ///
    /// If `i` is not below [`Dataset::len`].
    pub fn place(&self, i: usize) -> usize {
        self.places[i] as usize
    }

    /// Tells the images and their classes from others: the beginning of a hash.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for number in [self.channels, self.height, self.width, self.len()] {
            hash.update((number as u64).to_le_bytes());
        }
        self.labels.iter().for_each(|label| hash.update(label.to_le_bytes()));
        hash.update(&self.pixels);
        hex(hash, 16)
    }

    /// The [place](Self::place) of every image.
    pub(super) fn places(&self) -> &[u32] {
        &self.places
    }

    /// The images at `indices`, in that order; an index may occur more than once. Each keeps its [place](Dataset::place).
    ///
    /// # Errors
    ///
    /// [`DataError::Invalid`] if there are no indices or one is not below [`Dataset::len`].
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
        let shape = (self.channels, self.height, self.width);
        let places = indices.iter().map(|&i| self.places[i as usize]).collect();
        Ok(Self::new(self.name.clone(), shape, self.classes.clone(), pixels, labels)?.placed(places))
    }

    /// The same images as parts of another set: one place for each.
    pub(super) fn placed(self, places: Vec<u32>) -> Self {
        debug_assert_eq!(places.len(), self.len());
        Self { places, ..self }
    }

    /// At most `limit` images, evenly spaced over the set (image floor(i * len / limit) for every i).
    ///
    /// Evenly spaced and not the first ones, because a set read from class folders is sorted by class: its
    /// beginning would hold one class only. All classes are kept, so that labels mean the same.
    ///
    /// # Errors
    ///
    /// [`DataError::Invalid`] if `limit` is 0.
    pub fn subset(&self, limit: usize) -> Result<Self, DataError> {
        if limit >= self.len() {
            return Ok(self.clone());
        }
        self.take(&spread(self.len(), limit))
    }

    /// Splits the set into (the rest, `count` held-out images), at random but fixed by `seed`, with every class
    /// held out in proportion to its size (largest remainders, ties to the lower class). Both keep the set's order.
    ///
    /// # Errors
    ///
    /// [`DataError::Invalid`] unless 0 < `count` < [`Dataset::len`].
    pub fn split(&self, count: usize, seed: u64) -> Result<(Self, Self), DataError> {
        let (rest, held) = stratified(&self.name, &self.labels, self.classes.len(), count, seed)?;
        Ok((self.take(&rest)?, self.take(&held)?))
    }

    /// Mean and standard deviation over all values of the set in normalised units ([-1, 1]); the standard deviation
    /// of the training set is sigma_data of the model's preconditioning (Karras et al. 2022, table 1).
    ///
    /// Computed from exact integer sums, so it does not depend on the order of the images.
    pub fn mean_std(&self) -> (f64, f64) {
        let mut counts = Histogram::default();
        counts.add(&self.pixels);
        counts.mean_std()
    }

    pub(super) fn renamed(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The same images with other class names, of which the index of each of its own is given.
    pub(super) fn with_classes(mut self, classes: Vec<String>, index: &[u32]) -> Self {
        self.labels.iter_mut().for_each(|label| *label = index[*label as usize]);
        Self { classes, ..self }
    }
}

/// How often every 8-bit value occurs.
#[derive(Debug, Clone)]
pub(super) struct Histogram([u64; 256]);

impl Default for Histogram {
    fn default() -> Self {
        Self([0; 256])
    }
}

impl Histogram {
    pub fn add(&mut self, values: &[u8]) {
        values.iter().for_each(|&value| self.0[value as usize] += 1);
    }

    pub fn merge(mut self, other: &Self) -> Self {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a += b);
        self
    }

    /// Mean and standard deviation in normalised units ([-1, 1]); NaN without values.
    pub fn mean_std(&self) -> (f64, f64) {
        let n = self.0.iter().sum::<u64>() as f64;
        let sum = |term: &dyn Fn(f64) -> f64| -> f64 {
            self.0.iter().zip(0u32..).map(|(&k, v)| k as f64 * term(f64::from(v))).sum::<f64>() / n
        };
        let mean = sum(&|v| v);
        let variance = sum(&|v| (v - mean).powi(2));
        (mean / 127.5 - 1.0, variance.sqrt() / 127.5)
    }
}

/// `limit` indices below `len`, evenly spaced: floor(i * len / limit) for every i. All of them if `limit` is `len` or more.
pub(super) fn spread(len: usize, limit: usize) -> Vec<u32> {
    let limit = limit.min(len);
    (0..limit as u64).map(|i| (i * len as u64 / limit as u64) as u32).collect()
}

/// The indices of (the rest, `count` held-out examples), as [`Dataset::split`] tells.
pub(super) fn stratified(
    name: &str,
    labels: &[u32],
    classes: usize,
    count: usize,
    seed: u64,
) -> Result<(Vec<u32>, Vec<u32>), DataError> {
    let total = labels.len();
    if count == 0 || count >= total {
        return Err(DataError::invalid(
            name,
            format!("between 1 and {} images to hold out", total.saturating_sub(1)),
            count.to_string(),
        ));
    }
    let mut of_class: Vec<Vec<u32>> = vec![Vec::new(); classes];
    for (i, &label) in labels.iter().enumerate() {
        of_class[label as usize].push(i as u32);
    }
    let mut quota: Vec<usize> = of_class.iter().map(|class| class.len() * count / total).collect();
    let mut by_remainder: Vec<usize> = (0..quota.len()).collect();
    by_remainder.sort_by_key(|&c| (std::cmp::Reverse(of_class[c].len() * count % total), c));
    let missing = count - quota.iter().sum::<usize>();
    for &class in by_remainder.iter().take(missing) {
        quota[class] += 1;
    }
    let mut held = vec![false; total];
    for (class, members) in of_class.iter_mut().enumerate() {
        members.shuffle(&mut example_rng(seed, 0, class as u64, stream::SPLIT));
        for &i in &members[..quota[class]] {
            held[i as usize] = true;
        }
    }
    let (held, rest) = (0..total as u32).partition(|&i| held[i as usize]);
    Ok((rest, held))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|i| i.to_string()).collect()
    }

    fn ramp(len: usize, classes: usize) -> Dataset {
        let labels = (0..len).map(|i| (i * classes / len) as u32).collect();
        Dataset::new("ramp", (1, 1, 2), names(classes), (0..2 * len).map(|i| i as u8).collect(), labels)
            .unwrap()
    }

    #[test]
    fn construction_is_validated() {
        let shape = (1, 2, 2);
        let new = |shape, classes, pixels: usize, labels: Vec<u32>| {
            Dataset::new("x", shape, names(classes), vec![0; pixels], labels)
        };
        assert!(new(shape, 2, 8, vec![0, 1]).is_ok());
        let message = |r: Result<Dataset, DataError>| r.unwrap_err().to_string();
        assert_eq!(
            message(new(shape, 2, 8, vec![0, 2])),
            "data set x: expected labels below the number of classes, 2, found label 2 at image 1"
        );
        assert!(message(new(shape, 2, 7, vec![0, 1])).contains("2 images of 1x2x2 values, found 7 values"));
        assert!(message(new((2, 2, 2), 2, 8, vec![0])).contains("1 or 3 channels"));
        assert!(message(new((1, 0, 2), 2, 0, vec![0])).contains("height 0"));
        assert!(message(new(shape, 2, 0, vec![])).contains("found 0"));
        assert!(message(new((3, usize::MAX, 2), 2, 8, vec![0])).contains("8 values"));
    }

    #[test]
    fn a_subset_is_spread_over_the_classes() {
        let data = ramp(100, 10);
        let few = data.subset(20).unwrap();
        assert_eq!(few.labels(), (0..20).map(|i| i / 2).collect::<Vec<u32>>());
        assert_eq!(few.image(1), data.image(5));
        assert_eq!((few.place(1), few.subset(4).unwrap().place(3), data.place(7)), (5, 75, 7));
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
        let data = Dataset::new("x", (1, 1, 2), names(1), vec![0, 255], vec![0]).unwrap();
        let (mean, std) = data.mean_std();
        assert!(mean.abs() < 1e-15 && (std - 1.0).abs() < 1e-15);
    }
}
