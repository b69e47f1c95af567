//! `data`, and training and evaluation on streamed shards, through the binary.

mod common;

use common::*;
use std::{fs, io::Read, io::Write, net::TcpListener, path::Path};

/// A folder with three classes of colour images, 16 each, some of them of other sizes.
fn photos(dir: &Path, mixed: bool) -> String {
    let photos = dir.join("photos");
    for i in 0..48u32 {
        let class = photos.join(["ant", "bee", "cat"][i as usize % 3]);
        fs::create_dir_all(&class).unwrap();
        let width = if mixed { 12 + i % 5 } else { 12 };
        let mut image = colour(width, 12);
        image.pixels_mut().for_each(|p| p[2] = (i * 5) as u8);
        save(&class, &format!("{i:02}.{}", ["png", "jpg"][i as usize / 3 % 2]), image);
    }
    text(&photos)
}

const SMALL: [&str; 12] = [
    "--set",
    "network.width=8",
    "--set",
    "network.blocks=[1]",
    "--set",
    "schedule.batch=16",
    "--set",
    "schedule.steps=8",
    "--set",
    "eval.every=4",
    "--threads",
    "1",
];

fn train_on(data: &str, out: &Path, more: &[&str]) -> Vec<u8> {
    let data = format!("data.train={data}");
    let out_text = text(out);
    ok(["train", "-q", "--set", &data, "--out", &out_text].iter().chain(&SMALL).chain(more));
    fs::read(out.join("model.safetensors")).unwrap()
}

#[test]
fn shards_are_converted_and_streamed_to_the_same_weights() {
    let dir = tempfile::tempdir().unwrap();
    let from = photos(dir.path(), false);
    let shards = dir.path().join("shards");
    let made = json(["data", "convert", &from, "--shards", "3", "--out", &text(&shards), "--json"]);
    assert_eq!(keys(&made), ["data", "out", "parts"]);
    assert_eq!(
        (made["parts"][0]["count"].as_u64(), made["parts"][0]["part"].as_str()),
        (Some(48), Some("train"))
    );
    assert_eq!(
        names(&shards),
        ["classes.txt", "train-00000.tar", "train-00001.tar", "train-00002.tar"]
    );

    let range = text(&shards.join("train-{00000..00002}.tar"));
    let augment = [
        "augment.flip=true",
        "augment.crop=1",
        "augment.resized_crop=[0.3, 1.0]",
        "data.shuffle_buffer=20",
    ];
    let augment: Vec<&str> = augment.iter().flat_map(|value| ["--set", value]).collect();
    let run = |name: &str, more: &[&str]| {
        let more: Vec<&str> =
            augment.iter().copied().chain(more.iter().flat_map(|v| ["--set", v])).collect();
        // The folder's name is not part of the model.
        let weights = train_on(&range, &dir.path().join(name), &more);
        let log = fs::read_to_string(dir.path().join(name).join("metrics.jsonl")).unwrap();
        let log: Vec<serde_json::Value> =
            log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (
            weights,
            log.iter().map(|line| (line["loss"].clone(), line["rows"].clone())).collect::<Vec<_>>(),
        )
    };
    let memory = run("memory", &["data.stream=never"]);
    for (name, workers) in [("one", "data.workers=1"), ("four", "data.workers=4")] {
        let streamed = run(name, &["data.stream=always", workers]);
        assert_eq!(streamed.1, memory.1, "{name}: losses and evaluations");
        assert_eq!(streamed.0, memory.0, "{name}: weights");
    }
}

