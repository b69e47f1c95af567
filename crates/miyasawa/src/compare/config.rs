//! The configuration of a comparison: a TOML file.

use crate::attack::Norm;
use crate::model::NOISE_LEVELS;
use crate::train::{
    TrainConfig,
    config::{ConfigError, parse_error, set},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// Models, seeds and one budget.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompareConfig {
    /// Seeds: one run of every model for each.
    #[serde(default = "default_seeds")]
    pub seeds: Vec<u64>,
    /// How long every model is trained.
    pub budget: Budget,
    /// How models are measured.
    #[serde(default)]
    pub eval: CompareEval,
    /// How models are attacked.
    #[serde(default)]
    pub attack: CompareAttack,
    /// The common settings of all models: a configuration as `train` reads it.
    #[serde(default)]
    pub base: toml::Table,
    /// The models.
    pub models: Vec<ModelEntry>,
}

/// Images, minutes, or whichever of both ends a training first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Budget {
    /// Images that every model sees, with repetitions.
    pub images: Option<u64>,
    /// Minutes of training for every model, or with `images` the upper limit; the speed is measured
    /// first.
    pub minutes: Option<f64>,
}

/// How models are measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CompareEval {
    /// Noise levels, in units of the [-1, 1] range.
    pub sigmas: Vec<f64>,
    /// Images, evenly spaced over the test set; all if left out.
    pub limit: Option<usize>,
}

impl Default for CompareEval {
    fn default() -> Self {
        Self { sigmas: vec![0.02, 0.1, 0.2, 0.4, 1.0], limit: None }
    }
}

/// How models are attacked: projected gradient descent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CompareAttack {
    /// How changes are measured.
    pub norm: Norm,
    /// Sizes, in units of the [0, 1] range.
    pub eps: Vec<f64>,
    /// Gradient steps.
    pub steps: usize,
    /// Images that are attacked; 0 for none.
    pub count: usize,
}

impl Default for CompareAttack {
    fn default() -> Self {
        Self { norm: Norm::L2, eps: vec![0.0, 0.25, 0.5, 1.0], steps: 20, count: 200 }
    }
}

/// A model to train, or an existing checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelEntry {
    /// Its name in the report and of its folders: letters, digits, `.`, `_`, `-`.
    pub name: String,
    /// The settings that differ from the base.
    pub set: toml::Table,
    /// The model's own seeds instead of the comparison's.
    pub seeds: Option<Vec<u64>>,
    /// A checkpoint that is measured and not trained.
    pub checkpoint: Option<PathBuf>,
}

fn default_seeds() -> Vec<u64> {
    vec![0]
}

impl CompareConfig {
    /// Reads a file, applies `key=value` settings and checks the result.
    ///
    /// # Errors
    /// If the file cannot be read, a key is unknown, or a value is invalid.
    pub fn load(path: &Path, settings: &[String]) -> Result<Self, ConfigError> {
        let origin = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let mut table: toml::Table = text.parse().map_err(|e| parse_error(&origin, &e))?;
        for setting in settings {
            set(&mut table, setting)?;
        }
        let config: Self = table.try_into().map_err(|e| parse_error(&origin, &e))?;
        config.check()?;
        for key in ["steps", "epochs"] {
            let tables = config.models.iter().map(|entry| &entry.set).chain([&config.base]);
            if tables
                .into_iter()
                .any(|table| table.get("schedule").and_then(|s| s.get(key)).is_some())
            {
                tracing::warn!(
                    "{origin}: schedule.{key} is not used: the budget decides how long models are \
                     trained"
                );
            }
        }
        Ok(config)
    }

    /// Checks all values.
    ///
    /// # Errors
    /// The first invalid value, with its key and the expected values.
    pub fn check(&self) -> Result<(), ConfigError> {
        let wrong = |key, found: String, expected| Err(ConfigError::Value { key, found, expected });
        for seeds in
            self.models.iter().filter_map(|entry| entry.seeds.as_ref()).chain([&self.seeds])
        {
            if seeds.is_empty() || seeds.iter().collect::<BTreeSet<_>>().len() != seeds.len() {
                return wrong("seeds", format!("{seeds:?}"), "one or more different numbers");
            }
        }
        let budget = &self.budget;
        let valid = match (budget.images, budget.minutes) {
            (None, None) => false,
            (images, minutes) => {
                images.is_none_or(|i| i > 0) && minutes.is_none_or(|m| m > 0.0 && m.is_finite())
            }
        };
        if !valid {
            return wrong("budget", format!("{budget:?}"), "images or minutes, above 0");
        }
        let name = |entry: &ModelEntry| entry.name.clone();
        let names: BTreeSet<String> = self.models.iter().map(name).collect();
        let plain = |name: &String| {
            let known = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            !name.is_empty() && !name.starts_with('.') && name.chars().all(known)
        };
        if names.is_empty() || names.len() != self.models.len() || !names.iter().all(plain) {
            let found = format!("{:?}", self.models.iter().map(name).collect::<Vec<_>>());
            let expected =
                "one or more [[models]] with different names of letters, digits, '.', '_', '-'";
            return wrong("models", found, expected);
        }
        let sigmas = &self.eval.sigmas;
        let level = |s: &f64| *s == 0.0 || NOISE_LEVELS.contains(s);
        if sigmas.is_empty() || !sigmas.iter().all(level) || self.eval.limit == Some(0) {
            let expected =
                "noise levels from 1e-6 to 1e6 (or 0 for blind networks), a limit above 0";
            return wrong("eval", format!("{:?}", self.eval), expected);
        }
        let size = |eps: &f64| eps.is_finite() && *eps >= 0.0;
        if !self.attack.eps.iter().all(size) || self.attack.steps == 0 {
            return wrong(
                "attack",
                format!("{:?}", self.attack),
                "eps of 0 or more, at least 1 step",
            );
        }
        if self.attack.norm == Norm::Linf && self.attack.eps.iter().any(|eps| *eps > 1.0) {
            let found = format!("{:?} in linf", self.attack.eps);
            return wrong(
                "attack.eps",
                found,
                "at most 1, the range of a value: 8 of 255 is 0.0314",
            );
        }
        for entry in &self.models {
            self.train_config(entry, self.seeds[0], 1)?;
        }
        Ok(())
    }

