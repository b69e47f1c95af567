//! The folders of a comparison's runs and the files in them.

use crate::atomic::write_atomic;
use crate::checkpoint::Checkpoint;
use crate::experiment::ExperimentError;
use crate::train::{TrainConfig, config::AugmentConfig};
use std::{
    io::Write,
    path::{Path, PathBuf},
};

pub(super) fn create_folder(path: &Path) -> Result<(), ExperimentError> {
    let error = |source| ExperimentError::Folder { path: path.to_owned(), source };
    std::fs::create_dir_all(path).map_err(error)
}

/// The folder of a run, or of a given checkpoint.
pub(super) fn run_dir(out: &Path, name: &str, seed: Option<u64>) -> PathBuf {
    let folder = seed.map_or_else(|| name.to_owned(), |seed| format!("{name}-seed{seed}"));
    out.join("runs").join(folder)
}

/// Whether the folder already holds this run, unfinished or finished.
pub(super) fn resumes(settings: &TrainConfig, run_dir: &Path) -> Result<bool, ExperimentError> {
    let text = match std::fs::read_to_string(run_dir.join("config.toml")) {
        Ok(text) => text,
        Err(_) => return Ok(false),
    };
    let same =
        text.parse::<toml::Table>().ok().and_then(|table| table.try_into::<TrainConfig>().ok());
    let mut settings = settings.clone();
    if let Some(same) = &same {
        // A run writes down what was left out, and what the data decided when it began.
        let AugmentConfig { flip, crop, padding, .. } = settings.augment;
        let padding = if settings.augment.is_auto() { same.augment.padding } else { padding };
        let (flip, crop) = (flip.or(same.augment.flip), crop.or(same.augment.crop));
        settings.augment = AugmentConfig { flip, crop, padding, ..settings.augment };
    }
    if same.as_ref() != Some(&settings) {
        return Err(ExperimentError::OtherRun { path: run_dir.to_owned() });
    }
    Ok(true)
}

pub(super) fn write_json(
    path: &Path,
    value: &impl serde::Serialize,
) -> Result<(), ExperimentError> {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    Ok(write_atomic(path, |file| writeln!(file, "{text}"))?)
}

/// A checkpoint and its hash.
pub(super) fn load(path: &Path) -> Result<(Checkpoint, String), ExperimentError> {
    Ok(Checkpoint::load_with_hash(path)?)
}
