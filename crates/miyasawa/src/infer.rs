//! A model on one's own pictures: classes, a denoised picture.

use crate::attack::{Target, to_unit};
use crate::checkpoint::ModelInfo;
use crate::metrics::scaled_log_probs;
use crate::model::{Ask, Predict, host};
use crate::picture::{Picture, PictureError};
use burn::tensor::{Device, Int, Tensor, TensorData, activation::softmax};

/// A picture as a batch of one.
pub fn tensor(picture: &Picture, device: &Device) -> Tensor<4> {
    let (channels, height, width) = picture.shape();
    Tensor::from_data(TensorData::new(picture.values().to_vec(), [1, channels, height, width]), device)
}

/// A picture of a model's own making.
///
/// # Panics
/// If it has no pixels or a number of channels that no picture has: models have 1 or 3.
fn made((channels, height, width): (usize, usize, usize), values: Vec<f32>) -> Picture {
    Picture::new((channels, height, width), values).expect("a model's pictures have its own shape")
}

/// The pictures of a batch, `[batch, channels, height, width]`.
pub fn pictures(batch: Tensor<4>) -> Vec<Picture> {
    let [_, channels, height, width] = batch.dims();
    let image = channels * height * width;
    host(batch).chunks(image).map(|values| made((channels, height, width), values.to_vec())).collect()
}

/// The picture of a batch of one.
fn picture(batch: Tensor<4>) -> Picture {
    pictures(batch).remove(0)
}

fn level(sigma: f64, device: &Device) -> Tensor<1> {
    Tensor::full([1], sigma as f32, device)
}

fn class(label: usize, device: &Device) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::new(vec![label as i32], [1]), device)
}

/// The probabilities of all classes for a picture that has the model's channels and size already; see
/// [`DataInfo::fitted`](crate::checkpoint::DataInfo::fitted). Nothing from a model that does not classify. `sigma` lies within
/// [`NOISE_LEVELS`](crate::model::NOISE_LEVELS), or is 0 for a network that is blind to it: other levels give no numbers.
///
/// # Panics
/// If the picture has other channels than the model's.
pub fn classify(model: &impl Predict, picture: &Picture, sigma: f64, device: &Device) -> Option<Vec<f32>> {
    let ask = Ask { classify: true, ..Ask::default() };
    let found = model.predict(&tensor(picture, device), &level(sigma, device), &ask);
    found.logits.map(|logits| host(softmax(logits, 1)))
}

/// The probabilities of all classes that a defence gives a picture of the target's shape; see
/// [`Defence`](crate::attack::Defence).
///
/// # Panics
/// If the picture has another shape.
pub fn classify_behind(target: &dyn Target, picture: &Picture) -> Vec<f32> {
    let values: Vec<f32> = picture.values().iter().copied().map(to_unit).collect();
    let logits = target.logits(&values);
    scaled_log_probs(&logits, target.classes(), 1.0).into_iter().map(f32::exp).collect()
}

/// Largest side of a part that goes through the network at once: memory grows with the part, not with
/// the picture.
const TILE: usize = 512;
/// Pixels that neighbouring parts share.
const OVERLAP: usize = 64;

/// Where the parts of a side begin; the last one ends with the side.
fn tiles(side: usize) -> Vec<usize> {
    if side <= TILE {
        return vec![0];
    }
    let mut starts: Vec<usize> =
        (0..).map(|i| i * (TILE - OVERLAP)).take_while(|s| s + TILE < side).collect();
    starts.push(side - TILE);
    starts
}

/// Weight of a pixel of a part: it falls to the part's inner borders so that neighbours blend.
fn weight(at: usize, start: usize, size: usize, side: usize) -> f32 {
    let ramp = OVERLAP as f32;
    let left = if start == 0 { ramp } else { (at - start) as f32 + 0.5 };
    let right = if start + size == side { ramp } else { (start + size - at) as f32 - 0.5 };
    left.min(right).min(ramp) / ramp
}

