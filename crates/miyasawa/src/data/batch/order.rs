//! The order in which an epoch visits a set.

use rand::RngExt;
use rand::seq::SliceRandom;

use crate::random::{example_rng, stream};

/// The order in which epoch `epoch` visits `len` examples: a permutation of 0..len fixed by (seed,
/// epoch, len).
///
/// ```
/// let mut order = miyasawa::data::epoch_order(1, 0, 5);
/// assert_eq!(order, miyasawa::data::epoch_order(1, 0, 5));
/// order.sort();
/// assert_eq!(order, [0, 1, 2, 3, 4]);
/// ```
///
/// # Panics
///
/// If `len` exceeds `u32::MAX`, more than a data set can hold.
pub fn epoch_order(seed: u64, epoch: u64, len: usize) -> Vec<u32> {
    let len = u32::try_from(len).expect("a data set has at most 2^32 - 1 images");
    let mut order: Vec<u32> = (0..len).collect();
    order.shuffle(&mut example_rng(seed, epoch, 0, stream::ORDER));
    order
}

/// An order that reads archives from their beginnings to their ends, for disks on which jumping is
/// slow: the shards in a random order, their examples through a shuffle buffer (as WebDataset does
/// it: the buffer is filled, then every next example takes the place of a random one, which is
/// visited). It is a permutation fixed by (seed, epoch, `shards`, `buffer`): what passes through
/// the buffer are indices, not images, so that any part of the epoch can be reached without
/// reading what comes before.
///
/// `shards` holds the lengths of the shards, whose examples are numbered consecutively.
///
/// ```
/// // Three shards, a buffer of two.
/// let mut order = miyasawa::data::shard_order(1, 0, &[2, 3, 1], 2);
/// order.sort();
/// assert_eq!(order, [0, 1, 2, 3, 4, 5]);
/// ```
pub fn shard_order(seed: u64, epoch: u64, shards: &[u32], buffer: usize) -> Vec<u32> {
    let mut rng = example_rng(seed, epoch, 0, stream::ORDER);
    let starts = shards.iter().scan(0u32, |next, &len| {
        let start = *next;
        *next += len;
        Some((start, len))
    });
    let mut runs: Vec<(u32, u32)> = starts.collect();
    runs.shuffle(&mut rng);
    let mut order = Vec::with_capacity(runs.iter().map(|run| run.1 as usize).sum());
    let mut held: Vec<u32> = Vec::with_capacity(buffer.min(order.capacity()));
    for index in runs.into_iter().flat_map(|(start, len)| start..start + len) {
        if held.len() < buffer {
            held.push(index);
        } else if held.is_empty() {
            order.push(index);
        } else {
            let at = ((u64::from(rng.random::<u32>()) * held.len() as u64) >> 32) as usize;
            order.push(std::mem::replace(&mut held[at], index));
        }
    }
    held.shuffle(&mut rng);
    order.append(&mut held);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(mut order: Vec<u32>) -> Vec<u32> {
        order.sort_unstable();
        order
    }

    #[test]
    fn an_epoch_is_a_permutation_that_changes_with_seed_and_epoch() {
        let order = epoch_order(1, 0, 100);
        assert_eq!(sorted(order.clone()), (0..100).collect::<Vec<u32>>());
        assert_eq!(order, epoch_order(1, 0, 100));
        assert_ne!(order, epoch_order(1, 1, 100));
        assert_ne!(order, epoch_order(2, 0, 100));
        assert_eq!(epoch_order(1, 0, 0), Vec::<u32>::new());
    }

    #[test]
    fn a_buffer_mixes_neighbours_and_keeps_shards_together() {
        let shards = [100, 0, 50, 100, 150];
        for buffer in [0, 1, 20, 400, 1000] {
            let order = shard_order(1, 0, &shards, buffer);
            assert_eq!(sorted(order.clone()), (0..400).collect::<Vec<u32>>(), "{buffer}");
            assert_eq!(order, shard_order(1, 0, &shards, buffer));
            assert_ne!(order, shard_order(1, 1, &shards, buffer));
        }
        let order = shard_order(5, 0, &shards, 20);
        // Before the first shard is through, nothing but it and what the buffer took of the second
        // is visited.
        let shard_of = |i: u32| [0, 100, 150, 250].iter().filter(|&&start| i >= start).count();
        let first = shard_of(order[0]);
        assert!(order[..30].iter().all(|&i| shard_of(i) == first), "{:?}", &order[..30]);
        assert_ne!(order[..30], sorted(order[..30].to_vec()));
    }
}
