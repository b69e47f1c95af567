//! Which images a folder or archive holds, and which class each belongs to, from their paths
//! alone.

use std::collections::{BTreeMap, BTreeSet};

use super::part_names::{self, Division, quoted};
use crate::data::notes::{Left, Notes, plural};
use crate::data::part::Part;

/// The class of images that are in no class folder.
pub(in crate::data) const NO_CLASS: &str = "image";

/// Folders that systems and programs keep for themselves, in lower case: macOS, Windows, Synology,
/// QNAP, Linux, Python. Those that begin with a dot are hidden anyway.
const JUNK: &[&str] = &[
    "__macosx",
    "network trash folder",
    "temporary items",
    "$recycle.bin",
    "recycler",
    "recycled",
    "system volume information",
    "found.000",
    "@eadir",
    "#recycle",
    "#snapshot",
    "@sharesnap",
    "@tmp",
    "@__thumb",
    "@recycle",
    "@recently-snapshot",
    "lost+found",
    "__pycache__",
];

/// Names of folders that hold images of a set whose other folders hold masks of them, in lower
/// case.
const IMAGES: &[&str] =
    &["images", "image", "imgs", "img", "input", "inputs", "jpegimages", "leftimg8bit", "photos"];

/// Names of the folders of such masks.
const MASKS: &[&str] = &[
    "masks",
    "mask",
    "labels",
    "label",
    "annotations",
    "annotation",
    "gt",
    "gtfine",
    "groundtruth",
    "ground_truth",
    "segmentation",
    "segmentations",
    "segmentationclass",
    "target",
    "targets",
    "trimaps",
];

/// Endings of the name of a mask that lies beside its image.
const MASK_ENDINGS: &[&str] =
    &["_mask", "-mask", "_seg", "_segmentation", "_superpixels", "_gt", "_groundtruth", "_trimap"];

/// The extension, as it is usually written, of a format that can be decoded; none of other names.
pub(in crate::data) fn image_extension(name: &str) -> Option<&'static str> {
    let (_, extension) = name.rsplit_once('.')?;
    Some(match extension.to_ascii_lowercase().as_str() {
        "png" | "apng" => "png",
        "jpg" | "jpeg" | "jpe" | "jfif" | "jfi" | "jif" => "jpg",
        "webp" => "webp",
        "tif" | "tiff" => "tif",
        "bmp" | "dib" => "bmp",
        "gif" => "gif",
        "qoi" => "qoi",
        "pnm" | "ppm" | "pgm" | "pbm" => "pnm",
        "jxl" => "jxl",
        "exr" => "exr",
        _ => return None,
    })
}

/// Whether the extension is that of a format that can be decoded.
pub(in crate::data) fn is_image(name: &str) -> bool {
    image_extension(name).is_some()
}

/// Whether a name is that of a synset of WordNet, as ImageNet calls its classes: n01440764.
pub(in crate::data) fn is_wnid(name: &str) -> bool {
    name.len() == 9 && name.starts_with('n') && name[1..].bytes().all(|b| b.is_ascii_digit())
}

/// Whether a component of a path is hidden.
pub(in crate::data) fn is_hidden(component: &str) -> bool {
    component.starts_with('.')
}

/// Whether a component of a path is a folder that a system or a program keeps for itself.
pub(in crate::data) fn is_junk(component: &str) -> bool {
    JUNK.contains(&component.to_ascii_lowercase().as_str())
}

/// The chosen images and their classes.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::data) struct ClassAssignment {
    /// For each image its index in the list of paths and its label.
    pub picks: Vec<(usize, u32)>,
    /// Class names, sorted.
    pub classes: Vec<String>,
    /// Whether the paths distinguish a training and a test part.
    pub split: bool,
    /// What was left out or guessed.
    pub notes: Notes,
}

/// Why paths cannot be assigned to classes with certainty.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::data) struct Ambiguity {
    /// What would be certain.
    pub expected: &'static str,
    /// What is there instead.
    pub found: String,
}

const ONE_DIVISION: &str = "one folder with the training and one with the test part, as 'train' \
                            and 'test' or 'val' \
                            (name the folder of one of them, or rename)";

