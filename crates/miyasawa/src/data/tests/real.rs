//! Data sets of this world, if they are there.

use super::*;

/// The folder with real data if it holds `name`, or `None` after saying so.
fn real_data(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("MIYASAWA_DATA").map(PathBuf::from);
    let found = folder.filter(|folder| folder.join(name).exists());
    if found.is_none() {
        println!("skipped: {name} is not in MIYASAWA_DATA");
    }
    found
}

#[test]
fn real_cifar10_tars() {
    let Some(root) = real_data("cifar10") else { return };
    let source = DataSource::Cifar10(Some(root.join("cifar10")));
    let (train, test) = source.open_both(&in_memory()).map(datasets).unwrap();
    assert_eq!((train.len(), test.len(), train.classes().len()), (50_000, 5_000, 10));
    assert_eq!((train.channels(), train.height(), train.width()), (3, 32, 32));
    let (mean, std) = train.mean_std();
    // Of CIFAR-10 itself: mean 0.4734, deviation 0.2516 in [0, 1].
    assert!(
        (mean / 2.0 + 0.5 - 0.4734).abs() < 1e-3 && (std / 2.0 - 0.2516).abs() < 2e-3,
        "{mean} {std}"
    );
    let few = load_with(
        root.join("cifar10/test-a.tar"),
        Part::Train,
        &OpenOptions { limit: Some(20), ..in_memory() },
    );
    assert_eq!(
        few.unwrap(),
        test.subset(20).unwrap().renamed(root.join("cifar10/test-a.tar").display().to_string())
    );
}

#[test]
fn real_shards_and_grey_images() {
    let Some(root) = real_data("tiny-imagenet-50") else { return };
    let tiny = root.join("tiny-imagenet-50");
    let data = load(tiny.join("val-{00000..00000}.tar"), Part::Train).unwrap();
    assert_eq!((data.classes().len(), data.channels(), data.height()), (50, 3, 64));
    assert_eq!(data.classes()[0], "goldfish");
    assert_eq!(load(&tiny, Part::Test).unwrap().labels(), data.labels());
    let grey = root.join("natural-gray");
    assert!(message(load(grey.join("set12.tar"), Part::Train)).contains("01.png is 256x256 but"));
    let options = OpenOptions { size: Some((256, 256)), ..in_memory() };
    let set12 = load_with(grey.join("set12.tar"), Part::Train, &options).unwrap();
    assert_eq!(
        (set12.len(), set12.channels(), set12.classes()),
        (12, 1, &["image".to_owned()][..])
    );
    let bsd = load(grey.join("bsd400-train.tar"), Part::Train).unwrap();
    assert_eq!((bsd.len(), bsd.channels()), (400, 1));
    let options = OpenOptions { size: Some((64, 64)), ..in_memory() };
    assert_eq!(
        load_with(root.join("imagenet-sample/val.tar"), Part::Train, &options).unwrap().len(),
        150
    );
}

#[test]
fn real_fashion_mnist() {
    let source = DataSource::FashionMnist(None);
    match source.open_both(&in_memory()).map(datasets) {
        Ok((train, test)) => {
            assert_eq!(
                (train.len(), test.len(), train.classes()[9].as_str()),
                (60_000, 10_000, "ankle boot")
            );
            let (mean, std) = train.mean_std();
            assert!((mean / 2.0 + 0.5 - 0.2860).abs() < 1e-4 && (std / 2.0 - 0.3530).abs() < 1e-4);
        }
        Err(DataError::NotFound { .. }) => println!("skipped: Fashion-MNIST is not installed"),
        Err(other) => panic!("{other}"),
    }
}

/// Of `scripts/torchvision_pipeline.py val.tar 224`: the images 0, 50 and 100 of imagenet-sample
/// after torchvision's Resize(256) and CenterCrop(224), every 56th pixel from the 28th on, by
/// channel, row and column.
#[rustfmt::skip]
const TORCHVISION: [(usize, [u8; 48]); 3] = [
    (0, [
        125, 139, 146, 144, 128, 136, 175, 152, 181, 130, 152, 157, 113, 131, 148, 155,
        110, 126, 135, 133, 116, 125, 150, 139, 173, 118, 139, 146, 100, 122, 135, 138,
        77, 92, 107, 105, 78, 80, 118, 107, 163, 78, 106, 118, 66, 81, 103, 109,
    ]),
    (50, [
        50, 141, 32, 88, 143, 120, 90, 90, 142, 144, 93, 59, 87, 73, 34, 127,
        22, 119, 24, 70, 130, 49, 50, 27, 87, 46, 25, 31, 59, 43, 19, 93,
        22, 120, 20, 45, 112, 39, 48, 25, 69, 39, 29, 28, 54, 45, 16, 90,
    ]),
    (100, [
        143, 138, 141, 5, 52, 155, 169, 100, 213, 215, 216, 218, 227, 219, 222, 231,
        149, 125, 130, 6, 10, 153, 161, 47, 213, 229, 231, 232, 235, 226, 228, 235,
        146, 116, 127, 2, 3, 152, 155, 37, 219, 232, 236, 233, 237, 229, 227, 230,
    ]),
];

#[test]
fn real_imagenet_images_are_evaluated_as_by_torchvision() {
    let Some(root) = real_data("imagenet-sample") else { return };
    let options = OpenOptions {
        size: Some((224, 224)),
        resize_mode: ResizeMode::ResizeCrop,
        channels: Some(3),
        stream: Streaming::Always,
        sample: 0,
        ..OpenOptions::default()
    };
    let set =
        DataSource::Path(root.join("imagenet-sample/val.tar")).open(Part::Test, &options).unwrap();
    assert_eq!(set.len(), 150);
    for (index, expected) in TORCHVISION {
        let image = set.load(&[index as u32]).unwrap();
        let rows = (0..3).flat_map(|c| (28..224).step_by(56).map(move |y| (c, y)));
        let lattice =
            rows.flat_map(|(c, y)| (28..224).step_by(56).map(move |x| (c * 224 + y) * 224 + x));
        let found = lattice.map(|at| image.image(0)[at]);
        let difference: u32 = found.zip(expected).map(|(a, b)| u32::from(a.abs_diff(b))).sum();
        assert!(difference <= 48, "image {index}: {difference} grey levels in 48 values");
    }
}

#[test]
fn real_shards_stream_as_they_load() {
    let Some(root) = real_data("tiny-imagenet-50") else { return };
    let path = root.join("tiny-imagenet-50");
    let open = |stream| {
        let options = OpenOptions { stream, limit: Some(500), ..OpenOptions::default() };
        let TrainTest { train, test, .. } =
            DataSource::Path(path.clone()).open_both(&options).unwrap();
        (train, test)
    };
    let (memory, streamed) = (open(Streaming::Never), open(Streaming::Always));
    assert_eq!(&streamed.0.sample(usize::MAX).unwrap(), memory.0.in_memory().unwrap());
    assert_eq!((streamed.0.mean_std(), streamed.1.len()), (memory.0.mean_std(), 1250));
    assert_eq!(streamed.1.sample(100).unwrap(), memory.1.sample(100).unwrap());
}
