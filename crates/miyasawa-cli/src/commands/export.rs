use super::{Outcome, model};
use crate::{args::Session, output::shown};
use clap::{Args, ValueEnum};
use miyasawa::checkpoint::Precision;
use std::path::PathBuf;

/// Write a checkpoint anew with numbers of another size, for instance to ship it.
///
/// Numbers in bf16 take half the space and keep the first 8 bits of every parameter; every command reads
/// both, and so does PyTorch through safetensors.
///
/// Example: miyasawa export runs/cifar/model.safetensors --dtype bf16 -o model.safetensors
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Export {
    /// A checkpoint
    model: Option<PathBuf>,
    /// Type of the numbers
    #[arg(long, value_enum, default_value = "bf16")]
    dtype: Dtype,
    /// The file, a safetensors
    #[arg(short, long)]
    out: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Dtype {
    Bf16,
    F32,
}

pub fn run(args: &Export, session: &Session) -> anyhow::Result<Outcome> {
    let precision = match args.dtype {
        Dtype::Bf16 => Precision::Bf16,
        Dtype::F32 => Precision::F32,
    };
    let model::Read { checkpoint, path, .. } = model::read(args.model.as_deref())?;
    checkpoint.save_in(precision, &args.out)?;
    let bytes = std::fs::metadata(&args.out)?.len();
    if session.json {
        session.print_json(
            &serde_json::json!({ "model": shown(&path), "out": shown(&args.out), "bytes": bytes }),
        )?;
    } else {
        outln!("{}: {:.2} MB", args.out.display(), bytes as f64 / 1e6);
    }
    Ok(Outcome::Done)
}
