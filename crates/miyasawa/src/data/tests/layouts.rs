//! Parts, what is left out, and archives as people lay them out.

use super::*;
use crate::data::set::content::FoundSet;

/// A part, its labels and what was said.
fn found(path: impl AsRef<Path>, part: Part) -> FoundSet {
    DataSource::Path(path.as_ref().to_owned()).find(part).unwrap_or_else(|e| panic!("{e}"))
}

/// The classes, the number of images of both parts, and all that was said.
fn summed_up(path: impl AsRef<Path>) -> (Vec<String>, [usize; 2], String) {
    let [train, test] = [Part::Train, Part::Test].map(|part| found(&path, part));
    assert_eq!(train.split, test.split);
    let classes = train.content.classes().to_vec();
    let (mut notes, of_test) = (train.notes.lines(), test.notes.lines());
    notes.extend(of_test.into_iter().filter(|line| !train.notes.lines().contains(line)));
    (classes, [train.content.len(), test.content.len()], notes.join("; "))
}

fn dot() -> Vec<u8> {
    png(1, 1, [5; 3])
}

#[test]
fn parts_are_no_classes_whatever_they_are_called() {
    for (train, test) in [
        ("train", "valid"),
        ("Train", "Test"),
        ("TRAIN", "VAL"),
        ("Training", "Testing"),
        ("training_set", "test_set"),
        ("train", "dev"),
        ("seg_train", "seg_test"),
    ] {
        let names = [(train, "cat/1"), (train, "cat/2"), (train, "dog/3"), (test, "dog/4")];
        let names = names.map(|(part, name)| format!("{part}/{name}.png"));
        let files: Vec<(&str, Vec<u8>)> = names.iter().map(|name| (name.as_str(), dot())).collect();
        let plain = folder(&files);
        let tarred = folder(&[("set.tar", tar(&files)), ("inner/set.tar.gz", gzip(&tar(&files)))]);
        for path in [plain.path(), &tarred.path().join("set.tar"), &tarred.path().join("inner")] {
            let (classes, counts, notes) = summed_up(path);
            assert_eq!(
                (classes, counts),
                (vec!["cat".to_owned(), "dog".into()], [3, 1]),
                "{train} {test}"
            );
            assert_eq!(notes, "", "{train} {test}");
        }
        // Every class folder divided, or none.
        let names = [
            ("cat", train, 1),
            ("cat", test, 2),
            ("dog", train, 3),
            ("dog", test, 4),
            ("dog", train, 5),
        ];
        let names = names.map(|(class, part, i)| format!("{class}/{part}/{i}.png"));
        let files: Vec<(&str, Vec<u8>)> = names.iter().map(|name| (name.as_str(), dot())).collect();
        assert_eq!(summed_up(folder(&files)).1, [3, 2]);
        let text =
            message(load(folder(&[&files[..], &[("elk/6.png", dot())]].concat()), Part::Train));
        assert!(text.contains("in 'cat' but not in 'elk'"), "{text}");
    }
}

#[test]
fn what_a_division_leaves_out_is_said_and_a_doubtful_one_is_refused() {
    let files = [
        ("train/cat/1.png", dot()),
        ("val/cat/2.png", dot()),
        ("val/dog/3.png", dot()),
        ("test/4.png", dot()),
        ("extra/cat/5.png", dot()),
    ];
    // A test part without classes cannot be measured on: the validation part can.
    let (classes, counts, notes) = summed_up(folder(&files));
    assert_eq!((classes.len(), counts), (2, [1, 2]));
    for part in [
        "'train' and 'val'",
        "left out 2 images outside",
        "no images to train on of the class 'dog'",
    ] {
        assert!(notes.contains(part), "{notes}");
    }
    for (names, found) in [
        (
            &["train/a/1.png", "Training/a/2.png", "test/a/3.png"][..],
            "two folders for the train part",
        ),
        (&["train/1.png", "test/2.png", "bus/3.png"], "others in 'bus'"),
        (&["val/a/1.png", "test/a/2.png"], "'test' and 'val' and no other part"),
    ] {
        let files: Vec<(&str, Vec<u8>)> = names.iter().map(|name| (*name, dot())).collect();
        let text = message(load(folder(&files), Part::Train));
        assert!(text.contains(found) && text.contains("name the folder of one of them"), "{text}");
    }
    let (classes, _, notes) =
        summed_up(folder(&[("train/a/1.png", dot()), ("more/a/2.png", dot())]));
    assert_eq!(classes, ["more", "train"]);
    assert!(notes.contains("'train' is taken for a class"), "{notes}");
    let (_, _, notes) = summed_up(folder(&[
        ("images/1.png", dot()),
        ("masks/1.png", dot()),
        ("Images/1.png", dot()),
    ]));
    assert!(
        notes.contains("'images' and 'masks'") || notes.contains("'Images' and 'masks'"),
        "{notes}"
    );
    assert!(notes.contains("'Images' and 'images' are two classes"), "{notes}");
    let (_, _, notes) = summed_up(folder(&[("a/x (1).png", dot()), ("a/x (1)_mask_1.png", dot())]));
    assert!(
        notes.contains("1 image that is named as a mask of another is counted: a/x (1)_mask_1.png"),
        "{notes}"
    );
    let (_, _, notes) = summed_up(folder(&[
        ("1.png", dot()),
        ("labels.csv", b"1,cat".to_vec()),
        ("2.heic", dot()),
    ]));
    assert!(
        notes.contains("labels.csv is not read") && notes.contains("left out 1 HEIC file"),
        "{notes}"
    );
}

