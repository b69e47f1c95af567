//! Images of low contrast and constant ones, which sets of photographs lack.

use crate::random::{example_rng, stream};
use rand::RngExt;

/// Replaces a share of the images of a batch, `[batch, channels, height, width]` in [-1, 1], by
/// `level + k*(x - mean x)`, kept within the range. Of these images half are constant (`k = 0`); of
/// the others `k` is log-uniform from 0.01 to 1. The level is uniform in [-1, 1] for each channel,
/// or the same for all of them, or one of the ends of the range (saturated). Says which images were
/// replaced. What becomes of an image is a function of the seed, the step and its index in the
/// batch.
pub(super) fn reduce_contrast(
    x: &mut [f32],
    [c, h, w]: [usize; 3],
    share: f64,
    [seed, step]: [u64; 2],
) -> Vec<bool> {
    let image = |(i, x): (usize, &mut [f32])| {
        let rng = &mut example_rng(seed, step, i as u64, stream::CONTRAST);
        let [reduced, constant, contrast, kind, grey]: [f64; 5] =
            std::array::from_fn(|_| rng.random());
        if reduced >= share {
            return false;
        }
        let k = if constant < 0.5 { 0.0 } else { (0.01f64.ln() * contrast).exp() as f32 };
        for plane in x.chunks_mut(h * w) {
            let own: f64 = rng.random();
            let level = match kind {
                kind if kind < 0.15 => grey.round(),
                kind if kind < 0.55 => grey,
                _ => own,
            };
            let level = (2.0 * level - 1.0) as f32;
            let mean = plane.iter().sum::<f32>() / plane.len() as f32;
            plane.iter_mut().for_each(|x| *x = (level + k * (*x - mean)).clamp(-1.0, 1.0));
        }
        true
    };
    x.chunks_mut(c * h * w).enumerate().map(image).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_images_is_reduced_and_the_others_stay() {
        let shape = [3, 4, 5];
        let before: Vec<f32> =
            (0..2000 * 60).map(|i| ((i * 37) % 199) as f32 / 99.0 - 1.0).collect();
        let mut x = before.clone();
        let reduced = reduce_contrast(&mut x, shape, 0.2, [3, 7]);
        let count = reduced.iter().filter(|reduced| **reduced).count();
        assert!((320..480).contains(&count), "{count} of 2000");
        let (mut constant, mut saturated) = (0, 0);
        for ((x, before), reduced) in x.chunks(60).zip(before.chunks(60)).zip(reduced) {
            assert!(x.iter().all(|x| (-1.0..=1.0).contains(x)));
            assert_eq!(x != before, reduced);
            let flat = |plane: &[f32]| plane.iter().all(|x| *x == plane[0]);
            constant += usize::from(x.chunks(20).all(flat));
            saturated += usize::from(x.iter().all(|x| x.abs() == 1.0));
        }
        assert!(
            (140..260).contains(&constant) && saturated > 10,
            "{constant} {saturated} of {count}"
        );
        let mut again = before.clone();
        reduce_contrast(&mut again[..120], shape, 0.2, [3, 7]);
        assert_eq!(again[..120], x[..120], "a function of the index in the batch");
        let mut none = before.clone();
        assert!(!reduce_contrast(&mut none, shape, 0.0, [3, 7]).contains(&true) && none == before);
    }
}
