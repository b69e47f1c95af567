//! Tar archives: of class folders, of pictures without classes, of CIFAR binary files, and WebDataset shards.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::cifar::{self, Kind};
use super::dataset::Dataset;
use super::error::DataError;
use super::source::{LoadOptions, Loaded, Part};
use super::{listing, pictures, read};

/// Size of a tar block.
const BLOCK: usize = 512;

/// A tar archive in memory: unpacked, its files listed.
struct Tar {
    path: PathBuf,
    bytes: Vec<u8>,
    /// Path inside the archive and place in `bytes`.
    files: Vec<(String, Range<usize>)>,
}

impl Tar {
    fn open(path: &Path) -> Result<Self, DataError> {
        let bytes = read::read_archive(path)?;
        let files = list(&bytes).map_err(|found| DataError::malformed(path, "a whole tar archive", found))?;
        Ok(Self { path: path.to_owned(), bytes, files })
    }

    /// A file's path for messages: the archive's and its own.
    fn path_of(&self, file: usize) -> PathBuf {
        self.path.join(&self.files[file].0)
    }

    fn content(&self, file: usize) -> &[u8] {
        &self.bytes[self.files[file].1.clone()]
    }
}

/// The regular files of an archive. Errors are what was found instead of a whole archive.
fn list(bytes: &[u8]) -> Result<Vec<(String, Range<usize>)>, String> {
    if bytes.is_empty() {
        return Err("an empty file".to_owned());
    }
    let damage = |e: std::io::Error| {
        if e.kind() == std::io::ErrorKind::UnexpectedEof {
            return "a file that ends in the middle of an entry: it is truncated".to_owned();
        }
        format!("damage ({})", e.to_string().replace('\n', " "))
    };
    let mut archive = tar::Archive::new(std::io::Cursor::new(bytes));
    let mut files = Vec::new();
    let mut end = 0;
    for entry in archive.entries_with_seek().map_err(damage)? {
        let entry = entry.map_err(damage)?;
        let path = String::from_utf8(entry.path_bytes().into_owned())
            .map_err(|_| "a file name that is not UTF-8".to_owned())?;
        let start = entry.raw_file_position() as usize;
        // A sparse file says its unpacked size; what it occupies is in its header.
        let sparse = entry.header().entry_type().is_gnu_sparse();
        let size = if sparse { entry.header().entry_size().map_err(damage)? } else { entry.size() };
        let stop = usize::try_from(size).ok().and_then(|size| start.checked_add(size));
        let stop = stop.filter(|&stop| stop <= bytes.len());
        let Some(stop) = stop else {
            return Err(format!("a file that ends in the middle of the entry '{path}': it is truncated"));
        };
        end = stop.next_multiple_of(BLOCK);
        let hidden = path.split('/').any(|c| c != "." && c != ".." && listing::is_hidden(c));
        if entry.header().entry_type().is_file() && !hidden {
            files.push((path, start..stop));
        }
    }
    // A cut between two entries is seen only by what must follow the last one (POSIX pax, "ustar Interchange Format").
    match bytes.get(end..end + BLOCK) {
        Some(block) if block.iter().all(|&b| b == 0) => Ok(files),
        _ => Err("no end-of-archive block: it is truncated".to_owned()),
    }
}

/// Loads the data set that is in one archive or spread over several.
pub(super) fn load(
    name: &str,
    paths: &[PathBuf],
    part: Part,
    options: &LoadOptions,
) -> Result<Loaded, DataError> {
    let tars = paths.iter().map(|path| Tar::open(path)).collect::<Result<Vec<Tar>, DataError>>()?;
    let Some(first) = tars.first() else {
        return Err(DataError::invalid(name, "at least one archive", "none"));
    };
    let all = || tars.iter().enumerate().flat_map(|(t, tar)| (0..tar.files.len()).map(move |f| (t, f)));
    let file_name = |(t, f): (usize, usize)| -> &str {
        let path = &tars[t].files[f].0;
        path.rsplit('/').next().unwrap_or(path)
    };
    if all().any(|at| file_name(at).ends_with(".cls")) {
        return Ok(Loaded { dataset: load_webdataset(name, &tars, options)?, split: false });
    }
    let mut found: Vec<(usize, usize)> = all().filter(|&at| listing::is_picture(file_name(at))).collect();
    if found.is_empty() {
        let binaries = all()
            .filter_map(|at| Kind::of_name(file_name(at)).map(|(kind, of)| (kind, of, at)))
            .filter(|&(_, of, _)| of == part);
        let mut binaries: Vec<_> = binaries.collect();
        binaries.sort_by_key(|&(_, _, at)| file_name(at).to_owned());
        if let Some(&(kind, _, _)) = binaries.first() {
            let files: Vec<(PathBuf, &[u8])> =
                binaries.iter().map(|&(_, _, (t, f))| (tars[t].path_of(f), tars[t].content(f))).collect();
            return Ok(Loaded { dataset: cifar::parse(name, kind, &files)?, split: true });
        }
        let expected = "an archive with pictures (PNG, JPEG, WebP)";
        return Err(DataError::malformed(&first.path, expected, format!("{} other files", all().count())));
    }
    found.sort_by(|a, b| tars[a.0].files[a.1].0.cmp(&tars[b.0].files[b.1].0).then(a.cmp(b)));
    let inner: Vec<String> = found.iter().map(|&(t, f)| tars[t].files[f].0.clone()).collect();
    let chosen = listing::assign(&inner, part).map_err(|found| {
        DataError::malformed(&first.path, "every picture in a class folder or none", found)
    })?;
    let (picks, labels): (Vec<usize>, Vec<u32>) = chosen.picks.into_iter().unzip();
    let at = |i: usize| found[picks[i]];
    let dataset = pictures::build(
        name,
        chosen.classes,
        &labels,
        options,
        |i| tars[at(i).0].path_of(at(i).1),
        |i| Ok(Cow::Borrowed(tars[at(i).0].content(at(i).1))),
    )?;
    Ok(Loaded { dataset, split: chosen.split })
}

