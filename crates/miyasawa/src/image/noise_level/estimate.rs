//! Which noise an image has, white or a camera's, and how much.

use super::{Planes, camera, flat, jpeg};
use crate::image::Image;

/// Below this share of the highest frequencies noise is correlated. Demosaicking leaves 0.1 to 0.35
/// of them and JPEG of little noise up to 0.6; white noise has 1, of which texture, which has more
/// of lower frequencies, leaves 0.7 at a level of 5 of 255.
const CORRELATED: f64 = 0.62;

/// Of which kind the noise of an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NoiseKind {
    /// Independent from pixel to pixel, and of one level.
    White,
    /// As in a camera's file: correlated by demosaicking or compressed by JPEG, and different at
    /// different intensities.
    Camera,
}

/// The noise of an image, estimated from the image alone: see [`Image::noise`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NoiseEstimate {
    /// White, or a camera's.
    pub kind: NoiseKind,
    /// The root mean square of the noise over the whole image, in units of the [-1, 1] range: what
    /// training with `noise.camera` conditions a network on. Of white noise it is its standard
    /// deviation before values were clipped.
    pub level: f64,
    /// Whether the image was a JPEG file with its first block in its upper left corner.
    pub compressed: bool,
}

impl Image {
    /// Estimates the kind of the noise and its level.
    ///
    /// The noise is a camera's if the flattest blocks of 8 by 8 pixels have less of the highest
    /// frequencies than of those below, as demosaicking leaves it, or if the cosines of the luma's
    /// blocks are multiples of steps, as in a JPEG file.
    ///
    /// The level of white noise is [`Image::noise_level`]. Of correlated noise it is that of a
    /// sensor's curve (as in [`Image::noise_curve`], of one parameter) over the image's
    /// intensities, measured where texture is least: in a colour image on the differences of its
    /// channels. Of a JPEG file it has added to it what rounding its cosines changed: more in
    /// texture than in flat parts, where there is nothing to be seen of it. On simulated exposures
    /// it is within 16% in the mean for gradient-corrected demosaicking without JPEG and with one
    /// of full resolution, half too large for bilinear demosaicking, and about half of it where
    /// JPEG stored colour at half the resolution, because of the detail that is lost there nothing
    /// is left to be seen.
    ///
    /// ```
    /// use miyasawa::image::{Image, camera::CameraNoise, noise_level::NoiseKind};
    ///
    /// let slope = (0..3 * 128 * 128).map(|i| (i % 128) as f32 / 64.0 - 1.0).collect();
    /// let slope = Image::new((3, 128, 128), slope)?;
    /// assert_eq!(slope.clone().with_noise(0.1, 1)?.noise().kind, NoiseKind::White);
    /// let shot = CameraNoise::iso(3200.0).expose(&slope, 1)?.noisy;
    /// assert_eq!(shot.noise().kind, NoiseKind::Camera);
    /// # Ok::<(), miyasawa::image::ImageError>(())
    /// ```
    pub fn noise(&self) -> NoiseEstimate {
        let corner = flat::corner(&Planes::new(self));
        let correlated = corner.is_some_and(|corner| corner < CORRELATED);
        let compression = jpeg::Compression::find(self);
        if correlated || compression.is_some() {
            self.camera_noise(correlated, compression)
        } else {
            self.noise_of_kind(NoiseKind::White)
        }
    }

    /// As [`noise`](Self::noise) where the kind is known: the level of noise of this kind.
    ///
    /// ```
    /// use miyasawa::image::{Image, noise_level::NoiseKind};
    ///
    /// let image = Image::filled(3, 96, 96, 0.1)?.with_noise(0.1, 1)?;
    /// assert_eq!(image.noise_of_kind(NoiseKind::White).level, image.noise_level());
    /// let camera = image.noise_of_kind(NoiseKind::Camera);
    /// assert!(camera.kind == NoiseKind::Camera && camera.level > 0.0);
    /// # Ok::<(), miyasawa::image::ImageError>(())
    /// ```
    pub fn noise_of_kind(&self, kind: NoiseKind) -> NoiseEstimate {
        match kind {
            NoiseKind::White => {
                NoiseEstimate { kind, level: self.noise_level(), compressed: false }
            }
            NoiseKind::Camera => self.camera_noise(true, jpeg::Compression::find(self)),
        }
    }

    /// The noise of a camera's file, which is correlated unless compression alone has changed it.
    fn camera_noise(
        &self,
        correlated: bool,
        compression: Option<jpeg::Compression>,
    ) -> NoiseEstimate {
        let compressed = compression.is_some();
        let left = if correlated { camera::level(self, compressed) } else { self.noise_level() };
        let lost = compression.map_or(0.0, |compression| compression.loss(self));
        NoiseEstimate { kind: NoiseKind::Camera, level: left.hypot(lost), compressed }
    }
}
