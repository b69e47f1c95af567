//! Denoising images of any size: large ones in tiles.

use super::{class_tensor, image_from_values, sigma_tensor, to_image, to_tensor};
use crate::image::Image;
use crate::model::{Predict, Query};
use crate::progress::{Monitor, Progress};
use burn::tensor::Device;

/// Largest side of a part that goes through the network at once: memory grows with the part, not
/// with the image.
pub(super) const TILE: usize = 512;
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

/// Denoises an image at its own size: `D(y)`, or `D(y, label)`. An image larger than 512 pixels is
/// denoised in overlapping parts that are blended; the monitor is asked before each and gets the
/// share that is done. `None` if it stops the work, or the model does not denoise, or not for a
/// class. `sigma` is as for [`classify`](super::classify); a `label` that is not one of the classes
/// selects no class: see [`Predictor::class`](crate::predictor::Predictor::class).
///
/// # Panics
/// If the image has other channels than the model's.
pub fn denoise(
    model: &impl Predict,
    noisy: &Image,
    sigma: f64,
    label: Option<usize>,
    device: &Device,
    monitor: &mut dyn Monitor,
) -> Option<Image> {
    let label = label.map(|label| class_tensor(label, device));
    let query =
        Query { denoise: label.is_none(), class_conditional: label.as_ref(), ..Query::default() };
    let mut denoise_part = |part: &Image, share: f64| {
        if monitor.stop() {
            return None;
        }
        monitor.progress(&Progress::new("denoising", share));
        let found = model.predict(&to_tensor(part, device), &sigma_tensor(sigma, device), &query);
        found.class_conditional.or(found.denoised).map(to_image)
    };
    let (c, h, w) = noisy.shape();
    let (rows, columns) = (tiles(h), tiles(w));
    if rows.len() == 1 && columns.len() == 1 {
        return denoise_part(noisy, 0.0);
    }
    let (mut sum, mut weights) = (vec![0.0f32; c * h * w], vec![0.0f32; h * w]);
    let (ph, pw) = (h.min(TILE), w.min(TILE));
    for (i, &top) in rows.iter().enumerate() {
        for (j, &left) in columns.iter().enumerate() {
            let done = (i * columns.len() + j) as f64 / (rows.len() * columns.len()) as f64;
            let mut values = Vec::with_capacity(c * ph * pw);
            for k in 0..c {
                for y in top..top + ph {
                    values.extend_from_slice(&noisy.values()[(k * h + y) * w + left..][..pw]);
                }
            }
            let part = denoise_part(&image_from_values((c, ph, pw), values), done)?;
            for y in 0..ph {
                for x in 0..pw {
                    let (at_y, at_x) = (top + y, left + x);
                    let share = weight(at_y, top, ph, h) * weight(at_x, left, pw, w);
                    weights[at_y * w + at_x] += share;
                    for k in 0..c {
                        sum[(k * h + at_y) * w + at_x] +=
                            share * part.values()[(k * ph + y) * pw + x];
                    }
                }
            }
        }
    }
    for (i, value) in sum.iter_mut().enumerate() {
        *value /= weights[i % (h * w)];
    }
    Some(image_from_values((c, h, w), sum))
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
                assert!(
                    inside.map(|s| weight(at, *s, size, side)).sum::<f32>() > 0.0,
                    "{side} {at}"
                );
            }
        }
    }

    /// A model whose energy is zero denoises every pixel by itself: the borders of parts must be
    /// invisible.
    #[test]
    fn parts_of_a_large_image_blend_without_seams() {
        let device = Device::flex();
        let config = GradResNetConfig { width: 1, blocks: vec![1], ..GradResNetConfig::new(1, 1) };
        let mut net = config.init(&device, 0);
        let mut values = crate::model::params::collect(&net);
        values.insert("class_head.weight".into(), TensorData::new(vec![0.0f32], [1, 1]));
        net = crate::model::params::assign(net, values).unwrap();
        let model = JointModel::new(net, 0.5);
        let (height, width) = (530, 40);
        let values: Vec<f32> =
            (0..height * width).map(|i| ((i * 37) % 255) as f32 / 127.5 - 1.0).collect();
        let noisy = image_from_values((1, height, width), values);
        let mut shares = Vec::new();
        let mut watch = |p: &Progress<'_>| shares.push(p.share);
        let found = denoise(&model, &noisy, 0.5, None, &device, &mut watch).unwrap();
        assert_eq!(shares, [0.0, 0.5]);
        for (found, y) in found.values().iter().zip(noisy.values()) {
            assert!((found - 0.5 * y).abs() < 1e-6, "{found} {y}");
        }
    }
}
