//! Reports and documents of measurements, through the binary: the trust report, intervals, units,
//! provenance; and the costs of a run.

mod common;

use common::*;
use serde_json::Value;
use std::{path::Path, process::Stdio};

/// Whether a share lies in its interval, which is one.
fn inside(share: &Value, interval: &Value) -> bool {
    let ends = (interval[0].as_f64(), share.as_f64(), interval[1].as_f64());
    let (Some(low), Some(share), Some(high)) = ends else { return false };
    (0.0..=1.0).contains(&low) && low <= share && share <= high && high <= 1.0 && low < high
}

/// Program, date and call of a document.
fn stamped(provenance: &Value, call: &str) {
    let of =
        |key: &str| provenance[key].as_str().unwrap_or_else(|| panic!("{key} in {provenance}"));
    assert_eq!(of("program"), format!("miyasawa {}", env!("CARGO_PKG_VERSION")));
    let date = of("date");
    assert!(date.len() == 20 && date.starts_with("20") && date.ends_with('Z'), "{date}");
    assert!(of("call").starts_with(call), "{provenance}");
}

/// Every document of measurements has the model, the seed, the units, and intervals.
#[test]
fn documents_have_model_seed_and_units() {
    let model = trained();
    let hash = json(["info", &model, "--json"])["sha256"].clone();
    let of = |args: &[&str]| {
        let common = ["--data", "digits", "--limit", "20", "--seed", "3", "--json"];
        let found = json([args[0], &model].iter().chain(&args[1..]).chain(&common));
        assert_eq!((&found["model_sha256"], &found["seed"]), (&hash, &Value::from(3)), "{found}");
        assert!(found["units"]["eps"].as_str().unwrap().contains("[0, 1]"), "{found}");
        assert!(found["units"]["sigma"].as_str().unwrap().contains("[-1, 1]"), "{found}");
        found
    };
    let found = of(&["attack", "--norm", "l2", "--eps", "0.3", "--method", "pgd", "--steps", "2"]);
    assert_eq!((&found["steps"], &found["restarts"]), (&Value::from(2), &Value::from(1)));
    assert!(inside(&found["clean_accuracy"], &found["clean_interval"]), "{found}");
    assert!(
        inside(&found["rows"][0]["robust_accuracy"], &found["rows"][0]["robust_interval"]),
        "{found}"
    );
    stamped(&found["provenance"], "miyasawa attack ");
    let found = of(&["eval", "--sigmas", "0.2"]);
    assert!(
        inside(&found["rows"][0]["accuracy"], &found["rows"][0]["accuracy_interval"]),
        "{found}"
    );
    let found = of(&["certify", "--sigma", "0.5", "--n", "20", "--n0", "5"]);
    assert!(inside(&found["accuracy"], &found["accuracy_interval"]), "{found}");
    let row = &found["rows"][0];
    assert!(inside(&row["certified_accuracy"], &row["certified_interval"]), "{found}");
    let found = of(&["calibrate", "--sigmas", "0.2", "--eps", "0.3"]);
    assert_eq!((&found["norm"], &found["steps"]), (&Value::from("l2"), &Value::from(20)));
    let before = &found["rows"][0]["before"];
    assert!(inside(&before["accuracy"], &before["accuracy_interval"]), "{before}");
    let limit = before["ece_by_chance"][1].as_f64().unwrap();
    assert!(
        before["ece_by_chance"][0].as_f64().is_some_and(|e| e < limit) && limit < 1.0,
        "{before}"
    );
    let bin = &found["rows"][0]["reliability"][0];
    assert!(
        bin["count"].as_u64() > Some(0) && inside(&bin["accuracy"], &bin["accuracy_interval"]),
        "{bin}"
    );
    let found = of(&["ood", "--out-data", "noise", "--sigmas", "0.2"]);
    let row = &found["pairs"][0]["rows"][0];
    assert!(inside(&row["auroc"], &row["auroc_interval"]), "{row}");
}

