//! What a run reports during its work and at its end, and where it can be continued.

mod common;

use common::*;
use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
};

/// Class folders of small images below a folder.
fn photos(root: &Path, count: usize) {
    for (class, name) in ["cat", "dog"].into_iter().enumerate() {
        let folder = root.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        for number in 0..count {
            let value = (100 * class + 5 * number) as u8;
            save(
                &folder,
                &format!("{number}.png"),
                image::GrayImage::from_pixel(8, 8, image::Luma([value])),
            );
        }
    }
}

const SHORT: [&str; 8] = [
    "--set",
    "network.width=8",
    "--set",
    "network.blocks=[1]",
    "--set",
    "schedule.batch=8",
    "--set",
    "eval.sigmas=[0.1]",
];

/// A call in a folder.
fn call_in(folder: &Path, args: &[&str]) -> Command {
    let mut command = command();
    command.args(args).current_dir(folder).env_remove("MIYASAWA_DATA");
    command
}

fn said(output: &std::process::Output) -> String {
    format!("{}{}", stdout(output), stderr(output))
}

#[test]
fn a_run_is_continued_from_any_folder() {
    let dir = tempfile::tempdir().unwrap();
    let project = dir.path().join("project");
    photos(&project.join("photos"), 8);
    let train = |folder: &Path, args: &[&str]| {
        let output = call_in(folder, &[&["train", "-q", "--threads", "1"][..], args].concat())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    };
    let set =
        ["--set", "data.train=photos", "--set", "schedule.steps=6", "--set", "checkpoint.every=3"];
    let start = [&SHORT[..], &set].concat();
    train(&project, &[&start[..], &["--out", "runs/uninterrupted"]].concat());
    for (name, at) in [("here", "."), ("below", "runs"), ("elsewhere", "..")] {
        let out = format!("runs/{name}");
        train(&project, &[&start[..], &["--out", &out]].concat());
        // As after a kill after step 3.
        let out = project.join(&out);
        for step in names(&out.join("checkpoints")).iter().filter(|name| !name.contains("00003")) {
            std::fs::remove_file(out.join("checkpoints").join(step)).unwrap();
        }
        std::fs::remove_file(out.join("model.safetensors")).unwrap();
        // Another set of the same name in the working folder is not the run's.
        photos(&dir.path().join("photos"), 3);
        train(&project.join(at), &["--resume", "--out", &text(&out)]);
        let runs = project.join("runs");
        for file in ["model.safetensors", "config.toml"] {
            let [resumed, expected] =
                [name, "uninterrupted"].map(|run| bytes(&runs.join(run), file));
            assert!(resumed == expected, "{name}: {file}");
        }
        let log = String::from_utf8(bytes(&runs.join(name), "metrics.jsonl")).unwrap();
        assert_eq!(log.lines().filter(|line| line.contains("\"lr\"")).count(), 6, "{name}");
    }
    // In the default folder for data below the folder.
    std::fs::rename(project.join("photos"), project.join("data")).unwrap();
    let usual = project.join("data/photos");
    std::fs::create_dir(&usual).unwrap();
    for class in ["cat", "dog"] {
        std::fs::rename(project.join("data").join(class), usual.join(class)).unwrap();
    }
    train(
        dir.path(),
        &["--resume", "--set", "schedule.steps=7", "--out", &text(&project.join("runs/here"))],
    );
    std::fs::rename(usual, project.join("photos")).unwrap();
    // The project moves.
    let moved = dir.path().join("moved");
    std::fs::rename(&project, &moved).unwrap();
    let more = ["--resume", "--set", "schedule.steps=8", "--out", "moved/runs/here"];
    train(dir.path(), &more);
    // Relative paths in the call begin in the working folder.
    let more = ["--resume", "--set", "schedule.steps=9", "--set", "data.train=moved/photos"];
    train(dir.path(), &[&more[..], &["--out", "moved/runs/here"]].concat());
    // A run of an earlier version does not record where it was started.
    let runs = moved.join("runs");
    std::fs::remove_file(runs.join("uninterrupted/origin.toml")).unwrap();
    train(&moved, &["--resume", "--set", "schedule.steps=7", "--out", "runs/uninterrupted"]);
    std::fs::remove_file(runs.join("below/origin.toml")).unwrap();
    let args = ["train", "--resume", "--set", "schedule.steps=9", "--out", "here/runs/below"];
    let output = call_in(Path::new("/"), &args).output().unwrap();
    assert_ne!(output.status.code(), Some(0));
}

