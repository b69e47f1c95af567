//! Tars in a folder: shards and archives of a set's parts, of its classes, or of all of it.

use std::path::{Path, PathBuf};

use super::folder::{files, folders};
use super::part_names::{self, PartName, quoted};
use super::{archive, class_folders};
use crate::data::error::DataError;
use crate::data::notes::{Left, Notes};
use crate::data::part::Part;
use crate::data::set::content::{FoundSet, SetContent};
use crate::data::set::gzip;

/// The most shards that a range in braces may name.
const MAX_SHARDS: usize = 100_000;

/// What is expected of the names of a folder's tars.
const NAMES: &str = "the shards of one set: names that differ in numbers alone, or hold 'train' \
                     and 'test' or 'val' \
                     (name one file, or several as 'NAME-{000..004}.tar')";

/// The tars of a set's parts.
#[derive(Debug, Default)]
struct Divided {
    train: Vec<PathBuf>,
    test: Vec<PathBuf>,
    notes: Notes,
}

impl Divided {
    fn is_split(&self) -> bool {
        !self.train.is_empty() && !self.test.is_empty()
    }
}

fn tars_in(files: &[PathBuf]) -> Vec<PathBuf> {
    files.iter().filter(|file| gzip::is_tar(&gzip::file_name(file))).cloned().collect()
}

fn name_of(path: &Path) -> String {
    gzip::file_name(path)
}

/// The name without its extensions.
fn stem(file: &Path) -> String {
    let name = name_of(file).to_lowercase();
    let name = gzip::strip_gz(&name).0;
    name.strip_suffix(".tar").or(name.strip_suffix(".tgz")).unwrap_or(name).to_owned()
}

/// What a tar's name says of a part: the words in it, or what it begins with.
fn part_of(file: &Path) -> Option<PartName> {
    let stem = stem(file);
    part_names::of_name(&stem).or_else(|| {
        let part = [("train", Part::Train), ("test", Part::Test), ("val", Part::Test)];
        let (word, part) = part.into_iter().find(|(word, _)| stem.starts_with(word))?;
        let rank = u8::from(word == "val");
        Some(PartName { part, rank, before: String::new(), after: String::new() })
    })
}

/// The tars of the parts directly in a folder, by their names, or in its folders of parts.
fn divided(folder: &Path, files: &[PathBuf]) -> Result<Divided, DataError> {
    let tars = tars_in(files);
    let named: Vec<(PartName, &PathBuf)> =
        tars.iter().filter_map(|tar| Some((part_of(tar)?, tar))).collect();
    if !named.is_empty() {
        // Within a part, other words before that for the part are another set's.
        let of = |part: Part| named.iter().filter(move |(name, _)| name.part == part);
        for part in [Part::Train, Part::Test] {
            let first = of(part).next();
            let other = of(part)
                .find(|(name, _)| first.is_some_and(|(first, _)| name.before != first.before));
            if let (Some((_, first)), Some((_, other))) = (first, other) {
                let found = quoted(&[&name_of(first), &name_of(other)]);
                return Err(DataError::malformed(folder, NAMES, found));
            }
        }
        let mut found = Divided::default();
        let rank = |part| {
            named.iter().filter(|(name, _)| name.part == part).map(|(name, _)| name.rank).min()
        };
        for tar in &tars {
            let name = named.iter().find(|(_, of)| *of == tar).map(|(name, _)| name);
            match name.filter(|name| Some(name.rank) == rank(name.part)) {
                Some(name) if name.part == Part::Train => found.train.push(tar.clone()),
                Some(_) => found.test.push(tar.clone()),
                None => found.notes.left(Left::OtherTar, || name_of(tar)),
            }
        }
        if let (Some(train), Some(test)) = (of(Part::Train).next(), of(Part::Test).next())
            && train.0.before != test.0.before
        {
            found.notes.say(format!(
                "taken for parts of one set: {}",
                quoted(&[&name_of(train.1), &name_of(test.1)])
            ));
        }
        return Ok(found);
    }
    if !tars.is_empty() {
        return Ok(Divided::default());
    }
    let inner = folders(folder)?;
    let names: Vec<String> = inner.iter().map(|folder| name_of(folder)).collect();
    let tars_of = |name: &str| -> Result<Vec<PathBuf>, DataError> {
        Ok(tars_in(&self::files(&folder.join(name))?))
    };
    let mut found = Divided::default();
    match part_names::divide(names.iter().map(String::as_str)) {
        Ok(Some(division)) => {
            found.train = tars_of(division.train)?;
            for (i, test) in division.tests.iter().enumerate() {
                let tars = tars_of(test)?;
                match i {
                    0 => found.test = tars,
                    _ => found.notes.left_many(Left::OtherTar, tars.len(), || {
                        format!("{test}/{}", name_of(&tars[0]))
                    }),
                }
            }
        }
        // Of one part alone.
        Ok(None) => {
            for name in names.iter().filter(|name| part_names::of_name(name).is_some()) {
                found.train = tars_of(name)?;
            }
        }
        Err(ambiguity) => {
            for name in &names {
                if !tars_of(name)?.is_empty() {
                    let expected = "folders of tar files for the parts, as 'train' and 'test' or \
                                    'val' (name one of them)";
                    return Err(DataError::malformed(folder, expected, ambiguity));
                }
            }
        }
    }
    Ok(found)
}

