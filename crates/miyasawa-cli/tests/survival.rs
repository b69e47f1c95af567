//! Runs that are killed, stopped, or refused a disk or a folder, and then continue as if
//! uninterrupted.
#![cfg(unix)]

mod common;

use common::*;
use std::{
    fs::File,
    io::{BufRead, BufReader},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::OnceLock,
    time::{Duration, Instant, SystemTime},
};

/// Steps of the run that all tests interrupt.
const STEPS: usize = 240;
/// Its last checkpoint.
const LAST: &str = "checkpoints/step-00000240.safetensors";
/// The files that must be equal byte for byte.
const FILES: [&str; 4] = ["model.safetensors", "best.safetensors", LAST, "config.toml"];

fn settings() -> Vec<String> {
    let more = [
        "schedule.batch=16",
        "eval.every=90",
        "eval.sigmas=[0.2]",
        "checkpoint.every=20",
        "checkpoint.keep_last=4",
        "divergence.snapshot_every=30",
    ];
    let steps = format!("schedule.steps={STEPS}");
    let more = more.into_iter().chain([steps.as_str()]).flat_map(|setting| ["--set", setting]);
    TINY.into_iter().chain(more).map(str::to_owned).collect()
}

/// A call that starts or continues the run.
fn call(out: &Path, resume: bool) -> Command {
    let mut command = command();
    command.args(["train", "-q", "--threads", "1", "--out"]).arg(out);
    if resume {
        command.arg("--resume");
    } else {
        command.args(settings());
    }
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

fn start(out: &Path, resume: bool) -> Child {
    call(out, resume).spawn().expect("the program starts")
}

fn finish(out: &Path, resume: bool) -> Output {
    let output = call(out, resume).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    output
}

/// The uninterrupted run.
fn uninterrupted() -> &'static Path {
    static UNINTERRUPTED: OnceLock<PathBuf> = OnceLock::new();
    UNINTERRUPTED.get_or_init(|| {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("survival");
        let _ = std::fs::remove_dir_all(&dir);
        finish(&dir, false);
        dir
    })
}

fn equals_the_uninterrupted_run(out: &Path) {
    for name in FILES {
        assert!(
            bytes(uninterrupted(), name) == bytes(out, name),
            "{name} differs from the uninterrupted run's"
        );
    }
    assert_eq!(logged_steps(out), (1..=STEPS as u64).collect::<Vec<u64>>());
    assert_eq!(logged(out), logged(uninterrupted()));
    assert_eq!(names(out).into_iter().filter(|name| name.contains("partial")).count(), 0);
}

/// The lines of the log, without the times.
fn logged(out: &Path) -> Vec<serde_json::Value> {
    let text = String::from_utf8(bytes(out, "metrics.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let without = |mut line: serde_json::Value| {
        let fields = line.as_object_mut().unwrap();
        assert!(
            fields.remove("time").is_some_and(|time| time.as_f64() > Some(1.7e9)),
            "{fields:?}"
        );
        fields.remove("images_per_second");
        line
    };
    lines.map(without).collect()
}

fn lines(out: &Path) -> usize {
    std::fs::read(out.join("metrics.jsonl"))
        .map_or(0, |log| log.iter().filter(|b| **b == b'\n').count())
}

fn wait_for(what: &str, mut reached: impl FnMut() -> bool) {
    let start = Instant::now();
    while !reached() {
        assert!(start.elapsed() < Duration::from_secs(120), "{what}: not in two minutes");
        std::thread::sleep(Duration::from_micros(200));
    }
}

fn signal(child: &Child, name: &str) {
    let kill =
        Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().unwrap();
    assert!(kill.success(), "kill -{name}");
}

fn newest(out: &Path) -> PathBuf {
    let folder = out.join("checkpoints");
    folder.join(names(&folder).last().expect("a checkpoint"))
}

/// A run that was ended by a signal once it had checkpoints.
fn ended(out: &Path, name: &str) -> (ExitStatus, String) {
    let child = start(out, false);
    wait_for("a hundred steps", || lines(out) >= 100);
    signal(&child, name);
    let output = child.wait_with_output().unwrap();
    assert!(lines(out) < STEPS, "the run ended before it was interrupted");
    (output.status, stderr(&output))
}

/// scripts/kills.py does it fifty times.
#[test]
fn kills_at_any_moment_leave_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    for (kill, lines_until) in [25, 70, 110, 150, 190].into_iter().enumerate() {
        let mut child = start(&out, kill > 0);
        wait_for("the step", || lines(&out) >= lines_until);
        if kill % 2 == 1 {
            // During a save.
            let half =
                || names(&out.join("checkpoints")).iter().any(|name| name.ends_with(".partial"));
            wait_for("a half-written file", half);
        }
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9), "kill {kill} came too late");
    }
    finish(&out, true);
    equals_the_uninterrupted_run(&out);
}

