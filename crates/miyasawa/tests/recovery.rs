//! Recovery from a corrupt batch: the run returns to its last good state and skips the batch, and
//! gives the same model however often it is interrupted. Also manipulated training states.

use burn::tensor::TensorData;
use miyasawa::{
    Device,
    checkpoint::{Checkpoint, CheckpointError},
    data::{DataSource, OpenOptions, Part},
    model::{Architecture, params::ParamError},
    progress::Monitor,
    train::{
        Batch, Finish, Observer, Rollback, StepReport, TrainConfig, TrainError, Trainer,
        state::TrainState,
    },
};
use std::path::{Path, PathBuf};

const STEPS: u64 = 150;

fn config(settings: &[&str]) -> TrainConfig {
    let common = [
        "network.width=8",
        "network.blocks=[1]",
        "data.limit=200",
        "eval.limit=20",
        "schedule.batch=16",
        "schedule.steps=150",
        "eval.every=1000",
        "divergence.snapshot_every=20",
    ];
    let settings: Vec<String> = common.iter().chain(settings).map(|s| s.to_string()).collect();
    TrainConfig::load(None, &settings).unwrap()
}

fn trainer(settings: &[&str]) -> Trainer {
    Trainer::new(config(settings), &Device::flex()).unwrap()
}

/// Corrupts one batch, and stops at some steps.
#[derive(Default)]
struct Corrupter {
    /// The number of the batch, and the value that its pixels are set to.
    corrupted: Option<(u64, f32)>,
    stops: Vec<u64>,
    stop: bool,
    rollbacks: Vec<Rollback>,
    losses: Vec<f64>,
}

impl Observer for Corrupter {
    fn batch(&mut self, number: u64, batch: &mut Batch) {
        if let Some((_, value)) = self.corrupted.filter(|(corrupted, _)| *corrupted == number) {
            batch.x.fill(value);
        }
    }
    fn step(&mut self, report: &StepReport, _: u64) {
        self.losses.push(report.stats.loss);
        self.stop = self.stops.contains(&report.step);
    }
    fn rollback(&mut self, event: &Rollback) {
        self.rollbacks.push(event.clone());
    }
}

impl Monitor for Corrupter {
    fn stop(&self) -> bool {
        self.stop
    }
}

fn run(
    trainer: &Trainer,
    out: &Path,
    resume: bool,
    corrupter: &mut Corrupter,
) -> Result<Finish, TrainError> {
    corrupter.stop = false;
    trainer.run(out, resume, corrupter)
}

/// Images passed by the caller train the same model as the same images by their name;
/// configurations and checkpoints that could not be read back are not written.
#[test]
fn training_data_can_be_passed_by_the_caller() {
    let named = trainer(&["schedule.steps=6"]);
    let options = OpenOptions { limit: Some(200), ..OpenOptions::default() };
    let digits: DataSource = "digits".parse().unwrap();
    let train = digits.open(Part::Train, &options).unwrap();
    let test = digits.open(Part::Test, &OpenOptions::default()).unwrap();
    let config = config(&["schedule.steps=6"]);
    let held = Trainer::with_data(config.clone(), train.clone(), test, &Device::flex()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let models = [(&named, "named"), (&held, "held")].map(|(trainer, name)| {
        let out = dir.path().join(name);
        run(trainer, &out, false, &mut Corrupter::default()).unwrap();
        std::fs::read(out.join("model.safetensors")).unwrap()
    });
    assert!(models[0] == models[1]);
    let small = OpenOptions { size: Some((9, 9)), ..options };
    let other = digits.open(Part::Test, &small).unwrap();
    let error = Trainer::with_data(config.clone(), train, other, &Device::flex())
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("(1, 8, 8)") && error.contains("(1, 9, 9)"), "{error}");

    let error = TrainConfig { seed: u64::MAX, ..config }.check().unwrap_err().to_string();
    assert!(error.contains("seed is 18446744073709551615, expected 0 to"), "{error}");

    let path = dir.path().join("named/model.safetensors");
    let mut checkpoint = Checkpoint::load(&path).unwrap();
    checkpoint.info.sigma = [0.0, 1.0];
    let out = dir.path().join("refused.safetensors");
    let error = checkpoint.save(&out).unwrap_err().to_string();
    assert!(error.contains("not written: noise levels from 0 to 1") && !out.exists(), "{error}");
    // A checkpoint in memory need not have been read from a checked file.
    let Architecture::GradResNet(config) = &mut checkpoint.info.network else {
        panic!("the default")
    };
    config.classes = 0;
    let error = checkpoint.model(&Device::flex(), &path).err().unwrap().to_string();
    assert!(error.contains("classes is 0, expected at least 1"), "{error}");
}

