//! Whether a checkpoint is of the run that is to go on.

use super::{TrainError, Trainer};
use crate::checkpoint::DataInfo;
use crate::train::{
    config::{AugmentConfig, TrainConfig},
    learner::Learner,
    state::TrainState,
};
use std::{collections::BTreeMap, path::Path};

/// Keys that may change while a run goes on without changing what it learns.
const FREE: [&str; 7] = [
    "eval.",
    "checkpoint.",
    "data.assume",
    "data.workers",
    "data.prefetch",
    "data.stream",
    "divergence.max_rollbacks",
];

/// The augmentation that the run in a folder began with; none where its configuration is not there,
/// as every version writes it, or cannot be read.
pub(super) fn augment_of(out: &Path) -> Option<AugmentConfig> {
    let text = std::fs::read_to_string(out.join("config.toml")).ok()?;
    let table: toml::Table = text.parse().ok()?;
    let augment = table.try_into::<TrainConfig>().ok()?.augment;
    (!augment.is_auto()).then_some(augment)
}

/// Checks that the images are of the checkpoint's kind.
///
/// # Errors
/// If they are not.
pub(super) fn check_images<M: Learner>(
    trainer: &Trainer<M>,
    state: &TrainState,
) -> Result<(), TrainError> {
    let (found, saved) = (&trainer.info.data, &state.info.data);
    if (found.channels, found.height, found.width, &found.classes)
        != (saved.channels, saved.height, saved.width, &saved.classes)
    {
        return Err(TrainError::Mismatch(format!(
            "{}: {}x{}x{} and {} classes, the run so far had {}x{}x{} and {} classes, or others",
            found.name,
            found.channels,
            found.height,
            found.width,
            found.classes.len(),
            saved.channels,
            saved.height,
            saved.width,
            saved.classes.len()
        )));
    }
    Ok(())
}

/// The value in a checkpoint instead of a digest once images that are held out now may have been
/// trained on before. It is the digest of no set, so that all of the set is measured, with a
/// warning every time.
const TRAINED_ON: &str = "changed";

/// The digest of the set that a tenth is held out of, where that tenth was held out from the
/// beginning; else [`TRAINED_ON`]. Nothing if there was another set to test on all the time.
pub(super) fn held_out_of<M: Learner>(trainer: &Trainer<M>, state: &TrainState) -> Option<String> {
    let (found, saved) = (&trainer.info.data, &state.info.data);
    match (&saved.held_out_of, &found.held_out_of) {
        (None, None) => return None,
        (Some(before), Some(now)) if before == now => return Some(now.clone()),
        // Earlier versions do not say; the same images were divided in the same way.
        (None, Some(now)) if tested_on_its_own(state, &found.name) && same_images(found, saved) => {
            return Some(now.clone());
        }
        (_, Some(_)) => tracing::warn!(
            "{}: has changed: images held out now may have been trained on before; all of the set \
             will be measured, with a warning each time",
            found.name
        ),
        (Some(_), None) => tracing::warn!(
            "{}: was one set of which a tenth was held out: what is tested on now may have been \
             trained on before",
            found.name
        ),
    }
    Some(TRAINED_ON.to_owned())
}

/// Whether the run so far had no set to test on besides the one it learned from, which was called
/// the same.
fn tested_on_its_own(state: &TrainState, name: &str) -> bool {
    let config = state.config.parse::<toml::Table>().unwrap_or_default();
    let data = |key| config.get("data").and_then(|data| data.get(key));
    data("test").is_none() && data("train").and_then(|train| train.as_str()) == Some(name)
}

fn same_images(found: &DataInfo, saved: &DataInfo) -> bool {
    (found.mean - saved.mean).abs() <= 1e-6 && (found.std - saved.std).abs() <= 1e-6
}

/// Warns of changed images and of a changed configuration, which is what was asked for.
pub(super) fn warn_of_changes<M: Learner>(trainer: &Trainer<M>, state: &TrainState) {
    let (found, saved) = (&trainer.info.data, &state.info.data);
    if !same_images(found, saved) {
        tracing::warn!(
            "{}: mean {:.6} and standard deviation {:.6}, the run so far had {:.6} and {:.6}, and \
             keeps them: other images, or another sample of a stream",
            found.name,
            found.mean,
            found.std,
            saved.mean,
            saved.std
        );
    }
    let now = trainer.config.to_toml().unwrap_or_default();
    for (key, [before, after]) in changes(&state.config, &now) {
        if !FREE.iter().any(|free| key.starts_with(free)) {
            tracing::warn!(
                "{key} is {after}, the run so far had {before}: from here on it is another run"
            );
        }
    }
}

/// The keys whose values differ; none where the earlier configuration is not known.
fn changes(before: &str, after: &str) -> BTreeMap<String, [String; 2]> {
    let mut values: BTreeMap<String, [String; 2]> = BTreeMap::new();
    let (Ok(before), Ok(after)) = (before.parse(), after.parse()) else { return values };
    for (side, table) in [&before, &after].into_iter().enumerate() {
        flatten("", table, &mut |key, value| {
            values.entry(key).or_insert(["left out", "left out"].map(str::to_owned))[side] = value;
        });
    }
    let known = !before.is_empty();
    values.retain(|_, [before, after]| known && before != after);
    values
}

fn flatten(prefix: &str, table: &toml::Table, each: &mut dyn FnMut(String, String)) {
    for (key, value) in table {
        match value {
            toml::Value::Table(table) => flatten(&format!("{prefix}{key}."), table, each),
            value => each(format!("{prefix}{key}"), value.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_keys_are_named() {
        let found =
            changes("seed = 1\n[a]\nb = 2\nc = 0.5", "seed = 1\n[a]\nb = 3\n[d]\ne = \"x\"");
        let found: Vec<_> = found.iter().map(|(key, [b, a])| format!("{key}: {b} {a}")).collect();
        assert_eq!(found, ["a.b: 2 3", "a.c: 0.5 left out", "d.e: left out \"x\""]);
        assert!(changes("", "seed = 1").is_empty());
    }
}