#[test]
fn a_signal_ends_the_run_with_a_checkpoint() {
    for name in ["INT", "TERM", "HUP"] {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("run");
        let (status, _) = ended(&out, name);
        assert_eq!(status.code(), Some(0), "{name}");
        // Nothing is lost: the newest checkpoint is that of the last step.
        let step = *logged_steps(&out).last().unwrap();
        assert!(newest(&out).ends_with(format!("step-{step:08}.safetensors")), "{name}");
        let info = json(["info", &text(&out.join("model.safetensors")), "--json"]);
        assert_eq!(info["info"]["training"]["steps"], step);
        if name == "TERM" {
            finish(&out, true);
            equals_the_uninterrupted_run(&out);
        }
    }
}

#[test]
fn a_second_interrupt_ends_the_run_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    // Steps that take long enough to be interrupted twice; otherwise it is tried again.
    let long =
        ["network.width=16", "network.blocks=[2, 2]", "schedule.batch=1024", "schedule.steps=200"];
    let more = ["checkpoint.every=1", "eval.every=1000"];
    let interrupted = |attempt: usize| {
        let mut command = command();
        command.args(["train", "-q", "--out"]).arg(&out);
        if attempt == 0 {
            command.args(long.into_iter().chain(more).flat_map(|setting| ["--set", setting]));
        } else {
            command.arg("--resume");
        }
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let before = lines(&out);
        wait_for("two steps", || lines(&out) >= before + 2);
        signal(&child, "INT");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("once more to stop at once")));
        signal(&child, "INT");
        child.wait().unwrap().code()
    };
    let status = (0..5).map(interrupted).find(|status| *status != Some(0));
    assert_eq!(
        status,
        Some(Some(130)),
        "0 if the first interrupt was always served before the second"
    );
    // The saved state is intact, and the run continues from it.
    let saved = json(["info", &text(&newest(&out)), "--json"])["info"]["training"]["steps"]
        .as_u64()
        .unwrap();
    assert!(saved >= 1);
    let mut resumed = common::command();
    resumed.args(["train", "--resume", "-q", "--out"]).arg(&out).stdout(Stdio::null());
    let mut resumed = resumed.spawn().unwrap();
    wait_for("a further step", || logged_or_none(&out).is_some_and(|step| step > saved));
    resumed.kill().unwrap();
    resumed.wait().unwrap();
}

fn logged_or_none(out: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(out.join("metrics.jsonl")).ok()?;
    serde_json::from_str::<serde_json::Value>(text.lines().last()?).ok()?["step"].as_u64()
}

#[test]
fn a_second_run_in_the_folder_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let mut child = start(&out, false);
    wait_for("a hundred steps", || lines(&out) >= 100);
    signal(&child, "STOP");
    let pid = format!("process {}", child.id());
    for resume in [false, true] {
        let output = call(&out, resume).output().unwrap();
        let error = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.contains("a run is under way") && error.contains(&pid), "{error}");
    }
    // The lock ends with its process, whatever ended that.
    child.kill().unwrap();
    child.wait().unwrap();
    finish(&out, true);
    equals_the_uninterrupted_run(&out);
}

