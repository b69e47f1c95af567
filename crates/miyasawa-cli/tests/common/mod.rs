//! What the tests through the binary share.
#![allow(dead_code)] // Each test binary uses its own part of this.

use image::{DynamicImage, GrayImage, ImageBuffer, Luma, Rgb, RgbImage};
use serde_json::Value;
use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

/// Settings of a model that trains in a second.
pub const TINY: [&str; 10] = [
    "--set",
    "network.width=8",
    "--set",
    "network.blocks=[1]",
    "--set",
    "data.limit=200",
    "--set",
    "eval.limit=50",
    "--set",
    "schedule.batch=32",
];

/// The program, without arguments. Backtraces are on: an error that prints one is no longer one
/// line.
pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_miyasawa"));
    command.env("RUST_BACKTRACE", "1").env_remove("MIYASAWA_MODEL");
    command
}

/// The program's output for arguments.
pub fn run<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Output {
    let output = command().args(args).output().expect("the program starts");
    assert!(!stderr(&output).contains("panicked at"), "{}", stderr(&output));
    output
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8 on standard output")
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Standard output of a call that must end well.
pub fn ok<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> String {
    let output = run(args);
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    stdout(&output)
}

/// The one JSON document of a call that must end well.
pub fn json<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Value {
    let text = ok(args);
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).expect("one JSON document on standard output")
}

/// The one line of a call that must fail with this status, which must contain all the parts.
pub fn fails<A: AsRef<OsStr>>(
    status: i32,
    args: impl IntoIterator<Item = A>,
    parts: &[&str],
) -> String {
    let output = run(args);
    let (out, err) = (stdout(&output), stderr(&output));
    assert_eq!(output.status.code(), Some(status), "{out}{err}");
    let line = err.strip_suffix('\n').unwrap_or(&err);
    assert!(
        line.starts_with("error: ") && !line.contains('\n'),
        "expected one line of error, found: {err}"
    );
    for part in parts {
        assert!(line.contains(part), "expected '{part}' in: {line}");
    }
    assert_eq!(out, "", "a failed call prints no result");
    line.to_owned()
}

/// The keys of an object, in alphabetical order.
pub fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> =
        value.as_object().expect("an object").keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

/// Trains a tiny model with further arguments.
pub fn train(out: &Path, steps: usize, more: &[&str]) -> Output {
    let steps = format!("schedule.steps={steps}");
    let out = out.to_str().expect("UTF-8");
    let args = ["train", "--set", "eval.every=1000", "--set", &steps, "--out", out];
    run(args.iter().chain(&TINY).chain(more))
}

/// A run's folder with a tiny model, trained once for a test binary.
pub fn shared() -> &'static Path {
    static SHARED: OnceLock<PathBuf> = OnceLock::new();
    SHARED.get_or_init(|| {
        // Below the folder that cargo keeps for tests: a static is never dropped, and nothing is
        // left elsewhere.
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(this_binary());
        let _ = std::fs::remove_dir_all(&dir);
        let output = train(&dir, 20, &["--threads", "1"]);
        assert!(output.status.success(), "{}", stderr(&output));
        dir
    })
}

/// A model accurate enough for an attack to matter, trained once for a test binary.
pub fn trained() -> String {
    static MODEL: OnceLock<String> = OnceLock::new();
    let make = || {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-trained", this_binary()));
        let _ = std::fs::remove_dir_all(&dir);
        let more = [
            "--set",
            "data.limit=1000",
            "--set",
            "network.blocks=[1,1]",
            "--set",
            "optimizer.ema=0.9",
        ];
        let output = train(&dir, 250, &more);
        assert!(output.status.success(), "{}", stderr(&output));
        text(&dir.join("model.safetensors"))
    };
    MODEL.get_or_init(make).clone()
}

/// The name of this test binary.
fn this_binary() -> String {
    let path = std::env::current_exe().expect("a test has a path");
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// The tiny model.
pub fn model() -> String {
    text(&shared().join("model.safetensors"))
}

pub fn text(path: &Path) -> String {
    path.to_str().expect("UTF-8").to_owned()
}

/// A grey image with some structure: a function of the position (x, y).
pub fn grey(width: u32, height: u32) -> GrayImage {
    ImageBuffer::from_fn(width, height, |x, y| Luma([((x * 7 + y * 11) % 200 + 20) as u8]))
}

pub fn colour(width: u32, height: u32) -> RgbImage {
    ImageBuffer::from_fn(width, height, |x, y| Rgb([(x * 5 % 256) as u8, (y * 9 % 256) as u8, 128]))
}

/// Saves an image in the format of its extension.
pub fn save(dir: &Path, name: &str, image: impl Into<DynamicImage>) -> String {
    let path = dir.join(name);
    image.into().save(&path).expect("a folder that can be written");
    text(&path)
}

/// Width and height of an image that must be intact.
pub fn size(path: impl AsRef<Path>) -> (u32, u32) {
    let image = image::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.as_ref().display()));
    (image.width(), image.height())
}

/// The names in a folder, hidden ones too, sorted.
pub fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).expect("a folder");
    let mut names: Vec<String> =
        entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// A file of a run.
pub fn bytes(run: &Path, name: &str) -> Vec<u8> {
    std::fs::read(run.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// A separate file system, which exists as long as the value.
pub struct Disk<'d>(&'d Path);

impl<'d> Disk<'d> {
    /// A file system of a size; nothing where the system does not permit it.
    pub fn mount(dir: &'d Path, size: &str) -> Option<Self> {
        let options = format!("size={size}");
        let mut mount = Command::new("mount");
        match mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(dir).output() {
            Ok(output) if output.status.success() => Some(Self(dir)),
            Ok(output) => {
                println!("skipped: no separate file system: {}", stderr(&output).trim());
                None
            }
            Err(error) => {
                println!("skipped: no separate file system: mount: {error}");
                None
            }
        }
    }

    /// Mounts it again with other options.
    pub fn remount(&self, options: &str) {
        let mut mount = Command::new("mount");
        let status = mount.args(["-o", &format!("remount,{options}")]).arg(self.0).status();
        assert!(status.expect("mount starts").success(), "remount with {options}");
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

/// The steps in metrics.jsonl, without evaluations.
pub fn logged_steps(run: &Path) -> Vec<u64> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).expect("a log");
    let lines =
        text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
    lines
        .filter(|line| line["event"].is_null())
        .map(|line| line["step"].as_u64().expect("a step"))
        .collect()
}
