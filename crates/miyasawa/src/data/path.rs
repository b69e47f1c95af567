//! Data sets that are given by a path: what is there decides how it is read.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::cifar::{self, Kind};
use super::dataset::Dataset;
use super::encoded::{Encoded, Entry};
use super::error::DataError;
use super::source::{Content, Found, Part};
use super::store::Store;
use super::{archive, idx, listing, named, places, read, tiny};
use crate::picture::FORMAT_NAMES;

/// The most shards that a range in braces may name.
const MAX_SHARDS: usize = 100_000;

/// What a path may be, for messages.
const KINDS: &str = "an IDX image file, a CIFAR binary file, a tar or a folder of pictures";

/// Finds the data set at a path; one that is relative and not there is looked for below `roots` too.
pub(super) fn find_below(path: &Path, roots: &[PathBuf], part: Part) -> Result<Found, DataError> {
    // What may not be looked at is there: reading it tells why. Below a file there is nothing.
    let exists = |place: &Path| place.try_exists().unwrap_or_else(|e| e.kind() != ErrorKind::NotADirectory);
    let there = |place: &Path| {
        exists(place) || matches!(shards(place), Some(Ok(shards)) if shards.iter().any(|shard| exists(shard)))
    };
    let roots = roots.iter().filter(|_| path.is_relative());
    let places: Vec<PathBuf> =
        std::iter::once(path.to_owned()).chain(roots.map(|root| root.join(path))).collect();
    if let Some(Err(unusable)) = shards(path).filter(|_| !places.iter().any(|place| there(place))) {
        return Err(unusable);
    }
    let hint = "It is neither a file nor a data set's name: those are digits, fashion-mnist, mnist, cifar10, \
                cifar100, tiny-imagenet";
    places::first(places, format!("'{}'", path.display()), hint, |place| {
        there(place).then(|| find(place, part)).transpose()
    })
}

/// Finds the data set at a path that is there.
pub(super) fn find(path: &Path, part: Part) -> Result<Found, DataError> {
    if let Some(shards) = shards(path).filter(|_| !path.exists()) {
        return archive::find(&path.display().to_string(), &shards?, part);
    }
    let metadata = std::fs::metadata(path).map_err(|e| DataError::io(path, e))?;
    if metadata.is_dir() { find_in_folder(path, part) } else { find_in_file(path, part) }
}

fn raw(dataset: Dataset, split: bool) -> Result<Found, DataError> {
    Ok(Found { content: Content::Raw(dataset), split })
}

fn find_in_file(path: &Path, part: Part) -> Result<Found, DataError> {
    let name = path.display().to_string();
    let file = read::file_name(path);
    if is_tar(&file) {
        return archive::find(&name, &[path.to_owned()], part);
    }
    if idx::is_image_name(&file) {
        return raw(idx::load(&name, path, &idx::labels_beside(path)?, None)?, false);
    }
    if file.ends_with(".bin") {
        let bytes = read::read_archive(path)?;
        let kind = Kind::of_name(&file).map(|(kind, _)| kind).or_else(|| Kind::of_length(bytes.len()));
        let kind = kind.ok_or_else(|| {
            let found = format!("{} bytes", bytes.len());
            DataError::malformed(path, "CIFAR records of 3073 or 3074 bytes", found)
        })?;
        return raw(cifar::parse(&name, kind, &[(path.to_owned(), &bytes)])?, false);
    }
    // Errors such as a missing permission come before a judgement of the name.
    let _ = read::open(path)?;
    let found = if listing::is_picture(&file) {
        "a single picture: give its folder"
    } else if idx::is_idx_name(&file) {
        "an IDX label file: give the image file"
    } else {
        "a file with another name"
    };
    Err(DataError::malformed(path, KINDS, found))
}

