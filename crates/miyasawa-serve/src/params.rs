//! The parameters of a request: of its query, or the fields of its form.

use crate::error::ApiError;
use crate::models::{Model, Verb};
use miyasawa::image::Format;
use miyasawa::predictor::{Noise, Strength};
use std::path::PathBuf;

/// The most noise levels of one request.
const MOST_LEVELS: usize = 32;
/// The classes of a classification where a request does not say.
const TOP: usize = 5;

/// Parameters as text, each at most once.
#[derive(Debug, Default)]
pub(crate) struct Params {
    given: Vec<(&'static str, String)>,
}

/// The parameters of a task.
pub(crate) fn names(verb: Verb) -> &'static [&'static str] {
    match verb {
        Verb::Classify => &["model", "sigma", "top", "levels", "add_noise", "seed"],
        Verb::Denoise => &[
            "model",
            "sigma",
            "class",
            "strength",
            "luma",
            "chroma",
            "format",
            "quality",
            "add_noise",
            "seed",
            "before",
        ],
        Verb::Explain => &["model", "sigma", "class", "add_noise", "seed"],
    }
}

/// Noise that is added to an image first, to try a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Added {
    pub sigma: f64,
    pub seed: u64,
}

/// A task with its settings, checked against the model.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Task {
    Classify {
        noise: Noise,
        top: usize,
        /// Further levels that the model is conditioned on.
        levels: Vec<f64>,
    },
    Denoise(Denoise),
    Explain {
        class: usize,
        sigma: f64,
    },
}

/// How to denoise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Denoise {
    pub noise: Noise,
    pub class: Option<usize>,
    pub strength: Strength,
    /// That of the image unless one is given.
    pub format: Option<Format>,
    pub quality: Option<u8>,
    /// Whether the image before denoising is wanted too, as PNG.
    pub before: bool,
}

impl Params {
    /// Adds one; its name must be a parameter of the task, and new.
    pub fn add(&mut self, verb: Verb, name: &str, value: String) -> Result<(), ApiError> {
        let Some(known) = names(verb).iter().find(|known| **known == name) else {
            let expected = names(verb).join(", ");
            return Err(ApiError::UnknownParameter { found: name.to_owned(), expected });
        };
        if let Some(before) = self.get(known) {
            let expected = format!("it once; it was {before:?} before");
            return Err(ApiError::Parameter { name: known, found: value, expected });
        }
        self.given.push((known, value));
        Ok(())
    }

