//! The largest radius that can be certified, known before anything is drawn.

use super::{CHECKPOINTS, CertifyOptions, bounds::lower_bound};
use crate::normal;

impl CertifyOptions {
    /// The shares of `n` after which the bound is computed, and the `alpha` of each bound.
    pub(super) fn checkpoints(&self) -> (&'static [f64], f64) {
        let shares: &[f64] = if self.fixed { &CHECKPOINTS[2..] } else { &CHECKPOINTS };
        (shares, self.alpha / shares.len() as f64)
    }

    /// The radius that a lower bound of the class's probability certifies.
    pub(super) fn radius(&self, bound: f64) -> f64 {
        if bound > 0.5 { 0.5 * self.sigma * normal::quantile(bound) } else { 0.0 }
    }

    /// The largest radius that can be certified, reached if all `n` draws agree; 0 if none can be.
    ///
    /// # Panics
    /// If `n` is 0, or `alpha` is not between 0 and 1.
    pub fn largest_radius(&self) -> f64 {
        self.radius(lower_bound(self.n, self.n, self.checkpoints().1))
    }

    /// The smallest number of draws that can certify a radius, reached if all of them agree; `None`
    /// if it is 10^15 or more.
    pub fn draws_for(&self, radius: f64) -> Option<u64> {
        // All of n draws bound the probability at alpha^(1/n).
        let log_probability = (-normal::tail(radius / (0.5 * self.sigma))).ln_1p();
        let draws = (self.checkpoints().1.ln() / log_probability).floor() + 1.0;
        (draws < 1e15).then_some(draws as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(sigma: f64, n: u64, fixed: bool) -> CertifyOptions {
        CertifyOptions { sigma, n0: 1, n, alpha: 0.001, radii: vec![], fixed, batch: 1, seed: 0 }
    }

    #[test]
    fn the_fewest_draws_are_enough_and_one_less_is_not() {
        for (fixed, least) in [(true, 10), (false, 12)] {
            let few = options(0.5, 1, fixed);
            assert_eq!(few.draws_for(0.0), Some(least));
            assert_eq!(options(0.5, least - 1, fixed).largest_radius(), 0.0);
            for radius in [0.0, 0.1, 0.5, 0.7] {
                let n = few.draws_for(radius).unwrap();
                assert!(options(0.5, n, fixed).largest_radius() > radius, "{radius}: {n}");
                assert!(
                    options(0.5, n - 1, fixed).largest_radius() <= radius + 1e-9,
                    "{radius}: {n}"
                );
            }
        }
        // 0.25*quantile(0.001^(1/100000)), the largest radius of the paper's setting of sigma 0.25.
        assert!((options(0.5, 100_000, true).largest_radius() - 0.9522).abs() < 1e-3);
        assert_eq!(options(0.1, 10, true).draws_for(10.0), None);
    }
}
