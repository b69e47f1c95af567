//! The results of an attack so far, image by image, in a file to which lines are appended.

use crate::ranks;
use crate::ranks::RanksError;
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

/// One finished task: one attack stage on one image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Line {
    pub eps: f64,
    pub stage: String,
    #[serde(rename = "picture")]
    pub image: usize,
    /// Whether the image is misclassified after this stage; for the stage `clean`, before any
    /// attack.
    #[serde(rename = "broken")]
    pub misclassified: bool,
    /// Time for this image in seconds: its share of the time of its batch.
    #[serde(default)]
    pub seconds: f64,
    /// For the stage `clean`: the digest of the image, to detect other data of the same name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// Why an attack ended without a result.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file could not be read or written.
    #[error("{path}: cannot be {what}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// "read" or "written".
        what: &'static str,
        /// The cause.
        source: std::io::Error,
    },
    /// Rank 0, which keeps the file, could not open it.
    #[error("rank 0 could not open the journal")]
    Unopened,
    /// Another rank has ended.
    #[error(transparent)]
    Ranks(#[from] RanksError),
    /// The monitor stopped the attack; the journal holds what was done, and the attack goes on with
    /// it.
    #[error("the attack was stopped")]
    Stopped,
    /// The file is of another attack.
    #[error(
        "{path}: is the journal of the attack {found}, expected {expected}",
        path = path.display()
    )]
    Other {
        /// The file.
        path: PathBuf,
        /// The header of this attack.
        expected: String,
        /// The header in the file.
        found: String,
    },
    /// The file is the journal of an attack on other images in data of the same name.
    #[error(
        "{path}: is the journal of other data: image {image} has the digest {found}, expected \
         {expected}",
        path = path.display()
    )]
    Images {
        /// The file.
        path: PathBuf,
        /// Index of the first image that differs.
        image: usize,
        /// The digest of the image in the data.
        expected: String,
        /// The digest in the file.
        found: String,
    },
}

type Key = (u64, String, usize);

/// Finished tasks by eps, stage and image: in memory, and in a file if there is one.
///
/// The first line of the file describes the attack; each further line is one finished task. A line
/// that was cut off when the program ended is skipped, and its task is repeated. Of ranks that work
/// [`together`](crate::ranks::together), rank 0 has the file, and the others what it holds.
#[derive(Debug, Default)]
pub struct Journal {
    done: HashMap<Key, bool>,
    digests: HashMap<usize, String>,
    seconds: f64,
    file: Option<(PathBuf, File)>,
}

fn key(eps: f64, stage: &str, image: usize) -> Key {
    (eps.to_bits(), stage.to_owned(), image)
}

impl Journal {
    /// Creates a journal in memory, without a file.
    pub fn in_memory() -> Self {
        Self::default()
    }