/// `D(y)`, or `D(y, label)`, of a noisy picture at its own size. A picture larger than 512 pixels is
/// denoised in overlapping parts that are blended; `progress` is told the share that is done before each. Nothing from a
/// model that does not denoise, or not for a class. `sigma` is as for [`classify`]; a `label` that is none of the classes is of no
/// class: see [`class_index`].
///
/// # Panics
/// If the picture has other channels than the model's.
pub fn denoise(
    model: &impl Predict,
    noisy: &Picture,
    sigma: f64,
    label: Option<usize>,
    device: &Device,
    progress: &mut dyn FnMut(f64),
) -> Option<Picture> {
    let label = label.map(|label| class(label, device));
    let ask = Ask { denoise: label.is_none(), given: label.as_ref(), ..Ask::default() };
    let whole = |part: &Picture| {
        let found = model.predict(&tensor(part, device), &level(sigma, device), &ask);
        found.given.or(found.denoised).map(picture)
    };
    let (c, h, w) = noisy.shape();
    let (rows, columns) = (tiles(h), tiles(w));
    if rows.len() == 1 && columns.len() == 1 {
        return whole(noisy);
    }
    let (mut sum, mut weights) = (vec![0.0f32; c * h * w], vec![0.0f32; h * w]);
    let (ph, pw) = (h.min(TILE), w.min(TILE));
    for (i, &top) in rows.iter().enumerate() {
        for (j, &left) in columns.iter().enumerate() {
            progress((i * columns.len() + j) as f64 / (rows.len() * columns.len()) as f64);
            let mut values = Vec::with_capacity(c * ph * pw);
            for k in 0..c {
                for y in top..top + ph {
                    values.extend_from_slice(&noisy.values()[(k * h + y) * w + left..][..pw]);
                }
            }
            let part = whole(&made((c, ph, pw), values))?;
            for y in 0..ph {
                for x in 0..pw {
                    let (at_y, at_x) = (top + y, left + x);
                    let share = weight(at_y, top, ph, h) * weight(at_x, left, pw, w);
                    weights[at_y * w + at_x] += share;
                    for k in 0..c {
                        sum[(k * h + at_y) * w + at_x] += share * part.values()[(k * ph + y) * pw + x];
                    }
                }
            }
        }
    }
    for (i, value) in sum.iter_mut().enumerate() {
        *value /= weights[i % (h * w)];
    }
    Some(made((c, h, w), sum))
}

/// How much more noise a model of colour is told of than a grey picture has.
///
/// Its noise is the same in all three channels: along the grey axis sqrt(3) times as long as the noise that the model
/// knows, and none across. Measured on Set12, levels of 0.05 to 0.4 (docs/models.md): 1.5 to 1.6 is best, and 1.5 to 3.7 dB
/// better than 1.
const GREY_IN_COLOUR: f64 = 1.55;

/// The noise level to tell a model for a picture of so many channels with noise of the level `sigma`: more where a
/// grey picture goes through a model of colour as three equal channels, within the levels that it was trained on.
pub fn level_to_tell(info: &ModelInfo, channels: usize, sigma: f64) -> f64 {
    if channels == 1 && info.data.channels == 3 {
        (GREY_IN_COLOUR * sigma).min(info.sigma[1]).max(sigma)
    } else {
        sigma
    }
}