#[test]
fn what_systems_add_to_archives_is_left_out() {
    let files = [
        ("cat/1.png", dot()),
        ("@eaDir/cat/2.png", dot()),
        ("cat/@eaDir/1.png/3.jpg", dot()),
        ("cat/4.jpe", dot()),
    ];
    let dir = folder(&[("set.tar", tar(&files))]);
    let (classes, counts, notes) = summed_up(dir.path().join("set.tar"));
    assert_eq!((classes, counts), (vec!["cat".to_owned()], [2, 2]));
    assert!(notes.contains("left out 2 folders that a system keeps"), "{notes}");
}

#[test]
fn archives_one_after_the_other_are_all_read() {
    let shard = |n: u8| {
        tar(&[
            ("0.png", png(1, 1, [n; 3])),
            ("0.cls", vec![b'0' + n]),
            ("1.png", png(1, 1, [n; 3])),
            ("1.cls", vec![b'0' + n]),
        ])
    };
    // One has the padding of tar's records of 10,240 bytes.
    let padded = |mut bytes: Vec<u8>| {
        bytes.resize(bytes.len().next_multiple_of(10_240), 0);
        bytes
    };
    let both = [padded(shard(0)), shard(1)].concat();
    let packed = [gzip(&shard(0)), gzip(&padded(shard(1)))].concat();
    let dir = folder(&[
        ("a.tar", both.clone()),
        ("b.tar.gz", packed),
        ("c.tar", [&both[..], b"more"].concat()),
    ]);
    for name in ["a.tar", "b.tar.gz", "c.tar"] {
        let data = load(dir.path().join(name), Part::Train).unwrap();
        let colours: Vec<u32> = (0..4).map(|i| u32::from(data.image(i)[0])).collect();
        assert_eq!(
            (data.len(), data.labels()),
            (4, &colours[..]),
            "{name}: every image has its label"
        );
        assert!(summed_up(dir.path().join(name)).2.contains("several archives"), "{name}");
    }
    let rest = folder(&[("x.tar", [shard(1), b"left over".repeat(200)].concat())]);
    let (_, counts, notes) = summed_up(rest.path().join("x.tar"));
    assert!(
        counts[0] == 2 && notes.contains("behind the end of the archive are no archive"),
        "{notes}"
    );
    let cut = folder(&[("x.tar", [padded(shard(0)), shard(1)[..1024].to_vec()].concat())]);
    assert!(message(load(cut.path().join("x.tar"), Part::Train)).contains("truncated"));
}

