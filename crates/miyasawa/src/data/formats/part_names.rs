//! Which part of a set the name of a folder or file stands for: `train`, `Training`,
//! `training_set`, `val2017`, `seg_train`.

use std::collections::BTreeMap;

use crate::data::part::Part;

/// Words for a part; of several for the same part the one of the lowest rank is preferred.
const WORDS: &[(&str, Part, u8)] = &[
    ("train", Part::Train, 0),
    ("training", Part::Train, 0),
    ("trn", Part::Train, 0),
    ("trainval", Part::Train, 1),
    ("test", Part::Test, 0),
    ("testing", Part::Test, 0),
    ("tst", Part::Test, 0),
    // MNIST's.
    ("t10k", Part::Test, 0),
    ("val", Part::Test, 1),
    ("valid", Part::Test, 1),
    ("validation", Part::Test, 1),
    ("validate", Part::Test, 1),
    ("dev", Part::Test, 2),
    ("devel", Part::Test, 2),
    ("development", Part::Test, 2),
    ("eval", Part::Test, 3),
    ("evaluation", Part::Test, 3),
    ("holdout", Part::Test, 3),
];

/// What may be joined to such a word: `trainset`, `testimages`.
const ENDINGS: &[&str] =
    &["sets", "set", "data", "images", "image", "imgs", "img", "dir", "folder"];

/// Words of a name that do not distinguish sets.
const NEUTRAL: &[&str] = &[
    "set", "sets", "data", "dataset", "images", "image", "imgs", "img", "folder", "dir", "split",
    "pictures", "photos",
];

/// A name that holds one word for a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::data) struct PartName {
    pub part: Part,
    pub rank: u8,
    /// The words before it.
    pub before: String,
    /// The words after it.
    pub after: String,
}

/// The part that a word stands for.
fn word(token: &str) -> Option<(Part, u8)> {
    let plain = |token: &str| {
        WORDS.iter().find(|(word, ..)| *word == token).map(|&(_, part, rank)| (part, rank))
    };
    let token = token.trim_end_matches(|c: char| c.is_ascii_digit());
    plain(token).or_else(|| {
        let stem = ENDINGS.iter().find_map(|ending| token.strip_suffix(ending))?;
        plain(stem)
    })
}

/// What a name says of a part; nothing if it holds no word for one, or several.
pub(in crate::data) fn of_name(name: &str) -> Option<PartName> {
    let name = name.to_lowercase();
    let tokens: Vec<&str> =
        name.split(|c: char| !c.is_alphanumeric()).filter(|token| !token.is_empty()).collect();
    let mut words =
        tokens.iter().enumerate().filter_map(|(at, token)| word(token).map(|found| (at, found)));
    let (at, (part, rank)) = words.next()?;
    if words.next().is_some() {
        return None;
    }
    let joined = |tokens: &[&str]| {
        let distinct =
            |token: &&&str| !NEUTRAL.contains(*token) && !token.bytes().all(|b| b.is_ascii_digit());
        tokens.iter().filter(distinct).copied().collect::<Vec<_>>().join(" ")
    };
    Some(PartName { part, rank, before: joined(&tokens[..at]), after: joined(&tokens[at + 1..]) })
}

/// The names of a training part and of test parts that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::data) struct Division<'a> {
    pub train: &'a str,
    /// The preferred first.
    pub tests: Vec<&'a str>,
}

/// A name with its part and rank.
type Member<'a> = (Part, u8, &'a str);

/// Finds the parts among names of folders. Nothing if there are none.
///
/// # Errors
///
/// What was found, if it is not certain which names are the parts.
pub(in crate::data) fn divide<'a>(
    names: impl IntoIterator<Item = &'a str>,
) -> Result<Option<Division<'a>>, String> {
    let names: Vec<&str> = names.into_iter().collect();
    let mut groups: BTreeMap<(String, String), Vec<Member<'a>>> = BTreeMap::new();
    let mut parts = 0;
    for &name in &names {
        if let Some(found) = of_name(name) {
            groups
                .entry((found.before, found.after))
                .or_default()
                .push((found.part, found.rank, name));
            parts += 1;
        }
    }
    let both = |of: &[Member<'_>]| {
        [Part::Train, Part::Test].iter().all(|part| of.iter().any(|m| m.0 == *part))
    };
    let mut divisions: Vec<_> = groups.iter().filter(|(_, members)| both(members)).collect();
    // Plain names come first: `train` and `test` beside `train_labels` and `test_labels`.
    if divisions.len() > 1 && !(divisions[0].0.0.is_empty() && divisions[0].0.1.is_empty()) {
        let list: Vec<&str> =
            divisions.iter().flat_map(|(_, members)| members.iter().map(|m| m.2)).collect();
        return Err(format!("several pairs of parts: {}", quoted(&list)));
    }
    let Some((_, members)) = divisions.drain(..).next() else {
        if parts == names.len() && names.len() > 1 {
            return Err(format!("{} and no other part that belongs to them", quoted(&names)));
        }
        return Ok(None);
    };
    let of = |part: Part| -> Result<Vec<&'a str>, String> {
        let mut of: Vec<(u8, &str)> =
            members.iter().filter(|m| m.0 == part).map(|m| (m.1, m.2)).collect();
        of.sort_unstable();
        match of.get(1).filter(|second| second.0 == of[0].0) {
            Some(second) => {
                Err(format!("two folders for the {part} part: {}", quoted(&[of[0].1, second.1])))
            }
            None => Ok(of.into_iter().map(|m| m.1).collect()),
        }
    };
    Ok(Some(Division { train: of(Part::Train)?[0], tests: of(Part::Test)? }))
}

/// Names in quotation marks, the first few of many.
pub(in crate::data) fn quoted(names: &[&str]) -> String {
    let shown: Vec<String> = names.iter().take(4).map(|name| format!("'{name}'")).collect();
    match (shown.split_last(), names.len() - shown.len()) {
        (Some((last, rest)), 0) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        (_, 0) => shown.concat(),
        (_, more) => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_many_names() {
        for (train, test) in [
            ("train", "valid"),
            ("Train", "Test"),
            ("TRAIN", "VAL"),
            ("Training", "Testing"),
            ("training_set", "test_set"),
            ("train", "dev"),
            ("trainset", "testset"),
            ("train2017", "val2017"),
            ("seg_train", "seg_test"),
            ("train images", "test-images"),
            ("01_train", "02_test"),
            ("trainval", "test"),
            ("train", "evaluation"),
        ] {
            let found = divide([test, train]).unwrap().unwrap();
            assert_eq!((found.train, found.tests), (train, vec![test]));
        }
        let found = divide(["val", "train", "test", "train_labels", "test_labels", "extra"])
            .unwrap()
            .unwrap();
        assert_eq!((found.train, found.tests), ("train", vec!["test", "val"]));
    }

    #[test]
    fn other_names_are_no_parts_and_doubtful_ones_are_said() {
        for names in [
            &["cat", "dog"][..],
            &["train", "bus"],
            &["train_station", "test_tube", "cat"],
            &["training"],
        ] {
            assert_eq!(divide(names.iter().copied()).unwrap(), None, "{names:?}");
        }
        for (names, found) in [
            (
                &["train", "Training", "test"][..],
                "two folders for the train part: 'Training' and 'train'",
            ),
            (&["val", "test"], "'val' and 'test'"),
            (&["a_train", "a_test", "b_train", "b_test"], "several pairs of parts"),
        ] {
            let text = divide(names.iter().copied()).unwrap_err();
            assert!(text.contains(found), "{text}");
        }
    }
}
