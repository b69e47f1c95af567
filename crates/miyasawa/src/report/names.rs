//! Short names of models for tables and legends.

use std::path::Path;

/// File names that are the same in every run.
const GENERIC: [&str; 2] = ["model", "best"];

/// Returns a short name for each path, different for different paths: the file name without its
/// extension, with as many parent folders as are needed to make it unique, and at least one for a
/// run's `model.safetensors` and `best.safetensors`. Equal paths are numbered.
pub fn short_names(paths: &[String]) -> Vec<String> {
    let parts: Vec<Vec<String>> = paths.iter().map(|path| parts(path)).collect();
    let name =
        |parts: &[String], kept: usize| parts[parts.len() - kept.min(parts.len())..].join("/");
    let least = |parts: &[String]| {
        let generic = parts.last().is_some_and(|last| GENERIC.contains(&last.as_str()));
        if generic { 2 } else { 1 }
    };
    let mut names: Vec<String> = Vec::new();
    for (i, own) in parts.iter().enumerate() {
        let others = || parts.iter().enumerate().filter(|(k, other)| *k != i && *other != own);
        let unique = |kept: &usize| {
            others().all(|(_, other)| name(other, least(other).max(*kept)) != name(own, *kept))
        };
        let kept = (least(own)..=own.len()).find(unique).unwrap_or(own.len());
        let earlier = parts[..i].iter().filter(|other| *other == own).count();
        let short = name(own, kept);
        names.push(if earlier > 0 { format!("{short} ({})", earlier + 1) } else { short });
    }
    names
}

/// The parts of a path, the last without the extension of a checkpoint. A name such as `<bundled>`
/// is one part.
fn parts(path: &str) -> Vec<String> {
    if path.starts_with('<') {
        return vec![path.to_owned()];
    }
    let stem = path.strip_suffix(".safetensors").unwrap_or(path);
    let parts =
        Path::new(stem).components().map(|part| part.as_os_str().to_string_lossy().into_owned());
    let parts: Vec<String> = parts.filter(|part| part != "/" && part != ".").collect();
    if parts.is_empty() { vec![path.to_owned()] } else { parts }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(paths: &[&str]) -> Vec<String> {
        short_names(&paths.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn names_are_short_and_different() {
        assert_eq!(short(&["/photos/joint.safetensors", "plain.safetensors"]), ["joint", "plain"]);
        assert_eq!(
            short(&["/data/runs/a/model.safetensors", "/data/runs/b/model.safetensors"]),
            ["a/model", "b/model"]
        );
        assert_eq!(short(&["/data/runs/mine/best.safetensors"]), ["mine/best"]);
        assert_eq!(
            short(&["x/a/m.safetensors", "y/a/m.safetensors", "m2"]),
            ["x/a/m", "y/a/m", "m2"]
        );
        assert_eq!(short(&["m.safetensors", "a/m.safetensors"]), ["m", "a/m"]);
        assert_eq!(short(&["m", "m", "m"]), ["m", "m (2)", "m (3)"]);
        assert_eq!(
            short(&["<bundled>", "", "/", "model.safetensors"]),
            ["<bundled>", "", "/", "model"]
        );
    }

    proptest::proptest! {
        #[test]
        fn different_paths_have_different_names(
            paths in proptest::collection::hash_set("([ab]/){0,3}(model|best|c)", 1..8)
        ) {
            let paths: Vec<String> = paths.into_iter().collect();
            let names = short_names(&paths);
            let different: std::collections::BTreeSet<_> = names.iter().collect();
            assert_eq!(different.len(), paths.len(), "{paths:?} {names:?}");
        }
    }
}