/// `D(y)`, or `D(y, label)`, of a noisy picture whose channels need not be those that the model was trained on: a grey
/// picture goes through a model of colour as three equal channels, at the [`level_to_tell`], and stays grey; a colour
/// picture goes through a model of grey channel by channel. Otherwise as [`denoise`].
///
/// # Errors
/// If the model's channels are not those of any picture.
///
/// # Panics
/// If `label` is none of the model's classes.
pub fn denoise_any(
    model: &impl Predict,
    info: &ModelInfo,
    noisy: &Picture,
    sigma: f64,
    label: Option<usize>,
    device: &Device,
    progress: &mut dyn FnMut(f64),
) -> Result<Option<Picture>, PictureError> {
    let (c, h, w) = noisy.shape();
    let known = info.data.classes.len();
    assert!(label.is_none_or(|label| label < known), "class {label:?}, the model knows {known}");
    let sigma = level_to_tell(info, c, sigma);
    if c == 3 && info.data.channels == 1 {
        let planes = noisy.values().chunks(h * w).enumerate().map(|(i, plane)| {
            let mut progress = |share: f64| progress((i as f64 + share) / 3.0);
            let plane = made((1, h, w), plane.to_vec());
            let denoised = denoise(model, &plane, sigma, label, device, &mut progress)?;
            Some(denoised.into_values())
        });
        return Ok(planes.collect::<Option<Vec<_>>>().map(|planes| made((c, h, w), planes.concat())));
    }
    let noisy = noisy.to_channels(info.data.channels)?;
    let denoised = denoise(model, &noisy, sigma, label, device, progress);
    denoised.map(|denoised| denoised.to_channels(c)).transpose()
}

/// Why a class or a picture does not fit a model.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InferError {
    /// No class has the name or number.
    #[error("class '{found}' is not known; expected a number below {} or one of: {}", classes.len(), listed(classes))]
    Class {
        /// What was asked for.
        found: String,
        /// The model's classes.
        classes: Vec<String>,
    },
}

fn listed(classes: &[String]) -> String {
    let shown = classes.iter().take(20).cloned().collect::<Vec<_>>().join(", ");
    if classes.len() > 20 { format!("{shown}, ...") } else { shown }
}

/// A class by its name or its number.
///
/// # Errors
/// If the model has no such class.
pub fn class_index(info: &ModelInfo, text: &str) -> Result<usize, InferError> {
    let classes = &info.data.classes;
    let by_name = classes.iter().position(|class| class == text);
    let by_number = text.parse().ok().filter(|n: &usize| *n < classes.len());
    by_name
        .or(by_number)
        .ok_or_else(|| InferError::Class { found: text.to_owned(), classes: classes.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{GradResNetConfig, JointModel};

    #[test]
    fn parts_cover_a_side_and_their_weights_never_vanish() {
        for side in [1, 512, 513, 960, 961, 3000] {
            let starts = tiles(side);
            let size = side.min(TILE);
            assert_eq!(starts[0], 0);
            assert_eq!(starts[starts.len() - 1] + size, side);
            for at in 0..side {
                let inside = starts.iter().filter(|s| (**s..**s + size).contains(&at));
                assert!(inside.map(|s| weight(at, *s, size, side)).sum::<f32>() > 0.0, "{side} {at}");
            }
        }
    }

    /// A model whose energy is zero denoises every pixel by itself: parts must not show.
    #[test]
    fn parts_of_a_large_picture_blend_into_the_whole() {
        let device = Device::flex();
        let config = GradResNetConfig { width: 1, blocks: vec![1], ..GradResNetConfig::new(1, 1) };
        let mut net = config.init(&device, 0);
        let mut values = crate::model::params::collect(&net);
        values.insert("class_head.weight".into(), TensorData::new(vec![0.0f32], [1, 1]));
        net = crate::model::params::assign(net, values).unwrap();
        let model = JointModel::new(net, 0.5);
        let (height, width) = (530, 40);
        let values: Vec<f32> = (0..height * width).map(|i| ((i * 37) % 255) as f32 / 127.5 - 1.0).collect();
        let noisy = made((1, height, width), values);
        let mut shares = Vec::new();
        let found = denoise(&model, &noisy, 0.5, None, &device, &mut |share| shares.push(share)).unwrap();
        assert_eq!(shares, [0.0, 0.5]);
        for (found, y) in found.values().iter().zip(noisy.values()) {
            assert!((found - 0.5 * y).abs() < 1e-6, "{found} {y}");
        }
    }
}