    /// Adds those of a query.
    pub fn add_query(&mut self, verb: Verb, query: &str) -> Result<(), ApiError> {
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        pairs.try_for_each(|(name, value)| self.add(verb, &name, value.into_owned()))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.given.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// The name of the model.
    pub fn model(&self) -> Option<&str> {
        self.get("model")
    }

    fn parsed<T>(
        &self,
        name: &'static str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        parse(text).map(Some).ok_or_else(|| ApiError::Parameter {
            name,
            found: text.to_owned(),
            expected: expected.to_owned(),
        })
    }

    fn number(&self, name: &'static str, [low, high]: [f64; 2]) -> Result<Option<f64>, ApiError> {
        let expected = format!("a number from {low} to {high}");
        let inside = |number: &f64| (low..=high).contains(number);
        self.parsed(name, &expected, |text| text.parse().ok().filter(inside))
    }

    fn integer(&self, name: &'static str, low: u64, high: u64) -> Result<Option<u64>, ApiError> {
        let expected = format!("an integer from {low} to {high}");
        let inside = |number: &u64| (low..=high).contains(number);
        self.parsed(name, &expected, |text| text.parse().ok().filter(inside))
    }

    fn noise(&self) -> Result<Option<Noise>, ApiError> {
        self.parsed("sigma", "a noise level, `auto` or `clean`", |text| match text {
            "auto" => Some(Noise::Estimate),
            "clean" => Some(Noise::Clean),
            text => text.parse().ok().map(Noise::Level),
        })
    }

    /// The noise that is added first.
    pub fn added(&self) -> Result<Option<Added>, ApiError> {
        let seed = self.integer("seed", 0, u64::MAX)?.unwrap_or(0);
        let sigma = self.number("add_noise", [0.0, miyasawa::predictor::MAX_NOISE])?;
        Ok(sigma.filter(|sigma| *sigma > 0.0).map(|sigma| Added { sigma, seed }))
    }

    fn class(&self, model: &Model) -> Result<Option<usize>, ApiError> {
        self.get("class").map(|text| Ok(model.predictor.class(text)?)).transpose()
    }

    /// The task that these parameters describe, for a model that does it.
    pub fn task(&self, verb: Verb, model: &Model) -> Result<Task, ApiError> {
        let predictor = &model.predictor;
        match verb {
            Verb::Classify => {
                let noise = self.noise()?.unwrap_or(Noise::Clean);
                if let Noise::Level(sigma) = noise {
                    predictor.level(sigma)?;
                }
                let levels = self.levels()?;
                levels.iter().try_for_each(|level| predictor.level(*level).map(drop))?;
                let top = self.integer("top", 1, u32::MAX.into())?.map_or(TOP, |top| top as usize);
                Ok(Task::Classify { noise, top, levels })
            }
            Verb::Denoise => {
                let noise = self.noise()?.unwrap_or(Noise::Estimate);
                if let Noise::Level(sigma) = noise {
                    predictor.denoised_level(sigma)?;
                }
                let class = self.class(model)?;
                if class.is_some() {
                    predictor.joint("denoise for a class")?;
                }
                let quality = self.integer("quality", 1, 100)?.map(|quality| quality as u8);
                let (strength, format, before) = (self.strength()?, self.format()?, self.before()?);
                Ok(Task::Denoise(Denoise { noise, class, strength, format, quality, before }))
            }
            Verb::Explain => {
                let sigma = match self.noise()? {
                    Some(Noise::Level(sigma)) => predictor.level(sigma)?,
                    None => miyasawa::predictor::EXPLAIN_SIGMA,
                    Some(_) => {
                        let found = self.get("sigma").unwrap_or_default().to_owned();
                        let expected = "a noise level".to_owned();
                        return Err(ApiError::Parameter { name: "sigma", found, expected });
                    }
                };
                let class = self.class(model)?.ok_or_else(|| ApiError::Parameter {
                    name: "class",
                    found: String::new(),
                    expected: format!("one of: {}", predictor.classes().join(", ")),
                })?;
                Ok(Task::Explain { class, sigma })
            }
        }
    }

    fn levels(&self) -> Result<Vec<f64>, ApiError> {
        let expected = format!("1 to {MOST_LEVELS} noise levels with commas between them");
        let parse = |text: &str| {
            let levels: Option<Vec<f64>> =
                text.split(',').map(|level| level.trim().parse().ok()).collect();
            levels.filter(|levels| levels.len() <= MOST_LEVELS)
        };
        Ok(self.parsed("levels", &expected, parse)?.unwrap_or_default())
    }

    fn strength(&self) -> Result<Strength, ApiError> {
        let range = [0.0, miyasawa::predictor::MAX_STRENGTH];
        let both = Strength::new(self.number("strength", range)?.unwrap_or(1.0));
        Ok(Strength {
            luma: self.number("luma", range)?.unwrap_or(both.luma),
            chroma: self.number("chroma", range)?.unwrap_or(both.chroma),
        })
    }

    fn format(&self) -> Result<Option<Format>, ApiError> {
        let expected = "same, png, jpeg, webp, tiff, bmp, qoi, pnm or exr";
        let parse = |text: &str| match text {
            "same" => Some(None),
            text => Format::of_name(&PathBuf::from(format!("image.{text}"))).map(Some),
        };
        Ok(self.parsed("format", expected, parse)?.flatten())
    }

    fn before(&self) -> Result<bool, ApiError> {
        Ok(self.parsed("before", "true or false", |text| text.parse().ok())?.unwrap_or(false))
    }
}
