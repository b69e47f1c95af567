use super::{Target, batch, in_picture_units, weights};
use crate::attack::Weigh;
use crate::eval::host;
use burn::tensor::{Device, Tensor, TensorData};

/// Any classifier made of tracked operations, with the gradient of reverse-mode autodiff: plain networks, and defences
/// whose gradient has no closed form.
pub struct Tracked<F> {
    classify: F,
    shape: [usize; 3],
    classes: usize,
    plain: Device,
    tracked: Device,
}

impl<F: Fn(&Tensor<4>) -> Tensor<2>> Tracked<F> {
    /// The classifier `classify`, from pictures `[batch, channels, height, width]` in [-1, 1] to logits
    /// `[batch, classes]`. It is called with tensors of the autodiff device, tracked where a gradient is wanted; its
    /// own parameters must be there too, and untracked, or their gradients would be computed as well
    /// (see [`untracked`](crate::model::params::untracked)).
    pub fn new(classify: F, shape: [usize; 3], classes: usize, device: &Device) -> Self {
        let plain = device.clone().inner();
        Self { classify, shape, classes, tracked: plain.clone().autodiff(), plain }
    }
}

impl<F: Fn(&Tensor<4>) -> Tensor<2>> Target for Tracked<F> {
    fn shape(&self) -> [usize; 3] {
        self.shape
    }

    fn classes(&self) -> usize {
        self.classes
    }

    fn logits(&self, pictures: &[f32]) -> Vec<f32> {
        let y = batch(pictures, self.shape, &self.tracked);
        host((self.classify)(&y).inner())
    }

    fn gradient(&self, pictures: &[f32], weigh: &Weigh<'_>) -> (Vec<f32>, Vec<f32>) {
        let y = batch(pictures, self.shape, &self.tracked).require_grad();
        let logits = (self.classify)(&y);
        let values = host(logits.clone().inner());
        let weights = weights(&values, self.classes, weigh);
        let weights = TensorData::new(weights, [y.dims()[0], self.classes]);
        let weights = Tensor::<2>::from_data(weights, &self.plain).autodiff();
        let mut gradients = (logits * weights).sum().backward();
        let gradient = match y.grad_remove(&mut gradients) {
            Some(gradient) => host(gradient),
            // The logits do not depend on the picture.
            None => vec![0.0; pictures.len()],
        };
        (values, in_picture_units(gradient))
    }
}
