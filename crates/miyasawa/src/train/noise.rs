//! Noise levels and noise, drawn on the host: the same on every device, and for an image a function
//! of the seed, the step and its index in the batch alone.

use super::config::{NoiseConfig, NoiseDistribution};
use crate::random::{example_rng, fill_normal, stream};
use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

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
    let mut sigma = vec![0.0; batch];
    let mut noise = vec![0.0; batch * image];
    sigma.par_iter_mut().zip(noise.par_chunks_mut(image)).enumerate().for_each(
        |(i, (sigma, noise))| {
            let mut rng = example_rng(seed, step, i as u64, stream::TRAINING_NOISE);
            *sigma = config.sample(&mut rng) as f32;
            fill_normal(&mut rng, noise);
        },
    );
    (sigma, noise)
}

#[cfg(test)]
mod tests {
    use super::*;

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
