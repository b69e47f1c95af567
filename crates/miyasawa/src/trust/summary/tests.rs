use super::*;
use crate::attack::{self, AttackReport, Norm};
use crate::calibrate::CalibrationRow;
use crate::metrics::{ClassificationMeter, detection};
use crate::ood::{OodRow, Score};
use crate::trust::RobustLevel;

const COUNT: usize = 100;

fn options() -> TrustOptions {
    TrustOptions {
        sigmas: vec![0.02, 0.1],
        norm: Norm::L2,
        eps: vec![0.5, 0.25],
        method: Method::Pgd,
        steps: 20,
        queries: 0,
        batch: 8,
        seed: 0,
    }
}

/// The results of a model with the accuracy `clean`, the mean confidence `confidence`, the
/// share `kept` of its accuracy under the smaller attack, and a PSNR gain of `gain` dB.
fn model(clean: f64, confidence: f32, kept: f64, gain: f64) -> Trust {
    let mut meter = ClassificationMeter::new();
    for i in 0..COUNT {
        let label = u32::from(i as f64 >= clean * COUNT as f64);
        meter.add(&[confidence.ln(), (1.0 - confidence).ln()], &[label]);
    }
    let (before, reliability) = (meter.result(), meter.reliability());
    let row = |eps: f64, robust_accuracy: f64| attack::AttackRow {
        eps,
        robust_accuracy,
        robust_interval: Some(wilson(robust_accuracy, COUNT)),
        misclassified_by: Default::default(),
    };
    let level = |sigma: f64, gain: f64| -> EvalRow {
        let row = serde_json::json!({
            "sigma": sigma, "accuracy": clean - sigma,
            "accuracy_interval": wilson(clean - sigma, COUNT),
            "psnr": 20.0 + gain, "psnr_error": 0.1, "psnr_noisy": 20.0,
        });
        serde_json::from_value(row).unwrap()
    };
    let own: Vec<f64> = (0..COUNT).map(|i| i as f64).collect();
    let out_of_distribution = |data: &str, shift: f64| {
        let other: Vec<f64> = own.iter().map(|v| v + shift).collect();
        let row =
            OodRow { score: Score::Energy, sigma: Some(0.1), detection: detection(&own, &other) };
        OutOfDistribution { data: data.to_owned(), count: COUNT, rows: vec![row] }
    };
    Trust {
        model: "m".to_owned(),
        sha256: String::new(),
        classes: 10,
        count: COUNT,
        clean_sigma: 0.02,
        levels: vec![level(0.02, gain), level(0.1, 10.0)],
        calibration: vec![CalibrationRow {
            sigma: 0.02,
            noisy: false,
            eps: 0.0,
            temperature: 1.5,
            before,
            after: before,
            reliability: reliability.clone(),
            reliability_after: reliability,
        }],
        out_of_distribution: vec![
            out_of_distribution("far", -200.0),
            out_of_distribution("near", 0.0),
            out_of_distribution("above", 200.0),
        ],
        robust: vec![RobustLevel {
            sigma: 0.02,
            outcome: AttackReport {
                count: COUNT,
                clean_accuracy: clean,
                clean_interval: Some(wilson(clean, COUNT)),
                rows: vec![row(0.25, kept * clean), row(0.5, 0.0)],
                warnings: Vec::new(),
            },
        }],
    }
}

fn verdicts(model: &Trust) -> Vec<String> {
    summarise(model, &options()).answer.into_iter().map(|answer| answer.0).collect()
}

#[test]
fn verdicts_follow_the_intervals() {
    let far = [
        "It detects images of far as out-of-distribution.",
        "It does not detect images of near as out-of-distribution.",
    ];
    let above = "It mistakes images of above for in-distribution images.";
    let good = verdicts(&model(0.9, 0.9, 1.0, 1.0));
    assert_eq!(
        good,
        [
            "It classifies 90.0% of clean images correctly.",
            "Its probabilities are calibrated, as far as 100 images can show.",
            "It is robust to attacks of size 0.25.",
            "It denoises at every measured level.",
            far[0],
            far[1],
            above
        ]
    );
    assert_eq!(verdicts(&model(0.9, 0.9, 0.95, 1.0))[2], "It is partly robust to attacks.");
    let bad = verdicts(&model(0.6, 0.95, 0.1, -0.5));
    assert_eq!(
        bad[1..4],
        [
            "Its probabilities are miscalibrated: it is overconfident.",
            "It is not robust to attacks.",
            "It denoises, but makes images worse at level 0.02."
        ]
    );
    assert!(verdicts(&model(0.9, 0.6, 1.0, 1.0))[1].contains("underconfident"));
    let guesses = summarise(&model(0.12, 0.12, 1.0, 1.0), &options());
    assert!(
        guesses.answer[0].1.contains("not significantly better than chance (10.0%)"),
        "{guesses:?}"
    );
}

#[test]
fn rows_contain_intervals_and_image_counts() {
    let found = summarise(&model(0.88, 0.9, 0.5, 1.0), &options());
    let row = |question: &str| found.rows.iter().find(|row| row[0].contains(question)).unwrap();
    assert_eq!(row("clean images")[1..], ["88.0% correct", "80.2%\u{a0}to\u{a0}93.0%", "100"]);
    assert_eq!(
        row("changes of 0.25")[1..],
        ["44.0% stay correct", "34.7%\u{a0}to\u{a0}53.8%", "100"]
    );
    assert_eq!(row("denoise at level 0.1")[2], "29.80\u{a0}to\u{a0}30.20\u{a0}dB");
    assert_eq!(row("images of far")[3], "100 and 100");
    let limits = limits(&[model(0.9, 0.9, 1.0, 1.0)], &options(), "digits").join(" ");
    for part in [
        "On 100 images",
        "within 10 points",
        "about 14 points",
        "Wilson",
        "Hanley and McNeil",
        "20-step PGD",
    ] {
        assert!(limits.contains(part), "{part}: {limits}");
    }
    // A model that only denoises has a summary too; without any result there is none.
    let mut alone = Trust {
        robust: vec![],
        calibration: vec![],
        out_of_distribution: vec![],
        ..model(0.9, 0.9, 1.0, 1.0)
    };
    assert_eq!(verdicts(&alone).len(), 1);
    alone.levels.clear();
    assert!(summarise(&alone, &options()).rows.is_empty());
}
