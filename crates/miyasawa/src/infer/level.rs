//! The noise level that a model is conditioned on, and how much of its correction is applied.

use crate::checkpoint::ModelInfo;

/// The factor by which the level that a colour model is conditioned on exceeds the noise level of a
/// grey image.
///
/// Its noise is the same in all three channels: along the grey axis sqrt(3) times as long as the
/// noise that the model was trained on, and none across. Measured on Set12, levels of 0.05 to 0.4
/// (the model card): 1.5 to 1.6 is best, and 1.5 to 3.7 dB better than 1.
const GREY_IN_COLOUR: f64 = 1.55;

/// Computes the noise level to condition a model on, for an image of `channels` channels with noise
/// of the level `sigma`: larger where a grey image goes through a colour model as three equal
/// channels, within the levels that it was trained on, unless it has learned from such images.
pub fn conditioning_sigma(info: &ModelInfo, channels: usize, sigma: f64) -> f64 {
    if channels == 1 && info.data.channels == 3 && info.training.grey == 0.0 {
        (GREY_IN_COLOUR * sigma).min(info.sigma[1]).max(sigma)
    } else {
        sigma
    }
}

/// Whether there is no noise to remove.
pub(super) fn is_unchanged(info: &ModelInfo, sigma: f64) -> bool {
    sigma == 0.0 && !info.network.is_blind()
}

/// Whether a model has learned from clipped values, so that it knows what they stand for.
pub(super) fn knows_clipping(info: &ModelInfo) -> bool {
    info.training.stored > 0.0
}

/// The level of the training nearest to `sigma`, and the share of its correction to apply.
pub(super) fn within(info: &ModelInfo, sigma: f64) -> (f64, f64) {
    let [min, max] = info.sigma;
    if info.network.is_blind() || min >= max {
        return (sigma, 1.0);
    }
    let level = sigma.clamp(min, max);
    (level, (sigma / level).min(1.0).powi(2))
}

/// The share of the correction `denoised - y` to apply where `share` of it has the mean square
/// `square` over `count` values: then it is at most as long as noise of the level `sigma`.
pub(super) fn limited(share: f64, square: f64, count: f64, sigma: f64) -> f64 {
    // Four standard deviations of the mean square of this many normal numbers.
    let most = sigma * sigma * (1.0 + 4.0 * (2.0 / count).sqrt());
    if square > most { share * sigma / square.sqrt() } else { share }
}

/// The square of the share `share` of the correction of a value.
pub(super) fn square(share: f64, y: f32, denoised: f32) -> f64 {
    (share * f64::from(denoised - y)).powi(2)
}
