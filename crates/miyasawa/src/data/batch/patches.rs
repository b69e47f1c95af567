//! Squares cut out of images: what denoisers of photographs learn from.

use rand::{Rng, RngExt};

use super::augment::Augment;
use super::decode::DecodedImage;
use crate::image::Geometry;

/// The square of `side` pixels whose first row and column are `top` and `left`; `from` maps a row
/// and a column of the result to those of the square.
fn cut(
    image: &DecodedImage,
    side: usize,
    [top, left]: [usize; 2],
    from: impl Fn(usize, usize) -> (usize, usize),
) -> DecodedImage {
    let Geometry { channels, height, width } = image.geometry;
    let mut values = Vec::with_capacity(channels * side * side);
    for plane in image.values.chunks(height * width) {
        for y in 0..side {
            values.extend((0..side).map(|x| {
                let (row, column) = from(y, x);
                plane[(top + row) * width + left + column]
            }));
        }
    }
    DecodedImage { geometry: Geometry::new(channels, side, side), values }
}

/// A square at a random position, every one as likely, randomly mirrored and turned as `augment`
/// says; the image is at least as large. The same numbers are drawn whatever the settings.
pub(super) fn random_patch(
    image: &DecodedImage,
    side: usize,
    augment: &Augment,
    rng: &mut impl Rng,
) -> DecodedImage {
    let Geometry { height, width, .. } = image.geometry;
    let at = [height, width].map(|extent| rng.random_range(0..=(extent - side) as u64) as usize);
    let (flip, turns) = (rng.random::<bool>(), rng.random::<u32>() >> 30);
    let (flip, turns) = (flip && augment.flip, if augment.rotate { turns } else { 0 });
    let last = side - 1;
    cut(image, side, at, |y, x| {
        let (y, x) = match turns {
            0 => (y, x),
            1 => (x, last - y),
            2 => (last - y, last - x),
            _ => (last - x, y),
        };
        (y, if flip { last - x } else { x })
    })
}

/// The square in the middle.
pub(super) fn centre_patch(image: &DecodedImage, side: usize) -> DecodedImage {
    let Geometry { height, width, .. } = image.geometry;
    cut(image, side, [(height - side) / 2, (width - side) / 2], |y, x| (y, x))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::example_rng;
    use std::collections::BTreeSet;

    fn image() -> DecodedImage {
        DecodedImage { geometry: Geometry::new(3, 4, 5), values: (0..60).collect() }
    }

    #[test]
    fn patches_are_squares_of_the_image_and_reach_every_corner() {
        let (image, mut seen) = (image(), BTreeSet::new());
        for index in 0..200 {
            let rng = &mut example_rng(7, 0, index, 99);
            let patch = random_patch(&image, 2, &Augment::default(), rng);
            assert_eq!(patch.geometry, Geometry::new(3, 2, 2));
            let first = patch.values[0];
            // Neighbours right, below, and in the next channel.
            assert_eq!([1, 2, 4].map(|i| patch.values[i] - first), [1, 5, 20]);
            seen.insert(first);
        }
        assert_eq!(seen, [0, 1, 2, 3, 5, 6, 7, 8, 10, 11, 12, 13].into_iter().collect());
        assert_eq!(centre_patch(&image, 2).values[..4], [6, 7, 11, 12]);
    }

    #[test]
    fn flips_and_turns_are_the_eight_symmetries_of_a_square() {
        let geometry = Geometry::new(1, 2, 2);
        let image = DecodedImage { geometry, values: vec![1, 2, 3, 4] };
        let of = |augment: Augment| -> BTreeSet<Vec<u8>> {
            let patch = |index| random_patch(&image, 2, &augment, &mut example_rng(0, 0, index, 9));
            (0..200).map(|index| patch(index).values).collect()
        };
        let augment = Augment::default();
        assert_eq!(of(augment).len(), 1);
        let flipped = of(Augment { flip: true, ..augment });
        assert_eq!(flipped, [vec![1, 2, 3, 4], vec![2, 1, 4, 3]].into_iter().collect());
        let turned = of(Augment { rotate: true, ..augment });
        let expected = [[1, 2, 3, 4], [2, 4, 1, 3], [4, 3, 2, 1], [3, 1, 4, 2]];
        assert_eq!(turned, expected.iter().map(|turn| turn.to_vec()).collect());
        assert_eq!(of(Augment { flip: true, rotate: true, ..augment }).len(), 8);
    }
}
