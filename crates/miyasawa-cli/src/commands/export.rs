use super::{Outcome, model};
use crate::{
    output::shown,
    session::{Session, WrongCall},
};
use clap::{Args, ValueEnum};
use miyasawa::{
    atomic::write_atomic,
    checkpoint::Precision,
    onnx::{self, Options, Range, Task},
};
use serde::Serialize;
use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

/// Write a checkpoint in another precision, or as an ONNX graph for other runtimes.
///
/// As a checkpoint (safetensors), bf16 takes half the space and keeps the first 8 bits of every
/// parameter. Every command reads both precisions, and so does PyTorch through safetensors. The
/// input model is replaced only with --overwrite: the rounding to bf16 cannot be undone.
///
/// As a graph (onnx), the denoiser, which is the gradient of the network, is made of ordinary
/// forward operations. The graph has operators of the standard domain alone (operator set 17) and
/// takes batches and images of any size, [batch, channels, height, width], with the noise level of
/// each image, in units of its values. --task chooses the outputs: logits and posterior (classify),
/// denoised (denoise), all of these with log_prob and class_denoised (joint). Estimating the noise,
/// resizing and the other work around the network are not in it. Types of the weights are f32, f16
/// and bf16; everything is computed in f32.
///
/// Example: miyasawa export runs/cifar/model.safetensors --dtype bf16 -o model.safetensors
/// Example: miyasawa export --format onnx --task denoise -o denoiser.onnx
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Export {
    /// A checkpoint
    model: Option<PathBuf>,
    #[command(flatten)]
    bundled: model::BundledArg,
    /// Format of the file
    #[arg(long, value_enum, default_value = "safetensors")]
    format: Format,
    /// Type of the parameters [default: bf16 in safetensors, f32 in onnx]
    #[arg(long, value_enum)]
    dtype: Option<Dtype>,
    /// What an ONNX graph computes [default: all that the model has learned]
    #[arg(long, value_enum)]
    task: Option<TaskArg>,
    /// Values of the images of an ONNX graph: unit is 0 to 1, signed is -1 to 1 as in the noise
    /// levels of all other commands [default: unit]
    #[arg(long, value_enum)]
    range: Option<RangeArg>,
    /// File to write; its name ends in .safetensors or .onnx
    #[arg(short, long)]
    out: PathBuf,
    /// Allow --out to replace the input model
    #[arg(long)]
    overwrite: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Safetensors,
    Onnx,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Dtype {
    Bf16,
    F16,
    F32,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum TaskArg {
    Classify,
    Denoise,
    Joint,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RangeArg {
    Unit,
    Signed,
}

/// What is written, once the options are known to fit the format.
enum Plan {
    Safetensors(Precision),
    Onnx { dtype: onnx::Dtype, task: Option<Task>, range: Range },
}

/// The document of `--json`.
#[derive(Serialize)]
struct Report {
    model: String,
    out: String,
    bytes: u64,
    /// Of an ONNX graph.
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<String>,
}

impl Export {
    fn plan(&self) -> anyhow::Result<Plan> {
        let wrong = |text: String| anyhow::Error::from(WrongCall(text));
        let is = |end: &str| self.out.extension().is_some_and(|e| e.eq_ignore_ascii_case(end));
        if self.format == Format::Safetensors {
            let hint = if is("onnx") { "; --format onnx writes a graph" } else { "" };
            check_safetensors("--out", &self.out)
                .map_err(|error| wrong(format!("{error}{hint}")))?;
            if self.task.is_some() || self.range.is_some() {
                let option = if self.task.is_some() { "--task" } else { "--range" };
                return Err(wrong(format!("{option} is of --format onnx, found safetensors")));
            }
            return match self.dtype {
                None | Some(Dtype::Bf16) => Ok(Plan::Safetensors(Precision::Bf16)),
                Some(Dtype::F32) => Ok(Plan::Safetensors(Precision::F32)),
                Some(Dtype::F16) => {
                    let text = "--dtype is f16, expected bf16 or f32 in safetensors";
                    Err(wrong(text.into()))
                }
            };
        }
        if !is("onnx") {
            let path = self.out.display();
            return Err(wrong(format!("--out is {path}, expected a name that ends in .onnx")));
        }
        Ok(Plan::Onnx {
            dtype: match self.dtype {
                None | Some(Dtype::F32) => onnx::Dtype::F32,
                Some(Dtype::F16) => onnx::Dtype::F16,
                Some(Dtype::Bf16) => onnx::Dtype::Bf16,
            },
            task: self.task.map(|task| match task {
                TaskArg::Classify => Task::Classify,
                TaskArg::Denoise => Task::Denoise,
                TaskArg::Joint => Task::Joint,
            }),
            range: match self.range {
                None | Some(RangeArg::Unit) => Range::Unit,
                Some(RangeArg::Signed) => Range::Signed,
            },
        })
    }
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
    let plan = args.plan()?;
    let model::LoadedCheckpoint { checkpoint, path, .. } =
        model::read(args.bundled.or(args.model.as_deref())?)?;
    if !args.overwrite {
        check_not_model("--out", &args.out, &path)
            .map_err(|error| WrongCall(format!("{error}; --overwrite replaces it")))?;
    }
    let task = match plan {
        Plan::Safetensors(precision) => {
            checkpoint.save_in(precision, &args.out)?;
            None
        }
        Plan::Onnx { dtype, task, range } => {
            let task = task.unwrap_or_else(|| Task::of(&checkpoint.info));
            let options = Options { task, dtype, range, name: shown(&path) };
            let graph = onnx::export(&checkpoint, &options)?;
            write_atomic(&args.out, |file| file.write_all(&graph))?;
            Some(task.to_string())
        }
    };
    let bytes = std::fs::metadata(&args.out)?.len();
    let report = Report { model: shown(&path), out: shown(&args.out), bytes, task };
    if session.json {
        session.print_json(&report)?;
    } else {
        let task = report.task.map(|task| format!(", {task}")).unwrap_or_default();
        outln!("{}: {:.2} MB{task}", report.out, bytes as f64 / 1e6);
    }
    Ok(Outcome::Done)
}
