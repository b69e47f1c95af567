//! Files as people have them: any name, any number, read by whoever wants to.

mod common;

use common::*;
use std::process::Stdio;

/// Names need not be UTF-8: a document holds what can be shown of them.
#[cfg(unix)]
#[test]
fn names_that_are_not_utf8() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &[u8]| dir.path().join(OsStr::from_bytes(name));
    let (picture, out) = (place(b"caf\xe9.png"), place(b"sorti\xe9.png"));
    // Not every file system takes such a name.
    if std::fs::copy(save(dir.path(), "a.png", grey(8, 8)), &picture).is_err() {
        return println!("skipped: the file system wants UTF-8");
    }
    let (model, moved) = (model(), place(b"mod\xe8le.safetensors"));
    std::fs::copy(&model, &moved).unwrap();
    let (p, o, m) = (picture.as_os_str(), out.as_os_str(), moved.as_os_str());
    let s = |text: &'static str| OsStr::new(text);
    let found = json([s("classify"), m, p, s("--json")]);
    assert!(found["images"][0]["image"].as_str().unwrap().contains("caf"), "{found}");
    json([s("denoise"), m, p, s("--sigma"), s("0.2"), s("-o"), o, s("--json")]);
    assert_eq!(size(&out), (8, 8));
    ok([s("explain"), m, p, s("--class"), s("3"), s("-o"), o]);
    json([s("export"), m, s("-o"), place(b"\xe8.safetensors").as_os_str(), s("--json")]);
    json([s("info"), m, s("--json")]);
    json([s("data"), s("info"), s("digits"), s("--limit"), s("20"), s("-o"), o, s("--json")]);
    json([
        s("data"),
        s("convert"),
        s("digits"),
        s("--shards"),
        s("1"),
        s("--out"),
        place(b"\xe9").as_os_str(),
        s("--json"),
    ]);
}

/// One broken picture of several costs that one.
#[test]
fn a_broken_picture_among_others() {
    let dir = tempfile::tempdir().unwrap();
    let (a, c) = (save(dir.path(), "a.png", grey(8, 8)), save(dir.path(), "c.png", grey(9, 7)));
    let b = text(&dir.path().join("b.png"));
    std::fs::write(&b, b"\x89PNG\r\n\x1a\n and no more").unwrap();
    let out = dir.path().join("out");
    let output = run(["denoise", &model(), &a, &b, &c, "--sigma", "0.2", "--out", &text(&out), "--json"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(
        stderr(&output).starts_with("error: ") && stderr(&output).contains("b.png"),
        "{}",
        stderr(&output)
    );
    assert_eq!(names(&out), ["a.png", "c.png"]);
    let found: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert!(found["images"][1]["error"].as_str().unwrap().contains("b.png"), "{found}");
    assert_eq!(found["images"][2]["image"], c.as_str());
    let output = run(["classify", &model(), &b, &a, &c]);
    assert_eq!((output.status.code(), stdout(&output).matches(".png").count()), (Some(1), 2));
    fails(1, ["classify", &model(), &b], &["b.png"]);
}

/// A reader that went away has what it wanted; the files are for others.
#[test]
fn a_closed_pipe_costs_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let pictures: Vec<String> = (0..4).map(|i| save(dir.path(), &format!("{i}.png"), grey(8, 8))).collect();
    let out = dir.path().join("out");
    let mut child = command()
        .args(["denoise", &model(), "--sigma", "0.2", "--out", &text(&out)])
        .args(&pictures)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
    assert_eq!(names(&out), ["0.png", "1.png", "2.png", "3.png"]);
}

/// A checkpoint is known by its content, whatever it is called.
#[test]
fn a_model_by_any_name() {
    let dir = tempfile::tempdir().unwrap();
    let picture = save(dir.path(), "a.png", grey(8, 8));
    for name in ["model", "MODEL.SAFETENSORS", "model.bin"] {
        let path = text(&dir.path().join(name));
        std::fs::copy(model(), &path).unwrap();
        assert_eq!(json(["classify", &path, &picture, "--json"])["model"], path.as_str());
    }
    // No name at all is none that is given.
    let output = command().env("MIYASAWA_MODEL", "").args(["info", "--json"]).output().unwrap();
    assert!(stdout(&output).contains("ships"), "{}", stderr(&output));
}

#[test]
fn no_output_replaces_what_it_is_made_of() {
    let dir = tempfile::tempdir().unwrap();
    let picture = save(dir.path(), "a.png", grey(8, 8));
    let before = std::fs::read(&picture).unwrap();
    let other = text(&dir.path().join("w.png"));
    let model = model();
    let explain = |more: &[&str], parts: &[&str]| {
        fails(2, ["explain", &model, &picture, "--class", "3"].iter().chain(more), parts);
    };
    explain(&["-o", &picture], &["a.png", "would replace the picture"]);
    explain(&["-o", &other, "--jacobian", &picture], &["would replace the picture"]);
    explain(&["-o", &other, "--path", &other], &["w.png", "two figures"]);
    explain(&["-o", &other, "--path", &text(&dir.path().join("./w.png"))], &["two figures"]);
    let beside = text(&dir.path().join("w-dimension.png"));
    explain(&["-o", &beside, "--jacobian", &other], &["w-dimension.png", "two figures"]);
    explain(&["-o", &other, "--tolerance", "nan"], &["--tolerance is NaN"]);
    explain(&["-o", &other, "--path", "p.png", "--confidence", "2"], &["--confidence is 2"]);
    assert_eq!(std::fs::read(&picture).unwrap(), before);
    assert_eq!(names(dir.path()), ["a.png"]);
    let classes = dir.path().join("set");
    for class in ["x", "y"] {
        std::fs::create_dir_all(classes.join(class)).unwrap();
        std::fs::copy(&picture, classes.join(class).join("a.png")).unwrap();
    }
    let set = text(&classes);
    fails(1, ["data", "convert", &set, "--shards", "1", "--out", &set], &["which holds its pictures"]);
    // What is written can be named as data, though it has no parts.
    let shards = text(&dir.path().join("shards"));
    ok(["data", "convert", &set, "--shards", "2", "--out", &shards]);
    let found = json(["data", "info", &shards, "--json"]);
    assert_eq!(
        (found["parts"].as_array().unwrap().len(), &found["parts"][0]["count"]),
        (1, &2.into()),
        "{found}"
    );
}
