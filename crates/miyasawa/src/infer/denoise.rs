//! Denoising images of any size, channels and noise level: images and levels that the model was not
//! trained on are converted to those that it was trained on.

use super::level::{conditioning_sigma, is_unchanged, knows_clipping, limited, square, within};
use super::tiles::{self, WHOLE};
use super::{clipping, image_from_values, large, tensors, to_images};
use crate::checkpoint::ModelInfo;
use crate::image::{Image, ImageError};
use crate::model::{Predict, Query};
use crate::parallel;
use crate::progress::{Monitor, Piece};
use burn::tensor::Device;
use std::{borrow::Cow, collections::BTreeMap};

/// Denoises an image of any size, channels and noise level: `D(y)`, or `D(y, label)`. Otherwise as
/// [`denoise`](super::denoise); images and levels that the model was not trained on are converted:
///
/// * A grey image goes through a colour model as three equal channels, at the
///   [`conditioning_sigma`], and stays grey, also if it is stored with three equal channels; a
///   colour image goes through a grey model channel by channel.
/// * Where values were clipped at the ends of the range, as files do, they are first replaced by
///   the mean of the values that may have been clipped, unless the model has learned from such
///   values.
/// * Below the smallest level of the training, `min`, the correction is that of `min`, shortened:
///   `y + (sigma/min)^2 (D_min(y) - y)`, which is the formula of Tweedie with the score at `min`;
///   at 0 the image stays as it is. Above the largest it is that of the largest.
/// * No correction is longer than the noise: as `E |D(y) - y|^2 = d sigma^2 - E |D(y) - x|^2` for
///   the best denoiser, one that is longer is the model's error, and is shortened to
///   `sqrt(d) sigma`.
///
/// Images larger than 512 pixels go through the network in overlapping tiles of 256. An image that
/// is handed over is denoised in its own memory: besides its values in float32 it takes those of
/// the file, and about a hundred megabytes for each tile that is worked on.
///
/// # Errors
/// If the model's channels are not those of any image.
///
/// # Panics
/// If `label` is not one of the model's classes.
pub fn denoise_any(
    model: &(impl Predict + Sync),
    info: &ModelInfo,
    noisy: Cow<'_, Image>,
    sigma: f64,
    label: Option<usize>,
    device: &Device,
    monitor: &mut dyn Monitor,
) -> Result<Option<Image>, ImageError> {
    let known = info.data.classes.len();
    assert!(label.is_none_or(|label| label < known), "class {label:?}, the model has {known}");
    if noisy.height() > WHOLE || noisy.width() > WHOLE {
        let noisy = noisy.into_owned();
        return large::denoise(model, info, noisy, sigma, label, device, monitor);
    }
    let inputs = inputs(info, &noisy, sigma)?;
    let count = inputs.len() as f64;
    let mut outputs = Vec::with_capacity(inputs.len());
    for (i, input) in inputs.iter().enumerate() {
        let range = [i as f64 / count, 1.0 / count];
        let mut piece = Piece { monitor: &mut *monitor, task: None, range };
        let network = &input.network;
        let Some(found) = tiles::denoise(model, network, input.level, label, device, &mut piece)
        else {
            return Ok(None);
        };
        outputs.push(input.output(&found)?);
    }
    assembled(&noisy, outputs).map(Some)
}

