//! Which pictures a folder or archive holds, and which class each belongs to, from their paths alone.

use std::collections::BTreeSet;
use std::path::Path;

use super::error::DataError;
use super::source::Part;

/// Folders deeper than this are not looked into: data sets are flat, links may go in circles.
const MAX_DEPTH: usize = 6;

/// The class of pictures that are in no class folder.
pub(super) const NO_CLASS: &str = "image";

/// Names of folders and prefixes of archives that hold a part, the preferred first.
pub(super) fn part_names(part: Part) -> &'static [&'static str] {
    match part {
        Part::Train => &["train"],
        Part::Test => &["test", "val", "validation"],
    }
}

/// The extension, as it is usually written, of a format that can be decoded; none of other names.
pub(super) fn picture_extension(name: &str) -> Option<&'static str> {
    let (_, extension) = name.rsplit_once('.')?;
    Some(match extension.to_ascii_lowercase().as_str() {
        "png" => "png",
        "jpg" | "jpeg" => "jpg",
        "webp" => "webp",
        "tif" | "tiff" => "tif",
        "bmp" => "bmp",
        "gif" => "gif",
        _ => return None,
    })
}

/// Whether the extension is that of a format that can be decoded.
pub(super) fn is_picture(name: &str) -> bool {
    picture_extension(name).is_some()
}

/// Whether a name is that of a synset of WordNet, as ImageNet calls its classes: n01440764.
pub(super) fn is_wnid(name: &str) -> bool {
    name.len() == 9 && name.starts_with('n') && name[1..].bytes().all(|b| b.is_ascii_digit())
}

/// Whether a component of a path is to be ignored: hidden files and what macOS adds to archives.
pub(super) fn is_hidden(component: &str) -> bool {
    component.starts_with('.') || component == "__MACOSX"
}

/// The paths of all pictures below `root`, relative to it, with `/` between components, sorted.
pub(super) fn walk(root: &Path) -> Result<Vec<String>, DataError> {
    let mut paths = Vec::new();
    walk_into(root, "", 0, &mut paths)?;
    paths.sort_unstable();
    Ok(paths)
}

fn walk_into(folder: &Path, prefix: &str, depth: usize, paths: &mut Vec<String>) -> Result<(), DataError> {
    let entries = std::fs::read_dir(folder).map_err(|e| DataError::io(folder, e))?;
    for entry in entries {
        let entry = entry.map_err(|e| DataError::io(folder, e))?;
        let path = entry.path();
        let Ok(name) = entry.file_name().into_string() else {
            return Err(DataError::malformed(&path, "a file name in UTF-8", "other bytes"));
        };
        if is_hidden(&name) {
            continue;
        }
        if path.is_dir() {
            if depth < MAX_DEPTH {
                walk_into(&path, &format!("{prefix}{name}/"), depth + 1, paths)?;
            }
        } else if is_picture(&name) {
            paths.push(format!("{prefix}{name}"));
        }
    }
    Ok(())
}

/// The chosen pictures and their classes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    /// For each picture its index in the list of paths and its label.
    pub picks: Vec<(usize, u32)>,
    /// Class names, sorted.
    pub classes: Vec<String>,
    /// Whether the paths distinguish a training and a test part.
    pub split: bool,
}

/// Assigns classes to the pictures at `paths` (sorted, relative, `/` between components).
///
/// The class is the first component: of the path itself, or of what follows `train/`, `test/` or `val/` if the paths are
/// split in that way (then only `part` is chosen, but the classes are those of both parts, so that labels agree),
/// or of what follows a folder that holds everything. Pictures without a folder are of one class, [`NO_CLASS`].
///
/// Errors are what was found instead.
pub(super) fn assign(paths: &[impl AsRef<str>], part: Part) -> Result<Chosen, String> {
    let mut components: Vec<Vec<&str>> = paths.iter().map(|path| split(path.as_ref())).collect();
    loop {
        let tops: BTreeSet<&str> =
            components.iter().filter(|c| c.len() > 1).filter_map(|c| c.first().copied()).collect();
        let train = part_names(Part::Train).iter().find(|name| tops.contains(**name));
        let test = part_names(Part::Test).iter().find(|name| tops.contains(**name));
        if let (Some(&train), Some(&test)) = (train, test) {
            let chosen = if part == Part::Train { train } else { test };
            return assign_split(&components, chosen, &[train, test]);
        }
        // A single folder around class folders is no class.
        if tops.len() == 1 && components.iter().all(|c| c.len() > 2) {
            for path in &mut components {
                path.remove(0);
            }
            continue;
        }
        break;
    }
    let all: Vec<usize> = (0..components.len()).collect();
    let (labels, classes) = label(&components)?;
    Ok(Chosen { picks: all.into_iter().zip(labels).collect(), classes, split: false })
}

