//! Streams: the same images, classes and order as the set in memory.

use super::*;

/// An image with something in it, in colour or grey; the number says which.
fn scene(number: usize, height: u32, width: u32) -> Vec<u8> {
    let at = |x: u32, y: u32, c: usize| {
        ((x as usize * (5 + c) + y as usize * 11 + number * 37 + (x * y) as usize % 7) % 256) as u8
    };
    let image = if number % 3 == 1 {
        image::GrayImage::from_fn(width, height, |x, y| image::Luma([at(x, y, 0)])).into()
    } else {
        image::DynamicImage::ImageRgb8(image::RgbImage::from_fn(width, height, |x, y| {
            image::Rgb([0, 1, 2].map(|c| at(x, y, c)))
        }))
    };
    encode(
        image,
        if number.is_multiple_of(2) { image::ImageFormat::Png } else { image::ImageFormat::Jpeg },
    )
}

fn name(number: usize) -> String {
    format!("{number:03}.{}", if number.is_multiple_of(2) { "png" } else { "jpg" })
}

/// A shard of the images `numbers`; the class is the number modulo 3.
fn shard(numbers: std::ops::Range<usize>, size: impl Fn(usize) -> (u32, u32)) -> Vec<u8> {
    let files: Vec<(String, Vec<u8>)> = numbers
        .flat_map(|n| {
            let class = (n % 3).to_string().into_bytes();
            [(name(n), scene(n, size(n).0, size(n).1)), (format!("{n:03}.cls"), class)]
        })
        .collect();
    tar(&files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect::<Vec<_>>())
}

/// Two shards of 7 and 6 images.
fn shards(size: impl Fn(usize) -> (u32, u32)) -> (TempDir, PathBuf) {
    let dir = folder(&[("t-0.tar", shard(0..7, &size)), ("t-1.tar", shard(7..13, &size))]);
    let path = dir.path().join("t-{0..1}.tar");
    (dir, path)
}

fn open(path: &Path, options: &OpenOptions) -> Result<Images, DataError> {
    DataSource::Path(path.to_owned()).open(Part::Train, options)
}

fn both(path: &Path, options: &OpenOptions) -> (Images, Images) {
    let with = |stream| open(path, &OpenOptions { stream, ..options.clone() }).unwrap();
    (with(Streaming::Never), with(Streaming::Always))
}

/// Every image of a stream, augmented.
fn examples(stream: &Stream, augment: &Augment, epoch: u64) -> (Vec<f32>, Vec<u32>) {
    let len = stream.geometry().values();
    let mut values = vec![0.0; stream.len() * len];
    let labels = values.chunks_mut(len).zip(0..);
    let labels =
        labels.map(|(out, i)| stream.example(i, augment, [5, epoch], out).unwrap()).collect();
    (values, labels)
}

#[test]
fn a_stream_gives_what_the_set_in_memory_gives() {
    let (_dir, one_size) = shards(|_| (12, 10));
    let (_other, sizes) = shards(|n| (12 + n as u32, 24 - n as u32));
    let cases = [
        (&one_size, OpenOptions::default(), true),
        (&one_size, OpenOptions { channels: Some(1), limit: Some(5), ..Default::default() }, true),
        (
            &one_size,
            OpenOptions {
                size: Some((16, 16)),
                resize_mode: ResizeMode::PadEdge,
                ..Default::default()
            },
            true,
        ),
        (
            &sizes,
            OpenOptions {
                size: Some((8, 9)),
                resize_mode: ResizeMode::Resize,
                ..Default::default()
            },
            false,
        ),
        (
            &sizes,
            OpenOptions {
                size: Some((8, 9)),
                resize_mode: ResizeMode::ResizeCrop,
                ..Default::default()
            },
            false,
        ),
    ];
    for (path, options, crops) in cases {
        let (memory, stream) = both(path, &options);
        let (data, stream_of) = (memory.in_memory().unwrap(), stream.stream().unwrap());
        assert_eq!(&stream.sample(usize::MAX).unwrap(), data);
        assert_eq!(
            (stream.len(), stream.geometry(), stream.classes()),
            (memory.len(), memory.geometry(), memory.classes())
        );
        assert_eq!(stream.mean_std(), memory.mean_std());
        for buffer in [None, Some(3)] {
            assert_eq!(stream.order(1, 2, buffer), memory.order(1, 2, buffer));
        }
        let resized_crop = crops.then_some([0.2, 1.0]);
        for augment in [
            Augment::default(),
            Augment { flip: true, crop: 2, resized_crop, ..Default::default() },
        ] {
            let mut values = vec![0.0; data.len() * data.image_len()];
            let indices: Vec<u32> = (0..data.len() as u32).collect();
            gather_augmented(data, &indices, &augment, 5, 1, &mut values);
            assert_eq!(examples(stream_of, &augment, 1), (values, data.labels().to_vec()));
        }
    }
}

