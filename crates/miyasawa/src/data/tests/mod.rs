//! Whole data sets, written by the tests in every supported form and read back.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use super::*;

mod convert;
mod damage;
mod labels;
mod layouts;
mod own;
mod patches;
mod real;
mod streaming;

/// Opened in memory, resized to cover a size, none corrupt.
fn in_memory() -> OpenOptions {
    let (stream, resize_mode) = (Streaming::Never, ResizeMode::Resize);
    OpenOptions { stream, resize_mode, max_corrupt: 0, ..OpenOptions::default() }
}

fn datasets(both: TrainTest) -> (Dataset, Dataset) {
    (both.train.into_dataset().unwrap(), both.test.into_dataset().unwrap())
}

fn load(spec: impl AsRef<Path>, part: Part) -> Result<Dataset, DataError> {
    load_with(spec, part, &in_memory())
}

fn load_with(
    spec: impl AsRef<Path>,
    part: Part,
    options: &OpenOptions,
) -> Result<Dataset, DataError> {
    DataSource::Path(spec.as_ref().to_owned()).open(part, options)?.into_dataset()
}

fn message(result: Result<Dataset, DataError>) -> String {
    let text = result.map(|data| data.len()).unwrap_err().to_string();
    assert!(!text.contains('\n'), "more than one line: {text}");
    text
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn idx(dims: &[u32], values: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, dims.len() as u8];
    dims.iter().for_each(|d| bytes.extend(d.to_be_bytes()));
    bytes.extend(values);
    bytes
}

/// A plain image; the colour says which one it is.
fn png(height: u32, width: u32, colour: [u8; 3]) -> Vec<u8> {
    encode(
        image::DynamicImage::ImageRgb8(image::RgbImage::from_pixel(
            width,
            height,
            image::Rgb(colour),
        )),
        image::ImageFormat::Png,
    )
}

fn grey_jpeg(height: u32, width: u32, value: u8) -> Vec<u8> {
    encode(
        image::DynamicImage::ImageLuma8(image::GrayImage::from_pixel(
            width,
            height,
            image::Luma([value]),
        )),
        image::ImageFormat::Jpeg,
    )
}

fn encode(image: image::DynamicImage, format: image::ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn tar(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, &bytes[..]).unwrap();
    }
    builder.into_inner().unwrap()
}

/// A folder with the given files.
fn folder(files: &[(&str, Vec<u8>)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, bytes) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    dir
}

fn pets() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("dog/b.png", png(2, 3, [3, 3, 3])),
        ("cat/2.JPEG", grey_jpeg(2, 3, 200)),
        ("cat/1.png", png(2, 3, [1, 10, 100])),
        ("cat/notes.txt", b"ignored".to_vec()),
        ("cat/.hidden.png", b"ignored".to_vec()),
    ]
}

fn check_pets(data: &Dataset) {
    assert_eq!(data.classes(), ["cat", "dog"]);
    assert_eq!(data.labels(), [0, 0, 1]);
    assert_eq!((data.channels(), data.height(), data.width()), (3, 2, 3));
    assert_eq!(data.image(0), [[1u8; 6], [10; 6], [100; 6]].concat());
    assert_eq!(data.image(1), [200; 18]);
    assert_eq!(data.image(2), [3; 18]);
}

#[test]
fn class_folders_and_tars_of_them_are_the_same_set() {
    let dir = folder(&pets());
    check_pets(&load(&dir, Part::Train).unwrap());
    let tarred = folder(&[
        ("a.tar", tar(&pets())),
        ("b.tar.gz", gzip(&tar(&pets()))),
        ("c.tgz", gzip(&tar(&pets()))),
    ]);
    for name in ["a.tar", "b.tar.gz", "c.tgz"] {
        let path = tarred.path().join(name);
        let data = load(&path, Part::Test).unwrap();
        check_pets(&data);
        assert_eq!(data.name(), path.display().to_string());
    }
}

