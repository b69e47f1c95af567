//! What is written of an image, whatever the format.

#[cfg(feature = "codecs")]
use super::Depth;
use super::metadata::Metadata;
use super::raster::Opacity;
use super::tags::Tags;
use super::{Image, Scale};
use crate::range::denormalise;

/// The content to be stored.
pub(super) struct Encodable<'c> {
    pub image: &'c Image,
    /// Opacity in [0, 1], and how it applies to the colours.
    pub alpha: Option<(&'c [f32], Opacity)>,
    /// For TIFF.
    #[cfg_attr(not(feature = "codecs"), allow(dead_code))]
    pub scale: Option<Scale>,
    pub metadata: &'c Metadata,
    /// The descriptive tags of the metadata, for TIFF.
    #[cfg_attr(not(feature = "codecs"), allow(dead_code))]
    pub tags: Tags,
}

impl Encodable<'_> {
    /// (width, height).
    pub fn size(&self) -> Result<(u32, u32), std::num::TryFromIntError> {
        Ok((u32::try_from(self.image.width())?, u32::try_from(self.image.height())?))
    }

    /// The bits of a sample in formats that hold more than 8.
    #[cfg(feature = "codecs")]
    pub fn wide_depth(&self) -> Depth {
        self.image.depth()
    }

    /// Samples in rows of pixels, alpha after the colours.
    pub fn interleaved<T>(&self, value: impl Fn(f32) -> T, alpha: impl Fn(f32) -> T) -> Vec<T> {
        let (channels, height, width) = self.image.shape();
        let (plane, values) = (height * width, self.image.values());
        let mut samples =
            Vec::with_capacity(plane * (channels + usize::from(self.alpha.is_some())));
        for at in 0..plane {
            samples.extend(values[at..].iter().step_by(plane).map(|&v| value(v)));
            samples.extend(self.alpha.map(|(opacity, _)| alpha(opacity[at])));
        }
        samples
    }

    pub fn eight(&self) -> Vec<u8> {
        self.interleaved(denormalise, |a| (a * 255.0).round() as u8)
    }

    /// The same without alpha: the [opaque](Self::opaque) image, or one that is.
    pub fn without_alpha<'c>(&'c self, image: &'c Image) -> Encodable<'c> {
        let tags = Tags::default();
        Encodable { image, alpha: None, scale: None, metadata: self.metadata, tags }
    }

    /// The image without alpha, laid over white, for formats that have none.
    pub fn opaque(&self) -> Option<Image> {
        let (opacity, kind) = self.alpha?;
        Some(over_white(self.image, opacity, kind))
    }
}

/// An image laid over white.
pub(super) fn over_white(image: &Image, opacity: &[f32], kind: Opacity) -> Image {
    let laid = |(value, alpha): (&f32, &f32)| match kind {
        // White is 1.
        Opacity::Straight => (value - 1.0) * alpha + 1.0,
        Opacity::Premultiplied => value + 2.0 * (1.0 - alpha),
    };
    let values =
        image.values().chunks(opacity.len()).flat_map(|plane| plane.iter().zip(opacity).map(laid));
    Image { values: values.collect(), ..*image }
}
