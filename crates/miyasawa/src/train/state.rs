//! A run's checkpoint: everything that training goes on from.
//!
//! A safetensors file as [`crate::checkpoint`] writes it. Beside the model's description its
//! metadata holds the entry `state` (JSON): the run's configuration, what recoveries did, and for
//! the state now and, where that is another one, the last good one: the step, the running bound and
//! how many lines of metrics.jsonl belong to it. The tensors are `param.NAME`, the optimiser's
//! `first.NAME`, `second.NAME`, `average.NAME`, and the same with `good.` before them.
//!
//! There is no state of a random generator: order, augmentation and noise are functions of the seed
//! and of the batch's number, which is the step and the batches that recoveries skipped.

use super::divergence::{LossBound, bits};
use crate::atomic::write_atomic;
use crate::checkpoint::{BUFFER, CheckpointError, Content, ModelInfo, Opened, PARAM, STATE};
use crate::model::params::ParamMap;
use burn::tensor::TensorData;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::Path};

/// Prefix of the last good state's tensors.
const GOOD: &str = "good.";

/// What the returns to earlier states changed for good.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recovery {
    /// How often the run returned to an earlier state.
    pub rollbacks: u32,
    /// What the learning rate is multiplied by since.
    #[serde(with = "bits")]
    pub lr_factor: f64,
    /// Batches that were passed over: step `s` takes batch `s + skipped`.
    pub skipped: u64,
}

impl Default for Recovery {
    fn default() -> Self {
        Self { rollbacks: 0, lr_factor: 1.0, skipped: 0 }
    }
}

/// A point of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedPoint {
    /// Optimiser steps taken.
    pub step: u64,
    /// The running bound.
    pub loss_bound: LossBound,
    /// Lines of metrics.jsonl up to here, where it is known.
    pub log: Option<u64>,
    /// Parameters by name.
    pub params: ParamMap,
    /// The optimiser's state by `part.parameter`.
    pub optimizer: BTreeMap<String, TensorData>,
}

/// What a resumed run goes on from.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainState {
    /// What the model is.
    pub info: ModelInfo,
    /// The configuration of the run so far, as TOML; empty in a file of an earlier version.
    pub config: String,
    /// What recoveries changed.
    pub recovery: Recovery,
    /// Where the run is.
    pub now: SavedPoint,
    /// Where it would return to; `now` if there is none.
    pub good: Option<SavedPoint>,
    /// The line that the log gets next: of the return that led here.
    pub event: Option<serde_json::Value>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    config: String,
    recovery: Recovery,
    now: PointHeader,
    good: Option<PointHeader>,
    event: Option<serde_json::Value>,
}

#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct PointHeader {
    step: u64,
    #[serde(rename = "guard")]
    loss_bound: LossBound,
    log: Option<u64>,
}

impl SavedPoint {
    fn header(&self) -> PointHeader {
        PointHeader { step: self.step, loss_bound: self.loss_bound, log: self.log }
    }

    fn new(header: PointHeader, tensors: BTreeMap<String, TensorData>) -> Self {
        let PointHeader { step, loss_bound, log } = header;
        let (mut params, mut optimizer) = (ParamMap::new(), BTreeMap::new());
        for (name, data) in tensors {
            match name.strip_prefix(PARAM) {
                Some(name) => params.insert(name.to_owned(), data),
                None => optimizer.insert(name, data),
            };
        }
        Self { step, loss_bound, log, params, optimizer }
    }

    fn add_to<'s>(&'s self, content: &mut Content<'s>, prefix: &str) -> Result<(), String> {
        for (name, data) in &self.params {
            content.add(format!("{prefix}{PARAM}{name}"), data)?;
        }
        self.optimizer
            .iter()
            .try_for_each(|(name, data)| content.add(format!("{prefix}{name}"), data))
    }
}

impl TrainState {
    fn content(&self) -> Result<Content<'_>, String> {
        let (now, good) = (self.now.header(), self.good.as_ref().map(SavedPoint::header));
        let (config, event) = (self.config.clone(), self.event.clone());
        let header = Header { config, recovery: self.recovery, now, good, event };
        let mut content = Content::default();
        content
            .entries
            .insert("info", serde_json::to_string(&self.info).map_err(|e| e.to_string())?);
        content.entries.insert(STATE, serde_json::to_string(&header).map_err(|e| e.to_string())?);
        self.now.add_to(&mut content, "")?;
        if let Some(good) = &self.good {
            good.add_to(&mut content, GOOD)?;
        }
        Ok(content)
    }

    /// Writes to a sibling of `path`, then renames it.
    ///
    /// # Errors
    /// If the file cannot be written; nothing is left half-written then.
    pub fn save(&self, path: &Path) -> Result<(), CheckpointError> {
        let content = self
            .content()
            .map_err(|found| CheckpointError::Format { path: path.to_owned(), found })?;
        Ok(write_atomic(path, |file| content.write(file))?)
    }

    /// Reads a state and checks its hash. A file without the entry `state` is one of an earlier
    /// version, in which the tensors alone stood.
    ///
    /// # Errors
    /// If the file cannot be read, is not a run's checkpoint, or is damaged.
    pub fn load(path: &Path) -> Result<Self, CheckpointError> {
        let bytes = std::fs::read(path)
            .map_err(|source| CheckpointError::Read { path: path.to_owned(), source })?;
        Self::from_bytes(&bytes, path)
    }

    /// The file's bytes.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        self.content()?.write(&mut bytes).map_err(|e| e.to_string())?;
        Ok(bytes)
    }

    /// As [`load`](Self::load), from a file's bytes; `path` is for messages.
    pub(super) fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self, CheckpointError> {
        let file = Opened::new(bytes, path)?;
        let format = |found: String| CheckpointError::Format { path: path.to_owned(), found };
        let info = ModelInfo::read(&file, path)?;
        let header = if file.has(STATE) {
            let text = file.entry(STATE, path)?;
            serde_json::from_str(text).map_err(|e| format(format!("the entry '{STATE}': {e}")))?
        } else {
            let now = PointHeader { step: info.training.steps, ..PointHeader::default() };
            Header {
                config: String::new(),
                recovery: Recovery::default(),
                now,
                good: None,
                event: None,
            }
        };
        header.validate().map_err(format)?;
        let (mut of_now, mut of_good) = (BTreeMap::new(), BTreeMap::new());
        for (name, data) in file.floats(path)?.into_iter().filter(|(name, _)| name != BUFFER) {
            match name.strip_prefix(GOOD) {
                Some(name) => of_good.insert(name.to_owned(), data),
                None => of_now.insert(name, data),
            };
        }
        let Header { config, recovery, now, good, event } = header;
        let good = good.map(|good| SavedPoint::new(good, of_good));
        Ok(Self { info, config, recovery, now: SavedPoint::new(now, of_now), good, event })
    }
}

impl Header {
    /// Checks the values, which may come from any file.
    fn validate(&self) -> Result<(), String> {
        let factor = self.recovery.lr_factor;
        if !(factor > 0.0 && factor <= 1.0) {
            return Err(format!(
                "the learning rate's factor is {factor}, expected above 0, at most 1"
            ));
        }
        let good = self.good.unwrap_or_default();
        if good.step > self.now.step {
            return Err(format!(
                "the last good step is {}, after the state's own {}",
                good.step, self.now.step
            ));
        }
        if !(self.now.loss_bound.is_sound() && good.loss_bound.is_sound()) {
            return Err("the running bound is not made of finite numbers".to_owned());
        }
        Ok(())
    }
}
