//! The data that models are measured on, and what the measuring commands share.

use super::model::same_file;
use crate::{ranks, session::WrongCall};
use anyhow::{Context, Result, bail};
use clap::Args;
use miyasawa::predictor::Predictor;
use miyasawa::{
    attack::Norm,
    checkpoint::DataInfo,
    classifier::Defence,
    data::{DataSource, Dataset, OpenOptions, ResizeMode, Streaming, UnopenedSet},
};
use serde::Serialize;
use std::io::Write as _;
use std::path::Path;

/// Which images are measured, and how they are preprocessed.
#[derive(Args, Debug)]
pub struct Measured {
    /// Data set: digits, fashion-mnist[:DIR], mnist[:DIR], cifar10[:DIR], cifar100[:DIR],
    /// tiny-imagenet[:DIR], or a path; if the model was trained on it and it has no test part, the
    /// held-out tenth is measured
    #[arg(long)]
    pub data: String,
    /// Number of images to measure, evenly spaced over the set [default: all]
    #[arg(long)]
    pub limit: Option<usize>,
    /// Number of images in a forward pass
    #[arg(long, default_value_t = 64)]
    pub batch: usize,
    /// How images of another size are resized: `pad` (black), `pad_edge`, `resize`, or
    /// `resize_crop` (as for ImageNet) [default: as in training; `eval` of a pure denoiser: not
    /// resized]
    #[arg(long, value_parser = parse_fit)]
    pub fit: Option<ResizeMode>,
    /// Share of the shorter side that `--fit resize_crop` keeps [default: as in training, or 0.875:
    /// 224 of 256]
    #[arg(long)]
    crop_share: Option<f64>,
    /// Largest number of corrupt images to skip
    #[arg(long, default_value_t = 0)]
    max_broken: usize,
}

/// `--fit`: the resize mode.
fn parse_fit(text: &str) -> Result<ResizeMode, String> {
    match text {
        "pad" => Ok(ResizeMode::Pad),
        "pad_edge" => Ok(ResizeMode::PadEdge),
        "resize" => Ok(ResizeMode::Resize),
        "resize_crop" => Ok(ResizeMode::ResizeCrop),
        _ => Err("expected pad, pad_edge, resize or resize_crop".to_owned()),
    }
}

/// What the journal of an attack says of its subject.
#[derive(Serialize)]
struct JournalSubject<'a> {
    model: &'a str,
    data: &'a str,
    fit: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    defence: Option<Defence>,
}

impl Measured {
    /// Checks the numbers, before anything is loaded.
    pub fn check(&self) -> Result<()> {
        at_least_one("batch", self.batch)?;
        if let Some(share) = self.crop_share.filter(|share| !(*share > 0.0 && *share <= 1.0)) {
            let text = format!("--crop-share is {share}, expected above 0 and at most 1");
            return Err(WrongCall(text).into());
        }
        self.limit.map_or(Ok(()), |limit| at_least_one("limit", limit))
    }

    /// The resize mode: that of `--fit`, or that of the model's training.
    pub fn fit_for(&self, predictor: &Predictor) -> ResizeMode {
        self.fit.unwrap_or(predictor.info().data.fit)
    }

    /// The options to open images for a model, in its channels.
    pub fn options(&self, predictor: &Predictor) -> OpenOptions {
        let data = &predictor.info().data;
        OpenOptions {
            size: Some((data.height, data.width)),
            channels: Some(data.channels),
            resize_mode: self.fit_for(predictor),
            crop_share: self.crop_share.unwrap_or(data.crop_share),
            max_corrupt: self.max_broken,
            unlabelled: !predictor.info().classifies(),
            skip_corrupt: true,
            // Mean and standard deviation come from the model.
            sample: 0,
            ..OpenOptions::default()
        }
    }

    /// What the journal of an attack on these images says of its subject.
    pub fn journal_subject(
        &self,
        predictor: &Predictor,
        defence: Option<Defence>,
    ) -> Result<serde_json::Value> {
        let (model, data) = (predictor.sha256(), self.data.as_str());
        let fit = format!("{:?}", self.fit_for(predictor));
        Ok(serde_json::to_value(JournalSubject { model, data, fit, defence })?)
    }

