use crate::commands::{Outcome, measured::at_least_one};
use crate::output::shown;
use crate::progress::Progress;
use crate::session::{Session, WrongCall};
use anyhow::Context;
use clap::Args;
use miyasawa::data::{Converted, DataSource};
use serde::Serialize;
use std::path::PathBuf;

/// Write a data set as WebDataset shards, which can be streamed.
///
/// Image files are copied as they are; sets of bare values are stored as PNG. The images are
/// shuffled with a fixed seed: the same set gives the same bytes. The folder is then a DATA
/// argument, and so are its shards with a range: 'DIR/train-{00000..00015}.tar'.
///
/// Example: miyasawa data convert photos/ --shards 16 --out shards
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Convert {
    /// Data set: digits, fashion-mnist[:DIR], mnist[:DIR], cifar10[:DIR], cifar100[:DIR],
    /// tiny-imagenet[:DIR], or a path
    data: String,
    /// Number of shards of the largest part; other parts get shards in proportion
    #[arg(long)]
    shards: usize,
    /// Folder for the shards
    #[arg(long)]
    out: PathBuf,
    /// Prefix of the shards' names for a set without parts
    #[arg(long, default_value = "train")]
    prefix: String,
}

/// The document of `--json`.
#[derive(Serialize)]
struct Report {
    data: String,
    out: String,
    parts: Vec<PartReport>,
}

/// The shards of a part.
#[derive(Serialize)]
struct PartReport {
    part: String,
    count: usize,
    shards: Vec<String>,
}

impl From<Converted> for PartReport {
    fn from(Converted { part, count, shards }: Converted) -> Self {
        Self { part, count, shards: shards.iter().map(|path| shown(path)).collect() }
    }
}

impl Report {
    fn print(&self) {
        for PartReport { part, count, shards } in &self.parts {
            outln!("{part}: {count} images in {} shards", shards.len());
        }
    }
}

pub fn run(args: &Convert, session: &Session) -> anyhow::Result<Outcome> {
    let valid = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if args.prefix.is_empty() || !args.prefix.chars().all(valid) {
        let text = format!("--prefix is '{}', expected letters, digits, - and _", args.prefix);
        return Err(WrongCall(text).into());
    }
    at_least_one("shards", args.shards)?;
    let source: DataSource = args.data.parse()?;
    let described = source.describe()?;
    let mut bar = Progress::named(session, "converting");
    let written =
        described.convert(&args.out, args.shards, &args.prefix, &mut bar)?.context("stopped")?;
    bar.finish_and_clear();
    let parts = written.into_iter().map(PartReport::from).collect();
    let report = Report { data: args.data.clone(), out: shown(&args.out), parts };
    if session.json {
        session.print_json(&report)?;
    } else {
        report.print();
    }
    Ok(Outcome::Done)
}
