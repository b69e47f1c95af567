//! A run's `metrics.jsonl`: a line for every step, and one for every event.
//!
//! Every line has a field `time`: when it was written, in seconds since 1970 (UTC). Nothing reads
//! it: what a run becomes does not depend on the clock.
//!
//! A checkpoint knows how many lines the file had. A resumed run cuts it there, so that every step
//! stands in it once, whatever was written after the checkpoint and however it was cut off.

use super::{
    config::TrainConfig, error::TrainError, observer::BestEvaluation, tensorboard::EventFile,
};
use crate::atomic::write_atomic;
use crate::checkpoint::ModelInfo;
use crate::eval::EvalRow;
use crate::model::Kind;
use serde_json::Value;
use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

/// A line and when it was written.
#[derive(serde::Serialize)]
struct Stamped<'a, T> {
    #[serde(flatten)]
    line: &'a T,
    time: f64,
}

/// Lines of steps that are read for the curves: more cannot be seen.
const MOST_LINES: usize = 20_000;

/// The run's log: every line is on the disk's side of the process when it is reported.
pub(super) struct Log {
    kept: Kept,
    lines: u64,
    events: Option<EventFile>,
}

/// Where the lines are.
enum Kept {
    File(File, PathBuf),
    /// The events alone, each with its line's number: of steps nothing is read again.
    Memory(Vec<(u64, Value)>),
}

impl Log {
    /// Opens the log for appending after dropping what does not belong to the first `step` steps:
    /// all after the first `cut` lines, or where those are not known, the lines of other steps. The
    /// evaluation of step `step` itself is kept.
    pub fn open(path: &Path, cut: Option<u64>, step: u64) -> Result<Self, TrainError> {
        let wrong = |source| TrainError::Folder { path: path.to_owned(), source };
        let known = match cut {
            Some(cut) => kept(path, cut, step).map_err(wrong)?,
            None => None,
        };
        let (lines, bytes) = match known {
            Some(known) => known,
            None => filter(path, step)?,
        };
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(wrong)?;
        file.set_len(bytes).map_err(wrong)?;
        Ok(Self { kept: Kept::File(file, path.to_owned()), lines, events: None })
    }

    /// The log, with an event file of TensorBoard beside it.
    pub fn with_events(mut self) -> Result<Self, TrainError> {
        if let Kept::File(_, path) = &self.kept {
            self.events = Some(EventFile::beside(path)?);
        }
        Ok(self)
    }

    /// The log of a run without a folder.
    pub fn in_memory() -> Self {
        Self { kept: Kept::Memory(Vec::new()), lines: 0, events: None }
    }

    /// Lines so far.
    pub fn len(&self) -> u64 {
        self.lines
    }

    /// Appends a line.
    pub fn push(&mut self, line: &impl serde::Serialize) -> Result<(), TrainError> {
        let (file, path) = match &mut self.kept {
            Kept::File(file, path) => (file, path),
            Kept::Memory(events) => {
                let line = serde_json::to_value(line).unwrap_or_default();
                if line.get("event").is_some() {
                    events.push((self.lines, line));
                }
                self.lines += 1;
                return Ok(());
            }
        };
        let wrong = |source| TrainError::Folder { path: path.clone(), source };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let line = Stamped { line, time: now.as_millis() as f64 / 1e3 };
        let mut text = serde_json::to_string(&line).map_err(|e| wrong(e.into()))?;
        text.push('\n');
        file.write_all(text.as_bytes()).map_err(wrong)?;
        self.lines += 1;
        self.events.as_mut().map_or(Ok(()), |events| events.push(&text))
    }

    /// Drops what was written after the first `lines` lines.
    pub fn truncate(&mut self, lines: u64) -> Result<(), TrainError> {
        let (file, path) = match &mut self.kept {
            Kept::File(file, path) => (file, path),
            Kept::Memory(events) => {
                events.retain(|(number, _)| *number < lines);
                self.lines = lines;
                return Ok(());
            }
        };
        let wrong = |source| TrainError::Folder { path: path.clone(), source };
        let mut read = BufReader::new(File::open(&*path).map_err(wrong)?);
        if let Some(bytes) = skip_lines(&mut read, lines).map_err(wrong)? {
            file.set_len(bytes).map_err(wrong)?;
            self.lines = lines;
            if self.events.is_some() {
                self.events = Some(EventFile::beside(path)?);
            }
        }
        Ok(())
    }

