//! Training by several ranks: the bytes of one process.

use super::*;
use crate::checkpoint::Checkpoint;
use crate::data::{Dataset, Geometry};
use crate::progress::Monitor;
use crate::ranks::{LocalRanks, Ranks, RanksError};
use std::{path::Path, sync::Arc};

fn images(classes: usize, count: usize) -> Dataset {
    let value = |i: usize| (i / 64 % classes * 40 + i % 64 * 2 + i / 64 % 7) as u8;
    let names = (0..classes).map(|class| format!("class {class}")).collect();
    let labels = (0..count).map(|i| (i % classes) as u32).collect();
    let pixels = (0..count * 64).map(value).collect();
    Dataset::new("mine", Geometry::new(1, 8, 8), names, pixels, labels).unwrap()
}

/// Settings of a run of four parts and more.
fn config(settings: &[&str]) -> TrainConfig {
    let small = [
        "network.width=8",
        "network.blocks=[1]",
        "schedule.batch=9",
        "schedule.micro_batch=2",
        "schedule.steps=6",
        "eval.every=4",
        "eval.limit=6",
        "eval.sigmas=[0.2]",
    ];
    let all: Vec<String> = small.iter().chain(settings).map(|s| (*s).to_owned()).collect();
    TrainConfig::load(None, &all).unwrap()
}

fn builder(config: &TrainConfig) -> TrainerBuilder {
    Trainer::builder().config(config.clone()).data(images(3, 60))
}