/// Steps and events of the log.
fn log(out: &Path) -> Vec<(u64, String)> {
    let text = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    let line = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        (line["step"].as_u64().unwrap(), line["event"].as_str().unwrap_or("step").to_owned())
    };
    text.lines().map(line).collect()
}

#[test]
fn a_corrupt_batch_is_skipped() {
    let dir = tempfile::tempdir().unwrap();
    for (name, value, what) in [("not a number", f32::NAN, "loss"), ("far off", 1e3, "loss")] {
        let trainer = trainer(&[]);
        let out = dir.path().join(name);
        let mut corrupter = Corrupter { corrupted: Some((95, value)), ..Corrupter::default() };
        let finish = run(&trainer, &out, false, &mut corrupter).unwrap();
        assert!(finish.complete && finish.steps == STEPS, "{name}");
        let [event] = &corrupter.rollbacks[..] else { panic!("{name}: {:?}", corrupter.rollbacks) };
        // Step 96 takes batch 95; the state of step 80 is the last good one, and batch 96 comes
        // next.
        assert_eq!((event.from, event.step, event.skipped), (96, 80, 16), "{name}");
        assert_eq!((event.what, event.rollbacks, event.lr_factor), (what, 1, 0.5), "{name}");
        assert!(corrupter.losses.iter().all(|loss| loss.is_finite() && *loss < 10.0), "{name}");
        let mut expected: Vec<(u64, String)> =
            (1..=STEPS).map(|step| (step, "step".to_owned())).collect();
        expected.insert(80, (80, "rollback".to_owned()));
        expected.push((STEPS, "eval".to_owned()));
        assert_eq!(log(&out), expected, "{name}");
        Checkpoint::load(&out.join("model.safetensors")).unwrap();

        // Interruptions before and after the rollback do not change the run.
        let parts = dir.path().join(format!("{name}, in parts"));
        let stops = vec![3, 80, 90, 95, 97, 120];
        let mut corrupter =
            Corrupter { corrupted: Some((95, value)), stops, ..Corrupter::default() };
        let mut finish = run(&trainer, &parts, false, &mut corrupter).unwrap();
        let mut stopped = 0;
        while !finish.complete {
            stopped += 1;
            // Each stop happens once, although 90 and 95 are reached again after the rollback.
            let at = finish.steps;
            corrupter.stops.retain(|stop| *stop != at);
            finish = run(&trainer, &parts, true, &mut corrupter).unwrap();
        }
        assert_eq!(stopped, 6, "{name}");
        for file in ["model.safetensors", "checkpoints/step-00000150.safetensors"] {
            let [uninterrupted, parts] =
                [&out, &parts].map(|dir| std::fs::read(dir.join(file)).unwrap());
            assert!(uninterrupted == parts, "{name}: {file} differs from the uninterrupted run's");
        }
        assert_eq!(log(&parts), expected, "{name}");
    }
}

#[test]
fn a_diverged_run_leaves_its_last_good_state() {
    let dir = tempfile::tempdir().unwrap();
    let mut corrupter = Corrupter { corrupted: Some((95, f32::NAN)), ..Corrupter::default() };
    let error = run(&trainer(&["divergence.max_rollbacks=0"]), dir.path(), false, &mut corrupter)
        .unwrap_err();
    let TrainError::Diverged { step, rollbacks, path, .. } = &error else { panic!("{error}") };
    assert_eq!((*step, *rollbacks), (96, 0));
    assert!(path.ends_with("checkpoints/step-00000080.safetensors"), "{error}");
    assert_eq!(error.to_string().lines().count(), 1);
    assert_eq!(TrainState::load(path).unwrap().now.step, 80);
    assert_eq!(
        Checkpoint::load(&dir.path().join("model.safetensors")).unwrap().info.training.steps,
        80
    );
    assert_eq!(log(dir.path()).last().unwrap(), &(80, "diverged".to_owned()));
    // Resumed without rollbacks it diverges again; with rollbacks it completes.
    assert!(
        run(&trainer(&["divergence.max_rollbacks=0"]), dir.path(), true, &mut corrupter).is_err()
    );
    let finish = run(&trainer(&[]), dir.path(), true, &mut corrupter).unwrap();
    assert!(finish.complete);
}

