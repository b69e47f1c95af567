use crate::commands::{Outcome, model};
use crate::output::shown;
use crate::progress::Progress;
use crate::session::{Session, WrongCall};
use anyhow::Context;
use clap::Args;
use miyasawa::data::{DataSource, Part, Summary};
use serde::Serialize;
use std::path::PathBuf;

/// Number of classes in the figure, and of images of each.
const SHOWN: [usize; 2] = [10, 8];
/// Number of classes that the text lists.
const LISTED: usize = 20;

/// Describe a data set: counts, classes, sizes, mean, standard deviation, and a figure of samples.
///
/// Example: miyasawa data info tiny-imagenet --limit 5000 -o samples.png
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Info {
    /// Data set: digits, fashion-mnist[:DIR], mnist[:DIR], cifar10[:DIR], cifar100[:DIR],
    /// tiny-imagenet[:DIR], or a path
    data: String,
    /// Number of images of each part to measure, evenly spaced over it [default: all]
    #[arg(long)]
    limit: Option<usize>,
    /// File for a figure with images of ten classes
    #[arg(short, long, alias = "output")]
    out: Option<PathBuf>,
}

/// The document of `--json`.
#[derive(Serialize)]
struct Report {
    data: String,
    classes: Vec<String>,
    parts: Vec<PartReport>,
    figure: Option<String>,
}

/// A part of the set, or all of a set without parts.
#[derive(Serialize)]
struct PartReport {
    part: Option<String>,
    #[serde(flatten)]
    summary: Summary,
}

impl Report {
    fn print(&self) {
        outln!("{}: {} classes", self.data, self.classes.len());
        self.parts.iter().for_each(PartReport::print);
        for (class, name) in self.classes.iter().enumerate().take(LISTED) {
            let counts = self.parts.iter().map(|part| part.summary.class_counts[class].to_string());
            outln!("  {class:>4}  {name}: {}", counts.collect::<Vec<_>>().join(" + "));
        }
        if self.classes.len() > LISTED {
            outln!("  and {} more classes", self.classes.len() - LISTED);
        }
        if let Some(figure) = &self.figure {
            outln!("samples: {figure}");
        }
    }
}

impl PartReport {
    fn print(&self) {
        let Self { part, summary } = self;
        let part = part.as_deref().unwrap_or("all");
        let side = |[low, high]: [usize; 2]| {
            if low == high { low.to_string() } else { format!("{low}-{high}") }
        };
        let colour = if summary.channels == 1 { "grey" } else { "colour" };
        let list =
            |values: &[f64]| values.iter().map(|v| format!("{v:.4}")).collect::<Vec<_>>().join(" ");
        // Scripts match this line: it keeps its word.
        outln!(
            "{part}: {} pictures, {colour}, {}x{} (height x width)",
            summary.count,
            side(summary.height),
            side(summary.width)
        );
        let of = if summary.measured < summary.count {
            format!(" of {} of them", summary.measured)
        } else {
            String::new()
        };
        outln!("  mean {}, standard deviation {}{of}", list(&summary.mean), list(&summary.std));
        outln!("  sigma_data {:.4} in the [-1, 1] range", summary.sigma_data);
        if summary.broken > 0 {
            outln!("  {} cannot be decoded", summary.broken);
        }
    }
}

pub fn run(args: &Info, session: &Session) -> anyhow::Result<Outcome> {
    if args.limit == Some(0) {
        return Err(WrongCall("--limit is 0, expected at least 1".into()).into());
    }
    if let Some(path) = &args.out {
        model::check_output(path)?;
    }
    let source: DataSource = args.data.parse()?;
    let described = source.describe()?;
    let mut bar = Progress::named(session, "measuring");
    let parts = described.measure(args.limit, &mut bar)?.context("stopped")?;
    bar.finish_and_clear();
    if let Some(path) = &args.out {
        described.grid(SHOWN[0], SHOWN[1])??.save(path)?;
    }
    let named = |(part, summary): (Option<Part>, Summary)| PartReport {
        part: part.map(|part| part.to_string()),
        summary,
    };
    let report = Report {
        data: args.data.clone(),
        classes: described.classes().to_vec(),
        parts: parts.into_iter().map(named).collect(),
        figure: args.out.as_deref().map(shown),
    };
    if session.json {
        session.print_json(&report)?;
    } else {
        report.print();
    }
    Ok(Outcome::Done)
}