#[test]
fn trust_writes_one_report_of_several_models() {
    let dir = tempfile::tempdir().unwrap();
    let (model, out) = (trained(), dir.path().join("trust"));
    let found = json([
        "trust",
        &model,
        &model,
        "--data",
        "digits",
        "--limit",
        "12",
        "--sigmas",
        "0.2",
        "--eps",
        "0.3",
        "--steps",
        "2",
        "--out",
        &text(&out),
        "--json",
    ]);
    assert_eq!(names(&out), ["report.html", "trust.json"]);
    let models = found["models"].as_array().unwrap();
    assert!(models.len() == 2 && models[0] == models[1]);
    assert_eq!(
        keys(&models[0]),
        [
            "calibration",
            "classes",
            "clean_sigma",
            "count",
            "foreign",
            "levels",
            "model",
            "robust",
            "sha256"
        ]
    );
    let html = std::fs::read_to_string(out.join("report.html")).unwrap();
    for part in ["Robust accuracy", "Calibration", "textures", "data:image/svg"] {
        assert!(html.contains(part), "{part}");
    }
    // The summary comes first, and says what can be concluded from this few images.
    let summary = html.find("<h2>Summary").unwrap();
    assert!(
        summary < html.find("<h2>Under noise").unwrap() && html.contains("What 12 images can show")
    );
    assert!(
        html.contains("of clean images correctly") && !html.contains("<mark>"),
        "a model is not ahead of itself"
    );
    // Long paths are no column titles, and a model given twice has two names.
    let titles: Vec<&str> =
        html.split("<th").skip(1).filter_map(|th| th.split("</th>").next()).collect();
    assert!(titles.iter().all(|title| title.len() < 100), "{titles:?}");
    assert!(titles.iter().any(|title| title.ends_with("/model (2)")), "{titles:?}");
    // Shares have intervals, means have errors.
    let level = &models[0]["levels"][0];
    assert!(inside(&level["accuracy"], &level["accuracy_interval"]), "{level}");
    assert!(level["psnr_error"].as_f64() > Some(0.0), "{level}");
    let outcome = &models[0]["robust"][0];
    assert!(inside(&outcome["clean_accuracy"], &outcome["clean_interval"]), "{outcome}");
    assert!(
        inside(&outcome["rows"][0]["robust_accuracy"], &outcome["rows"][0]["robust_interval"]),
        "{outcome}"
    );
    let detection = &models[0]["foreign"][0]["rows"][0];
    assert!(inside(&detection["auroc"], &detection["auroc_interval"]), "{detection}");
    assert!(detection["auroc_error"].is_f64() && detection["counts"][0] == 12, "{detection}");
    // The report says where it comes from.
    let hash = json(["info", &model, "--json"])["sha256"].clone();
    assert_eq!(models[0]["sha256"], hash);
    stamped(&found["provenance"], "miyasawa trust ");
    assert!(
        found["provenance"]["call"].as_str().unwrap().contains("--sigmas 0.2 --eps 0.3"),
        "{found}"
    );
    let footer = &html[html.find("<footer>").unwrap()..];
    for part in
        [hash.as_str().unwrap(), found["provenance"]["date"].as_str().unwrap(), "miyasawa trust "]
    {
        assert!(footer.contains(part), "{part} in {footer}");
    }
}