fn split(path: &str) -> Vec<&str> {
    path.split('/').filter(|c| !c.is_empty() && *c != ".").collect()
}

fn assign_split(components: &[Vec<&str>], chosen: &str, parts: &[&str]) -> Result<Chosen, String> {
    let members: Vec<usize> = (0..components.len())
        .filter(|&i| components[i].len() > 1 && parts.contains(&components[i][0]))
        .collect();
    let inner: Vec<Vec<&str>> = members.iter().map(|&i| components[i][1..].to_vec()).collect();
    let (labels, classes) = label(&inner)?;
    let picks =
        members.into_iter().zip(labels).filter(|&(i, _)| components[i][0] == chosen).collect::<Vec<_>>();
    Ok(Chosen { picks, classes, split: true })
}

/// The label of every path and the class names.
fn label(components: &[Vec<&str>]) -> Result<(Vec<u32>, Vec<String>), String> {
    let flat = components.iter().find(|c| c.len() == 1);
    let foldered = components.iter().find(|c| c.len() > 1);
    if let (Some(flat), Some(foldered)) = (flat, foldered) {
        return Err(format!(
            "'{}' in the class folder '{}' but '{}' in none",
            foldered[foldered.len() - 1],
            foldered[0],
            flat[0]
        ));
    }
    if flat.is_some() {
        return Ok((vec![0; components.len()], vec![NO_CLASS.to_owned()]));
    }
    let classes: BTreeSet<&str> = components.iter().map(|c| c[0]).collect();
    let classes: Vec<&str> = classes.into_iter().collect();
    // Every class is in the list: it was made from the same components.
    let labels = components.iter().map(|c| classes.binary_search(&c[0]).unwrap_or(0) as u32).collect();
    Ok((labels, classes.into_iter().map(str::to_owned).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(paths: &[&str], part: Part) -> Result<Chosen, String> {
        assign(&paths.iter().map(|&p| p.to_owned()).collect::<Vec<_>>(), part)
    }

    fn names(chosen: &Chosen) -> Vec<&str> {
        chosen.classes.iter().map(String::as_str).collect()
    }

    #[test]
    fn classes_are_folders() {
        let chosen = of(&["a/1.png", "a/2.png", "b/x/1.png"], Part::Test).unwrap();
        assert_eq!((names(&chosen), chosen.split), (vec!["a", "b"], false));
        assert_eq!(chosen.picks, [(0, 0), (1, 0), (2, 1)]);
        let around = of(&["./set/a/1.png", "./set/b/1.png"], Part::Train).unwrap();
        assert_eq!(names(&around), ["a", "b"]);
        assert_eq!(names(&of(&["only/1.png"], Part::Train).unwrap()), ["only"]);
    }

    #[test]
    fn pictures_without_folders_are_one_class() {
        let chosen = of(&["1.png", "2.png"], Part::Train).unwrap();
        assert_eq!((names(&chosen), chosen.picks.len()), (vec![NO_CLASS], 2));
        assert!(of(&["1.png", "a/2.png"], Part::Train).unwrap_err().contains("'1.png' in none"));
    }

    #[test]
    fn parts_share_their_classes() {
        let paths = ["set/test/b/1.png", "set/train/a/1.png", "set/train/b/images/2.png"];
        let test = of(&paths, Part::Test).unwrap();
        assert_eq!((names(&test), test.picks.clone()), (vec!["a", "b"], vec![(0, 1)]));
        let train = of(&paths, Part::Train).unwrap();
        assert_eq!((train.picks, train.split), (vec![(1, 0), (2, 1)], true));
        // A class that happens to be called like a part is a class as long as the other part is missing.
        assert_eq!(names(&of(&["bus/1.png", "train/1.png"], Part::Train).unwrap()), ["bus", "train"]);
    }
}