fn find_in_folder(folder: &Path, part: Part) -> Result<Found, DataError> {
    let name = folder.display().to_string();
    if tiny::is_tiny(folder) {
        return tiny::find(folder, part);
    }
    let files = files(folder)?;
    let missing = |looked: &[&str]| DataError::NotFound {
        what: format!("the {part} part in {name}"),
        looked: looked.iter().map(|file| folder.join(file)).collect(),
        hint: "The other part is there".to_owned(),
    };

    let mut kinds = Vec::new();
    for file in &files {
        kinds.extend(Kind::of_name(&read::file_name(file)).map(|(kind, of)| (kind, of, file.clone())));
    }
    if let Some(&(kind, _, _)) = kinds.first() {
        let chosen = kinds.into_iter().filter(|&(k, of, _)| k == kind && of == part);
        let read = chosen.map(|(_, _, file)| read::read_archive(&file).map(|bytes| (file, bytes)));
        let read = read.collect::<Result<Vec<_>, DataError>>()?;
        if read.is_empty() {
            return Err(missing(&["data_batch_*.bin", "test_batch.bin", "train.bin", "test.bin"]));
        }
        let files: Vec<(PathBuf, &[u8])> =
            read.iter().map(|(file, bytes)| (file.clone(), &bytes[..])).collect();
        return raw(cifar::parse(&name, kind, &files)?, true);
    }

    let images: Vec<&PathBuf> =
        files.iter().filter(|file| idx::is_image_name(&read::file_name(file))).collect();
    if let Some(first) = images.first() {
        let (images, split) = match named::idx_images(folder, part)? {
            Some(images) => (images, images_are_split(folder)?),
            None if images.len() == 1 && !read::file_name(first).starts_with("train") => {
                ((*first).clone(), false)
            }
            None if images.len() == 1 && part == Part::Train => {
                return Err(missing(&["train-images-idx3-ubyte"]));
            }
            None => return Err(missing(&["train-images-idx3-ubyte", "t10k-images-idx3-ubyte"])),
        };
        return raw(idx::load(&name, &images, &idx::labels_beside(&images)?, None)?, split);
    }

    let (train, test) = (tars_of(&files, Part::Train), tars_of(&files, Part::Test));
    if !train.is_empty() || !test.is_empty() {
        let split = !train.is_empty() && !test.is_empty();
        let chosen = match part {
            // One part alone is a set without parts, as `convert` writes it.
            _ if !split => [train, test].concat(),
            Part::Train => train,
            Part::Test => test,
        };
        let found = archive::find(&name, &chosen, part)?;
        // A tar may hold both parts itself.
        return Ok(Found { split: split || found.split, ..found });
    }
    if let Some(found) = class_archives(folder, &files, part)? {
        return Ok(found);
    }

    let paths = listing::walk(folder)?;
    if paths.is_empty() {
        let tars = files.iter().filter(|file| is_tar(&read::file_name(file))).count();
        let found = match (tars, files.len()) {
            (0, 0) => "an empty one".to_owned(),
            (0, n) => format!("none in it, but {n} other files"),
            (n, _) => {
                format!("{n} tar files whose names do not begin with train, test or val: name one of them")
            }
        };
        return Err(DataError::malformed(folder, format!("a folder with pictures ({FORMAT_NAMES})"), found));
    }
    let chosen = listing::assign(&paths, part)
        .map_err(|found| DataError::malformed(folder, "every picture in a class folder or none", found))?;
    let entry = |(at, label): (usize, u32)| {
        let name = paths[at].clone().into_boxed_str();
        Entry { store: 0, label, len: 0, offset: 0, name }
    };
    let entries = chosen.picks.into_iter().map(entry).collect();
    let encoded = Encoded { name, classes: chosen.classes, stores: vec![Store::folder(folder)], entries };
    Ok(Found { content: Content::Encoded(encoded), split: chosen.split })
}

/// A folder as ImageNet's archives unpack: a tar for each class, `n01440764.tar`, in the folder or in its subfolders
/// `train` and `test` or `val`; `None` if it is none.
fn class_archives(folder: &Path, files: &[PathBuf], part: Part) -> Result<Option<Found>, DataError> {
    let of_classes = |files: &[PathBuf]| -> Vec<PathBuf> {
        let is_class = |name: &str| is_tar(name) && listing::is_wnid(name.split('.').next().unwrap_or(name));
        files.iter().filter(|file| is_class(&read::file_name(file))).cloned().collect()
    };
    let found = |tars: &[PathBuf], split| -> Result<Option<Found>, DataError> {
        let encoded = archive::classes(&folder.display().to_string(), tars)?;
        Ok(Some(Found { content: Content::Encoded(encoded), split }))
    };
    let here = of_classes(files);
    if !here.is_empty() {
        return found(&here, false);
    }
    let within = |part: Part| -> Result<Vec<PathBuf>, DataError> {
        let below = listing::part_names(part).iter().map(|name| folder.join(name)).find(|path| path.is_dir());
        below.map_or(Ok(Vec::new()), |below| Ok(of_classes(&self::files(&below)?)))
    };
    let (train, test) = (within(Part::Train)?, within(Part::Test)?);
    if train.is_empty() || test.is_empty() {
        return Ok(None);
    }
    found(if part == Part::Train { &train } else { &test }, true)
}

fn images_are_split(folder: &Path) -> Result<bool, DataError> {
    Ok(named::idx_images(folder, Part::Train)?.is_some() && named::idx_images(folder, Part::Test)?.is_some())
}

