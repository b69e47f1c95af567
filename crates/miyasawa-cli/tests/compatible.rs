//! Files of earlier versions are still read: checkpoints, run folders, journals, configurations;
//! and documents have the fields and the numbers that they had.

// Exact numbers: the portable kernels give the same bits everywhere, C libraries do not.
// The framework's matrix products and sums have an order of additions for each width of registers:
// the files were written with AVX-512, elsewhere the last digits differ.
#![cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]

mod common;

use common::{command, text};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn written(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/written_by_0_1").join(name)
}

/// Runs the program as the files were written: the portable kernels give the same bits on every
/// processor.
fn portable<const N: usize>(args: [&str; N]) -> (String, String) {
    let output = command().env("MIYASAWA_ISA", "portable").args(args).output().unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(output.status.success(), "{args:?}: {err}");
    (out, err)
}

fn document(text: &str) -> Value {
    let mut value: Value = serde_json::from_str(text).unwrap();
    for key in ["provenance", "seconds"] {
        value.as_object_mut().unwrap().remove(key);
    }
    value
}

fn sha256(path: &Path) -> String {
    let hash = Sha256::digest(fs::read(path).unwrap());
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn has_avx512() -> bool {
    std::arch::is_x86_feature_detected!("avx512f")
}

/// Whether two documents have the same fields and values, numbers up to the rounding of float32.
fn near(found: &Value, expected: &Value) -> bool {
    match (found, expected) {
        (Value::Number(a), Value::Number(b)) => {
            let [a, b] = [a, b].map(|number| number.as_f64().unwrap());
            (a - b).abs() <= 1e-6 * b.abs().max(1e-3)
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| near(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| near(a, b)))
        }
        (a, b) => a == b,
    }
}

/// The numbers of two documents, equal but for the name of the model's file.
fn assert_same(mut found: Value, expected: &Value, model: &str) {
    assert_eq!(found["model"], model);
    found["model"] = expected["model"].clone();
    let same = if has_avx512() { found == *expected } else { near(&found, expected) };
    assert!(same, "{found:#}\n{expected:#}");
}

#[test]
fn near_documents_differ_in_the_last_digits_alone() {
    let document = |a: f64, b: &str| serde_json::json!({ "rows": [{ "a": a, "b": b }] });
    assert!(near(&document(2.406_322_6, "x"), &document(2.406_322_7, "x")));
    for other in [document(2.406_33, "x"), document(2.406_322_7, "y"), serde_json::json!({})] {
        assert!(!near(&document(2.406_322_7, "x"), &other), "{other}");
    }
}

#[test]
fn documents_of_an_old_model_are_what_they_were() {
    let expected: Value =
        serde_json::from_str(&fs::read_to_string(written("documents.json")).unwrap()).unwrap();
    let model = text(&written("run/model.safetensors"));
    let (found, _) = portable(["eval", &model, "--data", "digits", "--limit", "12", "--json"]);
    assert_same(document(&found), &expected["eval"], &model);
}

/// The paths of all fields, `[]` for the elements of a list.
fn fields(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, inner)| {
            let path = format!("{path}.{key}");
            fields(inner, &path, found);
            found.insert(path);
        }),
        Value::Array(list) => {
            list.iter().for_each(|inner| fields(inner, &format!("{path}[]"), found));
        }
        _ => {}
    }
}

/// scripts/document_fields.py makes the same calls.
#[test]
fn every_document_has_the_fields_that_it_had() {
    let dir = tempfile::tempdir().unwrap();
    let ramp = |x: u32, y: u32| image::Luma([(8 * (x + y)) as u8]);
    image::GrayImage::from_fn(12, 12, ramp).save(dir.path().join("a.png")).unwrap();
    fs::copy(written("c.toml"), dir.path().join("c.toml")).unwrap();
    let old = fs::read_to_string(written("fields.json")).unwrap();
    let old: BTreeMap<String, BTreeSet<String>> = serde_json::from_str(&old).unwrap();
    let model = text(&written("run/model.safetensors"));
    let calls = fs::read_to_string(written("calls.txt")).unwrap();
    assert_eq!(calls.lines().count(), old.len());
    for call in calls.lines() {
        let args = call.split(' ').map(|arg| if arg == "MODEL" { &model } else { arg });
        let output = command().current_dir(dir.path()).args(args).output().unwrap();
        let document: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{call}: {}", String::from_utf8_lossy(&output.stderr)));
        let mut now = BTreeSet::new();
        fields(&document, "", &mut now);
        let lost: Vec<_> = old[call].difference(&now).collect();
        assert!(lost.is_empty(), "{call}: without {lost:?}");
    }
}

#[test]
fn an_attack_goes_on_with_an_old_journal() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("journal");
    fs::create_dir(&out).unwrap();
    fs::copy(written("attack.jsonl"), out.join("attack.jsonl")).unwrap();
    let old = fs::read_to_string(written("attack.jsonl")).unwrap();
    let model = text(&written("run/model.safetensors"));
    let attack = ["attack", &model, "--data", "digits", "--norm", "l2", "--eps", "0.3,0.6"];
    let more = ["--method", "pgd", "--steps", "5", "--json", "--resume", "--out", &text(&out)];
    let call = |limit: &str| {
        let args = attack.iter().chain(&more).copied().chain(["--limit", limit]);
        portable::<18>(args.collect::<Vec<_>>().try_into().unwrap()).0
    };
    // Nothing is left to do: the journal stays as it is.
    call("6");
    assert_eq!(fs::read_to_string(out.join("attack.jsonl")).unwrap(), old);
    let expected: Value =
        serde_json::from_str(&fs::read_to_string(written("documents.json")).unwrap()).unwrap();
    assert_same(document(&call("12")), &expected["attack"], &model);
    let now = fs::read_to_string(out.join("attack.jsonl")).unwrap();
    assert!(now.starts_with(&old) && now.len() > old.len());
}

#[test]
fn an_old_run_is_resumed_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    fs::create_dir_all(run.join("checkpoints")).unwrap();
    for name in [
        "config.toml",
        "metrics.jsonl",
        "model.safetensors",
        "origin.toml",
        "checkpoints/step-00000004.safetensors",
    ] {
        fs::copy(written("run").join(name), run.join(name)).unwrap();
    }
    portable([
        "train",
        "--resume",
        "--out",
        &text(&run),
        "--set",
        "schedule.steps=8",
        "--threads",
        "2",
    ]);
    let expected = match has_avx512() {
        true => "357b7e43e18b53af1df4a3e056e22ab9eea6a9f60fc645426c93d1a31b004ac7",
        // AVX2 with FMA.
        false => "59b2761d8783d7ad488bfec40b46d2781e4be7504554957e02212f43ace768e3",
    };
    assert_eq!(sha256(&run.join("model.safetensors")), expected);
}
