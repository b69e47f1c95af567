//! Recomputes all quantities of an oracle file of reference.py and reports the errors.
//!
//! ```
//! use miyasawa::{Device, verify::{EMBEDDED, verify}};
//!
//! let deviations = verify(EMBEDDED, &Device::flex())?;
//! assert!(deviations.iter().all(|found| found.relative_error < 1e-4));
//! # Ok::<(), miyasawa::verify::VerifyError>(())
//! ```

use crate::checkpoint::tensor_data;
use crate::model::{
    GradResNetConfig, JointModel, Norm, loss,
    params::{self, ParamError, ParamMap},
};
use crate::ops::Operands;
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use safetensors::SafeTensors;
use std::collections::{BTreeMap, HashMap};

/// A small oracle, so that `verify` works without any file. Written by `scripts/oracles.sh`.
pub const EMBEDDED: &[u8] = include_bytes!("../assets/oracle.safetensors");

/// The identity `sigma^2 * grad log p(c|y) = D(y,c) - D(y)`, checked with the oracle's quantities.
pub const IDENTITY: &str = "identity";

/// The largest relative error of a quantity: `max |a - b| / max |b|` over the tensor.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Deviation {
    /// Its name in the oracle, or [`IDENTITY`].
    pub quantity: String,
    /// The relative error; NaN where a value is not finite.
    pub relative_error: f64,
}

/// Why an oracle could not be checked.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The bytes are not an oracle.
    #[error("not an oracle of reference.py: {0}")]
    Format(String),
    /// The oracle's parameters do not match the model that its metadata describes.
    #[error("the oracle's parameters do not match its model: {0}")]
    Params(#[from] ParamError),
}

/// `max |a - b| / max |b|`; the absolute error where `b` is zero everywhere.
pub fn relative_error(a: &[f32], b: &[f32]) -> f64 {
    let (error, scale) = error_and_scale(a, b);
    if scale > 0.0 { error / scale } else { error }
}

/// `max |a - b|`, NaN where a difference is not finite, and `max |b|`.
pub(crate) fn error_and_scale(a: &[f32], b: &[f32]) -> (f64, f64) {
    assert_eq!(a.len(), b.len(), "relative_error: lengths");
    let (mut error, mut scale) = (0.0f64, 0.0f64);
    for (&a, &b) in a.iter().zip(b) {
        let difference = (f64::from(a) - f64::from(b)).abs();
        if !difference.is_finite() {
            return (f64::NAN, scale);
        }
        error = error.max(difference);
        scale = scale.max(f64::from(b).abs());
    }
    (error, scale)
}

struct Oracle {
    config: GradResNetConfig,
    sigma_data: f64,
    dsm_weight: f64,
    tensors: BTreeMap<String, TensorData>,
}

struct Batch {
    x: TensorData,
    noise: TensorData,
    sigma: TensorData,
    labels: TensorData,
}

