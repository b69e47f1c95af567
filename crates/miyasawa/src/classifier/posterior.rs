use super::{Classifier, LogitGrad, batch, grad_logits, in_image_units};
use crate::model::{EnergyNetwork, JointModel, host};
use burn::tensor::{Device, Tensor, TensorData};

/// The class posterior of a joint model at one noise level. Its gradient is a pull-back through the
/// network in closed form.
pub struct Posterior<'m, N: EnergyNetwork> {
    model: &'m JointModel<N>,
    sigma: f64,
    shape: [usize; 3],
    device: Device,
}

impl<'m, N: EnergyNetwork> Posterior<'m, N> {
    /// The posterior at the noise level `sigma` for images of (channels, height, width).
    pub fn new(model: &'m JointModel<N>, sigma: f64, shape: [usize; 3], device: &Device) -> Self {
        Self { model, sigma, shape, device: device.clone() }
    }
}

impl<N: EnergyNetwork> Classifier for Posterior<'_, N> {
    fn shape(&self) -> [usize; 3] {
        self.shape
    }

    fn classes(&self) -> usize {
        self.model.net.classes()
    }

    fn logits(&self, images: &[f32]) -> Vec<f32> {
        let y = batch(images, self.shape, &self.device);
        let sigma = Tensor::<1>::full([y.dims()[0]], self.sigma as f32, &self.device);
        host(self.model.at(&y, &sigma).logits().clone())
    }

    fn gradient(&self, images: &[f32], logit_grad: &LogitGrad<'_>) -> (Vec<f32>, Vec<f32>) {
        let y = batch(images, self.shape, &self.device);
        let n = y.dims()[0];
        let sigma = Tensor::<1>::full([n], self.sigma as f32, &self.device);
        let point = self.model.at(&y, &sigma);
        let logits = host(point.logits().clone());
        let grad_logits =
            TensorData::new(grad_logits(&logits, self.classes(), logit_grad), [n, self.classes()]);
        let gradient = point.logit_gradient(Tensor::from_data(grad_logits, &self.device));
        (logits, in_image_units(host(gradient)))
    }
}
