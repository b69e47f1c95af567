//! Images of any size, channels and noise level through a denoiser.

use super::{class, clipping, level, made, picture, tensor};
use crate::checkpoint::ModelInfo;
use crate::model::{Ask, Predict};
use crate::picture::{Picture, PictureError};
use burn::tensor::Device;

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
/// model that does not denoise, or not for a class. `sigma` is as for [`classify`](super::classify); a `label` that is none of the classes is of no
/// class: see [`class_index`](super::class_index).
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
/// knows, and none across. Measured on Set12, levels of 0.05 to 0.4 (the model card): 1.5 to 1.6 is best, and 1.5 to 3.7 dB
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

/// `D(y)`, or `D(y, label)`, of a noisy image at its own size, channels and noise level. Otherwise as
/// [`denoise`]; what an image or a level is that the model was not trained on is brought to what it was:
///
/// * A grey image goes through a model of colour as three equal channels, at the [`level_to_tell`], and stays
///   grey, also if it is stored with three equal channels; a colour image goes through a model of grey
///   channel by channel.
/// * Where values were clipped at the ends of the range, as files do, they are first replaced by the mean of
///   what may have been there.
/// * Below the smallest level of the training, `min`, the correction is that of `min`, shortened:
///   `y + (sigma/min)^2 (D_min(y) - y)`, which is the formula of Tweedie with the score at `min`; at 0 the
///   image stays as it is. Above the largest it is that of the largest.
/// * No correction is longer than the noise: as `E |D(y) - y|^2 = d sigma^2 - E |D(y) - x|^2` for the best
///   denoiser, one that is longer is the model's error, and is shortened to `sqrt(d) sigma`.
///
/// # Errors
/// If the model's channels are not those of any image.
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
    if sigma == 0.0 && !info.network.is_blind() {
        return Ok(Some(noisy.clone()));
    }
    if c == 3 && noisy.is_grey() {
        let plane = made((1, h, w), noisy.values()[..h * w].to_vec());
        let denoised = denoise_any(model, info, &plane, sigma, label, device, progress)?;
        return denoised.map(|denoised| denoised.to_channels(c)).transpose();
    }
    if c == 3 && info.data.channels == 1 {
        let planes = noisy.values().chunks(h * w).enumerate().map(|(i, plane)| {
            let mut progress = |share: f64| progress((i as f64 + share) / 3.0);
            let plane = made((1, h, w), plane.to_vec());
            let denoised = denoise_any(model, info, &plane, sigma, label, device, &mut progress)?;
            Ok(denoised.map(Picture::into_values))
        });
        let planes: Option<Vec<_>> = planes.collect::<Result<_, PictureError>>()?;
        return Ok(planes.map(|planes| made((c, h, w), planes.concat())));
    }
    let y = clipping::unclipped(noisy, sigma);
    let (level, share) = within(info, level_to_tell(info, c, sigma));
    let input = y.to_channels(info.data.channels)?;
    let denoised = denoise(model, &input, level, label, device, progress);
    let denoised = denoised.map(|denoised| denoised.to_channels(c)).transpose()?;
    Ok(denoised.map(|denoised| corrected(&y, &denoised, share, sigma)))
}

/// The level of the training nearest to `sigma`, and the share of its correction to make.
fn within(info: &ModelInfo, sigma: f64) -> (f64, f64) {
    let [min, max] = info.sigma;
    if info.network.is_blind() || min >= max {
        return (sigma, 1.0);
    }
    let level = sigma.clamp(min, max);
    (level, (sigma / level).min(1.0).powi(2))
}

/// `y` with so much of the correction `denoised - y`, no longer than noise of the level `sigma` is.
fn corrected(y: &Picture, denoised: &Picture, share: f64, sigma: f64) -> Picture {
    let pairs = || y.values().iter().zip(denoised.values());
    let count = y.values().len() as f64;
    let square = pairs().map(|(y, d)| (share * f64::from(d - y)).powi(2)).sum::<f64>() / count;
    // Four deviations of the mean square of so many normal numbers.
    let most = sigma * sigma * (1.0 + 4.0 * (2.0 / count).sqrt());
    let share = if square > most { share * sigma / square.sqrt() } else { share };
    if share == 1.0 {
        return denoised.clone();
    }
    let value = |(y, d): (&f32, &f32)| y + share as f32 * (d - y);
    made(y.shape(), pairs().map(value).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{GradResNetConfig, JointModel};
    use burn::tensor::TensorData;

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
