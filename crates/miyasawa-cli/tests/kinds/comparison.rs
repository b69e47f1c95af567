//! Several models side by side.

use super::common::*;
use serde_json::Value;
use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const COMPARISON: &str = r#"
seeds = [3, 4]
[budget]
images = 960
[eval]
sigmas = [0.1, 0.4]
limit = 30
[attack]
count = 10
steps = 2
eps = [0.0, 0.5]
[base]
data.train = "digits"
data.limit = 200
network.width = 8
network.blocks = [1]
schedule.batch = 16
eval.every = 1000
[[models]]
name = "joint"
[[models]]
name = "resnet"
set = { network.kind = "resnet18" }
[[models]]
name = "unet"
set = { network.kind = "unet" }
"#;

/// The part of a comparison that does not depend on the clock or the folder.
fn lasting(out: &Path) -> Value {
    let text = std::fs::read_to_string(out.join("report.json")).unwrap();
    let mut report: Value = serde_json::from_str(&text).unwrap();
    let provenance = report["provenance"].take();
    assert!(provenance["call"].as_str().unwrap().starts_with("miyasawa compare "), "{provenance}");
    for run in report["runs"].as_array_mut().unwrap() {
        run["model"].take();
        for key in ["train_images_per_second", "classify_seconds", "denoise_seconds"] {
            run["costs"][key].take();
        }
    }
    report
}

