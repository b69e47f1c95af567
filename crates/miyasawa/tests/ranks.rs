//! Evaluations, attacks, certificates, calibrations and scores by several ranks: the results of one
//! process, to the last bit.

use miyasawa::attack::{self, Journal, Method, Norm, Pgd, Plan, SizeOrder};
use miyasawa::calibrate::{CalibrateOptions, calibrate};
use miyasawa::certify::{CertifyOptions, certify};
use miyasawa::compare::{Beginning, Compare, CompareConfig};
use miyasawa::data::{DataSource, Dataset, OpenOptions, Part};
use miyasawa::eval::{EvalOptions, evaluate, evaluate_gallery};
use miyasawa::model::{GradResNet, GradResNetConfig, JointModel};
use miyasawa::ood::{OodOptions, Reference, scores};
use miyasawa::ranks::{LocalRanks, current, together};
use miyasawa::{Device, prelude::*};
use std::{path::Path, sync::Arc};

fn digits(count: usize) -> Dataset {
    let set = DataSource::Digits.open(Part::Test, &OpenOptions::default()).unwrap();
    set.into_dataset().unwrap().subset(count).unwrap()
}

fn model(device: &Device) -> JointModel<GradResNet> {
    let config = GradResNetConfig {
        width: 8,
        blocks: vec![1, 1],
        zero_energy_head: false,
        ..GradResNetConfig::new(1, 10)
    };
    JointModel::new(config.init(device, 5), 0.5)
}

/// What every rank finds, one after the other.
fn on_ranks<T: Send>(size: usize, work: impl Fn() -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let start = |ranks| {
            let work = &work;
            scope.spawn(move || together(Arc::new(ranks), work))
        };
        let threads: Vec<_> = LocalRanks::new(size).into_iter().map(start).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// The numbers of all works on 70 digits.
fn everything() -> Vec<String> {
    let (device, data) = (Device::flex(), digits(70));
    let model = model(&device);
    let at = |sigma: f64| Defence::Softmax { sigma }.classifier(&model, [1, 8, 8], &device);
    let options = EvalOptions { sigmas: vec![0.1, 0.4], batch: 64, ..EvalOptions::default() };
    let rows = evaluate(&model, &data, &options, &device, &mut ());
    // Five images of different sizes: ranks have one or two, or none of the last.
    let image = |i: usize| {
        let (h, w) = (16 + i, 24 - 2 * i);
        let values = (0..h * w).map(|at| ((at * 37 + i) % 90) as f32 / 50.0 - 0.9);
        Image::new((1, h, w), values.collect()).unwrap()
    };
    let images: Vec<Image> = (0..5).map(image).collect();
    let sizes = evaluate_gallery(&model, &images, &options, &device, &mut ());
    let plan = plan();
    let mut journal = Journal::in_memory();
    let attacked = attack::run(at(0.1).as_ref(), &data, &plan, &mut journal, &mut ()).unwrap();
    let options = CertifyOptions {
        sigma: 0.4,
        n0: 20,
        n: 200,
        alpha: 0.01,
        radii: vec![0.1],
        fixed: false,
        batch: 100,
        seed: 0,
    };
    let certificates = certify(at(0.4).as_ref(), &digits(5), &options, &mut ());
    let options = CalibrateOptions {
        clean_sigma: 0.1,
        sigmas: vec![0.3],
        attacks: vec![Pgd::new(Norm::L2, 0.2, 2, 0)],
        batch: 40,
        seed: 0,
    };
    let calibrated = calibrate(&at, &data, &options, &mut ());
    let options = OodOptions { sigmas: vec![0.2], batch: 50, seed: 0 };
    let mut scores = scores(&model, &data, &options, &device, &mut ());
    let reference = Reference::fit(&model, &digits(60), 5, &options, &device, &mut ()).unwrap();
    reference.add_scores(&mut scores, &model, &data, &options, &device, &mut ());
    vec![
        format!("{rows:?}"),
        format!("{sizes:?}"),
        format!("{:?} {:?}", attacked.rows, attacked.clean_accuracy),
        format!("{certificates:?}"),
        format!("{calibrated:?}"),
        format!("{:?}", scores.iter().map(|level| &level.values).collect::<Vec<_>>()),
    ]
}

fn plan() -> Plan {
    Plan {
        norm: Norm::L2,
        method: Method::Pgd,
        eps: vec![0.1, 0.3],
        order: SizeOrder::SmallestFirst,
        steps: 3,
        restarts: 1,
        queries: 10,
        batch: 40,
        seed: 0,
    }
}

#[test]
fn ranks_find_what_one_process_finds() {
    let alone = everything();
    assert!(current().is_none());
    for size in [1, 2, 3] {
        for (rank, found) in on_ranks(size, everything).into_iter().enumerate() {
            assert_eq!(found, alone, "rank {rank} of {size}");
        }
    }
}

/// Rank 0 has the file; what is left to do is done by all, and the file is that of one process.
#[test]
fn an_attack_of_ranks_has_the_journal_of_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let header = serde_json::json!({ "attack": "test" });
    let (device, data) = (Device::flex(), digits(70));
    let model = model(&device);
    let attack = |path: &Path| {
        let mut journal = Journal::resume(path, &header).unwrap();
        let classifier = Defence::Softmax { sigma: 0.1 }.classifier(&model, [1, 8, 8], &device);
        attack::run(classifier.as_ref(), &data, &plan(), &mut journal, &mut ()).unwrap().rows
    };
    let lines = |path: &Path| -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(path).unwrap();
        let value = |line: &str| {
            let mut value: serde_json::Value = serde_json::from_str(line).unwrap();
            value.as_object_mut().unwrap().remove("seconds");
            value
        };
        text.lines().map(value).collect()
    };
    let one = dir.path().join("one.jsonl");
    let expected = attack(&one);
    let all = lines(&one);
    for kept in [0, 1, 75, all.len()] {
        let path = dir.path().join(format!("{kept}.jsonl"));
        if kept > 0 {
            let text = std::fs::read_to_string(&one).unwrap();
            let text: Vec<&str> = text.lines().take(kept).collect();
            std::fs::write(&path, text.join("\n") + "\n").unwrap();
        }
        for rows in on_ranks(2, || attack(&path)) {
            assert_eq!(rows, expected, "{kept} lines");
        }
        assert_eq!(lines(&path), all, "{kept} lines");
    }
    // A file of another attack is refused on every rank.
    let other = serde_json::json!({ "attack": "another" });
    for error in on_ranks(2, || Journal::resume(&one, &other).unwrap_err().to_string()) {
        assert!(error.contains("journal"), "{error}");
    }
    assert_eq!(on_ranks(2, || current().unwrap().size()), [2, 2]);
}

