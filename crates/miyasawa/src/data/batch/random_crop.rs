//! Random resized crops.

use rand::{Rng, RngExt};

use crate::image::{Window, bilinear, planes};

/// Aspects (width over height) that a crop may have.
const ASPECT: [f64; 2] = [3.0 / 4.0, 4.0 / 3.0];

/// Attempts to find a crop inside the image.
const ATTEMPTS: usize = 10;

/// A rectangle of an image of `size` = (height, width) whose share of the area is uniform in
/// `area` and whose aspect is log-uniform in [3/4, 4/3] (Szegedy et al. 2015, "Going deeper with
/// convolutions", section 6; the procedure is that of torchvision's `RandomResizedCrop`). Where
/// none fits in ten attempts, the largest centred one of an allowed aspect.
pub(in crate::data) fn random_window(
    size: (usize, usize),
    area: [f64; 2],
    rng: &mut impl Rng,
) -> Window {
    let (height, width) = size;
    let pixels = (height * width) as f64;
    let between = |[low, high]: [f64; 2], u: f64| low + u * (high - low);
    for _ in 0..ATTEMPTS {
        let target = pixels * between(area, rng.random());
        let aspect = between(ASPECT.map(f64::ln), rng.random()).exp();
        let (top, left): (u32, u32) = (rng.random(), rng.random());
        let (w, h) =
            ((target * aspect).sqrt().round() as usize, (target / aspect).sqrt().round() as usize);
        if (1..=height).contains(&h) && (1..=width).contains(&w) {
            // Multiply-shift maps a 32-bit number to 0..count.
            let below = |draw: u32, count: usize| ((u64::from(draw) * count as u64) >> 32) as usize;
            let (top, left) = (below(top, height - h + 1), below(left, width - w + 1));
            return Window { top, left, height: h, width: w };
        }
    }
    let aspect = width as f64 / height as f64;
    let (h, w) = if aspect < ASPECT[0] {
        (((width as f64 / ASPECT[0]).round() as usize).clamp(1, height), width)
    } else if aspect > ASPECT[1] {
        (height, ((height as f64 * ASPECT[1]).round() as usize).clamp(1, width))
    } else {
        (height, width)
    };
    Window { top: (height - h) / 2, left: (width - w) / 2, height: h, width: w }
}

/// A random resized crop of an image (H, W, C) to the size `to`, as (C, H, W).
pub(in crate::data) fn resized_crop(
    samples: &[u8],
    channels: usize,
    size: (usize, usize),
    to: (usize, usize),
    area: [f64; 2],
    rng: &mut impl Rng,
) -> Vec<u8> {
    let window = random_window(size, area, rng);
    planes(&bilinear(samples, channels, size, window, to), channels, |v| v)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::example_rng;

    #[test]
    fn windows_lie_inside_and_have_the_areas_and_aspects_asked_for() {
        let (mut least, mut most, mut sum) = (f64::MAX, 0.0f64, 0.0);
        for i in 0..2000 {
            let w = random_window((300, 400), [0.08, 1.0], &mut example_rng(0, 0, i, 99));
            assert!(w.top + w.height <= 300 && w.left + w.width <= 400);
            let (share, aspect) =
                ((w.height * w.width) as f64 / 120_000.0, w.width as f64 / w.height as f64);
            assert!((0.079..=1.0).contains(&share) && (0.74..1.35).contains(&aspect), "{w:?}");
            (least, most, sum) = (least.min(share), most.max(share), sum + share);
        }
        assert!(least < 0.09 && most > 0.9);
        // Large windows of extreme aspect do not fit: the mean lies somewhat below (0.08 + 1) / 2.
        assert!((0.42..0.54).contains(&(sum / 2000.0)), "{}", sum / 2000.0);
    }

    #[test]
    fn extreme_images_get_their_largest_allowed_crop() {
        let at = |size| random_window(size, [1.0, 1.0], &mut example_rng(0, 0, 0, 99));
        assert_eq!(at((10, 100)), Window { top: 0, left: 43, height: 10, width: 13 });
        assert_eq!(at((100, 10)), Window { top: 43, left: 0, height: 13, width: 10 });
        assert_eq!(at((1, 1)), Window { top: 0, left: 0, height: 1, width: 1 });
    }
}
