use super::{Outcome, measured::parse_fit, model};
use crate::args::{Session, WrongCall};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use miyasawa::{
    data::{CROP_SHARE, DataError, DataSource, FitMode, OpenOptions, Part, Pictures},
    eval::{EvalOptions, Row, evaluate_gallery, evaluate_set},
    picture::Picture,
};
use std::path::PathBuf;

/// Measure a model: a row for every noise level.
///
/// Accuracy, negative log-likelihood, calibration error (15 bins), PSNR and SSIM of D(y), PSNR of
/// D(y, true class), and the noisy picture's own PSNR. What the model cannot do is left out. Pictures for a
/// denoiser alone may each have their own size.
///
/// Example: miyasawa eval model.safetensors --data cifar10 --sigmas 0.1,0.2 --limit 1000 --json
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Eval {
    /// A checkpoint
    model: Option<PathBuf>,
    /// digits, fashion-mnist[:DIR], mnist[:DIR], cifar10[:DIR], cifar100[:DIR], tiny-imagenet[:DIR], or a path
    #[arg(long)]
    data: String,
    /// Noise levels, in units of the [-1, 1] range
    #[arg(long, value_delimiter = ',', default_values_t = [0.02, 0.1, 0.2, 0.4, 1.0])]
    sigmas: Vec<f64>,
    /// Take so many pictures, evenly spaced over the set
    #[arg(long)]
    limit: Option<usize>,
    /// Pictures that go through the network at once
    #[arg(long, default_value_t = 64)]
    batch: usize,
    /// Bring pictures of another size to the model's by `pad` (black), `resize`, or `resize_crop` (as for ImageNet)
    /// [default: pad, but a denoiser alone takes every picture at its own size]
    #[arg(long, value_parser = parse_fit)]
    fit: Option<FitMode>,
    /// What `--fit resize_crop` keeps of the shorter side: 224 of 256
    #[arg(long, default_value_t = CROP_SHARE)]
    crop_share: f64,
    /// Broken pictures to skip before giving up
    #[arg(long, default_value_t = 0)]
    max_broken: usize,
}

/// What a model is measured on.
enum TestSet {
    /// Of one size, and of the model's classes if it has some.
    Set(Pictures),
    /// Each of its own size.
    Gallery(Vec<Picture>),
}

impl TestSet {
    /// The pictures at their own sizes, whatever their classes, for a denoiser.
    fn own_size(loaded: &model::Loaded, data: &str, options: &OpenOptions) -> anyhow::Result<Self> {
        let source: DataSource = data.parse()?;
        let channels = loaded.info.data.channels;
        let options = OpenOptions { size: None, channels: Some(channels), sample: 0, ..options.clone() };
        match source.open(Part::Test, &options) {
            Ok(set) => Ok(Self::Set(set)),
            Err(DataError::MixedSizes { .. }) => Ok(Self::Gallery(source.gallery(Part::Test, &options)?)),
            Err(error) => Err(error.into()),
        }
    }

    fn count(&self) -> usize {
        match self {
            Self::Set(set) => set.len(),
            Self::Gallery(pictures) => pictures.len(),
        }
    }
}

/// The pictures of an argument, brought to the model's size, with the model's classes.
pub fn data_for(loaded: &model::Loaded, data: &str, options: &OpenOptions) -> anyhow::Result<Pictures> {
    let source: DataSource = data.parse()?;
    let geometry = loaded.geometry();
    let options = OpenOptions {
        size: Some((geometry.height, geometry.width)),
        channels: Some(geometry.channels),
        // Mean and deviation are the model's.
        sample: 0,
        ..options.clone()
    };
    let set = source.open(Part::Test, &options)?;
    if loaded.info.classifies() && set.classes() != loaded.info.data.classes {
        anyhow::bail!(
            "{data}: has {} classes ({}), the model knows {} ({})",
            set.classes().len(),
            shorten(set.classes()),
            loaded.info.data.classes.len(),
            shorten(&loaded.info.data.classes)
        );
    }
    Ok(set)
}

fn shorten(classes: &[String]) -> String {
    let shown = classes.iter().take(4).cloned().collect::<Vec<_>>().join(", ");
    if classes.len() > 4 { format!("{shown}, ...") } else { shown }
}

/// A bar on standard error for work that tells its share.
pub fn share_bar(session: &Session, label: &'static str) -> ProgressBar {
    if session.quiet {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(1000).with_message(label);
    let style = ProgressStyle::with_template("{msg} [{bar:30}] {percent}%, {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
    bar
}

/// The rows as a table.
pub fn print_rows(rows: &[Row]) {
    outln!("  sigma  accuracy     nll     ece    psnr    ssim  psnr given label  psnr noisy");
    let optional = |value: Option<f64>, digits: usize| match value {
        Some(value) => format!("{value:.digits$}"),
        None => "-".to_owned(),
    };
    for row in rows {
        outln!(
            "{:>7}  {:>8} {:>7} {:>7} {:>7} {:>7} {:>17} {:>11}",
            row.sigma,
            row.accuracy.map_or("-".to_owned(), |a| format!("{:.2}%", 100.0 * a)),
            optional(row.nll, 4),
            optional(row.ece, 4),
            optional(row.psnr, 2),
            optional(row.ssim, 4),
            optional(row.psnr_given_label, 2),
            optional(row.psnr_noisy, 2)
        );
    }
}

pub fn run(args: &Eval, session: &Session) -> anyhow::Result<Outcome> {
    if !(args.crop_share > 0.0 && args.crop_share <= 1.0) {
        let text = format!("--crop-share is {}, expected above 0 and at most 1", args.crop_share);
        return Err(WrongCall(text).into());
    }
    if args.batch == 0 {
        return Err(WrongCall("--batch is 0, expected at least 1".into()).into());
    }
    if args.limit == Some(0) {
        return Err(WrongCall("--limit is 0, expected at least 1".into()).into());
    }
    let loaded = model::load(args.model.as_deref(), session)?;
    let sigmas = args.sigmas.iter().map(|s| loaded.sigma(*s)).collect::<Result<Vec<_>, _>>()?;
    let (classify, denoise) = (loaded.info.classifies(), loaded.info.denoises());
    let open = OpenOptions {
        fit: args.fit.unwrap_or_default(),
        crop_share: args.crop_share,
        max_broken: args.max_broken,
        limit: args.limit,
        ..OpenOptions::default()
    };
    let set = match (classify, args.fit) {
        (false, None) => TestSet::own_size(&loaded, &args.data, &open)?,
        _ => TestSet::Set(data_for(&loaded, &args.data, &open)?),
    };
    let options = EvalOptions {
        sigmas,
        limit: args.limit,
        batch: args.batch,
        seed: session.seed.unwrap_or(0),
        classify,
        denoise,
    };
    let bar = share_bar(session, "evaluating");
    let mut progress = |share: f64| {
        bar.set_position((share * 1000.0) as u64);
        true
    };
    let (model, device) = (&loaded.model, &loaded.device);
    let rows = match &set {
        TestSet::Set(set) => evaluate_set(model, set, &options, device, &mut progress)?,
        TestSet::Gallery(all) => evaluate_gallery(model, all, &options, device, &mut progress),
    };
    let rows = rows.unwrap_or_default();
    bar.finish_and_clear();
    let count = args.limit.unwrap_or(usize::MAX).min(set.count());
    if session.json {
        session.print_json(&serde_json::json!({
            "model": loaded.name, "data": args.data, "count": count, "rows": rows,
        }))?;
    } else {
        outln!("{} on {count} pictures of {}", loaded.name, args.data);
        print_rows(&rows);
    }
    Ok(Outcome::Done)
}