/// Whether a folder holds files or subfolders of both parts.
pub(super) fn has_parts(folder: &Path) -> Result<bool, DataError> {
    let files = files(folder)?;
    let both = |part_of: &dyn Fn(&Path) -> Option<Part>| {
        [Part::Train, Part::Test].iter().all(|part| files.iter().any(|file| part_of(file) == Some(*part)))
    };
    let binary = |file: &Path| Kind::of_name(&read::file_name(file)).map(|(_, part)| part);
    if both(&binary) || images_are_split(folder)? {
        return Ok(true);
    }
    if !tars_of(&files, Part::Train).is_empty() && !tars_of(&files, Part::Test).is_empty() {
        return Ok(true);
    }
    let folder_of = |part| listing::part_names(part).iter().any(|name| folder.join(name).is_dir());
    Ok(folder_of(Part::Train) && folder_of(Part::Test))
}

/// The files directly in a folder, sorted by name, hidden ones left out.
pub(super) fn files(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let entries = std::fs::read_dir(folder).map_err(|e| DataError::io(folder, e))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| DataError::io(folder, e))?.path();
        if path.is_file() && !listing::is_hidden(&read::file_name(&path)) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn is_tar(name: &str) -> bool {
    read::strip_gz(name).0.ends_with(".tar") || name.ends_with(".tgz")
}

/// The archives of a part by the beginning of their names; of several names for a part the first that occurs.
fn tars_of(files: &[PathBuf], part: Part) -> Vec<PathBuf> {
    let tars: Vec<&PathBuf> = files.iter().filter(|file| is_tar(&read::file_name(file))).collect();
    for prefix in listing::part_names(part) {
        let chosen: Vec<PathBuf> =
            tars.iter().filter(|file| read::file_name(file).starts_with(prefix)).copied().cloned().collect();
        if !chosen.is_empty() {
            return chosen;
        }
    }
    Vec::new()
}

/// The paths that a file name with a range in braces stands for, `{00000..00004}`; `None` without braces.
fn shards(path: &Path) -> Option<Result<Vec<PathBuf>, DataError>> {
    let name = read::file_name(path);
    let (before, rest) = name.split_once('{')?;
    let (range, after) = rest.split_once('}')?;
    let problem = |problem: String| DataError::Spec { spec: path.display().to_string(), problem };
    let parsed = range.split_once("..").and_then(|(from, to)| {
        // No number of shards has more digits, and a format's width ends at 65,535.
        let digits = |text: &str| {
            ((1..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())).then_some(())
        };
        digits(from).and(digits(to))?;
        Some((from.len(), from.parse::<usize>().ok()?, to.parse::<usize>().ok()?))
    });
    Some(match parsed {
        Some((_, from, to)) if from > to || to - from >= MAX_SHARDS => {
            Err(problem(format!("the range {{{range}}} is backwards or longer than {MAX_SHARDS} shards")))
        }
        Some((digits, from, to)) => {
            Ok((from..=to).map(|i| path.with_file_name(format!("{before}{i:0digits$}{after}"))).collect())
        }
        None => Err(problem(format!("'{{{range}}}' is not a range of numbers such as {{00000..00004}}"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_path_is_looked_for_below_the_roots() {
        let root = tempfile::tempdir().unwrap();
        let picture = image::DynamicImage::new_luma8(3, 2);
        for (i, class) in ["cat", "dog"].iter().enumerate() {
            let folder = root.path().join(format!("pets-{i}")).join(class);
            std::fs::create_dir_all(&folder).unwrap();
            picture.save(folder.join("a.png")).unwrap();
        }
        let roots = [root.path().join("nowhere"), root.path().to_owned()];
        let found = find_below(Path::new("pets-1"), &roots, Part::Test).unwrap();
        assert_eq!(found.content.classes(), ["dog"]);
        // Not an absolute one.
        let absolute = Path::new("/miyasawa-nowhere/pets-1");
        assert!(find_below(absolute, &roots, Part::Test).is_err());
        let Err(error) = find_below(Path::new("cars"), &roots, Part::Test) else { panic!("found") };
        let error = error.to_string();
        assert!(
            error.contains("nowhere/cars") && error.contains("'cars' not found; looked in cars"),
            "{error}"
        );
    }

    #[test]
    fn a_range_of_shards_may_have_any_digits_but_not_any_number() {
        let names = |range: &str| shards(Path::new(&format!("a-{{{range}}}.tar"))).unwrap();
        assert_eq!(names("08..10").unwrap(), ["a-08.tar", "a-09.tar", "a-10.tar"].map(PathBuf::from));
        for range in ["1..", "2..1", "0..100000", &format!("{}..1", "0".repeat(70_000)), "x..3"] {
            assert!(names(range).is_err(), "{}", &range[..range.len().min(20)]);
        }
    }
}
