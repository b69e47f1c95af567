//! Descriptions of sets, and sets written as shards.

use std::collections::BTreeMap;

use super::*;
use crate::progress::{Progress, monitor};
use std::sync::atomic::AtomicBool;

fn describe(path: &Path) -> Description {
    DataSource::Path(path.to_owned()).describe().unwrap()
}

fn convert(from: &Path, out: &Path, shards: usize) -> Result<Vec<Converted>, DataError> {
    Ok(describe(from).convert(out, shards, "train", &mut ())?.expect("nobody stops it"))
}

/// The files of a tar by name.
fn contents(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut archive = ::tar::Archive::new(fs::File::open(path).unwrap());
    let read = |entry: std::io::Result<::tar::Entry<'_, fs::File>>| {
        let mut entry = entry.unwrap();
        let header = entry.header();
        assert_eq!(
            (header.mtime().unwrap(), header.uid().unwrap(), header.mode().unwrap()),
            (0, 0, 0o644)
        );
        let name = entry.path().unwrap().display().to_string();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
        (name, bytes)
    };
    archive.entries().unwrap().map(read).collect()
}

#[test]
fn shards_hold_the_files_as_they_are_and_are_always_the_same() {
    let files: Vec<(String, Vec<u8>)> = (0..20u8)
        .map(|n| match n % 2 {
            0 => (format!("ox/{n:02}.JPEG"), grey_jpeg(3, 3, n * 12)),
            _ => (format!("yak/{n:02}.png"), png(3, 3, [n, n, n])),
        })
        .collect();
    let files: Vec<(&str, Vec<u8>)> =
        files.iter().map(|(path, bytes)| (path.as_str(), bytes.clone())).collect();
    let from = folder(&files);
    let outs = [0, 1].map(|_| tempfile::tempdir().unwrap());
    for out in &outs {
        let written = convert(from.path(), out.path(), 3).unwrap();
        assert_eq!(
            (written[0].part.as_str(), written[0].count, written[0].shards.len()),
            ("train", 20, 3)
        );
    }
    let names = ["train-00000.tar", "train-00001.tar", "train-00002.tar", "classes.txt"];
    for name in names {
        let [a, b] = [0, 1].map(|i| fs::read(outs[i].path().join(name)).unwrap());
        assert_eq!(a, b, "{name}");
    }
    let mut all: Vec<(String, Vec<u8>)> = Vec::new();
    let mut labels = Vec::new();
    for name in &names[..3] {
        for (name, bytes) in contents(&outs[0].path().join(name)) {
            match name.strip_suffix(".cls") {
                Some(_) => labels.push(bytes),
                None => all.push((name, bytes)),
            }
        }
    }
    assert_ne!(labels[..10], labels[10..], "the classes are mixed");
    assert_eq!(all.iter().filter(|(name, _)| name.ends_with(".jpg")).count(), 10);
    let mut bytes: Vec<Vec<u8>> = all.into_iter().map(|(_, bytes)| bytes).collect();
    let mut originals: Vec<Vec<u8>> = files.into_iter().map(|(_, bytes)| bytes).collect();
    bytes.sort();
    originals.sort();
    assert_eq!(bytes, originals);
    let back = load(outs[0].path().join("train-{00000..00002}.tar"), Part::Train).unwrap();
    assert_eq!((back.classes(), back.len()), (&["ox".to_owned(), "yak".into()][..], 20));
    // Images and classes still go together: yaks are dark.
    assert!(
        (0..20)
            .all(|i| (back.image(i)[0] <= 19) == (back.labels()[i] == 1 || back.image(i)[0] <= 1))
    );
    let text = convert(from.path(), outs[0].path(), 3).unwrap_err().to_string();
    assert!(text.contains("train-00000.tar") && text.contains("shards of this name"), "{text}");
    // classes.txt is that of all shards beside it: only a set of the same classes may join them.
    let more = |from: &Path| describe(from).convert(outs[0].path(), 1, "more", &mut ());
    let other = folder(&[("elk/1.png", png(3, 3, [1; 3]))]);
    let before = fs::read(outs[0].path().join("classes.txt")).unwrap();
    let text = more(other.path()).unwrap_err().to_string();
    assert!(text.contains("classes.txt") && text.contains("names of other classes"), "{text}");
    assert_eq!(fs::read(outs[0].path().join("classes.txt")).unwrap(), before);
    assert!(!outs[0].path().join("more-00000.tar").exists());
    more(from.path()).unwrap();
    for shards in [0, 21] {
        let text = convert(from.path(), tempfile::tempdir().unwrap().path(), shards)
            .unwrap_err()
            .to_string();
        assert!(text.contains("1 to 20 shards"), "{text}");
    }
}

