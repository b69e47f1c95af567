//! Images at the size and with the channels that a model takes.

use super::{Geometry, Image, ImageError, decode::interleave, planes, resize_crop};
use crate::range::{denormalise, normalise};

/// How images of another height and width come to the size that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResizeMode {
    /// Surround the image with the value 0 (black), equally on both sides; an odd pixel goes
    /// below or right.
    #[default]
    Pad,
    /// Surround the image with copies of its border.
    PadEdge,
    /// Resize (bicubic), keeping the aspect, so that the image covers the size, and crop its
    /// centre.
    Resize,
    /// Resize (bilinear), keeping the aspect, so that the size is a share (0.875) of the
    /// image's shorter side, and crop its centre: how networks for ImageNet are evaluated, 256
    /// and then 224.
    ResizeCrop,
}

/// The share of [`ResizeMode::ResizeCrop`]: 224 of 256.
pub const CROP_SHARE: f64 = 0.875;

impl ResizeMode {
    /// Whether it pads images, which must then be no larger than the size wanted.
    pub fn pads(self) -> bool {
        matches!(self, Self::Pad | Self::PadEdge)
    }
}

/// A single image as a model takes it: in its channels and at its size. What has the size is left
/// as it is. Otherwise as a set is resized (`data::Dataset::resize`), except that it is resized to
/// cover the size and cropped where a set would be padded: a user's own images are rarely smaller
/// than the model's.
///
/// ```
/// use miyasawa::image::{CROP_SHARE, Geometry, Image, ResizeMode, resize_image};
///
/// let photo = Image::new((3, 40, 60), vec![0.5; 3 * 40 * 60])?;
/// let model = Geometry::new(1, 32, 32);
/// let input = resize_image(&photo, model, ResizeMode::Pad, CROP_SHARE)?;
/// assert_eq!(Geometry::from(input.shape()), model);
/// # Ok::<(), miyasawa::image::ImageError>(())
/// ```
///
/// # Errors
///
/// If no image has such channels or such a size, or the share is not above 0 and at most 1.
pub fn resize_image(
    image: &Image,
    to: Geometry,
    mode: ResizeMode,
    share: f64,
) -> Result<Image, ImageError> {
    let image = image.to_channels(to.channels)?;
    let (channels, height, width) = image.shape();
    if mode != ResizeMode::ResizeCrop || (height, width) == (to.height, to.width) {
        return image.center_fit(to.height, to.width);
    }
    super::check_size(to.height, to.width)?;
    if !(share > 0.0 && share <= 1.0) {
        return Err(ImageError::CropShare { found: share });
    }
    let values: Vec<u8> = image.values().iter().map(|v| denormalise(*v)).collect();
    let (from, size) = ((channels, (height, width)), (to.height, to.width));
    let cropped = resize_crop_planes(&values, from, size, share, normalise);
    Image::new((channels, to.height, to.width), cropped)
}

/// [`resize_crop`] of an image (C, H, W).
pub(crate) fn resize_crop_planes<T>(
    image: &[u8],
    (channels, from): (usize, (usize, usize)),
    to: (usize, usize),
    share: f64,
    convert: impl Fn(u8) -> T,
) -> Vec<T> {
    let samples = interleave(image, channels);
    planes(&resize_crop(&samples, channels, from, to, share), channels, convert)
}