/// What every rank has found; every other one has two threads.
fn on_ranks<T: Send>(size: usize, work: impl Fn(Arc<dyn Ranks>) -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = LocalRanks::new(size)
            .into_iter()
            .map(|ranks| {
                let threads = 1 + ranks.rank() % 2;
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                scope.spawn(move || pool.install(|| work(Arc::new(ranks))))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn bytes(checkpoint: &Checkpoint) -> Vec<u8> {
    checkpoint.to_bytes().unwrap()
}

#[test]
fn any_number_of_ranks_gives_the_bytes_of_one_process() {
    // With parts of one image gradients travel in several rounds.
    let cases: [&[&str]; 12] = [
        &[],
        &["schedule.micro_batch=1"],
        &["network.kind=resnet18", "schedule.micro_batch=1"],
        &[
            "loss.objective=jem",
            "network.blind=true",
            "noise.min=0.03",
            "noise.max=0.03",
            "jem.steps=1",
            "jem.buffer=12",
            "schedule.micro_batch=1",
        ],
        &["loss.clean_ce_weight=0.5", "optimizer.name=adamw", "optimizer.lr=1e-2"],
        &["noise.stored=0.5", "augment.low_contrast=0.3", "seed=3"],
        &["network.norm=batch", "classification.batch=5", "schedule.micro_batch=2"],
        &["classification.batch=7", "classification.cutout=3", "adversarial.steps=2"],
        &["network.kind=resnet18", "optimizer.name=sgd", "schedule.micro_batch=3"],
        &["network.kind=unet"],
        &["network.kind=dncnn", "network.depth=4"],
        &[
            "loss.objective=jem",
            "network.blind=true",
            "noise.min=0.03",
            "noise.max=0.03",
            "jem.steps=2",
            "jem.buffer=12",
        ],
    ];
    let built = |case: &&[&str]| {
        cfg!(feature = "robustness") || !case.iter().any(|key| key.starts_with("adversarial"))
    };
    for case in cases.into_iter().filter(built) {
        let config = config(case);
        let alone = builder(&config).build().unwrap().train().unwrap();
        for size in 1..=3 {
            let found = on_ranks(size, |ranks| {
                let trained = builder(&config).ranks(ranks).build().unwrap().train().unwrap();
                (bytes(&trained.checkpoint), trained.finish.steps)
            });
            for (rank, (found, steps)) in found.into_iter().enumerate() {
                assert!(found == bytes(&alone.checkpoint), "{case:?}: rank {rank} of {size}");
                assert_eq!(steps, 6);
            }
        }
    }
}

/// Stops after a step.
struct StopAt(u64, bool);

impl Monitor for StopAt {
    fn stop(&self) -> bool {
        self.1
    }
}

impl Observer for StopAt {
    fn step(&mut self, report: &StepReport, _: u64) {
        self.1 |= report.step == self.0;
    }
}

/// The files of a run that do not hold times.
fn files(out: &Path) -> Vec<Vec<u8>> {
    let names = ["config.toml", "model.safetensors", "checkpoints/step-00000006.safetensors"];
    names.map(|name| std::fs::read(out.join(name)).unwrap()).into()
}

#[test]
fn a_run_goes_on_with_other_ranks_wherever_one_of_them_stopped_it() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(&[]);
    let alone = dir.path().join("alone");
    builder(&config).out(&alone).build().unwrap().train().unwrap();
    let out = dir.path().join("run");
    let run = |size, resume, stop: Option<(usize, u64)>| {
        on_ranks(size, |ranks| {
            let own = stop.filter(|(rank, _)| *rank == ranks.rank());
            let mut observer = StopAt(own.map_or(u64::MAX, |(_, step)| step), false);
            let builder = builder(&config).out(&out).resume(resume).ranks(ranks);
            let trained = builder.build().unwrap().train_observed(&mut observer).unwrap();
            (trained.finish.complete, trained.finish.steps)
        })
    };
    assert_eq!(run(2, false, Some((1, 3))), [(false, 3); 2]);
    assert_eq!(run(4, true, Some((0, 5))), [(false, 5); 4]);
    assert_eq!(run(3, true, None), [(true, 6); 3]);
    assert!(files(&out) == files(&alone));
    // Every line of the log is there once.
    let lines = |out: &Path| {
        let text = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap();
        let value = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
        text.lines().map(|line| value(line)["loss"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(lines(&out), lines(&alone));
}

#[test]
fn ranks_without_work_or_with_other_work_are_refused() {
    let started = |size, config: &(dyn Fn(usize) -> TrainConfig + Sync)| {
        on_ranks(size, |ranks| {
            let trainer = builder(&config(ranks.rank())).ranks(ranks).build().unwrap();
            trainer.train().unwrap_err().to_string()
        })
    };
    let errors = started(6, &|_| config(&[]));
    assert!(errors[0].starts_with("6 ranks: a batch of 9 has 5 parts"), "{errors:?}");
    let errors = started(3, &|rank| config(&[["seed=1", "seed=2"][rank / 2]]));
    for error in errors {
        assert_eq!(
            error,
            "rank 2: its configuration is not that of rank 0: every rank must get the same call"
        );
    }
    // The same pixels in another order: neither mean nor deviation tells.
    let errors = on_ranks(2, |ranks| {
        let order: &[u32] = if ranks.rank() == 1 { &[1, 0, 2, 3] } else { &[0, 1, 2, 3] };
        let data = images(2, 4);
        let pixels: Vec<u8> = order.iter().flat_map(|i| data.image(*i as usize)).copied().collect();
        let names = data.classes().to_vec();
        let labels = data.labels().to_vec();
        let data = Dataset::new("mine", data.geometry(), names, pixels, labels).unwrap();
        let builder = Trainer::builder().config(config(&["schedule.batch=4"]));
        let trainer = builder.data(data.clone()).test(data).ranks(ranks).build().unwrap();
        trainer.train().unwrap_err().to_string()
    });
    assert!(errors[0].starts_with("rank 1: its data is not that of rank 0"), "{errors:?}");
}

#[test]
fn a_rank_that_ends_ends_the_others_and_the_run_can_go_on() {
    struct Fails(bool);
    impl Monitor for Fails {}
    impl Observer for Fails {
        fn batch(&mut self, number: u64, batch: &mut Batch) {
            if self.0 && number == 5 {
                // What a rank meets that others do not.
                batch.sigma.fill(f32::NAN);
                std::panic::resume_unwind(Box::new("killed"));
            }
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let config = config(&["checkpoint.every=2"]);
    let errors = on_ranks(3, |ranks| {
        let mut observer = Fails(ranks.rank() == 2);
        let trainer = builder(&config).out(dir.path()).ranks(ranks).build().unwrap();
        let run = std::panic::AssertUnwindSafe(|| trainer.train_observed(&mut observer));
        match std::panic::catch_unwind(run) {
            Ok(result) => Some(result.expect_err("a rank is missing")),
            Err(_) => None,
        }
    });
    for error in errors.into_iter().flatten() {
        assert!(matches!(error, TrainError::Ranks(RanksError::Lost { .. })), "{error}");
    }
    let resumed = builder(&config).out(dir.path()).resume(true).build().unwrap().train().unwrap();
    let alone = builder(&config).build().unwrap().train().unwrap();
    assert!(bytes(&resumed.checkpoint) == bytes(&alone.checkpoint));
}
