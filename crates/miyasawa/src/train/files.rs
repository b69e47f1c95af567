//! The files of a run's folder.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `config.toml` | the configuration, every value written out |
//! | `model.safetensors` | the model to use: the averaged parameters at the last evaluation |
//! | `state.safetensors` | what a resumed run goes on from: parameters, moments and average |
//! | `metrics.jsonl` | a line for every step and for every evaluation |
//! | `curves.png` | losses, accuracy and PSNR so far |
//! | `samples.png` | noisy, denoised, clean |

use super::run::TrainError;
use crate::atomic::write_atomic;
use crate::checkpoint::{Checkpoint, ModelInfo};
use crate::model::params::ParamMap;
use burn::tensor::TensorData;
use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
};

/// The paths of a run's files.
#[derive(Clone, Debug)]
pub(super) struct RunFiles {
    dir: PathBuf,
}

/// What a resumed run goes on from.
#[derive(Clone, Debug)]
pub struct TrainState {
    /// Optimiser steps taken.
    pub step: u64,
    /// Parameters by name.
    pub params: ParamMap,
    /// The optimiser's state by `part.parameter`.
    pub optimizer: BTreeMap<String, TensorData>,
}

/// Prefix of the parameters in the state's file.
const PARAM: &str = "param.";

impl RunFiles {
    /// The files of a folder that may not be there yet.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Makes the folder.
    pub fn create(&self) -> Result<(), TrainError> {
        std::fs::create_dir_all(&self.dir)
            .map_err(|source| TrainError::Folder { path: self.dir.clone(), source })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), TrainError> {
        Ok(write_atomic(&self.path(name), |file| file.write_all(bytes))?)
    }

    pub fn has_state(&self) -> bool {
        self.path("state.safetensors").exists()
    }

    /// The state goes into a checkpoint's form, so that a damaged byte is noticed.
    pub fn save_state(&self, info: &ModelInfo, state: &TrainState) -> Result<(), TrainError> {
        let mut params = state.optimizer.clone();
        params.extend(state.params.iter().map(|(name, data)| (format!("{PARAM}{name}"), data.clone())));
        let mut info = info.clone();
        info.training.steps = state.step;
        Ok(Checkpoint { info, params }.save(&self.path("state.safetensors"))?)
    }

    pub fn load_state(&self) -> Result<TrainState, TrainError> {
        let checkpoint = Checkpoint::load(&self.path("state.safetensors"))?;
        let (mut params, mut optimizer) = (ParamMap::new(), BTreeMap::new());
        for (name, data) in checkpoint.params {
            match name.strip_prefix(PARAM) {
                Some(name) => params.insert(name.to_owned(), data),
                None => optimizer.insert(name, data),
            };
        }
        Ok(TrainState { step: checkpoint.info.training.steps, params, optimizer })
    }

    /// Opens the log for appending after dropping the lines of steps after `step`, which a resumed run
    /// takes again.
    pub fn log(&self, step: u64) -> Result<Log, TrainError> {
        let path = self.path("metrics.jsonl");
        let mut lines = Vec::new();
        if let Ok(file) = File::open(&path) {
            for line in BufReader::new(file).lines().map_while(Result::ok) {
                let Ok(value) = serde_json::from_str::<serde_json::Value>(&line) else { continue };
                if value["step"].as_u64().is_some_and(|s| s <= step) {
                    lines.push(value);
                }
            }
        }
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        self.write("metrics.jsonl", text.as_bytes())?;
        let file = OpenOptions::new()
            .append(true)
            .open(&path)
            .map_err(|source| TrainError::Folder { path: path.clone(), source })?;
        Ok(Log { file, path, lines })
    }
}

/// The run's log: every line is on the disk's side of the process when it is reported.
pub(super) struct Log {
    file: File,
    path: PathBuf,
    /// All lines so far, for the curves.
    pub lines: Vec<serde_json::Value>,
}

impl Log {
    pub fn push(&mut self, line: serde_json::Value) -> Result<(), TrainError> {
        writeln!(self.file, "{line}")
            .map_err(|source| TrainError::Folder { path: self.path.clone(), source })?;
        self.lines.push(line);
        Ok(())
    }
}