/// Killed between the checkpoint of a rollback and the truncation of the log: the log still has the
/// lines of the discarded steps, but not the line of the rollback.
#[test]
fn after_a_kill_during_a_rollback_every_line_is_in_the_log_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut corrupter = Corrupter { stops: vec![90], ..Corrupter::default() };
    run(&trainer(&[]), dir.path(), false, &mut corrupter).unwrap();
    let path = dir.path().join("checkpoints/step-00000090.safetensors");
    let mut state = TrainState::load(&path).unwrap();
    state.now = state.good.take().expect("a state between two good ones");
    state.event = Some(serde_json::json!({ "event": "rollback", "step": 80, "from": 91 }));
    state.save(&dir.path().join("checkpoints/step-00000080.safetensors")).unwrap();
    std::fs::remove_file(path).unwrap();
    assert!(run(&trainer(&[]), dir.path(), true, &mut Corrupter::default()).unwrap().complete);
    let mut expected: Vec<(u64, String)> =
        (1..=STEPS).map(|step| (step, "step".to_owned())).collect();
    expected.insert(80, (80, "rollback".to_owned()));
    expected.push((STEPS, "eval".to_owned()));
    assert_eq!(log(dir.path()), expected);
}

/// A run of 40 steps whose checkpoint is manipulated, with a valid hash.
fn forged(dir: &Path, change: impl FnOnce(&mut TrainState)) -> TrainError {
    let mut corrupter = Corrupter { stops: vec![40], ..Corrupter::default() };
    run(&trainer(&[]), dir, false, &mut corrupter).unwrap();
    let path: PathBuf = dir.join("checkpoints/step-00000040.safetensors");
    let mut state = TrainState::load(&path).unwrap();
    change(&mut state);
    state.save(&path).unwrap();
    let error = run(&trainer(&[]), dir, true, &mut Corrupter::default()).unwrap_err();
    assert_eq!(error.to_string().lines().count(), 1, "{error}");
    assert!(error.to_string().contains("step-00000040.safetensors"), "{error}");
    error
}

#[test]
fn forged_states_are_refused() {
    let in_folder = |change: fn(&mut TrainState)| {
        let dir = tempfile::tempdir().unwrap();
        forged(dir.path(), change)
    };
    type Change = fn(&mut TrainState);
    let shape: Change = |state| {
        state.now.optimizer.insert("first.stem.weight".into(), TensorData::zeros::<f32, _>([3]));
    };
    let unknown: Change = |state| {
        state.now.optimizer.insert("second.more".into(), TensorData::zeros::<f32, _>([3]));
    };
    let unknown_part: Change = |state| {
        state.now.optimizer.insert("third.stem.weight".into(), TensorData::zeros::<f32, _>([72]));
    };
    let in_good_state: Change = |state| {
        let good = state.good.as_mut().expect("a state between two good ones");
        good.optimizer.insert("average.stem.weight".into(), TensorData::zeros::<f32, _>([71]));
    };
    let missing: Change = |state| drop(state.now.params.remove("stem.weight"));
    for (change, name) in [
        (shape, "first.stem.weight"),
        (unknown, "second.more"),
        (unknown_part, "third.stem.weight"),
        (in_good_state, "average.stem.weight"),
        (missing, "stem.weight"),
    ] {
        let error = in_folder(change);
        let TrainError::Checkpoint(CheckpointError::Params { source, .. }) = &error else {
            panic!("{error}")
        };
        assert!(source.to_string().contains(name), "{source}");
        assert!(matches!(
            source,
            ParamError::Shape { .. } | ParamError::Unknown(_) | ParamError::Missing(_)
        ));
    }
    // A factor that would increase the learning rate: no usable checkpoint is left.
    let error = in_folder(|state| state.recovery.lr_factor = 1e9);
    assert!(matches!(error, TrainError::NoUsableState { count: 1, .. }), "{error}");
}
