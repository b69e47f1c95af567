//! Checkpoints that are damaged, forged or of another shape, and disks that are full.

#[path = "common/mod.rs"]
mod common;
#[path = "bad_checkpoint/other_program.rs"]
mod other_program;

use common::*;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    path::Path,
};

type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// The tiny model, changed, with its hash corrected.
fn forge(path: &Path, change: impl FnOnce(&mut Value, &mut Tensors)) -> String {
    let bytes = std::fs::read(model()).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let mut info: Value =
        serde_json::from_str(&header.metadata().as_ref().unwrap()["info"]).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let floats =
        |bytes: &[u8]| bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    let mut tensors: Tensors = file
        .iter()
        .map(|(name, view)| (name.to_owned(), (view.shape().to_vec(), floats(view.data()))))
        .collect();
    change(&mut info, &mut tensors);

    let info = info.to_string();
    let raw = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let tensors: BTreeMap<_, _> =
        tensors.iter().map(|(name, (shape, v))| (name, (shape, raw(v)))).collect();
    let mut hash = Sha256::new();
    hash.update(info.as_bytes());
    for (name, (shape, bytes)) in &tensors {
        hash.update(format!("\0{name}\0F32\0{shape:?}\0").as_bytes());
        hash.update(bytes);
    }
    let hash = hash.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    let views = tensors.iter().map(|(name, (shape, bytes))| {
        (name, TensorView::new(Dtype::F32, (*shape).clone(), bytes).unwrap())
    });
    let metadata = [("miyasawa", "1"), ("info", &info), ("sha256", &hash)];
    let metadata: HashMap<String, String> =
        metadata.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    std::fs::write(path, safetensors::serialize(views, Some(metadata)).unwrap()).unwrap();
    text(path)
}

#[test]
fn a_forged_checkpoint_works_if_nothing_is_changed() {
    let dir = tempfile::tempdir().unwrap();
    let same = forge(&dir.path().join("same.safetensors"), |_, _| {});
    let classify = |model: &str| {
        let image = save(dir.path(), "a.png", grey(8, 8));
        json(["classify", model, &image, "--json"])["images"].clone()
    };
    assert_eq!(classify(&same), classify(&model()));
}

#[test]
fn a_flipped_byte_is_detected_at_every_position() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("flipped.safetensors");
    let intact = std::fs::read(model()).unwrap();
    let tell = |path: &Path| {
        let output = run(["info", "--json", "--threads", "1", &text(path)]);
        // The path is the same in all of them.
        (output.status.code(), stdout(&output), stderr(&output))
    };
    std::fs::write(&path, &intact).unwrap();
    let good = tell(&path);
    assert_eq!(good.0, Some(0));
    let header = u64::from_le_bytes(intact[..8].try_into().unwrap()) as usize;
    let everywhere = (0..intact.len()).step_by(97);
    for at in everywhere.chain((0..8 + header).step_by(31)).chain([intact.len() - 1]) {
        let mut bytes = intact.clone();
        bytes[at] ^= 1 << (at % 8);
        std::fs::write(&path, &bytes).unwrap();
        let found = tell(&path);
        if found.0 == Some(0) {
            assert_eq!(found, good, "byte {at}: another model, and nobody noticed");
        } else {
            assert_eq!((found.0, found.1.as_str()), (Some(1), ""), "byte {at}");
            assert!(
                found.2.starts_with("error: checkpoint ")
                    && found.2.contains("flipped.safetensors")
            );
            assert_eq!(found.2.lines().count(), 1, "byte {at}: {}", found.2);
        }
    }
}