    /// Waits until the lines are on the disk.
    pub fn sync(&self) -> Result<(), TrainError> {
        let Kept::File(file, path) = &self.kept else { return Ok(()) };
        file.sync_data().map_err(|source| TrainError::Folder { path: path.clone(), source })
    }

    /// The lines so far; of very many steps some, evenly spaced, and every event.
    pub fn lines(&self) -> Result<Vec<Value>, TrainError> {
        let path = match &self.kept {
            Kept::File(_, path) => path,
            Kept::Memory(events) => {
                return Ok(events.iter().map(|(_, line)| line.clone()).collect());
            }
        };
        let wrong = |source| TrainError::Folder { path: path.clone(), source };
        let open = || File::open(path).map(BufReader::new).map_err(wrong);
        let stride = open()?.lines().count().div_ceil(MOST_LINES).max(1);
        let mut lines = Vec::new();
        for (i, line) in open()?.lines().enumerate() {
            let line = line.map_err(wrong)?;
            if i % stride == 0 || line.contains("\"event\"") {
                lines.extend(serde_json::from_str::<Value>(&line).ok());
            }
        }
        Ok(lines)
    }

    /// The evaluations so far: step and rows.
    pub fn evaluations(&self) -> Result<Vec<(u64, Vec<EvalRow>)>, TrainError> {
        let lines = self.lines()?.into_iter().filter(|line| line["event"] == "eval");
        let read = |mut line: Value| {
            Some((line["step"].as_u64()?, serde_json::from_value(line["rows"].take()).ok()?))
        };
        Ok(lines.filter_map(read).collect())
    }
}

/// Bytes of the first `lines` lines; nothing if there are fewer.
fn skip_lines(file: &mut impl BufRead, lines: u64) -> io::Result<Option<u64>> {
    let (mut bytes, mut line) = (0, Vec::new());
    for _ in 0..lines {
        line.clear();
        bytes += file.read_until(b'\n', &mut line)? as u64;
        if !line.ends_with(b"\n") {
            return Ok(None);
        }
    }
    Ok(Some(bytes))
}

/// How much of the log belongs to `step`, in lines and bytes, given that the first `cut` lines do.
/// Nothing if the file was changed by others so that it has not as many.
fn kept(path: &Path, cut: u64, step: u64) -> io::Result<Option<(u64, u64)>> {
    let mut file = match File::open(path) {
        Ok(file) => BufReader::new(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok((cut == 0).then_some((0, 0)));
        }
        Err(error) => return Err(error),
    };
    let Some(bytes) = skip_lines(&mut file, cut)? else { return Ok(None) };
    let mut next = Vec::new();
    file.read_until(b'\n', &mut next)?;
    let line: Option<Value> =
        next.strip_suffix(b"\n").and_then(|line| serde_json::from_slice(line).ok());
    let evaluation = line.is_some_and(|line| line["event"] == "eval" && line["step"] == step);
    Ok(Some(if evaluation { (cut + 1, bytes + next.len() as u64) } else { (cut, bytes) }))
}

/// Writes the log anew without lines of steps after `step`; its lines and bytes then.
fn filter(path: &Path, step: u64) -> Result<(u64, u64), TrainError> {
    let (mut text, mut lines) = (String::new(), 0);
    if let Ok(file) = File::open(path) {
        for line in BufReader::new(file).lines().map_while(Result::ok) {
            let value = serde_json::from_str::<Value>(&line).ok();
            if value.is_some_and(|value| value["step"].as_u64().is_some_and(|of| of <= step)) {
                text.push_str(&line);
                text.push('\n');
                lines += 1;
            }
        }
    }
    write_atomic(path, |file| file.write_all(text.as_bytes()))?;
    Ok((lines, text.len() as u64))
}

