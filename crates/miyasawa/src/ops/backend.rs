//! The operations as a Burn backend extension: one trait, a default body in framework operations for
//! any device, and the place where `Dispatch` learns which backends take part.

use super::default;
use burn::backend::{Backend, ExtensionType, backend_extension, tensor::FloatTensor};
use miyasawa_kernels::{conv::ConvShape, norm::NormShape};

/// AdamW (Loshchilov & Hutter 2019), one step:
///
/// ```text
/// g = g_scale*g       m = beta1*m + (1 - beta1)*g       v = beta2*v + (1 - beta2)*g^2
/// p = (1 - lr*weight_decay)*p - lr*(m/correction1) / (sqrt(v/correction2) + epsilon)
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root.
    pub epsilon: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// `1 - beta1^t` at step `t = 1, 2, ...`.
    pub correction1: f64,
    /// `1 - beta2^t`.
    pub correction2: f64,
    /// Factor of the gradient: what clipping its norm comes to.
    pub g_scale: f64,
}

/// Stochastic gradient descent with momentum and decoupled weight decay, one step:
///
/// ```text
/// g = g_scale*g       m = momentum*m + g       d = m, or g + momentum*m for Nesterov's
/// p = (1 - lr*weight_decay)*p - lr*d
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Learning rate.
    pub lr: f64,
    /// Momentum.
    pub momentum: f64,
    /// Nesterov's momentum.
    pub nesterov: bool,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Factor of the gradient: what clipping its norm comes to.
    pub g_scale: f64,
}

/// A tensor that is added to a result inside the operation, or none.
#[derive(Clone, Debug, ExtensionType)]
pub enum Addend<B: Backend> {
    /// Nothing is added.
    None,
    /// This is added.
    Tensor(FloatTensor<B>),
}

impl<B: Backend> Addend<B> {
    /// The tensor, if there is one.
    pub fn into_option(self) -> Option<FloatTensor<B>> {
        match self {
            Self::None => None,
            Self::Tensor(tensor) => Some(tensor),
        }
    }
}

/// The operations of classification-denoising networks on a backend's tensor primitives.
///
/// Activations are channels-last, `[batch, height, width, channels]`. Use the functions of
/// [`ops`](super), which work on [`Tensor`](burn::tensor::Tensor)s; this trait is what a new backend
/// implements, and every method has a body that is right on any device.
#[backend_extension(Flex, Cube: cfg(feature = "gpu"), Autodiff)]
pub trait JointOps: Backend {
    /// `y = conv(x, w) (+ addend)`; see [`conv2d`](super::conv2d).
    fn conv2d_nhwc(
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        #[extension_type] addend: Addend<Self>,
        shape: ConvShape,
    ) -> FloatTensor<Self> {
        default::conv2d::<Self>(x, w, addend, shape)
    }

    /// `x = conv^T(g, w) (+ addend)`; see [`conv2d_adjoint`](super::conv2d_adjoint).
    fn conv2d_nhwc_adjoint(
        g: FloatTensor<Self>,
        w: FloatTensor<Self>,
        #[extension_type] addend: Addend<Self>,
        shape: ConvShape,
    ) -> FloatTensor<Self> {
        default::conv2d_adjoint::<Self>(g, w, addend, shape)
    }

    /// The gradient of `<conv(x, w), g>` for `w`; see [`conv2d_weight_grad`](super::conv2d_weight_grad).
    fn conv2d_nhwc_weight_grad(
        x: FloatTensor<Self>,
        g: FloatTensor<Self>,
        shape: ConvShape,
    ) -> FloatTensor<Self> {
        default::conv2d_weight_grad::<Self>(x, g, shape)
    }

    /// `h*Phi(h)`; see [`gelu`](super::gelu).
    fn gelu_exact(h: FloatTensor<Self>) -> FloatTensor<Self> {
        default::gelu::<Self>(h)
    }

    /// `g*gelu'(h)`; see [`gelu_adjoint`](super::gelu_adjoint).
    fn gelu_exact_adjoint(h: FloatTensor<Self>, g: FloatTensor<Self>) -> FloatTensor<Self> {
        default::gelu_adjoint::<Self>(h, g)
    }

