//! Configurations read, written, and refused.

use super::*;

fn load(settings: &[&str]) -> Result<TrainConfig, ConfigError> {
    TrainConfig::load(None, &settings.iter().map(|s| s.to_string()).collect::<Vec<_>>())
}

#[test]
fn settings_reach_their_keys_with_their_types() {
    let config = load(&[
        "seed=7",
        "network.blocks=[1, 2]",
        "loss.dsm=both",
        "optimizer.name=sgd",
        "data.size=[32, 32]",
        "data.train=cifar10:/some/where",
        "schedule.steps=800",
    ])
    .unwrap();
    assert_eq!(config.seed, 7);
    assert_eq!(config.network.blocks, [1, 2]);
    assert_eq!(config.loss.dsm, DsmTarget::Both);
    assert_eq!(config.optimizer.name, OptimizerName::Sgd);
    assert_eq!(config.data.size, Some([32, 32]));
    assert_eq!(config.data.train, "cifar10:/some/where");
    assert_eq!(config.schedule.steps, Some(800));
}

#[test]
fn a_written_configuration_reads_back_as_it_was() {
    let settings = ["noise.share_at_min=0.25", "augment.flip=true", "schedule.epochs=3.5"];
    for log in [false, true] {
        let logged = format!("log.tensorboard={log}");
        let config = load(&[&settings[..], &[&logged]].concat()).unwrap();
        let table: toml::Table = config.to_toml().unwrap().parse().unwrap();
        // A section that was added later: runs without it are described as they always were.
        assert_eq!(table.contains_key("log"), log);
        assert_eq!(table.try_into::<TrainConfig>().unwrap(), config);
    }
}

#[test]
fn wrong_calls_say_the_key() {
    for (setting, expected) in [
        ("netwrk.width=8", "netwrk"),
        ("network.widht=8", "widht"),
        ("network.width=wide", "invalid type"),
        ("seed", "expected key=value"),
        ("=3", "the key is empty"),
        ("seed.x=3", "invalid type"),
        ("noise.min=0", "noise.min is 0.0, expected 1e-6 to 1e6"),
        ("noise.min=1e-30", "noise.min is 1e-30"),
        ("noise.log_std=inf", "noise.log_std is inf"),
        ("noise.log_mean=nan", "noise.log_mean is NaN"),
        ("optimizer.epsilon=-1", "optimizer.epsilon is -1"),
        ("jem.buffer=1000000000000", "jem.buffer is 1000000000000"),
        ("loss.ce_weight=inf", "loss.ce_weight is inf"),
        ("optimizer.weight_decay=inf", "optimizer.weight_decay is inf"),
        ("schedule.epochs=inf", "schedule.epochs is inf"),
        (
            "data.size=[100000,100000]",
            "data.size is [100000, 100000], expected 1 to 100 million pixels",
        ),
        ("data.workers=0", "data.workers is 0, expected"),
        ("noise.max=0.01", "noise.max"),
        ("optimizer.lr=-1", "optimizer.lr is -1.0"),
        ("schedule.batch=0", "schedule.batch"),
        ("optimizer.ema=1.0", "optimizer.ema"),
        ("network.kind=vit", "vit"),
        ("network.conditioned=true", "network.conditioned"),
        ("loss.objective=jem", "loss.objective is Jem"),
        ("augment.patch=16", "augment.patch"),
        ("adversarial.steps=3", "adversarial.steps is 3, expected 0, except with"),
        ("adversarial.eps=0", "adversarial.eps is 0.0"),
        ("classification.max_noise=2", "classification.max_noise is 2.0, expected noise.min to"),
        ("classification.affine=2", "classification.affine is 2.0, expected 0 to 1"),
        ("classification.resized_crop=[0.5,0.1]", "classification.resized_crop is [0.5, 0.1]"),
    ] {
        let error = load(&[setting]).unwrap_err().to_string();
        assert!(error.contains(expected), "{setting}: {error}");
        assert_eq!(error.lines().count(), 1, "{setting}: {error}");
    }
}
