//! The sum of gradients over the parts of a batch, between objective and optimiser.

use super::{
    config::LossConfig,
    parts::{BatchStats, PartStats},
};
use crate::model::params::FlatMap;
use crate::ops;
use crate::parallel::equal_parts;
use crate::ranks::{Ranks, RanksError, append, floats, share, to_bytes};
use burn::tensor::{Device, Tensor, TensorData};
use std::{collections::BTreeMap, ops::Range, sync::Arc, time::Instant};

/// Sums what the parts of a batch give. In each step an objective asks once which parts are its
/// [own](Self::own), calls [`meanwhile`](Self::meanwhile) once for every [group](Self::groups) of
/// them, [`add`](Self::add) for each in their order, then [`finish`](Self::finish) once; the
/// optimiser takes what that returns. Training on several processes sums over them: every process
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
///     sum.add(grads, stats.into());
/// }
/// let found = sum.finish()?;
/// assert_eq!(found.grads["w"].clone().into_scalar::<f32>(), 3.0);
/// assert_eq!(found.norm(), 3.0);
/// assert_eq!(found.stats.ce, 0.75);
/// assert!(sum.finish()?.grads.is_empty()); // the next step begins anew
/// # Ok::<(), miyasawa::ranks::RanksError>(())
/// ```
pub trait Reduce {
    /// Which of the parts of a batch are worked on here: all, unless other processes take some.
    fn own(&mut self, parts: usize) -> Range<usize> {
        0..parts
    }

    /// The own parts in groups, one after the other: the gradients of a group are held until they
    /// are added, so that its size bounds the memory, whatever the batch.
    fn groups(&self, own: usize) -> Vec<Range<usize>> {
        (0..own).step_by(GROUP).map(|from| from..own.min(from + GROUP)).collect()
    }

    /// Whether other processes work on the batch too.
    fn is_shared(&self) -> bool {
        false
    }

    /// What can be done while the next group is worked on: called before or during each.
    fn meanwhile(&mut self) {}

    /// Adds the gradients and statistics of a part.
    fn add(&mut self, grads: FlatMap, stats: PartStats);

    /// The sums over all parts since the last call; the weighted loss is left to the caller.
    ///
    /// # Errors
    /// If another process has ended.
    fn finish(&mut self) -> Result<BatchGradient, RanksError>;

    /// What every process has found of its own parts, in the order of the parts.
    ///
    /// # Errors
    /// If another process has ended.
    fn gather(&mut self, own: Vec<u8>) -> Result<Vec<Vec<u8>>, RanksError> {
        Ok(vec![own])
    }
}

/// Parts whose gradients are held at once.
pub(super) const GROUP: usize = 16;

/// The gradient of a batch's mean loss, and what a step must know of it on the host.
#[derive(Clone, Debug, Default)]
pub struct BatchGradient {
    /// By parameter, on their device.
    pub grads: FlatMap,
    /// The sum of the squares of each gradient.
    pub squares: BTreeMap<String, f64>,
    /// What is reported.
    pub stats: BatchStats,
}

impl BatchGradient {
    /// The norm of the gradient over all parameters.
    pub fn norm(&self) -> f64 {
        self.squares.values().sum::<f64>().sqrt()
    }

    /// Keeps the gradients of the parameters whose name is `kept`: others count for no norm and
    /// move nothing.
    pub fn retain(&mut self, kept: impl Fn(&str) -> bool) {
        self.grads.retain(|name, _| kept(name));
        self.squares.retain(|name, _| kept(name));
    }
}

/// The sum over the parts of this process, in the order in which they are added: the same bits for
/// every number of threads. Nothing is read from the device before [`finish`](Reduce::finish),
/// which reads once.
#[derive(Default)]
pub struct LocalSum {
    grads: FlatMap,
    stats: Vec<PartStats>,
}

impl Reduce for LocalSum {
    fn add(&mut self, grads: FlatMap, stats: PartStats) {
        for (name, new) in grads {
            let sum = match self.grads.remove(&name) {
                Some(old) => old + new,
                None => new,
            };
            self.grads.insert(name, sum);
        }
        self.stats.push(stats);
    }

    fn finish(&mut self) -> Result<BatchGradient, RanksError> {
        let Self { grads, stats } = std::mem::take(self);
        let (parts, squares) = PartStats::read(stats, grads.values().map(ops::sum_squares));
        let stats = parts.into_iter().fold(BatchStats::default(), BatchStats::plus);
        let squares = grads.keys().cloned().zip(squares).collect();
        Ok(BatchGradient { grads, squares, stats })
    }
}