#[test]
fn trust_continues_where_it_was_killed() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("trust");
    let (model, folder) = (trained(), text(&out));
    let args =
        ["trust", &model, "--data", "digits", "--limit", "6", "--sigmas", "0.2", "--eps", "0.1"];
    let more = ["--method", "autoattack", "--steps", "50", "--out"];
    let into = |folder| args.into_iter().chain(more).chain([folder]);
    let call = || into(&folder);
    let mut child = command().args(call()).stderr(Stdio::null()).spawn().unwrap();
    let journal = out.join("attack-1-0.02.jsonl");
    let lines = || std::fs::read_to_string(&journal).unwrap_or_default().lines().count();
    // The header and a finished piece of work.
    while lines() < 2 {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it could be killed");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    fails(2, call(), &["trust", "--resume"]);
    fails(1, call().chain(["--seed", "1", "--resume"]), &["attack-1-0.02.jsonl", "expected"]);
    std::fs::write(out.join("attack-mine.jsonl"), "not a journal of this report").unwrap();
    let resumed = json(call().chain(["--resume", "--json"]));
    assert_eq!(names(&out), ["attack-mine.jsonl", "report.html", "trust.json"]);
    fails(2, call(), &["trust", "report already"]);
    assert_eq!(json(call().chain(["--resume", "--json"])), resumed);
    fails(2, call().chain(["--resume", "--seed", "1"]), &["report of another call"]);
    // The time and the call of a report are not part of the measurements.
    let measured = |mut found: Value| {
        found["provenance"].take();
        found
    };
    let other = json(into(&text(&dir.path().join("other"))).chain(["--json"]));
    assert_ne!(other["provenance"]["call"], resumed["provenance"]["call"]);
    assert_eq!(measured(other), measured(resumed));
}

/// The table of recipes/README.md, a row for every recipe.
#[test]
fn the_costs_of_the_recipes_are_those_of_their_page() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes");
    let page = std::fs::read_to_string(folder.join("README.md")).unwrap();
    let recipes =
        names(&folder).into_iter().filter_map(|name| Some(name.strip_suffix(".toml")?.to_owned()));
    // A comparison is several runs, and reports their costs itself.
    for name in recipes.filter(|name| !name.starts_with("compare-")) {
        let path = text(&folder.join(format!("{name}.toml")));
        let cost = json(["train", &path, "--dry-run", "--threads", "2", "--json"]);
        let number = |value: &serde_json::Value| value.as_f64().expect("a number");
        let hours =
            cost["hardware"].as_array().unwrap().iter().map(|device| number(&device["hours"]));
        let hours: Vec<String> = hours.map(|hours| format!("{hours:.1}")).collect();
        let row = format!(
            "| {name} | {:.2} M | {:.3} G | {:.2e} | {:.1} GiB | {} |",
            1e-6 * number(&cost["parameters"]),
            1e-9 * number(&cost["multiply_adds_per_picture"]),
            number(&cost["multiply_adds"]),
            number(&cost["memory"]["total"]) / f64::from(1 << 30),
            hours.join(" | ")
        );
        assert!(page.lines().any(|line| line == row), "{row}");
    }
}

#[test]
fn the_cost_is_reported_before_anything_is_trained() {
    let assume = "data.assume={pictures=50000,channels=3,height=32,width=32,classes=10}";
    let args = [
        "train",
        "--dry-run",
        "--set",
        assume,
        "--set",
        "data.train=not-here",
        "--set",
        "network.width=64",
    ];
    let cost = json(args.into_iter().chain(["--json", "--threads", "2"]));
    assert_eq!(
        keys(&cost),
        [
            "batch",
            "data",
            "epochs",
            "hardware",
            "here",
            "memory",
            "micro_batch",
            "multiply_adds",
            "multiply_adds_per_picture",
            "multiply_adds_per_step",
            "parameters",
            "steps",
            "threads"
        ]
    );
    // One count of MACs: that of the benchmark.
    let bench =
        json(["bench", "train-step", "--width", "64", "--batch", "2", "--iters", "1", "--json"]);
    let per_image = bench["conv_gflop"].as_f64().unwrap() / 2.0 / 2.0 / 6.0 * 1e9;
    let macs = cost["multiply_adds_per_picture"].as_f64().unwrap();
    assert!((macs - per_image).abs() < 1e-6 * macs, "{macs} {per_image}");
    let table = ok(args);
    for part in ["parameters", "MACs", "GiB", "AMD EPYC", "H100", "assumed", "this machine"] {
        assert!(table.contains(part), "{part} in {table}");
    }
    fails(2, ["train", "--set", "data.train=digits"], &["--out"]);
    fails(1, ["train", "--dry-run", "--set", "data.train=not-here"], &["not-here"]);
}