#[test]
fn random_crops_are_of_the_stored_images() {
    // From black on the left to white on the right, so that the range of a crop gives its width.
    let ramp = image::GrayImage::from_fn(86, 60, |x, _| image::Luma([3 * x as u8]));
    let files: Vec<(String, Vec<u8>)> = (0..9)
        .map(|n| (format!("{n}.png"), encode(ramp.clone().into(), image::ImageFormat::Png)))
        .collect();
    let dir = folder(
        &files.iter().map(|(path, bytes)| (path.as_str(), bytes.clone())).collect::<Vec<_>>(),
    );
    let options = OpenOptions {
        size: Some((8, 8)),
        resize_mode: ResizeMode::ResizeCrop,
        originals: true,
        ..OpenOptions::default()
    };
    let opened = open(dir.path(), &options).unwrap();
    let stream = opened.stream().expect("resized images in memory will not do");
    let augment = Augment { resized_crop: Some([0.08, 0.1]), ..Augment::default() };
    let crops = examples(stream, &augment, 0);
    assert_eq!(crops, examples(stream, &augment, 0));
    assert_ne!(crops.0, examples(stream, &augment, 1).0);
    let widths = |values: &[f32]| -> Vec<f32> {
        let range = |p: &[f32]| {
            p.iter().fold(-1.0f32, |m, &v| m.max(v)) - p.iter().fold(1.0f32, |m, &v| m.min(v))
        };
        values.chunks(64).map(|image| range(image) * 127.5 / 3.0).collect()
    };
    // sqrt(0.08 * 86 * 60 * 3/4) = 17.6 to sqrt(0.1 * 86 * 60 * 4/3) = 26.2, less a pixel of the
    // smaller image.
    assert!(
        widths(&crops.0).iter().all(|width| (14.0..25.0).contains(width)),
        "{:?}",
        widths(&crops.0)
    );
    let whole = examples(stream, &Augment::default(), 0);
    assert!(
        widths(&whole.0).iter().all(|width| (40.0..53.0).contains(width)),
        "{:?}",
        widths(&whole.0)
    );
    let text = open(dir.path(), &OpenOptions { stream: Streaming::Never, ..options })
        .unwrap_err()
        .to_string();
    assert!(text.contains("data.stream = never"), "{text}");
}

#[test]
fn gzipped_shards_and_folders_stream_too() {
    let size = |_| (6, 6);
    let plain = folder(&[("t-0.tar", shard(0..7, size)), ("t-1.tar", shard(7..13, size))]);
    let packed = folder(&[
        ("t-0.tar.gz", gzip(&shard(0..7, size))),
        ("t-1.tar.gz", gzip(&shard(7..13, size))),
    ]);
    let always = OpenOptions { stream: Streaming::Always, ..OpenOptions::default() };
    let of = |path: PathBuf| {
        let set = open(&path, &always).unwrap().sample(usize::MAX).unwrap();
        (set.pixels().to_vec(), set.labels().to_vec())
    };
    assert_eq!(of(packed.path().join("t-{0..1}.tar.gz")), of(plain.path().join("t-{0..1}.tar")));

    let files: Vec<(String, Vec<u8>)> =
        (0..9).map(|n| (format!("{}/{}", ["b", "a"][n % 2], name(n)), scene(n, 6, 6))).collect();
    let files: Vec<(&str, Vec<u8>)> =
        files.iter().map(|(path, bytes)| (path.as_str(), bytes.clone())).collect();
    let classes = folder(&files);
    let in_tar = folder(&[("all.tar", tar(&files))]);
    assert_eq!(of(classes.path().to_owned()), of(in_tar.path().join("all.tar")));
    let TrainTest { train, test, .. } =
        DataSource::Path(classes.path().to_owned()).open_both(&always).unwrap();
    assert_eq!((train.len(), test.len(), test.stream().is_some()), (8, 1, true));
}

#[test]
fn a_tar_for_each_synset_is_a_class() {
    let class = |numbers: &[usize]| {
        let files: Vec<(String, Vec<u8>)> =
            numbers.iter().map(|&n| (name(n), scene(n, 4, 4))).collect();
        tar(&files.iter().map(|(path, bytes)| (path.as_str(), bytes.clone())).collect::<Vec<_>>())
    };
    let (a, b) = (class(&[0, 2]), class(&[3]));
    let flat = folder(&[("n00000002.tar", b.clone()), ("n00000001.tar", a.clone())]);
    let data = load(&flat, Part::Train).unwrap();
    assert_eq!(
        (data.classes(), data.labels()),
        (&["n00000001".to_owned(), "n00000002".into()][..], &[0, 0, 1][..])
    );
    let parts = folder(&[
        ("train/n00000001.tar", a.clone()),
        ("train/n00000002.tar", b.clone()),
        ("val/n00000001.tar", b),
        ("val/n00000002.tar", a),
    ]);
    assert_eq!(load(&parts, Part::Test).unwrap().labels(), [0, 1, 1]);
    let TrainTest { train, test, held_out_of } =
        DataSource::Path(parts.path().to_owned()).open_both(&OpenOptions::default()).unwrap();
    assert_eq!(held_out_of, None);
    assert_eq!((train.len(), test.len()), (3, 3));
}

