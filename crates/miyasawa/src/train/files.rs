//! The files of a run's folder.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `config.toml` | the configuration, every value written out |
//! | `model.safetensors` | the model to use: the averaged parameters at the newest checkpoint |
//! | `best.safetensors` | the same at the best evaluation |
//! | `checkpoints/step-NNNNNNNN.safetensors` | the last states to resume from ([`super::state`]) |
//! | `metrics.jsonl` | a line for every step, evaluation and return to an earlier state |
//! | `curves.png` | losses, accuracy and PSNR so far |
//! | `samples.png` | noisy, denoised, clean |
//! | `origin.toml` | the folder in which the run was started, where its relative paths begin |
//! | `lock` | the number of the process that works here; locked as long as it lives |

use super::{config::ConfigError, error::TrainError, state::TrainState};
use crate::atomic::write_atomic;
use crate::checkpoint::{Checkpoint, CheckpointError, DataInfo};
use serde::{Deserialize, Serialize};
use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

/// When checkpoints are written, and how many stay. An evaluation always writes one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CheckpointConfig {
    /// Steps between checkpoints; left out, `minutes` decides alone.
    pub every: Option<u64>,
    /// Minutes after which one is written; 0 for no such limit. When it is written changes nothing
    /// in the run.
    pub minutes: f64,
    /// This many of the newest stay.
    pub keep_last: usize,
    /// Whether the model of the best evaluation is kept as `best.safetensors`: by accuracy, or by
    /// PSNR where `loss.ce_weight` is 0, in the mean over the noise levels.
    pub keep_best: bool,
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        Self { every: None, minutes: 10.0, keep_last: 3, keep_best: true }
    }
}

impl CheckpointConfig {
    /// Checks the values.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let wrong = |key, found: String, expected| Err(ConfigError::Value { key, found, expected });
        if self.every == Some(0) {
            return wrong("checkpoint.every", "0".into(), "at least 1");
        }
        if self.minutes.is_nan() || self.minutes < 0.0 {
            return wrong("checkpoint.minutes", format!("{:?}", self.minutes), "0 or more");
        }
        if self.keep_last == 0 {
            return wrong("checkpoint.keep_last", "0".into(), "at least 1");
        }
        Ok(())
    }
}

/// The folder of the checkpoints in a run's folder.
const CHECKPOINTS: &str = "checkpoints";
/// The model to use.
const MODEL: &str = "model.safetensors";
/// Where earlier versions kept the only state.
const OLD_STATE: &str = "state.safetensors";

/// The paths of a run's files, and the right to write them.
#[derive(Debug)]
pub(super) struct RunFiles {
    dir: PathBuf,
    /// Locked until it is closed, by us or by our end.
    _lock: File,
}

fn folder(path: &Path) -> impl Fn(std::io::Error) -> TrainError {
    move |source| TrainError::Folder { path: path.to_owned(), source }
}

/// The checkpoints of a run's folder by step, the newest first.
fn checkpoints(dir: &Path) -> Result<Vec<(u64, PathBuf)>, TrainError> {
    let dir = dir.join(CHECKPOINTS);
    let entries = match std::fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) if error.kind() == ErrorKind::NotADirectory => return Ok(Vec::new()),
        Err(error) => return Err(folder(&dir)(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(folder(&dir))?;
        let name = entry.file_name();
        let step =
            name.to_str().and_then(|name| name.strip_prefix("step-")?.strip_suffix(".safetensors"));
        if let Some(step) = step.and_then(|step| step.parse().ok()) {
            found.push((step, entry.path()));
        }
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    Ok(found)
}

/// Where a run was started.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Origin {
    /// How many folders above the run's own, if it lies below; so that both can move together.
    above: Option<usize>,
    /// Its path.
    folder: Option<PathBuf>,
}

/// The file that names it.
const ORIGIN: &str = "origin.toml";

/// The folders in which relative paths of a run's configuration may begin, the likeliest first:
/// where it was started, as seen from the run's folder, and by its path. None of a run of an
/// earlier version.
pub fn origins(dir: &Path) -> Vec<PathBuf> {
    let text = std::fs::read_to_string(dir.join(ORIGIN)).unwrap_or_default();
    let Origin { above, folder } = toml::from_str(&text).unwrap_or_default();
    let above = above.and_then(|n| Some(dir.canonicalize().ok()?.ancestors().nth(n)?.to_owned()));
    above.into_iter().chain(folder).filter(|folder| folder.is_dir()).collect()
}

/// Whether a folder holds a checkpoint that a run can go on from.
///
/// # Errors
/// If the folder cannot be read.
pub fn has_checkpoint(dir: &Path) -> Result<bool, TrainError> {
    Ok(dir.join(OLD_STATE).exists() || !checkpoints(dir)?.is_empty())
}

/// Whether there is something that a new run would take the place of.
fn holds_run(dir: &Path) -> Result<bool, TrainError> {
    Ok(dir.join(MODEL).exists() || has_checkpoint(dir)?)
}

/// Removes the files that a process left half-written when it was killed. We hold the lock: nobody
/// writes them.
fn remove_partial(dir: &Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with('.') && name.ends_with(".partial")) {
            // They are in nobody's way if this fails.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn lock(dir: &Path) -> Result<File, TrainError> {
    let path = dir.join("lock");
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = open.map_err(folder(&path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let pid = std::fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
            return Err(TrainError::Locked { dir: dir.to_owned(), pid });
        }
        // Some network file systems know no locks.
        Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => {
            tracing::warn!(
                "{}: locks are not supported here: two runs would not notice each other",
                path.display()
            );
        }
        Err(TryLockError::Error(error)) => return Err(folder(&path)(error)),
    }
    file.set_len(0).and_then(|()| write!(file, "{}", std::process::id())).map_err(folder(&path))?;
    Ok(file)
}

