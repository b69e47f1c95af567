use super::{class, level};
use crate::eval::host;
use crate::infer::{pictures, tensor};
use crate::model::{EnergyNetwork, JointModel};
use crate::picture::Picture;
use crate::verify::relative_error;
use burn::tensor::{Device, Tensor};

/// The adversarial gradient of a picture as a difference of denoisers.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The class that it is for.
    pub label: usize,
    /// `D(y)`.
    pub denoised: Picture,
    /// `D(y, c)`.
    pub given: Picture,
    /// `D(y, c) - D(y)`.
    pub difference: Picture,
    /// `sigma^2 * grad log p(c|y)`, computed by itself.
    pub gradient: Picture,
    /// `max |difference - gradient| / max |gradient|`.
    pub relative_error: f64,
    /// `p(c | y)` of all classes.
    pub probs: Vec<f32>,
}

/// Explains what of the picture speaks for each of the classes `labels`.
pub fn explain<N: EnergyNetwork>(
    model: &JointModel<N>,
    y: &Picture,
    sigma: f64,
    labels: &[usize],
    device: &Device,
) -> Vec<Explanation> {
    let picture = |batch: Tensor<4>| pictures(batch).remove(0);
    let point = model.at(&tensor(y, device), &level(sigma, device));
    let (denoised, probs) = (picture(point.denoised()), host(point.class_probs()));
    let of_class = |&label: &usize| {
        let labels = class(label, device);
        let difference = picture(point.denoiser_difference(&labels));
        let gradient = picture(point.class_gradient(&labels) * (sigma * sigma));
        Explanation {
            label,
            relative_error: relative_error(difference.values(), gradient.values()),
            denoised: denoised.clone(),
            given: picture(point.denoised_given(&labels)),
            difference,
            gradient,
            probs: probs.clone(),
        }
    };
    labels.iter().map(of_class).collect()
}
