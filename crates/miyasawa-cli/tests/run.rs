//! Training through the binary: files, determinism, interruption, divergence, your own images, the
//! demonstration.

mod common;

use common::*;
use image::{GrayImage, Luma, RgbImage};
use std::{path::Path, process::Stdio};

#[test]
fn the_demonstration_writes_one_self_contained_report() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("demo");
    let found =
        json(["demo", "--steps", "5", "--attacked", "20", "--out", &text(&out), "-q", "--json"]);
    let expected = [
        "attacked",
        "count",
        "identity_error",
        "pgd_steps",
        "provenance",
        "robust",
        "rows",
        "seed",
        "sha256",
    ];
    assert_eq!(keys(&found), expected);
    assert_eq!(found["attacked"], 20);
    assert!(found["identity_error"].as_f64().is_some_and(|e| e <= 1e-4), "{found}");
    assert_eq!(names(&out), ["denoised.png", "explained.png", "joint", "plain", "report.html"]);
    let report = std::fs::read_to_string(out.join("report.html")).unwrap();
    // Names of XML namespaces are not fetched.
    let links = report.replace("http://www.w3.org/", "");
    assert!(!links.contains("http://") && !links.contains("https://"));
    assert!(!links.contains("<script src") && !links.contains("<link"));
    let sources: Vec<&str> = report.split("src=\"").skip(1).collect();
    assert!(!sources.is_empty() && sources.iter().all(|source| source.starts_with("data:image/")));
    for image in ["denoised.png", "explained.png"] {
        assert!(size(out.join(image)).0 > 100);
    }
    // Labels are drawn finely enough to be scaled down by a page, without visible pixels.
    let width = size(out.join("denoised.png")).0;
    assert!((1500..=1840).contains(&width) && !report.contains("pixelated"), "{width}");
    assert!(
        report.contains(&format!("width=\"{}\"", width.div_ceil(2))),
        "two pixels in one of the page"
    );
    let call = found["provenance"]["call"].as_str().unwrap();
    assert!(call.starts_with("miyasawa demo --steps 5"), "{call}");
    for part in [
        found["sha256"][0].as_str().unwrap(),
        found["sha256"][1].as_str().unwrap(),
        "miyasawa demo",
    ] {
        assert!(report[report.find("<footer>").unwrap()..].contains(part), "{part}");
    }
    // Every share in a table has its interval.
    assert!(
        report.matches("%</td>").count() == 0 && report.contains("\u{2013}"),
        "a share without an interval"
    );
    // A second run in the same folder starts again.
    ok(["demo", "--steps", "1", "--attacked", "1", "--out", &text(&out), "-q"]);
}

#[test]
fn a_run_leaves_its_files_and_a_line_for_every_step() {
    let run = shared();
    let expected = [
        "best.safetensors",
        "checkpoints",
        "config.toml",
        "curves.png",
        "lock",
        "metrics.jsonl",
        "model.safetensors",
        "origin.toml",
        "samples.png",
    ];
    assert_eq!(names(run), expected);
    assert_eq!(logged_steps(run), (1..=20).collect::<Vec<u64>>());
    assert!(size(run.join("curves.png")).0 > 100 && size(run.join("samples.png")).0 > 100);
    // The written configuration describes the entire run: it trains the same model.
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("again");
    ok(["train", &text(&run.join("config.toml")), "--out", &text(&out), "-q"]);
    assert_eq!(bytes(run, "model.safetensors"), bytes(&out, "model.safetensors"));
    assert_eq!(bytes(run, "config.toml"), bytes(&out, "config.toml"));
}

#[test]
fn passes_over_a_small_set_with_few_steps_give_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let call = |name: &str, more: &[&str]| {
        let out = text(&dir.path().join(name));
        let args = [
            "train",
            "--out",
            &out,
            "--set",
            "schedule.epochs=2",
            "--set",
            "eval.all_at_end=false",
        ];
        let output = run(args.iter().chain(&TINY).chain(more));
        assert!(output.status.success(), "{}", stderr(&output));
        stderr(&output)
    };
    let error = call("passes", &[]);
    assert!(error.contains("2 passes over so few images are 12 steps"), "{error}");
    let error = call("steps", &["--set", "schedule.steps=12"]);
    assert!(!error.contains("so few images"), "{error}");
}

#[test]
fn the_seed_fixes_the_model_whatever_the_threads() {
    let dir = tempfile::tempdir().unwrap();
    let trained = |name: &str, more: &[&str]| {
        let out = dir.path().join(name);
        let output = train(&out, 20, more);
        assert!(output.status.success(), "{}", stderr(&output));
        bytes(&out, "model.safetensors")
    };
    let first = bytes(shared(), "model.safetensors");
    assert!(
        first == trained("two", &["--threads", "2"]),
        "two threads train another model than one"
    );
    assert!(first == trained("same", &["--seed", "0", "--threads", "1"]));
    assert!(first != trained("other", &["--seed", "1"]), "the seed changes nothing");
}

