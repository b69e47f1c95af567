//! The front door of training: builders, bad calls, networks of one's own, fine-tuning.

use super::*;
use crate::checkpoint::Checkpoint;
use crate::data::{Dataset, Geometry, Images};
use crate::model::{EnergyNetwork, Outputs, params};
use crate::nn::Linear;
use crate::ops;
use crate::progress::{Monitor, Progress, monitor};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand::SeedableRng;
use std::path::Path;

/// `count` images of 8x8 of `classes` classes, each a gradient of its own brightness.
fn images(channels: usize, classes: usize, count: usize) -> Dataset {
    let len = channels * 64;
    let value = |i: usize| (i / len % classes * 40 + i % len * 2 + i / len % 7) as u8;
    let pixels = (0..count * len).map(value).collect();
    let names = (0..classes).map(|class| format!("class {class}")).collect();
    let labels = (0..count).map(|i| (i % classes) as u32).collect();
    Dataset::new("mine", Geometry::new(channels, 8, 8), names, pixels, labels).unwrap()
}

fn small(config: &mut TrainConfig) {
    config.network.width = 8;
    config.network.blocks = vec![1];
    config.schedule.batch = 8;
    config.schedule.steps = Some(12);
    config.eval.every = Some(5);
    config.eval.limit = 6;
    config.eval.sigmas = vec![0.2];
}

fn builder() -> TrainerBuilder {
    Trainer::builder().data(images(1, 3, 40)).configure(small)
}

/// `gelu(W u)` with two heads.
#[derive(Module, Debug)]
struct Tiny {
    first: Linear,
    class_head: Linear,
    energy_head: Linear,
}

impl Tiny {
    fn new(classes: usize, device: &Device, seed: u64) -> Self {
        let rng = &mut rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        Self {
            first: Linear::new([64, 16], true, device, rng),
            class_head: Linear::new([16, classes], true, device, rng),
            energy_head: Linear::new([16, 1], false, device, rng),
        }
    }
}

impl EnergyNetwork for Tiny {
    type Tape = Tensor<2>;

    fn forward(&self, u: &Tensor<4>, _: &Tensor<1>) -> (Outputs, Self::Tape) {
        let hidden = self.first.forward(&u.clone().reshape([u.dims()[0] as i32, -1]));
        let features = ops::gelu(&hidden);
        let energy = self.energy_head.forward(&features).squeeze_dim::<1>(1);
        (Outputs { logits: self.class_head.forward(&features), energy }, hidden)
    }

    fn adjoint(&self, hidden: &Self::Tape, g: &Outputs) -> Tensor<4> {
        let energy = g.energy.clone().unsqueeze_dim::<2>(1);
        let features = self.class_head.adjoint(&g.logits) + self.energy_head.adjoint(&energy);
        let u = self.first.adjoint(&ops::gelu_adjoint(hidden, &features));
        u.reshape([-1, 8, 8, 1])
    }

    fn is_blind(&self) -> bool {
        false
    }

    fn classes(&self) -> usize {
        self.class_head.weight.dims()[0]
    }
}

/// Stops after a step.
fn stop_at(step: f64) -> impl Monitor {
    let reached = std::rc::Rc::new(std::cell::Cell::new(false));
    let seen = reached.clone();
    let watch = move |p: &Progress<'_>| seen.set(p.value("step") == Some(step) || seen.get());
    monitor(watch, move || reached.get())
}

fn bytes(checkpoint: &Checkpoint) -> Vec<u8> {
    checkpoint.to_bytes().unwrap()
}

#[test]
fn a_folder_changes_nothing_in_the_model_and_holds_what_is_returned() {
    let dir = tempfile::tempdir().unwrap();
    let alone = builder().build().unwrap().train().unwrap();
    let out = dir.path().join("run");
    let written = builder().out(&out).build().unwrap().train().unwrap();
    assert!(bytes(&alone.checkpoint) == bytes(&written.checkpoint));
    assert!(bytes(&alone.checkpoint) == std::fs::read(out.join("model.safetensors")).unwrap());
    assert_eq!(alone.finish.rows, written.finish.rows);
    assert_eq!(alone.finish.best, written.finish.best);
    assert!(alone.finish.best.is_some() && alone.finish.rows.len() == 1);
    assert_eq!(params::collect(&alone.model), alone.checkpoint.params);
    // A finished run is resumed to what it is.
    let again = builder().out(&out).resume(true).build().unwrap().train().unwrap();
    assert!(bytes(&again.checkpoint) == bytes(&alone.checkpoint));
    let error = builder().out(&out).build().unwrap().train().unwrap_err();
    assert!(matches!(error, TrainError::Exists(_)), "{error}");
}

