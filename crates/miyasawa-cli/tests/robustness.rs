//! Attacks, certificates, calibration and out-of-distribution images, through the binary.

mod common;

use common::{fails, grey, json, names, ok, save, size, stderr, text, train, trained};
use serde_json::Value;
use std::path::Path;

fn shares(found: &Value, key: &str) -> Vec<f64> {
    found["rows"].as_array().unwrap().iter().map(|row| row[key].as_f64().unwrap()).collect()
}

#[test]
fn attack_reports_robust_accuracy_for_every_size() {
    let model = trained();
    let args = [
        "attack", &model, "--data", "digits", "--limit", "24", "--norm", "l2", "--eps", "0,0.3,40",
    ];
    for method in ["fgsm", "pgd"] {
        let found = json(args.iter().chain(&["--method", method, "--steps", "10", "--json"]));
        for key in ["norm", "method", "count", "clean_accuracy", "rows"] {
            assert!(!found[key].is_null(), "{key} in {found}");
        }
        assert_eq!((found["norm"].as_str(), found["method"].as_str()), (Some("l2"), Some(method)));
        assert_eq!(found["count"], 24);
        let robust = shares(&found, "robust_accuracy");
        assert_eq!(shares(&found, "eps"), [0.0, 0.3, 40.0]);
        assert_eq!(robust[0], found["clean_accuracy"].as_f64().unwrap());
        assert!(robust[0] > 0.5 && robust[0] >= robust[1] && robust[1] >= robust[2], "{found}");
        // A ball larger than the range: no image is robust to many steps.
        assert!(method == "fgsm" || robust[2] == 0.0, "{found}");
    }
    let table = ok(args.iter().chain(&["--method", "pgd", "--steps", "5"]));
    assert!(table.contains("clean accuracy") && table.lines().count() == 5, "{table}");
}

#[test]
fn autoattack_is_resumed_and_does_not_depend_on_the_batch() {
    let dir = tempfile::tempdir().unwrap();
    let (model, out) = (trained(), text(&dir.path().join("robust")));
    let args = [
        "attack",
        &model,
        "--data",
        "digits",
        "--limit",
        "10",
        "--norm",
        "linf",
        "--eps",
        "2/255,0.1",
    ];
    let more = ["--method", "autoattack", "--queries", "50", "--steps", "15", "--json"];
    let first = json(args.iter().chain(&more).chain(&["--out", &out]));
    assert!((first["rows"][0]["eps"].as_f64().unwrap() - 2.0 / 255.0).abs() < 1e-12);
    assert_eq!(names(Path::new(&out)), ["attack.json", "attack.jsonl", "curve.png"]);
    let journal = Path::new(&out).join("attack.jsonl");
    let entire = std::fs::read_to_string(&journal).unwrap();
    std::fs::write(&journal, &entire[..entire.len() * 2 / 3]).unwrap();
    let again = json(args.iter().chain(&more).chain(&["--out", &out, "--resume"]));
    let single = json(args.iter().chain(&more).chain(&["--batch", "1", "--threads", "1"]));
    for other in [&again, &single] {
        assert_eq!(other["rows"], first["rows"]);
        assert_eq!(other["clean_accuracy"], first["clean_accuracy"]);
    }
    // Twice as many images, one more size, largest first: every second image is in the journal
    // already.
    let grown = args.map(|a| match a {
        "10" => "20",
        "2/255,0.1" => "2/255,0.05,0.1",
        a => a,
    });
    let down = grown.iter().chain(&more).chain(&["--largest-first"]);
    let grown_on = json(down.clone().chain(&["--out", &out, "--resume"]));
    let anew = json(down);
    assert_eq!((&anew["rows"], &anew["count"]), (&grown_on["rows"], &20.into()));
    let up = json(grown.iter().chain(&more));
    assert_eq!(shares(&up, "robust_accuracy"), shares(&anew, "robust_accuracy"));
    assert!(shares(&up, "robust_accuracy")[2] > 0.0, "{up}");
    // Another model's curve in the same figure; an attack of another setup has no curve there.
    let figure = |dir: &str| std::fs::read(Path::new(dir).join("curve.png")).unwrap();
    let two = text(&dir.path().join("two"));
    let quick =
        ["attack", &model, "--data", "digits", "--limit", "20", "--norm", "linf", "--eps", "0.1"];
    json(quick.iter().chain(&more).chain(&["--out", &two]));
    let alone = figure(&two);
    json(quick.iter().chain(&more).chain(&["--out", &two, "--resume", "--beside", &out]));
    assert!(figure(&two) != alone);
    let other = ["--method", "fgsm", "--out", &two, "--resume", "--beside", &out];
    fails(1, quick.iter().chain(&other), &["attack.json", "autoattack", "expected", "fgsm"]);
    let less = text(&dir.path().join("less"));
    let fewer = quick.map(|a| if a == "20" { "4" } else { a });
    let beside = ["--out", &less, "--beside", &out];
    fails(1, fewer.iter().chain(&more).chain(&beside), &["attack.json", "20", "expected", "4"]);
    fails(2, args.iter().chain(&more).chain(&["--out", &out]), &["robust", "--resume"]);
    let other = ["--seed", "1", "--resume", "--out", &out];
    fails(1, args.iter().chain(&more).chain(&other), &["attack.jsonl", "expected"]);
}

