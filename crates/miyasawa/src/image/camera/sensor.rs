//! The noise of a sensor.

use rand::Rng;
use rand_distr::{Distribution, Poisson, StandardNormal};

/// Expected number of electrons from which on their number is drawn as a normal one.
const MANY: f32 = 30.0;
/// Raw values are kept down to this far below black, as cameras do by an offset.
const BELOW_BLACK: f32 = 1.0 / 16.0;

/// Adds shot and read noise to raw values (0 black, 1 saturated), clips and rounds them.
///
/// A value `x` is the number of `x/shot` electrons. Their number has the Poisson distribution, or,
/// where they are many, a normal one of the same mean and variance.
pub(super) fn expose(raw: &mut [f32], shot: f32, read: f32, bits: u32, rng: &mut impl Rng) {
    let read = read.max(0.0).sqrt();
    let levels = 2.0f32.powi(bits.clamp(1, 16) as i32) - 1.0;
    let mut normal = || -> f32 { StandardNormal.sample(rng) };
    // Read noise first, so that the borrow of the generator ends.
    let noise: Vec<f32> = raw.iter().map(|_| read * normal()).collect();
    for (value, noise) in raw.iter_mut().zip(noise) {
        let light = value.max(0.0);
        let drawn = if shot <= 0.0 {
            light
        } else if light < MANY * shot {
            // A mean of 0 is refused, and gives no electrons.
            Poisson::new(light / shot).map_or(0.0, |electrons| electrons.sample(rng) * shot)
        } else {
            let normal: f32 = StandardNormal.sample(rng);
            light + (light * shot).sqrt() * normal
        };
        let clipped = (drawn + noise).clamp(-BELOW_BLACK, 1.0);
        *value = (clipped * levels).round() / levels;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{example_rng, stream};

    /// Mean and variance are those of the model, with few electrons and with many.
    #[test]
    fn noise_has_the_mean_and_the_variance() {
        const COUNT: usize = 200_000;
        for (light, shot, read) in
            [(0.5, 1e-4, 1e-9), (0.3, 1e-2, 2e-4), (0.05, 1e-2, 2e-4), (0.0, 1e-2, 2e-4)]
        {
            let mut raw = vec![light; COUNT];
            expose(&mut raw, shot, read, 14, &mut example_rng(3, 0, 0, stream::CAMERA));
            let values = || raw.iter().map(|value| f64::from(*value));
            let mean = values().sum::<f64>() / COUNT as f64;
            let variance = values().map(|value| (value - mean).powi(2)).sum::<f64>() / COUNT as f64;
            let expected = f64::from(light * shot + read);
            let error = (mean - f64::from(light)).abs();
            assert!(error < 4.0 * (expected / COUNT as f64).sqrt() + 1e-6, "{light}: {mean}");
            assert!((variance / expected - 1.0).abs() < 0.02, "{light} {shot}: {variance}");
        }
    }

    #[test]
    fn values_are_clipped_and_rounded() {
        let mut raw = vec![1.0, 0.5, -0.2];
        expose(&mut raw, 0.0, 0.0, 8, &mut example_rng(3, 0, 0, stream::CAMERA));
        assert_eq!(raw, [1.0, 128.0 / 255.0, 0.0]);
        let mut dark = vec![0.0; 1000];
        expose(&mut dark, 0.0, 1.0, 8, &mut example_rng(3, 0, 0, stream::CAMERA));
        assert!(dark.iter().all(|value| (-0.063..=1.0).contains(value)));
    }
}
