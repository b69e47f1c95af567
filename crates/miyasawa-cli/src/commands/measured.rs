//! The data that the commands of robustness and trust are measured on.

use super::model::same_place;
use crate::progress::Progress;
use crate::session::{Session, WrongCall};
use anyhow::{Context, Result, bail};
use clap::Args;
use miyasawa::predictor::Predictor;
use miyasawa::{
    attack::Norm,
    checkpoint::DataInfo,
    data::{DataSource, Dataset, OpenOptions, ResizeMode, Streaming, UnopenedSet},
};
use std::path::Path;

/// Which images, and how they come to the model.
#[derive(Args, Debug)]
pub struct Measured {
    /// digits, fashion-mnist[:DIR], mnist[:DIR], cifar10[:DIR], cifar100[:DIR], tiny-imagenet[:DIR], or a path; of the set
    /// without a test part that the model was trained on, the tenth that was held out
    #[arg(long)]
    pub data: String,
    /// Take so many images, evenly spaced over the set
    #[arg(long)]
    pub limit: Option<usize>,
    /// Images that go through the network at once
    #[arg(long, default_value_t = 64)]
    pub batch: usize,
    /// Bring images of another size to the model's by `pad` (black), `pad_edge`, `resize`, or `resize_crop` (as for
    /// ImageNet) [default: as in training; `eval` of a denoiser alone: none, every image has its own size]
    #[arg(long, value_parser = parse_fit)]
    pub fit: Option<ResizeMode>,
    /// What `--fit resize_crop` keeps of the shorter side [default: as in training, or 0.875: 224 of 256]
    #[arg(long)]
    crop_share: Option<f64>,
    /// Broken images to leave out before giving up
    #[arg(long, default_value_t = 0)]
    max_broken: usize,
}

/// `--fit`: how an image of another size is fitted.
fn parse_fit(text: &str) -> Result<ResizeMode, String> {
    match text {
        "pad" => Ok(ResizeMode::Pad),
        "pad_edge" => Ok(ResizeMode::PadEdge),
        "resize" => Ok(ResizeMode::Resize),
        "resize_crop" => Ok(ResizeMode::ResizeCrop),
        _ => Err("expected pad, pad_edge, resize or resize_crop".to_owned()),
    }
}

impl Measured {
    /// What is wrong with the numbers, before anything is predictor.
    pub fn check(&self) -> Result<()> {
        at_least_one("batch", self.batch)?;
        if let Some(share) = self.crop_share.filter(|share| !(*share > 0.0 && *share <= 1.0)) {
            let text = format!("--crop-share is {share}, expected above 0 and at most 1");
            return Err(WrongCall(text).into());
        }
        self.limit.map_or(Ok(()), |limit| at_least_one("limit", limit))
    }

    /// How images of another size are fitted.
    pub fn fit_for(&self, predictor: &Predictor) -> ResizeMode {
        self.fit.unwrap_or(predictor.info().data.fit)
    }

    /// How the images are opened for a model, in its channels.
    pub fn options(&self, predictor: &Predictor) -> OpenOptions {
        let data = &predictor.info().data;
        OpenOptions {
            size: Some((data.height, data.width)),
            channels: Some(data.channels),
            resize_mode: self.fit_for(predictor),
            crop_share: self.crop_share.unwrap_or(data.crop_share),
            max_corrupt: self.max_broken,
            skip_corrupt: true,
            // Mean and deviation are the model's.
            sample: 0,
            ..OpenOptions::default()
        }
    }

    /// The images that are measured, found and not opened yet.
    pub fn choose(&self, predictor: &Predictor) -> Result<UnopenedSet> {
        let (data, trained) = (&self.data, &predictor.info().data);
        let chosen = data.parse::<DataSource>()?.choose(trained.held_out_of.as_deref())?;
        match chosen.held_out() {
            Some([held, all]) => tracing::info!(
                "{data}: has no test part: measured on the {held} of its {all} images that training held out"
            ),
            None if !same_set(data, trained, chosen.classes()) => {}
            None if trained.held_out_of.is_some() => tracing::warn!(
                "{data}: is not what the model was trained on, or has changed since: what it was trained on may be measured"
            ),
            None if !chosen.has_parts() => tracing::warn!(
                "{data}: is what the model was trained on, and has no test part: what is measured was trained on"
            ),
            None => {}
        }
        Ok(chosen)
    }

