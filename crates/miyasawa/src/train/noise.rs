//! Noise levels and noise, drawn on the host: the same on every device, and for an image a function
//! of the seed, the step and its index in the batch alone.

use super::config::{NoiseConfig, NoiseDistribution};
use crate::image::camera::CameraNoise;
use crate::random::{example_rng, fill_normal, stream};
use crate::range::{denormalise, luma, normalise};
use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;
use std::ops::Range;

impl NoiseConfig {
    /// One noise level.
    pub fn sample(&self, rng: &mut impl Rng) -> f64 {
        // Both numbers are always drawn, so that the share changes no other image's level.
        let (share, u): (f64, f64) = (rng.random(), rng.random());
        if share < self.share_at_min || self.max == self.min {
            return self.min;
        }
        match self.distribution {
            NoiseDistribution::LogUniform => (self.min.ln() + u * (self.max / self.min).ln()).exp(),
            NoiseDistribution::Uniform => self.min + u * (self.max - self.min),
            NoiseDistribution::LogNormal => {
                let z: f64 = StandardNormal.sample(rng);
                (self.log_mean + self.log_std * z).exp().clamp(self.min, self.max)
            }
        }
    }
}

/// Noise levels and standard normal noise of a training step.
pub fn training_noise(
    config: &NoiseConfig,
    seed: u64,
    step: u64,
    batch: usize,
    image: usize,
) -> (Vec<f32>, Vec<f32>) {
    noise_of(config, [seed, step], batch, image, 0..batch)
}

/// As [`training_noise`] for the images `own` of the batch; the others have zeros.
pub(super) fn noise_of(
    config: &NoiseConfig,
    [seed, step]: [u64; 2],
    batch: usize,
    image: usize,
    own: Range<usize>,
) -> (Vec<f32>, Vec<f32>) {
    let mut sigma = vec![0.0; batch];
    let mut noise = vec![0.0; batch * image];
    sigma.par_iter_mut().zip(noise.par_chunks_mut(image)).enumerate().for_each(
        |(i, (sigma, noise))| {
            if !own.contains(&i) {
                return;
            }
            let mut rng = example_rng(seed, step, i as u64, stream::TRAINING_NOISE);
            *sigma = config.sample(&mut rng) as f32;
            fill_normal(&mut rng, noise);
        },
    );
    (sigma, noise)
}

/// Makes a share of the images of a batch, `[batch, channels, height, width]` in [-1, 1], grey: all
/// channels hold the luma and the noise of the first. Which ones is a function of the seed, the
/// step and the image's index in the batch. Grey images stay as they are.
pub(super) fn make_grey(
    x: &mut [f32],
    noise: &mut [f32],
    [c, h, w]: [usize; 3],
    share: f64,
    [seed, step]: [u64; 2],
) {
    if share == 0.0 || c != 3 {
        return;
    }
    let plane = h * w;
    for (i, (x, noise)) in x.chunks_mut(3 * plane).zip(noise.chunks_mut(3 * plane)).enumerate() {
        if example_rng(seed, step, i as u64, stream::GREY).random::<f64>() >= share {
            continue;
        }
        for p in 0..plane {
            let grey = luma([x[p], x[plane + p], x[2 * plane + p]]);
            for k in 0..3 {
                x[k * plane + p] = grey;
                noise[k * plane + p] = noise[p];
            }
        }
    }
}

/// Replaces the noise of a share of the colour images by that of a random camera, the images by
/// what the camera shows without noise, and the levels by those of the noise, within the configured
/// ones; only among the images `own`. Which ones, and the cameras, are functions of the seed, the
/// step and the image's index in the batch.
pub(super) fn expose(
    x: &mut [f32],
    sigma: &mut [f32],
    noise: &mut [f32],
    [c, h, w]: [usize; 3],
    config: &NoiseConfig,
    [seed, step]: [u64; 2],
    own: Range<usize>,
) {
    // A camera's mosaic is 2x2.
    if config.camera == 0.0 || c != 3 || h < 2 || w < 2 {
        return;
    }
    let len = 3 * h * w;
    let images = x.par_chunks_mut(len).zip(noise.par_chunks_mut(len)).zip(sigma.par_iter_mut());
    images.enumerate().for_each(|(i, ((x, noise), sigma))| {
        let mut rng = example_rng(seed, step, i as u64, stream::CAMERA);
        if !own.contains(&i) || rng.random::<f64>() >= config.camera {
            return;
        }
        let camera = CameraNoise::random(&mut rng);
        noise.copy_from_slice(x);
        let Ok(truth) = camera.expose_values(noise, (h, w), &mut rng) else {
            unreachable!("a random camera takes any image of 2x2 and more")
        };
        x.copy_from_slice(&truth);
        noise.iter_mut().zip(&truth).for_each(|(noisy, truth)| *noisy -= truth);
        let square = noise.iter().map(|n| f64::from(*n).powi(2)).sum::<f64>() / len as f64;
        *sigma = square.sqrt().clamp(config.min, config.max) as f32;
        noise.iter_mut().for_each(|noise| *noise /= *sigma);
    });
}

