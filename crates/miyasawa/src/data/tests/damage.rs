//! Damaged, missing and random files: one error that names the file, never a panic.

use proptest::prelude::*;

use super::*;
use crate::data::formats::{cifar, idx as idx_format};
use crate::data::set::gzip;

#[test]
fn damaged_idx_files_are_named_with_what_is_wrong() {
    let dir = idx_pair("x-images-idx3-ubyte", "x-labels-idx1-ubyte", false);
    let (images, labels) =
        (dir.path().join("x-images-idx3-ubyte"), dir.path().join("x-labels-idx1-ubyte"));
    let with = |image_bytes: Vec<u8>, label_bytes: Vec<u8>| {
        fs::write(&images, image_bytes).unwrap();
        fs::write(&labels, label_bytes).unwrap();
        message(load(&images, Part::Train))
    };
    let good = || (idx(&[2, 1, 2], &[1, 2, 3, 4]), idx(&[2], &[0, 1]));
    let cases = [
        (with(good().1, good().1), "x-images-idx3-ubyte", "found IDX labels"),
        (
            with(b"hello world, this is text".to_vec(), good().1),
            "x-images-idx3-ubyte",
            "magic 0x68656c6c",
        ),
        (with(good().0, idx(&[1], &[0])), "x-labels-idx1-ubyte", "found 1 labels"),
        (with(idx(&[2, 1, 2], &[1, 2, 3]), good().1), "x-images-idx3-ubyte", "too short"),
        (with(idx(&[2, 1, 2], &[1, 2, 3, 4, 5]), good().1), "x-images-idx3-ubyte", "found more"),
        (with(idx(&[u32::MAX; 3], &[1]), good().1), "x-images-idx3-ubyte", "too short"),
        (
            with(gzip(&idx(&[60_000, 1000, 1000], &[1; 100])), good().1),
            "x-images-idx3-ubyte",
            "too short",
        ),
        (with(gzip(&idx(&[2, 1, 2], &[1, 2, 3])), good().1), "x-images-idx3-ubyte", "truncated"),
        (with(gzip(&good().0)[..20].to_vec(), good().1), "x-images-idx3-ubyte", "ends too early"),
        (with(Vec::new(), good().1), "x-images-idx3-ubyte", "ends after 0 bytes"),
        (with(idx(&[0, 1, 2], &[]), idx(&[0], &[])), "x-images", "found 0"),
        (with(idx(&[1, 0, 2], &[]), idx(&[1], &[0])), "x-images", "height 0"),
    ];
    for (text, file, found) in cases {
        assert!(
            text.contains(file) && text.contains(found),
            "'{text}' lacks '{file}' or '{found}'"
        );
    }
    fs::remove_file(&labels).unwrap();
    let text = message(load(&images, Part::Train));
    assert!(
        text.contains("the label file of") && text.contains("x-labels-idx1-ubyte.gz"),
        "{text}"
    );
}

#[test]
fn damaged_archives_are_named_with_what_is_wrong() {
    let whole = tar(&pets());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pets.tar");
    let with = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let text = message(load(&path, Part::Train));
        assert!(text.contains("pets.tar"), "{text}");
        text
    };
    for cut in (0..whole.len() - 1024).step_by(97).chain((0..whole.len() - 1024).step_by(512)) {
        let text = with(&whole[..cut]);
        assert!(
            text.contains("truncated") || text.contains("damage") || text.contains("empty"),
            "{cut}: {text}"
        );
    }
    assert!(with(&gzip(&whole)[..whole.len() / 30]).contains("ends too early"));
    assert!(with(b"not a tar at all").contains("tar archive"));
    assert!(
        with(&tar(&[("a/readme.txt", b"x".to_vec())]))
            .contains("found none, but 1 other file (a/readme.txt)")
    );
    assert!(
        with(&tar(&[("a/x.jpg", b"hello, not a jpeg".to_vec())]))
            .contains("x.jpg: expected a PNG, JPEG, WebP, TIFF, BMP, GIF")
    );
    let cut = grey_jpeg(16, 16, 3);
    assert!(with(&tar(&[("a/x.jpg", cut[..cut.len() - 3].to_vec())])).contains("truncated"));
    // 200 MB of zeros in 200 kB.
    assert!(with(&gzip(&vec![0; 200 << 20])).contains("bomb"));
}