#[test]
fn a_folder_that_holds_a_run_is_not_overwritten() {
    let before = bytes(shared(), "model.safetensors");
    let output = train(shared(), 20, &[]);
    assert_eq!(output.status.code(), Some(2));
    let error = stderr(&output);
    assert!(error.starts_with("error: run folder") && error.lines().count() == 1, "{error}");
    assert!(error.contains("--resume"), "{error}");
    assert_eq!(before, bytes(shared(), "model.safetensors"));
    // Resuming a finished run changes nothing.
    ok(["train", "--resume", "--out", &text(shared()), "-q"]);
    assert_eq!(before, bytes(shared(), "model.safetensors"));
    let dir = tempfile::tempdir().unwrap();
    let nothing = dir.path().join("nothing");
    fails(1, ["train", "--resume", "--out", &text(&nothing)], &["holds no run to resume"]);
    assert!(!nothing.exists());
}

/// Bright cats and dark dogs of many sizes, PNG and JPEG, grey and colour.
fn classes(root: &Path) {
    for (class, base) in [("cat", 200u8), ("dog", 40)] {
        let folder = root.join(class);
        std::fs::create_dir_all(&folder).unwrap();
        for i in 0..14u8 {
            let (width, height) = (16 + u32::from(i % 5), 14 + u32::from(i % 3));
            let value = base + 2 * i;
            if i % 2 == 0 {
                save(
                    &folder,
                    &format!("{i}.png"),
                    GrayImage::from_pixel(width, height, Luma([value])),
                );
            } else {
                let pixel = image::Rgb([value, value / 2, value]);
                save(&folder, &format!("{i}.jpg"), RgbImage::from_pixel(width, height, pixel));
            }
        }
    }
}

#[test]
fn a_model_without_its_checkpoints_is_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    assert!(train(&out, 4, &[]).status.success());
    let before = bytes(&out, "model.safetensors");
    std::fs::remove_dir_all(out.join("checkpoints")).unwrap();
    let folder = text(&out);
    for call in
        [&["train", "--out", &folder, "-q"][..], &["train", "--out", &folder, "-q", "--resume"]]
    {
        fails(2, call, &["model.safetensors", "no checkpoint to go on from"]);
    }
    assert_eq!(before, bytes(&out, "model.safetensors"));
}

#[test]
fn an_average_that_is_not_kept_any_more_is_not_the_model() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    assert!(train(&out, 4, &["--set", "optimizer.ema=0.9"]).status.success());
    let averaged = bytes(&out, "model.safetensors");
    let more = ["--set", "schedule.steps=8", "--set", "optimizer.ema=0"];
    ok(["train", "--resume", "--out", &text(&out), "-q"].iter().chain(&more));
    assert_ne!(averaged, bytes(&out, "model.safetensors"));
    // The model is what the checkpoint holds.
    let newest = bytes(&out, "checkpoints/step-00000008.safetensors");
    let (model, state) = (bytes(&out, "model.safetensors"), &newest);
    let values = |bytes: &[u8], name: &str| {
        safetensors::SafeTensors::deserialize(bytes).unwrap().tensor(name).unwrap().data().to_vec()
    };
    assert_eq!(values(&model, "stem.weight"), values(state, "param.stem.weight"));
}

