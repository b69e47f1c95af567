//! Data sets of this world, if they are there.

use super::*;

/// The folder with real data, or `None` after saying so.
fn real_data() -> Option<PathBuf> {
    let folder = std::env::var_os("MIYASAWA_DATA").map(PathBuf::from);
    if folder.is_none() {
        println!("skipped: MIYASAWA_DATA is not set");
    }
    folder
}

#[test]
fn real_cifar10_tars() {
    let Some(root) = real_data() else { return };
    let source = DataSource::Cifar10(Some(root.join("cifar10")));
    let (train, test) = source.load_both(&LoadOptions::default()).unwrap();
    assert_eq!((train.len(), test.len(), train.classes().len()), (50_000, 5_000, 10));
    assert_eq!((train.channels(), train.height(), train.width()), (3, 32, 32));
    let (mean, std) = train.mean_std();
    // Of CIFAR-10 itself: mean 0.4734, deviation 0.2516 in [0, 1].
    assert!((mean / 2.0 + 0.5 - 0.4734).abs() < 1e-3 && (std / 2.0 - 0.2516).abs() < 2e-3, "{mean} {std}");
    let few = load_with(
        root.join("cifar10/test-a.tar"),
        Part::Train,
        &LoadOptions { limit: Some(20), ..Default::default() },
    );
    assert_eq!(
        few.unwrap(),
        test.subset(20).unwrap().renamed(root.join("cifar10/test-a.tar").display().to_string())
    );
}

#[test]
fn real_shards_and_grey_pictures() {
    let Some(root) = real_data() else { return };
    let tiny = root.join("tiny-imagenet-50");
    let data = load(tiny.join("val-{00000..00000}.tar"), Part::Train).unwrap();
    assert_eq!((data.classes().len(), data.channels(), data.height()), (50, 3, 64));
    assert_eq!(data.classes()[0], "goldfish");
    assert_eq!(load(&tiny, Part::Test).unwrap().labels(), data.labels());
    let grey = root.join("natural-gray");
    assert!(message(load(grey.join("set12.tar"), Part::Train)).contains("01.png is 256x256 but"));
    let options = LoadOptions { resize: Some((256, 256)), ..Default::default() };
    let set12 = load_with(grey.join("set12.tar"), Part::Train, &options).unwrap();
    assert_eq!((set12.len(), set12.channels(), set12.classes()), (12, 1, &["image".to_owned()][..]));
    let bsd = load(grey.join("bsd400-train.tar"), Part::Train).unwrap();
    assert_eq!((bsd.len(), bsd.channels()), (400, 1));
    let options = LoadOptions { resize: Some((64, 64)), ..Default::default() };
    assert_eq!(load_with(root.join("imagenet-sample/val.tar"), Part::Train, &options).unwrap().len(), 150);
}

#[test]
fn real_fashion_mnist() {
    let source = DataSource::FashionMnist(None);
    match source.load_both(&LoadOptions::default()) {
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
