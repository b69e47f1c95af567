//! The operations as a Burn backend extension: one trait, a default body in framework operations
//! for any device, and the registration of the backends in `Dispatch`.

use super::default;
use burn::backend::{Backend, ExtensionType, backend_extension, tensor::FloatTensor};
use miyasawa_shapes::{AdamW, ConvShape, NormShape, Sgd};

/// The state of an optimiser that changes from step to step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepInfo {
    /// Number of the step, from 1.
    pub step: u64,
    /// Factor of the gradient, by which its norm is clipped.
    pub g_scale: f32,
    /// Decay of the moving average of the parameters.
    pub decay: f32,
}

/// An optional tensor operand.
#[derive(Clone, Debug, ExtensionType)]
pub enum OptionalTensor<B: Backend> {
    /// There is none.
    None,
    /// This one.
    Tensor(FloatTensor<B>),
}

impl<B: Backend> OptionalTensor<B> {
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
/// [`ops`](super), which work on [`Tensor`](burn::tensor::Tensor)s; a new backend implements
/// this trait, and every method has a default body that is correct on any device.
#[backend_extension(Flex, Cube: cfg(feature = "gpu"), Autodiff)]
pub trait JointOps: Backend {
    /// `y = conv(x, w) (+ addend)`; see [`conv2d`](super::conv2d).
    fn conv2d_nhwc(
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        #[extension_type] addend: OptionalTensor<Self>,
        shape: ConvShape,
    ) -> FloatTensor<Self> {
        default::conv2d::<Self>(x, w, addend, shape)
    }

    /// `x = conv^T(g, w) (+ addend)`; see [`conv2d_adjoint`](super::conv2d_adjoint).
    fn conv2d_nhwc_adjoint(
        g: FloatTensor<Self>,
        w: FloatTensor<Self>,
        #[extension_type] addend: OptionalTensor<Self>,
        shape: ConvShape,
    ) -> FloatTensor<Self> {
        default::conv2d_adjoint::<Self>(g, w, addend, shape)
    }

    /// The gradient of `<conv(x, w), g>` for `w`; see
    /// [`conv2d_weight_grad`](super::conv2d_weight_grad).
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

    /// `(v*gelu'(h), v*g*gelu''(h))`: the reverse of
    /// [`gelu_exact_adjoint`](Self::gelu_exact_adjoint) for `(g, h)`.
    fn gelu_exact_adjoint_reverse(
        h: FloatTensor<Self>,
        g: FloatTensor<Self>,
        v: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        default::gelu_adjoint_reverse::<Self>(h, g, v)
    }

    /// `(xh*gamma + beta, mean, rstd)`, of `gelu(x)` instead of `x` where `gelu` is set; see
    /// [`group_norm`](super::group_norm). The statistics are constants to `Autodiff`: the
    /// hand-written reverses account for their dependence on `x`.
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

    /// `(A(gamma*g), sum g*xh, sum g)`, the first times `gelu'(x)` where `gelu` is set: the reverse
    /// of [`group_norm_nhwc`](Self::group_norm_nhwc) for `(x, gamma, beta)`.
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

    /// `(dg, dgamma, dx)`: the reverse of
    /// [`group_norm_nhwc_adjoint`](Self::group_norm_nhwc_adjoint) for the cotangent `v`. The
    /// formulas are in [`miyasawa_kernels::norm`].
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

    /// `g/(height*width) (+ addend)` at every pixel; see
    /// [`mean_pool_adjoint`](super::mean_pool_adjoint).
    fn mean_pool_nhwc_adjoint(
        g: FloatTensor<Self>,
        #[extension_type] addend: OptionalTensor<Self>,
        height: usize,
        width: usize,
    ) -> FloatTensor<Self> {
        default::mean_pool_adjoint::<Self>(g, addend, height, width)
    }

    /// The sum of all values, `[1]`, in the same order in every run; see [`sum`](super::sum).
    fn sum_in_order(x: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::float_sum(x)
    }

    /// The sum of the squares of all values, `[1]`; see [`sum_squares`](super::sum_squares).
    fn sum_of_squares(x: FloatTensor<Self>) -> FloatTensor<Self> {
        default::sum_squares::<Self>(x)
    }

    /// One AdamW step with the gradient `g`: the new `(p, m, v, average)`; see
    /// [`adamw_update`](super::adamw_update). Without an average the last is `p`.
    fn adamw_update(
        p: FloatTensor<Self>,
        m: FloatTensor<Self>,
        v: FloatTensor<Self>,
        #[extension_type] average: OptionalTensor<Self>,
        g: FloatTensor<Self>,
        rule: AdamW,
        at: StepInfo,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        default::adamw::<Self>(p, m, v, average, g, rule, at)
    }

    /// One step of stochastic gradient descent with the gradient `g`: the new
    /// `(p, velocity, average)`; see [`sgd_update`](super::sgd_update). Without an average the last
    /// is `p`.
    fn sgd_update(
        p: FloatTensor<Self>,
        velocity: FloatTensor<Self>,
        #[extension_type] average: OptionalTensor<Self>,
        g: FloatTensor<Self>,
        rule: Sgd,
        at: StepInfo,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        default::sgd::<Self>(p, velocity, average, g, rule, at)
    }
}
