//! The data that a model is measured on: some of its classes, or none; and options without meaning.

mod common;

use common::*;
use image::{GrayImage, Luma};
use std::path::Path;

/// An image whose stripes encode the class, and whose shade encodes the number.
fn striped(class: usize, number: usize, side: u32) -> GrayImage {
    GrayImage::from_fn(side, side, |x, y| {
        let along = if class == 1 { x } else { y };
        let stripe = if class == 2 { 0 } else { along / 2 % 2 * 100 };
        Luma([(60 + stripe + 7 * number as u32) as u8])
    })
}

/// Class folders with `count` images each.
fn folder(root: &Path, classes: &[&str], count: usize) -> String {
    for (class, name) in classes.iter().enumerate() {
        let folder = root.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        for number in 0..count {
            save(&folder, &format!("{number}.png"), striped(class, number, 8));
        }
    }
    text(root)
}

const ALL: [&str; 3] = ["bird", "cat", "dog"];
const QUICK: [&str; 10] = [
    "--set",
    "network.width=8",
    "--set",
    "network.blocks=[1]",
    "--set",
    "schedule.steps=60",
    "--set",
    "schedule.batch=8",
    "--set",
    "eval.every=1000",
];

fn trained(out: &Path, more: &[String]) -> String {
    let out = text(out);
    let args = ["train", "-q", "--out", &out].map(str::to_owned);
    ok(args.into_iter().chain(QUICK.map(str::to_owned)).chain(more.iter().cloned()));
    format!("{out}/model.safetensors")
}

#[test]
fn some_of_the_classes_are_measured_by_their_names() {
    let dir = tempfile::tempdir().unwrap();
    let all = folder(&dir.path().join("all"), &ALL, 8);
    // The test part lacks the class whose number is the lowest, so that every other number is
    // another one there.
    let two = dir.path().join("two");
    for name in ["cat", "dog"] {
        std::fs::create_dir_all(two.join(name)).unwrap();
        for number in 0..4 {
            std::fs::copy(
                format!("{all}/{name}/{number}.png"),
                two.join(name).join(format!("{number}.png")),
            )
            .unwrap();
        }
    }
    let two = text(&two);
    let set = [format!("data.train={all}"), format!("data.test={two}")];
    let set: Vec<String> = set.into_iter().flat_map(|set| ["--set".to_owned(), set]).collect();
    let run = dir.path().join("run");
    let model = trained(&run, &[&set[..], &["--set".into(), "optimizer.ema=0.9".into()]].concat());
    let output = run_eval(&model, &two);
    let said = stderr(&output);
    assert!(
        said.contains(
            "2 classes (cat, dog) are matched by name; the model may predict any of its 3"
        ),
        "{said}"
    );
    let found: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(found["count"], 8);
    let of_all = json(["eval", &model, "--data", &all, "--sigmas", "0.05", "--json"]);
    let accuracy = |found: &serde_json::Value| found["rows"][0]["accuracy"].as_f64().unwrap();
    // Training images: if class numbers were compared instead of names, no prediction would be
    // correct.
    assert!(accuracy(&of_all) > 0.9 && accuracy(&found) > 0.9, "{of_all} {found}");
    // The run's evaluation measured the same images.
    let log = String::from_utf8(bytes(&run, "metrics.jsonl")).unwrap();
    let line = log.lines().rfind(|line| line.contains("\"eval\"")).unwrap();
    let evaluation: serde_json::Value = serde_json::from_str(line).unwrap();
    assert!(accuracy(&evaluation) > 0.9, "{evaluation}");
    // The commands of robustness take it too.
    let attack =
        ["attack", &model, "--data", &two, "--norm", "linf", "--eps", "0", "--method", "fgsm"];
    assert!(json(attack.iter().chain(&["--json"]))["clean_accuracy"].as_f64() > Some(0.9));
    json(["calibrate", &model, "--data", &two, "--sigmas", "0.1", "--json"]);
    // A class that the model does not have is an error that names it.
    let other = folder(&dir.path().join("other"), &["cat", "emu"], 2);
    fails(
        1,
        ["eval", &model, "--data", &other],
        &["2 classes (cat, emu)", "the model knows 3", "not emu"],
    );
    let more = [format!("data.train={two}"), format!("data.test={other}")];
    let more: Vec<&str> = more.iter().flat_map(|set| ["--set", set]).collect();
    let nowhere = text(&dir.path().join("nowhere"));
    fails(1, ["train", "--out", &nowhere].iter().chain(&more), &["other", "cat, dog", "found emu"]);
}