#[cfg(unix)]
#[test]
fn a_comparison_survives_an_interruption_and_repeats_no_work() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("compare.toml");
    std::fs::write(&config, COMPARISON).unwrap();
    let (uninterrupted, parts) = (dir.path().join("uninterrupted"), dir.path().join("parts"));
    let args =
        |out: &Path| ["compare", &text(&config), "--out", &text(out), "-q"].map(str::to_owned);
    ok(args(&uninterrupted));
    let mut child = command();
    let child =
        child.args(args(&parts)).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let log = parts.join("runs/resnet-seed3/metrics.jsonl");
    let start = Instant::now();
    while std::fs::read_to_string(&log).map_or(0, |log| log.lines().count()) < 5 {
        assert!(start.elapsed() < Duration::from_secs(60), "no step in a minute");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(
        Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success()
    );
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(!parts.join("report.json").exists());
    ok(args(&parts));
    assert_eq!(lasting(&uninterrupted), lasting(&parts));

    // Everything is there: the second call takes its results from the folder.
    let before = std::fs::read(parts.join("runs/joint-seed3/result.json")).unwrap();
    let found = json(args(&parts).into_iter().chain(["--json".to_owned()]));
    assert_eq!(before, std::fs::read(parts.join("runs/joint-seed3/result.json")).unwrap());
    let runs = found["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 6);
    let of = |name: &str| runs.iter().find(|run| run["name"] == name).unwrap();
    assert!(of("joint")["rows"][0]["accuracy"].is_f64() && of("joint")["rows"][0]["psnr"].is_f64());
    assert!(
        of("resnet")["rows"][0]["psnr"].is_null() && of("unet")["rows"][0]["accuracy"].is_null()
    );
    assert_eq!(of("resnet")["robust"].as_array().unwrap().len(), 2);
    assert_eq!(of("unet")["robust"].as_array().unwrap().len(), 0);
    assert!(runs.iter().all(|run| run["images"] == 960));
    // Six passes through the convolutions against three.
    let macs = |name: &str| of(name)["costs"]["train_multiply_adds"].as_u64().unwrap();
    assert_eq!(macs("joint"), 2 * macs("resnet"));
    let markdown = std::fs::read_to_string(parts.join("report.md")).unwrap();
    for part in [
        "## Accuracy",
        "## PSNR of D(y)",
        "## Robust accuracy",
        "## Cost",
        "\u{b1}",
        "denoised.png",
    ] {
        assert!(markdown.contains(part), "{part}");
    }
    let html = std::fs::read_to_string(parts.join("report.html")).unwrap();
    // On 40 images, models that learned nearly nothing cannot be distinguished, and the report says
    // so.
    for page in [&markdown, &html] {
        assert!(
            page.contains("What can be concluded") && page.contains("Wilson"),
            "what 40 images can show"
        );
        assert!(
            page.contains(of("joint")["sha256"].as_str().unwrap())
                && page.contains("miyasawa compare ")
        );
    }
    let row = &of("joint")["rows"][0];
    assert!(
        row["accuracy_interval"][0].as_f64().unwrap() < row["accuracy"].as_f64().unwrap()
            && row["psnr_error"].is_f64()
    );
    assert!(of("joint")["robust"][0]["robust_interval"][1].is_f64());
    assert!(html.matches("data:image/svg+xml").count() >= 3 && html.contains("data:image/png"));
    assert!(size(parts.join("denoised.png")).0 > 100);

    // The weights are not needed either.
    let lean = dir.path().join("lean");
    for run in names(&parts.join("runs")) {
        let (from, to) = (parts.join("runs").join(&run), lean.join("runs").join(&run));
        std::fs::create_dir_all(&to).unwrap();
        for name in ["config.toml", "result.json", "denoised.png"] {
            // Classifiers have no denoised.png.
            let copied = std::fs::copy(from.join(name), to.join(name));
            assert!(
                copied.is_ok() || (name == "denoised.png" && run.starts_with("resnet")),
                "{run}/{name}"
            );
        }
    }
    ok(args(&lean));
    assert_eq!(lasting(&uninterrupted), lasting(&lean));
    let image = |out: &Path| std::fs::read(out.join("denoised.png")).unwrap();
    assert!(
        !lean.join("runs/joint-seed3/model.safetensors").exists() && image(&lean) == image(&parts)
    );

    let mut other = args(&parts).to_vec();
    other.extend(["--set".to_owned(), "base.network.width=16".to_owned()]);
    fails(1, &other, &["joint-seed3", "another configuration"]);
    other[6] = "base.network.widht=16".to_owned();
    fails(2, &other, &["widht"]);
}

#[test]
fn an_existing_model_is_compared_without_training() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("compare.toml");
    let entry = format!("[[models]]\nname = \"mine\"\ncheckpoint = \"{}\"\n", model());
    let (head, _) = COMPARISON.split_once("[[models]]").unwrap();
    std::fs::write(&config, format!("{head}{entry}")).unwrap();
    let out = dir.path().join("out");
    let found = json(["compare", &text(&config), "--out", &text(&out), "-q", "--json"]);
    assert_eq!(found["runs"].as_array().unwrap().len(), 1);
    assert!(found["runs"][0]["seed"].is_null() && found["runs"][0]["rows"][0]["accuracy"].is_f64());
    assert_eq!(names(&out.join("runs/mine")), ["denoised.png", "result.json"]);
    // With images of another size it is measured again.
    let call = ["compare", &text(&config), "--out", &text(&out), "-q", "--json"].map(str::to_owned);
    let padded = json(call.iter().map(String::as_str).chain(["--set", "base.data.size=[12,12]"]));
    assert_ne!(padded["runs"][0]["rows"], found["runs"][0]["rows"]);
    assert_eq!(json(&call)["runs"][0]["rows"], found["runs"][0]["rows"]);
    for (setting, part) in
        [("eval.sigmas=[0.0]", "conditioned on the noise level"), ("base.network.width=0", "width")]
    {
        let call = call.iter().map(String::as_str).chain(["--set", setting]);
        fails(if part == "width" { 2 } else { 1 }, call, &[part]);
    }
    // A budget of time: steps follow from the speed, and are then fixed.
    let one = COMPARISON.replace("images = 960", "minutes = 0.002").replace("[3, 4]", "[3]");
    std::fs::write(&config, one).unwrap();
    let timed = dir.path().join("timed");
    ok(["compare", &text(&config), "--out", &text(&timed), "-q"]);
    let plan = std::fs::read(timed.join("plan.json")).unwrap();
    ok(["compare", &text(&config), "--out", &text(&timed), "-q"]);
    assert_eq!(plan, std::fs::read(timed.join("plan.json")).unwrap());
    assert_eq!(keys(&serde_json::from_slice(&plan).unwrap()), ["joint", "resnet", "unet"]);
    // Two calls share the models of one comparison; the last puts them together.
    let shared = dir.path().join("shared");
    let args = |more: &[&str]| {
        let all = ["compare", &text(&config), "--out", &text(&shared), "-q"].map(str::to_owned);
        all.into_iter().chain(more.iter().map(|arg| (*arg).to_owned())).collect::<Vec<_>>()
    };
    let some = json(args(&["--only", "unet,joint", "--json"]));
    assert_eq!(some["runs"].as_array().unwrap().len(), 2);
    assert!(!shared.join("report.json").exists());
    ok(args(&["--only", "resnet"]));
    assert_eq!(names(&shared.join("runs")), ["joint-seed3", "resnet-seed3", "unet-seed3"]);
    let result = std::fs::read(shared.join("runs/unet-seed3/result.json")).unwrap();
    ok(args(&[]));
    assert_eq!(result, std::fs::read(shared.join("runs/unet-seed3/result.json")).unwrap());
    assert!(shared.join("report.html").exists());
    fails(2, args(&["--only", "vit"]), &["vit", "joint"]);
    // A folder that has moved is still the same comparison.
    let moved = dir.path().join("moved");
    std::fs::rename(&timed, &moved).unwrap();
    let found = json(["compare", &text(&config), "--out", &text(&moved), "-q", "--json"]);
    assert!(found["runs"][0]["model"].as_str().unwrap().contains("moved"), "{found}");
}