#[test]
fn tiny_imagenet_is_read_as_it_unpacks() {
    let dir = folder(&[
        ("tiny-imagenet-200/wnids.txt", b"n00000002\nn00000001\n".to_vec()),
        (
            "tiny-imagenet-200/words.txt",
            b"n00000001\tgoldfish, Carassius\nn00000002\tsnail\n".to_vec(),
        ),
        ("tiny-imagenet-200/train/n00000001/images/n00000001_0.JPEG", scene(1, 4, 4)),
        ("tiny-imagenet-200/train/n00000002/images/n00000002_0.JPEG", scene(3, 4, 4)),
        ("tiny-imagenet-200/train/n00000002/n00000002_boxes.txt", b"x".to_vec()),
        ("tiny-imagenet-200/val/images/val_0.JPEG", scene(5, 4, 4)),
        ("tiny-imagenet-200/val/images/val_1.JPEG", scene(7, 4, 4)),
        (
            "tiny-imagenet-200/val/val_annotations.txt",
            b"val_1.JPEG\tn00000001\t0\t0\t3\t3\nval_0.JPEG\tn00000002\t0\t0\t3\t3\n".to_vec(),
        ),
        ("tiny-imagenet-200/test/images/test_0.JPEG", scene(9, 4, 4)),
    ]);
    let named = DataSource::TinyImageNet(Some(dir.path().to_owned()));
    for source in [named, DataSource::Path(dir.path().join("tiny-imagenet-200"))] {
        let (train, test) = source.open_both(&in_memory()).map(datasets).unwrap();
        assert_eq!(
            (train.labels(), train.classes()),
            (&[0, 1][..], &["goldfish".to_owned(), "snail".into()][..])
        );
        assert_eq!((test.labels(), test.len()), (&[1, 0][..], 2));
    }
    let annotations = dir.path().join("tiny-imagenet-200/val/val_annotations.txt");
    for (line, found) in [
        ("val_0.JPEG n1", "'val_0.JPEG n1'"),
        ("../x.png\tn00000001", "'../x.png'"),
        ("a.png\tn9", "'n9'"),
    ] {
        fs::write(&annotations, line).unwrap();
        let text = message(load(dir.path().join("tiny-imagenet-200"), Part::Test));
        assert!(text.contains("val_annotations.txt") && text.contains(found), "{text}");
    }
    let none = DataSource::TinyImageNet(Some("/none".into()))
        .open(Part::Train, &in_memory())
        .and_then(Images::into_dataset);
    assert!(message(none).contains("miyasawa data fetch tiny-imagenet"));
}

