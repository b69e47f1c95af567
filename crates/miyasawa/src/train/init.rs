//! Training that starts from the parameters of a trained model.

use super::run::TrainError;
use crate::bundled;
use crate::checkpoint::Checkpoint;
use crate::model::{Model, params};
use std::path::Path;

/// The name of the model inside the program.
const BUNDLED: &str = "bundled";

/// `model` with the parameters of the checkpoint `init` wherever name and shape agree: others, such as the
/// head of a model of other classes, stay random and are named.
pub(super) fn start_from(model: Model, init: &str) -> Result<Model, TrainError> {
    let checkpoint =
        if init == BUNDLED { bundled::checkpoint()?.0 } else { Checkpoint::load(Path::new(init))? };
    let mut given = checkpoint.params;
    let mut values = params::collect(&model);
    let (total, mut random) = (values.len(), Vec::new());
    for (name, value) in &mut values {
        match given.remove(name) {
            Some(found) if found.shape() == value.shape() => *value = found,
            _ => random.push(name.clone()),
        }
    }
    if random.len() == total {
        return Err(TrainError::NothingToStartFrom(init.to_owned()));
    }
    if let Some(example) = random.first() {
        let count = random.len();
        tracing::warn!("init {init}: {count} of {total} parameters start at random, such as {example}");
    }
    Ok(params::assign(model, values)?)
}