impl BatchStats {
    /// The sums; the loss is not a part's.
    fn plus(self, part: Self) -> Self {
        let add = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        };
        Self {
            loss: 0.0,
            ce: self.ce + part.ce,
            clean_ce: add(self.clean_ce, part.clean_ce),
            class_ce: add(self.class_ce, part.class_ce),
            class_accuracy: add(self.class_accuracy, part.class_accuracy),
            dsm: self.dsm + part.dsm,
            accuracy: add(self.accuracy, part.accuracy),
            energy_gap: add(self.energy_gap, part.energy_gap),
        }
    }
}

/// The sum over the parts of all ranks, in the order of the parts: the same bits as those of
/// [`LocalSum`] in one process.
///
/// A sum of the ranks' own sums would have other bits for every number of ranks. So the parts'
/// gradients travel, not their sums: each rank gets a slice of every part, sums it in the order of
/// the parts, and gives all others the sum. With `p` parts in a rank a step moves about
/// `(p + 1)*4` bytes for each parameter into and out of it. They travel in [`ROUNDS`] rounds, all
/// but the last while the next parts are worked on.
#[derive(Debug)]
pub(super) struct RankSum {
    ranks: Arc<dyn Ranks>,
    /// Threads of the rank that has most: a round with fewer parts would leave some idle.
    threads: usize,
    /// The own parts of each round, and how many rounds are done.
    rounds: Vec<Range<usize>>,
    done: usize,
    /// How many parts were added, and those that did not travel yet, in their order.
    added: usize,
    parts: Vec<FlatMap>,
    stats: Vec<PartStats>,
    /// Names and lengths of the parameters, of the first part.
    names: Vec<(String, usize)>,
    device: Device,
    /// This rank's slice of the parts of each rank.
    received: Vec<Vec<u8>>,
    /// What went wrong in a round before the last.
    error: Option<RanksError>,
}

/// Rounds in which gradients travel, if a rank has so many parts for each of its threads.
pub(super) const ROUNDS: usize = 4;

/// The number of rounds of a step, the same in every rank.
pub(super) fn rounds(parts: usize, ranks: usize, threads: usize) -> usize {
    (parts.div_ceil(ranks) / threads.max(1)).clamp(1, ROUNDS)
}

impl RankSum {
    /// `threads` are those of the rank that has most.
    pub fn new(ranks: Arc<dyn Ranks>, threads: usize) -> Self {
        let received = vec![Vec::new(); ranks.size()];
        Self {
            ranks,
            threads,
            rounds: Vec::new(),
            done: 0,
            added: 0,
            parts: Vec::new(),
            stats: Vec::new(),
            names: Vec::new(),
            device: Device::default(),
            received,
            error: None,
        }
    }

    /// Sends the parts of the next round to the ranks that sum them, and receives theirs.
    fn round(&mut self) -> Result<(), RanksError> {
        let count = self.rounds.get(self.done).map_or(0, Range::len);
        self.done += 1;
        let (total, size) = (self.total(), self.ranks.size());
        let mut messages = vec![Vec::new(); size];
        for grads in self.parts.drain(..count) {
            let mut flat = Vec::with_capacity(total);
            grads.into_values().for_each(|g| flat.extend(host(g)));
            for (to, message) in messages.iter_mut().enumerate() {
                append(&flat[share(flat.len(), [to, size])], message);
            }
        }
        for (all, message) in self.received.iter_mut().zip(self.ranks.exchange(messages)?) {
            match all.is_empty() {
                true => *all = message,
                false => all.extend(message),
            }
        }
        Ok(())
    }

    /// Forgets a step, also one that ended with an error.
    fn clear(&mut self) {
        (self.done, self.added, self.error) = (0, 0, None);
        self.parts.clear();
        self.stats.clear();
        self.received.iter_mut().for_each(Vec::clear);
    }

    /// The number of parameters.
    fn total(&self) -> usize {
        self.names.iter().map(|(_, len)| len).sum()
    }

    /// This rank's slice of the sum.
    fn slice(&self) -> Result<Vec<f32>, RanksError> {
        let slice = share(self.total(), [self.ranks.rank(), self.ranks.size()]).len();
        let mut sum: Vec<f32> = Vec::new();
        for (from, message) in self.received.iter().enumerate() {
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
        Ok(sum)
    }
}

impl Reduce for RankSum {
    fn own(&mut self, parts: usize) -> Range<usize> {
        let (rank, size) = (self.ranks.rank(), self.ranks.size());
        let own = share(parts, [rank, size]);
        let count = rounds(parts, size, self.threads);
        self.rounds = equal_parts(own.len(), count).into_iter().map(|[a, n]| a..a + n).collect();
        self.clear();
        own
    }