impl Oracle {
    fn parse(bytes: &[u8]) -> Result<Self, VerifyError> {
        let format = |e: String| VerifyError::Format(e);
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| format(e.to_string()))?;
        let file = SafeTensors::deserialize(bytes).map_err(|e| format(e.to_string()))?;
        let metadata: HashMap<String, String> = header.metadata().clone().unwrap_or_default();
        let entry = |key: &str| {
            metadata.get(key).ok_or_else(|| format(format!("the metadata has no '{key}'")))
        };
        let number = |key: &str| {
            let text = entry(key)?;
            text.parse::<f64>()
                .map_err(|_| format(format!("'{key}' is {text:?}, expected a number")))
        };
        // Python prints lists and tuples of integers with brackets.
        let list = |key: &str| {
            let text = entry(key)?;
            text.trim_matches(['[', ']', '(', ')'])
                .split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty())
                .map(str::parse::<usize>)
                .collect::<Result<Vec<_>, _>>()
                .map_err(|_| format(format!("'{key}' is {text:?}, expected integers")))
        };
        let image = list("image")?;
        let &[channels, _, _] = image.as_slice() else {
            return Err(format(format!("'image' is {image:?}, expected three integers")));
        };
        let plain = GradResNetConfig::new(channels, number("classes")? as usize);
        let config = GradResNetConfig {
            width: number("width")? as usize,
            blocks: list("blocks")?,
            blind: entry("blind")? == "True",
            zero_energy_head: false,
            norm: match metadata.get("norm").map(String::as_str) {
                None | Some("group") => Norm::Group,
                Some("none") => Norm::None,
                Some(found) => {
                    return Err(format(format!("'norm' is {found:?}, expected group or none")));
                }
            },
            norm_epsilon: match metadata.contains_key("norm_epsilon") {
                true => number("norm_epsilon")? as f32,
                false => plain.norm_epsilon,
            },
            ..plain
        };
        config.validate().map_err(format)?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.iter() {
            let data = tensor_data(&view).map_err(|e| format(format!("{name} {e}")))?;
            tensors.insert(name.to_owned(), data);
        }
        Ok(Self {
            config,
            sigma_data: number("sigma_data")?,
            dsm_weight: number("dsm_weight")?,
            tensors,
        })
    }

    fn tensor(&self, name: &str, rank: usize) -> Result<TensorData, VerifyError> {
        let data = self.tensors.get(name);
        let data =
            data.ok_or_else(|| VerifyError::Format(format!("tensor '{name}' is missing")))?;
        if data.shape().len() != rank {
            return Err(VerifyError::Format(format!(
                "'{name}' has {:?}, expected {rank} sizes",
                data.shape()
            )));
        }
        Ok(data.clone())
    }

    /// The tensors of the batch, once their shapes are known to match.
    fn batch(&self) -> Result<Batch, VerifyError> {
        let (x, noise) = (self.tensor("x", 4)?, self.tensor("eps", 4)?);
        let (sigma, labels) = (self.tensor("sigma", 1)?, self.tensor("labels", 1)?);
        let shapes = [&x, &noise, &sigma, &labels].map(|data| data.shape().to_vec());
        let n = shapes[0][0];
        let fits = shapes[0][1] == self.config.channels
            && shapes[0].iter().all(|size| *size > 0)
            && shapes[1] == shapes[0]
            && shapes[2..].iter().all(|shape| shape[..] == [n]);
        if !fits {
            return Err(VerifyError::Format(format!(
                "x, eps, sigma and labels have the shapes {shapes:?}, expected those of one batch \
                 of images with {} channels",
                self.config.channels
            )));
        }
        let known =
            |label: &i64| usize::try_from(*label).is_ok_and(|label| label < self.config.classes);
        if !labels.as_slice::<i64>().is_ok_and(|labels| labels.iter().all(known)) {
            let found = format!("'labels' are not all integers below {}", self.config.classes);
            return Err(VerifyError::Format(found));
        }
        Ok(Batch { x, noise, sigma, labels })
    }

    fn params(&self) -> ParamMap {
        let strip = |name: &String| name.strip_prefix("param.").map(str::to_owned);
        self.tensors.iter().filter_map(|(name, data)| Some((strip(name)?, data.clone()))).collect()
    }
}

fn deviation(
    quantity: &str,
    ours: TensorData,
    theirs: &TensorData,
) -> Result<Deviation, VerifyError> {
    let values = |data: &TensorData| {
        data.try_to_vec::<f32>().map_err(|e| VerifyError::Format(format!("'{quantity}': {e:?}")))
    };
    let (a, b) = (values(&ours)?, values(theirs)?);
    if a.len() != b.len() {
        let message = format!("'{quantity}' has {} values, expected {}", b.len(), a.len());
        return Err(VerifyError::Format(message));
    }
    Ok(Deviation { quantity: quantity.to_owned(), relative_error: relative_error(&a, &b) })
}

