//! Files and lines of the sources stay short enough to be read.

use std::fs;
use std::path::{Path, PathBuf};

/// The most lines of a source file.
const LINES: usize = 420;
/// The most columns of a line of code, where it can be broken.
const COLUMNS: usize = 100;
/// Where sources lie, from the repository's root.
const FOLDERS: [&str; 9] =
    [".ci", "bench", "crates", "fuzz", "gpu", "recipes", "reference", "scripts", "tests"];
/// What is built, and files that must keep the bytes of an earlier version.
const LEFT_OUT: [&str; 2] = ["target", "written_by_0_1"];

fn collect(path: &Path, found: &mut Vec<PathBuf>) {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if LEFT_OUT.contains(&name) {
        return;
    }
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| collect(&entry.unwrap().path(), found));
        return;
    }
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    if ["rs", "py", "sh", "toml", "yml"].contains(&extension) || path.ends_with(".ci/run") {
        found.push(path.to_owned());
    }
}

/// The text of every source file, with its path from the repository's root.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut paths = Vec::new();
    for entry in fs::read_dir(&root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() || FOLDERS.iter().any(|folder| path.ends_with(folder)) {
            collect(&path, &mut paths);
        }
    }
    paths.sort();
    let name = |path: &Path| {
        let parts: Vec<&str> =
            path.strip_prefix(&root).unwrap().iter().filter_map(|part| part.to_str()).collect();
        parts.join("/")
    };
    let read = |path: &PathBuf| (name(path), fs::read_to_string(path).unwrap());
    let sources: Vec<(String, String)> = paths.iter().map(read).collect();
    assert!(sources.len() > 400, "{} files: the sources lie elsewhere", sources.len());
    sources
}

/// Whether a line is too long and has a space, other than that of a comment's mark, to break it at.
fn is_long(line: &str) -> bool {
    let text = line.trim_start().trim_start_matches(['/', '!', '#']).trim();
    line.chars().count() > COLUMNS && text.contains(' ')
}

#[test]
fn no_source_file_is_long() {
    let sources = sources();
    let lengths = sources.iter().map(|(name, text)| (text.lines().count(), name));
    let long: Vec<(usize, &String)> = lengths.filter(|(lines, _)| *lines > LINES).collect();
    assert!(long.is_empty(), "expected at most {LINES} lines in a file, found {long:?}");
}

#[test]
fn no_line_of_code_is_long() {
    let mut found = Vec::new();
    for (name, text) in sources() {
        let long = text.lines().enumerate().filter(|(_, line)| is_long(line));
        found.extend(long.map(|(i, _)| format!("{name}:{}", i + 1)));
    }
    assert!(
        found.is_empty(),
        "expected at most {COLUMNS} columns, found longer lines:\n{found:#?}"
    );
}

#[test]
fn lines_are_long_where_they_can_be_broken() {
    let word = "x".repeat(COLUMNS);
    assert!(!is_long(&word));
    assert!(is_long(&format!("{word} y")) && is_long(&format!("    /// {word} y")));
    assert!(!is_long(&format!("    /// {word}")) && !is_long(&format!("# {word}y")));
    assert!(!is_long(&format!("{} {}", "\u{b1}".repeat(COLUMNS - 2), "y")));
}