#[test]
fn a_corrupt_image_is_skipped_up_to_a_limit() {
    let cut = |bytes: Vec<u8>| bytes[..bytes.len() / 2].to_vec();
    let files: Vec<(String, Vec<u8>)> = (0..6)
        .map(|n| {
            (
                format!("{}/{n}.png", n % 2),
                if n == 2 || n == 5 { cut(scene(0, 5, 5)) } else { scene(6 * n, 5, 5) },
            )
        })
        .collect();
    let dir = folder(
        &files.iter().map(|(path, bytes)| (path.as_str(), bytes.clone())).collect::<Vec<_>>(),
    );
    // In the order 0/0 0/2 0/4 1/1 1/3 1/5: the second becomes the third, the last the first.
    let (memory, stream) =
        both(dir.path(), &OpenOptions { max_corrupt: 2, ..OpenOptions::default() });
    let data = memory.in_memory().unwrap();
    assert_eq!((data.image(1), data.image(5)), (data.image(2), data.image(0)));
    assert_eq!(data.labels(), [0, 0, 0, 1, 1, 0]);
    assert_eq!(&stream.sample(usize::MAX).unwrap(), data);
    assert_eq!(stream.stream().unwrap().corrupt_count(), 2);
    // Measured is what is there.
    let intact = OpenOptions { max_corrupt: 2, skip_corrupt: true, ..OpenOptions::default() };
    let (memory, stream) = both(dir.path(), &intact);
    // An order of what there is, in memory without the gaps.
    let mut order = memory.order(0, 0, Some(2));
    order.sort_unstable();
    assert_eq!(order, [0, 1, 2, 3]);
    for set in [&memory, &stream] {
        let found = set.sample(usize::MAX).unwrap();
        assert_eq!(found.labels(), [0, 0, 1, 1]);
        assert_eq!([0, 1, 2, 3].map(|i| found.source_index(i)), [0, 2, 3, 4]);
        assert!((0..4).all(|i| found.image(i) == memory.in_memory().unwrap().image(i)));
        // Indices are chosen in the list of files, so that both choose the same images: 0, 2 and 4.
        let some = set.sample(3).unwrap();
        assert_eq!([0, 1, 2].map(|i| some.source_index(i)), [0, 2, 4]);
    }
    assert!(stream.load(&[1]).unwrap_err().to_string().contains("at least one intact image"));
    // Only what was asked for is counted.
    let one = OpenOptions { max_corrupt: 1, channels: Some(3), sample: 0, ..intact.clone() };
    let one = OpenOptions { stream: Streaming::Always, ..one };
    let stream = open(dir.path(), &one).unwrap();
    assert_eq!(stream.load(&[0, 1, 2]).unwrap().len(), 2);
    assert_eq!(stream.stream().unwrap().corrupt_count(), 1);
    // Where what was chosen is corrupt, the first intact image is a sample.
    let late = folder(&[("0.png", cut(scene(0, 5, 5))), ("1.png", scene(6, 5, 5))]);
    for set in <[Images; 2]>::from(both(late.path(), &intact)) {
        assert_eq!(set.sample(1).unwrap().source_index(0), 1);
    }
    for mode in [Streaming::Never, Streaming::Always] {
        let limited = |max_corrupt| {
            let options = OpenOptions { max_corrupt, stream: mode, ..OpenOptions::default() };
            let opened = open(dir.path(), &options).and_then(|set| set.sample(usize::MAX));
            opened.map(|set| set.len()).unwrap_err().to_string()
        };
        let text = limited(1);
        assert!(text.contains("more than 1 corrupt images") && text.contains("0/2.png"), "{text}");
        assert!(text.contains("1/5.png") && !text.contains('\n'), "{text}");
        assert!(
            limited(0).contains("2.png: expected an intact PNG") || limited(0).contains("5.png"),
            "{}",
            limited(0)
        );
    }
}

#[test]
fn what_training_holds_out_is_what_it_is_measured_on() {
    let (dir, path) = shards(|_| (4, 4));
    let source = DataSource::Path(path);
    let options = OpenOptions { channels: Some(3), ..OpenOptions::default() };
    let TrainTest { test, held_out_of, .. } = source.open_both(&options).unwrap();
    let digest = held_out_of.as_deref();
    let chosen = source.choose(digest).unwrap();
    assert_eq!(chosen.held_out(), Some([1, 13]));
    assert_eq!(chosen.clone().gallery(&options).unwrap().len(), 1);
    let found = chosen.open(&options).unwrap();
    assert_eq!((found.len(), found.in_memory()), (1, test.in_memory()));
    // Wherever it lies it is this set; of another all is taken.
    let moved = tempfile::tempdir().unwrap();
    for name in ["t-0.tar", "t-1.tar"] {
        fs::copy(dir.path().join(name), moved.path().join(name)).unwrap();
    }
    let moved = DataSource::Path(moved.path().join("t-{0..1}.tar"));
    assert_eq!(moved.choose(digest).unwrap().held_out(), Some([1, 13]));
    assert_eq!(source.choose(None).unwrap().open(&options).unwrap().len(), 13);
    let (_other, other) = shards(|_| (5, 4));
    let other = DataSource::Path(other).choose(digest).unwrap();
    assert!(other.held_out().is_none() && !other.has_parts());
    // A test part is all that is measured on.
    let digits = DataSource::Digits.choose(digest).unwrap();
    assert!(digits.has_parts() && digits.open(&options).unwrap().len() == 360);
}

#[test]
fn a_stream_says_when_a_image_has_another_size_or_a_shard_shrank() {
    let (dir, path) = shards(|n| if n == 9 { (5, 4) } else { (4, 4) });
    let always = OpenOptions {
        stream: Streaming::Always,
        sample: 0,
        channels: Some(3),
        ..Default::default()
    };
    let set = open(&path, &always).unwrap();
    let text = set.sample(usize::MAX).map(|_| ()).unwrap_err().to_string();
    assert!(text.contains("000.png is 4x4") && text.contains("009.jpg is 5x4"), "{text}");
    assert!(set.load(&[13]).unwrap_err().to_string().contains("index 13"));
    fs::write(dir.path().join("t-1.tar"), b"short").unwrap();
    let text = set.load(&[12]).map(|_| ()).unwrap_err().to_string();
    assert!(text.contains("t-1.tar") && text.contains("a shorter archive"), "{text}");
}
