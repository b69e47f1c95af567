//! The processes that `mpirun` or `srun` started together.

use crate::session::WrongCall;
use crate::signals::is_stopping;
#[cfg(feature = "mpi")]
use crate::status;
use anyhow::Result;
use miyasawa::ranks::Ranks;
use std::{sync::Arc, time::Duration};

/// What launchers say of the number of processes, and of the number of this one.
const SIZE: [&str; 2] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"];
const RANK: [&str; 3] = ["OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK"];

fn number(names: &[&str]) -> Option<usize> {
    names.iter().find_map(|name| std::env::var(name).ok()?.parse().ok())
}

/// How long a rank waits before it reports an error: where all have met it, rank 0 has said so, and
/// the launcher has ended the others or asked them to end.
const PATIENCE: Duration = Duration::from_secs(2);

/// The number of processes that were started together.
pub fn size() -> usize {
    // Slurm says the size to all, the rank only to those that it connects.
    let by_slurm = || number(&RANK).and_then(|_| number(&["SLURM_STEP_NUM_TASKS"]));
    number(&SIZE).or_else(by_slurm).unwrap_or(1)
}

/// Whether another process speaks for this one.
pub fn is_silent() -> bool {
    number(&RANK).is_some_and(|rank| rank > 0)
}

/// Who reports an error, for the beginning of the line; nothing where rank 0 has reported it.
pub fn speaker() -> Option<String> {
    let Some(rank @ 1..) = number(&RANK) else { return Some(String::new()) };
    std::thread::sleep(PATIENCE);
    (!is_stopping()).then(|| format!("rank {rank}: "))
}

/// Refuses to do the same work in several processes.
pub fn refuse_others() -> Result<()> {
    match size() {
        1 => Ok(()),
        size => Err(WrongCall(format!(
            "started by a launcher as {size} processes, expected one: train, eval, attack, \
             certify, calibrate, ood, trust and compare work on several"
        ))
        .into()),
    }
}

/// The processes that work together, of which this is one; nothing if there are no others.
#[cfg(not(feature = "mpi"))]
pub fn join() -> Result<Option<Arc<dyn Ranks>>> {
    match size() {
        1 => Ok(None),
        size => Err(WrongCall(format!(
            "started by a launcher as {size} processes, and this program is built without \
             MPI: cargo build --release --features mpi"
        ))
        .into()),
    }
}

/// Does work of which the batches may be divided among the processes.
pub fn together<T>(divides: bool, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let ranks = if divides { join()? } else { None };
    let Some(ranks) = ranks else { return work() };
    let call = std::env::args_os().collect::<Vec<_>>();
    let work = || {
        agree("version", || env!("CARGO_PKG_VERSION").to_owned())?;
        agree("command line", || format!("{call:?}"))?;
        work()
    };
    // MPI ends with the last owner.
    let found = miyasawa::ranks::together(Arc::clone(&ranks), work);
    // The others wait for this process: they and it end here.
    if let Err(error) = &found {
        abort(error);
    }
    found
}

/// Makes sure that the processes which divide batches have the same, of what `what` names.
pub fn agree(what: &'static str, own: impl FnOnce() -> String) -> Result<()> {
    let Some(ranks) = miyasawa::ranks::current() else { return Ok(()) };
    Ok(miyasawa::ranks::agree(&*ranks, what, own().into_bytes())?)
}

/// What rank 0 says; its own answer where it is alone.
pub fn of_first(answer: bool) -> Result<bool> {
    match miyasawa::ranks::current() {
        Some(ranks) => Ok(ranks.broadcast(vec![u8::from(answer)])? == [1]),
        None => Ok(answer),
    }
}

/// Reports where another rank does not answer; without MPI there is none.
#[cfg(not(feature = "mpi"))]
pub fn report_silence(_resume: String) {}

/// Ends all processes, as the others wait for this one, which has failed.
#[cfg(not(feature = "mpi"))]
pub fn abort(_error: &anyhow::Error) {}

#[cfg(feature = "mpi")]
pub use mpi_ranks::{abort, join, report_silence};

#[cfg(feature = "mpi")]
mod mpi_ranks {
    use super::*;
    use crate::progress::aside;
    use anyhow::Context;
    use miyasawa::ranks::RanksError;
    use mpi::{
        Count, Threading,
        collective::SystemOperation,
        datatype::{Partition, PartitionMut},
        environment::Universe,
        topology::SimpleCommunicator,
        traits::{Communicator, CommunicatorCollectives},
    };
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Most bytes that go from or to a rank in one call: copies of them are held meanwhile, and MPI
    /// counts in 32 bits.
    const MOST: usize = 1 << 26;

    /// How often [`report_silence`] looks, and how many looks at the same exchange are a silence.
    const LOOK: (Duration, usize) = (Duration::from_millis(100), 3);