#[test]
fn bad_calls_are_errors() {
    let wrong = |builder: TrainerBuilder| builder.build().err().expect("an error").to_string();
    for (builder, expected) in [
        (
            builder().configure(|c| c.schedule.steps = Some(0)),
            "schedule.steps is 0, expected at least 1",
        ),
        (builder().configure(|c| c.schedule.batch = 0), "schedule.batch is 0"),
        (builder().configure(|c| c.network.width = 0), "width is 0"),
        (builder().configure(|c| c.optimizer.freeze = vec![String::new()]), "optimizer.freeze"),
        (
            builder().configure(|c| c.optimizer.lr_factors = [("stem".to_owned(), 0.0)].into()),
            "optimizer.lr_factors is {\"stem\": 0.0}, expected names",
        ),
        (builder().resume(true), "no folder"),
        (builder().test(images(3, 3, 8)), "(1, 8, 8)"),
        (builder().test(images(1, 2, 8)), "has the classes"),
        (Trainer::builder().test(images(1, 2, 8)), "test() without data()"),
        (builder().data(images(1, 1, 1)), "held out"),
        (
            Trainer::builder().configure(|c| c.data.train = "nowhere/at/all".into()),
            "nowhere/at/all",
        ),
        (Trainer::builder().configure(|c| c.network.kind = crate::model::Kind::Custom), "custom"),
    ] {
        let error = wrong(builder);
        assert!(error.contains(expected) && error.lines().count() == 1, "{expected}: {error}");
    }
    // A set of one brightness has no deviation to divide by.
    let flat = Dataset::new(
        "flat",
        Geometry::new(1, 2, 2),
        vec!["a".into(), "b".into()],
        vec![7; 80],
        vec![0; 20],
    );
    assert!(wrong(Trainer::builder().data(flat.unwrap())).contains("standard deviation"));
    let dir = tempfile::tempdir().unwrap();
    let error = builder().out(dir.path()).resume(true).build().unwrap().train().unwrap_err();
    assert!(matches!(error, TrainError::NothingToResume(_)), "{error}");
    for (freeze, expected) in [("stage", "no parameter is called stage or begins so"), ("", "")] {
        let prefixes = match freeze {
            "" => vec!["stem", "stages", "class_head", "energy_head", "embedding"],
            one => vec![one],
        };
        let prefixes: Vec<String> = prefixes.into_iter().map(str::to_owned).collect();
        let trainer = builder().configure(|c| c.optimizer.freeze = prefixes).build().unwrap();
        let error = trainer.train().unwrap_err().to_string();
        assert!(error.contains("optimizer.freeze") && error.contains(expected), "{error}");
    }
    let factors = [("stage".to_owned(), 0.5)];
    let trainer = builder().configure(|c| c.optimizer.lr_factors = factors.into()).build().unwrap();
    let error = trainer.train().unwrap_err().to_string();
    assert!(error.contains("optimizer.lr_factors: no parameter is called stage"), "{error}");
    let other = builder().network(|device, seed| Tiny::new(5, device, seed)).build();
    let error = other.err().expect("other classes").to_string();
    assert!(error.contains("the network has 5 classes, the data has 3"), "{error}");
}

fn train_own(
    out: Option<&Path>,
    resume: bool,
    monitor: &mut dyn Monitor,
) -> Trained<crate::model::JointModel<Tiny>> {
    let mut own = builder().network(|device, seed| Tiny::new(3, device, seed)).resume(resume);
    if let Some(out) = out {
        own = own.out(out);
    }
    own.build().unwrap().train_with(monitor).unwrap()
}

