//! When a run diverges: a loss or gradient that is not finite, or a loss above a running bound.
//!
//! The bound is `mean + deviations*deviation` of the losses so far, both moving averages over about
//! [`WINDOW`] steps, the deviation that of the absolute value, which one outlier moves little. What
//! happens then is what Chowdhery et al. (2022, PaLM, section 5.1) did by hand: back to a state
//! from before, and past the batches that led there; here the learning rate is lowered too.
//!
//! All of it is a function of the losses alone and is saved with the run: a resumed run makes the
//! same decisions as one that was never interrupted.

use super::config::ConfigError;
use serde::{Deserialize, Serialize};

/// Steps that the moving averages reach back over.
const WINDOW: f64 = 50.0;
/// During the warm-up, losses this many times the mean so far are beyond the bound.
const EARLY: f64 = 10.0;
/// The most deviations that a distance to the mean counts as.
const FAR: f64 = 2.0;
/// The smallest deviation, as a share of the loss at the start: a model that has learned nearly
/// everything meets a hard batch without having diverged.
const SMALLEST_DEVIATION: f64 = 0.02;

/// When a run is taken to diverge, and what is done then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DivergenceConfig {
    /// How many deviations above the mean a loss may be; 0 for no bound (what is not finite is
    /// always caught).
    pub deviations: f64,
    /// Steps before the bound holds; until then ten times the mean is allowed.
    pub warmup: u64,
    /// Steps between the states that a run can be taken back to.
    pub snapshot_every: u64,
    /// What the learning rate is multiplied by at every return.
    pub lr_factor: f64,
    /// Returns of a run before it is given up; 0 gives up at once.
    pub max_rollbacks: u32,
}

impl Default for DivergenceConfig {
    fn default() -> Self {
        Self { deviations: 10.0, warmup: 50, snapshot_every: 50, lr_factor: 0.5, max_rollbacks: 5 }
    }
}

impl DivergenceConfig {
    /// Checks the values.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let wrong = |key, found: f64, expected| {
            Err(ConfigError::Value { key, found: format!("{found:?}"), expected })
        };
        if !(self.deviations >= 0.0 && self.deviations.is_finite()) {
            return wrong("divergence.deviations", self.deviations, "0 or more");
        }
        if self.snapshot_every == 0 {
            return wrong("divergence.snapshot_every", 0.0, "at least 1");
        }
        if !(self.lr_factor > 0.0 && self.lr_factor <= 1.0) {
            return wrong("divergence.lr_factor", self.lr_factor, "above 0, at most 1");
        }
        Ok(())
    }
}

/// What the bound is made of.
///
/// ```
/// use miyasawa::train::{DivergenceConfig, LossBound};
///
/// let (config, mut bound) = (DivergenceConfig::default(), LossBound::default());
/// for _ in 0..100 {
///     bound.add(&config, 1.0);
/// }
/// // Ten deviations above the mean; a deviation is at least 2% of the first losses.
/// assert!((bound.limit(&config) - 1.2).abs() < 1e-9);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LossBound {
    /// Losses so far.
    seen: u64,
    /// Their mean at the end of the warm-up.
    #[serde(with = "bits")]
    start: f64,
    /// Their moving mean.
    #[serde(with = "bits")]
    mean: f64,
    /// The moving mean of the distance to it.
    #[serde(with = "bits")]
    deviation: f64,
}

impl LossBound {
    /// Whether the numbers can be those of a run: they may come from a file.
    pub(super) fn is_sound(&self) -> bool {
        [self.start, self.mean, self.deviation].iter().all(|v| v.is_finite() && *v >= 0.0)
    }

    /// The mean and what is allowed on top of it.
    fn spread(&self, config: &DivergenceConfig) -> Option<(f64, f64)> {
        if config.deviations == 0.0 || self.seen == 0 {
            return None;
        }
        if self.seen < config.warmup {
            return Some((self.mean, (EARLY - 1.0) * self.mean));
        }
        let deviation = self.deviation.max(SMALLEST_DEVIATION * self.start);
        Some((self.mean, config.deviations * deviation))
    }

