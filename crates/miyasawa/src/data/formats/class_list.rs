//! Names of classes from a text file.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use super::part_names;
use crate::data::error::DataError;
use crate::data::notes::Notes;
use crate::data::set::gzip;

/// The file with the names.
const FILE: &str = "classes.txt";

/// The file with the names of the classes of an archive: beside it, or, where it lies in the folder
/// of a part (`train/`), beside that.
pub(in crate::data) fn beside(archive: &Path) -> Option<PathBuf> {
    let here = archive.with_file_name(FILE);
    if here.is_file() {
        return Some(here);
    }
    let folder = archive
        .parent()
        .filter(|folder| part_names::of_name(&gzip::file_name(folder)).is_some())?;
    Some(folder.with_file_name(FILE)).filter(|path| path.is_file())
}

/// Class names from lines of one form: `index<TAB>wnid<TAB>name, synonym, ...`, `index<TAB>name`,
/// `index name`, or `name`, in the order of the classes. Of several names separated by commas the
/// first, or all where two classes share their first one.
///
/// # Errors
///
/// If the lines are not of one form, an index is not the line's, or two classes have one name.
pub(in crate::data) fn read(path: &Path) -> Result<Vec<String>, DataError> {
    let text = std::fs::read_to_string(path).map_err(|e| DataError::io(path, e))?;
    parse(path, &text)
}

pub(in crate::data) fn parse(path: &Path, text: &str) -> Result<Vec<String>, DataError> {
    let lines: Vec<(usize, &str)> = text
        .trim_start_matches('\u{feff}')
        .lines()
        .enumerate()
        .map(|(number, line)| (number + 1, line.trim_end()))
        .filter(|(_, line)| !line.trim().is_empty())
        .collect();
    let full = if lines.iter().any(|(_, line)| line.contains('\t')) {
        indexed_by_tabs(path, &lines)?
    } else {
        indexed(&lines).unwrap_or_else(|| lines.iter().map(|(_, line)| line.trim()).collect())
    };
    let numbered =
        |(_, line): &&(usize, &str)| line.trim().starts_with(|c: char| c.is_ascii_digit());
    if full.len() == lines.len() && !lines.is_empty() && lines.iter().all(|line| numbered(&line)) {
        let unread = full.iter().zip(&lines).all(|(name, (_, line))| *name == line.trim());
        let plain = full.iter().enumerate().all(|(i, name)| **name == i.to_string());
        // Numbers from 1 on, or names and numbers the other way round, would move every name.
        if unread && !plain {
            let (number, line) = lines[0];
            return Err(wrong(
                path,
                format!("'0 name' in line {number}, or names without numbers"),
                line,
            ));
        }
    }
    let mut seen = BTreeSet::new();
    if let Some(twice) = full.iter().find(|name| !seen.insert(**name)) {
        return Err(DataError::malformed(
            path,
            "a name for each class",
            format!("'{twice}' twice"),
        ));
    }
    Ok(shortened(&full))
}

fn wrong(path: &Path, expected: String, line: &str) -> DataError {
    let line: String = line.chars().take(60).collect();
    DataError::malformed(path, expected, format!("'{line}'"))
}

/// The last columns of lines `index<TAB>...<TAB>names`.
fn indexed_by_tabs<'a>(path: &Path, lines: &[(usize, &'a str)]) -> Result<Vec<&'a str>, DataError> {
    let mut full = Vec::new();
    for (number, line) in lines {
        let mut columns = line.split('\t');
        let index = columns.next().and_then(|index| index.trim().parse::<usize>().ok());
        match (index, columns.next_back()) {
            (Some(index), Some(names)) if index == full.len() && !names.trim().is_empty() => {
                full.push(names.trim());
            }
            _ => {
                let expected = format!("'{}<TAB>wnid<TAB>names' in line {number}", full.len());
                return Err(wrong(path, expected, line));
            }
        }
    }
    Ok(full)
}

/// What follows the index in lines that all begin with theirs: `0 name`, `0: name`, `0, name`.
fn indexed<'a>(lines: &[(usize, &'a str)]) -> Option<Vec<&'a str>> {
    let rest = |(i, (_, line)): (usize, &(usize, &'a str))| {
        let rest = line.trim().strip_prefix(&i.to_string())?;
        let name = rest.trim_start_matches(|c: char| c.is_whitespace() || ":,;=".contains(c));
        (name.len() < rest.len() && !name.is_empty()).then_some(name)
    };
    lines.iter().enumerate().map(rest).collect()
}

/// The numbers from 0 to `largest` as names, for the labels of `images` images; nothing for a
/// number far above that of images: it is damage, and a list of names for it would be huge.
pub(in crate::data) fn numbers(
    largest: u32,
    images: usize,
    labels: impl IntoIterator<Item = u32>,
    notes: &mut Notes,
) -> Option<Vec<String>> {
    let count = largest as usize + 1;
    if count > 10 * images + 1000 {
        return None;
    }
    let first = labels.into_iter().min().unwrap_or(0);
    if first > 0 {
        notes.say(format!("labels begin at {first}: no image is of class '0'"));
    }
    Some((0..count).map(|class| class.to_string()).collect())
}

/// The first of several names separated by commas, or all of them where two classes share their
/// first one.
pub(in crate::data) fn shortened(full: &[&str]) -> Vec<String> {
    let short = |names: &str| names.split(',').next().unwrap_or(names).trim().to_owned();
    let mut uses: HashMap<String, usize> = HashMap::new();
    full.iter().for_each(|names| *uses.entry(short(names)).or_default() += 1);
    full.iter()
        .map(|names| if uses[&short(names)] == 1 { short(names) } else { (*names).to_owned() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_names_have_several_forms() {
        let read = |text: &str| parse(Path::new("classes.txt"), text).map_err(|e| e.to_string());
        for text in [
            "cat\ndog\n",
            "\u{feff}cat\r\ndog\r\n\n",
            "0 cat\n1 dog",
            "0: cat\n1: dog",
            "0\tn1\tcat, felis\n1\tn2\tdog",
            "cat, felis\ndog, canis",
        ] {
            assert_eq!(read(text).unwrap(), ["cat", "dog"], "{text:?}");
        }
        assert_eq!(read("0\n1\n2").unwrap(), ["0", "1", "2"]);
        assert_eq!(read("crane, bird\ncrane, machine").unwrap(), ["crane, bird", "crane, machine"]);
        for (text, found) in [
            ("1 cat\n2 dog", "expected '0 name' in line 1"),
            ("cat\ncat", "'cat' twice"),
            ("0\ta\nb", "in line 2, found 'b'"),
        ] {
            assert!(read(text).unwrap_err().contains(found), "{}", read(text).unwrap_err());
        }
    }
}
