//! A page: an image with all that belongs to it, so that a copy that is written loses nothing.

use std::borrow::Cow;

use super::encodable::over_white;
use super::kind::{Format, holds_profile};
use super::light::{Light, Origin};
use super::metadata::Metadata;
use super::raster::{Opacity, Raster, Samples};
use super::{Depth, Image, ImageError, Scale, planes};
use crate::range::{normalise, normalise_16};

/// An image with its transparency, colour profile, EXIF, resolution, and the format of its samples.
#[derive(Debug, Clone)]
pub struct Page {
    /// Display values.
    pub(super) image: Image,
    /// Opacity in [0, 1], and how it applies to the colours.
    alpha: Option<(Vec<f32>, Opacity)>,
    /// Invisible pixels (transparent, or not finite), and the display values stored there: all of
    /// the first channel, of the second, ..
    unseen: Vec<u32>,
    stored: Vec<f32>,
    /// The curve to the values of the file, where these are linear light.
    light: Option<Light>,
    metadata: Metadata,
    extra: Extra,
}

/// What pages of some formats have.
#[derive(Debug, Clone, Default)]
pub(super) struct Extra {
    /// Of TIFF and OpenEXR.
    pub scale: Option<Scale>,
    /// How long an image of an animation is shown.
    #[cfg_attr(not(feature = "codecs"), allow(dead_code))]
    pub delay: Option<(u32, u32)>,
    /// The file that the page is of.
    #[cfg(feature = "openexr")]
    pub exr: Option<super::open_exr::Kept>,
    #[cfg(not(feature = "openexr"))]
    pub exr: Option<()>,
}

impl Page {
    /// The page of samples; with linear light, its origin and the light of the samples 0 and 1.
    pub(super) fn new(
        raster: Raster,
        metadata: Metadata,
        extra: Extra,
        linear: Option<(Origin, (f64, f64))>,
    ) -> Result<Self, ImageError> {
        let scale = extra.scale;
        let (channels, depth) = (raster.channels, raster.depth());
        let shape = (channels, raster.height, raster.width);
        let (mut values, bits, alpha) = match raster.samples {
            Samples::Eight(samples) => {
                let mut values = planes(&samples, depth, normalise);
                let alpha = values.split_off(channels * samples.len() / depth);
                (values, Depth::Eight, alpha)
            }
            Samples::Sixteen(samples) => {
                let mut values = planes(&samples, depth, normalise_16);
                let alpha = values.split_off(channels * samples.len() / depth);
                (values, Depth::Sixteen, alpha)
            }
            Samples::Float(samples) => {
                let mut values = planes(&samples, depth, |v| 2.0 * v - 1.0);
                let alpha = values.split_off(channels * samples.len() / depth);
                (values, Depth::Sixteen, alpha)
            }
        };
        let opacity = |v: f32| ((v + 1.0) / 2.0).clamp(0.0, 1.0);
        let alpha =
            raster.opacity.map(|kind| (alpha.into_iter().map(opacity).collect::<Vec<f32>>(), kind));
        let plane = raster.height * raster.width;
        let clear = |at: usize| alpha.as_ref().is_some_and(|(alpha, _)| alpha[at] == 0.0);
        let not_finite = |at: usize| values[at..].iter().step_by(plane).any(|v| !v.is_finite());
        let unseen: Vec<u32> = match (&alpha, scale) {
            (None, None) => Vec::new(),
            _ => {
                (0..plane).filter(|at| clear(*at) || not_finite(*at)).map(|at| at as u32).collect()
            }
        };
        let mut stored = Vec::with_capacity(channels * unseen.len());
        for plane in values.chunks_exact_mut(plane) {
            for at in &unseen {
                // White, as transparent pixels are shown: their values must not leak into visible
                // pixels.
                stored.push(std::mem::replace(&mut plane[*at as usize], 1.0));
            }
        }
        let light = linear.map(|(origin, range)| Light::new(origin, range, &values));
        if let Some(light) = light {
            light.to_display(&mut values);
            light.to_display(&mut stored);
        }
        let image = Image::new(shape, values)?.with_depth(bits);
        Ok(Self { image, alpha, unseen, stored, light, metadata, extra })
    }

    /// The colours as display values; invisible pixels (transparent, or not finite) are white.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// The image laid over white where it is transparent, as a page shows it.
    pub fn into_opaque(self) -> Image {
        match &self.alpha {
            Some((alpha, kind)) => over_white(&self.image, alpha, *kind),
            None => self.image,
        }
    }

    /// The same page with other colours, for example denoised ones. Invisible pixels keep their
    /// stored values.
    ///
    /// # Errors
    ///
    /// [`ImageError::Shape`] if the image has another size or other channels.
    pub fn with_image(self, image: Image) -> Result<Self, ImageError> {
        if image.shape() != self.image.shape() {
            return Err(ImageError::Shape {
                expected: format!("{:?} as the page", self.image.shape()),
                found: format!("{:?}", image.shape()),
            });
        }
        let mut image = image.with_depth(self.image.depth());
        let plane = image.height() * image.width();
        let mut stored = self.stored.iter();
        for values in image.values.chunks_exact_mut(plane) {
            for (at, value) in self.unseen.iter().zip(&mut stored) {
                values[*at as usize] = *value;
            }
        }
        Ok(Self { image, ..self })
    }