fn run_eval(model: &str, data: &str) -> std::process::Output {
    let output = run(["eval", model, "--data", data, "--sigmas", "0.05", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    output
}

#[test]
fn images_without_classes_are_denoised_and_not_classified() {
    let dir = tempfile::tempdir().unwrap();
    let all = folder(&dir.path().join("all"), &ALL, 6);
    let flat = dir.path().join("flat");
    std::fs::create_dir(&flat).unwrap();
    // Of any size, as for a pure denoiser.
    for (number, side) in [8, 12, 20].into_iter().enumerate() {
        save(&flat, &format!("{number}.png"), striped(0, number, side));
    }
    let flat = text(&flat);
    let set = |key: &str, value: &str| vec!["--set".to_owned(), format!("{key}={value}")];
    let data = set("data.train", &all);
    let joint = trained(&dir.path().join("joint"), &data);
    let denoiser = trained(
        &dir.path().join("denoiser"),
        &[data.clone(), set("network.kind", "dncnn")].concat(),
    );
    for (model, notes) in [(&joint, 1), (&denoiser, 0)] {
        let output = run_eval(model, &flat);
        let said = stderr(&output);
        assert_eq!(
            said.matches("has no classes: only denoising is measured").count(),
            notes,
            "{said}"
        );
        let found: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
        let row = &found["rows"][0];
        assert!(row["accuracy"].is_null() && row["psnr"].is_f64(), "{found}");
        assert_eq!(found["count"], 3);
    }
    json(["eval", &joint, "--data", &flat, "--fit", "resize", "--sigmas", "0.1", "--json"]);
    json([
        "ood",
        &joint,
        "--data",
        &flat,
        "--fit",
        "resize",
        "--out-data",
        "noise",
        "--sigmas",
        "0.1",
        "--json",
    ]);
    // Commands that need classes report what is missing.
    let plain =
        trained(&dir.path().join("plain"), &[data, set("network.kind", "resnet18")].concat());
    fails(1, ["eval", &plain, "--data", &flat], &["has no classes", "does not denoise"]);
    let attack =
        ["attack", &joint, "--data", &flat, "--norm", "linf", "--eps", "0.1", "--method", "fgsm"];
    fails(1, attack, &["has no classes", "subfolder"]);
    fails(1, ["certify", "-q", &joint, "--data", &flat, "--sigma", "0.2"], &["has no classes"]);
    let labelled = [set("data.train", &all), set("data.test", &flat)].concat();
    let nowhere = text(&dir.path().join("nowhere"));
    let args = ["train", "--out", &nowhere].map(str::to_owned);
    fails(1, args.into_iter().chain(labelled), &["data.test has no classes", "subfolder"]);
}

#[test]
fn sizes_of_attacks_are_in_units_of_the_range() {
    let model = model();
    let attack = |norm: &str, eps: &str| {
        let args = [
            "attack", &model, "--data", "digits", "--limit", "4", "--method", "fgsm", "--norm",
            norm,
        ];
        run(args.iter().chain(&["--eps", eps, "--json"]))
    };
    fails(
        2,
        [
            "attack", &model, "--data", "digits", "--method", "fgsm", "--norm", "linf", "--eps",
            "0.1,8",
        ],
        &["--eps is 8, expected at most 1", "8 of 255 is 8/255"],
    );
    let calibrate = ["calibrate", &model, "--data", "digits", "--norm", "linf", "--eps", "16"];
    fails(2, calibrate, &["--eps is 16", "16/255"]);
    let out = text(&shared().join("trust"));
    let trust =
        ["trust", &model, "--data", "digits", "--norm", "linf", "--eps", "8", "--out", &out];
    fails(2, trust, &["--eps is 8", "8/255"]);
    assert!(!Path::new(&out).exists());
    for (norm, eps, large) in
        [("linf", "0.7", true), ("linf", "8/255,0.4", false), ("l2", "4", true), ("l2", "1", false)]
    {
        let output = attack(norm, eps);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let found: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
        let of_document = found["warnings"].to_string().contains("plain grey");
        assert_eq!(
            [stderr(&output).contains("plain grey"), of_document],
            [large; 2],
            "{norm} {eps}"
        );
    }
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("compare.toml");
    let content =
        "budget.images = 10\nattack = { norm = \"linf\", eps = [8.0] }\n[[models]]\nname = \"a\"\n";
    std::fs::write(&config, content).unwrap();
    let args = ["compare", &text(&config), "--out", &text(&dir.path().join("out"))];
    fails(2, args, &["attack.eps", "at most 1", "8 of 255"]);
}

#[test]
fn too_few_draws_are_refused_and_radii_out_of_reach_are_reported() {
    let model = model();
    let args = ["certify", &model, "--data", "digits", "--limit", "2", "--n0", "4"];
    let with =
        |more: &[&str]| args.iter().chain(more).map(|arg| (*arg).to_owned()).collect::<Vec<_>>();
    let few = ["--sigma", "0.5", "--n", "11"];
    fails(2, with(&few), &["--n is 11, expected at least 12", "--alpha 0.001"]);
    fails(2, with(&["--sigma", "0.5", "--n", "9", "--fixed"]), &["expected at least 10"]);
    ok(with(&["--sigma", "0.5", "--n", "12", "--radii", "0"]));
    let output = run(with(&["--sigma", "0.25", "--n", "100", "--radii", "0.1,1", "--json"]));
    assert_eq!(output.status.code(), Some(0));
    let said = stderr(&output);
    assert!(said.contains("radii 1 are out of reach") && said.contains("at most 0.1"), "{said}");
    let found: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    let largest = found["largest_radius"].as_f64().unwrap();
    for certificate in found["certificates"].as_array().unwrap() {
        assert!(certificate["radius"].as_f64().unwrap() <= largest);
    }
    let output = run(with(&["--sigma", "0.5", "--n", "100", "--radii", "0.45"]));
    assert!(stderr(&output).contains("0.45 takes --n "), "{}", stderr(&output));
    let output = run(with(&["--sigma", "0.5", "--n", "100", "--radii", "0.2"]));
    assert!(!stderr(&output).contains("out of reach"), "{}", stderr(&output));
}

#[test]
fn calls_that_make_no_sense() {
    let dir = tempfile::tempdir().unwrap();
    let model = common::trained();
    let attack = |more: &[&str], parts: &[&str]| {
        let args = ["attack", &model, "--data", "digits", "--norm", "l2", "--method", "pgd"];
        fails(2, args.iter().chain(more), parts);
    };
    for eps in ["-1", "nan", "inf", "much", "8/0", "1/", ""] {
        let option = format!("--eps={eps}");
        attack(&[&option], &["--eps"]);
    }
    attack(&[], &["--eps"]);
    attack(&["--eps", "1", "--norm", "l7"], &["--norm"]);
    attack(&["--eps", "1", "--limit", "0"], &["--limit is 0"]);
    attack(&["--eps", "1", "--batch", "0"], &["--batch is 0"]);
    attack(&["--eps", "1", "--steps", "0"], &["--steps is 0"]);
    attack(&["--eps", "1", "--restarts", "0"], &["--restarts is 0"]);
    attack(&["--eps", "1", "--sigma=-1"], &["--sigma"]);
    attack(&["--eps", "1", "--resume"], &["--out"]);
    // The bundled model has other classes.
    fails(
        1,
        ["attack", "--data", "digits", "--norm", "l2", "--eps", "1", "--method", "pgd"],
        &["digits", "the model knows 10 (airplane"],
    );
    let certify = |more: &[&str], parts: &[&str]| {
        fails(2, ["certify", &model, "--data", "digits"].iter().chain(more), parts);
    };
    certify(&[], &["--sigma"]);
    certify(&["--sigma", "0"], &["--sigma"]);
    certify(&["--sigma", "0.5", "--alpha", "1"], &["--alpha"]);
    certify(&["--sigma", "0.5", "--n", "0"], &["--n is 0"]);
    certify(&["--sigma", "0.5", "--radii=-1"], &["--radii"]);
    fails(2, ["calibrate", &model, "--data", "digits", "--limit", "1"], &["at least two"]);
    fails(2, ["ood", &model, "--data", "digits"], &["--out-data"]);
    fails(
        2,
        ["ood", &model, "--data", "digits", "--out-data", "noise:pink"],
        &["noise:pink", "uniform"],
    );
    fails(
        1,
        ["ood", &model, "--data", "digits", "--out-data", "no/such"],
        &["no/such", "not found"],
    );
    let image = save(dir.path(), "a.png", grey(8, 8));
    let out = text(&dir.path().join("out.png"));
    let explain = |more: &[&str], parts: &[&str]| {
        fails(2, ["explain", &model, &image, "-o", &out].iter().chain(more), parts);
    };
    explain(&[], &["--class"]);
    explain(&["--class", "1", "--class", "nothing"], &["nothing", "expected a number below 10"]);
    explain(&["--class", "1", "--path", "way.xyz"], &["way.xyz"]);
    explain(&["--class", "1", "--path", "way.png", "--step", "0"], &["--step"]);
    explain(&["--class", "1", "--jacobian", "kept.png", "--vectors", "0"], &["--vectors"]);
    let below = text(&Path::new(&image).join("x"));
    fails(
        1,
        ["trust", &model, "--data", "digits", "--limit", "2", "--out", &below],
        &["cannot be written"],
    );
    assert_eq!(names(dir.path()), ["a.png"]);
}
