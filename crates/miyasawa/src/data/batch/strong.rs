//! Changes of an image that keep its class and are too strong for a density: affine maps, cutout.

use crate::image::Geometry;
use rand::{Rng, RngExt};

/// Turns, shears and scales an image (C, H, W) about its centre, by random amounts of at most 30
/// degrees, 0.3 and a factor of `exp(0.3)` times `strength`; bilinear, mirrored at the border.
pub(super) fn random_affine(
    image: &[u8],
    Geometry { channels, height, width }: Geometry,
    strength: f64,
    rng: &mut impl Rng,
) -> Vec<u8> {
    let mut draw = |most: f64| strength * most * (2.0 * rng.random::<f64>() - 1.0);
    let (angle, shear, scale) = (draw(30.0).to_radians(), draw(0.3), draw(0.3).exp());
    // From the changed image back into the original.
    let (sin, cos) = angle.sin_cos();
    let map = [[cos, -sin + shear * cos], [sin, cos + shear * sin]];
    let map = map.map(|row| row.map(|value| (value / scale) as f32));
    let (cy, cx) = (0.5 * (height as f32 - 1.0), 0.5 * (width as f32 - 1.0));
    let mut out = vec![0; image.len()];
    for y in 0..height {
        for x in 0..width {
            let (dx, dy) = (x as f32 - cx, y as f32 - cy);
            let from_x = cx + map[0][0] * dx + map[0][1] * dy;
            let from_y = cy + map[1][0] * dx + map[1][1] * dy;
            let ((x0, x1), tx) = between(from_x, width);
            let ((y0, y1), ty) = between(from_y, height);
            for c in 0..channels {
                let at = |y: usize, x: usize| f32::from(image[(c * height + y) * width + x]);
                let upper = at(y0, x0) + tx * (at(y0, x1) - at(y0, x0));
                let lower = at(y1, x0) + tx * (at(y1, x1) - at(y1, x0));
                let value = upper + ty * (lower - upper);
                out[(c * height + y) * width + x] = value.round() as u8;
            }
        }
    }
    out
}

/// The two pixels that a coordinate lies between, mirrored at the borders, and where between them.
fn between(at: f32, len: usize) -> ((usize, usize), f32) {
    let floor = at.floor();
    let mirrored = |at: isize| {
        let period = 2 * (len as isize - 1).max(1);
        let folded = at.rem_euclid(period);
        (folded.min(period - folded) as usize).min(len - 1)
    };
    let low = floor as isize;
    ((mirrored(low), mirrored(low + 1)), at - floor)
}

/// Makes a square of an image (C, H, W) grey, 0 in the [-1, 1] range; its centre is any pixel.
pub(super) fn cut_out(
    image: &mut [f32],
    Geometry { height, width, .. }: Geometry,
    side: usize,
    rng: &mut impl Rng,
) {
    let mut range = |len: usize| {
        // Multiply-shift maps a 32-bit number to 0..len.
        let centre = ((u64::from(rng.random::<u32>()) * len as u64) >> 32) as usize;
        centre.saturating_sub(side / 2)..(centre + side.div_ceil(2)).min(len)
    };
    let (rows, columns) = (range(height), range(width));
    for plane in image.chunks_exact_mut(height * width) {
        for row in rows.clone() {
            plane[row * width..][..width][columns.clone()].fill(0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::example_rng;

    #[test]
    fn a_square_of_at_most_the_side_is_grey_in_all_channels() {
        let geometry = Geometry::new(3, 9, 7);
        let mut sizes = std::collections::BTreeSet::new();
        for i in 0..200 {
            let mut image = vec![1.0; geometry.values()];
            cut_out(&mut image, geometry, 4, &mut example_rng(0, 0, i, 99));
            let grey: Vec<bool> = image.iter().map(|value| *value == 0.0).collect();
            assert_eq!(grey[..63], grey[63..126]);
            assert_eq!(grey[..63], grey[126..]);
            sizes.insert(grey[..63].iter().filter(|grey| **grey).count());
        }
        // From a corner of 2x2 to all of 4x4.
        assert!(sizes.contains(&16) && sizes.iter().all(|n| (4..=16).contains(n)), "{sizes:?}");
    }

    #[test]
    fn affine_maps_keep_constants_and_without_strength_everything() {
        let geometry = Geometry::new(1, 6, 5);
        let image: Vec<u8> = (0..30).map(|i| i * 8).collect();
        for i in 0..50 {
            let mut rng = example_rng(0, 0, i, 99);
            assert_eq!(random_affine(&image, geometry, 0.0, &mut rng), image);
            assert_eq!(random_affine(&[77; 30], geometry, 1.0, &mut rng), [77; 30]);
        }
        let moved = random_affine(&image, geometry, 1.0, &mut example_rng(0, 0, 1, 99));
        assert_ne!(moved, image);
        // A single row and a single pixel have no neighbours.
        for size in [(1, 5), (5, 1), (1, 1)] {
            let geometry = Geometry::new(1, size.0, size.1);
            let image = vec![9; geometry.values()];
            assert_eq!(random_affine(&image, geometry, 1.0, &mut example_rng(0, 0, 2, 99)), image);
        }
    }

    #[test]
    fn the_centre_stays_where_it_is() {
        let geometry = Geometry::new(1, 7, 7);
        let mut image = vec![0; 49];
        image[24] = 200;
        for i in 0..50 {
            let moved = random_affine(&image, geometry, 1.0, &mut example_rng(0, 0, i, 99));
            assert_eq!(moved[24], 200);
        }
    }
}
