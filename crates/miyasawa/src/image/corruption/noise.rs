//! Noise: Gaussian, shot, impulse.

use super::{Severity, planes::Planes};
use crate::random::fill_normal;
use rand::{Rng, RngExt as _};
use rand_distr::{Distribution as _, Poisson};

pub(super) fn gaussian(x: &mut Planes, severity: Severity, rng: &mut impl Rng) {
    let level = severity.of([0.04f32, 0.06, 0.08, 0.09, 0.1]);
    let mut noise = vec![0.0; x.values.len()];
    fill_normal(rng, &mut noise);
    x.values.iter_mut().zip(noise).for_each(|(value, noise)| *value += level * noise);
}

pub(super) fn shot(x: &mut Planes, severity: Severity, rng: &mut impl Rng) {
    let photons = severity.of([500.0f64, 250.0, 100.0, 75.0, 50.0]);
    for value in &mut x.values {
        // Without light there are no photons, and no distribution of them.
        if let Ok(count) = Poisson::new(photons * f64::from(*value)) {
            *value = (count.sample(rng) / photons) as f32;
        }
    }
}

pub(super) fn impulse(x: &mut Planes, severity: Severity, rng: &mut impl Rng) {
    let share = severity.of([0.01f32, 0.02, 0.03, 0.05, 0.07]);
    for value in &mut x.values {
        let (hit, light): (f32, bool) = (rng.random(), rng.random());
        if hit < share {
            *value = if light { 1.0 } else { 0.0 };
        }
    }
}
