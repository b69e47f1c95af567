//! The time of a step on several machines.

use super::{Cost, FLOAT, HARDWARE, Hours, Speed};
use crate::ranks::RanksError;
use serde::Serialize;

/// Exchanges of a step: the gradients of the parts, their sums, and whether a rank wants to stop.
const EXCHANGES: f64 = 3.0;

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
/// all do. Nothing is exchanged meanwhile. What is left out: packing and summing what is exchanged,
/// ranks that wait for a slower one, evaluations, and networks that give less than their bandwidth
/// when all send at once.
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
    /// Bytes of memory that the exchange takes in a rank, besides what one process takes: `2*p*g`.
    pub memory: u64,
    /// The gradients of the parts.
    pub gradients: f64,
    /// The optimiser.
    pub optimizer: f64,
    /// The bytes over the bandwidth.
    pub exchange: f64,
    /// `3*(n - 1 + 3*ceil(log2 n))` messages, one after the other: each of the three exchanges of a
    /// step sends one to every rank, after their lengths and the longest of these.
    pub latency: f64,
    /// All of it.
    pub step: f64,
    /// The step of one machine over `n` times this one.
    pub efficiency: f64,
    /// Hours of all steps.
    pub hours: f64,
}

impl Cost {
    /// The run on several machines: such as this one, as `here` measured it, and the CPUs of
    /// [`HARDWARE`]. Of theirs the share of the optimiser in a step is taken to be that of `here`.
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
        let share = here.optimizer;
        Ok(devices.map(|(on, threads)| self.on_rank(on, threads, share, cluster)).collect())
    }

    fn on_rank(
        &self,
        on: &Hours,
        threads: usize,
        share: f64,
        Cluster { ranks, bandwidth, latency }: &Cluster,
    ) -> RankForecast {
        let ranks = *ranks;
        let parts = self.parts;
        let most_parts = parts.div_ceil(ranks);
        // Parts go through the network in rounds of as many as there are threads.
        let rounds = |parts: usize| parts.div_ceil(threads.max(1)) as f64;
        let alone = 3600.0 * on.hours / self.steps as f64;
        let optimizer = share * alone;
        let gradients = (alone - optimizer) * rounds(most_parts) / rounds(parts);
        let others = (ranks - 1) as f64;
        let of_part = (FLOAT * self.parameters) as f64 * others / ranks as f64;
        let bytes = (most_parts + 1) as f64 * of_part;
        let messages = EXCHANGES * (others + 3.0 * (ranks as f64).log2().ceil());
        let (exchange, latency) = (bytes / bandwidth, messages * latency);
        let step = gradients + optimizer + exchange + latency;
        RankForecast {
            name: on.name,
            ranks,
            parts,
            most_parts,
            bytes: bytes.round() as u64,
            memory: if ranks > 1 { 2 * FLOAT * self.parameters * most_parts as u64 } else { 0 },
            gradients,
            optimizer,
            exchange,
            latency,
            step,
            efficiency: alone / (ranks as f64 * step),
            hours: step * self.steps as f64 / 3600.0,
        }
    }
}
