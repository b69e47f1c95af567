//! Every kind of model, trained briefly on the digits: it learns, and an interrupted and resumed
//! run gives the same model as an uninterrupted one.

use miyasawa::{
    Device,
    progress::Monitor,
    train::{Finish, Observer, StepReport, TrainConfig, Trainer},
};
use std::path::Path;

/// Records losses, and stops after step `stop_at`.
#[derive(Default)]
struct Watch {
    losses: Vec<f64>,
    stop_at: Option<u64>,
    stop: bool,
}

impl Observer for Watch {
    fn step(&mut self, report: &StepReport, _: u64) {
        let stats = &report.stats;
        // The likelihood of JEM is a difference that hovers around 0.
        self.losses.push(if stats.energy_gap.is_some() { stats.ce } else { stats.loss });
        self.stop = self.stop_at == Some(report.step);
    }
}

impl Monitor for Watch {
    fn stop(&self) -> bool {
        self.stop
    }
}

fn train(settings: &[&str], out: &Path, resume: bool, stop_at: Option<u64>) -> (Finish, Vec<f64>) {
    let common = [
        "network.width=8",
        "network.blocks=[1,1]",
        "network.depth=4",
        "schedule.steps=40",
        "schedule.batch=64",
        "schedule.warmup=4",
        "eval.every=1000",
        "eval.sigmas=[0.2]",
        "data.limit=500",
        "jem.buffer=200",
        "jem.steps=4",
    ];
    let settings: Vec<String> = common.iter().chain(settings).map(|s| (*s).to_owned()).collect();
    let config = TrainConfig::load(None, &settings).unwrap();
    let trainer = Trainer::new(config, &Device::flex()).unwrap();
    let mut watch = Watch { stop_at, ..Watch::default() };
    let finish = trainer.run(out, resume, &mut watch).unwrap();
    (finish, watch.losses)
}

/// Trains without an interruption and in two parts.
fn check(settings: &[&str]) -> Finish {
    let dir = tempfile::tempdir().unwrap();
    let (uninterrupted, parts) = (dir.path().join("uninterrupted"), dir.path().join("parts"));
    let (finish, losses) = train(settings, &uninterrupted, false, None);
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    let (first, last) = (mean(&losses[..5]), mean(&losses[35..]));
    assert!(last < 0.95 * first, "{settings:?}: {first} {last}");
    let (stopped, _) = train(settings, &parts, false, Some(17));
    assert!(!stopped.complete && stopped.steps == 17);
    let (resumed, again) = train(settings, &parts, true, None);
    assert!(resumed.complete);
    assert_eq!(again, losses[17..], "{settings:?}");
    let model = |dir: &Path| std::fs::read(dir.join("model.safetensors")).unwrap();
    assert!(model(&uninterrupted) == model(&parts), "{settings:?}: another model");
    finish
}

#[test]
fn a_resnet_learns_and_resumes() {
    let finish =
        check(&["network.kind=resnet18", "schedule.micro_batch=20", "noise.min=0", "noise.max=0"]);
    let row = &finish.rows[0];
    assert!(row.accuracy > Some(0.15) && row.nll.is_some() && row.psnr.is_none(), "{row:?}");
}

#[test]
fn denoisers_learn_and_resume() {
    for more in [
        &["network.kind=dncnn"][..],
        &["network.kind=dncnn", "network.bias_free=true", "network.conditioned=true"],
        &["network.kind=unet"],
        &["network.kind=unet", "network.bias_free=false", "network.conditioned=false"],
    ] {
        let row = &check(more).rows[0];
        assert!(row.accuracy.is_none() && row.psnr > Some(10.0), "{more:?}: {row:?}");
    }
}

#[test]
fn jem_learns_and_resumes_with_its_buffer() {
    let jem = ["network.blind=true", "loss.objective=jem", "noise.min=0.03", "noise.max=0.03"];
    let row = &check(&jem).rows[0];
    assert!(row.accuracy.is_some() && row.psnr.is_none(), "{row:?}");
}

#[test]
fn a_denoiser_of_one_class_learns_from_patches() {
    let settings =
        ["loss.ce_weight=0", "data.unlabelled=true", "augment.patch=6", "augment.flip=true"];
    let row = &check(&settings).rows[0];
    assert!(row.accuracy.is_none() && row.psnr > Some(10.0), "{row:?}");
}

#[test]
fn images_for_the_cross_entropy_alone_are_learned_from_and_resumed() {
    let own = ["classification.batch=32", "classification.cutout=2", "classification.affine=0.3"];
    let row = &check(&own).rows[0];
    assert!(row.accuracy > Some(0.15) && row.psnr > Some(10.0), "{row:?}");
}

#[cfg(feature = "robustness")]
#[test]
fn attacked_images_are_learned_from_and_resumed() {
    let own = ["classification.batch=32", "adversarial.steps=2", "loss.ce_weight=0"];
    check(&own);
    let plain = ["network.kind=resnet18", "schedule.micro_batch=20", "noise.min=0", "noise.max=0"];
    check(
        &[&plain[..], &["adversarial.steps=2", "adversarial.norm=linf", "adversarial.eps=0.03"]]
            .concat(),
    );
}

#[test]
fn batch_normalisation_is_learned_with_frozen_and_resumed() {
    for more in ["schedule.freeze_norms=0.3", "schedule.freeze_norms=1"] {
        let row = &check(&["network.norm=batch", "classification.batch=64", more]).rows[0];
        assert!(row.accuracy > Some(0.15) && row.psnr > Some(10.0), "{more}: {row:?}");
    }
}