#[test]
fn links_and_repetitions_in_a_tar_are_what_unpacking_makes_of_them() {
    let mut builder = ::tar::Builder::new(Vec::new());
    let mut add = |name: &str, bytes: &[u8]| {
        let mut header = ::tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, bytes).unwrap();
    };
    add("cat/1.png", &png(1, 1, [1; 3]));
    add("cat/2.png", &png(1, 1, [2; 3]));
    add("cat/1.png", &png(1, 1, [9; 3]));
    for (kind, name, target) in [
        (::tar::EntryType::Link, "dog/3.png", "cat/2.png"),
        (::tar::EntryType::Link, "dog/4.png", "nowhere.png"),
        (::tar::EntryType::Symlink, "dog/5.png", "../cat/1.png"),
    ] {
        let mut header = ::tar::Header::new_gnu();
        header.set_size(0);
        header.set_entry_type(kind);
        builder.append_link(&mut header, name, target).unwrap();
    }
    let dir = folder(&[("set.tar", builder.into_inner().unwrap())]);
    let data = load(dir.path().join("set.tar"), Part::Train).unwrap();
    assert_eq!((data.labels(), [0, 1, 2].map(|i| data.image(i)[0])), (&[0, 0, 1][..], [9, 2, 2]));
    let notes = summed_up(dir.path().join("set.tar")).2;
    for part in ["left out 1 file of a tar that a later one", "left out 2 links of a tar"] {
        assert!(notes.contains(part), "{notes}");
    }
}

#[test]
fn shards_are_found_where_they_lie() {
    let shard = |n: usize| {
        let name = |key: usize, end: &str| format!("{key:03}.{end}");
        let files: Vec<(String, Vec<u8>)> = (0..n)
            .flat_map(|i| [(name(i, "png"), dot()), (name(i, "cls"), vec![b'0' + (i % 2) as u8])])
            .collect();
        tar(&files.iter().map(|(path, bytes)| (path.as_str(), bytes.clone())).collect::<Vec<_>>())
    };
    let names = b"cat\ndog\n".to_vec();
    for (files, counts) in [
        (
            vec![("train/0.tar", shard(3)), ("train/1.tar", shard(2)), ("val/0.tar", shard(2))],
            [5, 2],
        ),
        (vec![("data/train/0.tar", shard(3)), ("data/validation/0.tar", shard(2))], [3, 2]),
        (vec![("data/Training/0.TAR", shard(3))], [3, 3]),
        (
            vec![
                ("imagenet1k-train-0000.tar", shard(3)),
                ("imagenet1k-validation-00.tar", shard(4)),
            ],
            [3, 4],
        ),
        (vec![("00000.tar", shard(3)), ("00001.tar", shard(4))], [7, 7]),
        (vec![("photos-train.tar", shard(3)), ("test-23.tar", shard(2))], [3, 2]),
        (vec![("photos.tar", shard(2))], [2, 2]),
        (
            vec![
                ("train.tar", shard(3)),
                ("test.tar", shard(2)),
                ("val.tar", shard(4)),
                ("more.tar", shard(2)),
            ],
            [3, 2],
        ),
    ] {
        assert_eq!(summed_up(folder(&files)).1, counts, "{}", files[0].0);
        let above = Path::new(files[0].0).parent().unwrap();
        let above = if above.ends_with("train") { above.parent().unwrap() } else { above };
        let list = above.join("classes.txt");
        let with_names = folder(&[&files[..], &[(list.to_str().unwrap(), names.clone())]].concat());
        if !files[0].0.starts_with("data/") {
            assert_eq!(summed_up(with_names).0, ["cat", "dog"], "{}", files[0].0);
        }
    }
    for (files, found) in [
        (["cats.tar", "dogs.tar"], "2 tar files, 'cats.tar' and 'dogs.tar'"),
        (["a-train-0.tar", "b-train-0.tar"], "found 'a-train-0.tar' and 'b-train-0.tar'"),
        (["val/0.tar", "test/0.tar"], "'test' and 'val' and no other part"),
    ] {
        let text = message(load(folder(&files.map(|name| (name, shard(2)))), Part::Train));
        assert!(text.contains(found) && text.contains("name one"), "{text}");
    }
}

