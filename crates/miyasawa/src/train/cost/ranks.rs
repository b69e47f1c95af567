//! The time of a step on several machines.

use super::{Cost, FLOAT, HARDWARE, Hours, Speed};
use crate::ranks::RanksError;
use crate::train::reduce::rounds;
use serde::Serialize;

/// Exchanges of a step besides the rounds of the gradients: their sums, and whether a rank wants to
/// stop.
const EXCHANGES: f64 = 2.0;

/// Machines of one kind, each a rank, and what connects them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cluster {
    /// Their number.
    pub ranks: usize,
    /// Bytes a second into each and out of it at once.
    pub bandwidth: f64,
    /// Seconds of a message without content.
    pub latency: f64,
}

/// A forecast of a step on several machines of one kind; times in seconds.
///
/// A machine computes its parts, as many at once as it has threads, and the optimiser's step, which
/// all do. The gradients of the parts travel in `r` rounds, all but the last while the next parts
/// are worked on; then the sums travel. What is left out: ranks that wait for a slower one,
/// evaluations, and networks that give less than their bandwidth when all send at once.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RankForecast {
    /// The kind of machine.
    pub name: &'static str,
    /// Machines.
    pub ranks: usize,
    /// Parts of a batch.
    pub parts: usize,
    /// Most parts of a rank.
    pub most_parts: usize,
    /// Bytes out of such a rank in a step, and about as many into it: with `p` parts of it, `n`
    /// ranks and gradients of `g` bytes, `(p + 1)*g*(n - 1)/n`.
    pub bytes: u64,
    /// Bytes of memory that the exchange takes in a rank, besides what one process takes:
    /// `(p + 2*p/r)*g`.
    pub memory: u64,
    /// Rounds in which gradients travel.
    pub rounds: usize,
    /// The gradients of the parts.
    pub gradients: f64,
    /// The optimiser.
    pub optimizer: f64,
    /// Packing and adding what is exchanged: `(p + 1)*g` bytes, at the speed of this machine.
    pub copying: f64,
    /// The bytes over the bandwidth.
    pub exchange: f64,
    /// `(r + 2)*(n - 1 + 3*ceil(log2 n))` messages, one after the other: each exchange of a step
    /// (the rounds, the sums, whether a rank wants to stop) sends one to every rank, after their
    /// lengths and the longest of these.
    pub latency: f64,
    /// What of the times above goes on while something else does.
    pub overlap: f64,
    /// All of it, less the overlap.
    pub step: f64,
    /// The step of one machine over `n` times this one.
    pub efficiency: f64,
    /// Hours of all steps.
    pub hours: f64,
}

impl Cost {
    /// The run on several machines: such as this one, as `here` measured it, and the CPUs of
    /// [`HARDWARE`]. The share of the optimiser in a step and the speed of copies are taken to be
    /// those of `here`.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// use miyasawa::train::cost::{Cluster, Cost, Hours};
    /// # let assume = "data.assume={pictures=50000,channels=3,height=32,width=32,classes=10}";
    /// # let settings = [assume, "schedule.batch=128", "schedule.micro_batch=16"];
    /// let config = TrainConfig::load(None, &settings.map(str::to_owned))?;
    /// let cost = Cost::estimate(&config, 2)?;
    /// let here = Hours { hours: 10.0, optimizer: 0.02, ..cost.hardware[0].clone() };
    /// let ethernet = Cluster { ranks: 4, bandwidth: 1.25e9, latency: 50e-6 };
    /// let found = &cost.on_ranks(&here, &ethernet)?[0];
    /// assert_eq!((found.parts, found.most_parts), (8, 2));
    /// assert!(found.hours > 2.5 && found.efficiency < 1.0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If there are more ranks than parts.
    pub fn on_ranks(
        &self,
        here: &Hours,
        cluster: &Cluster,
    ) -> Result<Vec<RankForecast>, RanksError> {
        let parts = self.parts;
        let Cluster { ranks, .. } = *cluster;
        if ranks > parts {
            return Err(RanksError::TooMany { ranks, batch: self.batch, parts });
        }
        let measured = HARDWARE.iter().zip(&self.hardware);
        // The CPUs of the list have two cores.
        let cpus = measured
            .filter(|(device, _)| matches!(device.speed, Speed::Measured(_)))
            .map(|(_, hours)| (hours, 2));
        let devices = std::iter::once((here, self.threads)).chain(cpus);
        Ok(devices.map(|(on, threads)| self.on_rank(on, threads, here, cluster)).collect())
    }

    fn on_rank(
        &self,
        on: &Hours,
        threads: usize,
        here: &Hours,
        Cluster { ranks, bandwidth, latency }: &Cluster,
    ) -> RankForecast {
        let ranks = *ranks;
        let parts = self.parts;
        let most_parts = parts.div_ceil(ranks);
        // Parts go through the network as many at once as there are threads.
        let turns = |parts: usize| parts.div_ceil(threads.max(1)) as f64;
        let alone = 3600.0 * on.hours / self.steps as f64;
        let optimizer = here.optimizer * alone;
        let gradients = (alone - optimizer) * turns(most_parts) / turns(parts);
        let others = (ranks - 1) as f64;
        let of_part = (FLOAT * self.parameters) as f64 * others / ranks as f64;
        let bytes_of_parts = most_parts as f64 * of_part;
        let bytes = bytes_of_parts + of_part;
        // What a rank sends to itself is packed too; one rank packs nothing.
        let packed = if ranks > 1 { bytes * ranks as f64 / others } else { 0.0 };
        let copying = packed * here.copying;
        let rounds = rounds(parts, ranks, threads);
        let of_exchange = (others + 3.0 * (ranks as f64).log2().ceil()) * latency;
        let (exchange, latency) = (bytes / bandwidth, (EXCHANGES + rounds as f64) * of_exchange);
        // Of the gradients' rounds all but the last, beside all but the first of the work.
        // Copies take the threads that work.
        let travels = if ranks > 1 { exchange * bytes_of_parts / bytes } else { 0.0 };
        let both = travels.min(gradients);
        let overlap = both * (rounds - 1) as f64 / rounds as f64;
        let held = most_parts + 2 * most_parts.div_ceil(rounds);
        let step = gradients + optimizer + copying + exchange + latency - overlap;
        RankForecast {
            name: on.name,
            ranks,
            parts,
            most_parts,
            bytes: bytes.round() as u64,
            memory: if ranks > 1 { FLOAT * self.parameters * held as u64 } else { 0 },
            rounds,
            gradients,
            optimizer,
            copying,
            exchange,
            latency,
            overlap,
            step,
            efficiency: alone / (ranks as f64 * step),
            hours: step * self.steps as f64 / 3600.0,
        }
    }
}