    fn groups(&self, own: usize) -> Vec<Range<usize>> {
        let of_round = |round: &Range<usize>| {
            let Range { start, end } = *round;
            (start..end).step_by(GROUP).map(move |from| from..end.min(from + GROUP))
        };
        debug_assert_eq!(self.rounds.last().map_or(0, |round| round.end), own);
        self.rounds.iter().flat_map(of_round).collect()
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn meanwhile(&mut self) {
        // Every rank does as many rounds as every other: those that it has no time for now, at the
        // end.
        while self.error.is_none()
            && self.done + 1 < self.rounds.len()
            && self.rounds[self.done].end <= self.added
        {
            if let Err(error) = self.round() {
                self.error = Some(error);
            }
        }
    }

    fn add(&mut self, grads: FlatMap, stats: PartStats) {
        if self.names.is_empty() {
            self.names = grads.iter().map(|(name, g)| (name.clone(), g.dims()[0])).collect();
            self.device = grads.values().next().map(Tensor::device).unwrap_or_default();
        }
        self.added += 1;
        self.parts.push(grads);
        self.stats.push(stats);
    }

    fn finish(&mut self) -> Result<BatchGradient, RanksError> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        while self.done < self.rounds.len() {
            self.round()?;
        }
        let size = self.ranks.size();
        let mut message = to_bytes(&self.slice()?);
        self.received.iter_mut().for_each(Vec::clear);
        let (own_stats, _) = PartStats::read(std::mem::take(&mut self.stats), []);
        message.extend(own_stats.iter().flat_map(stats_to_bytes));
        let total = self.total();
        let (mut flat, mut all) = (Vec::with_capacity(total), LocalSum::default());
        for (from, message) in self.ranks.gather(message)?.into_iter().enumerate() {
            let of_sum = 4 * share(total, [from, size]).len();
            let stats = message.get(of_sum..).filter(|stats| stats.len() % STATS == 0);
            let Some(stats) = stats else {
                let expected = format!("{of_sum} and a multiple of {STATS}");
                return Err(RanksError::Message { rank: from, found: message.len(), expected });
            };
            flat.extend(floats(&message[..of_sum]));
            stats.chunks_exact(STATS).for_each(|s| all.add(FlatMap::new(), stats_of(s).into()));
        }
        let mut at = 0;
        for (name, len) in &self.names {
            let data = TensorData::new(flat[at..at + len].to_vec(), [*len]);
            all.grads.insert(name.clone(), Tensor::from_data(data, &self.device));
            at += len;
        }
        all.finish()
    }

    fn gather(&mut self, own: Vec<u8>) -> Result<Vec<Vec<u8>>, RanksError> {
        match self.error.clone() {
            Some(error) => Err(error),
            None => self.ranks.gather(own),
        }
    }
}

/// Seconds in which this machine packs a byte as [`RankSum`] does, sends it to itself and adds it.
pub(super) fn seconds_per_byte() -> f64 {
    const VALUES: usize = 1 << 21;
    let (values, mut sum) = (vec![1.0f32; VALUES], vec![0.0f32; VALUES]);
    let once = || {
        let start = Instant::now();
        let mut flat = Vec::with_capacity(VALUES);
        flat.extend_from_slice(&values);
        let sent = to_bytes(&flat);
        let arrived = sent.clone();
        sum.iter_mut().zip(floats(&arrived)).for_each(|(sum, value)| *sum += value);
        start.elapsed().as_secs_f64()
    };
    // The first one waits for memory.
    let least = std::iter::repeat_with(once).take(4).skip(1).fold(f64::INFINITY, f64::min);
    least / (4 * VALUES) as f64
}

fn host(tensor: Tensor<1>) -> Vec<f32> {
    tensor.into_data().try_to_vec().expect("gradients are float32")
}

/// Bytes of the statistics of a part.
const STATS: usize = 7 * 9;

/// Seven numbers, the optional ones with whether they are there. The loss is not a part's.
fn stats_to_bytes(stats: &BatchStats) -> impl Iterator<Item = u8> + use<> {
    let BatchStats { ce, clean_ce, class_ce, class_accuracy, dsm, accuracy, energy_gap, loss: _ } =
        *stats;
    let all = [Some(ce), Some(dsm), clean_ce, class_ce, class_accuracy, accuracy, energy_gap];
    all.into_iter().flat_map(|value| {
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
    let (clean_ce, class_ce, class_accuracy) = (next(), next(), next());
    let (accuracy, energy_gap) = (next(), next());
    BatchStats { loss: 0.0, ce, clean_ce, class_ce, class_accuracy, dsm, accuracy, energy_gap }
}

/// The sums with the loss that they make.
pub(super) fn finish(
    reduce: &mut dyn Reduce,
    config: &LossConfig,
) -> Result<BatchGradient, RanksError> {
    let mut found = reduce.finish()?;
    let stats = &mut found.stats;
    stats.loss = config.ce_weight * stats.ce
        + config.clean_ce_weight * stats.clean_ce.unwrap_or(0.0)
        + config.class_ce_weight * stats.class_ce.unwrap_or(0.0)
        + config.dsm_weight * stats.dsm;
    Ok(found)
}