    /// `(v*gelu'(h), v*g*gelu''(h))`: the reverse of [`gelu_exact_adjoint`](Self::gelu_exact_adjoint)
    /// for `(g, h)`.
    fn gelu_exact_adjoint_reverse(
        h: FloatTensor<Self>,
        g: FloatTensor<Self>,
        v: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        default::gelu_adjoint_reverse::<Self>(h, g, v)
    }

    /// `(xh*gamma + beta, mean, rstd)`, of `gelu(x)` in the place of `x` where `gelu` is set; see
    /// [`group_norm`](super::group_norm). The statistics are constants to `Autodiff`: the hand-written reverses account for their dependence on `x`.
    fn group_norm_nhwc(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        shape: NormShape,
        gelu: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        default::group_norm::<Self>(x, gamma, beta, shape, gelu)
    }

    /// `A(gamma*g)`, times `gelu'(x)` where `gelu` is set; see
    /// [`group_norm_adjoint`](super::group_norm_adjoint).
    fn group_norm_nhwc_adjoint(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        rstd: FloatTensor<Self>,
        g: FloatTensor<Self>,
        shape: NormShape,
        gelu: bool,
    ) -> FloatTensor<Self> {
        default::group_norm_adjoint::<Self>(x, gamma, mean, rstd, g, shape, gelu)
    }

    /// `(A(gamma*g), sum g*xh, sum g)`, the first times `gelu'(x)` where `gelu` is set: the reverse of [`group_norm_nhwc`](Self::group_norm_nhwc) for
    /// `(x, gamma, beta)`.
    fn group_norm_nhwc_reverse(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        rstd: FloatTensor<Self>,
        g: FloatTensor<Self>,
        shape: NormShape,
        gelu: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        default::group_norm_reverse::<Self>(x, gamma, mean, rstd, g, shape, gelu)
    }

    /// `(dg, dgamma, dx)`: the reverse of [`group_norm_nhwc_adjoint`](Self::group_norm_nhwc_adjoint)
    /// for the cotangent `v`. The formulas stand in [`miyasawa_kernels::norm`].
    fn group_norm_nhwc_adjoint_reverse(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        rstd: FloatTensor<Self>,
        g: FloatTensor<Self>,
        v: FloatTensor<Self>,
        shape: NormShape,
        gelu: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        default::group_norm_adjoint_reverse::<Self>(x, gamma, mean, rstd, g, v, shape, gelu)
    }

    /// The mean over the pixels, `[batch, channels]`; see [`mean_pool`](super::mean_pool).
    fn mean_pool_nhwc(x: FloatTensor<Self>) -> FloatTensor<Self> {
        default::mean_pool::<Self>(x)
    }

    /// `g/(height*width) (+ addend)` at every pixel; see [`mean_pool_adjoint`](super::mean_pool_adjoint).
    fn mean_pool_nhwc_adjoint(
        g: FloatTensor<Self>,
        #[extension_type] addend: Addend<Self>,
        height: usize,
        width: usize,
    ) -> FloatTensor<Self> {
        default::mean_pool_adjoint::<Self>(g, addend, height, width)
    }

    /// One AdamW step on `(p, m, v)` with the gradient `g`: the new `(p, m, v)`; see [`AdamW`].
    fn adamw_update(
        p: FloatTensor<Self>,
        m: FloatTensor<Self>,
        v: FloatTensor<Self>,
        g: FloatTensor<Self>,
        rule: AdamW,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        default::adamw::<Self>(p, m, v, g, rule)
    }

    /// One step of stochastic gradient descent on `(p, m)`: the new `(p, m)`; see [`Sgd`].
    fn sgd_update(
        p: FloatTensor<Self>,
        m: FloatTensor<Self>,
        g: FloatTensor<Self>,
        rule: Sgd,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        default::sgd::<Self>(p, m, g, rule)
    }

    /// `decay*average + (1 - decay)*p`.
    fn ema_update(average: FloatTensor<Self>, p: FloatTensor<Self>, decay: f64) -> FloatTensor<Self> {
        default::ema::<Self>(average, p, decay)
    }
}

#[cfg(feature = "gpu")]
impl JointOps for burn::backend::Cube {}