/// Whether there are tars of both parts.
pub(in crate::data) fn are_divided(folder: &Path, files: &[PathBuf]) -> Result<bool, DataError> {
    Ok(divided(folder, files)?.is_split())
}

/// The part of a set whose tars say by their names or folders which part they are; nothing if there
/// are none.
pub(in crate::data) fn parts_of(
    folder: &Path,
    files: &[PathBuf],
    part: Part,
) -> Result<Option<FoundSet>, DataError> {
    let tars = divided(folder, files)?;
    let is_class = |tar: &PathBuf| class_folders::is_wnid(&stem(tar));
    if tars.train.iter().chain(&tars.test).all(is_class) {
        return Ok(None);
    }
    let split = tars.is_split();
    let chosen = match part {
        // One part alone is a set without parts, as `convert` writes it.
        _ if !split => [tars.train, tars.test].concat(),
        Part::Train => tars.train,
        Part::Test => tars.test,
    };
    let mut found = archive::find(&folder.display().to_string(), &chosen, part)?;
    found.notes.merge(tars.notes);
    // A tar may hold both parts itself.
    found.split |= split;
    Ok(Some(found))
}

/// A folder as ImageNet's archives unpack: a tar for each class, `n01440764.tar`, in the folder or
/// in its subfolders of the parts; nothing if it is none.
pub(in crate::data) fn classes_of(
    folder: &Path,
    files: &[PathBuf],
    part: Part,
) -> Result<Option<FoundSet>, DataError> {
    let of_classes = |files: &[PathBuf]| -> Vec<PathBuf> {
        files
            .iter()
            .filter(|file| gzip::is_tar(&name_of(file)) && class_folders::is_wnid(&stem(file)))
            .cloned()
            .collect()
    };
    let found = |tars: &[PathBuf], mut more: Notes, split| -> Result<Option<FoundSet>, DataError> {
        let (encoded, notes) = archive::classes(&folder.display().to_string(), tars)?;
        more.merge(notes);
        Ok(Some(FoundSet { content: SetContent::Files(encoded), split, notes: more }))
    };
    let here = of_classes(files);
    if !here.is_empty() {
        return found(&here, Notes::default(), false);
    }
    let tars = divided(folder, files)?;
    let (train, test) = (of_classes(&tars.train), of_classes(&tars.test));
    if !tars.is_split() || train.is_empty() || test.is_empty() {
        return if train.is_empty() { Ok(None) } else { found(&train, tars.notes, false) };
    }
    found(if part == Part::Train { &train } else { &test }, tars.notes, true)
}

/// The set in the tars of a folder that holds nothing else, whose names say nothing of parts and
/// differ in numbers alone; nothing if there are none.
///
/// # Errors
///
/// If the names differ in more.
pub(in crate::data) fn alone_of(
    folder: &Path,
    files: &[PathBuf],
    part: Part,
) -> Result<Option<FoundSet>, DataError> {
    let tars = tars_in(files);
    let Some(first) = tars.first() else { return Ok(None) };
    let pattern =
        |tar: &Path| stem(tar).chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
    if let Some(other) = tars.iter().find(|tar| pattern(tar) != pattern(first)) {
        let found =
            format!("{} tar files, {}", tars.len(), quoted(&[&name_of(first), &name_of(other)]));
        return Err(DataError::malformed(folder, NAMES, found));
    }
    archive::find(&folder.display().to_string(), &tars, part).map(Some)
}

/// The paths that a file name with a range in braces stands for, `{00000..00004}`; `None` without
/// braces.
pub(in crate::data) fn shards(path: &Path) -> Option<Result<Vec<PathBuf>, DataError>> {
    let name = gzip::file_name(path);
    let (before, rest) = name.split_once('{')?;
    let (range, after) = rest.split_once('}')?;
    let problem = |problem: String| DataError::Spec { spec: path.display().to_string(), problem };
    let parsed = range.split_once("..").and_then(|(from, to)| {
        // No number of shards has more digits, and a format's width ends at 65,535.
        let digits = |text: &str| {
            ((1..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()))
                .then_some(())
        };
        digits(from).and(digits(to))?;
        Some((from.len(), from.parse::<usize>().ok()?, to.parse::<usize>().ok()?))
    });
    Some(match parsed {
        Some((_, from, to)) if from > to || to - from >= MAX_SHARDS => Err(problem(format!(
            "the range {{{range}}} is backwards or longer than {MAX_SHARDS} shards"
        ))),
        Some((digits, from, to)) => Ok((from..=to)
            .map(|i| path.with_file_name(format!("{before}{i:0digits$}{after}")))
            .collect()),
        None => Err(problem(format!(
            "'{{{range}}}' is not a range of numbers such as {{00000..00004}}"
        ))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_shards_may_have_any_digits_but_not_any_number() {
        let names = |range: &str| shards(Path::new(&format!("a-{{{range}}}.tar"))).unwrap();
        assert_eq!(
            names("08..10").unwrap(),
            ["a-08.tar", "a-09.tar", "a-10.tar"].map(PathBuf::from)
        );
        for range in ["1..", "2..1", "0..100000", &format!("{}..1", "0".repeat(70_000)), "x..3"] {
            assert!(names(range).is_err(), "{}", &range[..range.len().min(20)]);
        }
    }
}
