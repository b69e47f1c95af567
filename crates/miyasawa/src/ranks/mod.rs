//! Processes that work on one thing together.
//!
//! A rank is a process and its number, counted from 0 (MPI's word). [`Ranks`] moves bytes between
//! them and computes nothing: what is summed is summed here, in an order that does not depend on
//! how many ranks there are. [`LocalRanks`] are threads of one process; the command line has MPI's
//! processes.

mod together;

#[cfg(all(feature = "train", feature = "robustness", feature = "report"))]
pub(crate) use together::alone;
pub(crate) use together::{Message, divided, framed, unframed};
pub use together::{current, together};

use std::{
    fmt::Debug,
    ops::Range,
    sync::{
        Mutex, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
};

/// Why ranks cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RanksError {
    /// A rank has ended before the work was done.
    #[error("rank {rank}: ended before the others")]
    Lost {
        /// Its number.
        rank: usize,
    },
    /// A message is not what its receiver expects.
    #[error("rank {rank}: its message has {found} bytes, expected {expected}")]
    Message {
        /// The sender.
        rank: usize,
        /// Its length.
        found: usize,
        /// What was expected, in words.
        expected: String,
    },
    /// A rank does other work than rank 0.
    #[error("rank {rank}: its {what} is not that of rank 0: every rank must get the same call")]
    Differs {
        /// Its number.
        rank: usize,
        /// What is different.
        what: &'static str,
    },
    /// There are more ranks than parts of a batch.
    #[error(
        "{ranks} ranks: a batch of {batch} has {parts} parts that go through the network at once; \
         expected at most one rank for each: a larger schedule.batch or a smaller \
         schedule.micro_batch makes more"
    )]
    TooMany {
        /// Ranks.
        ranks: usize,
        /// Images of a batch.
        batch: usize,
        /// Its parts.
        parts: usize,
    },
    /// The library that carries the messages reports an error.
    #[error("ranks: {0}")]
    Transport(String),
}

impl RanksError {
    /// Whether the call was wrong, as opposed to work that failed.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Differs { .. } | Self::TooMany { .. })
    }
}

/// Processes that work together. Every rank calls the same methods in the same order: each returns
/// once all ranks have called it.
pub trait Ranks: Debug + Send + Sync {
    /// The number of this process, from 0.
    fn rank(&self) -> usize;

    /// The number of processes.
    fn size(&self) -> usize;

    /// Sends `messages[r]` to rank `r`; what every rank has sent to this one, in their order.
    ///
    /// # Errors
    /// If a rank has ended.
    fn exchange(&self, messages: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, RanksError>;

    /// Sends a message to all ranks; the messages of all, in their order.
    ///
    /// # Errors
    /// As [`exchange`](Self::exchange).
    fn gather(&self, message: Vec<u8>) -> Result<Vec<Vec<u8>>, RanksError> {
        self.exchange(vec![message; self.size()])
    }

    /// The message of rank 0; what the others send is not used.
    ///
    /// # Errors
    /// As [`exchange`](Self::exchange).
    fn broadcast(&self, message: Vec<u8>) -> Result<Vec<u8>, RanksError> {
        let message = if self.rank() == 0 { message } else { Vec::new() };
        self.gather(message)?.into_iter().next().ok_or(RanksError::Lost { rank: 0 })
    }
}

/// Makes sure that all ranks have the same bytes as rank 0, of what `what` names in the error.
///
/// ```
/// use miyasawa::ranks::{LocalRanks, agree};
/// let alone = LocalRanks::new(1).remove(0);
/// agree(&alone, "version", b"0.1".to_vec())?;
/// # Ok::<(), miyasawa::ranks::RanksError>(())
/// ```
///
/// # Errors
/// [`RanksError::Differs`] on every rank, with the first that has others.
pub fn agree(ranks: &dyn Ranks, what: &'static str, own: Vec<u8>) -> Result<(), RanksError> {
    let all = ranks.gather(own)?;
    match (1..all.len()).find(|rank| all[*rank] != all[0]) {
        Some(rank) => Err(RanksError::Differs { rank, what }),
        None => Ok(()),
    }
}

/// The share of rank `rank` in `count` things: they are divided as equally as can be.
pub(crate) fn share(count: usize, [rank, size]: [usize; 2]) -> Range<usize> {
    rank * count / size..(rank + 1) * count / size
}

/// Adds floats as bytes, the lowest first on every machine.
pub(crate) fn append(values: &[f32], bytes: &mut Vec<u8>) {
    // In one piece: an iterator over bytes takes ten times as long.
    let from = bytes.len();
    bytes.resize(from + 4 * values.len(), 0);
    let places = bytes[from..].as_chunks_mut().0;
    places.iter_mut().zip(values).for_each(|(place, value)| *place = value.to_le_bytes());
}

/// Floats as bytes; see [`append`].
pub(crate) fn to_bytes(values: &[f32]) -> Vec<u8> {
    let mut bytes = Vec::new();
    append(values, &mut bytes);
    bytes
}

/// The floats of bytes; a rest of less than four is left.
pub(crate) fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes))
}