#[test]
fn sets_without_files_become_png_and_keep_their_parts() {
    let values: Vec<u8> = (0..24).collect();
    let dir = folder(&[
        ("train-images-idx3-ubyte", idx(&[6, 2, 2], &values)),
        ("train-labels-idx1-ubyte", idx(&[6], &[0, 1, 2, 0, 1, 2])),
        ("t10k-images-idx3-ubyte", idx(&[2, 2, 2], &values[8..16])),
        ("t10k-labels-idx1-ubyte", idx(&[2], &[2, 1])),
    ]);
    let out = tempfile::tempdir().unwrap();
    let written = convert(dir.path(), out.path(), 3).unwrap();
    assert_eq!(written.iter().map(|w| w.shards.len()).collect::<Vec<_>>(), [3, 1]);
    for part in [Part::Train, Part::Test] {
        let sorted = |data: Dataset| {
            let mut all: Vec<(Vec<u8>, u32)> =
                (0..data.len()).map(|i| (data.image(i).to_vec(), data.labels()[i])).collect();
            all.sort();
            (all, data.classes().to_vec())
        };
        assert_eq!(sorted(load(&out, part).unwrap()), sorted(load(&dir, part).unwrap()));
    }
}

#[test]
fn names_that_cannot_be_read_back_are_refused() {
    for name in ["a, b/1.png", "a\tb/1.png"] {
        let dir = folder(&[(name, png(1, 1, [0; 3])), ("c/2.png", png(1, 1, [0; 3]))]);
        let out = tempfile::tempdir().unwrap();
        let text = convert(dir.path(), out.path(), 1).unwrap_err().to_string();
        assert!(text.contains("class names that classes.txt can hold"), "{text}");
        assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0);
    }
}

#[test]
fn a_description_counts_and_measures() {
    let dir = folder(&[
        ("train/a/1.png", png(2, 3, [0, 255, 51])),
        ("train/a/2.png", png(4, 3, [255, 255, 51])),
        ("train/b/3.jpg", b"broken".to_vec()),
        ("train/b/4.png", png(2, 3, [0, 255, 51])),
        ("test/b/5.jpg", grey_jpeg(5, 5, 128)),
    ]);
    let described = describe(dir.path());
    let mut shares = Vec::new();
    let measured =
        described.measure(None, &mut |p: &Progress<'_>| shares.push(p.share)).unwrap().unwrap();
    assert_eq!(shares.last(), Some(&1.0));
    let (train, test) = (&measured[0].1, &measured[1].1);
    assert_eq!((train.count, train.measured, train.broken, train.channels), (4, 4, 1, 3));
    assert_eq!((train.height, train.width), ([2, 4], [3, 3]));
    assert_eq!(train.class_counts, [2, 2]);
    // 12 of 24 pixels are red.
    for (found, expected) in train.mean.iter().zip([0.5, 1.0, 0.2]) {
        assert!((found - expected).abs() < 1e-12, "{:?}", train.mean);
    }
    assert!((train.std[0] - 0.5).abs() < 1e-12 && train.std[1].abs() < 1e-12);
    assert_eq!((test.channels, test.mean.len(), test.class_counts.clone()), (1, 1, vec![0, 1]));
    assert_eq!(measured[1].0, Some(Part::Test));
    let limited = described.measure(Some(2), &mut ()).unwrap().unwrap();
    assert_eq!((limited[0].1.measured, limited[0].1.count), (2, 4));
    let figure = described.grid(10, 8).unwrap().unwrap();
    assert!(figure.height() > 2 * 96 && figure.width() > 2 * 96);
    let whole = DataSource::Digits.describe().unwrap();
    let digits =
        DataSource::Digits.open(Part::Train, &in_memory()).and_then(Images::into_dataset).unwrap();
    let summary = &whole.measure(None, &mut ()).unwrap().unwrap()[0].1;
    assert!((summary.sigma_data - digits.mean_std().1).abs() < 1e-12);
}

#[test]
fn a_stop_leaves_nothing_behind() {
    let stopped = &mut AtomicBool::new(true);
    let digits = DataSource::Digits.describe().unwrap();
    assert!(digits.measure(None, stopped).unwrap().is_none());
    let out = tempfile::tempdir().unwrap();
    // After the second shard.
    let seen = std::cell::Cell::new(0.0);
    let mut after = monitor(|p: &Progress<'_>| seen.set(p.share), || seen.get() > 0.3);
    assert!(digits.convert(out.path(), 4, "digits", &mut after).unwrap().is_none());
    assert!(seen.get() > 0.3 && seen.get() < 0.7, "{}", seen.get());
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0);
}
