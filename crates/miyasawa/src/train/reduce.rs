//! The sum of gradients over the parts of a batch, between objective and optimiser.

use super::{config::LossConfig, parts::BatchStats};
use crate::model::params::FlatMap;

/// Sums what the parts of a batch give. An objective calls [`add`](Self::add) for each of its parts
/// in their order, then [`finish`](Self::finish) once; the optimiser takes what that returns.
/// Training on several processes sums over them in `finish`: every process must return the same
/// gradient.
///
/// ```
/// use burn::tensor::Tensor;
/// use miyasawa::{
///     Device,
///     model::params::FlatMap,
///     train::{BatchStats, LocalSum, Reduce},
/// };
///
/// let part = |value: f32, ce: f64| {
///     let grad = Tensor::<1>::from_floats([value], &Device::flex());
///     (FlatMap::from([("w".to_owned(), grad)]), BatchStats { ce, ..BatchStats::default() })
/// };
/// let mut sum = LocalSum::default();
/// for (grads, stats) in [part(1.0, 0.25), part(2.0, 0.5)] {
///     sum.add(grads, stats);
/// }
/// let (grads, stats) = sum.finish();
/// assert_eq!(grads["w"].clone().into_scalar::<f32>(), 3.0);
/// assert_eq!(stats.ce, 0.75);
/// assert!(sum.finish().0.is_empty()); // the next step begins anew
/// ```
pub trait Reduce {
    /// Adds the gradients and statistics of a part.
    fn add(&mut self, grads: FlatMap, stats: BatchStats);

    /// The sums over all parts since the last call; the weighted loss is left to the caller.
    fn finish(&mut self) -> (FlatMap, BatchStats);
}

/// The sum over the parts of this process, in the order in which they are added: the same bits for
/// every number of threads.
#[derive(Default)]
pub struct LocalSum {
    grads: FlatMap,
    stats: BatchStats,
}

impl Reduce for LocalSum {
    fn add(&mut self, grads: FlatMap, part: BatchStats) {
        for (name, new) in grads {
            let sum = match self.grads.remove(&name) {
                Some(old) => old + new,
                None => new,
            };
            self.grads.insert(name, sum);
        }
        let add = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        };
        self.stats.accuracy = add(self.stats.accuracy, part.accuracy);
        self.stats.energy_gap = add(self.stats.energy_gap, part.energy_gap);
        self.stats.clean_ce = add(self.stats.clean_ce, part.clean_ce);
        self.stats.ce += part.ce;
        self.stats.dsm += part.dsm;
    }

    fn finish(&mut self) -> (FlatMap, BatchStats) {
        let Self { grads, stats } = std::mem::take(self);
        (grads, stats)
    }
}

/// The sums with the loss that they make.
pub(super) fn finish(reduce: &mut dyn Reduce, config: &LossConfig) -> (FlatMap, BatchStats) {
    let (grads, mut stats) = reduce.finish();
    stats.loss = config.ce_weight * stats.ce
        + config.clean_ce_weight * stats.clean_ce.unwrap_or(0.0)
        + config.dsm_weight * stats.dsm;
    (grads, stats)
}