/// A network of one's own has all that ours have: evaluation, checkpoints, and resuming to the same
/// bits.
#[test]
fn a_network_of_ones_own_is_trained_and_resumed_bit_by_bit() {
    let dir = tempfile::tempdir().unwrap();
    let [whole, parts] = ["whole", "parts"].map(|name| dir.path().join(name));
    let trained = train_own(Some(&whole), false, &mut ());
    assert!(trained.finish.complete && trained.finish.rows[0].accuracy.is_some());
    assert!(trained.finish.rows[0].psnr > Some(5.0), "{:?}", trained.finish.rows);
    let stopped = train_own(Some(&parts), false, &mut stop_at(7.0));
    assert_eq!((stopped.finish.complete, stopped.finish.steps), (false, 7));
    let resumed = train_own(Some(&parts), true, &mut ());
    assert!(resumed.finish.complete);
    let file = |dir: &Path, name: &str| std::fs::read(dir.join(name)).unwrap();
    for name in [
        "model.safetensors",
        "best.safetensors",
        "checkpoints/step-00000012.safetensors",
        "samples.png",
    ] {
        assert!(file(&whole, name) == file(&parts, name), "{name}");
    }
    let alone = train_own(None, false, &mut ());
    assert!(bytes(&alone.checkpoint) == file(&whole, "model.safetensors"));
    // The file says what it is, is read by its author, and by nobody else.
    let path = whole.join("model.safetensors");
    let checkpoint = Checkpoint::load(&path).unwrap();
    assert_eq!(checkpoint.info.network.to_string(), "custom, Tiny, conditioned on noise");
    let error = checkpoint.model(&Device::flex(), &path).err().unwrap().to_string();
    assert!(error.contains("Tiny is a network of its author's own"), "{error}");
    let net = params::assign(Tiny::new(3, &Device::flex(), 9), checkpoint.params.clone()).unwrap();
    assert_eq!(params::collect(&net), checkpoint.params);
}

#[test]
fn the_monitor_sees_steps_and_evaluations_and_stops() {
    let mut seen = Vec::new();
    let trainer = builder().build().unwrap();
    trainer.train_with(&mut |p: &Progress<'_>| seen.push((p.task.to_owned(), p.share))).unwrap();
    let steps: Vec<f64> =
        seen.iter().filter(|(task, _)| task == "training").map(|(_, share)| *share).collect();
    assert_eq!((steps.len(), steps[11]), (12, 1.0));
    assert_eq!(
        seen.iter().filter(|(task, share)| task == "evaluation" && *share == 1.0).count(),
        3
    );
    let stopped = trainer.train_with(&mut stop_at(3.0)).unwrap();
    assert_eq!((stopped.finish.steps, stopped.checkpoint.info.training.steps), (3, 3));
}

#[test]
fn fine_tuning_takes_the_network_over_and_keeps_what_is_frozen() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("start.safetensors");
    let start = builder().build().unwrap().train().unwrap().checkpoint;
    start.save(&path).unwrap();
    let init = path.display().to_string();
    // The network is the model's where nothing is said of it; classes and size are the data's.
    let load = |settings: &[&str]| {
        let settings: Vec<String> = settings.iter().map(|s| (*s).to_owned()).collect();
        TrainConfig::load(None, &[&[format!("init={init}")], &settings[..]].concat()).unwrap()
    };
    assert_eq!((load(&[]).network.width, load(&[]).network.blocks), (8, vec![1]));
    assert_eq!(load(&["network.width=16"]).network.width, 16);
    assert_eq!(load(&["network.kind=unet"]).network.width, TrainConfig::default().network.width);
    let mut config = load(&["schedule.steps=6", "schedule.batch=8", "eval.limit=4"]);
    config.optimizer.freeze = vec!["stem".to_owned(), "stages.0".to_owned()];
    let set: Images = images(1, 5, 30).into();
    let tuned =
        Trainer::builder().config(config.clone()).data(set).build().unwrap().train().unwrap();
    let (before, after) = (&start.params, &tuned.checkpoint.params);
    let mut frozen = 0;
    for (name, value) in after {
        match name.starts_with("stem.") || name.starts_with("stages.0.") {
            true => {
                frozen += 1;
                assert_eq!(value, &before[name], "{name}: frozen");
            }
            false => assert_ne!(Some(value), before.get(name), "{name}: learned"),
        }
    }
    assert!(frozen > 3 && frozen < after.len(), "{frozen} of {}", after.len());
    assert_eq!(after["class_head.weight"].shape()[0], 5);
    // As many classes of other names: the head is not theirs.
    let renamed = |name: &str| {
        let data = images(1, 3, 40);
        let names = (0..3).map(|class| format!("{name} {class}")).collect();
        let shape = Geometry::new(1, 8, 8);
        Dataset::new("renamed", shape, names, data.pixels().to_vec(), data.labels().to_vec())
            .unwrap()
    };
    let first_step = |data: Dataset| {
        let mut config = TrainConfig { ..config.clone() };
        config.optimizer.lr = 1e-12;
        config.schedule.steps = Some(1);
        let trained =
            Trainer::builder().config(config).data(data).build().unwrap().train().unwrap();
        trained.checkpoint.params["class_head.weight"].try_to_vec::<f32>().unwrap()
    };
    let head = start.params["class_head.weight"].try_to_vec::<f32>().unwrap();
    let distance = |a: &[f32]| a.iter().zip(&head).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(distance(&first_step(renamed("class"))) < 1e-6, "the same classes keep their head");
    assert!(distance(&first_step(renamed("other"))) > 1e-2, "other classes start anew");
}

