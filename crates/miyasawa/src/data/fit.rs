//! Bringing a data set to the size and channels that a model wants.

use rayon::prelude::*;

use super::crop;
use super::dataset::Dataset;
use super::error::DataError;
use crate::image::{Image, ImageError, planes, resize_crop};
use crate::range::{denormalise, normalise};

/// How [`Dataset::fit`] changes the height and width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FitMode {
    /// Surround the image with the value 0 (black), equally on both sides; an odd pixel goes below or right.
    #[default]
    Pad,
    /// Surround the image with copies of its border.
    PadEdge,
    /// Resize (bicubic), keeping the aspect, so that the image covers the size, and crop its centre.
    Resize,
    /// Resize (bilinear), keeping the aspect, so that the size is a share (0.875) of the image's shorter side, and crop
    /// its centre: how networks for ImageNet are evaluated, 256 and then 224.
    ResizeCrop,
}

/// The share of [`FitMode::ResizeCrop`]: 224 of 256.
pub const CROP_SHARE: f64 = 0.875;

impl FitMode {
    /// Whether it surrounds images, which must then be no larger than the size wanted.
    pub fn pads(self) -> bool {
        matches!(self, Self::Pad | Self::PadEdge)
    }
}

/// A size that a model wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// 1 for grey, 3 for colour.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Dataset {
    /// The set with images of another size and number of channels.
    ///
    /// Colour becomes grey by the luma weights of ITU-R BT.601 (0.299, 0.587, 0.114), grey becomes colour by
    /// repetition. A set that fits already is returned as it is.
    ///
    /// # Errors
    ///
    /// [`DataError::Invalid`] if a size is 0, the channels are not 1 or 3, or padding is asked of images that are
    /// larger than the wanted size.
    pub fn fit(self, to: Geometry, mode: FitMode) -> Result<Self, DataError> {
        self.fit_share(to, mode, CROP_SHARE)
    }

    /// As [`Dataset::fit`], with another share for [`FitMode::ResizeCrop`].
    pub(super) fn fit_share(self, to: Geometry, mode: FitMode, share: f64) -> Result<Self, DataError> {
        let have = (self.height(), self.width());
        let want = (to.height, to.width);
        if (self.channels(), have) == (to.channels, want) {
            return Ok(self);
        }
        if !matches!(to.channels, 1 | 3) || to.height == 0 || to.width == 0 {
            let found = format!("{}x{}x{}", to.channels, to.height, to.width);
            return Err(DataError::invalid(self.name(), "a size of 1 or 3 channels and at least 1x1", found));
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
                FitMode::Pad | FitMode::PadEdge => pad(&image, have, want, mode),
                FitMode::ResizeCrop => resize_crop_planes(&image, (to.channels, have), want, share, |v| v),
                FitMode::Resize => {
                    let floats: Vec<f32> = image.into_iter().map(normalise).collect();
                    let resized = crate::image::cover(&floats, to.channels, have, want);
                    resized.into_iter().map(denormalise).collect()
                }
            }
        };
        let pixels: Vec<u8> = (0..self.len()).into_par_iter().flat_map_iter(per_image).collect();
        let shape = (to.channels, to.height, to.width);
        let fitted = Self::new(self.name(), shape, self.classes().to_vec(), pixels, self.labels().to_vec())?;
        Ok(fitted.placed(self.places().to_vec()))
    }
}

/// A single image as a model takes it: in its channels and at its size. What has the size is left as it is; otherwise as
/// [`Dataset::fit`], but that it covers the size and loses what stands over, where a set would be padded: one's own images
/// are rarely smaller than the model's.
///
/// # Errors
///
/// If no image has such channels or such a size.
pub fn fit_image(image: &Image, to: Geometry, mode: FitMode, share: f64) -> Result<Image, ImageError> {
    let image = image.to_channels(to.channels)?;
    let (channels, height, width) = image.shape();
    if mode != FitMode::ResizeCrop || (height, width) == (to.height, to.width) {
        return image.center_fit(to.height, to.width);
    }
    let values: Vec<u8> = image.values().iter().map(|v| denormalise(*v)).collect();
    let (from, size) = ((channels, (height, width)), (to.height, to.width));
    let cropped = resize_crop_planes(&values, from, size, share, normalise);
    Image::new((channels, to.height, to.width), cropped)
}