/// Replaces the noise of a share of the images by what is left of it in a file of 8 bits:
/// `(q(x + sigma*noise) - x)/sigma`, where `q` clips to [-1, 1] and rounds to 256 levels. Which
/// ones is a function of the seed, the step and the image's index in the batch.
pub(super) fn store_in_8_bits(
    x: &[f32],
    sigma: &[f32],
    noise: &mut [f32],
    share: f64,
    [seed, step]: [u64; 2],
) {
    if share == 0.0 {
        return;
    }
    let len = x.len() / sigma.len();
    let images = x.par_chunks(len).zip(noise.par_chunks_mut(len)).zip(sigma);
    images.enumerate().for_each(|(i, ((x, noise), &sigma))| {
        // Images of other processes have no level.
        let ours = sigma > 0.0;
        if ours && example_rng(seed, step, i as u64, stream::STORED).random::<f64>() < share {
            for (x, noise) in x.iter().zip(noise) {
                *noise = (normalise(denormalise(x + sigma * *noise)) - x) / sigma;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grey_images_have_one_noise() {
        let (mut x, mut noise) = (vec![0.0; 40 * 12], vec![0.0; 40 * 12]);
        x.iter_mut().enumerate().for_each(|(i, x)| *x = (i % 7) as f32 / 7.0);
        noise.iter_mut().enumerate().for_each(|(i, n)| *n = (i % 5) as f32);
        let (x0, noise0) = (x.clone(), noise.clone());
        make_grey(&mut x, &mut noise, [3, 2, 2], 0.5, [1, 2]);
        let grey = |v: &[f32]| v[..4] == v[4..8] && v[..4] == v[8..];
        let mut count = 0;
        for i in 0..40 {
            let at = i * 12..(i + 1) * 12;
            if x[at.clone()] == x0[at.clone()] {
                assert_eq!(noise[at.clone()], noise0[at]);
                continue;
            }
            count += 1;
            assert!(grey(&x[at.clone()]) && grey(&noise[at.clone()]));
            assert_eq!(noise[at.clone()][..4], noise0[at][..4]);
        }
        assert!((10..30).contains(&count), "{count}");
    }

    #[test]
    fn cameras_give_their_own_levels_and_truths() {
        let config = NoiseConfig { camera: 0.5, min: 0.001, max: 1.0, ..NoiseConfig::default() };
        let (len, count) = (3 * 16 * 16, 40);
        let image = |i: usize| ((i * 7) % 100) as f32 / 100.0 - 0.5;
        let mut x: Vec<f32> = (0..count * len).map(image).collect();
        let (before, mut sigma) = (x.clone(), vec![0.2; count]);
        let mut noise = vec![1.0; count * len];
        expose(&mut x, &mut sigma, &mut noise, [3, 16, 16], &config, [2, 5], 0..40);
        let exposed: Vec<usize> = (0..count).filter(|i| sigma[*i] != 0.2).collect();
        assert!((10..30).contains(&exposed.len()), "{exposed:?}");
        for i in 0..count {
            let at = i * len..(i + 1) * len;
            let square = noise[at.clone()].iter().map(|n| n * n).sum::<f32>() / len as f32;
            assert!((square - 1.0).abs() < 1e-3, "{square}");
            assert_eq!(x[at.clone()] != before[at], exposed.contains(&i));
        }
        let mut again = (before.clone(), vec![0.2; count], vec![1.0; count * len]);
        let (x2, sigma2, noise2) = (&mut again.0, &mut again.1, &mut again.2);
        expose(x2, sigma2, noise2, [3, 16, 16], &config, [2, 5], 0..40);
        assert_eq!((x, sigma, noise), again);
    }

    #[test]
    fn stored_noise_is_that_of_a_file() {
        let (x, sigma) = (vec![0.5f32; 2000], vec![0.5f32; 2]);
        let mut noise = vec![0.0; 2000];
        fill_normal(&mut example_rng(0, 0, 0, 99), &mut noise);
        let before = noise.clone();
        store_in_8_bits(&x, &sigma, &mut noise, 1.0, [0, 0]);
        for (stored, before) in noise.iter().zip(before) {
            let (y, exact) = (0.5 + 0.5 * stored, (0.5 + 0.5 * before).clamp(-1.0, 1.0));
            assert!((y - exact).abs() < 0.5 / 127.5 + 1e-5, "{y} {exact}");
            let level = (y + 1.0) * 127.5;
            assert!((level - level.round()).abs() < 1e-3, "{level}");
        }
    }

    #[test]
    fn levels_stay_inside_and_the_share_is_kept() {
        for distribution in [NoiseDistribution::LogUniform, NoiseDistribution::LogNormal] {
            let config = NoiseConfig { distribution, share_at_min: 0.25, ..NoiseConfig::default() };
            let (sigma, _) = training_noise(&config, 3, 1, 4000, 1);
            assert!(sigma.iter().all(|s| (0.0199..=1.001).contains(s)));
            let at_min = sigma.iter().filter(|s| **s == 0.02).count() as f64 / 4000.0;
            assert!((0.21..0.32).contains(&at_min), "{distribution:?}: {at_min}");
        }
    }

    #[test]
    fn noise_is_standard_normal_and_depends_on_its_place_alone() {
        let config = NoiseConfig::default();
        let (sigma, noise) = training_noise(&config, 1, 2, 40, 1000);
        let (first_sigma, first_noise) = training_noise(&config, 1, 2, 3, 1000);
        assert_eq!((&sigma[..3], &noise[..3000]), (&first_sigma[..], &first_noise[..]));
        let mean = noise.iter().map(|e| f64::from(*e)).sum::<f64>() / noise.len() as f64;
        let square = noise.iter().map(|e| f64::from(*e).powi(2)).sum::<f64>() / noise.len() as f64;
        assert!(mean.abs() < 0.02 && (square - 1.0).abs() < 0.03, "{mean} {square}");
        assert_ne!(training_noise(&config, 1, 3, 3, 1000).1, first_noise);
    }
}
