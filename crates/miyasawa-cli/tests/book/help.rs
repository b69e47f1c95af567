//! Pages of commands out of what `--help` prints, and the table of settings.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// An argument or option.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    flags: String,
    meaning: String,
    default: String,
}

/// What `--help` says of one command.
struct Help {
    /// The first line.
    about: String,
    /// Paragraphs, and examples as code.
    parts: Vec<Part>,
    usage: String,
    /// Entries under their headings: `Arguments`, `Options`, `Commands`.
    sections: Vec<(String, Vec<Entry>)>,
}

enum Part {
    Prose(String),
    Code(Vec<String>),
}

/// All pages by their file names.
pub fn pages(help: &dyn Fn(&[&str]) -> String) -> BTreeMap<String, String> {
    let program = parse(&help(&[]));
    let mut commands: Vec<(Vec<String>, Help)> = Vec::new();
    for entry in program.section("Commands") {
        let name = entry.flags.as_str();
        if name == "help" {
            continue;
        }
        let parsed = parse(&help(&[name]));
        let inner: Vec<String> =
            parsed.section("Commands").iter().map(|e| e.flags.clone()).collect();
        commands.push((vec![name.to_owned()], parsed));
        for inner in inner.iter().filter(|inner| *inner != "help") {
            commands.push((vec![name.to_owned(), inner.clone()], parse(&help(&[name, inner]))));
        }
    }
    // What every command has is said once, on the page of all.
    let options =
        |help: &Help| -> BTreeSet<Entry> { help.section("Options").iter().cloned().collect() };
    let mut common = options(&commands[0].1);
    for (_, help) in &commands {
        common = common.intersection(&options(help)).cloned().collect();
    }
    let mut pages: BTreeMap<String, String> = commands
        .iter()
        .map(|(path, help)| (format!("{}.md", path.join("-")), page(path, help, &common)))
        .collect();
    pages.insert("index.md".to_owned(), index(&program, &commands, &common));
    pages
}

fn index(program: &Help, commands: &[(Vec<String>, Help)], common: &BTreeSet<Entry>) -> String {
    let mut text = String::from("# Commands\n\n");
    text += "These pages are what `miyasawa COMMAND --help` prints; a test keeps them so.\n\n";
    text +=
        &format!("```text\n{}\n```\n\n| command | what it does |\n| --- | --- |\n", program.usage);
    for (path, help) in commands {
        text +=
            &format!("| [{}]({}.md) | {} |\n", path.join(" "), path.join("-"), cell(&help.about));
    }
    text += "\n## Options of every command\n\n";
    // In the program's order.
    let order = program.section("Options");
    let mut rows: Vec<&Entry> = common.iter().collect();
    rows.sort_by_key(|row| order.iter().position(|entry| entry.flags == row.flags));
    text += &table("option", rows);
    text += "\nExit status: 0 done, 1 the work failed, 2 the call was wrong, 130 after a second \
             Ctrl-C.\n";
    text
}

fn page(path: &[String], help: &Help, common: &BTreeSet<Entry>) -> String {
    let name = path.join(" ");
    let mut text = format!("# {name}\n\n{}\n", wrap(&prose(&help.about)));
    text += &format!("\n```text\n{}\n```\n", help.usage);
    for part in &help.parts {
        match part {
            Part::Prose(words) => {
                paragraphs(words)
                    .iter()
                    .for_each(|words| text += &format!("\n{}\n", wrap(&prose(words))));
            }
            Part::Code(lines) => text += &format!("\n```sh\n{}\n```\n", lines.join("\n")),
        }
    }
    for (heading, entries) in &help.sections {
        let own: Vec<&Entry> =
            entries.iter().filter(|e| !common.contains(e) && e.flags != "help").collect();
        if own.is_empty() {
            continue;
        }
        text += &format!("\n## {heading}\n\n");
        if heading == "Commands" {
            text += "| command | what it does |\n| --- | --- |\n";
            for entry in own {
                let file = format!("{}-{}.md", path.join("-"), entry.flags);
                text +=
                    &format!("| [{name} {}]({file}) | {} |\n", entry.flags, cell(&entry.meaning));
            }
        } else {
            let what = if heading == "Arguments" { "argument" } else { "option" };
            text += &table(what, own);
        }
    }
    text += "\nBesides these: the [options of every command](index.md#options-of-every-command).\n";
    text
}

fn table<'a>(what: &str, rows: impl IntoIterator<Item = &'a Entry>) -> String {
    let mut text = format!("| {what} | meaning | default |\n| --- | --- | --- |\n");
    for Entry { flags, meaning, default } in rows {
        // Some say in words where the value comes from.
        let words = ["`", ", ", ": "].iter().any(|mark| default.contains(mark));
        let default = match default.as_str() {
            "" => String::new(),
            _ if words => cell(default),
            value => format!("`{value}`"),
        };
        text += &format!(
            "| `{flags}` | {} |{}{default} |\n",
            cell(meaning),
            if default.is_empty() { "" } else { " " }
        );
    }
    text
}

impl Help {
    fn section(&self, name: &str) -> &[Entry] {
        self.sections
            .iter()
            .find(|(heading, _)| heading == name)
            .map_or(&[], |(_, entries)| entries)
    }
}

