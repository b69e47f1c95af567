//! Labels of shards and of IDX files: read with certainty, or refused with what to do.

use super::*;
use crate::data::set::content::FoundSet;

/// The labels and classes of one shard with these files, and what was said of it.
fn shard(files: &[(&str, &str)]) -> Result<(Vec<u32>, Vec<String>, String), DataError> {
    shard_with(files, &[])
}

fn shard_with(
    files: &[(&str, &str)],
    beside: &[(&str, &str)],
) -> Result<(Vec<u32>, Vec<String>, String), DataError> {
    let bytes = |name: &str, text: &str| {
        if name.ends_with("png") { png(1, 1, [1; 3]) } else { text.as_bytes().to_vec() }
    };
    let files: Vec<(&str, Vec<u8>)> =
        files.iter().map(|(name, text)| (*name, bytes(name, text))).collect();
    let mut all = vec![("train-000.tar", tar(&files))];
    all.extend(beside.iter().map(|(name, text)| (*name, bytes(name, text))));
    let dir = folder(&all);
    let FoundSet { content, notes, .. } =
        DataSource::Path(dir.path().to_owned()).find(Part::Train)?;
    Ok((content.labels(), content.classes().to_vec(), notes.lines().join("; ")))
}

fn refused(files: &[(&str, &str)]) -> String {
    let text = shard(files).unwrap_err().to_string();
    assert!(!text.contains('\n'), "{text}");
    text
}

const P: &str = "";

#[test]
fn keys_with_dots_have_their_own_labels_or_are_refused() {
    let files = [
        ("22.00.png", P),
        ("22.00.cls", "0"),
        ("22.01.png", P),
        ("22.01.cls", "1"),
        ("3.5.png", P),
        ("3.5.cls", "1"),
    ];
    assert_eq!(shard(&files).unwrap().0, [0, 1, 1]);
    // The key ends at the first dot where that is certain.
    assert_eq!(
        shard(&[("1.a.png", P), ("1.cls", "0"), ("2.b.png", P), ("2.cls", "1")]).unwrap().0,
        [0, 1]
    );
    let text = refused(&[("1.left.png", P), ("1.right.png", P), ("1.cls", "0")]);
    assert!(text.contains("1.left.png and 1.right.png") && text.contains("KEY.mask.png"), "{text}");
    let text = refused(&[("1.00.png", P), ("1.01.png", P), ("1.00.cls", "0")]);
    assert!(text.contains("1.00.png and 1.01.png"), "{text}");
    let text = refused(&[("1.png", P), ("1.fine.cls", "0"), ("1.coarse.cls", "1")]);
    assert!(text.contains("1.fine.cls and 1.coarse.cls"), "{text}");
}

#[test]
fn masks_and_second_images_are_no_examples() {
    let (labels, _, notes) = shard(&[
        ("1.png", P),
        ("1.seg.png", P),
        ("1.cls", "0"),
        ("2.png", P),
        ("2.seg.png", P),
        ("2.cls", "1"),
    ])
    .unwrap();
    assert_eq!(labels, [0, 1]);
    assert_eq!(notes, "left out 2 further images of examples: 1.seg.png");
    let (labels, _, notes) =
        shard(&[("1.png", P), ("1.cls", "0"), ("2.cls", "1"), ("1.old.cls", "5")]).unwrap();
    assert_eq!((labels, &notes[..]), (vec![0], "left out 2 labels without an image: 1.old.cls"));
    let (labels, _, notes) = shard(&[("1.a.png", P), ("1.cls", "0"), ("1.old.cls", "5")]).unwrap();
    assert!(labels == [0] && notes.contains("1.cls; 1.old.cls is not read"), "{notes}");
}

