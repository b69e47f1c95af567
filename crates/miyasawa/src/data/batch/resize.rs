//! Giving a data set the size and channels that a model wants.

use rayon::prelude::*;

use crate::data::error::DataError;
use crate::data::set::dataset::Dataset;
use crate::image::{CROP_SHARE, Geometry, ResizeMode, resize_crop_planes};
use crate::range::{denormalise, normalise};

impl Dataset {
    /// The set with images of another size and number of channels.
    ///
    /// Colour becomes grey by the luma weights of ITU-R BT.601 (0.299, 0.587, 0.114), grey becomes
    /// colour by repetition. A set of this geometry is returned as it is.
    ///
    /// ```
    /// use miyasawa::data::{DataSource, Geometry, OpenOptions, Part, ResizeMode};
    ///
    /// let digits = DataSource::Digits.open(Part::Test, &OpenOptions::default())?.into_dataset()?;
    /// let wanted = Geometry::new(3, 32, 32);
    /// let resized = digits.resize(wanted, ResizeMode::Resize)?;
    /// assert_eq!((resized.geometry(), resized.len()), (wanted, 360));
    /// # Ok::<(), miyasawa::data::DataError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`DataError::Invalid`] if a size is 0, the channels are not 1 or 3, or padding is asked of
    /// images that are larger than the wanted size.
    pub fn resize(self, to: Geometry, mode: ResizeMode) -> Result<Self, DataError> {
        self.resize_with_share(to, mode, CROP_SHARE)
    }

    /// As [`Dataset::resize`], with another share for [`ResizeMode::ResizeCrop`].
    pub(in crate::data) fn resize_with_share(
        self,
        to: Geometry,
        mode: ResizeMode,
        share: f64,
    ) -> Result<Self, DataError> {
        let (have, want) = (self.geometry().size(), to.size());
        if self.geometry() == to {
            return Ok(self);
        }
        if !matches!(to.channels, 1 | 3) || to.height == 0 || to.width == 0 {
            let expected = "a size of 1 or 3 channels and at least 1x1";
            return Err(DataError::invalid(self.name(), expected, to.to_string()));
        }
        if mode.pads() && (have.0 > want.0 || have.1 > want.1) {
            return Err(DataError::too_large_to_pad(self.name(), want, have));
        }
        let per_image = |i: usize| {
            let mut image = Vec::new();
            convert_channels(self.image(i), self.channels(), to.channels, &mut image);
            if have == want {
                return image;
            }
            match mode {
                ResizeMode::Pad | ResizeMode::PadEdge => pad(&image, have, want, mode),
                ResizeMode::ResizeCrop => {
                    resize_crop_planes(&image, (to.channels, have), want, share, |v| v)
                }
                ResizeMode::Resize => {
                    let floats: Vec<f32> = image.into_iter().map(normalise).collect();
                    let resized = crate::image::cover(&floats, to.channels, have, want);
                    resized.into_iter().map(denormalise).collect()
                }
            }
        };
        let pixels: Vec<u8> = (0..self.len()).into_par_iter().flat_map_iter(per_image).collect();
        let (classes, labels) = (self.classes().to_vec(), self.labels().to_vec());
        let resized = Self::new(self.name(), to, classes, pixels, labels)?;
        Ok(resized.with_source_indices(self.source_indices().to_vec()))
    }
}

/// Appends an image (C, H, W) to `out` with another number of channels.
pub(in crate::data) fn convert_channels(image: &[u8], from: usize, to: usize, out: &mut Vec<u8>) {
    match (from, to) {
        (1, 3) => (0..3).for_each(|_| out.extend_from_slice(image)),
        (3, 1) => {
            let (red, rest) = image.split_at(image.len() / 3);
            let (green, blue) = rest.split_at(red.len());
            out.extend(red.iter().zip(green).zip(blue).map(|((&r, &g), &b)| {
                // Thousandths, rounded to the nearest.
                ((299 * u32::from(r) + 587 * u32::from(g) + 114 * u32::from(b) + 500) / 1000) as u8
            }));
        }
        _ => out.extend_from_slice(image),
    }
}