/// WebDataset shards: files that share a path up to the first dot of their name are one example.
fn load_webdataset(name: &str, tars: &[Tar], options: &LoadOptions) -> Result<Dataset, DataError> {
    let mut examples: Vec<(usize, usize)> = Vec::new();
    let mut labels = Vec::new();
    for (t, tar) in tars.iter().enumerate() {
        let key = |f: usize| {
            let path = &tar.files[f].0;
            let name = path.rfind('/').map_or(0, |slash| slash + 1);
            &path[..path[name..].find('.').map_or(path.len(), |dot| name + dot)]
        };
        let files = 0..tar.files.len();
        let classes: HashMap<&str, usize> =
            files.clone().filter(|&f| tar.files[f].0.ends_with(".cls")).map(|f| (key(f), f)).collect();
        let mut found: Vec<usize> = files.filter(|&f| listing::is_picture(&tar.files[f].0)).collect();
        found.sort_by_key(|&f| &tar.files[f].0);
        for f in found {
            let Some(&class) = classes.get(key(f)) else {
                let expected = format!("a class file {}.cls beside it", key(f));
                return Err(DataError::malformed(&tar.path_of(f), expected, "none"));
            };
            let text = String::from_utf8_lossy(tar.content(class));
            let label: u32 = text.trim().parse().map_err(|_| {
                let found: String = text.chars().take(20).collect();
                DataError::malformed(&tar.path_of(class), "a class number", format!("'{}'", found.trim()))
            })?;
            examples.push((t, f));
            labels.push(label);
        }
    }
    let classes = match tars.first().map(|tar| tar.path.with_file_name("classes.txt")) {
        Some(path) if path.is_file() => class_names(&path)?,
        _ => {
            let count = labels.iter().max().map_or(0, |&largest| largest as usize + 1);
            // Numbers far above the number of pictures are damage, and a list of names for them would be huge.
            if count > 10 * labels.len() + 1000 {
                let at = labels.iter().position(|&l| l as usize + 1 == count).unwrap_or(0);
                let (t, f) = examples[at];
                return Err(DataError::malformed(
                    &tars[t].path_of(f),
                    format!("a class number that {} pictures can need", labels.len()),
                    labels[at].to_string(),
                ));
            }
            (0..count).map(|c| c.to_string()).collect()
        }
    };
    if let Some(at) = labels.iter().position(|&label| label as usize >= classes.len()) {
        let (t, f) = examples[at];
        return Err(DataError::malformed(
            &tars[t].path_of(f),
            format!("a class below {}, as classes.txt lists", classes.len()),
            format!("class {}", labels[at]),
        ));
    }
    pictures::build(
        name,
        classes,
        &labels,
        options,
        |i| tars[examples[i].0].path_of(examples[i].1),
        |i| Ok(Cow::Borrowed(tars[examples[i].0].content(examples[i].1))),
    )
}

/// Class names from lines `index<TAB>wnid<TAB>name, synonym, ...` or `index<TAB>name`: the first name of each, or the
/// whole last column where two classes share their first name.
fn class_names(path: &Path) -> Result<Vec<String>, DataError> {
    let text = std::fs::read_to_string(path).map_err(|e| DataError::io(path, e))?;
    let mut full = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let mut columns = line.split('\t');
        let index = columns.next().and_then(|index| index.trim().parse::<usize>().ok());
        match (index, columns.next_back()) {
            (Some(index), Some(names)) if index == full.len() && !names.trim().is_empty() => {
                full.push(names.trim());
            }
            _ => {
                let line: String = line.chars().take(60).collect();
                return Err(DataError::malformed(
                    path,
                    format!("'{}<TAB>wnid<TAB>names' in line {}", full.len(), number + 1),
                    format!("'{line}'"),
                ));
            }
        }
    }
    let short = |names: &str| names.split(',').next().unwrap_or(names).trim().to_owned();
    let mut uses: HashMap<String, usize> = HashMap::new();
    full.iter().for_each(|names| *uses.entry(short(names)).or_default() += 1);
    Ok(full
        .into_iter()
        .map(|names| if uses[&short(names)] == 1 { short(names) } else { names.to_owned() })
        .collect())
}
