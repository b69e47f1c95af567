//! A set of labelled images of one size, in memory.

mod checks;
mod derived;

use sha2::{Digest, Sha256};

use crate::data::error::DataError;
use crate::data::range::ValueRange;
use crate::digest::hex;
use crate::image::Geometry;
use checks::check_length;
pub(in crate::data) use checks::{check_geometry, check_labels};

/// Labelled 8-bit images of one size, in memory.
///
/// Opened from files by [`DataSource::open`](crate::data::DataSource::open), or made of a program's
/// own arrays by [`Dataset::new`] (8 bits) and [`Dataset::from_f32`]. Either way its invariants
/// hold: there is at least one image, every label is below the number of classes, channels are 1
/// or 3, and the lengths agree.
///
/// Two sets are equal if they have the same name and hold the same images, wherever they were
/// [taken](Dataset::take) from.
///
/// ```
/// use miyasawa::{data::{DataSource, OpenOptions, Part}, prelude::*};
/// let digits = DataSource::Digits.open(Part::Test, &OpenOptions::default())?.into_dataset()?;
/// assert_eq!((digits.geometry(), digits.classes().len()), (Geometry::new(1, 8, 8), 10));
/// # Ok::<(), miyasawa::data::DataError>(())
/// ```
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
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// # let classes = vec!["dark".to_owned(), "light".to_owned()];
    /// # let pixels = vec![10, 20, 200, 210, 30, 40, 220, 230];
    /// # let geometry = Geometry::new(1, 1, 2);
    /// # let data = Dataset::new("mine", geometry, classes, pixels, vec![0, 1, 0, 1])?;
    /// assert_eq!(data.name(), "mine");
    /// # Ok::<(), miyasawa::data::DataError>(())
    /// ```
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number of images, at least 1.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// # let classes = vec!["dark".to_owned(), "light".to_owned()];
    /// # let pixels = vec![10, 20, 200, 210, 30, 40, 220, 230];
    /// # let geometry = Geometry::new(1, 1, 2);
    /// # let data = Dataset::new("mine", geometry, classes, pixels, vec![0, 1, 0, 1])?;
    /// assert_eq!(data.len(), 4);
    /// # Ok::<(), miyasawa::data::DataError>(())
    /// ```
    #[allow(clippy::len_without_is_empty, reason = "a data set is never empty")]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Channels, height and width of every image.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// # let classes = vec!["dark".to_owned(), "light".to_owned()];
    /// # let pixels = vec![10, 20, 200, 210, 30, 40, 220, 230];
    /// # let geometry = Geometry::new(1, 1, 2);
    /// # let data = Dataset::new("mine", geometry, classes, pixels, vec![0, 1, 0, 1])?;
    /// assert_eq!(data.geometry(), Geometry::new(1, 1, 2));
    /// # Ok::<(), miyasawa::data::DataError>(())
    /// ```
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// 1 for grey, 3 for red, green, blue.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// # let classes = vec!["dark".to_owned(), "light".to_owned()];
    /// # let pixels = vec![10, 20, 200, 210, 30, 40, 220, 230];
    /// # let geometry = Geometry::new(1, 1, 2);
    /// # let data = Dataset::new("mine", geometry, classes, pixels, vec![0, 1, 0, 1])?;
    /// assert_eq!(data.channels(), 1);
    /// # Ok::<(), miyasawa::data::DataError>(())
    /// ```
    pub fn channels(&self) -> usize {
        self.geometry.channels
    }

    /// Rows of every image.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// # let classes = vec!["dark".to_owned(), "light".to_owned()];
    /// # let pixels = vec![10, 20, 200, 210, 30, 40, 220, 230];
    /// # let geometry = Geometry::new(1, 1, 2);
    /// # let data = Dataset::new("mine", geometry, classes, pixels, vec![0, 1, 0, 1])?;
    /// assert_eq!(data.height(), 1);
    /// # Ok::<(), miyasawa::data::DataError>(())
    /// ```
    pub fn height(&self) -> usize {
        self.geometry.height
    }

    /// Columns of every image.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// # let classes = vec!["dark".to_owned(), "light".to_owned()];
    /// # let pixels = vec![10, 20, 200, 210, 30, 40, 220, 230];
    /// # let geometry = Geometry::new(1, 1, 2);
    /// # let data = Dataset::new("mine", geometry, classes, pixels, vec![0, 1, 0, 1])?;
    /// assert_eq!(data.width(), 2);
    /// # Ok::<(), miyasawa::data::DataError>(())
    /// ```
    pub fn width(&self) -> usize {
        self.geometry.width
    }

    /// Values in an image: channels * height * width.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// # let classes = vec!["dark".to_owned(), "light".to_owned()];
    /// # let pixels = vec![10, 20, 200, 210, 30, 40, 220, 230];
    /// # let geometry = Geometry::new(1, 1, 2);
    /// # let data = Dataset::new("mine", geometry, classes, pixels, vec![0, 1, 0, 1])?;
    /// assert_eq!(data.image_len(), 2);
    /// # Ok::<(), miyasawa::data::DataError>(())
    /// ```
    pub fn image_len(&self) -> usize {
        self.geometry.values()
    }

    /// The names of the classes; a label is an index into them.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// # let classes = vec!["dark".to_owned(), "light".to_owned()];
    /// # let pixels = vec![10, 20, 200, 210, 30, 40, 220, 230];
    /// # let geometry = Geometry::new(1, 1, 2);
    /// # let data = Dataset::new("mine", geometry, classes, pixels, vec![0, 1, 0, 1])?;
    /// assert_eq!(data.classes(), ["dark", "light"]);
    /// # Ok::<(), miyasawa::data::DataError>(())
    /// ```
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// All values, (N, C, H, W).
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// # let classes = vec!["dark".to_owned(), "light".to_owned()];
    /// # let pixels = vec![10, 20, 200, 210, 30, 40, 220, 230];
    /// # let geometry = Geometry::new(1, 1, 2);
    /// # let data = Dataset::new("mine", geometry, classes, pixels, vec![0, 1, 0, 1])?;
    /// assert_eq!(data.pixels().len(), data.len() * data.image_len());
    /// # Ok::<(), miyasawa::data::DataError>(())
    /// ```
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The class of every image.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// # let classes = vec!["dark".to_owned(), "light".to_owned()];
    /// # let pixels = vec![10, 20, 200, 210, 30, 40, 220, 230];
    /// # let geometry = Geometry::new(1, 1, 2);
    /// # let data = Dataset::new("mine", geometry, classes, pixels, vec![0, 1, 0, 1])?;
    /// assert_eq!(data.labels(), [0, 1, 0, 1]);
    /// # Ok::<(), miyasawa::data::DataError>(())
    /// ```
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// The values of image `i`, (C, H, W).
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// # let classes = vec!["dark".to_owned(), "light".to_owned()];
    /// # let pixels = vec![10, 20, 200, 210, 30, 40, 220, 230];
    /// # let geometry = Geometry::new(1, 1, 2);
    /// # let data = Dataset::new("mine", geometry, classes, pixels, vec![0, 1, 0, 1])?;
    /// assert_eq!(data.image(1), [200, 210]);
    /// # Ok::<(), miyasawa::data::DataError>(())
    /// ```
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
    /// ```
    /// use miyasawa::prelude::*;
    /// # let classes = vec!["dark".to_owned(), "light".to_owned()];
    /// # let pixels = vec![10, 20, 200, 210, 30, 40, 220, 230];
    /// # let geometry = Geometry::new(1, 1, 2);
    /// # let data = Dataset::new("mine", geometry, classes, pixels, vec![0, 1, 0, 1])?;
    /// assert_eq!(data.take(&[3, 1])?.source_index(0), 3);
    /// # Ok::<(), miyasawa::data::DataError>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If `i` is not below [`Dataset::len`].
    pub fn source_index(&self, i: usize) -> usize {
        self.source_indices[i] as usize
    }

    /// Identifies the images and their classes: the beginning of a hash.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// # let classes = vec!["dark".to_owned(), "light".to_owned()];
    /// # let pixels = vec![10, 20, 200, 210, 30, 40, 220, 230];
    /// # let geometry = Geometry::new(1, 1, 2);
    /// # let data = Dataset::new("mine", geometry, classes, pixels, vec![0, 1, 0, 1])?;
    /// assert_eq!(data.digest(), data.clone().digest());
    /// assert_ne!(data.digest(), data.subset(2)?.digest());
    /// # Ok::<(), miyasawa::data::DataError>(())
    /// ```
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
}
