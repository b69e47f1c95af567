//! Bad input: one clear line that names the file, the right exit status, nothing half-written.

mod common;

use common::*;
use std::path::Path;

#[test]
fn files_that_are_no_images() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        text(&path)
    };
    let jpg = std::fs::read(save(dir.path(), "intact.jpg", colour(40, 40))).unwrap();
    let png = std::fs::read(save(dir.path(), "intact.png", colour(40, 40))).unwrap();
    let out = text(&dir.path().join("out.png"));
    for (path, parts) in [
        (text(&dir.path().join("missing.png")), ["missing.png", "No such file"]),
        (
            write("fake.jpg", b"this is not an image"),
            ["fake.jpg", "expected a PNG, JPEG, WebP, TIFF, BMP, GIF"],
        ),
        (write("empty.png", b""), ["empty.png", "empty"]),
        (write("half.jpg", &jpg[..jpg.len() / 2]), ["half.jpg", "expected an intact JPEG"]),
        (write("half.png", &png[..png.len() / 2]), ["half.png", "expected an intact PNG"]),
    ] {
        fails(1, ["classify", &model(), &path], &parts);
        fails(1, ["denoise", &model(), &path, "--sigma", "0.1", "-o", &out], &parts);
        fails(1, ["explain", &model(), &path, "--class", "1", "-o", &out], &parts);
        assert!(!Path::new(&out).exists());
    }
    // A folder of images is no image.
    let folder = text(dir.path());
    fails(1, ["explain", &model(), &folder, "--class", "1", "-o", &out], &[&folder, "folder"]);
    fails(
        2,
        ["denoise", &model(), &folder, "--sigma", "0.1", "-o", &out],
        &["out.png", "a folder"],
    );
    // Refused formats are named.
    for (name, bytes, part) in [
        ("a.heic", &b"\0\0\0\x1cftypheic\0\0\0\0"[..], "found a HEIC"),
        ("a.avif", b"\0\0\0\x1cftypavif", "found an AVIF"),
        ("a.cr2", b"II*\0\x10\0\0\0CR\x02\0", "found a camera raw file"),
        ("a.pdf", b"%PDF-1.7", "found a PDF"),
        ("a.npy", b"\x93NUMPY", "found a NumPy array"),
    ] {
        let path = write(name, bytes);
        fails(
            1,
            ["denoise", &model(), &path, "--sigma", "0.1", "-o", &out],
            &[name, part, "first"],
        );
    }
}