/// Surrounds an image (C, H, W) as the padding `mode` says.
pub(in crate::data) fn pad(
    image: &[u8],
    from: (usize, usize),
    to: (usize, usize),
    mode: ResizeMode,
) -> Vec<u8> {
    let edge = mode == ResizeMode::PadEdge;
    let (top, left) = ((to.0 - from.0) / 2, (to.1 - from.1) / 2);
    let mut out = Vec::with_capacity(image.len() / (from.0 * from.1) * to.0 * to.1);
    for plane in image.chunks_exact(from.0 * from.1) {
        for y in 0..to.0 {
            let inside = (top..top + from.0).contains(&y);
            if !inside && !edge {
                out.resize(out.len() + to.1, 0);
                continue;
            }
            let row = &plane[y.saturating_sub(top).min(from.0 - 1) * from.1..][..from.1];
            let (first, last) = if edge { (row[0], row[from.1 - 1]) } else { (0, 0) };
            out.resize(out.len() + left, first);
            out.extend_from_slice(row);
            out.resize(out.len() + to.1 - from.1 - left, last);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Image, resize_image};

    fn data(shape: (usize, usize, usize), pixels: Vec<u8>) -> Dataset {
        let geometry = Geometry::from(shape);
        let n = pixels.len() / geometry.values();
        Dataset::new("x", geometry, vec!["a".into()], pixels, vec![0; n]).unwrap()
    }

    const WANT: Geometry = Geometry { channels: 1, height: 3, width: 5 };

    #[test]
    fn padding_centres_the_image() {
        let set = data((1, 2, 2), vec![1, 2, 3, 4]);
        let black = set.clone().resize(WANT, ResizeMode::Pad).unwrap();
        assert_eq!(black.pixels(), [0, 1, 2, 0, 0, 0, 3, 4, 0, 0, 0, 0, 0, 0, 0]);
        let edge = set.clone().resize(WANT, ResizeMode::PadEdge).unwrap();
        assert_eq!(edge.pixels(), [1, 1, 2, 2, 2, 3, 3, 4, 4, 4, 3, 3, 4, 4, 4]);
        let small = Geometry { channels: 1, height: 1, width: 5 };
        let error = set.resize(small, ResizeMode::Pad).unwrap_err().to_string();
        assert!(error.contains("no larger than 1x5") && error.contains("images of 2x2"), "{error}");
    }

    #[test]
    fn channels_are_converted() {
        let colour = data((3, 1, 2), vec![255, 10, 0, 10, 0, 10]);
        let grey =
            colour.resize(Geometry { channels: 1, height: 1, width: 2 }, ResizeMode::Pad).unwrap();
        assert_eq!(grey.pixels(), [76, 10]);
        let back =
            grey.resize(Geometry { channels: 3, height: 1, width: 2 }, ResizeMode::Pad).unwrap();
        assert_eq!(back.pixels(), [76, 10, 76, 10, 76, 10]);
        assert!(
            back.resize(Geometry { channels: 2, height: 1, width: 2 }, ResizeMode::Pad).is_err()
        );
    }

    #[test]
    fn resizing_keeps_the_aspect_and_the_order() {
        let pixels: Vec<u8> = (0..3u8).flat_map(|n| vec![n * 90; 3 * 4 * 8]).collect();
        let set = data((3, 4, 8), pixels);
        let out =
            set.resize(Geometry { channels: 3, height: 2, width: 2 }, ResizeMode::Resize).unwrap();
        assert_eq!(out.pixels(), (0..3u8).flat_map(|n| vec![n * 90; 12]).collect::<Vec<_>>());
    }

    #[test]
    fn a_image_is_preprocessed_as_its_set_was() {
        let pixels: Vec<u8> = (0..3 * 20 * 31).map(|i| (i * 37 % 251) as u8).collect();
        let values = pixels.iter().map(|v| normalise(*v)).collect();
        let own = Image::new((3, 20, 31), values).unwrap();
        let set = Dataset::new("own", Geometry::new(3, 20, 31), vec!["a".into()], pixels, vec![0])
            .unwrap();
        for (mode, to) in [
            (ResizeMode::Resize, Geometry { channels: 3, height: 9, width: 8 }),
            (ResizeMode::ResizeCrop, Geometry { channels: 3, height: 9, width: 8 }),
            (ResizeMode::ResizeCrop, Geometry { channels: 3, height: 20, width: 31 }),
        ] {
            let resized = resize_image(&own, to, mode, 0.75).unwrap();
            let of_set = set.clone().resize_with_share(to, mode, 0.75).unwrap();
            let stored: Vec<u8> = resized.values().iter().map(|v| denormalise(*v)).collect();
            assert_eq!(stored, of_set.image(0), "{mode:?}");
        }
        // A set would be padded with black; an image is cropped.
        let to = Geometry { channels: 1, height: 32, width: 32 };
        let resized = resize_image(&own, to, ResizeMode::Pad, CROP_SHARE).unwrap();
        assert_eq!(resized, own.to_channels(1).unwrap().center_fit(32, 32).unwrap());
    }
}
