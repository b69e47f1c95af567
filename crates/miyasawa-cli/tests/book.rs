//! The book in docs/book and the README, held to the program: command pages are what `--help` says,
//! the settings page is the program's configuration, links lead somewhere, shell snippets run.
//!
//! `MIYASAWA_WRITE_BOOK=1 cargo test --release -p miyasawa-cli --test book` writes the pages of
//! commands.

#[path = "common/mod.rs"]
mod common;
#[path = "book/help.rs"]
mod help;
#[path = "book/pages.rs"]
mod pages;

use common::{command, fails, ok};
use miyasawa::train::{
    TrainConfig,
    config::{AdversarialConfig, ClassificationConfig, LogConfig},
};
use pages::{Block, Page};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository")
}

fn book() -> PathBuf {
    root().join("docs/book/src")
}

/// Documents of the repository beside the book.
const DOCUMENTS: [&str; 9] = [
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "recipes/README.md",
    "bench/README.md",
    "bench/robustness.md",
    "crates/miyasawa/assets/README.md",
    "crates/miyasawa-kernels/README.md",
];

/// Every page of the book, and the other documents.
fn pages() -> Vec<Page> {
    let mut paths: Vec<PathBuf> = DOCUMENTS.iter().map(|name| root().join(name)).collect();
    let mut folders = vec![book()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder of the book") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    assert!(paths.len() > 20, "the book has {} pages", paths.len());
    paths.into_iter().map(Page::read).collect()
}

/// Fails with all of them, if there are any.
fn none(what: &str, faults: &[String]) {
    assert!(faults.is_empty(), "{what}:\n{}", faults.join("\n"));
}

#[test]
fn command_pages_are_what_help_says() {
    let help = |args: &[&str]| {
        let output =
            command().args(args).arg("--help").env("COLUMNS", "100").output().expect("it starts");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let written = help::pages(&help);
    assert!(written.len() > 15, "a page for every command");
    let folder = book().join("commands");
    if std::env::var_os("MIYASAWA_WRITE_BOOK").is_some() {
        for (name, text) in &written {
            std::fs::write(folder.join(name), text).expect("the page can be written");
        }
    }
    let names: BTreeSet<String> = written.keys().cloned().collect();
    let there: BTreeSet<String> = common::names(&folder).into_iter().collect();
    assert_eq!(names, there, "pages of commands that are not there any more, or not yet");
    for (name, text) in &written {
        let page = std::fs::read_to_string(folder.join(name)).expect("the page");
        assert!(
            page == *text,
            "commands/{name} is not what --help says: MIYASAWA_WRITE_BOOK=1 writes it"
        );
    }
}

#[test]
fn the_settings_page_is_the_configuration_of_the_program() {
    let page = Page::read(book().join("settings.md"));
    let rows: BTreeMap<String, String> = page.rows().filter_map(help::setting).collect();

    // The keys that the program knows: it lists them where one is not among them.
    let known = |section: &str| -> Vec<String> {
        let setting = format!("{section}none-of-these=1");
        let line = fails(2, ["train", "--dry-run", "--set", &setting], &["unknown field"]);
        let list = line.split_once("expected ").expect("a list of the keys").1;
        list.split('`').skip(1).step_by(2).map(|key| format!("{section}{key}")).collect()
    };
    let mut defaults = serde_json::to_value(TrainConfig::default()).expect("a document");
    // Written only where it differs from the default.
    let document = |value: serde_json::Result<Value>| value.expect("a document");
    defaults["log"] = document(serde_json::to_value(LogConfig::default()));
    let classification = ClassificationConfig::default();
    defaults["classification"] = document(serde_json::to_value(classification));
    defaults["adversarial"] = document(serde_json::to_value(AdversarialConfig::default()));
    let mut expected = BTreeMap::new();
    for key in known("") {
        match &defaults[&key] {
            Value::Object(_) => {
                for inner in known(&format!("{key}.")) {
                    let name = inner.strip_prefix(&format!("{key}.")).expect("of this section");
                    expected.insert(inner.clone(), defaults[&key][name].clone());
                }
            }
            value => drop(expected.insert(key.clone(), value.clone())),
        }
    }
    assert!(expected.len() > 60, "{} settings", expected.len());
    let keys = |of: &BTreeMap<String, _>| -> BTreeSet<String> { of.keys().cloned().collect() };
    let stated: BTreeSet<String> = rows.keys().cloned().collect();
    assert_eq!(stated, keys(&expected), "the keys of settings.md and of the program");
    for (key, value) in &expected {
        let stated = &rows[key];
        assert!(
            help::same(stated, value),
            "settings.md says {key} is {stated}, the program {value}"
        );
    }
}

#[test]
fn every_link_leads_somewhere() {
    let mut faults = Vec::new();
    for page in pages() {
        for link in page.links() {
            if link.starts_with("https://") {
                continue;
            }
            let (target, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let path = match target {
                "" => page.path.clone(),
                _ => page.path.parent().expect("a folder").join(target),
            };
            let link_in_page = format!("{}: {link}", page.name());
            if !path.exists() {
                faults.push(link_in_page);
            } else if !anchor.is_empty() && !Page::read(path.clone()).anchors().contains(anchor) {
                faults.push(format!("{link_in_page} (no such heading)"));
            } else if page.path.starts_with(book()) && leaves_the_book(&path) {
                faults.push(format!(
                    "{link_in_page} (the book makes .html of it, which is not there)"
                ));
            }
        }
    }
    none("links that lead nowhere", &faults);
}

/// mdBook takes every `.md` for one of its pages, and links to its `.html`.
fn leaves_the_book(path: &Path) -> bool {
    let path = path.canonicalize().expect("it is there");
    path.extension().is_some_and(|extension| extension == "md")
        && !path.starts_with(book())
        && !path.with_extension("html").exists()
}

#[test]
fn the_summary_lists_every_page_once() {
    let summary = Page::read(book().join("SUMMARY.md"));
    let listed: Vec<String> = summary.links();
    let once: BTreeSet<&String> = listed.iter().collect();
    assert_eq!(once.len(), listed.len(), "a page is listed twice");
    let there: BTreeSet<String> = pages()
        .iter()
        .filter_map(|page| page.path.strip_prefix(book()).ok()?.to_str().map(str::to_owned))
        .filter(|name| name != "SUMMARY.md")
        .collect();
    assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), there);
}

#[test]
fn paragraphs_are_short_and_lines_fit() {
    let mut faults = Vec::new();
    for page in pages() {
        let mut words = 0;
        for (number, line, block) in page.lines() {
            if block != Block::Text {
                words = 0;
                continue;
            }
            let columns = line.chars().count();
            if columns > 100 {
                faults.push(format!("{}:{number}: {columns} columns", page.name()));
            }
            if line.trim().is_empty() || pages::begins_item(line) {
                words = 0;
            }
            words += line.split_whitespace().count();
            // Said once, where the paragraph gets too long.
            if words > 80 && words - line.split_whitespace().count() <= 80 {
                faults.push(format!("{}:{number}: a paragraph of more than 80 words", page.name()));
            }
        }
    }
    none("what is too long", &faults);
    let readme = std::fs::read_to_string(root().join("README.md")).expect("the README");
    assert!(readme.lines().count() <= 120, "the README has {} lines", readme.lines().count());
}

/// The words of the house: one word for one thing, the field's own.
#[test]
fn one_word_for_one_thing() {
    const LEFT: [&str; 13] = [
        "picture",
        "multiply-add",
        "foreign",
        "withst",
        "shipped",
        "the model inside",
        "second look",
        "so many",
        "but for",
        "all but ",
        "told ",
        "unbroken",
        "go on with",
    ];
    let mut faults = Vec::new();
    for page in pages().iter().filter(|page| !page.path.starts_with(book().join("commands"))) {
        for (number, line, _) in page.lines().filter(|(.., block)| *block != Block::Code) {
            let prose = pages::words(line).to_lowercase();
            faults.extend(
                LEFT.iter()
                    .filter(|word| prose.contains(**word))
                    .map(|word| format!("{}:{number}: '{}'", page.name(), word.trim())),
            );
        }
    }
    none("words that the glossary has others for", &faults);
}

/// Shell snippets marked `sh,run` need no data but what is inside the program.
#[cfg(unix)]
#[test]
fn the_shell_snippets_run() {
    let program = Path::new(env!("CARGO_BIN_EXE_miyasawa")).parent().expect("a folder");
    let path = std::env::var("PATH").unwrap_or_default();
    let mut run = 0;
    for page in pages() {
        let snippets = page.snippets("sh,run");
        if snippets.is_empty() {
            continue;
        }
        // One folder for a page: a snippet goes on with what those before it have made.
        let folder = tempfile::tempdir().expect("a temporary folder");
        let image = folder.path().join("frog.jpg");
        std::fs::copy(book().join("figures/frog.jpg"), image)
            .expect("the image of the quick start");
        for snippet in snippets {
            let output = std::process::Command::new("sh")
                .args(["-euc", &snippet])
                .current_dir(&folder)
                .env("PATH", format!("{}:{path}", program.display()))
                .env_remove("MIYASAWA_MODEL")
                .output()
                .expect("a shell");
            assert!(
                output.status.success(),
                "{}:\n{snippet}\n{}",
                page.name(),
                common::stderr(&output)
            );
            run += 1;
        }
    }
    assert!(run >= 4, "{run} snippets");
}

#[test]
fn pages_with_rust_are_doctests() {
    let tests =
        std::fs::read_to_string(root().join("crates/miyasawa/src/book.rs")).expect("the doctests");
    let mut pages_with_rust = 0;
    for page in pages()
        .iter()
        .filter(|page| page.path.starts_with(book()) || page.name().ends_with("README.md"))
    {
        let fences = page.lines().filter(|(_, line, _)| line.starts_with("```rust")).count();
        if fences > 0 {
            let path =
                page.path.strip_prefix(root()).expect("in the repository").display().to_string();
            assert!(tests.contains(&format!("/{path}\"")), "{path} has Rust and is no doctest");
            pages_with_rust += 1;
        }
    }
    assert!(pages_with_rust >= 3, "{pages_with_rust} pages");
}

#[test]
fn the_version_to_cite_is_this_one() {
    let version = ok(["--version"]);
    let number = version.trim().rsplit(' ').next().expect("a number");
    let page = std::fs::read_to_string(book().join("cite.md")).expect("the page");
    assert!(page.contains(&format!("version = {{{number}}}")), "{version}");
}
