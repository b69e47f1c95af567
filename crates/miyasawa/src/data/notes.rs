//! What was dropped, merged or guessed while a set was listed: counted, and said once with an
//! example.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

/// Why something of a set is not used as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::data) enum Left {
    /// A folder that an operating system or a program keeps for itself.
    Junk,
    /// A name that is not UTF-8.
    BadName,
    /// A link to nothing.
    Dangling,
    /// A link to a folder that is read already.
    Circle,
    /// A folder below too many others.
    TooDeep,
    /// An image outside of the folders that were chosen.
    Elsewhere,
    /// An image in a format that is not read.
    Format(&'static str),
    /// A further image of an example: a mask, another view.
    Second,
    /// A label without an image.
    NoImage,
    /// An entry of a tar that a later one of the same name replaces.
    Replaced,
    /// A tar that is not of the chosen parts.
    OtherTar,
    /// A link in a tar whose target is not in it.
    TarLink,
}

impl Left {
    fn describe(self, count: usize, example: &str) -> String {
        let (one, many) = match self {
            Self::Junk => {
                ("folder that a system keeps for itself", "folders that a system keeps for itself")
            }
            Self::BadName => ("file whose name is not UTF-8", "files whose names are not UTF-8"),
            Self::Dangling => ("link to nothing", "links to nothing"),
            Self::Circle => {
                ("link to a folder that is read already", "links to folders that are read already")
            }
            Self::TooDeep => ("folder that lies too deep", "folders that lie too deep"),
            Self::Elsewhere => {
                ("image outside of these folders", "images outside of these folders")
            }
            Self::Format(name) => {
                return format!("left out {count} {name} {}: {example}", plural("file", count));
            }
            Self::Second => ("further image of an example", "further images of examples"),
            Self::NoImage => ("label without an image", "labels without an image"),
            Self::Replaced => (
                "file of a tar that a later one of the same name replaces",
                "files of a tar that later ones of the same names replace",
            ),
            Self::OtherTar => {
                ("tar file of no part, or of another", "tar files of no part, or of others")
            }
            Self::TarLink => {
                ("link of a tar to what is not in it", "links of a tar to what is not in it")
            }
        };
        let what = if count == 1 { one } else { many };
        format!("left out {count} {what}: {example}")
    }
}

/// The word with an `s` unless there is one.
pub(in crate::data) fn plural(word: &str, count: usize) -> String {
    if count == 1 { word.to_owned() } else { format!("{word}s") }
}

/// What is to be said of a set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::data) struct Notes {
    left: BTreeMap<Left, (usize, String)>,
    lines: BTreeSet<String>,
}

impl Notes {
    /// Counts one that is left out; the first of a kind is the example.
    pub fn left(&mut self, why: Left, example: impl FnOnce() -> String) {
        self.left_many(why, 1, example);
    }

    /// Counts several that are left out for one reason.
    pub fn left_many(&mut self, why: Left, count: usize, example: impl FnOnce() -> String) {
        if count > 0 {
            self.left.entry(why).or_insert_with(|| (0, example())).0 += count;
        }
    }

    /// Anything else.
    pub fn say(&mut self, line: String) {
        self.lines.insert(line);
    }

    /// Adds those of another part of the set.
    pub fn merge(&mut self, other: Self) {
        for (why, (count, example)) in other.left {
            self.left_many(why, count, || example);
        }
        self.lines.extend(other.lines);
    }

    /// A line for each.
    pub fn lines(&self) -> Vec<String> {
        let left = self.left.iter().map(|(why, (count, example))| why.describe(*count, example));
        self.lines.iter().cloned().chain(left).collect()
    }

    /// Warns of each, unless the same was said before in this process: a set is opened for its
    /// parts, and by every run of a comparison.
    pub fn warn(&self, name: &str) {
        static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
        for line in self.lines() {
            let line = format!("{name}: {line}");
            if SAID.lock().unwrap_or_else(PoisonError::into_inner).insert(line.clone()) {
                tracing::warn!("{line}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_counted_and_has_an_example() {
        let mut notes = Notes::default();
        notes.left(Left::Junk, || "a/@eaDir".to_owned());
        let mut other = Notes::default();
        other.left(Left::Junk, || "b/@eaDir".to_owned());
        other.left(Left::Format("HEIC"), || "c.heic".to_owned());
        other.say("read two archives".to_owned());
        notes.merge(other);
        assert_eq!(
            notes.lines(),
            [
                "read two archives",
                "left out 2 folders that a system keeps for itself: a/@eaDir",
                "left out 1 HEIC file: c.heic"
            ]
        );
    }
}