#[test]
fn damaged_checkpoints_are_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    ended(&out, "KILL");
    let path = newest(&out);
    let mut damaged = std::fs::read(&path).unwrap();
    let at = damaged.len() - 40;
    damaged[at] ^= 4;
    std::fs::write(&path, damaged).unwrap();
    // The one before is cut off, the one before that is intact.
    let before =
        out.join("checkpoints").join(names(&out.join("checkpoints")).iter().rev().nth(1).unwrap());
    let half = std::fs::read(&before).unwrap();
    std::fs::write(&before, &half[..half.len() / 2]).unwrap();
    std::fs::write(out.join("model.safetensors"), b"damaged").unwrap();
    // As after a loss of power: the log's last line is cut.
    let log = String::from_utf8(bytes(&out, "metrics.jsonl")).unwrap();
    std::fs::write(out.join("metrics.jsonl"), &log[..log.len() - 9]).unwrap();

    let args = ["train", "--resume", "--threads", "1", "--out", &text(&out)];
    let warnings = stderr(&run(args));
    for path in [&path, &before] {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(
            warnings.lines().any(|line| line.contains(name) && line.contains("passed over")),
            "{warnings}"
        );
    }
    assert!(
        warnings
            .lines()
            .any(|line| line.contains("model.safetensors") && line.contains("written again"))
    );
    equals_the_uninterrupted_run(&out);

    for name in names(&out.join("checkpoints")) {
        std::fs::write(out.join("checkpoints").join(name), b"nothing").unwrap();
    }
    let log = bytes(&out, "metrics.jsonl");
    let parts = ["none of its 4 checkpoints can be used", "step-00000240"];
    fails(1, ["train", "--resume", "-q", "--out", &text(&out)], &parts);
    assert_eq!(log, bytes(&out, "metrics.jsonl"), "a failed call changes nothing");
}

/// Nothing depends on the clock: file times are not used, and durations are monotonic.
#[test]
fn a_jump_of_the_clock_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    ended(&out, "KILL");
    let day = Duration::from_secs(86_400);
    for (i, name) in names(&out.join("checkpoints")).iter().enumerate() {
        let file = File::options().write(true).open(out.join("checkpoints").join(name)).unwrap();
        // The newest is the oldest by its time, and all others come from the future.
        file.set_modified(SystemTime::now() + 1000 * day - 400 * day * i as u32).unwrap();
    }
    let log = File::options().write(true).open(out.join("metrics.jsonl")).unwrap();
    log.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    let saved = newest(&out);
    let output = finish(&out, true);
    assert!(!stderr(&output).contains("passed over"), "{} was not used", saved.display());
    equals_the_uninterrupted_run(&out);
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_fills_up_loses_nothing_that_was_saved() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::mount(dir.path(), "400k") else { return };
    let out = dir.path().join("run");
    let output = call(&out, false).output().unwrap();
    let error = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.contains("cannot be written: No space left"), "{error}");
    // All remaining checkpoints are intact, and so is the model.
    let saved = names(&out.join("checkpoints"));
    assert!(!saved.is_empty());
    for name in &saved {
        ok(["info", &text(&out.join("checkpoints").join(name))]);
    }
    ok(["info", &text(&out.join("model.safetensors"))]);
    disk.remount("size=16m");
    finish(&out, true);
    equals_the_uninterrupted_run(&out);
}

#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_cannot_be_written_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::mount(dir.path(), "16m") else { return };
    let out = dir.path().join("run");
    ended(&out, "KILL");
    disk.remount("ro");
    let log = bytes(&out, "metrics.jsonl");
    fails(
        1,
        ["train", "--resume", "-q", "--out", &text(&out)],
        &["cannot be written: Read-only file system"],
    );
    let new = dir.path().join("new");
    fails(1, ["train", "-q", "--out", &text(&new)], &["cannot be written: Read-only file system"]);
    assert_eq!(log, bytes(&out, "metrics.jsonl"));
    ok(["info", &text(&newest(&out))]);
    disk.remount("rw");
    finish(&out, true);
    equals_the_uninterrupted_run(&out);
}
