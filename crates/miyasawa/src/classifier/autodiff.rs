use super::{Classifier, LogitGrad, batch, grad_logits, in_image_units};
use crate::model::host;
use crate::model::params::untracked;
use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};

/// A classifier made of tracked operations, with the gradient by reverse-mode autodiff: plain
/// networks, and defences whose gradient has no closed form.
///
/// The model is kept twice. A forward pass on the autodiff device records a graph that only a
/// reverse pass frees, even if nothing is tracked: passes without a gradient, as in the thousands
/// of queries of a random search, use the plain copy.
pub struct Autodiff<M, F> {
    model: M,
    with_graph: M,
    classify: F,
    shape: [usize; 3],
    classes: usize,
    device: Device,
}

impl<M: Module, F: Fn(&M, &Tensor<4>) -> Tensor<2>> Autodiff<M, F> {
    /// The classifier `classify`, from a model and images `[batch, channels, height, width]` in
    /// [-1, 1] to logits `[batch, classes]`. It is called with model and images on the same device,
    /// which is the autodiff device where a gradient is wanted; the gradient is that of the images
    /// alone.
    pub fn new(model: M, classify: F, shape: [usize; 3], classes: usize, device: &Device) -> Self {
        let with_graph = untracked(model.clone());
        Self { model, with_graph, classify, shape, classes, device: device.clone().inner() }
    }
}

impl<M: Module, F: Fn(&M, &Tensor<4>) -> Tensor<2>> Classifier for Autodiff<M, F> {
    fn shape(&self) -> [usize; 3] {
        self.shape
    }

    fn classes(&self) -> usize {
        self.classes
    }

    fn logits(&self, images: &[f32]) -> Vec<f32> {
        host((self.classify)(&self.model, &batch(images, self.shape, &self.device)))
    }

    fn gradient(&self, images: &[f32], logit_grad: &LogitGrad<'_>) -> (Vec<f32>, Vec<f32>) {
        let y = batch(images, self.shape, &self.device.clone().autodiff()).require_grad();
        let logits = (self.classify)(&self.with_graph, &y);
        let values = host(logits.clone().inner());
        let grad_logits = grad_logits(&values, self.classes, logit_grad);
        let grad_logits = TensorData::new(grad_logits, [y.dims()[0], self.classes]);
        let grad_logits = Tensor::<2>::from_data(grad_logits, &self.device).autodiff();
        let mut gradients = (logits * grad_logits).sum().backward();
        let gradient = match y.grad_remove(&mut gradients) {
            Some(gradient) => host(gradient),
            // The logits do not depend on the image.
            None => vec![0.0; images.len()],
        };
        (values, in_image_units(gradient))
    }
}
