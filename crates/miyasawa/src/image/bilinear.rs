//! Resizing 8-bit samples as in image classification: bilinear, antialiased.

use super::MAX_PIXELS;
use fast_image_resize::images::{CroppedImage, Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

/// A rectangle of an image in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub top: usize,
    pub left: usize,
    pub height: usize,
    pub width: usize,
}

/// Cuts `window` out of an image of `size` = (height, width) given as (H, W, C) and resizes it to
/// `to`.
///
/// Bilinear with its triangle stretched by the reduction where a side shrinks, in two passes with
/// 8-bit values between them: the BILINEAR of Pillow and so torchvision's `Resize(antialias=True)`
/// of an image (`scripts/torchvision_pipeline.py` compares them). Nothing outside the window is
/// read.
///
/// # Panics
///
/// If the lengths do not agree or the window is not within the image.
pub(crate) fn bilinear(
    samples: &[u8],
    channels: usize,
    size: (usize, usize),
    window: Window,
    to: (usize, usize),
) -> Vec<u8> {
    assert_eq!(samples.len(), channels * size.0 * size.1, "the image's length");
    let fits = |from: usize, len: usize, entire: usize| len > 0 && from + len <= entire;
    assert!(
        fits(window.top, window.height, size.0) && fits(window.left, window.width, size.1),
        "the window is within the image"
    );
    let pixel = pixel_type(channels);
    let entire =
        ImageRef::new(side(size.1), side(size.0), samples, pixel).expect("the length was checked");
    let (top, left) = (side(window.top), side(window.left));
    let cut = CroppedImage::new(&entire, left, top, side(window.width), side(window.height))
        .expect("the window was checked");
    let mut out = Image::new(side(to.1), side(to.0), pixel);
    Resizer::new()
        .resize(&cut, &mut out, &options())
        .expect("both images have the same kind of pixels");
    out.into_vec()
}

fn options() -> ResizeOptions {
    ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear))
}

fn pixel_type(channels: usize) -> PixelType {
    if channels == 3 { PixelType::U8x3 } else { PixelType::U8 }
}

/// A side of an image, which has at most [`MAX_PIXELS`].
fn side(n: usize) -> u32 {
    n as u32
}

/// The part `window` of an image (H, W, C) of `size` resized to `scaled`, from the pixels that it
/// needs; the same except for the last bit of the coefficients.
fn cut_and_resize(
    samples: &[u8],
    channels: usize,
    size: (usize, usize),
    scaled: (usize, usize),
    window: Window,
) -> Vec<u8> {
    let cut = |from: usize, len: usize, of: usize, scaled: usize| {
        let step = of as f64 / scaled as f64;
        let begin = from as f64 * step;
        (begin, (len as f64 * step).min(of as f64 - begin))
    };
    let (top, height) = cut(window.top, window.height, size.0, scaled.0);
    let (left, width) = cut(window.left, window.width, size.1, scaled.1);
    let pixel = pixel_type(channels);
    let entire = ImageRef::new(side(size.1), side(size.0), samples, pixel)
        .expect("as many samples as the size says");
    let options = options().crop(left, top, width, height);
    let mut out = Image::new(side(window.width), side(window.height), pixel);
    Resizer::new().resize(&entire, &mut out, &options).expect("the part is within the image");
    out.into_vec()
}