/// As [`denoise_any`], for several images, each with its noise level: those of one size go through
/// the network together. The model must be a denoiser.
pub fn denoise_batch(
    model: &(impl Predict + Sync),
    info: &ModelInfo,
    noisy: &[Image],
    sigmas: &[f64],
    device: &Device,
) -> Result<Vec<Image>, ImageError> {
    let is_large = |noisy: &Image| noisy.height() > WHOLE || noisy.width() > WHOLE;
    let plans = noisy.iter().zip(sigmas).map(|(noisy, sigma)| match is_large(noisy) {
        // Each by itself, later.
        true => Ok(Vec::new()),
        false => inputs(info, noisy, *sigma),
    });
    let plans: Vec<Vec<Input>> = plans.collect::<Result<_, _>>()?;
    let all: Vec<&Input> = plans.iter().flatten().collect();
    let mut of_size = BTreeMap::<(usize, usize, usize), Vec<usize>>::new();
    all.iter()
        .enumerate()
        .for_each(|(i, input)| of_size.entry(input.network.shape()).or_default().push(i));
    let mut found: Vec<Option<Image>> = vec![None; all.len()];
    for members in of_size.into_values() {
        let images: Vec<&Image> = members.iter().map(|i| &all[*i].network).collect();
        let levels: Vec<f64> = members.iter().map(|i| all[*i].level).collect();
        let (y, sigma) = tensors(&images, &levels, device);
        let query = Query { denoise: true, ..Query::default() };
        let denoised = parallel::predict(model, &y, &sigma, &query)
            .denoised
            .map(to_images)
            .unwrap_or_default();
        members.into_iter().zip(denoised).for_each(|(i, image)| found[i] = Some(image));
    }
    let mut found = found.into_iter().zip(&all);
    let mut images = Vec::with_capacity(noisy.len());
    for ((noisy, sigma), inputs) in noisy.iter().zip(sigmas).zip(&plans) {
        if is_large(noisy) {
            let (image, monitor) = (noisy.clone(), &mut ());
            let denoised = large::denoise(model, info, image, *sigma, None, device, monitor)?;
            images.push(denoised.unwrap_or_else(|| noisy.clone()));
            continue;
        }
        let outputs = found.by_ref().take(inputs.len());
        // A model that does not denoise leaves the input, an image of the right shape.
        let output = |(image, input): (Option<Image>, &&Input)| match image {
            Some(image) => input.output(&image),
            None => Ok(input.y.clone().into_owned()),
        };
        images.push(assembled(noisy, outputs.map(output).collect::<Result<_, _>>()?)?);
    }
    Ok(images)
}

/// The network's input for an image, or for one of its channels.
struct Input<'i> {
    /// The image, with clipped values replaced by their means.
    y: Cow<'i, Image>,
    /// In the network's channels.
    network: Image,
    /// The level that the network is conditioned on.
    level: f64,
    /// The share of its correction that is applied.
    share: f64,
    /// The image's noise level.
    sigma: f64,
}

impl<'i> Input<'i> {
    fn new(info: &ModelInfo, noisy: Cow<'i, Image>, sigma: f64) -> Result<Self, ImageError> {
        let y = match knows_clipping(info) {
            true => noisy,
            false => clipping::unclipped(noisy, sigma),
        };
        let (level, share) = within(info, conditioning_sigma(info, y.channels(), sigma));
        let network = y.to_channels(info.data.channels)?;
        Ok(Self { y, network, level, share, sigma })
    }

    /// The denoised image, from the network's output.
    fn output(&self, denoised: &Image) -> Result<Image, ImageError> {
        let denoised = denoised.to_channels(self.y.channels())?;
        Ok(corrected(&self.y, &denoised, self.share, self.sigma))
    }
}

/// The network's inputs: none where there is no noise, the three channels of a colour image one by
/// one for a grey model.
fn inputs<'i>(
    info: &ModelInfo,
    noisy: &'i Image,
    sigma: f64,
) -> Result<Vec<Input<'i>>, ImageError> {
    let (channels, height, width) = noisy.shape();
    if is_unchanged(info, sigma) {
        return Ok(Vec::new());
    }
    let plane = |values: &[f32]| {
        let plane = image_from_values((1, height, width), values.to_vec());
        Input::new(info, Cow::Owned(plane), sigma)
    };
    let mut planes = noisy.values().chunks(height * width);
    if channels == 3 && noisy.is_grey() {
        return planes.next().map(plane).into_iter().collect();
    }
    if channels == 3 && info.data.channels == 1 {
        return planes.map(plane).collect();
    }
    Ok(vec![Input::new(info, Cow::Borrowed(noisy), sigma)?])
}

/// The denoised image in the channels of the noisy one.
fn assembled(noisy: &Image, mut outputs: Vec<Image>) -> Result<Image, ImageError> {
    match outputs.len() {
        0 => Ok(noisy.clone()),
        1 => outputs.remove(0).to_channels(noisy.channels()),
        _ => {
            let planes: Vec<_> = outputs.into_iter().map(Image::into_values).collect();
            Ok(image_from_values(noisy.shape(), planes.concat()))
        }
    }
}

/// `y` plus the share `share` of the correction `denoised - y`, at most as long as noise of the
/// level `sigma`.
pub(super) fn corrected(y: &Image, denoised: &Image, share: f64, sigma: f64) -> Image {
    let pairs = || y.values().iter().zip(denoised.values());
    let count = y.values().len() as f64;
    let mean = pairs().map(|(y, d)| square(share, *y, *d)).sum::<f64>() / count;
    let share = limited(share, mean, count, sigma);
    if share == 1.0 {
        return denoised.clone();
    }
    let value = |(y, d): (&f32, &f32)| y + share as f32 * (d - y);
    image_from_values(y.shape(), pairs().map(value).collect())
}
