use crate::commands::Outcome;
use crate::fetch::{self, Client, SETS};
use crate::output::shown;
use crate::progress::Progress;
use crate::session::{Session, WrongCall};
use clap::Args;
use miyasawa::data::default_folder;
use serde::Serialize;
use std::path::PathBuf;

/// Download a data set from its publisher.
///
/// NAME is mnist, fashion-mnist, cifar10, cifar100 or tiny-imagenet. Interrupted downloads are
/// continued, every file is checked against its known hash, and archives are unpacked. Afterwards
/// `--data NAME` and `data.train=NAME` find it.
///
/// Example: miyasawa data fetch tiny-imagenet --dir data
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Fetch {
    /// Name of the data set
    name: String,
    /// Folder for data sets [default: $MIYASAWA_DATA, or data]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Address of a mirror, to which the names of the files are appended [default: the publisher]
    #[arg(long, value_name = "URL")]
    from: Option<String>,
}

/// The document of `--json`.
#[derive(Serialize)]
struct Report {
    data: String,
    path: String,
    present: bool,
    bytes: u64,
}

impl Report {
    fn print(&self) {
        let Self { data, path, present, .. } = self;
        let state = if *present { "was there already" } else { "fetched" };
        outln!("{path}: {state}; use it as {data}");
    }
}

pub fn run(args: &Fetch, session: &Session) -> anyhow::Result<Outcome> {
    let Some(set) = SETS.iter().find(|set| set.name == args.name) else {
        let names: Vec<&str> = SETS.iter().map(|set| set.name).collect();
        let text = format!(
            "no data set '{}' can be fetched, expected one of {}",
            args.name,
            names.join(", ")
        );
        return Err(WrongCall(text).into());
    };
    if let Some(url) = args.from.as_deref().filter(|url| !url.starts_with("http")) {
        let text =
            format!("--from is '{url}', expected an address that begins with http:// or https://");
        return Err(WrongCall(text).into());
    }
    let dir = args.dir.clone().unwrap_or_else(default_folder);
    let bar = Progress::bytes(session);
    let fetched = fetch::fetch(
        set,
        &dir,
        args.from.as_deref(),
        &Client::default(),
        &mut |name, have, of| {
            if bar.message() != name {
                bar.set_message(name.to_owned());
            }
            if let Some(of) = of {
                bar.set_length(of);
            }
            bar.set_position(have);
        },
    )?;
    bar.finish_and_clear();
    let fetch::Fetched { data, path, present, bytes } = fetched;
    let report = Report { data, path: shown(&path), present, bytes };
    if session.json {
        session.print_json(&report)?;
    } else {
        report.print();
    }
    Ok(Outcome::Done)
}