#[test]
fn levels_of_255_are_refused_with_the_right_unit() {
    let dir = tempfile::tempdir().unwrap();
    let (image, model) = (save(dir.path(), "a.png", grey(8, 8)), model());
    let out = text(&dir.path().join("out.png"));
    let parts = ["is 25, expected", "25 of 255 is 0.196"];
    fails(2, ["denoise", &model, &image, "--sigma", "25", "-o", &out], &parts);
    fails(2, ["denoise", &model, &image, "--add-noise", "25", "-o", &out], &parts);
    fails(2, ["classify", &model, &image, "--sigma", "25"], &parts);
    fails(2, ["classify", &model, &image, "--defence", "average", "--sigma", "25"], &parts);
    fails(2, ["explain", &model, &image, "--sigma", "25", "--class", "1", "-o", &out], &parts);
    fails(2, ["eval", &model, "--data", "digits", "--sigmas", "0.1,25"], &parts);
    fails(
        2,
        [
            "attack", &model, "--data", "digits", "--norm", "l2", "--eps", "0.1", "--method",
            "fgsm", "--sigma", "25",
        ],
        &parts,
    );
    fails(2, ["certify", &model, "--data", "digits", "--sigma", "25"], &parts);
    assert!(!Path::new(&out).exists());
    // A little beyond what the model was trained on is a warning.
    let output = run(["denoise", &model, &image, "--sigma", "1.5", "-o", &out]);
    assert_eq!(output.status.code(), Some(0));
    assert!(stderr(&output).contains("outside"), "{}", stderr(&output));
    fails(2, ["classify", &model, &image, "--top", "0"], &["--top is 0, expected at least 1"]);
    let draws = ["classify", &model, &image, "--defence", "average", "--draws"];
    fails(2, draws.iter().chain(&["9999999999"]), &["--draws is 9999999999, expected 1 to 100000"]);
    let output = run(draws.iter().chain(&["100"]));
    assert!(
        stderr(&output).contains("100 forward passes through the model"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn numbers_and_names_that_make_no_sense() {
    let dir = tempfile::tempdir().unwrap();
    let (image, model) = (save(dir.path(), "a.png", grey(8, 8)), model());
    let out = text(&dir.path().join("out.png"));
    for sigma in ["0", "-1", "nan", "inf", "1e30", "1e-30"] {
        let option = format!("--sigma={sigma}");
        if sigma != "0" {
            let call = ["denoise", &model, &image, &option, "-o", &out];
            fails(2, call, &["--sigma", "expected a number"]);
        }
        fails(2, ["classify", &model, &image, &option], &["--sigma"]);
        fails(2, ["explain", &model, &image, &option, "--class", "1", "-o", &out], &["--sigma"]);
        let option = format!("--sigmas=0.1,{sigma}");
        fails(2, ["eval", &model, "--data", "digits", &option], &["--sigmas is "]);
        let option = format!("--add-noise={sigma}");
        fails(2, ["denoise", &model, &image, "--sigma=0.1", &option, "-o", &out], &["--add-noise"]);
    }
    // Without noise there is nothing to remove.
    let same = text(&dir.path().join("same.png"));
    ok(["denoise", &model, &image, "--sigma", "0", "-o", &same]);
    assert_eq!(image::open(&same).unwrap(), image::open(&image).unwrap());
    // A negative number is a value, not an option.
    fails(
        2,
        ["denoise", &model, &image, "--sigma", "-0.2", "-o", &out],
        &["--sigma is -0.2, expected"],
    );
    fails(
        2,
        ["eval", &model, "--data", "digits", "--sigmas", "-0.1,0.2"],
        &["--sigmas is -0.1, expected"],
    );
    fails(2, ["denoise", &model, &image, "--sigma", "much", "-o", &out], &["--sigma", "much"]);
    fails(2, ["denoise", &model, &image, "--sigma", "0.1", "-o", "out.xyz"], &["out.xyz", ".png"]);
    for class in ["10", "cat", "-1"] {
        let option = format!("--class={class}");
        fails(
            2,
            ["explain", &model, &image, &option, "-o", &out],
            &[class, "expected a number below 10"],
        );
        let args = ["denoise", &model, &image, "--sigma", "0.1", &option, "-o", &out];
        fails(2, args, &[class, "expected a number below 10"]);
    }
    assert!(!Path::new(&out).exists());
    fails(2, ["info", "--threads", "0"], &["--threads is 0"]);
    fails(2, ["info", "--threads", "99999999"], &["--threads", "expected 1 to"]);
    let output = command().env("MIYASAWA_ISA", "mmx").arg("info").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).starts_with("error: MIYASAWA_ISA: unknown instruction set"),
        "{}",
        stderr(&output)
    );
    fails(2, ["info", "--threads", "two"], &["--threads", "two"]);
    fails(2, ["classify", &model], &["no image is given"]);
    fails(2, ["classify", &model, &image, "--bogus"], &["--bogus"]);
    fails(2, ["frobnicate"], &["frobnicate"]);
    fails(2, ["eval", &model], &["--data"]);
    fails(2, ["eval", &model, "--data", "digits", "--limit", "0"], &["--limit is 0"]);
    fails(2, ["eval", &model, "--data", "digits", "--batch", "0"], &["--batch is 0"]);
    fails(
        2,
        ["eval", &model, "--data", "digits", "--fit", "squeeze"],
        &["squeeze", "pad, pad_edge, resize or resize_crop"],
    );
    fails(2, ["eval", &model, "--data", ""], &["data argument"]);
    fails(2, ["demo", "--steps", "0", "--out", &out], &["--steps"]);
    fails(2, ["bench", "classify", "--image", "3x0x8"], &["3x0x8"]);
    fails(2, ["bench", "classify", "--width", "0"], &["width is 0"]);
}

#[test]
fn devices_that_are_not_there() {
    for name in ["gpu", "cpu:1", "cuda:x", ""] {
        fails(2, ["--device", name, "verify"], &["--device", "expected cpu, vulkan, metal"]);
    }
    #[cfg(not(feature = "rocm"))]
    fails(2, ["verify", "--device", "rocm"], &["rocm:0", "not in this build", "--features rocm"]);
}

#[test]
fn configurations_that_make_no_sense() {
    let dir = tempfile::tempdir().unwrap();
    let path = text(&dir.path().join("recipe.toml"));
    let out = dir.path().join("run");
    for (content, parts) in [
        ("[network]\nwidht = 8\n", ["recipe.toml", "widht"]),
        ("[nework]\nwidth = 8\n", ["recipe.toml", "nework"]),
        ("[network]\nwidth = \"wide\"\n", ["recipe.toml", "expected usize"]),
        ("[network]\nwidth = -8\n", ["recipe.toml", "-8"]),
        ("[network\n", ["recipe.toml", ""]),
        ("[schedule]\nsteps = 0\n", ["schedule.steps", "expected at least 1"]),
        ("[eval]\nlimit = 0\n", ["eval.limit", "expected at least 1"]),
        ("[eval]\nsigmas = []\n", ["eval.sigmas", "expected one or more"]),
        ("[eval]\nsigmas = [0.0]\n", ["eval.sigmas", "expected one or more"]),
        ("[noise]\nmin = nan\n", ["noise.min", "NaN"]),
        ("[network]\nblocks = []\n", ["blocks are []", "expected 1 to 8 numbers from 1"]),
        ("[network]\nwidth = 17\n", ["width is 17", ""]),
    ] {
        std::fs::write(&path, content).unwrap();
        fails(2, ["train", &path, "--out", &text(&out)], &parts);
    }
    std::fs::write(&path, [0xff, 0xfe, 0x00]).unwrap();
    fails(1, ["train", &path, "--out", &text(&out)], &["recipe.toml", "UTF-8"]);
    let missing = text(&dir.path().join("missing.toml"));
    fails(1, ["train", &missing, "--out", &text(&out)], &["missing.toml", "No such file"]);
    fails(1, ["train", &text(dir.path()), "--out", &text(&out)], &[dir.path().to_str().unwrap()]);
    for (setting, part) in
        [("width=8", "width"), ("network.width", "expected key=value"), ("=1", "empty")]
    {
        fails(2, ["train", "--set", setting, "--out", &text(&out)], &["--set", part]);
    }
    fails(2, ["train"], &["--out"]);
    assert_eq!(names(dir.path()), ["recipe.toml"]);
}

/// Writes an IDX pair of 40 images with all ten labels; gives the path of the images.
fn idx(dir: &Path, name: &str, side: u32) -> std::path::PathBuf {
    let word = |value: u32| value.to_be_bytes().to_vec();
    let mut images = [word(0x803), word(40), word(side), word(side)].concat();
    images.extend((0..40 * side * side).map(|i| (i % 251) as u8));
    let mut labels = [word(0x801), word(40)].concat();
    labels.extend((0..40).map(|i| i % 10));
    let path = dir.join(format!("{name}-images-idx3-ubyte"));
    std::fs::write(&path, images).unwrap();
    std::fs::write(dir.join(format!("{name}-labels-idx1-ubyte")), labels).unwrap();
    path
}

#[test]
fn data_that_is_damaged_or_does_not_fit() {
    let dir = tempfile::tempdir().unwrap();
    let model = model();
    let eval =
        |data: &Path| ["eval", &model, "--data", &text(data), "--sigmas", "0.1"].map(str::to_owned);
    let out = dir.path().join("run");
    let train = |data: &Path| {
        let data = format!("data.train={}", data.display());
        ["train", "--set", &data, "--out", &text(&out)].map(str::to_owned)
    };
    // An intact file works; a cut one gives an error with its name.
    let intact = idx(dir.path(), "intact", 8);
    ok(eval(&intact));
    let bytes = std::fs::read(&intact).unwrap();
    let cut = idx(dir.path(), "cut", 8);
    for length in [0, 3, 10, 16, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&cut, &bytes[..length]).unwrap();
        fails(1, eval(&cut), &["cut-images-idx3-ubyte", "expected", "found"]);
        fails(1, train(&cut), &["cut-images-idx3-ubyte", "expected", "found"]);
    }
    let large = idx(dir.path(), "large", 12);
    fails(1, eval(&large), &["large-images", "8x8", "12x12", "resize"]);
    ok(eval(&large).into_iter().chain(["--fit".to_owned(), "resize".to_owned()]));

    let photos = dir.path().join("photos");
    for class in ["cat", "dog"] {
        std::fs::create_dir_all(photos.join(class)).unwrap();
        for i in 0..6 {
            save(&photos.join(class), &format!("{i}.png"), grey(8, 8));
        }
    }
    fails(1, eval(&photos), &["photos", "2 classes (cat, dog)", "the model knows 10"]);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_dir_all("photos", &photos).unwrap();
    let archive = archive.into_inner().unwrap();
    let tar = dir.path().join("half.tar");
    std::fs::write(&tar, &archive[..archive.len() / 2]).unwrap();
    fails(1, train(&tar), &["half.tar", "expected a complete tar archive"]);
    std::fs::write(photos.join("cat/fake.jpg"), "no image").unwrap();
    let strict =
        train(&photos).into_iter().chain(["--set", "data.max_broken=0"].map(str::to_owned));
    fails(1, strict, &["photos/cat/fake.jpg", "expected a PNG, JPEG, WebP, TIFF, BMP, GIF"]);
    let empty = dir.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    fails(1, train(&empty), &["empty", "expected a folder with images"]);
    fails(1, eval(&dir.path().join("missing")), &["missing", "not found"]);
    fails(1, eval(&photos.join("dog/0.png")), &["0.png", "a single image"]);
    assert!(!out.exists());
}

