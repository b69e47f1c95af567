//! Pixels as files store them: rows of pixels of colours, perhaps followed by alpha.

use image::DynamicImage;

/// Samples, rows of pixels of channels (H, W, C).
pub(crate) enum Samples {
    Eight(Vec<u8>),
    Sixteen(Vec<u16>),
    /// Of the range [0, 1], though values beyond may occur; of TIFF alone.
    #[cfg_attr(not(feature = "codecs"), allow(dead_code))]
    Float(Vec<f32>),
}

/// How alpha applies to the colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opacity {
    /// The colours are those of the opaque image.
    Straight,
    /// The colours are multiplied by alpha (premultiplied): of TIFF alone.
    #[cfg_attr(not(feature = "codecs"), allow(dead_code))]
    Premultiplied,
}

/// A decoded image.
pub(super) struct Raster {
    /// Colours: 1 or 3.
    pub channels: usize,
    /// If there is alpha, a further sample after the colours.
    pub opacity: Option<Opacity>,
    pub height: usize,
    pub width: usize,
    pub samples: Samples,
    /// Whether height and width are exchanged with respect to the file, by its orientation.
    pub turned: bool,
}

impl From<DynamicImage> for Raster {
    fn from(image: DynamicImage) -> Self {
        use Samples::{Eight, Sixteen};
        let (height, width) = (image.height() as usize, image.width() as usize);
        let (channels, alpha, samples) = match image {
            DynamicImage::ImageLuma8(p) => (1, false, Eight(p.into_raw())),
            DynamicImage::ImageLumaA8(p) => (1, true, Eight(p.into_raw())),
            DynamicImage::ImageRgb8(p) => (3, false, Eight(p.into_raw())),
            DynamicImage::ImageRgba8(p) => (3, true, Eight(p.into_raw())),
            DynamicImage::ImageLuma16(p) => (1, false, Sixteen(p.into_raw())),
            DynamicImage::ImageLumaA16(p) => (1, true, Sixteen(p.into_raw())),
            DynamicImage::ImageRgba16(p) => (3, true, Sixteen(p.into_raw())),
            other => (3, false, Sixteen(other.into_rgb16().into_raw())),
        };
        let opacity = alpha.then_some(Opacity::Straight);
        Self { channels, opacity, height, width, samples, turned: false }
    }
}

impl Raster {
    /// Samples of a pixel.
    pub fn depth(&self) -> usize {
        self.channels + usize::from(self.opacity.is_some())
    }

    /// Turns the image upright by an orientation of EXIF, 1 to 8.
    pub fn upright(mut self, orientation: u8) -> Self {
        if !(2..=8).contains(&orientation) {
            return self;
        }
        let (from, depth) = ((self.height, self.width), self.depth());
        self.samples = match self.samples {
            Samples::Eight(samples) => Samples::Eight(turn(&samples, from, depth, orientation)),
            Samples::Sixteen(samples) => Samples::Sixteen(turn(&samples, from, depth, orientation)),
            Samples::Float(samples) => Samples::Float(turn(&samples, from, depth, orientation)),
        };
        self.turned = orientation >= 5;
        if self.turned {
            (self.height, self.width) = (self.width, self.height);
        }
        self
    }
}

/// Turns the pixels of an image of (height, width) upright.
fn turn<T: Copy>(samples: &[T], (h, w): (usize, usize), depth: usize, orientation: u8) -> Vec<T> {
    let (height, width) = if orientation >= 5 { (w, h) } else { (h, w) };
    let mut out = Vec::with_capacity(samples.len());
    for y in 0..height {
        for x in 0..width {
            let (row, column) = match orientation {
                2 => (y, w - 1 - x),
                3 => (h - 1 - y, w - 1 - x),
                4 => (h - 1 - y, x),
                5 => (x, y),
                6 => (h - 1 - x, y),
                7 => (h - 1 - x, w - 1 - y),
                8 => (x, w - 1 - y),
                _ => (y, x),
            };
            out.extend_from_slice(&samples[(row * w + column) * depth..][..depth]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::metadata::Orientation;

    #[test]
    fn every_orientation_is_that_of_the_image_crate() {
        let image = image::RgbImage::from_fn(5, 3, |x, y| image::Rgb([x as u8, y as u8, 9]));
        for orientation in 1..=8 {
            let mut expected = DynamicImage::ImageRgb8(image.clone());
            expected.apply_orientation(Orientation::from_exif(orientation).unwrap());
            let found = Raster::from(DynamicImage::ImageRgb8(image.clone())).upright(orientation);
            let size = (expected.width() as usize, expected.height() as usize);
            assert_eq!((found.width, found.height), size, "{orientation}");
            let Samples::Eight(samples) = found.samples else { panic!("8 bits") };
            assert_eq!(samples, expected.into_bytes(), "{orientation}");
            assert_eq!(found.turned, orientation >= 5);
        }
    }
}