/// The runs of a comparison, of each of which only what does not depend on time is kept.
fn compared(out: &Path) -> Result<Vec<String>, String> {
    let config = CompareConfig::load(&out.join("compare.toml"), &[]).unwrap();
    let device = Device::flex();
    let compare = Compare::new(&config, &device);
    let found = compare.run(&out.join("out"), &mut |_: Beginning<'_>| (), &mut ());
    let found = found.map_err(|error| error.to_string())?.expect("nobody stops it");
    let facts = |run: &miyasawa::compare::RunResult| {
        format!("{} {:?} {} {:?} {:?}", run.name, run.seed, run.sha256, run.rows, run.robust)
    };
    Ok(found.runs.iter().map(facts).collect())
}

/// A folder with the configuration of a comparison.
fn comparison(models: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        r#"
budget.images = 64
base.data = {{ train = "digits", limit = 64 }}
base.network = {{ width = 8, blocks = [1] }}
base.schedule.batch = 32
eval = {{ sigmas = [0.1], limit = 16 }}
attack = {{ count = 8, steps = 2 }}
models = [{models}]
"#
    );
    std::fs::write(folder.path().join("compare.toml"), text).unwrap();
    folder
}

#[test]
fn a_comparison_shared_by_ranks_is_that_of_one_process() {
    let models = r#"{ name = "a", seeds = [0, 1] }, { name = "b", set.network.kind = "resnet18" }"#;
    let expected = compared(comparison(models).path()).unwrap();
    assert_eq!(expected.len(), 3);
    for size in [2, 4] {
        let folder = comparison(models);
        let all = on_ranks(size, || compared(folder.path()));
        assert!(all.iter().all(|found| found.as_ref() == Ok(&expected)), "{size} ranks");
        for file in ["report.html", "report.md", "report.json", "runs/b-seed0/result.json"] {
            assert!(folder.path().join("out").join(file).exists(), "{size} ranks: {file}");
        }
    }
    // An error is every rank's, and nobody waits for ever.
    let folder = comparison(r#"{ name = "a", checkpoint = "missing.safetensors" }"#);
    let found = on_ranks(2, || compared(folder.path()).unwrap_err());
    assert!(found[0].contains("missing.safetensors"), "{found:?}");
    assert!(found[1].contains("rank 0"), "{found:?}");
}