#[test]
fn every_defence_is_attacked_and_images_are_dumped() {
    let dir = tempfile::tempdir().unwrap();
    let (model, dump) = (trained(), text(&dir.path().join("images.safetensors")));
    for defence in ["softmax", "denoise", "average"] {
        let found = json([
            "attack",
            &model,
            "--data",
            "digits",
            "--limit",
            "6",
            "--norm",
            "l2",
            "--eps",
            "0.5",
            "--method",
            "pgd",
            "--steps",
            "5",
            "--defence",
            defence,
            "--draws",
            "2",
            "--dump",
            &dump,
            "--json",
        ]);
        assert_eq!(found["defence"]["kind"], defence);
        assert!(found["warnings"].as_array().unwrap().is_empty(), "{found}");
    }
    let bytes = std::fs::read(&dump).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.tensor("x").unwrap().shape(), [6, 1, 8, 8]);
    assert_eq!(file.tensor("labels").unwrap().shape(), [6]);
    let values =
        file.tensor("x").unwrap().data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b));
    assert!(values.into_iter().all(|v| (0.0..=1.0).contains(&v)));
}

#[test]
fn certify_reports_certified_accuracy_at_radii() {
    let model = trained();
    let args = [
        "certify", &model, "--data", "digits", "--limit", "4", "--sigma", "0.4", "--n", "400",
        "--n0", "40",
    ];
    for more in [&[][..], &["--denoise"], &["--fixed"]] {
        let found = json(args.iter().chain(more).chain(&["--radii", "0,0.1,9", "--json"]));
        let certified = shares(&found, "certified_accuracy");
        assert_eq!(certified[2], 0.0, "no radius of 9 with 400 draws");
        assert!(
            certified[0] >= certified[1] && certified[0] == found["accuracy"].as_f64().unwrap(),
            "{found}"
        );
        let draws = found["draws"].as_u64().unwrap();
        assert!(draws <= 4 * 440 && (more != ["--fixed"] || draws == 4 * 440), "{found}");
        for c in found["certificates"].as_array().unwrap() {
            assert!(c["class"].is_null() == (c["radius"] == 0.0), "{c}");
            // All of 400 draws agree, bounded at alpha: no radius is larger.
            assert!(c["radius"].as_f64().unwrap() <= 0.2 * 2.2);
        }
    }
    let said = ok(args);
    assert!(said.contains("radius 0.25") && said.contains("draws in"), "{said}");
}

#[test]
fn calibrate_fits_a_temperature_and_draws_it() {
    let dir = tempfile::tempdir().unwrap();
    let (model, out) = (trained(), text(&dir.path().join("reliability.png")));
    let found = json([
        "calibrate",
        &model,
        "--data",
        "digits",
        "--limit",
        "60",
        "--sigmas",
        "0.2",
        "--eps",
        "0.2",
        "--steps",
        "3",
        "-o",
        &out,
        "--json",
    ]);
    let rows = found["rows"].as_array().unwrap();
    assert_eq!((rows.len(), found["measured"].as_u64()), (3, Some(30)));
    for row in rows {
        let nll = |key: &str| row[key]["nll"].as_f64().unwrap();
        assert!(
            row["temperature"].as_f64().unwrap() > 0.0 && nll("before") > 0.0 && nll("after") > 0.0,
            "{row}"
        );
    }
    assert!(rows[2]["eps"] == 0.2 && rows[2]["temperature"] == rows[0]["temperature"]);
    let accuracy = |i: usize| rows[i]["before"]["accuracy"].as_f64().unwrap();
    assert!(accuracy(2) <= accuracy(0));
    assert!(size(&out).0 > 300);
}

#[test]
fn ood_scores_pairs_of_data_sets() {
    let model = trained();
    let found = json([
        "ood",
        &model,
        "--data",
        "digits",
        "--limit",
        "30",
        "--out-data",
        "noise",
        "--out-data",
        "textures",
        "--sigmas",
        "0.1,0.4",
        "--json",
    ]);
    let pairs = found["pairs"].as_array().unwrap();
    assert_eq!(pairs.len(), 2);
    for (pair, name) in pairs.iter().zip(["noise:uniform", "textures"]) {
        assert_eq!((pair["out_data"].as_str(), pair["count"].as_u64()), (Some(name), Some(30)));
        assert_eq!(pair["rows"].as_array().unwrap().len(), 2 * 5 + 1);
        for row in pair["rows"].as_array().unwrap() {
            for key in ["auroc", "aupr", "fpr95"] {
                assert!((0.0..=1.0).contains(&row[key].as_f64().unwrap()), "{row}");
            }
        }
    }
    let said =
        ok(["ood", &model, "--data", "digits", "--limit", "8", "--out-data", "noise:gaussian"]);
    assert!(said.contains("AUROC") && said.contains("score profile"), "{said}");
    assert!(!said.contains("kNN") && !said.contains("mean of"), "{said}");
}