    /// The seeds that a model is trained with.
    pub fn seeds_of<'a>(&'a self, entry: &'a ModelEntry) -> &'a [u64] {
        entry.seeds.as_ref().unwrap_or(&self.seeds)
    }

    /// The configuration of a model's run of `steps` steps.
    ///
    /// # Errors
    /// If a key is unknown or a value is invalid.
    pub fn train_config(
        &self,
        entry: &ModelEntry,
        seed: u64,
        steps: u64,
    ) -> Result<TrainConfig, ConfigError> {
        let mut table = self.base.clone();
        merge(&mut table, &entry.set);
        let origin = format!("model {}", entry.name);
        let mut config: TrainConfig = table.try_into().map_err(|e| parse_error(&origin, &e))?;
        config.seed = seed;
        config.schedule.steps = Some(steps);
        // The comparison measures all images itself.
        config.eval.all_at_end = false;
        let of_model =
            |source| ConfigError::Model { name: entry.name.clone(), source: Box::new(source) };
        config.check().map_err(of_model)?;
        Ok(config)
    }
}

/// Overwrites the values of `table` with those of `over`, key by key.
fn merge(table: &mut toml::Table, over: &toml::Table) {
    for (key, value) in over {
        match (table.get_mut(key), value) {
            (Some(toml::Value::Table(inner)), toml::Value::Table(over)) => merge(inner, over),
            _ => drop(table.insert(key.clone(), value.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, settings: &[&str]) -> Result<CompareConfig, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        std::fs::write(&path, text).unwrap();
        CompareConfig::load(&path, &settings.iter().map(|s| s.to_string()).collect::<Vec<_>>())
    }

    const GOOD: &str = "seeds = [1, 2]\n[budget]\nimages = 100\n[base.network]\nwidth = 8\n\
                        [[models]]\nname = \"a\"\n[[models]]\nname = \"b\"\n\
                        set = { network.kind = \"dncnn\" }\n";

    #[test]
    fn a_models_settings_override_the_base() {
        let config = load(GOOD, &["attack.count=7"]).unwrap();
        assert_eq!((config.attack.count, config.seeds.len()), (7, 2));
        let run_config = |k: usize| config.train_config(&config.models[k], 2, 9).unwrap();
        assert_eq!(
            (run_config(0).network.width, run_config(0).seed, run_config(0).schedule.steps),
            (8, 2, Some(9))
        );
        assert_eq!(run_config(1).network.kind.to_string(), "dncnn");
        assert_eq!(run_config(1).network.width, 8);
        let both = load(GOOD, &["budget.minutes=2", "models=[{name=\"a\", seeds=[5]}]"]).unwrap();
        assert_eq!((both.budget.images, both.budget.minutes), (Some(100), Some(2.0)));
        assert_eq!(
            (both.seeds_of(&both.models[0]), config.seeds_of(&config.models[0])),
            (&[5][..], &[1, 2][..])
        );
    }

    #[test]
    fn wrong_calls_say_the_key() {
        for (setting, expected) in [
            ("budget.minutes=-1", "budget"),
            ("budget.images=0", "budget"),
            ("budget={}", "budget"),
            ("models=[{name=\"a\", seeds=[]}]", "seeds"),
            ("seeds=[1, 1]", "seeds"),
            ("seeds=[]", "seeds"),
            ("models=[]", "models"),
            ("models=[{name=\"a/b\"}]", "models"),
            ("models=[{name=\"a\"}, {name=\"a\"}]", "models"),
            ("base.netwrk.width=3", "netwrk"),
            ("base.network.width=\"x\"", "model a"),
            ("base.noise.min=0", "model a: configuration: noise.min"),
            ("eval.sigmas=[-1]", "eval"),
            ("eval.sigmas=[1e-9]", "eval"),
            ("attack.norm=l7", "l7"),
            ("attack={norm=\"linf\", eps=[8]}", "attack.eps is [8.0] in linf, expected at most 1"),
            ("more=1", "more"),
        ] {
            let error = load(GOOD, &[setting]).unwrap_err().to_string();
            assert!(error.contains(expected), "{setting}: {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
}