/// Recomputes an oracle on a device; the parameter gradients come last, in the order of their
/// names.
///
/// # Errors
/// If the bytes are not an oracle of reference.py or their shapes contradict each other.
pub fn verify(bytes: &[u8], device: &Device) -> Result<Vec<Deviation>, VerifyError> {
    verify_in(bytes, Operands::F32, device)
}

/// As [`verify`], with operands of the convolutions' products in another type.
///
/// ```
/// use miyasawa::{Device, ops::Operands, verify::{EMBEDDED, verify_in}};
/// let rounded = verify_in(EMBEDDED, Operands::Bf16, &Device::flex())?;
/// assert!(rounded.iter().all(|found| found.relative_error < 0.2));
/// assert!(rounded.iter().any(|found| found.relative_error > 1e-4));
/// # Ok::<(), miyasawa::verify::VerifyError>(())
/// ```
///
/// # Errors
/// As [`verify`].
pub fn verify_in(
    bytes: &[u8],
    operands: Operands,
    device: &Device,
) -> Result<Vec<Deviation>, VerifyError> {
    let mut oracle = Oracle::parse(bytes)?;
    oracle.config.operands = operands;
    let device = device.clone().autodiff();
    let net = oracle.config.with_params(oracle.params(), &device)?;
    let model = JointModel::new(net, oracle.sigma_data);

    let batch = oracle.batch()?;
    let x = Tensor::<4>::from_data(batch.x, &device);
    let noise = Tensor::<4>::from_data(batch.noise, &device);
    let sigma = Tensor::<1>::from_data(batch.sigma, &device);
    let labels = Tensor::<1, Int>::from_data(batch.labels, &device);
    let n = sigma.dims()[0];
    let y = x + noise.clone() * sigma.clone().reshape([n, 1, 1, 1]);

    let point = model.at(&y, &sigma);
    let score = point.score();
    let ce = loss::cross_entropy(point.logits(), &labels, 0.0).mean();
    let dsm = loss::score_matching(&model, score.clone(), &noise, &sigma).mean();
    let conditional = point.class_conditional_denoised(&labels);
    let denoised = point.tweedie(&score);

    let mut out = Vec::new();
    let quantities = [
        ("logits", point.logits().to_data()),
        ("energy", point.energy().to_data()),
        ("joint", point.joint_log_prob().into_data()),
        ("score", score.to_data()),
        ("denoised", denoised.to_data()),
        ("denoised_given_label", conditional.to_data()),
        ("ce", ce.to_data()),
        ("dsm", dsm.to_data()),
    ];
    for (name, ours) in quantities {
        let theirs = oracle.tensors.get(name);
        let theirs =
            theirs.ok_or_else(|| VerifyError::Format(format!("tensor '{name}' is missing")))?;
        out.push(deviation(name, ours, theirs)?);
    }
    let adversarial = point.class_gradient(&labels) * sigma.powi_scalar(2).reshape([n, 1, 1, 1]);
    out.push(deviation(
        IDENTITY,
        adversarial.into_data(),
        &point.denoiser_difference(&labels).into_data(),
    )?);

    let mut grads = (ce + dsm * oracle.dsm_weight).backward();
    let grads = params::gradients(&model.net, &mut grads);
    let expected = oracle.config.init(&device, 0).num_params();
    let found: usize = grads.values().map(|g| g.shape().iter().product::<usize>()).sum();
    if found != expected {
        return Err(VerifyError::Format(format!(
            "{found} values have a gradient, expected {expected}"
        )));
    }
    for (name, ours) in grads {
        let key = format!("grad.{name}");
        let theirs = oracle.tensors.get(&key);
        let theirs =
            theirs.ok_or_else(|| VerifyError::Format(format!("tensor '{key}' is missing")))?;
        out.push(deviation(&key, ours, theirs)?);
    }
    Ok(out)
}