/// Ranks that are threads of this process: for tests, and for programs that bring their own
/// threads.
///
/// ```
/// use miyasawa::ranks::{LocalRanks, Ranks};
///
/// let found = std::thread::scope(|scope| {
///     let work = |ranks: LocalRanks| {
///         let numbers = ranks.gather(vec![10 * ranks.rank() as u8])?;
///         Ok::<_, miyasawa::ranks::RanksError>(numbers.concat())
///     };
///     let threads: Vec<_> =
///         LocalRanks::new(3).into_iter().map(|ranks| scope.spawn(move || work(ranks))).collect();
///     threads.into_iter().map(|thread| thread.join().unwrap().unwrap()).collect::<Vec<_>>()
/// });
/// assert_eq!(found, vec![vec![0, 10, 20]; 3]);
/// ```
#[derive(Debug)]
pub struct LocalRanks {
    rank: usize,
    to: Vec<Sender<Vec<u8>>>,
    /// Locked by the one thread that works with them.
    from: Mutex<Vec<Receiver<Vec<u8>>>>,
}

impl LocalRanks {
    /// All ranks of a group; each goes to a thread of its own.
    pub fn new(size: usize) -> Vec<Self> {
        let mut to: Vec<Vec<Sender<Vec<u8>>>> = (0..size).map(|_| Vec::new()).collect();
        let mut from: Vec<Vec<Receiver<Vec<u8>>>> = (0..size).map(|_| Vec::new()).collect();
        for receivers in &mut from {
            for senders in &mut to {
                let (sender, receiver) = channel();
                senders.push(sender);
                receivers.push(receiver);
            }
        }
        let ends = to.into_iter().zip(from).enumerate();
        ends.map(|(rank, (to, from))| Self { rank, to, from: Mutex::new(from) }).collect()
    }
}

impl Ranks for LocalRanks {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.to.len()
    }

    fn exchange(&self, messages: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, RanksError> {
        for (rank, (to, message)) in self.to.iter().zip(messages).enumerate() {
            to.send(message).map_err(|_| RanksError::Lost { rank })?;
        }
        let from = self.from.lock().unwrap_or_else(PoisonError::into_inner);
        let received = from.iter().enumerate();
        received.map(|(rank, from)| from.recv().map_err(|_| RanksError::Lost { rank })).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_reach_their_ranks_and_the_end_of_one_is_an_error() {
        let mut ranks = LocalRanks::new(3);
        let last = ranks.pop().unwrap();
        std::thread::scope(|scope| {
            for ranks in ranks {
                scope.spawn(move || {
                    let own = ranks.rank() as u8;
                    let messages = (0..3).map(|to| vec![own, to]).collect();
                    let found = ranks.exchange(messages).unwrap();
                    assert_eq!(found, (0..3).map(|from| vec![from, own]).collect::<Vec<_>>());
                    assert_eq!(ranks.broadcast(vec![own + 7]).unwrap(), [7]);
                    assert!(matches!(ranks.gather(vec![1]), Err(RanksError::Lost { .. })));
                });
            }
            scope.spawn(move || {
                let messages = (0..3).map(|to| vec![2, to]).collect();
                assert_eq!(last.exchange(messages).unwrap()[0], [0, 2]);
                assert_eq!(last.broadcast(Vec::new()).unwrap(), [7]);
            });
        });
    }
}
