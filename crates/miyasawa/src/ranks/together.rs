//! Batches that are divided among ranks.

use super::{Ranks, RanksError, share};
use burn::tensor::Device;
use std::{cell::RefCell, sync::Arc};

thread_local! {
    static RANKS: RefCell<Option<Arc<dyn Ranks>>> = const { RefCell::new(None) };
}

/// Sets the ranks of this thread, and those from before when it is dropped, also by a panic.
struct Scope(Option<Arc<dyn Ranks>>);

impl Scope {
    fn new(ranks: Option<Arc<dyn Ranks>>) -> Self {
        Self(RANKS.replace(ranks))
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        RANKS.set(self.0.take());
    }
}

/// Divides the batches of evaluations, attacks, certificates, calibrations and scores that are
/// called in `work`, on this thread, among the ranks; every rank gets the results of all.
///
/// Each rank must make the same calls in the same order, with the same images and settings. No
/// layer mixes images, and parts of a batch do not depend on the ranks: the results have the bits
/// of one process. What `work` writes or prints, it does on every rank unless it asks for
/// [`Ranks::rank`].
///
/// A rank whose partner has ended goes on alone, with the same results. Work that is handed to
/// another thread, as a `Predictor` does outside the threads of `rayon`, is not divided: each rank
/// does all of it.
///
/// ```
/// use miyasawa::ranks::{LocalRanks, current, together};
///
/// let only = LocalRanks::new(1).remove(0);
/// let size = together(std::sync::Arc::new(only), || current().map(|ranks| ranks.size()));
/// assert_eq!(size, Some(1));
/// assert!(current().is_none());
/// ```
pub fn together<T>(ranks: Arc<dyn Ranks>, work: impl FnOnce() -> T) -> T {
    let _scope = Scope::new(Some(ranks));
    work()
}

/// The ranks that this thread works with; nothing outside [`together`].
///
/// ```
/// assert!(miyasawa::ranks::current().is_none());
/// ```
pub fn current() -> Option<Arc<dyn Ranks>> {
    RANKS.with_borrow(Clone::clone)
}

/// Calls `work` without ranks.
pub(crate) fn alone<T>(work: impl FnOnce() -> T) -> T {
    let _scope = Scope::new(None);
    work()
}

/// What the parts of a batch give, as bytes for the other ranks.
pub(crate) trait Message: Sized {
    /// The bytes.
    fn to_bytes(&self) -> Vec<u8>;

    /// Nothing if they are not those of a message.
    fn of_bytes(bytes: &[u8], device: &Device) -> Option<Self>;
}

impl Message for Vec<f32> {
    fn to_bytes(&self) -> Vec<u8> {
        super::to_bytes(self)
    }

    fn of_bytes(bytes: &[u8], _: &Device) -> Option<Self> {
        bytes.len().is_multiple_of(4).then(|| super::floats(bytes).collect())
    }
}

impl Message for Vec<f64> {
    fn to_bytes(&self) -> Vec<u8> {
        self.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    fn of_bytes(bytes: &[u8], _: &Device) -> Option<Self> {
        let (values, rest) = bytes.as_chunks::<8>();
        rest.is_empty().then(|| values.iter().map(|value| f64::from_le_bytes(*value)).collect())
    }
}

impl<A: Message, B: Message> Message for (A, B) {
    fn to_bytes(&self) -> Vec<u8> {
        framed([self.0.to_bytes(), self.1.to_bytes()])
    }

    fn of_bytes(bytes: &[u8], device: &Device) -> Option<Self> {
        let [a, b] = unframed(bytes)?.try_into().ok()?;
        Some((A::of_bytes(a, device)?, B::of_bytes(b, device)?))
    }
}

/// Messages one after the other, each behind its length.
pub(crate) fn framed(messages: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut all = Vec::new();
    for message in messages {
        all.extend((message.len() as u64).to_le_bytes());
        all.extend(message);
    }
    all
}

/// The messages that [`framed`] put together.
pub(crate) fn unframed(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut all = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        let (message, rest) = rest.split_at_checked(length)?;
        all.push(message);
        bytes = rest;
    }
    bytes.is_empty().then_some(all)
}

