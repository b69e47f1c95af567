//! Random numbers that are a function of (seed, epoch or step, index, purpose) alone.
//!
//! They are drawn on the host, so they are the same on every device, and depend neither on the
//! number of threads nor on the size of a batch nor on what was drawn before. A run resumes bit by
//! bit without a saved generator.
//!
//! ```
//! use miyasawa::random::{evaluation_noise, example_rng, stream};
//! use rand::RngExt;
//!
//! let [a, b] = [(); 2].map(|()| example_rng(7, 0, 3, stream::EVALUATION).random::<u32>());
//! assert_eq!(a, b);
//! // The noise of an image does not depend on the images before it.
//! let (all, last) = (evaluation_noise(7, 0, 0, 3, 4), evaluation_noise(7, 0, 2, 1, 4));
//! assert_eq!(all[8..], last);
//! ```

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

/// The purposes of random numbers: the last part of the key of [`example_rng`]. Your own programs
/// use numbers from 64 up.
pub mod stream {
    /// The order of an epoch.
    pub const ORDER: u64 = 1;
    /// Flips and crops.
    pub const AUGMENT: u64 = 2;
    /// Held-out examples.
    pub const SPLIT: u64 = 3;
    /// Random resized crops.
    pub const RESIZED_CROP: u64 = 4;
    /// Noise of training.
    pub const TRAINING_NOISE: u64 = 16;
    /// Noise of evaluations.
    pub const EVALUATION: u64 = 17;
    /// Random starts of PGD.
    pub const PGD_START: u64 = 18;
    /// Random starts of APGD.
    pub const APGD_START: u64 = 19;
    /// The Square attack.
    pub const SQUARE: u64 = 20;
    /// Noise of the defence that averages.
    pub const AVERAGE: u64 = 21;
    /// Noise of certificates.
    pub const CERTIFY: u64 = 22;
    /// Synthetic out-of-distribution images.
    pub const SYNTHETIC: u64 = 23;
    /// The first content of JEM's replay buffer.
    pub const JEM_BUFFER: u64 = 24;
    /// Starts and probes of the denoiser's Jacobian (never drawn in one run with [`JEM_BUFFER`],
    /// whose number it has).
    pub const JACOBIAN: u64 = 24;
    /// JEM's samples.
    pub const JEM_SAMPLES: u64 = 25;
    /// Positions of patches.
    pub const PATCH: u64 = 26;
    /// Contrasts of low-contrast images.
    pub const CONTRAST: u64 = 27;
    /// Which images are made grey.
    pub const GREY: u64 = 28;
    /// Which noisy images are rounded and clipped.
    pub const STORED: u64 = 29;
    /// Noise of the simulated camera.
    pub const CAMERA: u64 = 30;
    /// Squares of cutout.
    pub const CUTOUT: u64 = 31;
    /// Random affine maps.
    pub const AFFINE: u64 = 32;
    /// The seed of the images that only the cross-entropy learns from.
    pub const CLASSIFICATION: u64 = 33;
    /// Starts of the attacks of adversarial training.
    pub const ADVERSARIAL: u64 = 34;
    /// Corruptions of images.
    pub const CORRUPTION: u64 = 35;
}

/// The random numbers of one example in one epoch, for one purpose (`stream`).
///
/// The four numbers are the key of the ChaCha8 generator, so different examples have independent
/// numbers.
pub fn example_rng(seed: u64, epoch: u64, index: u64, stream: u64) -> ChaCha8Rng {
    let mut key = [0u8; 32];
    for (bytes, number) in key.chunks_exact_mut(8).zip([seed, epoch, index, stream]) {
        bytes.copy_from_slice(&number.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

/// Fills `out` with independent standard normal numbers.
pub(crate) fn fill_normal(rng: &mut impl Rng, out: &mut [f32]) {
    for value in out {
        *value = StandardNormal.sample(rng);
    }
}

/// Standard normal noise for the images `first..first + batch` of an evaluation; one stream for
/// each noise level, so that every model is evaluated with the same noise.
pub fn evaluation_noise(
    seed: u64,
    level: u64,
    first: usize,
    batch: usize,
    image: usize,
) -> Vec<f32> {
    let mut noise = vec![0.0; batch * image];
    noise.par_chunks_mut(image).enumerate().for_each(|(i, noise)| {
        fill_normal(&mut example_rng(seed, level, (first + i) as u64, stream::EVALUATION), noise);
    });
    noise
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_noise_of_an_image_depends_on_its_index() {
        let shifted = evaluation_noise(1, 0, 1, 2, 10);
        assert_eq!(shifted[..10], evaluation_noise(1, 0, 0, 2, 10)[10..]);
    }
}
