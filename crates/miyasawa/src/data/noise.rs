//! Standard normal noise, drawn on the host: the same on every device.

use super::batch::example_rng;
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

/// The stream of [`example_rng`] that evaluation noise comes from.
const EVAL: u64 = 17;

/// Fills `out` with independent standard normal numbers.
pub(crate) fn fill_normal(rng: &mut impl Rng, out: &mut [f32]) {
    for value in out {
        *value = StandardNormal.sample(rng);
    }
}

/// Standard normal noise for the pictures `first..first + batch` of an evaluation; one stream for each
/// noise level, so that every model meets the same noise.
pub fn evaluation_noise(seed: u64, level: u64, first: usize, batch: usize, image: usize) -> Vec<f32> {
    let mut eps = vec![0.0; batch * image];
    eps.par_chunks_mut(image).enumerate().for_each(|(i, eps)| {
        fill_normal(&mut example_rng(seed, level, (first + i) as u64, EVAL), eps);
    });
    eps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_noise_of_a_picture_is_that_of_its_place() {
        let shifted = evaluation_noise(1, 0, 1, 2, 10);
        assert_eq!(shifted[..10], evaluation_noise(1, 0, 0, 2, 10)[10..]);
    }
}