#[test]
fn folders_and_archives_are_split_where_they_say() {
    let files: Vec<(&str, Vec<u8>)> = vec![
        ("train/a/1.png", png(1, 1, [1; 3])),
        ("train/b/2.png", png(1, 1, [2; 3])),
        ("val/b/3.png", png(1, 1, [3; 3])),
    ];
    let dir = folder(&files);
    let single =
        |data: Dataset| (data.pixels().to_vec(), data.labels().to_vec(), data.classes().len());
    assert_eq!(single(load(&dir, Part::Test).unwrap()), (vec![3; 3], vec![1], 2));
    assert_eq!(load(&dir, Part::Train).unwrap().len(), 2);
    let tars = folder(&[
        ("all.tar.gz", gzip(&tar(&files))),
        ("parts/train.tar", tar(&[("a/1.png", png(1, 1, [1; 3]))])),
        ("parts/test-a.tar", tar(&[("a/2.png", png(1, 1, [2; 3]))])),
    ]);
    assert_eq!(
        single(load(tars.path().join("all.tar.gz"), Part::Test).unwrap()),
        (vec![3; 3], vec![1], 2)
    );
    let parts = tars.path().join("parts");
    assert_eq!(load(&parts, Part::Train).unwrap().pixels(), [1; 3]);
    assert_eq!(load(&parts, Part::Test).unwrap().pixels(), [2; 3]);
    let (train, test) =
        DataSource::Path(parts.clone()).open_both(&in_memory()).map(datasets).unwrap();
    assert_eq!((train.pixels(), test.pixels()), (&[1u8; 3][..], &[2u8; 3][..]));
    fs::remove_file(parts.join("test-a.tar")).unwrap();
    // A tar that holds both parts keeps them.
    let whole = folder(&[("train_and_test.tar", tar(&files))]);
    assert_eq!(load(&whole, Part::Test).unwrap().len(), 1);
    let (train, test) =
        DataSource::Path(whole.path().to_owned()).open_both(&in_memory()).map(datasets).unwrap();
    assert_eq!((train.len(), test.len()), (2, 1));
    // One part alone is a set without parts, as it is of folders.
    assert_eq!(load(&parts, Part::Test).unwrap().pixels(), [1; 3]);
    fs::write(parts.join("train-1.tar"), tar(&[("a/3.png", png(1, 1, [3; 3]))])).unwrap();
    let (train, test) = DataSource::Path(parts).open_both(&in_memory()).map(datasets).unwrap();
    assert_eq!((train.len(), test.len()), (1, 1));
}

#[test]
fn a_set_without_parts_holds_out_a_tenth() {
    let names: Vec<String> = (0..30).map(|i| format!("{}/{i}.png", ["a", "b"][i % 2])).collect();
    let files: Vec<(&str, Vec<u8>)> =
        names.iter().zip(0u8..).map(|(name, i)| (name.as_str(), png(1, 1, [i; 3]))).collect();
    let dir = folder(&files);
    let source = DataSource::Path(dir.path().to_owned());
    let (train, test) = source.open_both(&in_memory()).map(datasets).unwrap();
    assert_eq!((train.len(), test.len()), (27, 3));
    assert_eq!(source.open_both(&in_memory()).map(datasets).unwrap().1, test);
    let few = load_with(&dir, Part::Train, &OpenOptions { limit: Some(4), ..in_memory() }).unwrap();
    assert_eq!(few.labels(), [0, 0, 1, 1]);
}

#[test]
fn images_without_classes_are_one_class() {
    let files = [("2.png", png(2, 2, [9; 3])), ("1.jpg", grey_jpeg(2, 2, 50))];
    for data in [
        load(folder(&files), Part::Train).unwrap(),
        load(folder(&[("x.tar", tar(&files))]).keep().join("x.tar"), Part::Train).unwrap(),
    ] {
        assert_eq!((data.classes(), data.labels()), (&["image".to_owned()][..], &[0, 0][..]));
        assert_eq!((data.image(0)[0], data.image(1)[0]), (50, 9));
    }
}

