//! Models of every kind in use, and several side by side.

#[path = "common/mod.rs"]
mod common;
#[path = "kinds/comparison.rs"]
mod comparison;

use common::*;
use image::{ImageBuffer, Luma};
use serde_json::Value;
use std::path::Path;

/// A tiny model of a kind.
fn kind(dir: &Path, name: &str, settings: &[&str]) -> String {
    let out = dir.join(name);
    let more: Vec<&str> = settings.iter().flat_map(|s| ["--set", s]).chain(["-q"]).collect();
    let output = train(&out, 12, &more);
    assert!(output.status.success(), "{}", stderr(&output));
    text(&out.join("model.safetensors"))
}

#[test]
fn a_pure_classifier_classifies_and_reports_what_it_cannot_do() {
    let dir = tempfile::tempdir().unwrap();
    let model =
        kind(dir.path(), "resnet", &["network.kind=resnet18", "noise.min=0", "noise.max=0"]);
    let image = save(dir.path(), "a.png", grey(20, 30));
    let out = text(&dir.path().join("out.png"));
    let found = json(["classify", &model, &image, "--json"]);
    assert_eq!(found["images"][0]["classes"].as_array().unwrap().len(), 5);
    fails(
        1,
        ["denoise", &model, &image, "--sigma", "0.2", "-o", &out],
        &["does not denoise", "resnet18"],
    );
    for option in ["--preview", "--uncertainty"] {
        fails(1, ["denoise", &model, &image, option, &out], &["does not denoise", "resnet18"]);
    }
    assert!(!Path::new(&out).exists());
    fails(
        1,
        ["explain", &model, &image, "--class", "1", "-o", &out],
        &["does not explain", "resnet18"],
    );
    let rows =
        json(["eval", &model, "--data", "digits", "--sigmas", "0,0.2", "--limit", "40", "--json"]);
    for row in rows["rows"].as_array().unwrap() {
        assert!(
            row["accuracy"].is_f64() && row["psnr"].is_null() && row["psnr_given_label"].is_null()
        );
    }
    let info = json(["info", &model, "--json"]);
    assert_eq!(info["info"]["network"]["kind"], "resnet18");
    assert!(ok(["info", &model]).contains("resnet18, width 8, blocks [1]"));
}

/// The header of its state is longer than 65,535 bytes, where widths in a format end.
#[test]
fn a_network_of_many_layers_is_trained_and_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("deep");
    let depth = ["--set", "network.blocks=[12,12]", "--set", "schedule.batch=8", "-q"];
    assert!(train(&out, 2, &depth).status.success());
    let newest = bytes(&out, "checkpoints/step-00000002.safetensors");
    assert!(u64::from_le_bytes(newest[..8].try_into().unwrap()) > u64::from(u16::MAX));
    ok(["train", "--resume", "--out", &text(&out), "--set", "schedule.steps=3", "-q"]);
    let model = text(&out.join("model.safetensors"));
    json(["eval", &model, "--data", "digits", "--sigmas", "0.2", "--limit", "10", "--json"]);
}

#[test]
fn a_pure_denoiser_takes_images_of_any_size() {
    let dir = tempfile::tempdir().unwrap();
    let set = dir.path().join("set");
    std::fs::create_dir(&set).unwrap();
    save(&set, "a.png", grey(21, 13));
    save(&set, "b.png", colour(40, 32));
    save(&set, "c.png", grey(600, 9));
    for (name, settings) in [
        ("unet", &["network.kind=unet"][..]),
        ("dncnn", &["network.kind=dncnn", "network.depth=4"]),
        ("dsm", &["loss.ce_weight=0", "data.unlabelled=true"]),
    ] {
        let model = kind(dir.path(), name, settings);
        let image = text(&set.join("b.png"));
        let out = text(&dir.path().join("out.png"));
        ok(["denoise", &model, &image, "--sigma", "0.3", "-o", &out]);
        assert_eq!(size(&out), (40, 32));
        fails(1, ["classify", &model, &image], &["does not classify"]);
        if name != "dsm" {
            let args = ["denoise", &model, &image, "--sigma", "0.3", "--class", "1", "-o", &out];
            fails(1, args, &["does not denoise for a class"]);
        }
        // Images of different sizes, and a set whose classes do not matter.
        let args = ["eval", &model, "--data", &text(&set), "--sigmas", "0.3", "--json"];
        let found = json(args);
        assert_eq!(found["count"], 3);
        let row = &found["rows"][0];
        assert!(row["accuracy"].is_null() && row["nll"].is_null() && row["psnr"].is_f64(), "{row}");
        assert!((row["psnr_noisy"].as_f64().unwrap() - 16.5).abs() < 0.5, "{row}");
        let found =
            json(["eval", &model, "--data", "digits", "--sigmas", "0.3", "--limit", "9", "--json"]);
        assert!(found["count"] == 9 && found["rows"][0]["psnr"].is_f64(), "{found}");
    }
}

