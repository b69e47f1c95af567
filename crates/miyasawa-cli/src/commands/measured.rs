//! The data that the commands of robustness and trust are measured on.

use super::{eval::data_for, model::Loaded};
use crate::args::{Session, WrongCall};
use anyhow::{Context, Result};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use miyasawa::data::{Dataset, FitMode, OpenOptions, Streaming};
use std::path::Path;

/// Which pictures, and how they come to the model.
#[derive(Args, Debug)]
pub struct Measured {
    /// digits, fashion-mnist[:DIR], mnist[:DIR], cifar10[:DIR], cifar100[:DIR], or a path
    #[arg(long)]
    pub data: String,
    /// Take so many pictures, evenly spaced over the set
    #[arg(long)]
    pub limit: Option<usize>,
    /// Pictures that go through the network at once
    #[arg(long, default_value_t = 64)]
    pub batch: usize,
    /// Bring pictures of another size to the model's by `pad` (black), `resize`, or `resize_crop` (as for ImageNet)
    #[arg(long, default_value = "pad", value_parser = parse_fit)]
    pub fit: FitMode,
}

/// `--fit`: how a picture of another size is fitted.
pub fn parse_fit(text: &str) -> Result<FitMode, String> {
    match text {
        "pad" => Ok(FitMode::Pad),
        "resize" => Ok(FitMode::Resize),
        "resize_crop" => Ok(FitMode::ResizeCrop),
        _ => Err("expected pad, resize or resize_crop".to_owned()),
    }
}

impl Measured {
    /// What is wrong with the numbers, before anything is loaded.
    pub fn check(&self) -> Result<()> {
        at_least_one("batch", self.batch)?;
        self.limit.map_or(Ok(()), |limit| at_least_one("limit", limit))
    }

    /// The pictures, with the model's size and classes.
    pub fn load(&self, loaded: &Loaded) -> Result<Dataset> {
        // Opened whole and read in part, so that a picture's place is that in the whole set.
        let options = OpenOptions { fit: self.fit, stream: Streaming::Always, ..OpenOptions::default() };
        Ok(data_for(loaded, &self.data, &options)?.sample(self.limit.unwrap_or(usize::MAX))?)
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

/// A bar on standard error that shows a share and a message.
pub fn bar(session: &Session) -> ProgressBar {
    if session.quiet {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(1000);
    let style = ProgressStyle::with_template("{msg} [{bar:24}] {percent}%, {elapsed}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
    bar
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
