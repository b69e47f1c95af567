//! The closed set of operations, on tensors: forward, adjoint, and the tensors that their reverses
//! need.
//!
//! Every operation exists three times: a default body in framework operations (any device), a CPU
//! body on `miyasawa-kernels`, and a hand-written reverse for `Autodiff` in terms of the same
//! operations ([`JointOps`]). Activations are channels-last, `[batch, height, width, channels]`.
//!
//! The adjoint of an operation is an ordinary, tracked operation. A network's input gradient,
//! written with adjoints, is therefore differentiable once more by first-order autodiff.
//!
//! ```
//! use miyasawa::{Device, burn::tensor::Tensor, model::host, ops};
//!
//! let device = Device::flex();
//! let h = Tensor::<1>::from_floats([-1.0, 0.0, 2.0], &device);
//! let derivative = host(ops::gelu_adjoint(&h, &h.ones_like()));
//! let [up, down] = [0.01, -0.01].map(|step| host(ops::gelu(&(h.clone() + step))));
//! for ((up, down), derivative) in up.iter().zip(down).zip(derivative) {
//!     assert!(((up - down) / 0.02 - derivative).abs() < 1e-3);
//! }
//! ```

// The reverse of a normalisation has many inputs; each has a name of its meaning.
mod autodiff;
#[allow(clippy::too_many_arguments)]
mod backend;
mod cpu;
#[cfg(feature = "gpu")]
mod cube;
#[allow(clippy::too_many_arguments)]
mod default;
#[cfg(test)]
mod tests;

pub use backend::{JointOps, OptionalTensor, StepInfo};
pub use miyasawa_shapes::{AdamW, ConvShape, NormShape, Operands, Sgd, Statistics};

use burn::backend::Dispatch;
use burn::tensor::Tensor;

fn dispatch<const D: usize>(tensor: &Tensor<D>) -> burn::backend::DispatchTensor {
    tensor.clone().into_dispatch()
}

fn addend(tensor: Option<&Tensor<4>>) -> OptionalTensor<Dispatch> {
    tensor.map_or(OptionalTensor::None, |tensor| OptionalTensor::Tensor(dispatch(tensor)))
}

/// The shape of the convolution of `x` with the weight `w`, `[out, in, kernel, kernel]`, products
/// in float32.
///
/// # Panics
/// If the numbers of channels differ or the kernel is not square.
pub fn conv_shape(input: [usize; 4], w: [usize; 4], stride: usize, padding: usize) -> ConvShape {
    let [batch, height, width, in_channels] = input;
    let [out_channels, w_in, kernel, kernel_width] = w;
    assert_eq!(in_channels, w_in, "conv2d: {in_channels} channels meet weights for {w_in}");
    assert_eq!(kernel, kernel_width, "conv2d: the kernel must be square");
    let operands = Operands::F32;
    ConvShape { batch, height, width, in_channels, out_channels, kernel, stride, padding, operands }
}

/// Computes `conv(x, w) (+ addend)`: `x` is `[batch, height, width, in]`, `w` is PyTorch's
/// `[out, in, k, k]`.
pub fn conv2d(
    x: &Tensor<4>,
    w: &Tensor<4>,
    addend: Option<&Tensor<4>>,
    shape: ConvShape,
) -> Tensor<4> {
    let plus = self::addend(addend);
    Tensor::from_dispatch(Dispatch::conv2d_nhwc(dispatch(x), dispatch(w), plus, shape))
}

/// Computes `conv^T(g, w) (+ addend)`: the gradient of `<conv(x, w), g>` for `x`.
pub fn conv2d_adjoint(
    g: &Tensor<4>,
    w: &Tensor<4>,
    addend: Option<&Tensor<4>>,
    shape: ConvShape,
) -> Tensor<4> {
    let plus = self::addend(addend);
    Tensor::from_dispatch(Dispatch::conv2d_nhwc_adjoint(dispatch(g), dispatch(w), plus, shape))
}

/// Computes the gradient of `<conv(x, w), g>` for `w`.
pub fn conv2d_weight_grad(x: &Tensor<4>, g: &Tensor<4>, shape: ConvShape) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::conv2d_nhwc_weight_grad(dispatch(x), dispatch(g), shape))
}

/// Computes `gelu(h) = h*Phi(h)`, the exact Gaussian error linear unit (Hendrycks & Gimpel 2016).
pub fn gelu<const D: usize>(h: &Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::gelu_exact(dispatch(h)))
}

/// Computes `g*gelu'(h)`, with `gelu' = Phi + h*phi`.
pub fn gelu_adjoint<const D: usize>(h: &Tensor<D>, g: &Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::gelu_exact_adjoint(dispatch(h), dispatch(g)))
}

/// Mean and reciprocal standard deviation of every group, `[batch, groups]` each.
#[derive(Clone, Debug)]
pub struct NormStats {
    mean: Tensor<2>,
    rstd: Tensor<2>,
    statistics: Statistics,
}

impl NormStats {
    /// Mean of every group, `[batch, groups]`. Untracked.
    pub fn mean(&self) -> &Tensor<2> {
        &self.mean
    }

    /// The statistics that were used.
    pub fn statistics(&self) -> Statistics {
        self.statistics
    }

