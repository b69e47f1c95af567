//! Files that are not read, called by their names, with what to do about them.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use super::class_folders;
use crate::data::notes::{Left, Notes, plural};
use crate::data::set::gzip;

/// A format that is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::data) struct UnreadFormat {
    /// Its name, for messages: "a .. file".
    pub name: &'static str,
    /// Whether it holds one image.
    pub is_image: bool,
    /// What to do.
    pub advice: &'static str,
}

const TO_PNG: &str = "convert it to PNG";
const TO_FOLDER: &str = "write its images to a folder with a subfolder for each class";
const TO_TAR: &str = "unpack it, or pack the folder as .tar or .tar.gz";
const HUB: &str = "write its images to a folder with a subfolder for each class, as Python's \
                   package `datasets` can: \
                   load_dataset('parquet', data_files=...), then save row['image'] below \
                   row['label']";
const ARRAYS: &str = "write its images to a folder with a subfolder for each class, as Python \
                      can: \
                      PIL.Image.fromarray(images[i]).save(...)";
const PICKLE: &str = "take the binary version instead (`miyasawa data fetch cifar10`), or write \
                      the images to a folder \
                      with a subfolder for each class";

/// Extensions in lower case.
const BY_EXTENSION: &[(&[&str], &str, bool, &str)] = &[
    (&["heic", "heif", "hif"], "HEIC", true, TO_PNG),
    (&["avif", "avifs"], "AVIF", true, TO_PNG),
    (&["jxl"], "JPEG XL", true, TO_PNG),
    (&["jp2", "j2k", "jpf", "jpx", "j2c", "jpm"], "JPEG 2000", true, TO_PNG),
    (
        &["cr2", "cr3", "crw", "nef", "arw", "dng", "raf", "orf", "rw2", "pef", "srw"],
        "camera raw",
        true,
        TO_PNG,
    ),
    (&["ppm", "pgm", "pbm", "pnm", "pam"], "Netpbm", true, TO_PNG),
    (&["psd", "psb"], "Photoshop", true, TO_PNG),
    (&["svg", "svgz"], "SVG", true, TO_PNG),
    (&["exr"], "OpenEXR", true, TO_PNG),
    (&["hdr"], "Radiance HDR", true, TO_PNG),
    (&["tga"], "Targa", true, TO_PNG),
    (&["ico"], "icon", true, TO_PNG),
    (&["pcx"], "PCX", true, TO_PNG),
    (&["qoi"], "QOI", true, TO_PNG),
    (&["dcm", "dicom"], "DICOM", true, TO_PNG),
    (&["nii", "mha", "mhd", "nrrd"], "medical volume", true, TO_PNG),
    (&["fits", "fit"], "FITS", true, TO_PNG),
    (&["mp4", "avi", "mov", "mkv", "webm"], "video", false, "write its images to a folder"),
    (&["pdf"], "PDF", false, "write its images to a folder"),
    (&["parquet"], "Parquet", false, HUB),
    (&["arrow", "feather"], "Arrow", false, HUB),
    (&["npz", "npy"], "NumPy", false, ARRAYS),
    (&["zip"], "ZIP", false, TO_TAR),
    (&["7z"], "7-Zip", false, TO_TAR),
    (&["rar"], "RAR", false, TO_TAR),
    (
        &["bz2", "tbz", "tbz2", "xz", "txz", "zst", "tzst", "lz4"],
        "packed (bzip2, xz, Zstandard or LZ4)",
        false,
        TO_TAR,
    ),
    (&["h5", "hdf5", "hdf"], "HDF5", false, TO_FOLDER),
    (&["mat"], "MATLAB", false, TO_FOLDER),
    (&["tfrecord", "tfrecords", "tfrec"], "TFRecord", false, TO_FOLDER),
    (&["mdb", "lmdb"], "LMDB", false, TO_FOLDER),
    (&["rec"], "RecordIO", false, TO_FOLDER),
    (&["beton"], "FFCV", false, TO_FOLDER),
    (&["pkl", "pickle"], "Python pickle", false, PICKLE),
    (&["pt", "pth"], "PyTorch", false, TO_FOLDER),
];

/// First bytes.
const BY_BEGINNING: &[(&[u8], &str, &str)] = &[
    (b"PAR1", "Parquet", HUB),
    (b"ARROW1", "Arrow", HUB),
    (b"\x93NUMPY", "NumPy", ARRAYS),
    (b"PK\x03\x04", "ZIP", TO_TAR),
    (b"PK\x05\x06", "ZIP", TO_TAR),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip", TO_TAR),
    (b"Rar!", "RAR", TO_TAR),
    (b"BZh", "packed (bzip2)", TO_TAR),
    (b"\xfd7zXZ", "packed (xz)", TO_TAR),
    (b"\x28\xb5\x2f\xfd", "packed (Zstandard)", TO_TAR),
    (b"\x89HDF", "HDF5", TO_FOLDER),
    (b"MATLAB", "MATLAB", TO_FOLDER),
    (b"\x80\x02", "Python pickle", PICKLE),
    (b"\x80\x03", "Python pickle", PICKLE),
    (b"\x80\x04", "Python pickle", PICKLE),
    (b"\x80\x05", "Python pickle", PICKLE),
];

/// Extensions of files that may hold the classes of images beside them.
const LABELS: &[&str] = &["csv", "tsv", "json", "jsonl", "xml", "xlsx", "xls", "txt"];

fn extension(name: &str) -> Option<String> {
    name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase())
}