#[test]
fn what_is_not_there_is_said_with_where_it_was_looked_for() {
    let dir = folder(&[
        ("notes.txt", b"x".to_vec()),
        ("sub/empty/none.txt", b"x".to_vec()),
        ("one.png", png(1, 1, [0; 3])),
    ]);
    assert!(message(load(dir.path().join("no-such"), Part::Train)).contains("no-such' not found"));
    assert!(
        message(load(dir.path().join("sub"), Part::Train))
            .contains("sub/empty: expected a folder with images")
    );
    let text = message(load(dir.path().join("sub"), Part::Train));
    assert!(text.contains("found none, but 1 other file (none.txt)"), "{text}");
    assert!(message(load(dir.path().join("one.png"), Part::Train)).contains("a single image"));
    assert!(
        message(load(dir.path().join("notes.txt"), Part::Train))
            .contains("notes.txt: expected an IDX")
    );
    let folder_tar = folder(&[("x.tar/a/1.txt", b"x".to_vec())]);
    assert!(message(load(folder_tar.path().join("x.tar"), Part::Train)).contains("x.tar"));
    let text = message(
        DataSource::Mnist(Some(dir.path().join("none")))
            .open(Part::Train, &in_memory())
            .and_then(Images::into_dataset),
    );
    assert!(text.contains("none/MNIST/raw") && text.contains("mnist:DIR"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn idx_round_trip_and_every_truncation(
        n in 1usize..4, h in 1usize..4, w in 1usize..4, seed: u8, gz: bool,
    ) {
        let value = |i: usize| (i as u8).wrapping_mul(37).wrapping_add(seed);
        let values: Vec<u8> = (0..n * h * w).map(value).collect();
        let plain = idx(&[n as u32, h as u32, w as u32], &values);
        let bytes = if gz { gzip(&plain) } else { plain };
        let parse = |bytes: &[u8]| {
            let content = idx_format::IdxContent::Images;
            idx_format::parse(Path::new("x"), gzip::from_bytes(bytes), content)
        };
        let parsed = parse(&bytes).unwrap();
        prop_assert_eq!((parsed.dims, parsed.values), (vec![n, h, w], values));
        for cut in 0..bytes.len() {
            // What follows the last value in a gzip file is its check sum, which is read too.
            prop_assert!(parse(&bytes[..cut]).is_err(), "{}", cut);
        }
    }

    #[test]
    fn cifar_round_trip_and_truncation(
        labels in prop::collection::vec(0u8..10, 1..4), cut in 0usize..9300,
    ) {
        let bytes: Vec<u8> = labels.iter().flat_map(|&l| record(&[l], l * 3)).collect();
        let parse = |bytes: &[u8]| {
            cifar::parse("x", cifar::CifarVariant::Ten, &[(PathBuf::from("x"), bytes)])
        };
        let data = parse(&bytes).unwrap();
        prop_assert_eq!(data.labels(), labels.iter().map(|&l| u32::from(l)).collect::<Vec<_>>());
        prop_assert_eq!(data.image(labels.len() - 1), vec![labels[labels.len() - 1] * 3; 3072]);
        let cut = cut.min(bytes.len() - 1);
        prop_assert_eq!(parse(&bytes[..cut]).is_ok(), cut > 0 && cut % 3073 == 0);
    }

    #[test]
    fn random_bytes_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..2000), magic in 0usize..5,
    ) {
        let headers: [&[u8]; 5] = [
            &[], &[0, 0, 8, 3], &[0x1f, 0x8b, 8, 0], b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n",
        ];
        let bytes = [headers[magic], &bytes].concat();
        let names = ["x.tar", "images.idx3", "labels.idx1", "x.bin", "a/x.png"];
        let dir = folder(&names.map(|name| (name, bytes.clone())));
        for name in ["x.tar", "images.idx3", "x.bin", "a"] {
            prop_assert!(load(dir.path().join(name), Part::Train).is_err());
        }
    }

    #[test]
    fn a_flipped_byte_of_an_archive_never_panics(at in 0usize..6000, to: u8) {
        let mut bytes = tar(&pets());
        let at = at % bytes.len();
        bytes[at] = to;
        let dir = folder(&[("x.tar", bytes)]);
        let _ = load(dir.path().join("x.tar"), Part::Train);
    }
}