impl RunFiles {
    /// The files of a folder for a new run, or for one that goes on.
    ///
    /// # Errors
    /// If the folder holds a run, or none, where the other is asked for; if another process works
    /// in it; if it cannot be written.
    pub fn open(dir: &Path, resume: bool) -> Result<Self, TrainError> {
        // Nothing is made where nothing is to be resumed.
        if resume && !dir.join("config.toml").exists() && !holds_run(dir)? {
            return Err(TrainError::NothingToResume(dir.to_owned()));
        }
        let inner = dir.join(CHECKPOINTS);
        std::fs::create_dir_all(dir).map_err(folder(dir))?;
        let files = Self { dir: dir.to_owned(), _lock: lock(dir)? };
        std::fs::create_dir_all(&inner).map_err(folder(&inner))?;
        if !resume && holds_run(dir)? {
            let dir = dir.to_owned();
            return Err(if has_checkpoint(&dir)? {
                TrainError::Exists(dir)
            } else {
                TrainError::NoCheckpoint(dir)
            });
        }
        remove_partial(dir);
        remove_partial(&inner);
        Ok(files)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), TrainError> {
        Ok(write_atomic(&self.path(name), |file| file.write_all(bytes))?)
    }

    /// Writes down where relative paths begin: in the folder that the process works in.
    pub fn write_origin(&self) -> Result<(), TrainError> {
        let folder = std::env::current_dir().ok();
        let below = |folder: &PathBuf| {
            let inside = self.dir.canonicalize().ok()?;
            Some(inside.strip_prefix(folder.canonicalize().ok()?).ok()?.components().count())
        };
        let above = folder.as_ref().and_then(below);
        // A path that is no text can't be written down.
        let folder = folder.filter(|folder| folder.to_str().is_some());
        let text = toml::to_string(&Origin { above, folder }).unwrap_or_default();
        self.write(
            ORIGIN,
            format!("# Where relative paths of config.toml begin.\n{text}").as_bytes(),
        )
    }

    /// Writes a checkpoint, then removes what is older than the last `keep`, and what is newer: a
    /// run that was taken back to here has left those behind.
    pub fn save_state(&self, state: &TrainState, keep: usize) -> Result<PathBuf, TrainError> {
        let step = state.now.step;
        let path = self.dir.join(CHECKPOINTS).join(format!("step-{step:08}.safetensors"));
        state.save(&path)?;
        let (newer, own): (Vec<_>, Vec<_>) =
            checkpoints(&self.dir)?.into_iter().partition(|(of, _)| *of > step);
        for (_, path) in newer.into_iter().chain(own.into_iter().skip(keep)) {
            if let Err(error) = std::fs::remove_file(&path) {
                tracing::warn!("{}: cannot be removed: {error}", path.display());
            }
        }
        Ok(path)
    }

    /// The newest state that is intact; none if no state was ever written. Those that are damaged
    /// are passed over with a warning.
    ///
    /// # Errors
    /// If there are states and none of them is intact; if there is a model and no state, which a
    /// new run would replace.
    pub fn newest_state(&self) -> Result<Option<(TrainState, PathBuf)>, TrainError> {
        let mut paths: Vec<PathBuf> =
            checkpoints(&self.dir)?.into_iter().map(|(_, path)| path).collect();
        paths.extend(Some(self.path(OLD_STATE)).filter(|path| path.exists()));
        let (count, mut first) = (paths.len(), None);
        for path in paths {
            match TrainState::load(&path) {
                Ok(state) => return Ok(Some((state, path))),
                Err(error) => {
                    if count > 1 {
                        tracing::warn!("{error}: passed over");
                    }
                    first.get_or_insert(error);
                }
            }
        }
        match first {
            Some(first) => Err(TrainError::NoUsableState {
                dir: self.dir.clone(),
                count,
                first: Box::new(first),
            }),
            None if self.path(MODEL).exists() => Err(TrainError::NoCheckpoint(self.dir.clone())),
            None => Ok(None),
        }
    }

    /// Whether the model that is there is intact, at least as far as `step`, and has this
    /// description of its data.
    pub fn has_model_of(&self, step: u64, data: &DataInfo) -> bool {
        match Checkpoint::load(&self.path(MODEL)) {
            Ok(model) => model.info.training.steps >= step && model.info.data == *data,
            Err(CheckpointError::Read { .. }) => false,
            Err(error) => {
                tracing::warn!("{error}: it is written again");
                false
            }
        }
    }
}

/// Removes the checkpoints and the model of the run in a folder, if there is one, so that another
/// can start there.
///
/// ```
/// use miyasawa::train::{discard_run, has_checkpoint};
///
/// let dir = tempfile::tempdir()?;
/// assert!(!has_checkpoint(dir.path())?);
/// discard_run(dir.path())?; // nothing there, nothing done
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If another process works in the folder, or a file cannot be removed.
pub fn discard_run(dir: &Path) -> Result<(), TrainError> {
    if !holds_run(dir)? {
        return Ok(());
    }
    let _lock = lock(dir)?;
    let others =
        [OLD_STATE, MODEL].map(|name| dir.join(name)).into_iter().filter(|path| path.exists());
    for path in checkpoints(dir)?.into_iter().map(|(_, path)| path).chain(others) {
        std::fs::remove_file(&path).map_err(folder(&path))?;
    }
    Ok(())
}