fn parse(text: &str) -> Help {
    let (before, after) = text.split_once("\nUsage: ").expect("a line of usage");
    let (about, description) = before.split_once('\n').unwrap_or((before, ""));
    let (usage, after) = after.split_once('\n').unwrap_or((after, ""));
    let mut sections: Vec<(String, Vec<Entry>)> = Vec::new();
    for line in after.lines() {
        let indent = line.len() - line.trim_start().len();
        match (line.strip_suffix(':'), sections.last_mut()) {
            (Some(heading), _) if indent == 0 => sections.push((heading.to_owned(), Vec::new())),
            (_, Some((_, entries))) if (1..=6).contains(&indent) => {
                entries.push(begin(line.trim()))
            }
            (_, Some((_, entries))) if indent > 6 => {
                add(entries.last_mut().expect("an entry"), line.trim());
            }
            _ => {}
        }
    }
    Help {
        about: about.trim().to_owned(),
        parts: parts(description),
        usage: usage.to_owned(),
        sections,
    }
}

/// A call in lines of at most 100 columns, as a shell reads it.
fn wrapped(call: &str) -> Vec<String> {
    let (mut lines, mut rest) = (Vec::new(), call.trim().to_owned());
    while rest.chars().count() > 100 {
        // Before an option, so that it stays with its value.
        let Some(at) = rest.match_indices(" -").map(|(at, _)| at).take_while(|at| *at < 98).last()
        else {
            break;
        };
        lines.push(format!("{} \\", &rest[..at]));
        rest = format!("  {}", rest[at..].trim());
    }
    lines.push(rest);
    lines
}

/// Paragraphs, and examples, which begin with a line of their own or come after `Example:`.
fn parts(description: &str) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut fresh = true;
    for line in description.lines() {
        if line.trim().is_empty() {
            fresh = true;
        } else if line == "Examples:" {
            parts.push(Part::Code(Vec::new()));
            fresh = false;
        } else if let Some(call) = line.strip_prefix("Example: ") {
            parts.push(Part::Code(wrapped(call)));
            fresh = true;
        } else {
            match parts.last_mut() {
                Some(Part::Prose(words)) if !fresh => *words = format!("{words} {}", line.trim()),
                Some(Part::Code(calls)) if !fresh => calls.extend(wrapped(line)),
                _ => parts.push(Part::Prose(line.trim().to_owned())),
            }
            fresh = false;
        }
    }
    parts
}

/// `-o, --out <OUT>`, with its meaning behind two spaces or on lines of its own.
fn begin(line: &str) -> Entry {
    let (flags, meaning) = line.split_once("  ").unwrap_or((line, ""));
    let mut entry =
        Entry { flags: flags.to_owned(), meaning: String::new(), default: String::new() };
    add(&mut entry, meaning.trim());
    entry
}

fn add(entry: &mut Entry, line: &str) {
    let marked = line.strip_suffix(']').and_then(|line| line.rsplit_once("[default: "));
    let (line, default) = marked.unwrap_or((line, ""));
    if !default.is_empty() {
        entry.default = default.to_owned();
    }
    if !line.trim().is_empty() {
        let space = if entry.meaning.is_empty() { "" } else { " " };
        entry.meaning += &format!("{space}{}", line.trim());
    }
}

/// Sentences, as paragraphs of at most 80 words where that is possible.
fn paragraphs(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for sentence in text.split_inclusive(". ") {
        let count = |text: &str| text.split_whitespace().count();
        match found.last_mut() {
            Some(last) if count(last) + count(sentence) <= 80 => last.push_str(sentence),
            _ => found.push(sentence.to_owned()),
        }
    }
    found
}

/// Text of the program as text of a page: `<` begins no tag.
fn prose(text: &str) -> String {
    let outside = |part: &str| part.replace('<', "&lt;");
    let parts = text.split('`').enumerate();
    let parts = parts.map(|(at, part)| if at % 2 == 0 { outside(part) } else { part.to_owned() });
    parts.collect::<Vec<_>>().join("`")
}

fn cell(text: &str) -> String {
    prose(text).replace('|', "\\|")
}

/// Lines of at most 100 columns, none of which begins as an item of a list would.
fn wrap(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("a line");
        let columns = line.chars().count() + 1 + word.chars().count();
        if line.is_empty() || columns <= 100 || ["-", "*", "+", "#", ">", "="].contains(&word) {
            let space = if line.is_empty() { "" } else { " " };
            line.push_str(&format!("{space}{word}"));
        } else {
            lines.push(word.to_owned());
        }
    }
    lines.join("\n")
}

/// Key and default of a row of the settings page.
pub fn setting(row: Vec<String>) -> Option<(String, String)> {
    let code = |cell: &str| cell.strip_prefix('`')?.strip_suffix('`').map(str::to_owned);
    let [key, default, ..] = row.as_slice() else { return None };
    Some((code(key)?, code(default).unwrap_or_else(|| default.clone())))
}

/// Whether a default is written as the program has it; a dash is one that is left out.
pub fn same(stated: &str, value: &Value) -> bool {
    if value.is_null() {
        return stated == "-";
    }
    let Ok(stated) = serde_json::from_str::<Value>(stated) else { return false };
    match (stated.as_f64(), value.as_f64()) {
        // Settings in float32 are not the number as it is written.
        (Some(stated), Some(value)) => (stated - value).abs() <= 1e-6 * value.abs(),
        (None, None) => match (stated.as_array(), value.as_array()) {
            (Some(stated), Some(value)) => {
                stated.len() == value.len()
                    && stated.iter().zip(value).all(|(a, b)| same(&a.to_string(), b))
            }
            _ => stated == *value,
        },
        _ => false,
    }
}