#[test]
fn explain_takes_all_classes_a_path_and_the_jacobian() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| text(&dir.path().join(name));
    let image = save(dir.path(), "a.png", grey(8, 8));
    let (out, path, jacobian) = (at("why.png"), at("way.png"), at("kept.png"));
    let found = json([
        "explain",
        &trained(),
        &image,
        "--class",
        "all",
        "-o",
        &out,
        "--path",
        &path,
        "--steps",
        "4",
        "--jacobian",
        &jacobian,
        "--vectors",
        "3",
        "--sigmas",
        "0.2,0.4",
        "--json",
    ]);
    let classes = found["classes"].as_array().unwrap();
    assert_eq!(classes.len(), 10);
    assert!(found["holds"] == true && found["relative_error"].as_f64().unwrap() <= 1e-4);
    let total: f64 = classes.iter().map(|c| c["probability"].as_f64().unwrap()).sum();
    assert!((total - 1.0).abs() < 1e-4);
    let steps = found["path"]["steps"].as_array().unwrap();
    assert!(!steps.is_empty() && steps.len() <= 5 && steps[0]["distance"] == 0.0);
    let jacobian = &found["jacobian"];
    assert_eq!(
        (jacobian["dimensions"].as_u64(), jacobian["levels"].as_array().unwrap().len()),
        (Some(64), 2)
    );
    assert_eq!(jacobian["spectrum"]["values"].as_array().unwrap().len(), 3);
    // The figure and the curve are of the same noisy image.
    let trace = |of: &serde_json::Value| of["trace"].as_f64().unwrap();
    assert!(
        (trace(&jacobian["spectrum"]) - trace(&jacobian["levels"][0])).abs() < 1e-6,
        "{jacobian}"
    );
    for name in ["why.png", "way.png", "kept.png", "kept-dimension.png"] {
        assert!(size(at(name)).0 > 100, "{name}");
    }
    let two =
        json(["explain", &trained(), &image, "--class", "3", "--class", "7", "-o", &out, "--json"]);
    assert_eq!(two["classes"].as_array().unwrap().len(), 2);
}

/// A plain classifier is attacked through autodiff, and is beside the joint model in one report.
#[test]
fn a_plain_classifier_is_measured_by_the_same_commands() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("plain");
    let kind = [
        "--set",
        "network.kind=resnet18",
        "--set",
        "network.blocks=[1,1]",
        "--set",
        "optimizer.ema=0.9",
    ];
    let output = train(&run, 80, &kind);
    assert!(output.status.success(), "{}", stderr(&output));
    let plain = text(&run.join("model.safetensors"));
    let common = ["--data", "digits", "--limit", "10", "--json"];
    let attack = [
        "attack",
        &plain,
        "--norm",
        "l2",
        "--eps",
        "0,2",
        "--method",
        "autoattack",
        "--steps",
        "5",
    ];
    let found = json(attack.iter().chain(&["--queries", "5"]).chain(&common));
    let robust = shares(&found, "robust_accuracy");
    assert!(
        robust[0] == found["clean_accuracy"].as_f64().unwrap() && robust[1] <= robust[0],
        "{found}"
    );
    fails(1, attack.iter().chain(&["--defence", "denoise"]).chain(&common), &["does not"]);
    json(["certify", &plain, "--sigma", "0.2", "--n", "50", "--n0", "5"].iter().chain(&common));
    let found = json(["eval", &plain, "--corruptions", "noise"].iter().chain(&common));
    assert_eq!(found["rows"].as_array().unwrap().len(), 15);
    json(["calibrate", &plain, "--sigmas", "0.2"].iter().chain(&common));
    let found =
        json(["ood", &plain, "--out-data", "noise", "--sigmas", "0.2"].iter().chain(&common));
    assert_eq!(found["pairs"][0]["rows"].as_array().unwrap().len(), 2);
    let args = ["ood", &plain, "--out-data", "noise", "--sigmas", "0.2", "--reference", "digits"];
    let found = json(args.iter().chain(&common));
    assert_eq!(found["pairs"][0]["rows"].as_array().unwrap().len(), 4);
    let out = text(&dir.path().join("trust"));
    let args = [
        "trust",
        &trained(),
        &plain,
        "--sigmas",
        "0.2",
        "--eps",
        "0.3",
        "--steps",
        "2",
        "--out",
        &out,
    ];
    let found = json(args.iter().chain(&common));
    assert_eq!(found["models"][0]["robust"].as_array().unwrap().len(), 2);
    assert_eq!(found["models"][1]["robust"].as_array().unwrap().len(), 1);
    assert!(found["models"][1]["levels"][0]["psnr"].is_null());
}