#[test]
fn your_own_images_train_a_model_of_their_classes() {
    let dir = tempfile::tempdir().unwrap();
    let photos = dir.path().join("photos");
    classes(&photos);
    let tar = dir.path().join("photos.tar");
    let mut archive = tar::Builder::new(std::fs::File::create(&tar).unwrap());
    archive.append_dir_all("photos", &photos).unwrap();
    archive.into_inner().unwrap();
    let mut models = Vec::new();
    for (name, source) in [("of-folder", &photos), ("of-tar", &tar)] {
        let out = text(&dir.path().join(name));
        let data = format!("data.train={}", source.display());
        let set = |setting: &'static str| ["--set", setting];
        let args = ["train", "--set", &data, "--out", &out, "-q"];
        let settings =
            ["data.size=[12,10]", "data.fit=resize", "network.width=8", "network.blocks=[1]"];
        let more = ["schedule.steps=60", "schedule.batch=16", "optimizer.ema=0", "eval.every=1000"];
        ok(args.into_iter().chain(settings.into_iter().chain(more).flat_map(set)));
        models.push(format!("{out}/model.safetensors"));
    }
    for (class, value) in [("cat", 220), ("dog", 50)] {
        let image = save(dir.path(), "new.png", GrayImage::from_pixel(50, 60, Luma([value])));
        let found = json(["classify", &models[0], &image, "--json"]);
        assert_eq!(found["images"][0]["classes"][0]["class"], class, "{found}");
    }
    // The same images in a tar are the same data.
    let params = |path: &str| {
        let bytes = std::fs::read(path).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        file.tensor("class_head.weight").unwrap().data().to_vec()
    };
    assert_eq!(params(&models[0]), params(&models[1]));
    let out = text(&dir.path().join("out.png"));
    let image = save(dir.path(), "grey.png", grey(33, 21));
    ok(["denoise", &models[0], &image, "--sigma", "0.2", "--class", "dog", "-o", &out]);
    assert_eq!(size(&out), (33, 21));
    let data = text(&photos);
    // A tenth of the training set was held out, of the folder and of the tar.
    for model in &models {
        for data in [&data, &text(&tar)] {
            let found = json(["eval", model, "--data", data, "--sigmas", "0.1", "--json"]);
            assert_eq!(found["count"], 2);
        }
    }
    // Without a size, images of different sizes are refused with a remedy.
    let data = format!("data.train={data}");
    let nowhere = text(&dir.path().join("nowhere"));
    fails(
        1,
        ["train", "--set", &data, "--out", &nowhere],
        &["different sizes", "data.fit=resize", ".png"],
    );
    assert!(!Path::new(&nowhere).exists());
}

#[test]
fn every_help_has_an_example() {
    let commands =
        ["demo", "train", "eval", "classify", "denoise", "explain", "verify", "bench", "info"];
    let help = ok(["--help"]);
    for name in commands {
        assert!(help.contains(&format!("  {name} ")), "{name} in {help}");
        let help = ok([name, "--help"]);
        assert!(help.contains("Example") && help.contains(&format!("miyasawa {name}")), "{help}");
        for option in ["--device", "--threads", "--seed", "--json", "--quiet", "--verbose"] {
            assert!(help.contains(option), "{option} in {help}");
        }
    }
    assert_eq!(ok(["--version"]).trim_end(), format!("miyasawa {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_call_without_a_command_prints_the_help_and_is_wrong() {
    let output = run::<&str>([]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("Usage:") && stderr(&output).contains("classify"));
    assert_eq!(stdout(&output), "");
}

/// A closed pipe causes no panic.
#[test]
fn a_closed_pipe_ends_the_program_quietly() {
    let mut command = command();
    command.args(["info", &model()]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
}

/// A learning rate at which plain gradient descent leaves the finite numbers within ten steps.
#[test]
fn a_run_that_diverges_is_finished_with_a_lower_learning_rate() {
    let dir = tempfile::tempdir().unwrap();
    let diverging = [
        "--set",
        "optimizer.name=sgd",
        "--set",
        "optimizer.clip_norm=0",
        "--set",
        "optimizer.lr=0.5",
    ];
    let more = ["--set", "schedule.warmup=0", "-q", "--threads", "1"];
    let diverging = [&diverging[..], &more].concat();
    let (without, with) = (dir.path().join("without"), dir.path().join("with"));
    let off = ["--set", "divergence.deviations=0", "--set", "divergence.max_rollbacks=0"];
    let output = train(&without, 200, &[&diverging[..], &off].concat());
    let error = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("expected a finite number") && error.lines().count() == 1, "{error}");
    ok(["info", &text(&without.join("checkpoints/step-00000000.safetensors"))]);

    let output = train(&with, 200, &diverging);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(logged_steps(&with), (1..=200).collect::<Vec<u64>>());
    let log = String::from_utf8(bytes(&with, "metrics.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let rollbacks: Vec<_> = lines.iter().filter(|line| line["event"] == "rollback").collect();
    assert!(!rollbacks.is_empty());
    assert_eq!(rollbacks.last().unwrap()["rollbacks"], rollbacks.len());
    assert_eq!(rollbacks.last().unwrap()["lr_factor"], 0.5f64.powi(rollbacks.len() as i32));
    let losses: Vec<f64> = lines.iter().filter_map(|line| line["loss"].as_f64()).collect();
    assert_eq!(losses.len(), 200);
    assert!(losses.iter().all(|loss| *loss < 60.0) && losses[199] < 3.0, "{losses:?}");
    // With more rollbacks allowed, the failed run continues.
    let more = ["--set", "divergence.deviations=10", "--set", "divergence.max_rollbacks=5", "-q"];
    let config = text(&without.join("config.toml"));
    let args = ["train", config.as_str(), "--resume", "--out", &text(&without)];
    ok(args.into_iter().chain(more));
    assert!(bytes(&with, "model.safetensors") == bytes(&without, "model.safetensors"));
}