#[test]
fn export_writes_safetensors_and_not_over_the_model() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| text(&dir.path().join(name));
    let saved_model = at("m.safetensors");
    std::fs::copy(model(), &saved_model).unwrap();
    let before = std::fs::read(&saved_model).unwrap();
    for name in ["m.onnx", "m.pt", "m", "safetensors"] {
        fails(2, ["export", &saved_model, "-o", &at(name)], &[name, "ends in .safetensors"]);
    }
    let mut names_of_model = vec![saved_model.clone(), at("./m.safetensors")];
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&saved_model, at("link.safetensors")).unwrap();
        std::fs::hard_link(&saved_model, at("hard.safetensors")).unwrap();
        std::os::unix::fs::symlink(dir.path(), at("folder")).unwrap();
        names_of_model
            .extend(["link.safetensors", "hard.safetensors", "folder/m.safetensors"].map(at));
    }
    for name in &names_of_model {
        fails(2, ["export", &saved_model, "-o", name], &["is the input model", "--overwrite"]);
        let dump = [
            "attack",
            &saved_model,
            "--data",
            "digits",
            "--norm",
            "l2",
            "--eps",
            "0.1",
            "--method",
            "fgsm",
        ];
        fails(2, dump.iter().chain(&["--dump", name]), &["--dump", "is the input model"]);
    }
    let output = command()
        .args(["export", "-o", &saved_model])
        .env("MIYASAWA_MODEL", &saved_model)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert_eq!(std::fs::read(&saved_model).unwrap(), before);
    ok(["export", &saved_model, "-o", &at("other.SafeTensors")]);
    ok(["export", &saved_model, "-o", &saved_model, "--overwrite"]);
    assert!(std::fs::read(&saved_model).unwrap().len() < before.len());
    ok(["info", &saved_model]);
}

#[test]
fn files_that_are_no_checkpoints() {
    let dir = tempfile::tempdir().unwrap();
    let image = save(dir.path(), "a.png", grey(8, 8));
    let path = dir.path().join("m.safetensors");
    let name = text(&path);
    let all = |parts: &[&str]| {
        fails(1, ["info", &name], parts);
        fails(1, ["classify", &name, &image], parts);
        fails(1, ["eval", &name, "--data", "digits"], parts);
    };
    all(&["m.safetensors", "No such file"]);
    let intact = std::fs::read(model()).unwrap();
    for length in [0, 5, 8, 100, intact.len() / 2, intact.len() - 1] {
        std::fs::write(&path, &intact[..length]).unwrap();
        all(&["m.safetensors", "expected a safetensors file"]);
    }
    std::fs::write(&path, [intact.as_slice(), &[0]].concat()).unwrap();
    all(&["m.safetensors"]);
    let empty: BTreeMap<String, TensorView> = BTreeMap::new();
    std::fs::write(&path, safetensors::serialize(empty, None).unwrap()).unwrap();
    all(&["m.safetensors", "no entry 'miyasawa'"]);
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    all(&["m.safetensors", "directory"]);
}

#[test]
fn parameters_that_do_not_fit_the_network() {
    let dir = tempfile::tempdir().unwrap();
    let image = save(dir.path(), "a.png", grey(8, 8));
    let path = dir.path().join("m.safetensors");
    let refused = |change: &dyn Fn(&mut Value, &mut Tensors), parts: &[&str]| {
        let name = forge(&path, change);
        fails(1, ["classify", &name, &image], &[&["m.safetensors"], parts].concat());
    };
    let first = "stages.0.0.conv1.weight";
    refused(
        &|_, t| t.get_mut(first).unwrap().0 = vec![8, 9, 8],
        &[first, "[8, 9, 8]", "[8, 8, 3, 3]"],
    );
    refused(&|_, t| drop(t.remove(first)), &[first, "missing"]);
    refused(
        &|_, t| drop(t.insert("more".into(), (vec![1], vec![0.0]))),
        &["more", "not part of the model"],
    );
    refused(
        &|info, _| info["network"]["width"] = json!(16),
        &["stem.weight", "[8, 1, 3, 3]", "[16, 1, 3, 3]"],
    );
    refused(&|info, _| info["network"]["width"] = json!(0), &["width is 0"]);
    // Memory of the claimed size must not be allocated.
    refused(&|info, _| info["network"]["width"] = json!(1u64 << 40), &["width is 1099511627776"]);
    refused(
        &|info, _| info["network"]["blocks"] = json!([1u64 << 60]),
        &["blocks are", "expected 1 to 8 numbers"],
    );
    refused(&|info, _| info["network"]["blocks"] = json!([1, 1]), &["stages.1.0.", "missing"]);
    refused(&|info, _| info["network"]["blind"] = json!(true), &["not part of the model"]);
    for value in [f32::NAN, f32::INFINITY] {
        refused(&|_, t| t.get_mut(first).unwrap().1[5] = value, &[first, &value.to_string()]);
    }
}

