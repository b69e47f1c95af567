//! Fine-tuning: training that starts from the parameters of a trained model, some of which may
//! stay.

use super::{
    config::{OptimizerConfig, is_part},
    error::TrainError,
    growth::{grown, grows},
};
use crate::bundled::BundledModel;
use crate::checkpoint::{Checkpoint, CheckpointError, ModelInfo};
use crate::model::{Architecture, params};
use burn::module::Module;
use std::path::Path;

/// The name of the default among the bundled models; the others have names of their own.
const BUNDLED: &str = "bundled";

/// The checkpoint that a run starts from.
pub(super) fn load(init: &str) -> Result<Checkpoint, CheckpointError> {
    let bundled = if init == BUNDLED { Some(BundledModel::default()) } else { init.parse().ok() };
    match bundled {
        Some(model) => Ok(model.checkpoint()?.0),
        None => Checkpoint::load(Path::new(init)),
    }
}

/// What `[network]` says of a network with these parameters, by key.
pub(super) fn network_keys(network: &Architecture) -> toml::Table {
    let value = toml::Value::try_from(network).ok();
    let mut table = value.and_then(|value| value.as_table().cloned()).unwrap_or_default();
    for key in ["channels", "classes", "operands", "name"] {
        table.remove(key);
    }
    table
}

/// `model`, which `info` describes, with the parameters of the checkpoint `init` wherever name and
/// shape agree; others stay random and are named once. The head of a classifier is taken over only
/// where the classes are the same. A joint model that is only wider or has further stages starts as
/// the same function ([`growth`](super::growth)).
pub(super) fn start_from<M: Module>(
    model: M,
    info: &ModelInfo,
    init: &str,
) -> Result<M, TrainError> {
    let checkpoint = load(init)?;
    let (before, now) = (&checkpoint.info.data.classes, &info.data.classes);
    let head = info.network.class_head().filter(|_| before != now);
    let is_head = |name: &str| head.is_some_and(|head| name.starts_with(head));
    let growth = match (&checkpoint.info.network, &info.network) {
        (Architecture::GradResNet(before), Architecture::GradResNet(now)) => {
            grows(before, now).then_some((before, now))
        }
        _ => None,
    };
    let mut found = checkpoint.params;
    let mut values = params::collect(&model);
    let (total, mut random) = (values.len(), Vec::new());
    for (name, value) in &mut values {
        match (found.remove(name).filter(|_| !is_head(name)), growth) {
            (Some(found), _) if found.shape() == value.shape() => *value = found,
            (Some(found), Some((before, now))) => match grown(before, now, name, (&found, value)) {
                Some(grown) => *value = grown,
                None => random.push(name.clone()),
            },
            // Of a stage that is new, or a head of other classes.
            (None, Some(_)) if !is_head(name) => {}
            _ => random.push(name.clone()),
        }
    }
    if growth.is_some() {
        tracing::info!("init {init}: a larger network, which starts as the same function");
    }
    if random.len() == total {
        return Err(TrainError::NothingToStartFrom(init.to_owned()));
    }
    if let Some(example) = random.first() {
        if random.iter().all(|name| is_head(name)) {
            let (before, now) = (before.len(), now.len());
            tracing::warn!(
                "init {init}: other classes ({before} there, {now} here): their head starts at \
                 random"
            );
        } else {
            let count = random.len();
            tracing::warn!(
                "init {init}: {count} of {total} parameters start at random, such as {example}"
            );
        }
    }
    Ok(params::assign(model, values)?)
}

/// Checks that the parameters that the settings name are the model's, and that some are left to
/// learn.
pub(super) fn check_names(config: &OptimizerConfig, model: &impl Module) -> Result<(), TrainError> {
    let (freeze, factors) = (&config.freeze, &config.lr_factors);
    if freeze.is_empty() && factors.is_empty() {
        return Ok(());
    }
    let params = params::collect(model);
    let is_unknown = |prefix: &&String| !params.keys().any(|name| is_part(name, prefix));
    let unknown = [
        ("freeze", freeze.iter().find(is_unknown)),
        ("lr_factors", factors.keys().find(is_unknown)),
    ];
    if let Some((key, prefix)) = unknown.into_iter().find_map(|(k, p)| Some((k, p?))) {
        let mut begin: Vec<&str> =
            params.keys().filter_map(|name| name.split('.').next()).collect();
        begin.dedup();
        let begin = begin.join(", ");
        return Err(TrainError::Parameters(format!(
            "optimizer.{key}: no parameter is called {prefix} or begins so; they begin with {begin}"
        )));
    }
    if params.keys().all(|name| config.is_frozen(name)) {
        return Err(TrainError::Parameters(
            "optimizer.freeze: no parameter is left to learn".to_owned(),
        ));
    }
    Ok(())
}