    /// The largest loss that the next step may have.
    pub fn limit(&self, config: &DivergenceConfig) -> f64 {
        self.spread(config).map_or(f64::INFINITY, |(mean, spread)| mean + spread)
    }

    /// Whether a loss is far enough from the bound that the state it came from is worth returning
    /// to.
    pub fn is_healthy(&self, config: &DivergenceConfig, loss: f64) -> bool {
        self.spread(config).is_none_or(|(mean, spread)| loss <= mean + 0.5 * spread)
    }

    /// Takes the loss of a step that was within the bound.
    pub fn add(&mut self, config: &DivergenceConfig, loss: f64) {
        let rate = (1.0 / (self.seen + 1) as f64).max(1.0 / WINDOW);
        if self.seen > 0 {
            // An outlier counts as little more than a typical deviation: a loss that runs away
            // would else carry its own bound along.
            let typical = self.deviation.max(SMALLEST_DEVIATION * self.start);
            let most = if self.seen < config.warmup { f64::INFINITY } else { FAR * typical };
            self.deviation += rate * ((loss - self.mean).abs().min(most) - self.deviation);
        }
        self.mean += rate * (loss - self.mean);
        self.seen += 1;
        if self.seen <= config.warmup.max(1) {
            self.start = self.mean;
        }
    }
}

/// A float as its bits: text would have to be read back to the last of them.
pub(super) mod bits {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(value.to_bits())
    }

    pub fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<f64, D::Error> {
        Ok(f64::from_bits(u64::deserialize(from)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn after(losses: impl IntoIterator<Item = f64>) -> (DivergenceConfig, LossBound) {
        let (config, mut bound) = (DivergenceConfig::default(), LossBound::default());
        for loss in losses {
            bound.add(&config, loss);
        }
        (config, bound)
    }

    /// A loss that falls as losses do, with noise of a tenth.
    fn falling(steps: usize) -> impl Iterator<Item = f64> {
        (0..steps).map(|i| {
            0.5 + 3.0 * (-(i as f64) / 100.0).exp() + 0.05 * ((i * 37 % 21) as f64 / 10.0 - 1.0)
        })
    }

    #[test]
    fn an_ordinary_run_is_never_stopped() {
        let (config, mut bound) = after([]);
        for loss in falling(2000) {
            assert!(loss <= bound.limit(&config), "{loss} {bound:?}");
            assert!(bound.is_healthy(&config, loss), "{loss} {bound:?}");
            bound.add(&config, loss);
        }
    }

    #[test]
    fn a_loss_that_runs_away_is_caught_before_it_is_large() {
        for growth in [1.05, 1.2, 2.0] {
            let (config, mut bound) = after(falling(500));
            let mut loss = 0.5;
            while loss <= bound.limit(&config) {
                bound.add(&config, loss);
                loss *= growth;
                assert!(loss < 20.0, "growing by {growth} a step: {bound:?}");
            }
        }
    }

    #[test]
    fn in_the_warm_up_only_a_jump_is_caught() {
        let (config, bound) = after([3.3, 3.0]);
        let limit = bound.limit(&config);
        assert!((31.0..32.0).contains(&limit), "{limit}");
        assert_eq!(LossBound::default().limit(&config), f64::INFINITY);
        let off = DivergenceConfig { deviations: 0.0, ..config };
        assert_eq!(bound.limit(&off), f64::INFINITY);
    }

    #[test]
    fn a_model_that_knows_everything_may_meet_a_hard_batch() {
        let (config, bound) = after(falling(100).chain(std::iter::repeat_n(1e-4, 3000)));
        let limit = bound.limit(&config);
        assert!(limit > 0.2, "{limit}");
    }

    proptest! {
        #[test]
        fn a_bound_is_read_back_to_the_last_bit(
            losses in prop::collection::vec(0.0..1e6f64, 0..80),
        ) {
            let (_, bound) = after(losses);
            let text = serde_json::to_string(&bound).unwrap();
            prop_assert_eq!(serde_json::from_str::<LossBound>(&text).unwrap(), bound);
            prop_assert!(bound.is_sound());
        }
    }
}