#[test]
fn descriptions_that_make_no_sense() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.safetensors");
    let cases: Vec<(&str, Value, &[&str])> = vec![
        ("/data/std", json!(0.0), &["standard deviation is 0"]),
        ("/data/std", json!(-0.5), &["standard deviation is -0.5"]),
        // JSON has no NaN: serde writes null.
        ("/data/std", Value::Null, &["null"]),
        ("/data/std", json!(1e300), &["standard deviation is 1"]),
        ("/data/mean", Value::Null, &["null"]),
        ("/data/classes", json!(["a", "b"]), &["2 class names for 10 classes"]),
        ("/data/channels", json!(3), &["3 channels"]),
        ("/data/height", json!(0), &["0x8"]),
        ("/data/width", json!(1u64 << 62), &["images of 8x"]),
        ("/sigma", json!([0.0, 1.0]), &["noise levels from 0 to 1"]),
        ("/sigma", json!([2.0, 1.0]), &["noise levels from 2 to 1"]),
        ("/sigma", json!([Value::Null, 1.0]), &["null"]),
        ("/network", json!({}), &["missing field"]),
        ("/network/classes", json!(0), &["classes is 0"]),
    ];
    for (pointer, value, parts) in cases {
        let name = forge(&path, |info, _| *info.pointer_mut(pointer).unwrap() = value);
        fails(1, ["info", &name], &[&["m.safetensors"], parts].concat());
    }
}

#[test]
fn a_state_of_another_network_is_not_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    assert!(train(&out, 2, &["-q"]).status.success());
    let path = text(&out);
    let args = [
        "train",
        "--resume",
        "--set",
        "network.width=16",
        "--set",
        "network.blocks=[1]",
        "--out",
        &path,
    ];
    let config = std::fs::read(out.join("config.toml")).unwrap();
    let saved_config = text(&out.join("config.toml"));
    fails(
        1,
        [&args[..], &[&saved_config]].concat(),
        &["step-00000002", "[8, 1, 3, 3]", "[16, 1, 3, 3]"],
    );
    assert_eq!(config, std::fs::read(out.join("config.toml")).unwrap());
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_changes_no_existing_file() {
    let dir = tempfile::tempdir().unwrap();
    let image = save(dir.path(), "a.png", colour(300, 200));
    let disk = dir.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let Some(_mounted) = Disk::mount(&disk, "64k") else { return };
    // A run needs more space than there is. Runs that are killed later are in survival.rs.
    let run = disk.join("run");
    let output = train(&run, 2, &["-q"]);
    let error = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.starts_with("error: ") && error.lines().count() == 1, "{error}");
    assert!(error.contains("cannot be written: No space left"), "{error}");
    assert_eq!(names(&run), ["checkpoints", "config.toml", "lock", "metrics.jsonl", "origin.toml"]);
    assert_eq!(names(&run.join("checkpoints")), [""; 0]);
    std::fs::remove_dir_all(&run).unwrap();

    let out = disk.join("out.png");
    let small = save(dir.path(), "small.png", grey(9, 9));
    ok(["denoise", &model(), &small, "--sigma", "0.1", "-o", &text(&out)]);
    let before = std::fs::read(&out).unwrap();
    assert!(std::fs::write(disk.join("filler"), vec![1; 1 << 16]).is_err());
    fails(
        1,
        ["denoise", &model(), &image, "--sigma", "0.1", "-o", &text(&out)],
        &["out.png: cannot be written: No space left"],
    );
    assert_eq!(before, std::fs::read(&out).unwrap());
    assert_eq!(names(&disk), ["filler", "out.png"]);
}

#[cfg(target_os = "linux")]
#[test]
fn full_standard_output_is_reported() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = command().args(["info", &model()]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = stderr(&output);
    assert!(error.starts_with("error: standard output: cannot be written"), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
}
