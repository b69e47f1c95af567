use super::MAX_DRAWS;
use crate::checkpoint::CheckpointError;
use crate::device::DeviceError;
use crate::image::ImageError;
use crate::model::{Kind, NOISE_LEVELS};

/// An error of opening or using a model.
///
/// ```
/// use miyasawa::prelude::*;
/// let model = Predictor::bundled()?;
/// let error = model.class("house").unwrap_err();
/// assert!(matches!(&error, PredictError::Class { .. }));
/// assert!(error.to_string().starts_with("class 'house' is not known"));
/// # Ok::<(), PredictError>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PredictError {
    /// The checkpoint could not be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The device cannot be used.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Threads could not be started.
    #[error("{threads} threads cannot be started: {found}")]
    Threads {
        /// The requested number.
        threads: usize,
        /// The reason.
        found: String,
    },
    /// The image cannot be decoded, resized for the model or stored.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The image holds a value that is not finite.
    #[error("value {index} of the image is {found}, expected a finite number")]
    NotFiniteImage {
        /// The index of the value, in (channel, row, column) order.
        index: usize,
        /// The value.
        found: f32,
    },
    /// The number of values is not that of the images.
    #[error("expected {expected} values for a batch of shape {shape:?}, found {found}")]
    Batch {
        /// Images, channels, height, width.
        shape: [usize; 4],
        /// Their product.
        expected: usize,
        /// The length of the slice.
        found: usize,
    },
    /// No class has the name or number.
    #[error(
        "class '{found}' is not known; expected a number below {} or one of: {}",
        classes.len(),
        listed(classes)
    )]
    Class {
        /// The requested class.
        found: String,
        /// The model's classes.
        classes: Vec<String>,
    },
    /// The model has only one class.
    #[error("{model}: does not classify: it has only one class")]
    OneClass {
        /// The model.
        model: String,
    },
    /// The model was not trained to do this.
    #[error(
        "{model}: does not {what}: it is a {kind} trained with the weights {weights:?} of \
         cross-entropy and score matching"
    )]
    Cannot {
        /// The model.
        model: String,
        /// The requested task.
        what: &'static str,
        /// The kind of network.
        kind: Kind,
        /// The weights of its losses.
        weights: [f64; 2],
    },
    /// A mean is over none or too many draws of noise.
    #[error("{found} draws of noise, expected 1 to {MAX_DRAWS}")]
    Draws {
        /// What was asked for.
        found: usize,
    },
    /// There is no such number of views.
    #[error("{found} views of an image, expected 1, 2, 4 or 8")]
    Views {
        /// What was asked for.
        found: usize,
    },
    /// A strength is out of its range.
    #[error("a strength of {found}, expected a number from 0 to {largest}")]
    Strength {
        /// What was asked for.
        found: f64,
        /// The largest that is allowed.
        largest: f64,
    },
    /// The model cannot be conditioned on the noise level.
    #[error("{}", level_text(*found, *largest))]
    Level {
        /// The level.
        found: f64,
        /// The largest level that is allowed.
        largest: f64,
    },
    /// The model's output is not finite.
    #[error("the model's output at noise level {sigma} is not finite")]
    NotFinite {
        /// The level.
        sigma: f64,
    },
}

impl PredictError {
    pub(super) fn class(found: &str, classes: &[String]) -> Self {
        Self::Class { found: found.to_owned(), classes: classes.to_vec() }
    }

    /// Whether the call was invalid, as opposed to valid work that failed.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let model = Predictor::bundled()?;
    /// assert!(model.class("house").unwrap_err().is_usage());
    /// assert!(!Predictor::from_bytes(b"no model").unwrap_err().is_usage());
    /// # Ok::<(), PredictError>(())
    /// ```
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Class { .. }
            | Self::Draws { .. }
            | Self::Views { .. }
            | Self::Strength { .. }
            | Self::Level { .. }
            | Self::Batch { .. }
            | Self::Threads { .. } => true,
            Self::Device(error) => error.is_usage(),
            _ => false,
        }
    }
}

fn listed(classes: &[String]) -> String {
    let shown = classes.iter().take(20).cloned().collect::<Vec<_>>().join(", ");
    if classes.len() > 20 { format!("{shown}, ...") } else { shown }
}

fn level_text(found: f64, largest: f64) -> String {
    let min = NOISE_LEVELS.start();
    let mut text = format!("noise level {found}, expected a number from {min:e} to {largest}");
    text += ", in units of the [-1, 1] range";
    if found > largest && found <= 255.0 {
        text += &format!(": {found} of 255 is {:.3}", found / 127.5);
    }
    text
}