#[test]
fn archives_of_parts_share_their_classes() {
    let of = |names: &[&str]| tar(&names.iter().map(|name| (*name, dot())).collect::<Vec<_>>());
    let dir = folder(&[
        ("train.tar", of(&["ant/1.png", "cat/1.png", "dog/1.png"])),
        ("test.tar", of(&["bee/1.png", "cat/1.png", "dog/1.png"])),
    ]);
    let source = DataSource::Path(dir.path().to_owned());
    let (train, test) = source.open_both(&in_memory()).map(datasets).unwrap();
    assert_eq!((train.classes(), train.labels()), (test.classes(), &[0, 2, 3][..]));
    assert_eq!(test.labels(), [1, 2, 3]);
    let both = source.open_both(&OpenOptions::default()).unwrap();
    assert_eq!(both.test.classes(), ["ant", "bee", "cat", "dog"]);
    let measured = source.describe().unwrap().measure(None, &mut ()).unwrap().unwrap();
    assert_eq!(measured[1].1.class_counts, [0, 1, 1, 1]);
    let other = folder(&[("train.tar", of(&["ant/1.png"])), ("test.tar", of(&["elk/1.png"]))]);
    let text = message(
        DataSource::Path(other.path().to_owned())
            .open_both(&in_memory())
            .map(datasets)
            .map(|both| both.0),
    );
    assert!(
        text.contains("the same classes") && text.contains("1 ('ant') and 1 ('elk')"),
        "{text}"
    );
}

#[test]
fn what_is_refused_is_called_by_its_name() {
    for (file, bytes, found) in [
        ("d.parquet", &b"PAR1"[..], "a Parquet file; write its images to a folder"),
        ("data", b"PK\x03\x04", "a ZIP file; unpack it"),
        ("m.npz", b"PK\x03\x04", "a NumPy file"),
        ("x.tar.zst", b"x", "Zstandard"),
        ("data_batch_1", b"\x80\x02}.", "a Python pickle of CIFAR file"),
    ] {
        let dir = folder(&[(file, bytes.to_vec())]);
        let text = message(load(dir.path().join(file), Part::Train));
        assert!(text.contains(&format!("found {found}")) || text.contains(found), "{text}");
        let text = message(load(dir.path(), Part::Train));
        assert!(text.contains(file) && text.contains("found none, but 1"), "{text}");
    }
    let dir = folder(&[("a/b/x.parquet", b"PAR1".to_vec()), ("c/y.txt", b"x".to_vec())]);
    let text = message(load(&dir, Part::Train));
    assert!(
        text.contains("1 Parquet file (a/b/x.parquet), 1 other file (c/y.txt); write its"),
        "{text}"
    );
    fs::remove_dir_all(dir.path().join("a/b")).unwrap();
    fs::remove_file(dir.path().join("c/y.txt")).unwrap();
    assert!(message(load(&dir, Part::Train)).contains("no file in it or in its 2 subfolders"));
}

#[cfg(unix)]
#[test]
fn one_bad_name_or_file_costs_one_image() {
    let files: Vec<(String, Vec<u8>)> =
        (0..6).map(|i| (format!("{}/{i}.png", i % 2), dot())).collect();
    let dir = folder(
        &files.iter().map(|(path, bytes)| (path.as_str(), bytes.clone())).collect::<Vec<_>>(),
    );
    std::os::unix::fs::symlink("nowhere.png", dir.path().join("0/gone.png")).unwrap();
    let odd: std::ffi::OsString =
        std::os::unix::ffi::OsStringExt::from_vec(b"caf\xe9.png".to_vec());
    fs::write(dir.path().join("1").join(odd), dot()).unwrap();
    let (_, counts, notes) = summed_up(&dir);
    assert_eq!(counts, [6, 6]);
    assert!(
        notes.contains("1 link to nothing: 0/gone.png")
            && notes.contains("1 file whose name is not UTF-8"),
        "{notes}"
    );
    // One that cannot be read when its turn comes: here a folder of its name.
    let source = DataSource::Path(dir.path().to_owned());
    let listed = source.choose(None).unwrap();
    fs::remove_file(dir.path().join("0/2.png")).unwrap();
    fs::create_dir(dir.path().join("0/2.png")).unwrap();
    let options = OpenOptions { max_corrupt: 1, skip_corrupt: true, ..OpenOptions::default() };
    assert_eq!(listed.clone().open(&options).unwrap().len(), 5);
    assert_eq!(listed.clone().gallery(&options).unwrap().len(), 5);
    let streamed = OpenOptions { stream: Streaming::Always, ..options.clone() };
    assert_eq!(listed.clone().open(&streamed).unwrap().sample(9).unwrap().len(), 5);
    let strict = OpenOptions { max_corrupt: 0, ..options };
    assert!(listed.open(&strict).unwrap_err().to_string().contains("0/2.png"));
}
