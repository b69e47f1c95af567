//! Batches: values in [-1, 1], and augmentation.

use rand::{Rng, RngExt};
use rayon::prelude::*;
use std::borrow::Cow;

use super::{
    random_crop,
    strong::{cut_out, random_affine},
};
use crate::data::set::dataset::Dataset;
use crate::image::{Geometry, interleave};
use crate::random::{example_rng, stream};
use crate::range::normalise;

/// What surrounds an image when a crop reaches outside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Padding {
    /// The value 0, black: the usual choice for CIFAR.
    #[default]
    Zero,
    /// The image mirrored at its border, the border itself not repeated.
    Reflect,
}

/// Random changes of an image that keep its class.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Augment {
    /// First cut out a random part whose share of the image's area lies in this range and resize
    /// it to the image's size (Szegedy et al. 2015).
    pub resized_crop: Option<[f64; 2]>,
    /// Mirror left and right with probability 1/2.
    pub flip: bool,
    /// Crop at a random position out of the image padded by this many pixels on each side; 0 is
    /// no crop.
    pub crop: usize,
    /// What the padding holds.
    pub crop_padding: Padding,
    /// Turn by a random multiple of 90 degrees: of [patches](crate::data::OpenOptions::patch)
    /// alone.
    pub rotate: bool,
    /// Strength of a random affine map, 0 for none: turns by up to 30 degrees times this, shears
    /// by up to 0.3 times this, scales by up to `exp(0.3)` times this in the exponent.
    pub affine: f64,
    /// Side of a square that is made grey at a random place, 0 for none (DeVries & Taylor 2017,
    /// "Improved regularization of convolutional neural networks with cutout"): its centre may be
    /// anywhere in the image.
    pub cutout: usize,
}

/// Writes the image `image` (C, H, W), randomly flipped and cropped, into `out` (C, H, W) in [-1,
/// 1]. [`Augment::resized_crop`] and [`Augment::affine`] are ignored, they come before, and
/// [`Augment::cutout`], which comes after.
///
/// The same numbers are drawn whatever the settings, so turning the flip off does not move the
/// crops.
///
/// ```
/// use miyasawa::data::{Augment, Geometry, augment_into};
/// use miyasawa::random::example_rng;
///
/// let augment = Augment { flip: true, crop: 1, ..Augment::default() };
/// let (image, mut out) = ([0, 255, 0, 255], [0.0; 4]);
/// // Of seed 3, epoch 0, image 7; the last number tells random streams apart.
/// augment_into(&image, Geometry::new(1, 2, 2), &augment, &mut example_rng(3, 0, 7, 0), &mut out);
/// assert!(out.iter().all(|v| v.abs() == 1.0));
/// ```
///
/// # Panics
///
/// If the lengths of `image` and `out` are not those of the geometry.
pub fn augment_into<R: Rng>(
    image: &[u8],
    geometry: Geometry,
    augment: &Augment,
    rng: &mut R,
    out: &mut [f32],
) {
    let Geometry { channels, height, width } = geometry;
    assert_eq!(image.len(), geometry.values(), "the image's length");
    assert_eq!(out.len(), image.len(), "the output's length");
    let flip = rng.random::<bool>() && augment.flip;
    let shift = |draw: u32| {
        // Multiply-shift maps a 32-bit number to 0..=2*crop; the bias is below 2^-20 for any
        // sensible crop.
        ((u64::from(draw) * (2 * augment.crop as u64 + 1)) >> 32) as isize - augment.crop as isize
    };
    let (dy, dx) = (shift(rng.random()), shift(rng.random()));
    let column: Vec<Option<usize>> = (0..width)
        .map(|x| {
            source(if flip { width - 1 - x } else { x } as isize + dx, width, augment.crop_padding)
        })
        .collect();
    for c in 0..channels {
        for y in 0..height {
            let to = &mut out[(c * height + y) * width..][..width];
            match source(y as isize + dy, height, augment.crop_padding) {
                None => to.fill(normalise(0)),
                Some(row) => {
                    let from = &image[(c * height + row) * width..][..width];
                    for (to, from_x) in to.iter_mut().zip(&column) {
                        *to = normalise(from_x.map_or(0, |x| from[x]));
                    }
                }
            }
        }
    }
}

/// Where the padded image's coordinate `at` lies in the image; `None` in zero padding.
fn source(at: isize, len: usize, padding: Padding) -> Option<usize> {
    if (0..len as isize).contains(&at) {
        return Some(at as usize);
    }
    match padding {
        Padding::Zero => None,
        Padding::Reflect if len == 1 => Some(0),
        Padding::Reflect => {
            let period = 2 * (len as isize - 1);
            let folded = at.rem_euclid(period);
            Some(folded.min(period - folded) as usize)
        }
    }
}

/// Writes the images at `indices` into `out`, (indices.len(), C, H, W) in [-1, 1].
///
/// # Panics
///
/// If an index is not below `data.len()` or `out` is not `indices.len() * data.image_len()` long.
pub fn gather(data: &Dataset, indices: &[u32], out: &mut [f32]) {
    let len = data.image_len();
    assert_eq!(out.len(), indices.len() * len, "the batch's length");
    out.par_chunks_mut(len).zip(indices).for_each(|(out, &i)| {
        for (out, &value) in out.iter_mut().zip(data.image(i as usize)) {
            *out = normalise(value);
        }
    });
}