/// Colour images in folders are flipped and cropped where nothing is said; the run's folder holds
/// what was decided, and goes on with it.
#[test]
fn augmentation_is_decided_once_by_the_data() {
    let dir = tempfile::tempdir().unwrap();
    let folder = |name: &str, colour: bool| {
        let path = dir.path().join(name);
        for i in 0..24u8 {
            let class = path.join(format!("class {}", i % 2));
            std::fs::create_dir_all(&class).unwrap();
            let file = class.join(format!("{i:02}.png"));
            let value = |x: u32, y: u32, c: u32| (x * 9 + y * 5 + c * 30) as u8 + i;
            if colour {
                image::RgbImage::from_fn(16, 16, |x, y| {
                    image::Rgb([0, 1, 2].map(|c| value(x, y, c)))
                })
                .save(file)
                .unwrap();
            } else {
                image::GrayImage::from_fn(16, 16, |x, y| image::Luma([value(x, y, 0)]))
                    .save(file)
                    .unwrap();
            }
        }
        path.display().to_string()
    };
    let config = |train: &str, settings: &[&str]| {
        let own = [
            "network.width=8",
            "network.blocks=[1]",
            "schedule.steps=2",
            "schedule.batch=8",
            "eval.limit=2",
        ];
        let train = format!("data.train={train}");
        let settings = own.iter().chain(settings).map(|s| (*s).to_owned());
        TrainConfig::load(None, &settings.chain([train]).collect::<Vec<_>>()).unwrap()
    };
    let (colour, grey) = (folder("colour", true), folder("grey", false));
    let augment = |config: &TrainConfig| {
        let trainer = Trainer::new(config.clone(), &Device::flex()).unwrap();
        let augment = trainer.config().augment.augment();
        (augment.flip, augment.crop)
    };
    assert_eq!(augment(&config(&colour, &[])), (true, 2));
    assert_eq!(augment(&config(&colour, &["augment.flip=false"])), (false, 0));
    assert_eq!(augment(&config(&colour, &["augment.crop=1"])), (false, 1));
    assert_eq!(augment(&config(&grey, &[])), (false, 0));
    assert_eq!(augment(&config("digits", &[])), (false, 0));
    // The folder holds the decision.
    let out = dir.path().join("run");
    let auto = config(&colour, &[]);
    Trainer::new(auto.clone(), &Device::flex()).unwrap().run(&out, false, &mut Quiet).unwrap();
    let written = out.join("config.toml");
    let text = std::fs::read_to_string(&written).unwrap();
    assert!(text.contains("flip = true\ncrop = 2\npadding = \"reflect\""), "{text}");
    // A run of an earlier version wrote what it did: no flips. It goes on so, also by the recipe.
    let old = text.replace(
        "flip = true\ncrop = 2\npadding = \"reflect\"",
        "flip = false\ncrop = 0\npadding = \"zero\"",
    );
    std::fs::write(&written, &old).unwrap();
    let mut more = auto.clone();
    more.schedule.steps = Some(3);
    Trainer::new(more, &Device::flex()).unwrap().run(&out, true, &mut Quiet).unwrap();
    let now = std::fs::read_to_string(&written).unwrap();
    assert!(now.contains("flip = false\ncrop = 0\npadding = \"zero\""), "{now}");
}

struct Quiet;
impl Monitor for Quiet {}
impl Observer for Quiet {}
