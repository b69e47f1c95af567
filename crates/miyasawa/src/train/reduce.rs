//! The sum of gradients over the parts of a batch, between objective and optimiser.

use super::{config::LossConfig, parts::BatchStats};
use crate::model::params::FlatMap;
use crate::ranks::{Ranks, RanksError, append, floats, share, to_bytes};
use burn::tensor::{Device, Tensor, TensorData};
use std::{ops::Range, sync::Arc};

/// Sums what the parts of a batch give. An objective calls [`add`](Self::add) for each of its
/// [own](Self::own) parts in their order, then [`finish`](Self::finish) once; the optimiser takes
/// what that returns. Training on several processes sums over them in `finish`: every process
/// returns the same gradient.
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
/// let (grads, stats) = sum.finish()?;
/// assert_eq!(grads["w"].clone().into_scalar::<f32>(), 3.0);
/// assert_eq!(stats.ce, 0.75);
/// assert!(sum.finish()?.0.is_empty()); // the next step begins anew
/// # Ok::<(), miyasawa::ranks::RanksError>(())
/// ```
pub trait Reduce {
    /// Which of the parts of a batch are worked on here: all, unless other processes take some.
    fn own(&self, parts: usize) -> Range<usize> {
        0..parts
    }

    /// Adds the gradients and statistics of a part.
    fn add(&mut self, grads: FlatMap, stats: BatchStats);

    /// The sums over all parts since the last call; the weighted loss is left to the caller.
    ///
    /// # Errors
    /// If another process has ended.
    fn finish(&mut self) -> Result<(FlatMap, BatchStats), RanksError>;

    /// What every process has found of its own parts, in the order of the parts.
    ///
    /// # Errors
    /// If another process has ended.
    fn gather(&mut self, own: Vec<u8>) -> Result<Vec<Vec<u8>>, RanksError> {
        Ok(vec![own])
    }
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

    fn finish(&mut self) -> Result<(FlatMap, BatchStats), RanksError> {
        let Self { grads, stats } = std::mem::take(self);
        Ok((grads, stats))
    }
}

/// The sum over the parts of all ranks, in the order of the parts: the same bits as those of
/// [`LocalSum`] in one process.
///
/// A sum of the ranks' own sums would have other bits for every number of ranks. So the parts'
/// gradients travel, not their sums: each rank gets a slice of every part, sums it in the order of
/// the parts, and gives all others the sum. With `p` parts in a rank a step moves about
/// `(p + 1)*4` bytes for each parameter into and out of it.
#[derive(Debug)]
pub(super) struct RankSum {
    ranks: Arc<dyn Ranks>,
    /// Those of this rank, in their order.
    parts: Vec<(FlatMap, BatchStats)>,
}

impl RankSum {
    pub fn new(ranks: Arc<dyn Ranks>) -> Self {
        Self { ranks, parts: Vec::new() }
    }
}

impl Reduce for RankSum {
    fn own(&self, parts: usize) -> Range<usize> {
        share(parts, [self.ranks.rank(), self.ranks.size()])
    }

    fn add(&mut self, grads: FlatMap, stats: BatchStats) {
        self.parts.push((grads, stats));
    }