    /// The properties of the page that a file of this format cannot hold, a few words each.
    pub fn lost_in(&self, format: Format) -> Vec<String> {
        let mut lost = Vec::new();
        if self.alpha.is_some() && matches!(format, Format::Jpeg | Format::Bmp | Format::Pnm) {
            lost.push("transparency (laid over white)".to_owned());
        }
        let floats = self.extra.exr.is_some() && format == Format::Exr;
        if self.extra.scale.is_some() && format != Format::Tiff && !floats {
            lost.push("sample type (samples are scaled to black and white)".to_owned());
        }
        let deep = matches!(format, Format::Png | Format::Tiff | Format::Pnm | Format::Exr);
        if self.image.depth() == Depth::Sixteen && !deep {
            lost.push("16 bits (8 are written)".to_owned());
        }
        if let Some(profile) = self.unfit_profile(format) {
            lost.push(format!("colour profile (it is one of {profile}, the pixels are not)"));
        }
        if let Some(light) = self.light.filter(|_| !self.keeps_light(format)) {
            let more =
                if light.exceeds_white() { ", what is brighter than white is white" } else { "" };
            lost.push(format!("linear light (values become those of sRGB{more})"));
        }
        if self.extra.exr.is_some() && format != Format::Exr {
            lost.push("attributes and further channels of OpenEXR".to_owned());
        }
        lost.extend(self.metadata.lost(format).into_iter().map(str::to_owned));
        lost
    }

    /// Whether the values of the file are linear light, converted to display values.
    pub fn is_linear(&self) -> bool {
        self.light.is_some()
    }

    /// Whether a file of a format holds linear light and says so.
    fn keeps_light(&self, format: Format) -> bool {
        self.light.is_some_and(|light| match light.origin {
            _ if format == Format::Exr => true,
            Origin::Profile => holds_profile(format) && self.unfit_profile(format).is_none(),
            Origin::Chunk => format == Format::Png,
            Origin::Format => format == Format::Tiff,
            Origin::Told => true,
        })
    }

    /// The colours and the profile to write in a format.
    pub(super) fn stored_in(&self, format: Format) -> (Cow<'_, Image>, Metadata) {
        let mut metadata = self.metadata.clone();
        if self.unfit_profile(format).is_some() {
            metadata.icc = None;
        }
        let mut image = match self.light {
            // The encoder of OpenEXR asks for the light.
            _ if format == Format::Exr => Cow::Borrowed(&self.image),
            Some(light) if self.keeps_light(format) => Cow::Owned(light.to_stored(&self.image)),
            Some(light) => {
                if matches!(light.origin, Origin::Profile) {
                    metadata.icc = None;
                }
                metadata.chunks.retain(|(name, _)| !matches!(name, b"gAMA" | b"cICP"));
                Cow::Owned(light.to_srgb(&self.image))
            }
            None => Cow::Borrowed(&self.image),
        };
        if let Some((alpha, Opacity::Premultiplied)) = &self.alpha
            && matches!(format, Format::Png | Format::WebP | Format::Qoi)
        {
            // These formats hold the colours of the opaque image.
            for plane in image.to_mut().values.chunks_exact_mut(alpha.len()) {
                for (value, alpha) in plane.iter_mut().zip(alpha).filter(|(_, a)| **a > 0.0) {
                    *value = (((*value + 1.0) / alpha) - 1.0).min(1.0);
                }
            }
        }
        (image, metadata)
    }

    #[cfg(feature = "openexr")]
    pub(super) fn light(&self) -> Option<Light> {
        self.light
    }

    pub(super) fn extra(&self) -> &Extra {
        &self.extra
    }

    /// Opacity in [0, 1], and how it applies to the colours.
    pub(super) fn opacity(&self) -> Option<(&[f32], Opacity)> {
        self.alpha.as_ref().map(|(alpha, kind)| (alpha.as_slice(), *kind))
    }

    #[cfg(test)]
    pub(super) fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    #[cfg(test)]
    pub(super) fn with_metadata(self, metadata: Metadata) -> Self {
        Self { metadata, ..self }
    }

    #[cfg(test)]
    pub(super) fn alpha(&self) -> Option<&[f32]> {
        self.alpha.as_ref().map(|(alpha, _)| alpha.as_slice())
    }

    #[cfg(test)]
    pub(super) fn stored(&self) -> &[f32] {
        &self.stored
    }

    /// The kind of a colour profile that does not describe the pixels that are written.
    fn unfit_profile(&self, format: Format) -> Option<String> {
        let kind = self.metadata.profile_of()?;
        let grey = self.image.channels() == 1 && format != Format::WebP;
        // A profile of colours describes grey too. Formats without profiles report that apart.
        let matching = kind == b"RGB " || (kind == b"GRAY" && grey);
        (!matching).then(|| String::from_utf8_lossy(kind).trim().to_owned())
    }
}
