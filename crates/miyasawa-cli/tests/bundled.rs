//! The model inside the program, used with no MODEL given, as a new user does.
//! docs/book/src/model-card.md is its card.

mod common;

use common::*;

const CIFAR: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

#[test]
fn the_bundled_model_classifies_denoises_and_explains_an_image() {
    let dir = tempfile::tempdir().unwrap();
    let image = save(dir.path(), "a.png", colour(40, 33));
    let found = json(["classify", &image, "--top", "10", "--json"]);
    let classes = found["images"][0]["classes"].as_array().unwrap();
    let mut names: Vec<&str> = classes.iter().filter_map(|class| class["class"].as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, CIFAR);
    let out = text(&dir.path().join("out.png"));
    let found = json(["denoise", &image, "--add-noise", "0.2", "-o", &out, "--json"]);
    let psnr = |key: &str| found["images"][0][key].as_f64().unwrap();
    assert!(psnr("psnr") > psnr("psnr_noisy") + 3.0, "{found}");
    let size = image::open(&out).unwrap();
    assert_eq!([size.width(), size.height()], [40, 33], "the image keeps its size");
    let why = text(&dir.path().join("why.png"));
    let found = json(["explain", &image, "--class", "ship", "-o", &why, "--json"]);
    assert!(found["relative_error"].as_f64().is_some_and(|error| error <= 1e-4), "{found}");
    assert!(std::fs::metadata(&why).unwrap().len() > 1000);
    let found = json(["info", "--json"]);
    assert_eq!(found["info"]["network"]["width"], 32);
    assert!(found["sha256"].as_str().is_some_and(|hash| hash.len() == 64), "{found}");
}

/// Three equal channels of grey noise are not the noise that a colour model was trained on.
#[test]
fn a_grey_image_is_denoised_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let shapes = image::ImageBuffer::from_fn(64, 64, |x: u32, y: u32| {
        let inside = x.abs_diff(30).pow(2) + y.abs_diff(26).pow(2) < 300;
        image::Luma([if inside { 200u8 } else { 40 + (x + y) as u8 / 2 }])
    });
    let image = save(dir.path(), "grey.png", shapes);
    let out = text(&dir.path().join("out.tif"));
    let found = json(["denoise", &image, "--add-noise", "0.2", "-o", &out, "--json"]);
    let psnr = |key: &str| found["images"][0][key].as_f64().unwrap();
    // Conditioned on 0.2 itself it gains about 5.
    assert!(psnr("psnr") > psnr("psnr_noisy") + 8.0, "{found}");
    assert_eq!(image::open(&out).unwrap().color(), image::ColorType::L8);
}

/// What docs/book/src/model-card.md says of 5,000 images, within the chance of 400.
#[test]
fn the_bundled_model_is_as_good_as_its_card_says() {
    let data = std::env::var_os("MIYASAWA_DATA").map(std::path::PathBuf::from);
    if !data.is_some_and(|folder| folder.join("cifar10/test-a.tar").is_file()) {
        println!("skipped: cifar10/test-a.tar is not in MIYASAWA_DATA");
        return;
    }
    let found =
        json(["eval", "--data", "cifar10", "--sigmas", "0.02,0.2", "--limit", "400", "--json"]);
    let row = |i: usize, key: &str| found["rows"][i][key].as_f64().unwrap();
    assert!(row(0, "accuracy") > 0.84 && row(1, "accuracy") > 0.76, "{found}");
    assert!(row(1, "psnr") > 28.5 && row(1, "psnr_given_label") > 28.5, "{found}");
    let args = ["attack", "--data", "cifar10", "--norm", "l2", "--eps", "0.25", "--method", "pgd"];
    let found = json(args.into_iter().chain(["--limit", "60", "--steps", "10", "--json"]));
    assert!(found["rows"][0]["robust_accuracy"].as_f64() > Some(0.4), "{found}");
}