    /// Reciprocal standard deviation of every group, `[batch, groups]`. Untracked.
    pub fn rstd(&self) -> &Tensor<2> {
        &self.rstd
    }
}

/// Group normalisation (Wu & He 2018) with a scale and a shift for every image and channel:
/// `xh*gamma + beta`, where `gamma` and `beta` are `[batch, channels]`. With `gelu` it is `gelu(x)`
/// that is normalised, in the same pass over the activations and with nothing kept between the two.
/// With [`Statistics::Fixed`] nothing is normalised: a scale and a shift.
pub fn group_norm(
    x: &Tensor<4>,
    gamma: &Tensor<2>,
    beta: &Tensor<2>,
    groups: usize,
    statistics: Statistics,
    gelu: bool,
) -> (Tensor<4>, NormStats) {
    let shape = norm_shape(x.dims(), groups, statistics);
    let (y, mean, rstd) =
        Dispatch::group_norm_nhwc(dispatch(x), dispatch(gamma), dispatch(beta), shape, gelu);
    (
        Tensor::from_dispatch(y),
        NormStats {
            mean: Tensor::from_dispatch(mean),
            rstd: Tensor::from_dispatch(rstd),
            statistics,
        },
    )
}

/// `A(gamma*g)` with `A(q) = r*(q - mean q - xh*mean(q*xh))`: the gradient of [`group_norm`] for
/// `x`; with `gelu`, times `gelu'(x)`.
pub fn group_norm_adjoint(
    x: &Tensor<4>,
    gamma: &Tensor<2>,
    stats: &NormStats,
    g: &Tensor<4>,
    gelu: bool,
) -> Tensor<4> {
    let shape = norm_shape(x.dims(), stats.mean.dims()[1], stats.statistics);
    let (mean, rstd) = (dispatch(&stats.mean), dispatch(&stats.rstd));
    Tensor::from_dispatch(Dispatch::group_norm_nhwc_adjoint(
        dispatch(x),
        dispatch(gamma),
        mean,
        rstd,
        dispatch(g),
        shape,
        gelu,
    ))
}

fn norm_shape(
    [batch, height, width, channels]: [usize; 4],
    groups: usize,
    statistics: Statistics,
) -> NormShape {
    NormShape { batch, pixels: height * width, channels, groups, statistics }
}

/// Computes the mean over the pixels of `x`, `[batch, channels]`.
pub fn mean_pool(x: &Tensor<4>) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::mean_pool_nhwc(dispatch(x)))
}

/// Computes `g/(height*width) (+ addend)` at every pixel: the adjoint of [`mean_pool`].
pub fn mean_pool_adjoint(
    g: &Tensor<2>,
    addend: Option<&Tensor<4>>,
    [height, width]: [usize; 2],
) -> Tensor<4> {
    let plus = self::addend(addend);
    Tensor::from_dispatch(Dispatch::mean_pool_nhwc_adjoint(dispatch(g), plus, height, width))
}

/// Computes the sum of all values, in the same order in every run. Untracked.
pub fn sum<const D: usize>(x: &Tensor<D>) -> Tensor<1> {
    Tensor::from_dispatch(Dispatch::sum_in_order(dispatch(x)))
}

/// Computes the sum of the squares of all values, for the norm of a gradient. Untracked.
pub fn sum_squares<const D: usize>(x: &Tensor<D>) -> Tensor<1> {
    Tensor::from_dispatch(Dispatch::sum_of_squares(dispatch(x)))
}

/// The new `[p, m, v, average]`, in one pass on the CPU: AdamW (Loshchilov & Hutter 2019) with the
/// gradient `g`, and `average = decay*average + (1 - decay)*p` of the new `p`. Untracked tensors;
/// they are moved in, so that a device may update them in place. Without an average the last is
/// `p`.
pub fn adamw_update(
    [p, m, v]: [Tensor<1>; 3],
    average: Option<Tensor<1>>,
    g: Tensor<1>,
    rule: AdamW,
    at: StepInfo,
) -> [Tensor<1>; 4] {
    let [p, m, v, g] = [p, m, v, g].map(Tensor::into_dispatch);
    let average = average
        .map_or(OptionalTensor::None, |tensor| OptionalTensor::Tensor(tensor.into_dispatch()));
    let (p, m, v, average) = Dispatch::adamw_update(p, m, v, average, g, rule, at);
    [p, m, v, average].map(Tensor::from_dispatch)
}

/// The new `[p, velocity, average]` of stochastic gradient descent with momentum; otherwise as
/// [`adamw_update`].
pub fn sgd_update(
    [p, velocity]: [Tensor<1>; 2],
    average: Option<Tensor<1>>,
    g: Tensor<1>,
    rule: Sgd,
    at: StepInfo,
) -> [Tensor<1>; 3] {
    let [p, velocity, g] = [p, velocity, g].map(Tensor::into_dispatch);
    let average = average
        .map_or(OptionalTensor::None, |tensor| OptionalTensor::Tensor(tensor.into_dispatch()));
    let (p, velocity, average) = Dispatch::sgd_update(p, velocity, average, g, rule, at);
    [p, velocity, average].map(Tensor::from_dispatch)
}