#[test]
fn large_images_are_cropped_at_random_and_evaluated_at_the_centre() {
    let dir = tempfile::tempdir().unwrap();
    let from = photos(dir.path(), true);
    let crop = ["data.size=[8, 8]", "data.fit=resize_crop", "augment.resized_crop=[0.2, 1.0]"];
    let crop: Vec<&str> = crop.iter().flat_map(|value| ["--set", value]).collect();
    let runs = ["a", "b"].map(|name| train_on(&from, &dir.path().join(name), &crop));
    assert_eq!(runs[0], runs[1]);
    let model = text(&dir.path().join("a/model.safetensors"));
    // As in training: resized in the same way, and measured on the held-out images.
    let found = json(["eval", &model, "--data", &from, "--json", "-q"]);
    assert_eq!(found["count"], 4);
    let log = fs::read_to_string(dir.path().join("a/metrics.jsonl")).unwrap();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let last = lines.filter(|line| line["event"] == "eval").collect::<Vec<_>>().pop().unwrap();
    for (found, trained) in
        found["rows"].as_array().unwrap().iter().zip(last["rows"].as_array().unwrap())
    {
        let psnr = [found, trained].map(|row| row["psnr"].as_f64().unwrap());
        assert!(
            (psnr[0] - psnr[1]).abs() < 1e-3 && found["accuracy"] == trained["accuracy"],
            "{found} {trained}"
        );
    }
    // In any folder it is that set, until it changes.
    let other = text(&dir.path().join("other"));
    fs::rename(&from, &other).unwrap();
    assert_eq!(json(["eval", &model, "--data", &other, "--json", "-q"])["count"], 4);
    save(&dir.path().join("other/ant"), "00.png", colour(12, 12));
    // Going on with a set that has changed: what is held out now was trained on.
    let went_on = dir.path().join("b");
    let set = format!("data.train={other}");
    let more = ["--set", &set, "--set", "schedule.steps=9"];
    let output = run(["train", "--resume", "--out", &text(&went_on)].iter().chain(&more));
    assert!(
        output.status.success()
            && stderr(&output).contains("images held out now may have been trained on")
    );
    let went_on = text(&went_on.join("model.safetensors"));
    // Every measurement on it gives the warning, also after the folder was moved.
    let moved = dir.path().join("moved");
    for _ in 0..2 {
        let output = run(["eval", &went_on, "--data", &other]);
        assert!(stderr(&output).contains("training images may be measured"), "{}", stderr(&output));
    }
    fs::create_dir(&moved).unwrap();
    fs::rename(&other, moved.join("other")).unwrap();
    let output = run(["eval", &went_on, "--data", &text(&moved.join("other"))]);
    assert!(stderr(&output).contains("training images may be measured"), "{}", stderr(&output));
    fs::rename(moved.join("other"), &other).unwrap();
    assert_eq!(json(["eval", &went_on, "--data", &other, "--json", "-q"])["count"], 48);
    assert_eq!(json(["eval", &model, "--data", &other, "--json", "-q"])["count"], 48);
    fails(1, ["eval", &model, "--data", &other, "--fit", "pad"], &["different sizes"]);
    fails(
        2,
        ["eval", &model, "--data", &other, "--fit", "crop"],
        &["pad_edge, resize or resize_crop"],
    );
    fails(2, ["eval", &model, "--data", &other, "--crop-share", "0"], &["--crop-share"]);
    fs::write(dir.path().join("other/ant/00.png"), b"broken").unwrap();
    let attack =
        ["attack", &model, "--norm", "l2", "--eps", "0.1", "--method", "fgsm", "--json", "-q"];
    for call in [&["eval", &model, "--json", "-q"][..], &attack] {
        let call = || call.iter().copied().chain(["--data", &other]);
        fails(1, call(), &["ant/00.png", "PNG, JPEG, WebP, TIFF, BMP, GIF"]);
        assert_eq!(json(call().chain(["--max-broken", "1"]))["count"], 47);
        // The selected one is corrupt: an intact one is used.
        assert_eq!(json(call().chain(["--max-broken", "1", "--limit", "1"]))["count"], 1);
    }
}