#[test]
fn folders_that_cannot_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let image = save(dir.path(), "a.png", grey(8, 8));
    let file = dir.path().join("file");
    std::fs::write(&file, "mine").unwrap();
    let below = text(&file.join("x.png"));
    let nowhere = text(&dir.path().join("no/such/x.png"));
    let mut outs = vec![text(&file), text(&file.join("run"))];
    let mut images = vec![below.as_str(), nowhere.as_str()];
    if cfg!(target_os = "linux") {
        outs.push("/proc/x".to_owned());
        images.push("/proc/x.png");
    }
    for out in outs {
        let args =
            ["train", "--set", "schedule.steps=1", "--set", "network.blocks=[1]", "--out", &out];
        fails(1, args, &[&out, "cannot be written"]);
        let line =
            fails(1, ["demo", "--steps", "1", "--out", &out, "-q"], &[&out, "cannot be written"]);
        assert_eq!(line.matches("os error").count(), 1, "the cause is reported once: {line}");
    }
    for out in images {
        let line = fails(
            1,
            ["denoise", &model(), &image, "--sigma", "0.1", "-o", out],
            &[out, "cannot be written"],
        );
        assert_eq!(line.matches("os error").count(), 1, "the cause is reported once: {line}");
        fails(
            1,
            ["explain", &model(), &image, "--class", "1", "-o", out],
            &[out, "cannot be written"],
        );
        // Before the work, as everywhere: the model is not there.
        let call =
            ["calibrate", "missing.safetensors", "--data", "digits", "--eps", "0.1", "-o", out];
        fails(1, call, &[out, "cannot be written"]);
        fails(1, ["data", "info", "missing", "-o", out], &[out, "cannot be written"]);
    }
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
    assert_eq!(names(dir.path()), ["a.png", "file"]);
}

#[test]
fn oracles_that_are_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("oracle.safetensors");
    fails(1, ["verify", &text(&path)], &["oracle.safetensors", "No such file"]);
    fails(1, ["verify", &model()], &["model.safetensors", "not an oracle"]);
    let intact: &[u8] = include_bytes!("../../miyasawa/assets/oracle.safetensors");
    std::fs::write(&path, &intact[..intact.len() / 2]).unwrap();
    fails(1, ["verify", &text(&path)], &["oracle.safetensors", "not an oracle"]);
    // Sizes in the header that contradict each other must not reach the network.
    let length = u64::from_le_bytes(intact[..8].try_into().unwrap()) as usize;
    for at in (8..8 + length).step_by(61) {
        let mut bytes = intact.to_vec();
        bytes[at] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let output = run(["verify", "-q", &text(&path)]);
        assert!(matches!(output.status.code(), Some(0 | 1)), "byte {at}: {output:?}");
    }
}
