use crate::commands::{Outcome, eval::share_bar, measured::at_least_one};
use crate::output::shown;
use crate::session::{Session, WrongCall};
use clap::Args;
use miyasawa::data::{Converted, DataSource};
use serde_json::json;
use std::path::PathBuf;

/// Write a data set as WebDataset shards, which can be streamed.
///
/// Image files are copied as they are, sets of bare values are stored as PNG. The images are shuffled, always in
/// the same way: the same set gives the same bytes. The folder can then be named as data, or its shards with a range:
/// 'DIR/train-{00000..00015}.tar'.
///
/// Example: miyasawa data convert photos/ --shards 16 --out shards
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Convert {
    /// digits, fashion-mnist[:DIR], mnist[:DIR], cifar10[:DIR], cifar100[:DIR], tiny-imagenet[:DIR], or a path
    data: String,
    /// Shards of the largest part; others get as many in proportion
    #[arg(long)]
    shards: usize,
    /// The folder for the shards
    #[arg(long)]
    out: PathBuf,
    /// What the names of the shards of a set without parts begin with
    #[arg(long, default_value = "train")]
    prefix: String,
}

pub fn run(args: &Convert, session: &Session) -> anyhow::Result<Outcome> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if args.prefix.is_empty() || !args.prefix.chars().all(fine) {
        let text = format!("--prefix is '{}', expected letters, digits, - and _", args.prefix);
        return Err(WrongCall(text).into());
    }
    at_least_one("shards", args.shards)?;
    let source: DataSource = args.data.parse()?;
    let described = source.describe()?;
    let bar = share_bar(session, "converting");
    let written = described.convert(&args.out, args.shards, &args.prefix, &mut |share| {
        bar.set_position((share * 1000.0) as u64);
    })?;
    bar.finish_and_clear();
    if session.json {
        let part = |part: &Converted| {
            let shards: Vec<String> = part.shards.iter().map(|path| shown(path)).collect();
            json!({ "part": part.part, "count": part.count, "shards": shards })
        };
        let parts: Vec<_> = written.iter().map(part).collect();
        let document = json!({ "data": args.data, "out": shown(&args.out), "parts": parts });
        session.print_json(&document)?;
    } else {
        for part in &written {
            outln!("{}: {} images in {} shards", part.part, part.count, part.shards.len());
        }
    }
    Ok(Outcome::Done)
}