    /// The images to measure, found and not opened yet.
    pub fn choose(&self, predictor: &Predictor) -> Result<UnopenedSet> {
        let (data, trained) = (&self.data, &predictor.info().data);
        let chosen = data.parse::<DataSource>()?.choose(trained.held_out_of.as_deref())?;
        match chosen.held_out() {
            Some([held, all]) => tracing::info!(
                "{data}: has no test part: measured on the {held} of its {all} images that \
                 training held out"
            ),
            None if !same_set(data, trained, chosen.classes()) => {}
            None if trained.held_out_of.is_some() => tracing::warn!(
                "{data}: is not what the model was trained on, or has changed since: training \
                 images may be measured"
            ),
            None if !chosen.has_parts() => tracing::warn!(
                "{data}: is what the model was trained on, and has no test part: training images \
                 are measured"
            ),
            None => {}
        }
        Ok(chosen)
    }

    /// As [`choose`](Self::choose), with the model's classes, matched by name; and whether the
    /// images have classes that the model can predict.
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
        let (found, known) = (chosen.classes().len(), classes.len());
        if !unknown.is_empty() {
            bail!(
                "{data}: has {found} classes ({}), the model knows {known} ({}), and not {}",
                shorten(chosen.classes()),
                shorten(classes),
                shorten(&unknown)
            );
        }
        tracing::info!(
            "{data}: its {found} classes ({}) are matched by name; the model may predict any of \
             its {known} classes",
            shorten(chosen.classes())
        );
        Ok((chosen.in_classes(classes)?, true))
    }

    /// The images in memory, with the model's size and classes.
    pub fn load(&self, predictor: &Predictor) -> Result<Dataset> {
        let (chosen, labelled) = self.choose_named(predictor)?;
        if !labelled && predictor.info().classifies() {
            bail!(
                "{}: has no classes: every image is in the folder itself; put those of a class \
                 into a subfolder of its name",
                self.data
            );
        }
        self.load_chosen(chosen, predictor)
    }

    /// As [`load`](Self::load), for images that need no classes.
    pub fn load_any(&self, predictor: &Predictor) -> Result<Dataset> {
        self.load_chosen(self.choose_named(predictor)?.0, predictor)
    }

    fn load_chosen(&self, chosen: UnopenedSet, predictor: &Predictor) -> Result<Dataset> {
        // All is opened and a part is read, so that an image keeps its index in the entire set.
        let options = OpenOptions { stream: Streaming::Always, ..self.options(predictor) };
        let set = chosen.open(&options)?.sample(self.limit.unwrap_or(usize::MAX))?;
        ranks::agree("data", || set.digest())?;
        Ok(set)
    }
}

fn shorten(classes: &[String]) -> String {
    let shown = classes.iter().take(4).cloned().collect::<Vec<_>>().join(", ");
    if classes.len() > 4 { format!("{shown}, ...") } else { shown }
}

/// Whether a DATA argument is the set or path that a model was trained on, or a folder or file of
/// the same name and classes elsewhere.
fn same_set(data: &str, trained: &DataInfo, classes: &[String]) -> bool {
    match (data.parse(), trained.name.parse()) {
        (Ok(DataSource::Path(a)), Ok(DataSource::Path(b))) => {
            let moved = a.file_name().is_some()
                && a.file_name() == b.file_name()
                && trained.classes == classes;
            a == b || same_file(&a, &b) || moved
        }
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

/// Refuses 0.
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

/// Refuses sizes of an attack that are not in units of the [0, 1] range. Warns of sizes at which no
/// model can be robust, and returns the warning.
pub fn check_eps(norm: Norm, eps: &[f64], predictor: &Predictor) -> Result<Option<String>> {
    if let Some(eps) = eps.iter().find(|eps| norm == Norm::Linf && **eps > norm.diameter(1)) {
        let text = format!(
            "--eps is {eps}, expected at most 1 in linf: sizes are in units of the [0, 1] range, \
             {eps} of 255 is {eps}/255"
        );
        return Err(WrongCall(text).into());
    }
    let geometry = predictor.geometry();
    let warning = norm.too_large(eps, geometry.channels * geometry.height * geometry.width);
    warning.iter().for_each(|warning| tracing::warn!("{warning}"));
    Ok(warning)
}

/// Makes the folder for results.
pub fn make_folder(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).with_context(|| format!("{}: cannot be written", path.display()))
}

/// Writes one JSON document for people and programs.
pub fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<()> {
    // Through a value, whose keys are in alphabetical order.
    let text = serde_json::to_string_pretty(&serde_json::to_value(value)?)?;
    Ok(miyasawa::atomic::write_atomic(path, |w| writeln!(w, "{text}"))?)
}
