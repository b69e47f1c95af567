//! Images of any size, and what a model is evaluated on.

use std::sync::Arc;

use rayon::prelude::*;

use super::choose::UnopenedSet;
use super::opened::Images;
use crate::data::error::DataError;
use crate::data::options::OpenOptions;
use crate::data::set::content::SetContent;
use crate::data::set::corrupt::CorruptLog;
use crate::image::{Decoded, Image, ImageError};

/// What a model is evaluated on. A copy shares the images.
///
/// [`TestSet::evaluate`] measures a model on either.
#[derive(Debug, Clone)]
pub enum TestSet {
    /// Images of one size, with classes.
    Set(Images),
    /// Images that each have their own size, for denoising alone: their classes are not used.
    Gallery(Arc<[Image]>),
}

impl TestSet {
    /// The number of images, corrupt ones too where they are read later.
    #[allow(clippy::len_without_is_empty, reason = "a data set is never empty")]
    pub fn len(&self) -> usize {
        match self {
            Self::Set(set) => set.len(),
            Self::Gallery(images) => images.len(),
        }
    }

    /// The images, if each has its own size.
    pub fn gallery(&self) -> Option<&[Image]> {
        match self {
            Self::Set(_) => None,
            Self::Gallery(images) => Some(images),
        }
    }
}

impl UnopenedSet {
    /// Opens the images at their own sizes, whatever `options.size` says: as a set where all have
    /// one size, otherwise as a gallery.
    ///
    /// ```
    /// use miyasawa::data::{DataSource, OpenOptions, TestSet};
    ///
    /// let set = DataSource::Digits.choose(None)?.open_as_stored(&OpenOptions::default())?;
    /// assert!(matches!(set, TestSet::Set(_)), "all digits are 8x8");
    /// # Ok::<(), miyasawa::data::DataError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`UnopenedSet::open`], except that sizes may differ.
    pub fn open_as_stored(self, options: &OpenOptions) -> Result<TestSet, DataError> {
        let options = OpenOptions { size: None, ..options.clone() };
        match self.clone().open(&options) {
            // A stream has seen its first image alone.
            Ok(set) if set.stream().is_some_and(|stream| !stream.is_of_one_size()) => {
                Ok(TestSet::Gallery(self.gallery(&options)?.into()))
            }
            Ok(set) => Ok(TestSet::Set(set)),
            Err(DataError::MixedSizes { .. }) => {
                Ok(TestSet::Gallery(self.gallery(&options)?.into()))
            }
            Err(error) => Err(error),
        }
    }

    /// The images, each at its own size, whatever its class: at most as many as the options'
    /// limit, in grey or colour as their `channels` say. Corrupt ones are left out, up to the
    /// options' number.
    ///
    /// # Errors
    ///
    /// As [`UnopenedSet::open`]; also if no image is intact.
    pub fn gallery(self, options: &OpenOptions) -> Result<Vec<Image>, DataError> {
        let Self { name, content, .. } = self;
        options.check(&name)?;
        let found = match content {
            SetContent::Raw(data) => {
                let data = data.subset(options.limit.unwrap_or(data.len()))?;
                let shape = data.geometry().into();
                (0..data.len()).map(|i| Image::from_bytes(shape, data.image(i))).collect()
            }
            SetContent::Files(set) => {
                let set = set.limited(options.limit);
                let decode = |i| set.decode(i, Decoded::into_image);
                let decoded: Vec<Result<_, DataError>> =
                    (0..set.len()).into_par_iter().map(decode).collect();
                let corrupt = CorruptLog::up_to(options.max_corrupt);
                let mut intact = Vec::with_capacity(decoded.len());
                for (i, image) in decoded.into_iter().enumerate() {
                    match image? {
                        Ok(image) => intact.push(image),
                        Err(error) => corrupt.add(i, || set.path_of(i), error)?,
                    }
                }
                intact
            }
        };
        if found.is_empty() {
            return Err(DataError::none_intact(&name));
        }
        let in_channels = |image: Result<Image, ImageError>| {
            let image = image?;
            image.to_channels(options.channels.unwrap_or(image.channels()))
        };
        let problem =
            |e: ImageError| DataError::invalid(&name, "images in grey or colour", e.to_string());
        found.into_iter().map(|image| in_channels(image).map_err(problem)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::DataSource;

    #[test]
    fn images_keep_their_sizes_in_folders_and_archives() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("set");
        let save = |name: &str, [width, height]: [u32; 2], value| {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            image::RgbImage::from_pixel(width, height, image::Rgb([value; 3])).save(path).unwrap();
        };
        save("test/b.png", [5, 3], 0);
        save("test/more.png", [2, 4], 255);
        save("train/c.png", [9, 9], 7);
        std::fs::write(folder.join("test/a.png"), b"no image").unwrap();
        let tar = dir.path().join("set.tar");
        let mut archive = tar::Builder::new(std::fs::File::create(&tar).unwrap());
        archive.append_dir_all(".", &folder).unwrap();
        archive.into_inner().unwrap();
        let grey = OpenOptions { channels: Some(1), max_corrupt: 1, ..OpenOptions::default() };
        for path in [&folder, &tar] {
            let source: DataSource = path.display().to_string().parse().unwrap();
            let found = source.choose(None).unwrap().gallery(&grey).unwrap();
            let shapes: Vec<_> = found.iter().map(Image::shape).collect();
            assert_eq!(shapes, [(1, 3, 5), (1, 4, 2)]);
            assert!(found[0].values().iter().all(|v| *v == -1.0));
            assert!(found[1].values().iter().all(|v| (*v - 1.0).abs() < 1e-6));
            let strict = OpenOptions { max_corrupt: 0, ..grey.clone() };
            let error = source.choose(None).unwrap().gallery(&strict).unwrap_err().to_string();
            assert!(error.contains("a.png"), "{error}");
            let two = OpenOptions { limit: Some(2), ..grey.clone() };
            assert_eq!(
                source.choose(None).unwrap().gallery(&two).unwrap().len(),
                1,
                "the first of two is corrupt"
            );
        }
        let bytes = std::fs::read(&tar).unwrap();
        std::fs::write(&tar, &bytes[..700]).unwrap();
        let source: DataSource = tar.display().to_string().parse().unwrap();
        assert!(
            source
                .choose(None)
                .map(|set| set.gallery(&grey))
                .err()
                .unwrap()
                .to_string()
                .contains("set.tar")
        );
        let digits = DataSource::Digits.choose(None).unwrap().gallery(&grey).unwrap();
        assert_eq!((digits.len(), digits[0].shape()), (360, (1, 8, 8)));
    }
}
