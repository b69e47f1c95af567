//! Markdown as far as the book's rules need it.

use std::{collections::BTreeSet, path::PathBuf};

/// What a line belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Block {
    /// Paragraphs, lists, headings.
    Text,
    /// Rows of tables.
    Table,
    /// What stands between fences, and the fences.
    Code,
}

/// A page.
pub struct Page {
    pub path: PathBuf,
    text: String,
}

impl Page {
    pub fn read(path: PathBuf) -> Self {
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Self { path, text }
    }

    /// What to call it in messages.
    pub fn name(&self) -> String {
        let parts: Vec<_> =
            self.path.iter().rev().take(2).map(|part| part.to_string_lossy()).collect();
        parts.into_iter().rev().collect::<Vec<_>>().join("/")
    }

    /// Lines with their numbers.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str, Block)> {
        let mut fenced = false;
        self.text.lines().enumerate().map(move |(index, line)| {
            let fence = line.trim_start().starts_with("```");
            let block = match () {
                () if fence || fenced => Block::Code,
                () if line.trim_start().starts_with('|') => Block::Table,
                () => Block::Text,
            };
            fenced ^= fence;
            (index + 1, line, block)
        })
    }

    /// The cells of every row of every table.
    pub fn rows(&self) -> impl Iterator<Item = Vec<String>> {
        self.lines().filter(|(.., block)| *block == Block::Table).map(|(_, line, _)| {
            let inner = line.trim().trim_start_matches('|').trim_end_matches('|');
            inner.split(" | ").map(|cell| cell.trim().to_owned()).collect()
        })
    }

    /// The code between fences that begin with this mark.
    pub fn snippets(&self, mark: &str) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        let mut inside = false;
        for line in self.text.lines() {
            if inside && line == "```" {
                inside = false;
            } else if inside {
                found.last_mut().expect("a snippet").push_str(&format!("{line}\n"));
            } else if line.strip_prefix("```") == Some(mark) {
                inside = true;
                found.push(String::new());
            }
        }
        found
    }

    /// Targets of links and images outside of code.
    pub fn links(&self) -> Vec<String> {
        let mut found = Vec::new();
        // A link may go over the end of a line.
        let text = self.lines().filter(|(.., block)| *block != Block::Code);
        let text = text.map(|(_, line, _)| without_code(line)).collect::<Vec<_>>().join("\n");
        let mut rest = text.as_str();
        while let Some(at) = rest.find("](") {
            rest = &rest[at + 2..];
            let end = rest.find(')').expect("a link has an end");
            found.push(rest[..end].to_owned());
        }
        found
    }

    /// What a link may name after `#`: headings as mdBook and GitHub write them.
    pub fn anchors(&self) -> BTreeSet<String> {
        self.lines()
            .filter(|(_, line, block)| *block == Block::Text && line.starts_with('#'))
            .map(|(_, line, _)| {
                let title = line.trim_start_matches('#').trim().to_lowercase();
                let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
                kept.map(|c| if c == ' ' { '-' } else { c }).collect()
            })
            .collect()
    }
}

/// Whether a line begins an item of a list, a heading or a quotation: a paragraph of its own.
pub fn begins_item(line: &str) -> bool {
    let line = line.trim_start();
    let numbered = line.split_once(". ").is_some_and(|(number, _)| number.parse::<u32>().is_ok());
    numbered || ["* ", "- ", "#", "> "].iter().any(|mark| line.starts_with(mark))
}

/// A line without what stands in backticks.
pub fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join("``")
}

/// A line without code and without the targets of links, which may be names of old files.
pub fn words(line: &str) -> String {
    let line = without_code(line);
    let mut parts = line.split("](");
    let mut words = parts.next().unwrap_or_default().to_owned();
    parts.for_each(|part| words += part.split_once(')').map_or("", |(_, rest)| rest));
    words
}