#[test]
fn a_run_names_corrupt_images_and_ends_if_there_are_too_many() {
    let dir = tempfile::tempdir().unwrap();
    let from = photos(dir.path(), false);
    for name in ["ant/09.jpg", "bee/01.png"] {
        fs::write(Path::new(&from).join(name), b"broken").unwrap();
    }
    let set = format!("data.train={from}");
    for stream in ["data.stream=always", "data.stream=never"] {
        let call = |out: &str, more: &str| {
            let out = text(&dir.path().join(format!("{stream}-{out}")));
            let args = ["train", "--set", &set, "--set", stream, "--set", more, "--out", &out];
            args.iter().chain(&SMALL).map(|s| (*s).to_owned()).collect::<Vec<String>>()
        };
        let output = run(call("fine", "data.max_broken=2"));
        let messages = stderr(&output);
        assert_eq!(output.status.code(), Some(0), "{messages}");
        for name in ["ant/09.jpg", "bee/01.png"] {
            assert_eq!(messages.matches(name).count(), 1, "{messages}");
        }
        let output = run(call("bad", "data.max_broken=1"));
        let messages = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{messages}");
        assert!(messages.contains("error: more than 1 corrupt images"), "{messages}");
    }
}

#[test]
fn info_describes_a_set() {
    let dir = tempfile::tempdir().unwrap();
    let figure = text(&dir.path().join("figure.png"));
    let info = json(["data", "info", "digits", "-o", &figure, "--json"]);
    assert_eq!(keys(&info), ["classes", "data", "figure", "parts"]);
    let train = &info["parts"][0];
    assert_eq!((train["part"].as_str(), train["count"].as_u64()), (Some("train"), Some(1437)));
    assert_eq!(
        (&train["height"], &info["parts"][1]["count"]),
        (&serde_json::json!([8, 8]), &serde_json::json!(360))
    );
    assert_eq!(info["classes"].as_array().map(Vec::len), Some(10));
    assert!(size(&figure).0 > 500);
    let words = ok(["data", "info", &photos(dir.path(), true), "--limit", "20", "-q"]);
    for part in ["3 classes", "48 pictures, colour, 12x12-16", "of 20 of them", "ant: 16"] {
        assert!(words.contains(part), "{part}: {words}");
    }
    fails(2, ["data", "info", "digits", "-o", "x.gif"], &["x.gif"]);
    fails(1, ["data", "info", "no-such-set"], &["no-such-set"]);
    fails(
        2,
        ["data", "convert", "digits", "--shards", "2", "--out", &figure, "--prefix", "a/b"],
        &["--prefix"],
    );
    fails(
        2,
        ["data", "convert", "digits", "--shards", "0", "--out", &text(dir.path())],
        &["shards"],
    );
}

#[test]
fn fetch_refuses_other_files() {
    fails(2, ["data", "fetch", "imagenet"], &["'imagenet'", "tiny-imagenet"]);
    fails(2, ["data", "fetch", "mnist", "--from", "ftp://x"], &["--from"]);
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let from = format!("http://{}/mirror/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let count = stream.read(&mut request).unwrap_or(0);
            let right = request[..count].starts_with(b"GET /mirror/train-images-idx3-ubyte.gz ");
            let status = if right { "200 OK" } else { "404 Not Found" };
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\nContent-Length: 5\r\nConnection: close\r\n\r\nwrong"
            );
        }
    });
    let target = text(dir.path());
    let call = ["data", "fetch", "mnist", "--dir", &target, "--from", &from, "--json", "-q"];
    fails(1, call, &["f68b3c2dcbeaaa9fbdd348bbdeb94873", "train-images-idx3-ubyte.gz"]);
    assert_eq!(names(&dir.path().join("mnist")), Vec::<String>::new());
}

/// What a call says on standard error, which must end well.
fn said<A: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = A>) -> String {
    let output = run(args);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    stderr(&output)
}