/// Assigns classes to the images at `paths` (sorted, relative, `/` between components).
///
/// The class is the first component: of the path itself, or of what follows a folder of a part,
/// such as `train/` and `test/` or `val/` ([`part_names::divide`]), if the paths are divided in
/// that way (then only `part` is chosen, but the classes are those of both parts, so that labels
/// agree), or of what follows a folder that holds everything. A set is also divided if every class
/// folder is (`cat/train/`, `cat/test/`). Where images lie in no folder, all are of one class,
/// [`NO_CLASS`].
///
/// # Errors
///
/// What is not certain.
pub(in crate::data) fn assign(
    paths: &[impl AsRef<str>],
    part: Part,
) -> Result<ClassAssignment, Ambiguity> {
    let mut components: Vec<Vec<&str>> = paths.iter().map(|path| split(path.as_ref())).collect();
    let ambiguity = |found: String| Ambiguity { expected: ONE_DIVISION, found };
    loop {
        let tops: BTreeSet<&str> =
            components.iter().filter(|c| c.len() > 1).filter_map(|c| c.first().copied()).collect();
        if let Some(division) = part_names::divide(tops.iter().copied()).map_err(ambiguity)? {
            return assign_split(&components, &division, part);
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
    if let Some(division) = divided_classes(&components)? {
        for path in components.iter_mut().filter(|path| path.len() > 2) {
            path.swap(0, 1);
        }
        return assign_split(&components, &division, part);
    }
    let mut notes = Notes::default();
    let (labels, classes) = label(&components);
    for path in components.iter().filter(|path| path.len() > 2) {
        if part_names::of_name(path[0]).is_some() && classes.len() > 1 {
            notes.say(format!(
                "the folder '{}' is taken for a class: no other part lies beside it",
                path[0]
            ));
        }
    }
    remark(&components, &classes, &mut notes);
    Ok(ClassAssignment {
        picks: (0..components.len()).zip(labels).collect(),
        classes,
        split: false,
        notes,
    })
}

fn split(path: &str) -> Vec<&str> {
    path.split('/').filter(|c| !c.is_empty() && *c != ".").collect()
}

/// The parts that lie in every class folder; nothing if they lie in none.
fn divided_classes<'a>(components: &[Vec<&'a str>]) -> Result<Option<Division<'a>>, Ambiguity> {
    let mut below: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for path in components.iter().filter(|path| path.len() > 1) {
        let inner = below.entry(path[0]).or_default();
        inner.extend(path.get(1).filter(|_| path.len() > 2));
    }
    let divided =
        |inner: &BTreeSet<&'a str>| part_names::divide(inner.iter().copied()).ok().flatten();
    let count = below.values().filter(|inner| divided(inner).is_some()).count();
    if count == 0 {
        return Ok(None);
    }
    let ambiguity = |found: String| Ambiguity {
        expected: "every class folder divided into the same parts, or none",
        found,
    };
    if let Some((class, _)) = below.iter().find(|(_, inner)| divided(inner).is_none()) {
        let (other, inner) = below
            .iter()
            .find(|(_, inner)| divided(inner).is_some())
            .unwrap_or((class, &below[class]));
        let inner: Vec<&str> = inner.iter().copied().collect();
        return Err(ambiguity(format!("{} in '{other}' but not in '{class}'", quoted(&inner))));
    }
    let all: BTreeSet<&str> = below.into_values().flatten().collect();
    part_names::divide(all).map_err(ambiguity)
}

fn assign_split(
    components: &[Vec<&str>],
    division: &Division<'_>,
    part: Part,
) -> Result<ClassAssignment, Ambiguity> {
    let in_classes = |folder: &str| components.iter().any(|c| c.len() > 2 && c[0] == folder);
    let train = division.train;
    // Images for testing without classes are passed over where others have some.
    let test = match division.tests.iter().find(|test| in_classes(test)) {
        Some(test) if in_classes(train) => *test,
        _ => division.tests[0],
    };
    let is_member = |c: &[&str]| c.len() > 1 && (c[0] == train || c[0] == test);
    let mut notes = Notes::default();
    let others: Vec<&Vec<&str>> = components.iter().filter(|c| !is_member(c)).collect();
    if let Some(other) = others.iter().find(|c| c.len() > 1 && !division.tests.contains(&c[0]))
        && !in_classes(train)
        && !in_classes(test)
    {
        let found = format!("images in '{train}' and '{test}', and others in '{}'", other[0]);
        return Err(Ambiguity { expected: ONE_DIVISION, found });
    }
    if let Some(example) = others.first() {
        notes.left_many(Left::Elsewhere, others.len(), || example.join("/"));
        notes.say(format!("divided into '{train}' and '{test}'"));
    }
    let members: Vec<usize> =
        (0..components.len()).filter(|&i| is_member(&components[i])).collect();
    let inner: Vec<Vec<&str>> = members.iter().map(|&i| components[i][1..].to_vec()).collect();
    let (labels, classes) = label(&inner);
    remark(&inner, &classes, &mut notes);
    let of_train: BTreeSet<u32> = members
        .iter()
        .zip(&labels)
        .filter(|(i, _)| components[**i][0] == train)
        .map(|(_, l)| *l)
        .collect();
    let unlearnt: Vec<&str> = (0u32..)
        .zip(&classes)
        .filter(|(l, _)| !of_train.contains(l))
        .map(|(_, c)| &c[..])
        .collect();
    if !unlearnt.is_empty() {
        let class = if unlearnt.len() == 1 { "class" } else { "classes" };
        notes.say(format!("no images to train on of the {class} {}", quoted(&unlearnt)));
    }
    let chosen = if part == Part::Train { train } else { test };
    let picks = members
        .into_iter()
        .zip(labels)
        .filter(|&(i, _)| components[i][0] == chosen)
        .collect::<Vec<_>>();
    Ok(ClassAssignment { picks, classes, split: true, notes })
}