/// The format of a file by its name; none if it is not known.
pub(in crate::data) fn by_name(name: &str) -> Option<UnreadFormat> {
    let file = name.rsplit('/').next().unwrap_or(name);
    let of_cifar = ["test_batch", "batches.meta"].contains(&file)
        || file
            .strip_prefix("data_batch_")
            .is_some_and(|n| n.len() == 1 && n.bytes().all(|b| b.is_ascii_digit()));
    if of_cifar {
        return Some(UnreadFormat {
            name: "Python pickle of CIFAR",
            is_image: false,
            advice: PICKLE,
        });
    }
    let found = extension(file)?;
    let (_, name, is_image, advice) =
        BY_EXTENSION.iter().find(|(extensions, ..)| extensions.contains(&found.as_str()))?;
    Some(UnreadFormat { name, is_image: *is_image, advice })
}

/// The format of a file by its name or its first bytes.
pub(in crate::data) fn of_file(path: &Path) -> Option<UnreadFormat> {
    by_name(&gzip::file_name(path)).or_else(|| {
        let mut head = Vec::new();
        std::fs::File::open(path).ok()?.take(16).read_to_end(&mut head).ok()?;
        let (_, name, advice) = BY_BEGINNING.iter().find(|(begin, ..)| head.starts_with(begin))?;
        Some(UnreadFormat { name, is_image: false, advice })
    })
}

impl UnreadFormat {
    /// What is found, and what to do.
    pub fn found(&self) -> String {
        let an = matches!(
            self.name,
            "AVIF" | "OpenEXR" | "SVG" | "icon" | "Arrow" | "HDF5" | "LMDB" | "FFCV"
        );
        let article = if an { "an" } else { "a" };
        format!("{article} {} file; {}", self.name, self.advice)
    }
}

/// Files that are no images of a set.
#[derive(Debug, Clone, Default)]
pub(in crate::data) struct OtherFiles {
    /// By format: how many, the first, and what to do.
    known: BTreeMap<&'static str, (usize, String, UnreadFormat)>,
    /// Tars.
    tars: usize,
    a_tar: Option<String>,
    /// Of no known format.
    unknown: usize,
    an_unknown: Option<String>,
    /// What may hold the classes.
    labels: Option<String>,
    /// Folders.
    pub folders: usize,
}

impl OtherFiles {
    /// Counts a file.
    pub fn add(&mut self, path: &str) {
        if let Some(format) = by_name(path) {
            self.known.entry(format.name).or_insert_with(|| (0, path.to_owned(), format)).0 += 1;
        } else if gzip::is_tar(path) {
            self.tars += 1;
            self.a_tar.get_or_insert_with(|| path.to_owned());
        } else {
            self.unknown += 1;
            self.an_unknown.get_or_insert_with(|| path.to_owned());
            if extension(path).is_some_and(|extension| LABELS.contains(&extension.as_str())) {
                self.labels.get_or_insert_with(|| path.to_owned());
            }
        }
    }

    /// What there is where there is no image, and what to do about it.
    pub fn found(&self) -> String {
        let mut found = Vec::new();
        let mut advice = None;
        for (name, (count, example, format)) in &self.known {
            found.push(format!("{count} {name} {} ({example})", plural("file", *count)));
            advice.get_or_insert(format.advice);
        }
        if let Some(tar) = &self.a_tar {
            found.push(format!("{} tar {} ({tar})", self.tars, plural("file", self.tars)));
            advice.get_or_insert("name one of them, or the folder they lie in");
        }
        if let Some(other) = &self.an_unknown {
            found.push(format!(
                "{} other {} ({other})",
                self.unknown,
                plural("file", self.unknown)
            ));
        }
        match (found.is_empty(), self.folders) {
            (true, 0) => "an empty one".to_owned(),
            (true, n) => format!("no file in it or in its {n} {}", plural("subfolder", n)),
            (false, _) => {
                let advice = advice.map(|advice| format!("; {advice}")).unwrap_or_default();
                format!("none, but {}{advice}", found.join(", "))
            }
        }
    }

    /// Notes images in formats that are not read, and, of a set without classes, what may hold
    /// them.
    pub fn note(&self, has_classes: bool, notes: &mut Notes) {
        for (name, (count, example, _)) in
            self.known.iter().filter(|(_, (.., format))| format.is_image)
        {
            notes.left_many(Left::Format(name), *count, || example.clone());
        }
        if let Some(labels) = self.labels.as_ref().filter(|_| !has_classes) {
            notes.say(format!(
                "all images are of one class, '{}': {labels} is not read; for classes put the \
                 images of each into a \
                 subfolder of its own",
                class_folders::NO_CLASS
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_read_is_called_by_its_name() {
        let names = |name: &str| by_name(name).map(|format| format.name);
        for (file, name) in [
            ("a/b.HEIC", "HEIC"),
            ("x.jxl", "JPEG XL"),
            ("x.CR2", "camera raw"),
            ("train-00000-of-00001.parquet", "Parquet"),
            ("medmnist.npz", "NumPy"),
            ("cifar-10-batches-py/data_batch_1", "Python pickle of CIFAR"),
        ] {
            assert_eq!(names(file), Some(name), "{file}");
        }
        assert_eq!((names("a.png"), names("train"), names("notes.txt")), (None, None, None));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        std::fs::write(&path, b"PAR1....").unwrap();
        assert!(of_file(&path).unwrap().found().contains("Parquet file; write its images"));
        let mut others = OtherFiles::default();
        assert_eq!(others.found(), "an empty one");
        others.folders = 2;
        assert_eq!(others.found(), "no file in it or in its 2 subfolders");
        ["data/a.parquet", "data/b.parquet", "README.md"].iter().for_each(|path| others.add(path));
        let found = others.found();
        assert!(
            found.starts_with(
                "none, but 2 Parquet files (data/a.parquet), 1 other file (README.md); "
            ),
            "{found}"
        );
    }
}