#[test]
fn measuring_training_images_gives_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let from = photos(dir.path(), false);
    let test = dir.path().join("test");
    for class in ["ant", "bee", "cat"] {
        fs::create_dir_all(test.join(class)).unwrap();
        save(&test.join(class), "1.png", colour(12, 12));
    }
    let test_set = format!("data.test={}", text(&test));
    let out = dir.path().join("run");
    train_on(&from, &out, &["--set", &test_set]);
    let model = text(&out.join("model.safetensors"));
    let measured = |data: &str| said(["eval", &model, "--data", data]);
    assert!(measured(&from).contains("training images are measured"), "{}", measured(&from));
    assert!(!measured(&text(&test)).contains("training images"), "{}", measured(&text(&test)));
    // From now on a tenth is held out: all of it was trained on.
    let out = text(&out);
    let config = fs::read_to_string(dir.path().join("run/config.toml")).unwrap();
    let config: String = config
        .lines()
        .filter(|line| !line.starts_with("test ="))
        .map(|l| format!("{l}\n"))
        .collect();
    fs::write(dir.path().join("run/config.toml"), config).unwrap();
    let resumed = said(["train", "--resume", "--out", &out, "--set", "schedule.steps=9"]);
    assert!(resumed.contains("images held out now may have been trained on"), "{resumed}");
    for _ in 0..2 {
        assert!(measured(&from).contains("training images may be measured"), "{}", measured(&from));
    }
}

#[test]
fn skipped_files_of_a_set_are_reported_once_with_an_example() {
    let dir = tempfile::tempdir().unwrap();
    let set = dir.path().join("set");
    for name in [
        "Training/ant",
        "Training/bee",
        "Testing/ant",
        "Testing/bee",
        "@eaDir/ant",
        "$RECYCLE.BIN/S-1",
    ] {
        fs::create_dir_all(set.join(name)).unwrap();
        save(&set.join(name), "1.png", colour(12, 12));
    }
    fs::rename(set.join("Training/bee/1.png"), set.join("Training/bee/1.jfif")).unwrap();
    save(&set.join("Training/bee"), "2.jpg", colour(12, 12));
    fs::rename(set.join("Training/bee/2.jpg"), set.join("Training/bee/2.jpe")).unwrap();
    fs::write(set.join("Training/ant/2.heic"), b"x").unwrap();
    let output = run(["data", "info", &text(&set)]);
    let (out, err) = (stdout(&output), stderr(&output));
    assert!(
        out.contains("2 classes") && out.contains("train: 3 pictures") && out.contains("test: 2"),
        "{out}"
    );
    for part in [
        "left out 2 folders that a system keeps for itself",
        "left out 1 HEIC file: Training/ant/2.heic",
    ] {
        assert_eq!(err.matches(part).count(), 1, "{err}");
    }
    assert_eq!(err.matches("WARN").count(), 2, "{err}");
    fs::create_dir_all(set.join("train/ant")).unwrap();
    save(&set.join("train/ant"), "1.png", colour(12, 12));
    let output = run(["data", "info", &text(&set)]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("two folders for the train part: 'Training' and 'train'"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn unsupported_formats_are_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("hub/data")).unwrap();
    fs::create_dir_all(dir.path().join("cifar-10-batches-py")).unwrap();
    for (name, bytes, found) in [
        ("hub/data/train-00000-of-00001.parquet", &b"PAR1"[..], "Parquet"),
        ("cifar-10-batches-py/data_batch_1", b"\x80\x02}.", "Python pickle of CIFAR"),
        ("set.zip", b"PK\x03\x04", "ZIP"),
        ("pneumonia.npz", b"PK\x03\x04", "NumPy"),
    ] {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        fails(1, ["data", "info", &text(&path)], &[&format!("found a {found} file; ")]);
        if path.parent() != Some(dir.path()) {
            fails(
                1,
                ["data", "info", &text(path.parent().unwrap())],
                &["found none, but 1", found],
            );
        }
    }
    fails(
        1,
        ["data", "info", &text(&dir.path().join("hub"))],
        &["1 Parquet file (train-00000-of-00001.parquet)"],
    );
    let corrupt = dir.path().join("corrupt/cat");
    fs::create_dir_all(&corrupt).unwrap();
    fs::write(corrupt.join("1.png"), b"x").unwrap();
    fails(1, ["data", "info", &text(&dir.path().join("corrupt"))], &["cat/1.png: expected a PNG"]);
    save(&corrupt, "2.png", colour(3, 3));
    let said = said(["data", "info", &text(&dir.path().join("corrupt"))]);
    assert!(said.contains("1 corrupt image: ") && said.contains("cat/1.png"), "{said}");
}