/// The label of every path and the class names. A collection of photographs may have images in its
/// folders and beside them: folders are then no classes, which opening it as a set with classes
/// refuses (`ImageFiles::check_layout`).
fn label(components: &[Vec<&str>]) -> (Vec<u32>, Vec<String>) {
    if components.iter().any(|c| c.len() == 1) {
        return (vec![0; components.len()], vec![NO_CLASS.to_owned()]);
    }
    let classes: BTreeSet<&str> = components.iter().map(|c| c[0]).collect();
    let classes: Vec<&str> = classes.into_iter().collect();
    // Every class is in the list: it was made from the same components.
    let labels =
        components.iter().map(|c| classes.binary_search(&c[0]).unwrap_or(0) as u32).collect();
    (labels, classes.into_iter().map(str::to_owned).collect())
}

/// Says what may not have been meant.
fn remark(components: &[Vec<&str>], classes: &[String], notes: &mut Notes) {
    let one_of = |names: &[&str]| {
        classes.iter().find(|class| names.contains(&class.to_lowercase().as_str()))
    };
    if let (Some(images), Some(masks)) = (one_of(IMAGES), one_of(MASKS)) {
        notes.say(format!("the folders '{images}' and '{masks}' are taken for classes"));
    }
    let mut lower: BTreeMap<String, &str> = BTreeMap::new();
    for class in classes {
        if let Some(other) = lower.insert(class.to_lowercase(), class) {
            notes.say(format!("'{other}' and '{class}' are two classes"));
        }
    }
    let stem =
        |name: &str| name.rsplit_once('.').map_or(name.to_owned(), |(stem, _)| stem.to_owned());
    // The stem of the image that it is a mask of.
    let mask_of = |path: &[&str]| -> Option<String> {
        let stem = path.last().map(|name| stem(name))?;
        let lower = stem.to_ascii_lowercase();
        let bare = lower.trim_end_matches(|c: char| c.is_ascii_digit() || c == '_');
        let ending = MASK_ENDINGS.iter().find(|ending| bare.ends_with(**ending))?;
        Some(stem.get(..bare.len() - ending.len())?.to_owned())
    };
    let masks: Vec<_> = components.iter().filter_map(|path| Some((path, mask_of(path)?))).collect();
    if masks.is_empty() {
        return;
    }
    let stems: BTreeSet<(&[&str], String)> = components
        .iter()
        .filter_map(|path| path.split_last().map(|(name, folders)| (folders, stem(name))))
        .collect();
    let known = |path: &[&str], of: &str| stems.contains(&(&path[..path.len() - 1], of.to_owned()));
    let masks: Vec<_> = masks.iter().filter(|(path, of)| known(path, of)).collect();
    if let Some((example, _)) = masks.first() {
        let count = masks.len();
        let (images, are) = (plural("image", count), if count == 1 { "is" } else { "are" });
        let example = example.join("/");
        notes.say(format!(
            "{count} {images} that {are} named as a mask of another {are} counted: {example}"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(paths: &[&str], part: Part) -> Result<ClassAssignment, Ambiguity> {
        assign(&paths.iter().map(|&p| p.to_owned()).collect::<Vec<_>>(), part)
    }

    fn names(chosen: &ClassAssignment) -> Vec<&str> {
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
    fn images_without_folders_are_one_class() {
        let chosen = of(&["1.png", "2.png"], Part::Train).unwrap();
        assert_eq!((names(&chosen), chosen.picks.len()), (vec![NO_CLASS], 2));
        let mixed = of(&["1.png", "a/2.png"], Part::Train).unwrap();
        assert_eq!((names(&mixed), &mixed.picks), (vec![NO_CLASS], &vec![(0, 0), (1, 0)]));
    }

    #[test]
    fn parts_share_their_classes() {
        let paths = ["set/test/b/1.png", "set/train/a/1.png", "set/train/b/images/2.png"];
        let test = of(&paths, Part::Test).unwrap();
        assert_eq!((names(&test), test.picks.clone()), (vec!["a", "b"], vec![(0, 1)]));
        let train = of(&paths, Part::Train).unwrap();
        assert_eq!((train.picks, train.split), (vec![(1, 0), (2, 1)], true));
        // A class that happens to be called like a part is a class as long as the other part is
        // missing.
        assert_eq!(
            names(&of(&["bus/1.png", "train/1.png"], Part::Train).unwrap()),
            ["bus", "train"]
        );
    }
}
