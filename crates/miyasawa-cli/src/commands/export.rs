use super::{Outcome, model};
use crate::{
    output::shown,
    session::{Session, WrongCall},
};
use clap::{Args, ValueEnum};
use miyasawa::checkpoint::Precision;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Write a checkpoint in another precision, for instance to distribute it.
///
/// bf16 takes half the space and keeps the first 8 bits of every parameter. Every command reads
/// both precisions, and so does PyTorch through safetensors. The input model is replaced only with
/// --overwrite: the rounding to bf16 cannot be undone.
///
/// Example: miyasawa export runs/cifar/model.safetensors --dtype bf16 -o model.safetensors
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Export {
    /// A checkpoint
    model: Option<PathBuf>,
    #[command(flatten)]
    bundled: model::BundledArg,
    /// Type of the parameters
    #[arg(long, value_enum, default_value = "bf16")]
    dtype: Dtype,
    /// File to write; its name ends in .safetensors
    #[arg(short, long)]
    out: PathBuf,
    /// Allow --out to replace the input model
    #[arg(long)]
    overwrite: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Dtype {
    Bf16,
    F32,
}

/// The document of `--json`.
#[derive(Serialize)]
struct Report {
    model: String,
    out: String,
    bytes: u64,
}

/// Checks the name of a tensor file before any work is done for it.
pub fn check_safetensors(option: &str, path: &Path) -> anyhow::Result<()> {
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("safetensors")) {
        return Ok(());
    }
    let path = path.display();
    let text = format!(
        "{option} is {path}, expected a name that ends in .safetensors: no other format is written"
    );
    Err(WrongCall(text).into())
}

/// Makes sure that a file is not the model, under any of its names.
pub fn check_not_model(option: &str, out: &Path, model: &Path) -> anyhow::Result<()> {
    if !model::same_file(out, model) {
        return Ok(());
    }
    let text = format!("{option} is {}, which is the input model", out.display());
    Err(WrongCall(text).into())
}

pub fn run(args: &Export, session: &Session) -> anyhow::Result<Outcome> {
    let precision = match args.dtype {
        Dtype::Bf16 => Precision::Bf16,
        Dtype::F32 => Precision::F32,
    };
    check_safetensors("--out", &args.out)?;
    let model::LoadedCheckpoint { checkpoint, path, .. } =
        model::read(args.bundled.or(args.model.as_deref())?)?;
    if !args.overwrite {
        check_not_model("--out", &args.out, &path)
            .map_err(|error| WrongCall(format!("{error}; --overwrite replaces it")))?;
    }
    checkpoint.save_in(precision, &args.out)?;
    let bytes = std::fs::metadata(&args.out)?.len();
    let report = Report { model: shown(&path), out: shown(&args.out), bytes };
    if session.json {
        session.print_json(&report)?;
    } else {
        outln!("{}: {:.2} MB", report.out, bytes as f64 / 1e6);
    }
    Ok(Outcome::Done)
}