    /// The number of exchanges begun and ended: odd while one goes on.
    static EXCHANGES: AtomicUsize = AtomicUsize::new(0);

    /// Says so, with how to resume, if after a signal the other ranks leave this one waiting. A
    /// launcher sends that signal when a rank has ended, and kills the others a second later.
    pub fn report_silence(resume: String) {
        let look = move || {
            let (mut seen, mut count) = (0, 0);
            while count < LOOK.1 {
                std::thread::sleep(LOOK.0);
                let now = EXCHANGES.load(Ordering::Relaxed);
                let waits = is_stopping() && now % 2 == 1 && now == seen;
                (seen, count) = (now, if waits { count + 1 } else { 0 });
            }
            let text = "error: no answer from another rank: if it has ended, continue from the \
                        last checkpoint:";
            aside(|| eprintln!("{text} {resume}"));
        };
        std::thread::spawn(look);
    }

    /// MPI's processes. One thread at a time calls it: that of the training.
    struct MpiRanks {
        rank: usize,
        size: usize,
        /// Ends MPI when the last owner is gone.
        _universe: Universe,
    }

    impl std::fmt::Debug for MpiRanks {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "rank {} of {} by MPI", self.rank, self.size)
        }
    }

    pub fn join() -> Result<Option<Arc<dyn Ranks>>> {
        if number(&SIZE).is_none() && number(&RANK).is_none() {
            return Ok(None);
        }
        let (universe, _) = mpi::initialize_with_threading(Threading::Serialized)
            .context("MPI cannot be started twice")?;
        let world = universe.world();
        let [rank, size] = [world.rank(), world.size()].map(|n| n as usize);
        Ok(Some(Arc::new(MpiRanks { rank, size, _universe: universe })))
    }

    pub fn abort(error: &anyhow::Error) {
        SimpleCommunicator::world().abort(status::fail(error).into());
    }

    /// Where pieces of these lengths begin, one after the other.
    fn starts(lengths: &[Count]) -> Vec<Count> {
        let sum = |sum: &mut Count, length: &Count| {
            let start = *sum;
            *sum += length;
            Some(start)
        };
        lengths.iter().scan(0, sum).collect()
    }

    impl Ranks for MpiRanks {
        fn rank(&self) -> usize {
            self.rank
        }

        fn size(&self) -> usize {
            self.size
        }

        fn exchange(&self, messages: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, RanksError> {
            EXCHANGES.fetch_add(1, Ordering::Relaxed);
            let world = SimpleCommunicator::world();
            let lengths: Vec<u64> = messages.iter().map(|message| message.len() as u64).collect();
            let mut expected = vec![0u64; self.size];
            world.all_to_all_into(&lengths, &mut expected);
            let longest = lengths.iter().max().copied().unwrap_or(0);
            let mut longest_of_all = 0u64;
            world.all_reduce_into(&longest, &mut longest_of_all, SystemOperation::max());
            let piece = (MOST / self.size).max(1);
            let mut received: Vec<Vec<u8>> =
                expected.iter().map(|length| Vec::with_capacity(*length as usize)).collect();
            for from in (0..longest_of_all as usize).step_by(piece) {
                let of = |length: usize| length.saturating_sub(from).min(piece) as Count;
                let counts: Vec<Count> = messages.iter().map(|m| of(m.len())).collect();
                let arriving: Vec<Count> = expected.iter().map(|n| of(*n as usize)).collect();
                // One byte more than is sent: the address of an empty vector is 1, which Open MPI
                // takes for MPI_IN_PLACE.
                let all: usize = counts.iter().map(|count| *count as usize).sum();
                let mut sent = Vec::with_capacity(1 + all);
                for (m, count) in messages.iter().zip(&counts) {
                    sent.extend_from_slice(&m[from.min(m.len())..][..*count as usize]);
                }
                sent.push(0u8);
                let mut found = vec![0u8; 1 + arriving.iter().map(|n| *n as usize).sum::<usize>()];
                let (to, at) = (starts(&counts), starts(&arriving));
                let sent = Partition::new(&sent[..], &counts[..], &to[..]);
                world.all_to_all_varcount_into(
                    &sent,
                    &mut PartitionMut::new(&mut found[..], &arriving[..], &at[..]),
                );
                for ((message, start), count) in received.iter_mut().zip(at).zip(arriving) {
                    message.extend(&found[start as usize..][..count as usize]);
                }
            }
            EXCHANGES.fetch_add(1, Ordering::Relaxed);
            Ok(received)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alone_there_are_no_ranks() {
        assert!(!is_silent() && size() == 1);
        assert_eq!(speaker().as_deref(), Some(""));
        assert!(refuse_others().is_ok() && join().unwrap().is_none());
    }
}