    /// As [`choose`](Self::choose), with the model's classes, matched by name, and whether the images have any that the
    /// model could be right about.
    pub fn choose_named(&self, predictor: &Predictor) -> Result<(UnopenedSet, bool)> {
        let (data, classes) = (&self.data, &predictor.info().data.classes);
        let chosen = self.choose(predictor)?;
        if !predictor.info().classifies() || chosen.classes() == classes {
            return Ok((chosen, predictor.info().classifies()));
        }
        let unknown = chosen.unknown(classes);
        if chosen.is_unlabelled() && !unknown.is_empty() {
            return Ok((chosen, false));
        }
        let (own, known) = (chosen.classes().len(), classes.len());
        if !unknown.is_empty() {
            bail!(
                "{data}: has {own} classes ({}), the model knows {known} ({}), and not {}",
                shorten(chosen.classes()),
                shorten(classes),
                shorten(&unknown)
            );
        }
        tracing::info!(
            "{data}: its {own} classes ({}) are matched by name with the model's {known}, of which the model still names any",
            shorten(chosen.classes())
        );
        Ok((chosen.in_classes(classes)?, true))
    }

    /// The images in memory, with the model's size and classes.
    pub fn load(&self, predictor: &Predictor) -> Result<Dataset> {
        let (chosen, labelled) = self.choose_named(predictor)?;
        if !labelled && predictor.info().classifies() {
            bail!(
                "{}: has no classes: every image lies in the folder itself; put those of a class into a subfolder of its name",
                self.data
            );
        }
        self.load_chosen(chosen, predictor)
    }

    /// As [`load`](Self::load), of images that need no classes.
    pub fn load_any(&self, predictor: &Predictor) -> Result<Dataset> {
        self.load_chosen(self.choose_named(predictor)?.0, predictor)
    }

    fn load_chosen(&self, chosen: UnopenedSet, predictor: &Predictor) -> Result<Dataset> {
        // Opened whole and read in part, so that an image's place is that in the whole set.
        let options = OpenOptions { stream: Streaming::Always, ..self.options(predictor) };
        Ok(chosen.open(&options)?.sample(self.limit.unwrap_or(usize::MAX))?)
    }
}

fn shorten(classes: &[String]) -> String {
    let shown = classes.iter().take(4).cloned().collect::<Vec<_>>().join(", ");
    if classes.len() > 4 { format!("{shown}, ...") } else { shown }
}

/// Whether a DATA argument names the set or place that a model was trained on, or a folder or file of that name, perhaps moved,
/// with its classes.
fn same_set(data: &str, trained: &DataInfo, classes: &[String]) -> bool {
    match (data.parse(), trained.name.parse()) {
        (Ok(DataSource::Path(a)), Ok(DataSource::Path(b))) => {
            let moved =
                a.file_name().is_some() && a.file_name() == b.file_name() && trained.classes == classes;
            a == b || same_place(&a, &b) || moved
        }
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

/// A number that must not be 0.
pub fn at_least_one(option: &str, value: usize) -> Result<()> {
    if value == 0 {
        return Err(WrongCall(format!("--{option} is 0, expected at least 1")).into());
    }
    Ok(())
}

/// `--tolerance`.
pub fn check_tolerance(value: f64) -> Result<()> {
    if value.is_nan() || value < 0.0 {
        return Err(WrongCall(format!("--tolerance is {value}, expected a number from 0")).into());
    }
    Ok(())
}

/// A size of an attack: a number, or a fraction such as 8/255.
pub fn parse_eps(text: &str) -> Result<f64, String> {
    let number = |text: &str| text.trim().parse::<f64>().ok();
    let value = match text.split_once('/') {
        Some((above, below)) => number(above).zip(number(below)).map(|(a, b)| a / b),
        None => number(text),
    };
    match value {
        Some(value) if value.is_finite() && value >= 0.0 => Ok(value),
        _ => Err("expected a number from 0, or a fraction such as 8/255".to_owned()),
    }
}

/// Refuses sizes of an attack that are not in units of the [0, 1] range, and warns of those at which no model is right;
/// what was warned of.
pub fn check_eps(norm: Norm, eps: &[f64], predictor: &Predictor) -> Result<Option<String>> {
    if let Some(eps) = eps.iter().find(|eps| norm == Norm::Linf && **eps > norm.diameter(1)) {
        let text = format!(
            "--eps is {eps}, expected at most 1 in linf: sizes are in units of the [0, 1] range, {eps} of 255 is {eps}/255"
        );
        return Err(WrongCall(text).into());
    }
    let geometry = predictor.geometry();
    let said = norm.too_large(eps, geometry.channels * geometry.height * geometry.width);
    said.iter().for_each(|said| tracing::warn!("{said}"));
    Ok(said)
}

/// The progress of work that tells its share and how it goes.
pub fn bar(session: &Session) -> Progress {
    Progress::share(session)
}

/// Makes the folder for results.
pub fn make_folder(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).with_context(|| format!("{}: cannot be written", path.display()))
}

/// Writes one JSON document for people and programs.
pub fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)?;
    Ok(miyasawa::atomic::write_atomic(path, |w| writeln!(w, "{text}"))?)
}

use std::io::Write as _;
