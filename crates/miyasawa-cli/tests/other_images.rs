//! Images that the model did not learn: corrupted ones, and those of other data sets.

mod common;

use common::*;
use serde_json::Value;

#[test]
fn ood_compares_features_with_those_of_training_images() {
    let model = trained();
    let call = "--data digits --limit 60 --sigmas 0.1,0.4 --out-data noise --out-data textures";
    let call: Vec<&str> = ["ood", &model].into_iter().chain(call.split(' ')).collect();
    let with = |more: &'static str| call.iter().copied().chain(more.split(' ')).collect::<Vec<_>>();
    let found = json(with("--json --reference digits --reference-limit 300 --neighbours 5"));
    let reference = serde_json::json!({"data": "digits", "count": 300, "neighbours": 5});
    assert_eq!(found["reference"], reference);
    let pairs = found["pairs"].as_array().unwrap();
    let rows = |pair: &Value| pair["rows"].as_array().unwrap().clone();
    assert!(pairs.iter().all(|pair| rows(pair).len() == 2 * 7 + 1), "{found}");
    for score in ["knn", "vim"] {
        let noise = rows(&pairs[0]).into_iter().find(|row| row["score"] == score).unwrap();
        assert!(noise["auroc"].as_f64() > Some(0.5), "{noise}");
    }
    // A mean of each row, and the best level of each score.
    let mean = found["mean"].as_array().unwrap();
    assert_eq!((mean.len(), found["best_mean"].as_array().unwrap().len()), (2 * 7 + 1, 7 + 1));
    for (k, mean) in mean.iter().enumerate() {
        for key in ["auroc", "aupr", "fpr95"] {
            let sum: f64 = pairs.iter().map(|pair| rows(pair)[k][key].as_f64().unwrap()).sum();
            assert!((mean[key].as_f64().unwrap() - sum / 2.0).abs() < 1e-9, "{mean}");
        }
    }
    let said = ok(with("--reference digits"));
    for part in ["kNN", "ViM", "mean of 2 sets", "AUPR, each score", "FPR95, each score"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    let left_out = run(&call);
    assert_eq!(stderr(&left_out).matches("kNN and ViM are left out").count(), 1, "{left_out:?}");
    let few = with("--reference digits --reference-limit 300 --neighbours 301");
    fails(1, few, &["kNN", "at least 301 images", "found 300"]);
    fails(2, with("--neighbours 5"), &["--reference"]);
    fails(2, with("--reference digits --reference-limit 0"), &["--reference-limit is 0"]);
    fails(1, with("--reference no/such"), &["no/such", "not found"]);
}

#[test]
fn corruptions_are_measured_at_their_severities() {
    let model = trained();
    let args = ["eval", &model, "--data", "digits", "--limit", "30", "--corruptions"];
    let found = json(args.iter().chain(&["all", "--json"]));
    let rows = found["rows"].as_array().unwrap();
    assert_eq!((rows.len(), found["count"].as_u64()), (75, Some(30)), "{found}");
    let error = |row: &Value| row["error"].as_f64().unwrap();
    let mean = rows.iter().map(error).sum::<f64>() / 75.0;
    assert!((found["mean_error"].as_f64().unwrap() - mean).abs() < 1e-9, "{found}");
    assert!(error(&found["clean"]) < mean, "{found}");
    assert!((found["clean"]["sigma"].as_f64().unwrap() - 0.02).abs() < 1e-6, "{found}");
    let first = &rows[0];
    assert_eq!((&first["corruption"], &first["severity"]), (&"gaussian_noise".into(), &1.into()));
    // The same images alone, in another batch, and in another order.
    let some = ["contrast,fog,fog", "--severities", "5,2", "--batch", "7", "--json"];
    let few = json(args.iter().chain(&some));
    for row in few["rows"].as_array().unwrap() {
        let same = |all: &&Value| ["corruption", "severity"].iter().all(|k| all[k] == row[k]);
        assert_eq!(row["accuracy"], rows.iter().find(same).unwrap()["accuracy"]);
    }
    assert_eq!(few["rows"].as_array().unwrap().len(), 4);
    // The estimated level follows the noise.
    let estimated =
        json(args.iter().chain(&["noise", "--severities", "5", "--estimate", "--json"]));
    assert!(estimated["rows"][0]["sigma"].as_f64() > estimated["clean"]["sigma"].as_f64());
    let table = ok(args.iter().chain(&["weather", "--severities", "1,3"]));
    assert_eq!(table.lines().count(), 9, "{table}");
    assert!(table.contains("mean corruption error") && table.contains("brightness"), "{table}");
    fails(2, args.iter().chain(&["rain"]), &["rain", "motion_blur"]);
    fails(2, args.iter().chain(&["fog", "--severities", "6"]), &["expected 1 to 5"]);
    fails(2, args.iter().chain(&["fog", "--stored"]), &["--stored"]);
    fails(2, args.iter().take(6).chain(&["--severities", "2"]), &["--corruptions"]);
}
