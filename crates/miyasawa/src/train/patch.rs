//! Random squares out of images, what denoisers of natural images learn from.

use crate::random::{example_rng, stream};
use rand::RngExt;

/// A random square of `side` pixels out of every image of a batch; its position is a function of
/// the seed, the step and the image's index in the batch.
pub(super) fn cut(
    x: &[f32],
    [c, h, w]: [usize; 3],
    side: usize,
    [seed, step]: [u64; 2],
) -> Vec<f32> {
    let mut out = Vec::with_capacity(x.len() / (h * w) * side * side);
    for (i, image) in x.chunks(c * h * w).enumerate() {
        let rng = &mut example_rng(seed, step, i as u64, stream::PATCH);
        let (top, left) =
            (rng.random_range(0..=(h - side) as u64), rng.random_range(0..=(w - side) as u64));
        for plane in image.chunks(h * w) {
            for row in plane.chunks(w).skip(top as usize).take(side) {
                out.extend_from_slice(&row[left as usize..][..side]);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_are_squares_of_the_images_and_reach_every_corner() {
        let x: Vec<f32> = (0..2 * 3 * 4 * 5).map(|i| i as f32).collect();
        let mut seen = std::collections::BTreeSet::new();
        for step in 0..100 {
            let found = cut(&x, [3, 4, 5], 2, [7, step]);
            assert_eq!(found.len(), 2 * 3 * 4);
            assert_eq!(found, cut(&x, [3, 4, 5], 2, [7, step]));
            for (i, patch) in found.chunks(12).enumerate() {
                let first = patch[0];
                // Neighbours right, below, and in the next channel.
                let steps = [patch[1] - first, patch[2] - first, patch[4] - first];
                assert_eq!(steps, [1.0, 5.0, 20.0]);
                seen.insert(first as usize - 60 * i);
            }
        }
        assert_eq!(seen, [0, 1, 2, 3, 5, 6, 7, 8, 10, 11, 12, 13].into_iter().collect());
        assert_eq!(cut(&x, [3, 4, 5], 4, [7, 1]).len(), 2 * 3 * 16);
    }
}