#[test]
fn sizes_and_channels_are_brought_into_line_when_asked() {
    let dir = folder(&[("a/1.png", png(4, 4, [10, 20, 30])), ("a/2.png", png(6, 4, [5; 3]))]);
    let text = message(load(&dir, Part::Train));
    assert!(
        text.contains("1.png is 4x4") && text.contains("2.png is 6x4") && text.contains("resize"),
        "{text}"
    );
    let options = OpenOptions { size: Some((2, 3)), channels: Some(1), ..in_memory() };
    let data = load_with(&dir, Part::Train, &options).unwrap();
    assert_eq!((data.channels(), data.height(), data.width(), data.len()), (1, 2, 3, 2));
    assert_eq!((data.image(0), data.image(1)), (&[18; 6][..], &[5; 6][..]));
    let bad = OpenOptions { channels: Some(2), ..in_memory() };
    assert!(message(load_with(&dir, Part::Train, &bad)).contains("1 or 3 channels"));
}

#[test]
fn webdataset_shards_read_their_classes() {
    let shard = |n: u8, class: &str| {
        tar(&[
            ("000.jpg", grey_jpeg(1, 1, n)),
            ("000.cls", b"0".to_vec()),
            ("001.png", png(1, 1, [n; 3])),
            ("001.cls", class.as_bytes().to_vec()),
        ])
    };
    let dir = folder(&[("t-00.tar", shard(10, "1\n")), ("t-01.tar", shard(20, "2"))]);
    let both = dir.path().join("t-{00..01}.tar");
    let data = load(&both, Part::Train).unwrap();
    assert_eq!(
        (data.labels(), data.classes()),
        (&[0, 1, 0, 2][..], &["0", "1", "2"].map(String::from)[..])
    );
    assert_eq!(data.image(2), [20; 3]);
    let classes = dir.path().join("classes.txt");
    fs::write(&classes, "0\tn0\tcrane, bird\n1\tn1\tcrane, machine\n2\tn2\tcat, pet\n").unwrap();
    assert_eq!(
        load(&both, Part::Train).unwrap().classes(),
        ["crane, bird", "crane, machine", "cat"]
    );
    fs::write(&classes, "0\tn0\ta\n1\tn1\tb\n").unwrap();
    let text = message(load(&both, Part::Train));
    assert!(text.contains("t-01.tar/001.png") && text.contains("found class 2"), "{text}");
    fs::write(&classes, "0\tn0\ta\nx\n").unwrap();
    assert!(message(load(&both, Part::Train)).contains("in line 2, found 'x'"));
    assert!(message(load(dir.path().join("t-{00..02}.tar"), Part::Train)).contains("t-02.tar"));
    for bad in ["t-{2..1}.tar", "t-{a..b}.tar", "t-{0..999999999}.tar", "t-{}.tar"] {
        assert!(message(load(dir.path().join(bad), Part::Train)).contains("range"), "{bad}");
    }
    fs::remove_file(&classes).unwrap();
    for (class, found) in [("cat", "found 'cat'"), ("4000000000", "found 4000000000")] {
        fs::write(dir.path().join("t-01.tar"), shard(1, class)).unwrap();
        assert!(message(load(&both, Part::Train)).contains(found), "{class}");
    }
    fs::write(
        dir.path().join("t-01.tar"),
        tar(&[("1.png", png(1, 1, [0; 3])), ("2.cls", vec![b'0'])]),
    )
    .unwrap();
    assert!(message(load(&both, Part::Train)).contains("a class file 1.cls beside it, found none"));
}

/// A pair of IDX files under the given names, two images of 1x2.
fn idx_pair(images: &str, labels: &str, gz: bool) -> TempDir {
    let pack = |bytes: Vec<u8>| if gz { gzip(&bytes) } else { bytes };
    folder(&[(images, pack(idx(&[2, 1, 2], &[1, 2, 3, 4]))), (labels, pack(idx(&[2], &[0, 1])))])
}