#[test]
fn bundled_models_are_listed_and_named() {
    let listed = json(["info", "--json"]);
    let names: Vec<&str> = listed["bundled"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|model| model["name"].as_str())
        .collect();
    assert_eq!(names, ["cifar10", "photo"]);
    for model in listed["bundled"].as_array().unwrap() {
        let found = json(["info", "--model", model["name"].as_str().unwrap(), "--json"]);
        assert_eq!(found["sha256"], model["sha256"], "{found}");
        assert!(found["bundled"].is_null(), "{found}");
    }
    assert_eq!(listed["sha256"], listed["bundled"][0]["sha256"], "the default is the first");

    let dir = tempfile::tempdir().unwrap();
    let image = save(dir.path(), "a.png", colour(40, 33));
    let out = text(&dir.path().join("out.png"));
    let model = |args: &[&str]| {
        let all = ["denoise", &image, "--sigma", "0.1", "-o", &out, "--overwrite", "--json"];
        json(args.iter().fold(all.to_vec(), |mut all, arg| {
            all.push(arg);
            all
        }))["model"]
            .clone()
    };
    assert_eq!(model(&[]), "the bundled model photo");
    assert_eq!(model(&["--model", "photo"]), "the bundled model photo");
    assert_eq!(model(&["--model", "cifar10"]), "the bundled model");

    let file = text(&dir.path().join("m.safetensors"));
    ok(["export", "--model", "photo", "-o", &file]);
    assert_eq!(model(&[]), "the bundled model photo");
    fails(2, ["denoise", &file, &image, "--model", "photo", "-o", &out], &["two models"]);
    fails(2, ["denoise", &image, "--model", "digits", "-o", &out], &["digits", "cifar10 or photo"]);
    fails(1, ["classify", &image, "--model", "photo"], &["photo", "classif"]);
    // What training starts from may have such a name, too.
    let run = ["train", "--init", "photo", "--set", "data.train=digits", "--dry-run"];
    ok(run.into_iter().chain(["--set", "loss.ce_weight=0"]));
}

#[test]
fn the_bundled_models_are_exported_as_onnx_graphs() {
    let dir = tempfile::tempdir().unwrap();
    let out = text(&dir.path().join("m.onnx"));
    let export = |args: &[&str]| {
        let all = ["export", "--format", "onnx", "-o", &out, "--json"];
        json(all.iter().chain(args))
    };
    let joint = export(&[]);
    assert_eq!((&joint["task"], &joint["out"]), (&"joint".into(), &out.as_str().into()));
    let bytes = std::fs::read(&out).unwrap();
    assert_eq!(joint["bytes"], bytes.len());
    // What a graph says of itself is text: protocol buffers hold it as it is.
    let holds = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|w| w == text.as_bytes());
    for text in ["miyasawa", "class_denoised", "log_prob", "\"frog\"", "[0.01,0.5]"] {
        assert!(holds(&bytes, text), "{text}");
    }
    let signed = export(&["--range", "signed", "--task", "classify", "--dtype", "f16"]);
    assert!(signed["bytes"].as_u64() < joint["bytes"].as_u64().map(|bytes| bytes * 6 / 10));
    let bytes = std::fs::read(&out).unwrap();
    assert!(holds(&bytes, "[0.02,1.0]") && !holds(&bytes, "class_denoised"));
    assert_eq!(export(&["--model", "photo"])["task"], "denoise");

    let other = text(&dir.path().join("m.safetensors"));
    for (args, part) in [
        (
            &["--model", "photo", "--format", "onnx", "--task", "classify", "-o", &out][..],
            "denoise",
        ),
        (&["--format", "onnx", "-o", &other], "ends in .onnx"),
        (&["-o", &out], "--format onnx"),
        (&["--task", "denoise", "-o", &other], "--task is of --format onnx"),
        (&["--range", "unit", "-o", &other], "--range is of --format onnx"),
        (&["--dtype", "f16", "-o", &other], "expected bf16 or f32"),
    ] {
        fails(2, ["export"].iter().chain(args), &[part]);
    }
    assert!(!std::path::Path::new(&other).exists());
}

/// What its card says of 23 photographs, on three of them.
#[test]
fn the_model_of_photographs_is_as_good_as_its_card_says() {
    let data = std::env::var_os("MIYASAWA_DATA").map(std::path::PathBuf::from);
    if !data.is_some_and(|folder| folder.join("natural-colour/test-23.tar").is_file()) {
        println!("skipped: natural-colour/test-23.tar is not in MIYASAWA_DATA");
        return;
    }
    let args = ["eval", "--model", "photo", "--data", "natural-colour/test-23.tar", "--limit", "3"];
    let found = json(args.into_iter().chain(["--sigmas", "0.11765,0.39216", "--json"]));
    let row = |i: usize, key: &str| found["rows"][i][key].as_f64().unwrap();
    println!("{found}");
    assert!(row(0, "psnr") > row(0, "psnr_noisy") + 8.0, "{found}");
    assert!(row(1, "psnr") > row(1, "psnr_noisy") + 12.0, "{found}");
}