    fn finish(&mut self) -> Result<(FlatMap, BatchStats), RanksError> {
        let (rank, size) = (self.ranks.rank(), self.ranks.size());
        let parts = std::mem::take(&mut self.parts);
        let (names, device) = match parts.first() {
            Some((grads, _)) => (
                grads.iter().map(|(name, g)| (name.clone(), g.dims()[0])).collect::<Vec<_>>(),
                grads.values().next().map(Tensor::device).unwrap_or_default(),
            ),
            None => (Vec::new(), Device::default()),
        };
        let total: usize = names.iter().map(|(_, len)| len).sum();
        let mut messages = vec![Vec::new(); size];
        let mut own_stats = Vec::new();
        for (grads, stats) in parts {
            own_stats.extend(stats_to_bytes(&stats));
            let mut flat = Vec::with_capacity(total);
            grads.into_values().for_each(|g| flat.extend(host(g)));
            for (to, message) in messages.iter_mut().enumerate() {
                append(&flat[share(flat.len(), [to, size])], message);
            }
        }
        let slice = share(total, [rank, size]).len();
        let mut sum: Vec<f32> = Vec::new();
        for (from, message) in self.ranks.exchange(messages)?.into_iter().enumerate() {
            if slice > 0 && message.len() % (4 * slice) != 0 {
                let expected = format!("a multiple of {}", 4 * slice);
                return Err(RanksError::Message { rank: from, found: message.len(), expected });
            }
            for part in message.chunks_exact((4 * slice).max(1)) {
                match sum.is_empty() {
                    true => sum.extend(floats(part)),
                    false => sum.iter_mut().zip(floats(part)).for_each(|(sum, g)| *sum += g),
                }
            }
        }
        let mut message = to_bytes(&sum);
        message.extend(own_stats);
        let (mut flat, mut all) = (Vec::with_capacity(total), LocalSum::default());
        for (from, message) in self.ranks.gather(message)?.into_iter().enumerate() {
            let of_sum = 4 * share(total, [from, size]).len();
            let stats = message.get(of_sum..).filter(|stats| stats.len() % STATS == 0);
            let Some(stats) = stats else {
                let expected = format!("{of_sum} and a multiple of {STATS}");
                return Err(RanksError::Message { rank: from, found: message.len(), expected });
            };
            flat.extend(floats(&message[..of_sum]));
            stats.chunks_exact(STATS).for_each(|s| all.add(FlatMap::new(), stats_of(s)));
        }
        let mut at = 0;
        for (name, len) in names {
            let data = TensorData::new(flat[at..at + len].to_vec(), [len]);
            all.grads.insert(name, Tensor::from_data(data, &device));
            at += len;
        }
        all.finish()
    }

    fn gather(&mut self, own: Vec<u8>) -> Result<Vec<Vec<u8>>, RanksError> {
        self.ranks.gather(own)
    }
}

fn host(tensor: Tensor<1>) -> Vec<f32> {
    tensor.into_data().try_to_vec().expect("gradients are float32")
}

/// Bytes of the statistics of a part.
const STATS: usize = 5 * 9;

/// Five numbers, the optional ones with whether they are there. The loss is not a part's.
fn stats_to_bytes(stats: &BatchStats) -> impl Iterator<Item = u8> + use<> {
    let BatchStats { ce, clean_ce, dsm, accuracy, energy_gap, loss: _ } = *stats;
    [Some(ce), Some(dsm), clean_ce, accuracy, energy_gap].into_iter().flat_map(|value| {
        let [a, b, c, d, e, f, g, h] = value.unwrap_or(0.0).to_le_bytes();
        [u8::from(value.is_some()), a, b, c, d, e, f, g, h]
    })
}

fn stats_of(bytes: &[u8]) -> BatchStats {
    let mut values = bytes
        .as_chunks::<9>()
        .0
        .iter()
        .map(|[is, value @ ..]| (*is != 0).then(|| f64::from_le_bytes(*value)));
    let mut next = || values.next().flatten();
    let (ce, dsm) = (next().unwrap_or(0.0), next().unwrap_or(0.0));
    let (clean_ce, accuracy, energy_gap) = (next(), next(), next());
    BatchStats { loss: 0.0, ce, clean_ce, dsm, accuracy, energy_gap }
}

/// The sums with the loss that they make.
pub(super) fn finish(
    reduce: &mut dyn Reduce,
    config: &LossConfig,
) -> Result<(FlatMap, BatchStats), RanksError> {
    let (grads, mut stats) = reduce.finish()?;
    stats.loss = config.ce_weight * stats.ce
        + config.clean_ce_weight * stats.clean_ce.unwrap_or(0.0)
        + config.dsm_weight * stats.dsm;
    Ok((grads, stats))
}