#[test]
fn idx_files_are_found_by_their_names() {
    for (images, labels, gz) in [
        ("x-images-idx3-ubyte", "x-labels-idx1-ubyte", false),
        ("x-images-idx3-ubyte.gz", "x-labels-idx1-ubyte.gz", true),
        ("x-images.idx3-ubyte", "x-labels.idx1-ubyte.gz", true),
        ("images.idx3", "labels.idx1", false),
    ] {
        let dir = idx_pair(images, labels, gz);
        let data = load(dir.path().join(images), Part::Train).unwrap();
        assert_eq!((data.pixels(), data.labels()), (&[1, 2, 3, 4][..], &[0, 1][..]), "{images}");
        assert_eq!(load(dir.path(), Part::Test).unwrap().labels(), [0, 1]);
    }
    let dir = folder(&[
        ("train-images-idx3-ubyte", idx(&[1, 1, 1], &[7])),
        ("train-labels-idx1-ubyte", idx(&[1], &[0])),
        ("t10k-images-idx3-ubyte", idx(&[1, 1, 1], &[8])),
        ("t10k-labels-idx1-ubyte", idx(&[1], &[3])),
    ]);
    assert_eq!(load(&dir, Part::Train).unwrap().pixels(), [7]);
    assert_eq!(load(&dir, Part::Test).unwrap().pixels(), [8]);
    let named = DataSource::Mnist(Some(dir.path().to_owned()));
    let data = named.open(Part::Test, &in_memory()).and_then(Images::into_dataset).unwrap();
    assert_eq!((data.pixels(), data.classes().len(), data.labels()), (&[8][..], 10, &[3][..]));
}

/// A CIFAR record: label bytes, then a plain image.
fn record(labels: &[u8], value: u8) -> Vec<u8> {
    [labels, &[value; 3072]].concat()
}

#[test]
fn cifar_binary_files_are_read_by_part() {
    let files = vec![
        ("data_batch_2.bin", record(&[9], 2)),
        ("data_batch_1.bin", record(&[1], 1)),
        ("test_batch.bin", record(&[5], 3)),
    ];
    let dir = folder(&files);
    for source in ["cifar10:", ""] {
        let source: DataSource = format!("{source}{}", dir.path().display()).parse().unwrap();
        let data = source.open(Part::Train, &in_memory()).and_then(Images::into_dataset).unwrap();
        assert_eq!(
            (data.labels(), data.classes().len(), data.image(1)[3071]),
            (&[1, 9][..], 10, 2)
        );
        assert_eq!(
            source.open(Part::Test, &in_memory()).and_then(Images::into_dataset).unwrap().labels(),
            [5]
        );
    }
    let hundred = folder(&[("train.bin", record(&[9, 99], 2)), ("test.bin", record(&[0, 3], 1))]);
    let data = load(&hundred, Part::Train).unwrap();
    assert_eq!((data.labels(), data.classes()[99].as_str()), (&[99][..], "worm"));
    assert_eq!(load(hundred.path().join("test.bin"), Part::Train).unwrap().labels(), [3]);
    let packed = folder(&[("cifar-10-binary.tar.gz", gzip(&tar(&files)))]);
    let data = DataSource::Cifar10(Some(packed.path().to_owned()))
        .open(Part::Test, &in_memory())
        .and_then(Images::into_dataset);
    assert_eq!(data.unwrap().labels(), [5]);
    let wrong = DataSource::Cifar100(Some(dir.path().to_owned()))
        .open(Part::Test, &in_memory())
        .and_then(Images::into_dataset);
    assert!(message(wrong).contains("the 100 classes of cifar100, found 10"));
    fs::write(dir.path().join("test_batch.bin"), record(&[10], 0)).unwrap();
    assert!(message(load(&dir, Part::Test)).contains("label 10 in record 0"));
    fs::write(dir.path().join("test_batch.bin"), &record(&[1], 0)[..3000]).unwrap();
    assert!(
        message(load(&dir, Part::Test)).contains("test_batch.bin: expected whole CIFAR-10 records")
    );
}

#[test]
fn the_data_argument_is_parsed() {
    let parse = |spec: &str| spec.parse::<DataSource>();
    assert_eq!(parse("digits").unwrap(), DataSource::Digits);
    assert_eq!(parse("cifar10").unwrap(), DataSource::Cifar10(None));
    assert_eq!(parse("fashion-mnist:/a:b").unwrap(), DataSource::FashionMnist(Some("/a:b".into())));
    assert_eq!(parse("my/folder").unwrap(), DataSource::Path("my/folder".into()));
    for spec in ["digits", "cifar100:x/y", "mnist", "my/folder.tar"] {
        assert_eq!(parse(spec).unwrap().to_string(), spec);
    }
    for bad in ["", " ", "digits:x", "mnist:"] {
        assert!(parse(bad).unwrap_err().to_string().contains("data argument"), "{bad}");
    }
}
