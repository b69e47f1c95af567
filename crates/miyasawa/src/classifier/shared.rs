use super::{Classifier, LogitGrad};
use crate::parallel::share_out;
use crate::ranks::Message;
use burn::tensor::Device;

/// A classifier whose batches are divided among the CPU threads.
pub(super) struct Shared<T> {
    pub inner: T,
    pub device: Device,
}

impl<T: Classifier + Sync> Shared<T> {
    /// Calls `work` with each part's images and the index of its first image; returns the results.
    fn share_out<R: Message + Send + Sync>(
        &self,
        images: &[f32],
        work: impl Fn(&[f32], usize) -> R + Sync,
    ) -> Vec<R> {
        let len = self.inner.len();
        share_out(images.len() / len, &self.device, |[from, count]| {
            work(&images[from * len..(from + count) * len], from)
        })
    }
}

impl<T: Classifier + Sync> Classifier for Shared<T> {
    fn shape(&self) -> [usize; 3] {
        self.inner.shape()
    }

    fn classes(&self) -> usize {
        self.inner.classes()
    }

    fn logits(&self, images: &[f32]) -> Vec<f32> {
        self.share_out(images, |part, _| self.inner.logits(part)).concat()
    }

    fn gradient(&self, images: &[f32], logit_grad: &LogitGrad<'_>) -> (Vec<f32>, Vec<f32>) {
        let of_part = |part: &[f32], from: usize| {
            self.inner.gradient(part, &|i: usize, z: &[f32]| logit_grad(from + i, z))
        };
        let (logits, gradients): (Vec<_>, Vec<_>) =
            self.share_out(images, of_part).into_iter().unzip();
        (logits.concat(), gradients.concat())
    }
}
