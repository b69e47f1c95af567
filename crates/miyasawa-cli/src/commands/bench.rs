use super::Outcome;
use crate::session::{DtypeArg, Session, WrongCall};
use clap::{Args, ValueEnum};
use miyasawa::{
    bench::{BenchOptions, Work, bench, peak},
    model::GradResNetConfig,
};

/// Time one step on synthetic data, counted as in reference.py, or measure the processor's peak.
///
/// Example: miyasawa bench train-step --width 16 --batch 128 --threads 2 --json
#[derive(Args, Debug)]
pub struct Bench {
    /// What to time; `peak` is the CPU's peak rate of multiplications and additions
    #[arg(value_enum)]
    work: What,
    /// Number of channels of the first stage
    #[arg(long, default_value_t = 64)]
    width: usize,
    /// Number of blocks of every stage, separated by commas
    #[arg(long, value_delimiter = ',', default_values_t = [2, 2, 2, 2])]
    blocks: Vec<usize>,
    /// Size of an image, channels x height x width
    #[arg(long, default_value = "3x32x32")]
    image: String,
    /// Number of classes
    #[arg(long, default_value_t = 10)]
    classes: usize,
    /// Number of images in a step
    #[arg(long, default_value_t = 32)]
    batch: usize,
    /// Number of images in a forward pass of a training step [default: the trainer's choice]
    #[arg(long)]
    micro_batch: Option<usize>,
    /// Use a network that is not conditioned on the noise level
    #[arg(long)]
    blind: bool,
    /// Type of the products: f32, tf32 (NVIDIA's GPUs) or bf16 (operands rounded to bfloat16,
    /// weights and sums in float32)
    #[arg(long, value_enum, default_value = "f32")]
    dtype: DtypeArg,
    /// Number of timed steps, after two warm-up steps
    #[arg(long, default_value_t = 10)]
    iters: usize,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    TrainStep,
    Classify,
    Denoise,
    Peak,
}

impl Bench {
    /// The options of a timed step.
    fn plan(&self, work: Work, session: &Session) -> anyhow::Result<BenchOptions> {
        let wrong = |text: String| anyhow::Error::from(WrongCall(text));
        let sizes: Option<Vec<usize>> =
            self.image.split('x').map(|part| part.parse().ok().filter(|n| *n > 0)).collect();
        let Some(&[channels, height, width]) = sizes.as_deref() else {
            return Err(wrong(format!(
                "--image is '{}', expected channels x height x width",
                self.image
            )));
        };
        let network = GradResNetConfig {
            width: self.width,
            blocks: self.blocks.clone(),
            blind: self.blind,
            zero_energy_head: false,
            ..GradResNetConfig::new(channels, self.classes)
        };
        network.validate().map_err(wrong)?;
        if self.batch == 0 || self.micro_batch == Some(0) || self.iters == 0 {
            return Err(wrong("a batch or --iters is 0, expected at least 1".into()));
        }
        Ok(BenchOptions {
            work,
            network,
            dtype: self.dtype.into(),
            size: [height, width],
            batch: self.batch,
            micro_batch: self.micro_batch,
            iterations: self.iters,
            seed: session.seed.unwrap_or(0),
        })
    }
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
    let options = args.plan(work, session)?;
    let device = session.device()?;
    options.dtype.check(&device)?;
    let result = bench(&options, &device);
    if session.json {
        session.print_json(&result)?;
    } else {
        outln!(
            "{:.4} s a step, {:.1} images/s, {:.1} GFLOP/s of {:.1} GFLOP in convolutions, {} \
             threads, {}, {}",
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
            outln!(
                "peak resident memory {peak:.2} GiB, working memory of the kernels {working:.0} MiB"
            );
        }
    }
    Ok(Outcome::Done)
}