#[test]
fn an_exported_model_is_smaller_and_does_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let small = text(&dir.path().join("small.safetensors"));
    let found = json(["export", &model(), "--dtype", "bf16", "-o", &small, "--json"]);
    let bytes = std::fs::metadata(&small).unwrap().len();
    assert_eq!(found["bytes"], bytes);
    assert!(bytes < std::fs::metadata(model()).unwrap().len() * 2 / 3);
    let image = save(dir.path(), "a.png", grey(8, 8));
    let probability = |args: &[&str], bundled: Option<&str>| {
        let mut command = command();
        command.args(args);
        if let Some(path) = bundled {
            command.env("MIYASAWA_MODEL", path);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        let found: Value = serde_json::from_str(&stdout(&output)).unwrap();
        found["images"][0]["classes"][0]["probability"].as_f64().unwrap()
    };
    let large = probability(&["classify", &model(), &image, "--json"], None);
    assert!((large - probability(&["classify", &small, &image, "--json"], None)).abs() < 0.02);
    // The model of the environment variable replaces the bundled one.
    assert!((large - probability(&["classify", &image, "--json"], Some(&small))).abs() < 0.02);
    let large = text(&dir.path().join("large.safetensors"));
    ok(["export", &small, "--dtype", "f32", "-o", &large]);
    assert_eq!(probability(&["classify", &small, &image, "--json"], None), {
        probability(&["classify", &large, &image, "--json"], None)
    });
    let before = std::fs::read(&small).unwrap();
    fails(1, ["export", &image, "-o", &small], &["a.png", "expected a safetensors file"]);
    assert_eq!(before, std::fs::read(&small).unwrap());
}

#[test]
fn the_number_of_threads_changes_no_batch_norm() {
    let dir = tempfile::tempdir().unwrap();
    let of = |threads: &'static str| {
        let out = dir.path().join(threads);
        let more = [
            "--set",
            "network.kind=resnet18",
            "--set",
            "schedule.micro_batch=8",
            "--threads",
            threads,
        ];
        assert!(train(&out, 6, &more).status.success());
        std::fs::read(out.join("model.safetensors")).unwrap()
    };
    assert!(of("1") == of("2"), "the parts' statistics depend on the threads");
}

/// White images train nothing: there is no noise to remove from what has no variance.
#[test]
fn images_without_variance_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let set = dir.path().join("white");
    std::fs::create_dir(&set).unwrap();
    for i in 0..12 {
        save(&set, &format!("{i}.png"), ImageBuffer::from_pixel(9, 9, Luma([255u8])));
    }
    let data = format!("data.train={}", set.display());
    let out = text(&dir.path().join("run"));
    fails(
        1,
        ["train", "--set", &data, "--set", "network.kind=unet", "--out", &out],
        &["standard deviation"],
    );
}

/// A model with one class cannot be attacked, and the call fails; its density still detects
/// out-of-distribution images.
#[test]
fn a_model_with_one_class_is_no_classifier() {
    let dir = tempfile::tempdir().unwrap();
    let photos = dir.path().join("photos");
    std::fs::create_dir_all(photos.join("thing")).unwrap();
    for i in 0..20 {
        save(&photos.join("thing"), &format!("{i}.png"), grey(8 + i % 2, 8));
    }
    let (data, run) = (text(&photos), dir.path().join("run"));
    let set = format!("data.train={data}");
    let fit =
        ["--set", &set, "--set", "data.size=[8,8]", "--set", "data.fit=resize", "--threads", "1"];
    let output = train(&run, 2, &fit);
    assert!(output.status.success(), "{}", stderr(&output));
    let model = text(&run.join("model.safetensors"));
    // No longer the training set, of which it would be measured on two images.
    save(&photos.join("thing"), "0.png", grey(9, 9));
    let common = ["--data", &data, "--limit", "3"];
    let no = &["model.safetensors", "does not classify", "one class"];
    fails(
        1,
        ["attack", &model, "--norm", "l2", "--eps", "9", "--method", "pgd"].iter().chain(&common),
        no,
    );
    fails(1, ["certify", &model, "--sigma", "0.5"].iter().chain(&common), no);
    fails(1, ["calibrate", &model].iter().chain(&common), no);
    let reference = ["ood", &model, "--out-data", "noise", "--reference", "digits"];
    fails(1, reference.iter().chain(&common), no);
    let found = json(
        ["ood", &model, "--out-data", "noise", "--sigmas", "0.2", "--json"].iter().chain(&common),
    );
    assert_eq!(found["pairs"][0]["rows"].as_array().unwrap().len(), 5);
    let out = text(&dir.path().join("trust"));
    let found =
        json(["trust", &model, "--sigmas", "0.2", "--out", &out, "--json"].iter().chain(&common));
    let level = &found["models"][0]["levels"][0];
    assert!(level["accuracy"].is_null() && level["psnr"].is_number(), "{found}");
}

/// A joint network trained on classes alone: its untrained denoiser is neither used nor scored.
#[test]
fn a_network_that_learned_classes_alone_is_no_denoiser() {
    let dir = tempfile::tempdir().unwrap();
    let model = kind(dir.path(), "classes", &["loss.dsm_weight=0"]);
    let common = ["--data", "digits", "--limit", "4"];
    let no = &["does not denoise", "score matching"];
    let (image, out) =
        (save(dir.path(), "a.png", grey(9, 9)), text(&dir.path().join("deviation.png")));
    fails(1, ["denoise", &model, &image, "--uncertainty", &out], no);
    let attack =
        ["attack", &model, "--norm", "l2", "--eps", "0.1", "--method", "fgsm", "--sigma", "0.2"];
    let attack = || attack.iter().chain(&common);
    fails(1, attack().chain(&["--defence", "denoise"]), no);
    json(attack().chain(&["--defence", "average", "--json"]));
    fails(1, ["certify", &model, "--sigma", "0.5", "--denoise"].iter().chain(&common), no);
    let call = ["ood", &model, "--out-data", "noise", "--sigmas", "0.2", "--json"];
    let output = run(call.iter().chain(&common));
    assert!(
        output.status.success() && stderr(&output).contains("not trained by score matching"),
        "{output:?}"
    );
    let found: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let rows = found["pairs"][0]["rows"].as_array().unwrap();
    assert!(rows.len() == 5 && rows.iter().all(|row| row["score"] != "residual"), "{rows:?}");
}
