use super::Outcome;
use crate::session::{DtypeArg, Session, WrongCall};
use clap::{Args, ValueEnum};
use miyasawa::{
    bench::{BenchOptions, Work, bench, peak},
    model::GradResNetConfig,
};

/// Time one step on synthetic data, counted as reference.py counts it, or the processor's peak.
///
/// Example: miyasawa bench train-step --width 16 --batch 128 --threads 2 --json
#[derive(Args, Debug)]
pub struct Bench {
    /// What to time
    #[arg(value_enum)]
    work: What,
    /// Channels of the first stage
    #[arg(long, default_value_t = 64)]
    width: usize,
    /// Blocks of every stage
    #[arg(long, value_delimiter = ',', default_values_t = [2, 2, 2, 2])]
    blocks: Vec<usize>,
    /// Channels x height x width
    #[arg(long, default_value = "3x32x32")]
    image: String,
    /// Classes
    #[arg(long, default_value_t = 10)]
    classes: usize,
    /// Images of a step
    #[arg(long, default_value_t = 32)]
    batch: usize,
    /// Images that go through the network at once in a training step [default: the trainer's choice]
    #[arg(long)]
    micro_batch: Option<usize>,
    /// A network that is not told the noise level
    #[arg(long)]
    blind: bool,
    /// Type of the multiplications
    #[arg(long, value_enum, default_value = "f32")]
    dtype: DtypeArg,
    /// Timed steps, after two that are not
    #[arg(long, default_value_t = 10)]
    iters: usize,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    TrainStep,
    Classify,
    Denoise,
    /// How fast this machine's CPU multiplies and adds, to hold the others against
    Peak,
}

pub fn run(args: &Bench, session: &Session) -> anyhow::Result<Outcome> {
    let work = match args.work {
        What::TrainStep => Work::TrainStep,
        What::Classify => Work::Classify,
        What::Denoise => Work::Denoise,
        What::Peak => {
            let peak = peak();
            if session.json {
                session.print_json(&peak)?;
            } else {
                outln!("{:.0} GFLOP/s, {} threads, {}", peak.peak_gflops, peak.threads, peak.isa);
            }
            return Ok(Outcome::Done);
        }
    };
    let wrong = |text: String| anyhow::Error::from(WrongCall(text));
    let sizes: Option<Vec<usize>> =
        args.image.split('x').map(|part| part.parse().ok().filter(|n| *n > 0)).collect();
    let Some(&[channels, height, width]) = sizes.as_deref() else {
        return Err(wrong(format!("--image is '{}', expected channels x height x width", args.image)));
    };
    let network = GradResNetConfig {
        width: args.width,
        blocks: args.blocks.clone(),
        blind: args.blind,
        zero_energy_head: false,
        ..GradResNetConfig::new(channels, args.classes)
    };
    network.validate().map_err(wrong)?;
    if args.batch == 0 || args.micro_batch == Some(0) || args.iters == 0 {
        return Err(wrong("a batch or --iters is 0, expected at least 1".into()));
    }
    let options = BenchOptions {
        work,
        network,
        dtype: args.dtype.into(),
        size: [height, width],
        batch: args.batch,
        micro_batch: args.micro_batch,
        iterations: args.iters,
        seed: session.seed.unwrap_or(0),
    };
    let device = session.device()?;
    options.dtype.check(&device)?;
    let result = bench(&options, &device);
    if session.json {
        session.print_json(&result)?;
    } else {
        outln!(
            "{:.4} s a step, {:.1} images/s, {:.1} GFLOP/s of {:.1} GFLOP in convolutions, {} threads, {}, {}",
            result.median_seconds,
            result.images_per_second,
            result.achieved_gflops,
            result.conv_gflop,
            result.threads,
            result.isa,
            result.dtype
        );
        if let Some(bytes) = result.peak_rss_bytes {
            let working = result.working_bytes as f64 / (1u64 << 20) as f64;
            let peak = bytes as f64 / (1u64 << 30) as f64;
            outln!("peak resident memory {peak:.2} GiB, working memory of the kernels {working:.0} MiB");
        }
    }
    Ok(Outcome::Done)
}