#[test]
fn the_end_says_which_model_is_better() {
    let dir = tempfile::tempdir().unwrap();
    let out = text(&dir.path().join("run"));
    let args =
        ["train", "--out", &out, "--set", "eval.every=10", "--set", "optimizer.ema=0", "--json"];
    let more = [
        "--set",
        "optimizer.name=adamw",
        "--set",
        "optimizer.lr=0.05",
        "--set",
        "schedule.warmup=0",
    ];
    let steps = ["--set", "schedule.steps=60", "--set", "schedule.final_lr=1.0"];
    let found = json(args.iter().chain(&TINY).chain(&more).chain(&steps));
    let best = &found["best"];
    assert_eq!(keys(best), ["by_accuracy", "last", "score", "step"]);
    let (score, last) = (best["score"].as_f64().unwrap(), best["last"].as_f64().unwrap());
    let of = |path: &str| json(["info", path, "--json"])["info"]["training"]["steps"].clone();
    assert_eq!(of(&format!("{out}/best.safetensors")), best["step"]);
    // The text says the same, and how to use the model.
    let table = ok(["train", "--resume", "--out", &out]);
    let line = table.lines().last().unwrap();
    assert!(line.starts_with(&format!("{out}/best.safetensors: ")), "{table}");
    if best["step"] == 60 {
        assert!(line.contains("the last evaluation was the best"), "{line}");
    } else if score > last {
        let numbers =
            format!("is the better one: {:.2}% against {:.2}%", 100.0 * score, 100.0 * last);
        assert!(line.contains(&numbers) && line.contains("miyasawa eval"), "{line}");
    }
    let log = String::from_utf8(bytes(Path::new(&out), "metrics.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(
        lines
            .windows(2)
            .all(|pair| pair[0]["time"].as_f64().unwrap() <= pair[1]["time"].as_f64().unwrap())
    );
    // The losses on the test part are beside the rows.
    let evaluations: Vec<_> = lines.iter().filter(|line| line["event"] == "eval").collect();
    assert_eq!(evaluations.len(), 6);
    for line in evaluations {
        let rows = line["rows"].as_array().unwrap();
        let nll =
            rows.iter().map(|row| row["nll"].as_f64().unwrap()).sum::<f64>() / rows.len() as f64;
        assert!(
            (line["ce"].as_f64().unwrap() - nll).abs() < 1e-9 && line["dsm"].as_f64() > Some(0.0),
            "{line}"
        );
    }
}

#[test]
fn steps_and_epochs_together_give_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let recipe = text(&dir.path().join("recipe.toml"));
    let assume = "data.assume={pictures=800,channels=1,height=8,width=8,classes=3}";
    let outcome = |content: &str, more: &[&str]| {
        std::fs::write(&recipe, content).unwrap();
        let args = ["train", &recipe, "--dry-run", "--json", "--set", assume];
        let output = run(args.iter().chain(&SHORT).chain(more));
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let cost: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
        (cost["steps"].as_u64().unwrap(), stderr(&output))
    };
    let (epochs, steps, both) =
        ("[schedule]\nepochs = 2", "[schedule]\nsteps = 7", "[schedule]\nsteps = 7\nepochs = 2\n");
    for (content, more, expected, warning) in [
        (epochs, &[][..], 200, ""),
        (steps, &[], 7, ""),
        (both, &[], 7, "schedule.epochs = 2 is not used: schedule.steps = 7 comes first"),
        (epochs, &["--set", "schedule.steps=5"], 5, ""),
        (steps, &["--set", "schedule.epochs=3"], 300, "takes the place of schedule.steps = 7 of "),
        (
            "",
            &["--set", "schedule.epochs=3", "--set", "schedule.steps=5"],
            5,
            "schedule.epochs = 3 is not used",
        ),
    ] {
        let (found, error) = outcome(content, more);
        assert_eq!(found, expected, "{content} {more:?}");
        assert!(
            if warning.is_empty() { error.is_empty() } else { error.contains(warning) },
            "{error}"
        );
    }
    // A configuration that the program wrote has every value.
    let entire = String::from_utf8(bytes(shared(), "config.toml")).unwrap();
    assert_eq!(outcome(&entire, &[]), (20, String::new()));
}

