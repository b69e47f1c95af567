use crate::nn::{Linear, ModulatedNorm, NormObserver};
use burn::module::{Module, ModuleDisplay};
use burn::tensor::Tensor;

/// The outputs of an energy network for a batch; also the cotangents that its adjoint takes.
#[derive(Clone, Debug)]
pub struct Outputs {
    /// The part of the log density that depends on the class, `f_c`, `[batch, classes]`.
    pub logits: Tensor<2>,
    /// The part that all classes share, `e`, `[batch]`.
    pub energy: Tensor<1>,
}

/// A network `(u, sigma) -> (f, e)` with a hand-written input gradient.
///
/// [`JointModel`](super::JointModel) makes a classifier, denoisers and losses out of it. Images are
/// channels-last, `[batch, height, width, channels]`; `sigma` is `[batch]`, positive.
///
/// `forward` and `adjoint` must be made of tracked operations (those of [`crate::ops`] and the
/// framework's), so that reverse-mode autodiff through both computes parameter gradients.
pub trait EnergyNetwork: Module + ModuleDisplay {
    /// The values of the forward pass that `adjoint` needs.
    type Tape;

    /// Computes the outputs for inputs `u`, and the tape for [`adjoint`](Self::adjoint).
    fn forward(&self, u: &Tensor<4>, sigma: &Tensor<1>) -> (Outputs, Self::Tape);

    /// Computes the gradient of `sum g.logits*f + sum g.energy*e` for `u`.
    fn adjoint(&self, tape: &Self::Tape, g: &Outputs) -> Tensor<4>;

    /// Whether the network works without knowing the noise level.
    fn is_blind(&self) -> bool;

    /// Number of classes.
    fn classes(&self) -> usize;

    /// The network in training: norms of batches take the statistics of the images that go through
    /// together, and the observer gets them. A network without such norms stays as it is.
    fn observed(self, _: &NormObserver) -> Self
    where
        Self: Sized,
    {
        self
    }

    /// The norms of batches in the order of the forward pass.
    fn batch_norms(&mut self) -> Vec<&mut ModulatedNorm> {
        Vec::new()
    }

    /// The features that the class head sees in a forward pass, `[batch, features]`; none if the
    /// network does not say. Out-of-distribution scores of features need them.
    fn features(&self, _tape: &Self::Tape) -> Option<Tensor<2>> {
        None
    }

    /// The linear layer that makes the logits of [`features`](Self::features); none if the network
    /// does not say.
    fn class_head(&self) -> Option<&Linear> {
        None
    }
}
