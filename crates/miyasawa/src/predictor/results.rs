use super::PredictError;
use crate::image::Image;
use crate::metrics;
use serde::{Deserialize, Deserializer, Serialize, de::Error};

/// A class and its probability.
///
/// ```
/// use miyasawa::prelude::*;
/// let frog = ClassProbability { class: "frog".to_owned(), index: 6, probability: 0.75 };
/// let text = serde_json::to_string(&frog)?;
/// assert_eq!(text, r#"{"class":"frog","index":6,"probability":0.75}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassProbability {
    /// The class's name.
    pub class: String,
    /// Its number.
    pub index: usize,
    /// `p(c | y)`.
    pub probability: f32,
}

/// The result of [`Predictor::classify`](super::Predictor::classify).
///
/// ```
/// use miyasawa::prelude::*;
/// let model = Predictor::bundled()?;
/// let found = model.classify(&Image::filled(3, 32, 32, 0.1)?, Noise::Clean)?;
/// let [first, second] = found.top(2) else { unreachable!() };
/// assert!(first.probability >= second.probability);
/// # Ok::<(), PredictError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Classification {
    /// The image's noise level.
    pub sigma: f64,
    /// All classes, the most probable first; at least one.
    #[serde(deserialize_with = "at_least_one")]
    pub classes: Vec<ClassProbability>,
}

fn at_least_one<'d, D: Deserializer<'d>>(from: D) -> Result<Vec<ClassProbability>, D::Error> {
    let classes = Vec::deserialize(from)?;
    if classes.is_empty() {
        Err(D::Error::custom("no classes, expected one or more"))
    } else {
        Ok(classes)
    }
}

impl Classification {
    pub(super) fn new(sigma: f64, probs: &[f32], names: &[String]) -> Result<Self, PredictError> {
        if probs.is_empty() || probs.len() != names.len() || probs.iter().any(|p| !p.is_finite()) {
            return Err(PredictError::NotFinite { sigma });
        }
        let class = |index: usize| ClassProbability {
            class: names[index].clone(),
            index,
            probability: probs[index],
        };
        Ok(Self {
            sigma,
            classes: metrics::top(probs, probs.len()).into_iter().map(class).collect(),
        })
    }

    /// The most probable class.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// # let class = |class: &str, index, probability| {
    /// #     ClassProbability { class: class.to_owned(), index, probability }
    /// # };
    /// # let classes = vec![class("frog", 6, 0.9), class("cat", 3, 0.1)];
    /// # let found = Classification { sigma: 0.1, classes };
    /// assert_eq!(found.best().class, "frog");
    /// ```
    pub fn best(&self) -> &ClassProbability {
        &self.classes[0]
    }

    /// The `n` most probable classes, or all if there are fewer.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// # let class = |class: &str, index, probability| {
    /// #     ClassProbability { class: class.to_owned(), index, probability }
    /// # };
    /// # let classes = vec![class("frog", 6, 0.9), class("cat", 3, 0.1)];
    /// # let found = Classification { sigma: 0.1, classes };
    /// assert_eq!(found.top(1)[0].class, "frog");
    /// assert_eq!(found.top(5).len(), 2);
    /// ```
    pub fn top(&self, n: usize) -> &[ClassProbability] {
        &self.classes[..n.min(self.classes.len())]
    }

    /// The same result with only the `n` most probable classes, at least one.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// # let class = |class: &str, index, probability| {
    /// #     ClassProbability { class: class.to_owned(), index, probability }
    /// # };
    /// # let classes = vec![class("frog", 6, 0.9), class("cat", 3, 0.1)];
    /// # let found = Classification { sigma: 0.1, classes };
    /// assert_eq!(found.truncated(1).classes.len(), 1);
    /// ```
    #[must_use]
    pub fn truncated(mut self, n: usize) -> Self {
        self.classes.truncate(n.max(1));
        self
    }

    /// The probability of the class with this number.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// # let class = |class: &str, index, probability| {
    /// #     ClassProbability { class: class.to_owned(), index, probability }
    /// # };
    /// # let classes = vec![class("frog", 6, 0.9), class("cat", 3, 0.1)];
    /// # let found = Classification { sigma: 0.1, classes };
    /// assert_eq!(found.probability(3), Some(0.1));
    /// assert_eq!(found.probability(4), None);
    /// ```
    pub fn probability(&self, index: usize) -> Option<f32> {
        self.classes.iter().find(|class| class.index == index).map(|class| class.probability)
    }
}

/// The result of [`Predictor::denoise`](super::Predictor::denoise).
///
/// ```
/// use miyasawa::prelude::*;
/// let model = Predictor::bundled()?;
/// let image = Image::filled(3, 32, 32, 0.5)?.with_noise(0.2, 7)?;
/// let found = model.denoise(&image, Noise::Level(0.2))?;
/// assert_eq!((found.sigma, found.image().shape()), (0.2, image.shape()));
/// assert_eq!(serde_json::to_string(&found).unwrap(), r#"{"sigma":0.2}"#); // without pixels
/// # Ok::<(), PredictError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Denoised {
    /// The noise level that was removed: given, or estimated.
    pub sigma: f64,
    #[serde(skip)]
    pub(super) image: Image,
}

impl Denoised {
    /// The denoised image. Its values are not clipped to [-1, 1].
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::bundled()?;
    /// let image = Image::filled(3, 32, 32, 0.5)?.with_noise(0.2, 7)?;
    /// let found = model.denoise(&image, Noise::Level(0.2))?;
    /// assert!(found.image().noise_level() < image.noise_level());
    /// # Ok::<(), PredictError>(())
    /// ```
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// The denoised image.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::bundled()?;
    /// let image = Image::filled(3, 32, 32, 0.5)?.with_noise(0.2, 7)?;
    /// let found = model.denoise(&image, Noise::Level(0.2))?;
    /// assert_eq!(found.into_image().values().len(), 3 * 32 * 32);
    /// # Ok::<(), PredictError>(())
    /// ```
    pub fn into_image(self) -> Image {
        self.image
    }
}
