//! What a run would cost.

use super::Outcome;
use crate::{progress::span, session::Session};
use clap::Args;
use miyasawa::train::{
    TrainConfig,
    cost::{Cluster, Cost, Hours, RankForecast},
};
use serde::Serialize;

/// What connects the ranks of a forecast.
#[derive(Args, Debug)]
pub struct ClusterArgs {
    /// Forecast the run on N machines, each a rank
    #[arg(long, value_name = "N", requires = "dry_run", value_parser = ranks)]
    ranks: Option<usize>,
    /// Bandwidth of each of them, in Gbit/s into it and out of it at once
    #[arg(long, value_name = "GBIT", requires = "ranks", default_value_t = 10.0,
          value_parser = bandwidth)]
    bandwidth: f64,
    /// Time of a message from one to another, in microseconds
    #[arg(long, value_name = "MICROSECONDS", requires = "ranks", default_value_t = 50.0,
          value_parser = latency)]
    latency: f64,
}

fn ranks(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| "expected a number from 1 on".into())
}

fn bandwidth(text: &str) -> Result<f64, String> {
    let value = text.parse().ok().filter(|value: &f64| value.is_finite() && *value > 0.0);
    value.ok_or_else(|| "expected a number above 0".into())
}

fn latency(text: &str) -> Result<f64, String> {
    let value = text.parse().ok().filter(|value: &f64| value.is_finite() && *value >= 0.0);
    value.ok_or_else(|| "expected a number from 0 on".into())
}

impl ClusterArgs {
    /// The machines, if any were asked for.
    pub fn cluster(&self) -> Option<Cluster> {
        let (bandwidth, latency) = (self.bandwidth * 1e9 / 8.0, self.latency * 1e-6);
        self.ranks.map(|ranks| Cluster { ranks, bandwidth, latency })
    }
}

/// The document of `--dry-run`.
#[derive(Serialize)]
struct CostReport {
    #[serde(flatten)]
    cost: Cost,
    /// On this machine.
    here: Hours,
    /// On several machines.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    on_ranks: Vec<RankForecast>,
}

impl CostReport {
    fn print(&self) {
        let Self { cost, here, on_ranks } = self;
        let (data, memory) = (&cost.data, &cost.memory);
        let size = format!("{}x{}x{}", data.channels, data.height, data.width);
        let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
        outln!("data           {} images of {size}, {} classes", data.images, data.classes);
        outln!("parameters     {}", cost.parameters);
        outln!("steps          {} of {} images, {:.2} epochs", cost.steps, cost.batch, cost.epochs);
        outln!(
            "MACs           {:.4e} an image forward, {:.4e} a training step, {:.4e} in all",
            cost.macs_per_image as f64,
            cost.macs_per_step as f64,
            cost.macs as f64
        );
        outln!(
            "memory         {:.2} GiB: state {:.2}, gradients {:.2}, activations {:.2} ({} threads \
             with parts of {})",
            gib(memory.total),
            gib(memory.state),
            gib(memory.gradients),
            gib(memory.activations),
            cost.threads,
            cost.micro_batch
        );
        outln!("time           of all steps, without evaluations");
        for device in std::iter::once(here).chain(&cost.hardware) {
            let time = span(3600.0 * device.hours);
            outln!("{time:>12}   {}, {:.0} GFLOP/s ({})", device.name, device.gflops, device.basis);
        }
        if let Some(of_all) = on_ranks.first() {
            outln!(
                "on {} ranks    forecast: at most {} of {} parts in a rank; in a step {:.1} MB out \
                 of it and into it, for which it holds {:.2} GiB",
                of_all.ranks,
                of_all.most_parts,
                of_all.parts,
                of_all.bytes as f64 / 1e6,
                gib(of_all.memory)
            );
        }
        for device in on_ranks {
            outln!(
                "{:>12}   {}: {:.3} s a step, of it gradients {:.3}, optimiser {:.3}, copying \
                 {:.3}, exchange {:.3}, latency {:.3}, less {:.3} at the same time; efficiency \
                 {:.0}%",
                span(3600.0 * device.hours),
                device.name,
                device.step,
                device.gradients,
                device.optimizer,
                device.copying,
                device.exchange,
                device.latency,
                device.overlap,
                100.0 * device.efficiency
            );
        }
    }
}

/// Reports what the run would cost.
pub fn run(
    config: &TrainConfig,
    cluster: Option<Cluster>,
    session: &Session,
) -> anyhow::Result<Outcome> {
    let device = session.device()?;
    let cost = Cost::estimate_on(config, rayon::current_num_threads(), &device)?;
    let here = cost.measure_here(config, &device)?;
    let on_ranks = match &cluster {
        Some(cluster) => cost.on_ranks(&here, cluster)?,
        None => Vec::new(),
    };
    let report = CostReport { cost, here, on_ranks };
    if session.json {
        session.print_json(&report)?;
    } else {
        report.print();
    }
    Ok(Outcome::Done)
}