/// Like [`gather`], with every image randomly cropped and flipped by its own [`example_rng`] of
/// (seed, epoch, index).
///
/// ```
/// use miyasawa::data::{Augment, DataSource, OpenOptions, Part, epoch_order, gather_augmented};
///
/// let train = DataSource::Digits.open(Part::Train, &OpenOptions::default())?.into_dataset()?;
/// let augment = Augment { crop: 1, ..Augment::default() };
/// let (seed, epoch, batch) = (0, 2, 16);
/// let order = epoch_order(seed, epoch, train.len());
/// let mut values = vec![0.0; batch * train.image_len()];
/// gather_augmented(&train, &order[..batch], &augment, seed, epoch, &mut values);
/// # assert!(values.iter().any(|v| *v > 0.0));
/// # Ok::<(), miyasawa::data::DataError>(())
/// ```
///
/// # Panics
///
/// As [`gather`].
pub fn gather_augmented(
    data: &Dataset,
    indices: &[u32],
    augment: &Augment,
    seed: u64,
    epoch: u64,
    out: &mut [f32],
) {
    if *augment == Augment::default() {
        return gather(data, indices, out);
    }
    let len = data.image_len();
    assert_eq!(out.len(), indices.len() * len, "the batch's length");
    out.par_chunks_mut(len).zip(indices).for_each(|(out, &i)| {
        augment_example(
            data.image(i as usize),
            data.geometry(),
            augment,
            [seed, epoch, u64::from(i)],
            out,
        );
    });
}

/// Augments an image of the set's size (C, H, W) with the random numbers of (seed, epoch, index).
pub(in crate::data) fn augment_example(
    image: &[u8],
    geometry: Geometry,
    augment: &Augment,
    [seed, epoch, index]: [u64; 3],
    out: &mut [f32],
) {
    let Some(area) = augment.resized_crop else {
        return augment_cropped(image, geometry, augment, [seed, epoch, index], out);
    };
    let (channels, size) = (geometry.channels, geometry.size());
    let samples = interleave(image, channels);
    let mut crops = example_rng(seed, epoch, index, stream::RESIZED_CROP);
    let cropped = random_crop::resized_crop(&samples, channels, size, size, area, &mut crops);
    augment_cropped(&cropped, geometry, augment, [seed, epoch, index], out);
}

/// As [`augment_example`], after the random resized crop.
pub(super) fn augment_cropped(
    image: &[u8],
    geometry: Geometry,
    augment: &Augment,
    [seed, epoch, index]: [u64; 3],
    out: &mut [f32],
) {
    let of = |stream| example_rng(seed, epoch, index, stream);
    let mut image = Cow::Borrowed(image);
    if augment.affine > 0.0 {
        image = random_affine(&image, geometry, augment.affine, &mut of(stream::AFFINE)).into();
    }
    augment_into(&image, geometry, augment, &mut of(stream::AUGMENT), out);
    if augment.cutout > 0 {
        cut_out(out, geometry, augment.cutout, &mut of(stream::CUTOUT));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::range::denormalise;

    fn data() -> Dataset {
        let pixels = (0..40u32 * 18).map(|i| (i * 7 % 251) as u8).collect();
        Dataset::new("x", Geometry::new(3, 2, 3), vec!["a".into()], pixels, vec![0; 40]).unwrap()
    }

    #[test]
    fn augmentation_depends_on_seed_epoch_and_index_alone() {
        let data = data();
        let len = data.image_len();
        let augment =
            Augment { flip: true, crop: 2, resized_crop: Some([0.3, 1.0]), ..Augment::default() };
        let mut all = vec![0.0; 40 * len];
        gather_augmented(&data, &(0..40).collect::<Vec<u32>>(), &augment, 3, 4, &mut all);
        let mut part = vec![0.0; 2 * len];
        gather_augmented(&data, &[9, 30], &augment, 3, 4, &mut part);
        assert_eq!(part[..len], all[9 * len..10 * len]);
        assert_eq!(part[len..], all[30 * len..31 * len]);
        gather_augmented(&data, &[9, 30], &augment, 3, 5, &mut part);
        assert_ne!(part[..], [&all[9 * len..10 * len], &all[30 * len..31 * len]].concat());
    }

    #[test]
    fn flips_and_crops_move_pixels_as_they_say() {
        let image: Vec<u8> = (1..=12).collect();
        let geometry = Geometry::new(1, 3, 4);
        let mut seen = std::collections::BTreeSet::new();
        for index in 0..400 {
            let mut out = vec![0.0; 12];
            let augment = Augment { flip: true, crop: 1, ..Augment::default() };
            augment_into(&image, geometry, &augment, &mut example_rng(0, 0, index, 99), &mut out);
            seen.insert(out.iter().map(|&v| denormalise(v)).collect::<Vec<u8>>());
        }
        // 2 flips, 3 vertical and 3 horizontal positions, all reached and nothing else.
        assert_eq!(seen.len(), 18);
        assert!(seen.contains(&image));
        assert!(seen.contains(&vec![4, 3, 2, 1, 8, 7, 6, 5, 12, 11, 10, 9]));
        assert!(seen.contains(&vec![0, 0, 0, 0, 0, 1, 2, 3, 0, 5, 6, 7]));
    }

    #[test]
    fn reflection_does_not_repeat_the_border() {
        let at = |i| source(i, 4, Padding::Reflect).unwrap();
        assert_eq!((-4..8).map(at).collect::<Vec<_>>(), [2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1]);
        assert_eq!(source(-5, 1, Padding::Reflect), Some(0));
    }

    #[test]
    fn gathering_without_augmentation_is_normalisation() {
        let data = data();
        let mut out = vec![0.0; 36];
        gather_augmented(&data, &[3, 3], &Augment::default(), 0, 0, &mut out);
        assert_eq!(out[..18], out[18..]);
        assert!(out[..18].iter().zip(data.image(3)).all(|(&a, &b)| a == normalise(b)));
    }
}