#[test]
fn labels_are_numbers_or_names_in_cls_or_json() {
    let names = |classes: &[&str]| classes.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let by_name = [("1.png", P), ("1.cls", "dog\n"), ("2.png", P), ("2.CLS", "cat")];
    let (labels, classes, _) = shard(&by_name).unwrap();
    assert_eq!((labels, classes), (vec![1, 0], names(&["cat", "dog"])));
    let listed = shard_with(&by_name, &[("classes.txt", "dog\nbird\ncat\n")]).unwrap();
    assert_eq!((listed.0, listed.1), (vec![0, 2], names(&["dog", "bird", "cat"])));
    let text = shard_with(&by_name, &[("classes.txt", "dog\nbird\n")]).unwrap_err().to_string();
    assert!(text.contains("classes.txt lists, found 'cat'"), "{text}");
    let json = [
        ("1.png", P),
        ("1.json", r#"{"label": 1, "width": 3}"#),
        ("2.png", P),
        ("2.json", r#"{"label": 0}"#),
    ];
    assert_eq!(shard(&json).unwrap().0, [1, 0]);
    let json = [
        ("1.png", P),
        ("1.json", r#"{"class": "ox"}"#),
        ("2.png", P),
        ("2.json", r#"{"class": "elk"}"#),
    ];
    let (labels, classes, _) = shard(&json).unwrap();
    assert_eq!((labels, classes), (vec![1, 0], names(&["elk", "ox"])));
    let (_, classes, notes) =
        shard(&[("1.png", P), ("1.cls", "2"), ("2.png", P), ("2.cls", "1")]).unwrap();
    assert_eq!(classes, names(&["0", "1", "2"]));
    assert!(notes.contains("labels begin at 1"), "{notes}");
}

#[test]
fn labels_that_are_not_certain_are_refused() {
    for (files, found) in [
        (&[("1.png", P), ("1.cls", "0"), ("2.png", P), ("2.cls", "cat")][..], "found 'cat'"),
        (&[("1.png", P), ("1.cls", "1,3")], "found '1,3'"),
        (&[("1.png", P), ("1.cls", "-1")], "found '-1'"),
        (&[("1.png", P), ("1.cls", "1.5")], "found '1.5'"),
        (&[("1.png", P), ("1.cls", "a\nb")], "found 'a b'"),
        (&[("1.png", P), ("1.cls", "")], "found ''"),
        (&[("1.png", P), ("1.index", "0")], "a number in .index"),
        (&[("1.png", P), ("1.txt", "3\n")], "a number in .txt"),
        (&[("1.png", P), ("1.json", r#"{"label": [1, 2]}"#)], "found [1,2]"),
        (
            &[("1.png", P), ("1.json", r#"{"label": 1, "class_name": "a"}"#)],
            "'label' and 'class_name'",
        ),
        (&[("1.png", P), ("1.json", "{")], "damage"),
        (
            &[("1.png", P), ("1.json", r#"{"label": 1}"#), ("2.png", P), ("2.json", "{}")],
            "in the field 'label', found none",
        ),
        (
            &[("1.png", P), ("1.json", r#"{"label": 1}"#), ("2.png", P)],
            "a class file 2.cls beside it, found none",
        ),
    ] {
        let text = refused(files);
        assert!(text.contains(found), "{text}");
    }
    for (file, text) in [("1.txt", "a cat on a mat"), ("1.json", r#"{"caption": "a cat"}"#)] {
        let (labels, classes, notes) = shard(&[("1.png", P), (file, text)]).unwrap();
        assert_eq!((labels, classes), (vec![0], vec!["image".to_owned()]));
        assert!(notes.contains("no classes are read") && notes.contains(file), "{notes}");
    }
    // Texts beside images in class folders are no labels.
    let (labels, _, notes) = shard(&[("a/1.png", P), ("a/1.txt", "3"), ("b/1.png", P)]).unwrap();
    assert_eq!((labels, notes), (vec![0, 1], String::new()));
}

/// An IDX file of a type.
fn typed(code: u8, dims: &[u32], values: &[u8]) -> Vec<u8> {
    let mut bytes = idx(dims, values);
    bytes[2] = code;
    bytes
}

#[test]
fn idx_files_have_many_names_and_types() {
    let images = || idx(&[2, 1, 2], &[1, 2, 3, 4]);
    let labels = || idx(&[2], &[1, 2]);
    for (train, test) in [
        (
            ["emnist-letters-train-images-idx3-ubyte", "emnist-letters-train-labels-idx1-ubyte"],
            ["emnist-letters-test-images-idx3-ubyte.gz", "emnist-letters-test-labels-idx1-ubyte"],
        ),
        (
            ["TRAIN-IMAGES-IDX3-UBYTE", "TRAIN-LABELS-IDX1-UBYTE"],
            ["T10K-IMAGES-IDX3-UBYTE", "T10K-LABELS-IDX1-UBYTE"],
        ),
        (
            ["train-images.idx3-ubyte", "train-labels.idx1-ubyte"],
            ["valid-images.idx3-ubyte", "valid-labels.idx1-ubyte"],
        ),
    ] {
        let pack =
            |name: &str, bytes| if name.ends_with("gz") { gzip(bytes) } else { bytes.to_vec() };
        let other = idx(&[1, 1, 2], &[9, 9]);
        let dir = folder(&[
            (train[0], images()),
            (train[1], labels()),
            (test[0], pack(test[0], &other)),
            (test[1], idx(&[1], &[2])),
        ]);
        let (of_train, of_test) =
            DataSource::Path(dir.path().to_owned()).open_both(&in_memory()).map(datasets).unwrap();
        assert_eq!(
            (of_train.labels(), of_test.pixels()),
            (&[1, 2][..], &[9, 9][..]),
            "{}",
            train[0]
        );
        // One part alone is a set, for both.
        fs::remove_file(dir.path().join(test[0])).unwrap();
        for part in [Part::Train, Part::Test] {
            assert_eq!(load(&dir, part).unwrap().len(), 2);
        }
    }
    let pair =
        |name: &str, labels: Vec<u8>| folder(&[("images-idx3-ubyte", images()), (name, labels)]);
    for (code, name, bytes) in [
        (9, "labels-idx1-byte", &[0, 1][..]),
        (11, "labels-idx1-short", &[0, 0, 0, 1]),
        (12, "labels-idx1-int", &[0, 0, 0, 0, 0, 0, 0, 1]),
    ] {
        assert_eq!(
            load(pair(name, typed(code, &[2], bytes)), Part::Train).unwrap().labels(),
            [0, 1],
            "{name}"
        );
    }
    for (labels, found) in [
        (typed(12, &[2], &[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]), "found label -1"),
        (typed(12, &[2], &[0, 0, 0, 0, 0x7f, 0, 0, 0]), "labels that 2 images can need"),
        (typed(13, &[2], &[0; 8]), "1 dimensions, 32-bit floats"),
        (typed(12, &[2, 8], &[0; 64]), "2 dimensions, 32-bit integers"),
    ] {
        let text = message(load(pair("labels-idx1-int", labels), Part::Train));
        assert!(text.contains("labels-idx1-int: expected") && text.contains(found), "{text}");
    }
    let text = message(load(
        folder(&[
            ("images-idx3-ubyte", typed(13, &[2, 1, 2], &[0; 16])),
            ("labels-idx1-ubyte", labels()),
        ]),
        Part::Train,
    ));
    assert!(text.contains("3 dimensions, 32-bit floats"), "{text}");
    let several: Vec<String> = ["balanced", "letters"]
        .iter()
        .flat_map(|set| {
            ["train", "test"].map(|part| format!("emnist-{set}-{part}-images-idx3-ubyte"))
        })
        .collect();
    let several: Vec<(&str, Vec<u8>)> =
        several.iter().map(|name| (name.as_str(), images())).collect();
    assert!(message(load(folder(&several), Part::Train)).contains("several pairs of parts"));
}

#[test]
fn idx_images_in_colour_are_planes_or_pixels() {
    let labels = || idx(&[1], &[0]);
    let of = |dims: &[u32], values: &[u8]| {
        load(
            folder(&[("images-idx4-ubyte", idx(dims, values)), ("labels-idx1-ubyte", labels())]),
            Part::Train,
        )
    };
    let planes = of(&[1, 3, 2, 2], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]).unwrap();
    assert_eq!((planes.channels(), planes.height(), planes.pixels()[4]), (3, 2, 5));
    let pixels = of(&[1, 2, 2, 3], &[1, 5, 9, 2, 6, 10, 3, 7, 11, 4, 8, 12]).unwrap();
    assert_eq!(pixels.pixels(), planes.pixels());
    assert_eq!(of(&[1, 2, 2, 1], &[1, 2, 3, 4]).unwrap().channels(), 1);
    assert!(message(of(&[1, 3, 2, 3], &[0; 18])).contains("channels may be the first or the last"));
    assert!(message(of(&[1, 2, 2, 2], &[0; 8])).contains("1 or 3 channels"));
}