#[test]
fn sets_that_are_too_small_give_a_message() {
    let dir = tempfile::tempdir().unwrap();
    let flat = dir.path().join("flat");
    std::fs::create_dir(&flat).unwrap();
    save(&flat, "0.png", grey(8, 8));
    let data = format!("data.train={}", flat.display());
    let call = |more: &[&str]| {
        let out = text(&dir.path().join(more.concat().replace('/', "_")));
        let args = ["train", "--set", &data, "--set", "schedule.steps=2", "--out", &out];
        args.iter().chain(&SHORT).chain(more).map(|arg| (*arg).to_owned()).collect::<Vec<String>>()
    };
    let line =
        fails(1, call(&["--quiet"]), &["flat", "two images or more", "data.test", "one image"]);
    assert!(!line.contains("between 1 and 0"), "{line}");
    (1..4).for_each(|i| drop(save(&flat, &format!("{i}.png"), grey(8, 8))));
    let warned = |more: &[&str]| {
        let output = run(call(more));
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        stderr(&output).contains(
            "every image is of one class (image): the model will denoise and not classify",
        )
    };
    assert!(warned(&[]));
    assert!(!warned(&["--set", "data.unlabelled=true"]));
    assert!(!warned(&["--set", "loss.ce_weight=0"]));
    assert!(!warned(&["--set", "network.kind=unet"]));
    fails(
        1,
        call(&["--set", "network.kind=resnet18"]),
        &["one class (image)", "a classifier needs two"],
    );
}

/// Without a terminal there is no bar, and a line from time to time.
#[test]
fn a_long_run_without_a_terminal_says_how_far_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let out = text(&dir.path().join("run"));
    let mut command = command();
    command.args([
        "train",
        "--out",
        &out,
        "--set",
        "schedule.steps=10000000",
        "--set",
        "eval.every=10000000",
    ]);
    let mut child =
        command.args(TINY).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let found = lines.map_while(Result::ok).find(|line| line.contains(" of 10000000, "));
    child.kill().unwrap();
    child.wait().unwrap();
    let line = found.expect("a line within the run");
    for part in ["step ", " elapsed, ", " left", "ce ", "dsm ", "images/s"] {
        assert!(line.contains(part), "{part} in {line}");
    }
}

/// As `script` shows a terminal of 80 columns.
#[cfg(target_os = "linux")]
#[test]
fn the_line_of_progress_stays_within_the_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let (out, log) = (text(&dir.path().join("run")), text(&dir.path().join("log")));
    let program = env!("CARGO_BIN_EXE_miyasawa");
    let settings: Vec<String> = TINY.iter().map(|arg| format!("'{arg}'")).collect();
    let line = format!(
        "stty cols 80 rows 24; '{program}' train --out '{out}' --set schedule.steps=300 --set \
         eval.every=100 {}",
        settings.join(" ")
    );
    let script = Command::new("script").args(["-qec", &line, &log]).stdin(Stdio::null()).output();
    let Ok(output) = script.map_err(|error| println!("skipped: script: {error}")) else { return };
    assert!(output.status.success(), "{}", stdout(&output));
    let text = std::fs::read_to_string(&log).unwrap();
    let drawn: Vec<&str> =
        text.split(['\r', '\n', '\u{1b}']).filter(|part| part.contains(" elapsed, ")).collect();
    assert!(!drawn.is_empty(), "no bar was drawn: {text}");
    for part in drawn {
        assert!(part.contains('[') && part.contains(" left"), "{part}");
        assert!(part.trim_start_matches("[2K").trim_end().chars().count() <= 80, "{part}");
    }
}
