//! Images at their own sizes, without classes: what denoisers are evaluated on.

use rayon::prelude::*;

use super::broken::Broken;
use super::choose::Chosen;
use super::error::DataError;
use super::open::OpenOptions;
use super::source::Content;
use crate::image::{Image, ImageError, decode};

impl Chosen {
    /// The images, each at its own size, whatever its class: at most as many as the options' limit, in grey or
    /// colour as their `channels` say. Broken ones are left out, up to the options' number.
    ///
    /// # Errors
    ///
    /// As [`Chosen::open`]; also if no image is whole.
    pub fn gallery(self, options: &OpenOptions) -> Result<Vec<Image>, DataError> {
        let Self { name, content, .. } = self;
        options.check(&name)?;
        let found = match content {
            Content::Raw(data) => {
                let data = data.subset(options.limit.unwrap_or(data.len()))?;
                let shape = (data.channels(), data.height(), data.width());
                (0..data.len()).map(|i| Image::from_bytes(shape, data.image(i))).collect()
            }
            Content::Encoded(set) => {
                let set = set.limited(options.limit);
                let decoded: Vec<Result<_, DataError>> =
                    (0..set.len()).into_par_iter().map(|i| set.decode(i, decode)).collect();
                let broken = Broken::up_to(options.max_broken);
                let mut whole = Vec::with_capacity(decoded.len());
                for (i, decoded) in decoded.into_iter().enumerate() {
                    match decoded? {
                        Ok(decoded) => whole.push(decoded.into_image()),
                        Err(error) => broken.add(i, || set.path_of(i), error)?,
                    }
                }
                whole
            }
        };
        if found.is_empty() {
            return Err(DataError::none_whole(&name));
        }
        let in_channels = |image: Result<Image, ImageError>| {
            let image = image?;
            image.to_channels(options.channels.unwrap_or(image.channels()))
        };
        let problem = |e: ImageError| DataError::invalid(&name, "images in grey or colour", e.to_string());
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
        let grey = OpenOptions { channels: Some(1), max_broken: 1, ..OpenOptions::default() };
        for path in [&folder, &tar] {
            let source: DataSource = path.display().to_string().parse().unwrap();
            let found = source.choose(None).unwrap().gallery(&grey).unwrap();
            let shapes: Vec<_> = found.iter().map(Image::shape).collect();
            assert_eq!(shapes, [(1, 3, 5), (1, 4, 2)]);
            assert!(found[0].values().iter().all(|v| *v == -1.0));
            assert!(found[1].values().iter().all(|v| (*v - 1.0).abs() < 1e-6));
            let strict = OpenOptions { max_broken: 0, ..grey.clone() };
            let error = source.choose(None).unwrap().gallery(&strict).unwrap_err().to_string();
            assert!(error.contains("a.png"), "{error}");
            let two = OpenOptions { limit: Some(2), ..grey.clone() };
            assert_eq!(
                source.choose(None).unwrap().gallery(&two).unwrap().len(),
                1,
                "the first of two is broken"
            );
        }
        let bytes = std::fs::read(&tar).unwrap();
        std::fs::write(&tar, &bytes[..700]).unwrap();
        let source: DataSource = tar.display().to_string().parse().unwrap();
        assert!(
            source.choose(None).map(|set| set.gallery(&grey)).err().unwrap().to_string().contains("set.tar")
        );
        let digits = DataSource::Digits.choose(None).unwrap().gallery(&grey).unwrap();
        assert_eq!((digits.len(), digits[0].shape()), (360, (1, 8, 8)));
    }
}