/// How good an evaluation is, larger is better, rounded to what survives being written and read:
/// the mean over the noise levels of accuracy, or of PSNR where classes are not learned.
pub(super) fn score(rows: &[EvalRow], config: &TrainConfig) -> f64 {
    let classes = config.loss_weights()[0] > 0.0;
    let value = |row: &EvalRow| if classes { row.accuracy.or(row.psnr) } else { row.psnr };
    (mean(rows, value).unwrap_or(0.0) * SCORE).round()
}

/// Scores are whole numbers of this part of a share or decibel.
const SCORE: f64 = 1e9;

/// The mean over the noise levels that have a value.
fn mean(rows: &[EvalRow], value: impl Fn(&EvalRow) -> Option<f64>) -> Option<f64> {
    let values: Vec<f64> = rows.iter().filter_map(value).collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The evaluation whose model is kept as `best.safetensors`, beside the last one.
pub(super) fn best_evaluation(
    evaluations: &[(u64, Vec<EvalRow>)],
    config: &TrainConfig,
) -> Option<BestEvaluation> {
    let (_, last) = evaluations.last()?;
    let best = best(evaluations, config)?;
    // The first of equal ones is kept.
    let (step, rows) = evaluations.iter().find(|(_, rows)| score(rows, config) == best)?;
    let by_accuracy =
        config.loss_weights()[0] > 0.0 && rows.iter().any(|row| row.accuracy.is_some());
    Some(BestEvaluation {
        step: *step,
        by_accuracy,
        score: best / SCORE,
        last: score(last, config) / SCORE,
    })
}

/// The losses on the test part, in the mean over the noise levels: cross-entropy, and score
/// matching as in training.
pub(super) fn test_losses(rows: &[EvalRow], info: &ModelInfo) -> [Option<f64>; 2] {
    let variance = info.data.std.powi(2);
    let blind = info.network.kind() == Kind::GradResNet && info.network.is_blind();
    let matching = |row: &EvalRow| {
        let noise = row.sigma.powi(2);
        let weight = if blind { 1.0 / noise } else { (variance + noise) / (variance * noise) };
        row.mse.map(|mse| weight * mse).filter(|loss| loss.is_finite())
    };
    [mean(rows, |row| row.nll), mean(rows, matching)]
}

/// The best score of the evaluations.
pub(super) fn best(evaluations: &[(u64, Vec<EvalRow>)], config: &TrainConfig) -> Option<f64> {
    evaluations.iter().map(|(_, rows)| score(rows, config)).max_by(f64::total_cmp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn written(lines: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        std::fs::write(&path, lines).unwrap();
        (dir, path)
    }

    const LINES: &str = "{\"step\":1}\n{\"step\":2}\n\
                         {\"event\":\"eval\",\"step\":2,\"rows\":[]}\n\
                         {\"step\":3}\n{\"st";

    #[test]
    fn what_belongs_to_the_step_is_kept() {
        let with_eval = LINES.find("{\"step\":3").unwrap();
        // The lines at the checkpoint, without and with the evaluation, not known, and more than
        // there are.
        for cut in [Some(2), Some(3), None, Some(5), Some(10_000)] {
            let (_dir, path) = written(LINES);
            let mut log = Log::open(&path, cut, 2).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), LINES[..with_eval], "{cut:?}");
            log.push(&json!({ "step": 3, "loss": 1 })).unwrap();
            log.sync().unwrap();
            assert_eq!((log.len(), log.lines().unwrap().len()), (4, 4));
            assert_eq!(log.evaluations().unwrap(), [(2, Vec::new())]);
            log.truncate(2).unwrap();
            log.push(&json!({ "event": "rollback", "step": 2 })).unwrap();
            assert_eq!(log.len(), 3);
            assert_eq!(log.lines().unwrap()[2]["event"], "rollback");
        }
        let (_dir, path) = written(LINES);
        Log::open(&path, Some(1), 1).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"step\":1}\n");
    }

    #[test]
    fn a_new_log_is_empty() {
        let (_dir, path) = written(LINES);
        assert_eq!(Log::open(&path, None, 0).unwrap().len(), 0);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(Log::open(&path, Some(0), 0).unwrap().len(), 0);
    }
}