/// [`resize_crop`] of an image (C, H, W).
fn resize_crop_planes<T>(
    image: &[u8],
    (channels, from): (usize, (usize, usize)),
    to: (usize, usize),
    share: f64,
    convert: impl Fn(u8) -> T,
) -> Vec<T> {
    let samples = crop::interleave(image, channels);
    planes(&resize_crop(&samples, channels, from, to, share), channels, convert)
}

/// Appends an image (C, H, W) to `out` with another number of channels.
pub(super) fn convert_channels(image: &[u8], from: usize, to: usize, out: &mut Vec<u8>) {
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
pub(super) fn pad(image: &[u8], from: (usize, usize), to: (usize, usize), mode: FitMode) -> Vec<u8> {
    let edge = mode == FitMode::PadEdge;
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

    fn data(shape: (usize, usize, usize), pixels: Vec<u8>) -> Dataset {
        let n = pixels.len() / (shape.0 * shape.1 * shape.2);
        Dataset::new("x", shape, vec!["a".into()], pixels, vec![0; n]).unwrap()
    }

    const WANT: Geometry = Geometry { channels: 1, height: 3, width: 5 };

    #[test]
    fn padding_centres_the_image() {
        let set = data((1, 2, 2), vec![1, 2, 3, 4]);
        let black = set.clone().fit(WANT, FitMode::Pad).unwrap();
        assert_eq!(black.pixels(), [0, 1, 2, 0, 0, 0, 3, 4, 0, 0, 0, 0, 0, 0, 0]);
        let edge = set.clone().fit(WANT, FitMode::PadEdge).unwrap();
        assert_eq!(edge.pixels(), [1, 1, 2, 2, 2, 3, 3, 4, 4, 4, 3, 3, 4, 4, 4]);
        let small = Geometry { channels: 1, height: 1, width: 5 };
        let error = set.fit(small, FitMode::Pad).unwrap_err().to_string();
        assert!(error.contains("no larger than 1x5") && error.contains("images of 2x2"), "{error}");
    }

    #[test]
    fn channels_are_converted() {
        let colour = data((3, 1, 2), vec![255, 10, 0, 10, 0, 10]);
        let grey = colour.fit(Geometry { channels: 1, height: 1, width: 2 }, FitMode::Pad).unwrap();
        assert_eq!(grey.pixels(), [76, 10]);
        let back = grey.fit(Geometry { channels: 3, height: 1, width: 2 }, FitMode::Pad).unwrap();
        assert_eq!(back.pixels(), [76, 10, 76, 10, 76, 10]);
        assert!(back.fit(Geometry { channels: 2, height: 1, width: 2 }, FitMode::Pad).is_err());
    }

    #[test]
    fn resizing_keeps_the_aspect_and_the_order() {
        let pixels: Vec<u8> = (0..3u8).flat_map(|n| vec![n * 90; 3 * 4 * 8]).collect();
        let set = data((3, 4, 8), pixels);
        let out = set.fit(Geometry { channels: 3, height: 2, width: 2 }, FitMode::Resize).unwrap();
        assert_eq!(out.pixels(), (0..3u8).flat_map(|n| vec![n * 90; 12]).collect::<Vec<_>>());
    }

    #[test]
    fn a_image_of_ones_own_comes_to_a_model_as_its_set_did() {
        let pixels: Vec<u8> = (0..3 * 20 * 31).map(|i| (i * 37 % 251) as u8).collect();
        let values = pixels.iter().map(|v| normalise(*v)).collect();
        let own = Image::new((3, 20, 31), values).unwrap();
        let set = Dataset::new("own", (3, 20, 31), vec!["a".into()], pixels, vec![0]).unwrap();
        for (mode, to) in [
            (FitMode::Resize, Geometry { channels: 3, height: 9, width: 8 }),
            (FitMode::ResizeCrop, Geometry { channels: 3, height: 9, width: 8 }),
            (FitMode::ResizeCrop, Geometry { channels: 3, height: 20, width: 31 }),
        ] {
            let fitted = fit_image(&own, to, mode, 0.75).unwrap();
            let of_set = set.clone().fit_share(to, mode, 0.75).unwrap();
            let stored: Vec<u8> = fitted.values().iter().map(|v| denormalise(*v)).collect();
            assert_eq!(stored, of_set.image(0), "{mode:?}");
        }
        // A set would be surrounded with black; an image loses what stands over.
        let to = Geometry { channels: 1, height: 32, width: 32 };
        let fitted = fit_image(&own, to, FitMode::Pad, CROP_SHARE).unwrap();
        assert_eq!(fitted, own.to_channels(1).unwrap().center_fit(32, 32).unwrap());
    }
}