    /// Creates a journal with a new file, which replaces an existing one.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn create(path: &Path, attack: &serde_json::Value) -> Result<Self, JournalError> {
        Self::on_rank_0(|| Ok((Self::new_file(path, attack)?, String::new())))
    }

    /// Opens the journal on rank 0, and gives its lines to the others; the only process opens it.
    fn on_rank_0(
        open: impl FnOnce() -> Result<(Self, String), JournalError>,
    ) -> Result<Self, JournalError> {
        let Some(ranks) = ranks::current() else { return Ok(open()?.0) };
        if ranks.rank() == 0 {
            let found = open();
            let text = found.as_ref().ok().map(|(_, text)| format!("+{text}"));
            ranks.broadcast(text.unwrap_or_default().into_bytes())?;
            return Ok(found?.0);
        }
        let text = ranks.broadcast(Vec::new())?;
        let text = str::from_utf8(&text).ok().and_then(|text| text.strip_prefix('+'));
        let mut journal = Self::in_memory();
        journal.read(text.ok_or(JournalError::Unopened)?.lines());
        Ok(journal)
    }

    fn read<'l>(&mut self, lines: impl Iterator<Item = &'l str>) {
        lines.filter_map(|line| serde_json::from_str(line).ok()).for_each(|line| self.insert(line));
    }

    fn new_file(path: &Path, attack: &serde_json::Value) -> Result<Self, JournalError> {
        let error = |source| JournalError::Io { path: path.to_owned(), what: "written", source };
        let mut file = File::create(path).map_err(error)?;
        writeln!(file, "{attack}").map_err(error)?;
        Ok(Self { file: Some((path.to_owned(), file)), ..Self::default() })
    }

    /// Opens a journal file to continue it, or creates one if there is none.
    ///
    /// # Errors
    /// If it cannot be read or written, or is the journal of another attack.
    pub fn resume(path: &Path, attack: &serde_json::Value) -> Result<Self, JournalError> {
        Self::on_rank_0(|| Self::old_file(path, attack))
    }

    /// The journal of a file, and its lines but for the first.
    fn old_file(path: &Path, attack: &serde_json::Value) -> Result<(Self, String), JournalError> {
        let new = || Ok((Self::new_file(path, attack)?, String::new()));
        if !path.exists() {
            return new();
        }
        let io = |what| move |source| JournalError::Io { path: path.to_owned(), what, source };
        let text = std::fs::read_to_string(path).map_err(io("read"))?;
        // Cut off before the first line was complete: the file holds no result.
        if !text.ends_with('\n') && attack.to_string().starts_with(&text) {
            return new();
        }
        let mut lines = text.lines();
        let found = lines.next().unwrap_or_default();
        if serde_json::from_str::<serde_json::Value>(found).ok().as_ref() != Some(attack) {
            let (expected, found) = (attack.to_string(), found.chars().take(400).collect());
            return Err(JournalError::Other { path: path.to_owned(), expected, found });
        }
        let mut file = OpenOptions::new().append(true).open(path).map_err(io("written"))?;
        if !text.ends_with('\n') {
            writeln!(file).map_err(io("written"))?;
        }
        let mut journal = Self { file: Some((path.to_owned(), file)), ..Self::default() };
        journal.read(lines);
        let (_, lines) = text.split_once('\n').unwrap_or_default();
        Ok((journal, lines.to_owned()))
    }

    fn insert(&mut self, line: Line) {
        self.seconds += line.seconds;
        self.done.insert(key(line.eps, &line.stage, line.image), line.misclassified);
        self.digests.extend(line.digest.map(|digest| (line.image, digest)));
    }

    /// Number of finished tasks.
    pub fn len(&self) -> usize {
        self.done.len()
    }

    /// Whether no task is finished.
    pub fn is_empty(&self) -> bool {
        self.done.is_empty()
    }

    /// Total time of the finished tasks in seconds, over all interrupted and resumed runs.
    pub fn seconds(&self) -> f64 {
        self.seconds
    }

    pub(super) fn get(&self, eps: f64, stage: &str, image: usize) -> Option<bool> {
        self.done.get(&key(eps, stage, image)).copied()
    }

    /// Adds the lines that are not in the journal yet.
    ///
    /// # Errors
    /// If the digest of an image differs from the one in the journal; then nothing is added.
    pub(super) fn add(&mut self, mut lines: Vec<Line>) -> Result<(), JournalError> {
        for line in &lines {
            if let (Some(expected), Some(found)) = (&line.digest, self.digests.get(&line.image))
                && expected != found
            {
                let path = self
                    .file
                    .as_ref()
                    .map_or_else(|| "the journal".into(), |(path, _)| path.clone());
                let (image, expected, found) = (line.image, expected.clone(), found.clone());
                return Err(JournalError::Images { path, image, expected, found });
            }
        }
        lines.retain(|line| {
            self.get(line.eps, &line.stage, line.image) != Some(line.misclassified)
                || line.digest.is_some() && !self.digests.contains_key(&line.image)
        });
        if let Some((path, file)) = &mut self.file {
            let text: String = lines
                .iter()
                .filter_map(|line| serde_json::to_string(line).ok())
                .map(|line| line + "\n")
                .collect();
            file.write_all(text.as_bytes()).map_err(|source| JournalError::Io {
                path: path.clone(),
                what: "written",
                source,
            })?;
        }
        lines.into_iter().for_each(|line| self.insert(line));
        Ok(())
    }
}