/// Resizes an image (H, W, C) so that the size `to` is the share `share` of its shorter side and
/// cuts the centre out: with `to` 224 and `share` 0.875 torchvision's `Resize(256)`,
/// `CenterCrop(224)`.
pub(crate) fn resize_crop(
    samples: &[u8],
    channels: usize,
    size: (usize, usize),
    to: (usize, usize),
    share: f64,
) -> Vec<u8> {
    let (height, width) = size;
    // The side that limits gets its length from the share, the other one keeps the aspect ratio,
    // rounded down as there.
    let long = |n: f64, of: usize, by: usize| (n * of as f64 / by as f64) as usize;
    let scaled = if to.0 * width >= to.1 * height {
        let n = (to.0 as f64 / share).round();
        (n as usize, long(n, width, height).max(to.1))
    } else {
        let n = (to.1 as f64 / share).round();
        (long(n, height, width).max(to.0), n as usize)
    };
    // Python's round, to even.
    let start =
        |entire: usize, part: usize| ((entire - part) as f64 / 2.0).round_ties_even() as usize;
    let (top, left) = (start(scaled.0, to.0), start(scaled.1, to.1));
    // Nearly all of a narrow strip is cropped away: it is cropped before it is resized.
    if (scaled.0 as u64).saturating_mul(scaled.1 as u64) > MAX_PIXELS {
        return cut_and_resize(
            samples,
            channels,
            size,
            scaled,
            Window { top, left, height: to.0, width: to.1 },
        );
    }
    let all = Window { top: 0, left: 0, height, width };
    let entire = bilinear(samples, channels, size, all, scaled);
    let row = |y: usize| &entire[((top + y) * scaled.1 + left) * channels..][..to.1 * channels];
    (0..to.0).flat_map(row).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Image.fromarray(v).resize((w, h), Image.BILINEAR) of Pillow 13.0, v[y, x] = (37*y + 101*x*x)
    /// % 256 of 5x6.
    #[test]
    fn agrees_with_pillow() {
        let image: Vec<u8> =
            (0..30).map(|i| ((37 * (i / 6) + 101 * (i % 6) * (i % 6)) % 256) as u8).collect();
        let all = Window { top: 0, left: 0, height: 5, width: 6 };
        // The last bit of the coefficients is rounded differently.
        let near = |window, to, expected: &[u8]| {
            let out = bilinear(&image, 1, (5, 6), window, to);
            assert!(out.iter().zip(expected).all(|(a, b)| a.abs_diff(*b) <= 1), "{out:?}");
            assert_eq!(out.len(), expected.len());
        };
        near(all, (2, 3), PILLOW_DOWN);
        near(all, (7, 4), PILLOW_MIXED);
        assert_eq!(bilinear(&image, 1, (5, 6), all, (5, 6)), image);
        // .crop((1, 2, 5, 5)) first.
        let window = Window { top: 2, left: 1, height: 3, width: 4 };
        near(window, (2, 2), PILLOW_WINDOW);
    }

    #[test]
    fn colours_are_resized_separately() {
        let plane = |k: usize| (0..30).map(move |i| (i * 7 * (k + 1) % 256) as u8);
        let colour: Vec<u8> =
            plane(0).zip(plane(1)).zip(plane(2)).flat_map(|((r, g), b)| [r, g, b]).collect();
        let window = Window { top: 1, left: 0, height: 4, width: 5 };
        let out = bilinear(&colour, 3, (5, 6), window, (3, 7));
        for k in 0..3 {
            let alone = bilinear(&plane(k).collect::<Vec<u8>>(), 1, (5, 6), window, (3, 7));
            assert_eq!(out.iter().skip(k).step_by(3).copied().collect::<Vec<u8>>(), alone);
        }
    }

    #[test]
    fn a_crop_of_any_shape_is_covered() {
        for (size, to) in [
            ((5, 9), (4, 4)),
            ((9, 5), (4, 4)),
            ((3, 3), (2, 6)),
            ((50, 4), (3, 8)),
            ((1, 1), (4, 3)),
        ] {
            let out = resize_crop(&vec![77; size.0 * size.1], 1, size, to, 0.875);
            assert_eq!(out, vec![77; to.0 * to.1], "{size:?} to {to:?}");
        }
    }

    #[test]
    fn a_strip_is_cut_before_it_is_resized() {
        for size in [(1, 300_000), (300_000, 1)] {
            assert_eq!(resize_crop(&vec![77; 300_000], 1, size, (64, 64), 0.875), [77; 4096]);
        }
        // The same as cropping afterwards.
        let image: Vec<u8> = (0..3 * 40 * 31).map(|i| (i * i / 7 % 256) as u8).collect();
        let (size, scaled) = ((40, 31), (63, 17));
        let all = Window { top: 0, left: 0, height: 40, width: 31 };
        let window = Window { top: 20, left: 3, height: 30, width: 11 };
        let entire = bilinear(&image, 3, size, all, scaled);
        let row = |y: usize| &entire[((20 + y) * 17 + 3) * 3..][..33];
        let after: Vec<u8> = (0..30).flat_map(row).copied().collect();
        let before = cut_and_resize(&image, 3, size, scaled, window);
        assert_eq!(before.len(), after.len());
        assert!(before.iter().zip(&after).all(|(a, b)| a.abs_diff(*b) <= 1));
    }

    const PILLOW_DOWN: &[u8] = &[99, 164, 111, 149, 142, 139];
    const PILLOW_MIXED: &[u8] = &[
        38, 132, 121, 168, 59, 153, 142, 98, 86, 180, 169, 56, 112, 206, 195, 82, 138, 130, 201,
        108, 165, 104, 159, 135, 186, 109, 99, 156,
    ];
    const PILLOW_WINDOW: &[u8] = &[174, 190, 129, 145];
}