/// Runs `work` on `parts`, which gives a result for each; where this thread works together with
/// ranks, each runs it on its share, and all get all results.
pub(crate) fn divided<P, T: Message>(
    parts: &[P],
    device: &Device,
    work: impl Fn(&[P]) -> Vec<T>,
) -> Vec<T> {
    let Some(ranks) = current().filter(|_| parts.len() > 1) else {
        return work(parts);
    };
    let (rank, size) = (ranks.rank(), ranks.size());
    let of = |rank: usize| &parts[share(parts.len(), [rank, size])];
    let mut own = Some(alone(|| work(of(rank))));
    let message = framed(own.iter().flatten().map(Message::to_bytes));
    let received = ranks.gather(message);
    let found = |from: usize| -> Result<Vec<T>, RanksError> {
        let message = received.as_ref().map_err(Clone::clone)?.get(from);
        let message = message.ok_or(RanksError::Lost { rank: from })?;
        let results = unframed(message).filter(|results| results.len() == of(from).len());
        let results = results.into_iter().flatten().map(|bytes| T::of_bytes(bytes, device));
        let results: Option<Vec<T>> = results.collect();
        let found = results.filter(|results| results.len() == of(from).len());
        found.ok_or_else(|| RanksError::Message {
            rank: from,
            found: message.len(),
            expected: format!("the results of {} parts", of(from).len()),
        })
    };
    let mut all = Vec::with_capacity(parts.len());
    for from in 0..size {
        if from == rank {
            all.extend(own.take().into_iter().flatten());
            continue;
        }
        all.extend(found(from).unwrap_or_else(|error| {
            tracing::warn!("{error}: its share is done here");
            alone(|| work(of(from)))
        }));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ranks::LocalRanks;

    #[test]
    fn messages_come_back_and_what_is_none_does_not() {
        let device = Device::flex();
        let pair = (vec![1.0f32, -2.5, f32::NAN], Vec::<f32>::new());
        let bytes = pair.to_bytes();
        let (a, b) = <(Vec<f32>, Vec<f32>)>::of_bytes(&bytes, &device).unwrap();
        assert_eq!(a.len(), 3);
        assert!(a[..2] == pair.0[..2] && a[2].is_nan() && b.is_empty());
        for cut in 0..bytes.len() {
            assert!(<(Vec<f32>, Vec<f32>)>::of_bytes(&bytes[..cut], &device).is_none(), "{cut}");
        }
        assert!(unframed(&u64::MAX.to_le_bytes()).is_none());
    }

    /// Three ranks with 0 to 7 parts; the last one ends early, and the others do its share.
    #[test]
    fn every_rank_gets_all_results_and_a_lost_one_is_replaced() {
        let device = Device::flex();
        let work = |parts: &[u32]| parts.iter().map(|part| vec![*part as f32; 2]).collect();
        let all = |count: u32| (0..count).collect::<Vec<u32>>();
        let rounds = |ranks: LocalRanks, until: u32| {
            together(Arc::new(ranks), || {
                (0..until).map(|n| divided(&all(n), &device, work)).collect::<Vec<Vec<Vec<f32>>>>()
            })
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = LocalRanks::new(3)
                .into_iter()
                .map(|ranks| {
                    let until = if ranks.rank() == 2 { 5 } else { 8 };
                    scope.spawn(move || (until, rounds(ranks, until)))
                })
                .collect();
            for thread in threads {
                let (until, found) = thread.join().unwrap();
                let expected: Vec<_> = (0..until).map(|n| work(&all(n))).collect();
                assert_eq!(found, expected);
            }
        });
        assert_eq!(divided(&[7], &device, work), [vec![7.0, 7.0]]);
    }

    #[test]
    fn a_rank_does_its_share_alone() {
        let device = Device::flex();
        std::thread::scope(|scope| {
            for ranks in LocalRanks::new(2) {
                let device = &device;
                scope.spawn(move || {
                    together(Arc::new(ranks), || {
                        // A call within a share is not divided again: it would wait for ever.
                        let inner = |parts: &[u32]| vec![vec![1.0f32]; parts.len()];
                        let work = |parts: &[u32]| {
                            let inside = divided(&[1, 2, 3], device, inner).len() as f32;
                            vec![vec![inside]; parts.len()]
                        };
                        assert_eq!(divided(&[1, 2], device, work), [[3.0], [3.0]]);
                    });
                });
            }
        });
    }
}
