//! The models of a server, by name.

use crate::error::{ApiError, ServeError};
use miyasawa::bundled::BundledModel;
use miyasawa::image::Geometry;
use miyasawa::predictor::{PredictError, Predictor};
use serde::Serialize;
use std::sync::Arc;

/// A model and its name in requests.
#[derive(Debug)]
pub(crate) struct Model {
    pub name: String,
    pub predictor: Predictor,
}

/// The models of a server. A request names one, or gets the first that does its task; to denoise,
/// the first that does nothing else comes before others.
///
/// ```
/// use miyasawa_serve::Models;
/// let models = Models::bundled()?;
/// assert_eq!(models.names().collect::<Vec<_>>(), ["cifar10", "photo"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Models {
    all: Vec<Arc<Model>>,
}

/// What a request asks of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Classify,
    Denoise,
    Explain,
}

impl Verb {
    pub const ALL: [Self; 3] = [Self::Classify, Self::Denoise, Self::Explain];

    pub fn name(self) -> &'static str {
        match self {
            Self::Classify => "classify",
            Self::Denoise => "denoise",
            Self::Explain => "explain",
        }
    }
}

impl Model {
    /// Checks that the model does this.
    pub fn require(&self, verb: Verb) -> Result<(), PredictError> {
        match verb {
            Verb::Classify => self.predictor.require_classifier(),
            Verb::Denoise => self.predictor.require_denoiser(),
            Verb::Explain => {
                self.predictor.require_classifier()?;
                self.predictor.require_denoiser()?;
                self.predictor.joint("explain").map(drop)
            }
        }
    }
}

impl Models {
    /// No models yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// All bundled models, under their names.
    ///
    /// # Errors
    /// As [`Predictor::from_bundled`].
    pub fn bundled() -> Result<Self, ServeOrPredict> {
        let mut models = Self::new();
        for model in BundledModel::ALL {
            models.add(model.name(), Predictor::from_bundled(model)?)?;
        }
        Ok(models)
    }

    /// Adds a model under a name.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// use miyasawa_serve::Models;
    /// let mut models = Models::new();
    /// models.add("mine", Predictor::bundled()?)?;
    /// assert!(models.add("mine", Predictor::bundled()?).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ServeError::Models`] if there is one of this name, or the name is empty.
    pub fn add(&mut self, name: &str, predictor: Predictor) -> Result<(), ServeError> {
        if name.is_empty() || self.names().any(|known| known == name) {
            let found = match name {
                "" => "a model without a name".to_owned(),
                name => format!("two models called {name:?}"),
            };
            return Err(ServeError::Models { found });
        }
        self.all.push(Arc::new(Model { name: name.to_owned(), predictor }));
        Ok(())
    }

    /// The names, in the order of the models.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.all.iter().map(|model| model.name.as_str())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The model of this name for a task, or the one that is taken where none is named.
    pub(crate) fn find(&self, name: Option<&str>, verb: Verb) -> Result<Arc<Model>, ApiError> {
        let found = match name {
            Some(name) => self.all.iter().find(|model| model.name == name).ok_or_else(|| {
                let expected = self.names().collect::<Vec<_>>().join(", ");
                ApiError::Model { found: name.to_owned(), expected }
            })?,
            None => self.default_for(verb).ok_or(ApiError::NoModel { what: verb.name() })?,
        };
        found.require(verb)?;
        Ok(Arc::clone(found))
    }

    fn default_for(&self, verb: Verb) -> Option<&Arc<Model>> {
        let able = |model: &&Arc<Model>| model.require(verb).is_ok();
        let only = |model: &&Arc<Model>| able(model) && !model.predictor.can_classify();
        let specialist = self.all.iter().find(only).filter(|_| verb == Verb::Denoise);
        specialist.or_else(|| self.all.iter().find(able))
    }

    /// What `GET /v1/models` answers.
    pub(crate) fn document(&self) -> Document<'_> {
        let default = |verb| self.default_for(verb).map(|model| model.name.as_str());
        Document {
            models: self.all.iter().map(|model| Described::new(model)).collect(),
            defaults: Defaults {
                classify: default(Verb::Classify),
                denoise: default(Verb::Denoise),
                explain: default(Verb::Explain),
            },
        }
    }
}

/// An error of loading models for a server.
#[derive(Debug, thiserror::Error)]
pub enum ServeOrPredict {
    /// Of the list of models.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// Of a model.
    #[error(transparent)]
    Predict(#[from] PredictError),
}

#[derive(Serialize)]
pub(crate) struct Document<'m> {
    models: Vec<Described<'m>>,
    defaults: Defaults<'m>,
}

#[derive(Serialize)]
struct Defaults<'m> {
    classify: Option<&'m str>,
    denoise: Option<&'m str>,
    explain: Option<&'m str>,
}

#[derive(Serialize)]
struct Described<'m> {
    name: &'m str,
    sha256: &'m str,
    kind: String,
    tasks: Vec<&'static str>,
    classes: &'m [String],
    channels: usize,
    height: usize,
    width: usize,
    /// Of the training, in units of the [-1, 1] range.
    noise_levels: [f64; 2],
}

impl<'m> Described<'m> {
    fn new(model: &'m Model) -> Self {
        let Model { name, predictor } = model;
        let Geometry { channels, height, width } = predictor.geometry();
        let able = Verb::ALL.into_iter().filter(|verb| model.require(*verb).is_ok());
        Self {
            name,
            sha256: predictor.sha256(),
            kind: predictor.kind().to_string(),
            tasks: able.map(Verb::name).collect(),
            classes: predictor.classes(),
            channels,
            height,
            width,
            noise_levels: predictor.noise_levels(),
        }
    }
}
