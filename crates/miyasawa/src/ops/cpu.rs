//! The CPU bodies: `miyasawa-kernels` on the slices of Burn's Flex tensors.
//!
//! The kernels work in float32. Other types run the default bodies: in float64 they are the
//! reference of the tests.

use super::{
    backend::{JointOps, OptionalTensor, StepInfo},
    default,
};
use burn::backend::{Flex, TensorMetadata, tensor::FloatTensor};
use burn::tensor::{Bytes, DType, Shape};
use burn_flex::{FlexTensor, Layout};
use miyasawa_kernels::{
    conv,
    elementwise::{self, Average},
    gelu,
    norm::{self, Saved},
    pool,
};
use miyasawa_shapes::{AdamW, ConvShape, NormShape, Sgd};

/// A contiguous `f32` tensor and its values.
struct Input(FlexTensor);

impl Input {
    fn new(tensor: FlexTensor) -> Self {
        Self(if tensor.as_slice::<f32>().is_some() { tensor } else { tensor.to_contiguous() })
    }

    fn values(&self) -> &[f32] {
        self.0.as_slice().expect("contiguous f32, as `new` ensures")
    }
}

fn inputs<const N: usize>(tensors: [FlexTensor; N]) -> [Input; N] {
    tensors.map(Input::new)
}

fn saved([h, gamma, mean, rstd]: [&Input; 4]) -> Saved<'_> {
    Saved { h: h.values(), gamma: gamma.values(), mean: mean.values(), rstd: rstd.values() }
}

/// The values of a tensor for updates in place; copied first if another tensor shares them.
fn values_mut(tensor: &mut FlexTensor) -> &mut [f32] {
    let complete = tensor.layout().num_elements() * size_of::<f32>() == tensor.bytes().len();
    if !(complete && tensor.is_contiguous()) {
        let values = Input::new(tensor.clone()).values().to_vec();
        *tensor = output(values, tensor.shape());
    }
    tensor.storage_mut()
}

fn output(values: Vec<f32>, shape: impl Into<Shape>) -> FlexTensor {
    FlexTensor::new(Bytes::from_elems(values), Layout::contiguous(shape.into()), DType::F32)
}

/// Returns the default body's result from a method where the first tensor's type is not the
/// kernels'.
macro_rules! default_unless_f32 {
    ($tensor:ident, $default:expr) => {
        if $tensor.dtype() != DType::F32 {
            return $default;
        }
    };
}

impl JointOps for Flex {
    fn conv2d_nhwc(
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        addend: OptionalTensor<Self>,
        s: ConvShape,
    ) -> FloatTensor<Self> {
        default_unless_f32!(x, default::conv2d::<Self>(x, w, addend, s));
        let [x, w] = inputs([x, w]);
        let addend = addend.into_option().map(Input::new);
        let y = conv::forward(&s, x.values(), w.values(), addend.as_ref().map(Input::values));
        output(y, [s.batch, s.out_height(), s.out_width(), s.out_channels])
    }

    fn conv2d_nhwc_adjoint(
        g: FloatTensor<Self>,
        w: FloatTensor<Self>,
        addend: OptionalTensor<Self>,
        s: ConvShape,
    ) -> FloatTensor<Self> {
        default_unless_f32!(g, default::conv2d_adjoint::<Self>(g, w, addend, s));
        let [g, w] = inputs([g, w]);
        let addend = addend.into_option().map(Input::new);
        let x = conv::adjoint(&s, g.values(), w.values(), addend.as_ref().map(Input::values));
        output(x, [s.batch, s.height, s.width, s.in_channels])
    }

    fn conv2d_nhwc_weight_grad(
        x: FloatTensor<Self>,
        g: FloatTensor<Self>,
        s: ConvShape,
    ) -> FloatTensor<Self> {
        default_unless_f32!(x, default::conv2d_weight_grad::<Self>(x, g, s));
        let [x, g] = inputs([x, g]);
        let dw = conv::weight_grad(&s, x.values(), g.values());
        output(dw, [s.out_channels, s.in_channels, s.kernel, s.kernel])
    }

    fn gelu_exact(h: FloatTensor<Self>) -> FloatTensor<Self> {
        default_unless_f32!(h, default::gelu::<Self>(h));
        let (shape, [h]) = (h.shape(), inputs([h]));
        output(gelu::forward(h.values()), shape)
    }

    fn gelu_exact_adjoint(h: FloatTensor<Self>, g: FloatTensor<Self>) -> FloatTensor<Self> {
        default_unless_f32!(h, default::gelu_adjoint::<Self>(h, g));
        let (shape, [h, g]) = (h.shape(), inputs([h, g]));
        output(gelu::adjoint(h.values(), g.values()), shape)
    }

    fn gelu_exact_adjoint_reverse(
        h: FloatTensor<Self>,
        g: FloatTensor<Self>,
        v: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        default_unless_f32!(h, default::gelu_adjoint_reverse::<Self>(h, g, v));
        let (shape, [h, g, v]) = (h.shape(), inputs([h, g, v]));
        let [dg, dh] = gelu::adjoint_reverse(h.values(), g.values(), v.values());
        (output(dg, shape.clone()), output(dh, shape))
    }

    fn group_norm_nhwc(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        s: NormShape,
        fused: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        default_unless_f32!(x, default::group_norm::<Self>(x, gamma, beta, s, fused));
        let (shape, [x, gamma, beta]) = (x.shape(), inputs([x, gamma, beta]));
        let [y, mean, rstd] = norm::forward(&s, x.values(), gamma.values(), beta.values(), fused);
        let stats = [s.batch, s.groups];
        (output(y, shape), output(mean, stats), output(rstd, stats))
    }

    fn group_norm_nhwc_adjoint(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        rstd: FloatTensor<Self>,
        g: FloatTensor<Self>,
        s: NormShape,
        fused: bool,
    ) -> FloatTensor<Self> {
        default_unless_f32!(
            x,
            default::group_norm_adjoint::<Self>(x, gamma, mean, rstd, g, s, fused)
        );
        let (shape, [x, gamma, mean, rstd, g]) = (x.shape(), inputs([x, gamma, mean, rstd, g]));
        let [y, _, _] = norm::adjoint(&s, saved([&x, &gamma, &mean, &rstd]), g.values(), fused);
        output(y, shape)
    }

    fn group_norm_nhwc_reverse(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        rstd: FloatTensor<Self>,
        g: FloatTensor<Self>,
        s: NormShape,
        fused: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        default_unless_f32!(
            x,
            default::group_norm_reverse::<Self>(x, gamma, mean, rstd, g, s, fused)
        );
        let (shape, [x, gamma, mean, rstd, g]) = (x.shape(), inputs([x, gamma, mean, rstd, g]));
        let [y, d_gamma, d_beta] =
            norm::adjoint(&s, saved([&x, &gamma, &mean, &rstd]), g.values(), fused);
        let channels = [s.batch, s.channels];
        (output(y, shape), output(d_gamma, channels), output(d_beta, channels))
    }

    fn group_norm_nhwc_adjoint_reverse(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        rstd: FloatTensor<Self>,
        g: FloatTensor<Self>,
        v: FloatTensor<Self>,
        s: NormShape,
        fused: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        default_unless_f32!(
            x,
            default::group_norm_adjoint_reverse::<Self>(x, gamma, mean, rstd, g, v, s, fused)
        );
        let (shape, [x, gamma, mean, rstd]) = (x.shape(), inputs([x, gamma, mean, rstd]));
        let [g, v] = inputs([g, v]);
        let saved = saved([&x, &gamma, &mean, &rstd]);
        let [dg, d_gamma, dx] = norm::adjoint_reverse(&s, saved, g.values(), v.values(), fused);
        (output(dg, shape.clone()), output(d_gamma, [s.batch, s.channels]), output(dx, shape))
    }

    fn mean_pool_nhwc(x: FloatTensor<Self>) -> FloatTensor<Self> {
        default_unless_f32!(x, default::mean_pool::<Self>(x));
        let ([batch, height, width, channels], [x]) = (x.shape().dims(), inputs([x]));
        let y = pool::forward(batch, height * width, channels, x.values());
        output(y, [batch, channels])
    }

    fn mean_pool_nhwc_adjoint(
        g: FloatTensor<Self>,
        addend: OptionalTensor<Self>,
        height: usize,
        width: usize,
    ) -> FloatTensor<Self> {
        default_unless_f32!(g, default::mean_pool_adjoint::<Self>(g, addend, height, width));
        let ([batch, channels], [g]) = (g.shape().dims(), inputs([g]));
        let addend = addend.into_option().map(Input::new);
        let addend = addend.as_ref().map(Input::values);
        let x = pool::adjoint(batch, height * width, channels, g.values(), addend);
        output(x, [batch, height, width, channels])
    }

    fn sum_of_squares(x: FloatTensor<Self>) -> FloatTensor<Self> {
        default_unless_f32!(x, default::sum_squares::<Self>(x));
        let [x] = inputs([x]);
        output(vec![elementwise::sum_squares(x.values()) as f32], [1])
    }

    fn adamw_update(
        mut p: FloatTensor<Self>,
        mut m: FloatTensor<Self>,
        mut v: FloatTensor<Self>,
        average: OptionalTensor<Self>,
        g: FloatTensor<Self>,
        rule: AdamW,
        at: StepInfo,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        default_unless_f32!(p, default::adamw::<Self>(p, m, v, average, g, rule, at));
        let mut average = average.into_option();
        let [g] = inputs([g]);
        let kept =
            average.as_mut().map(|tensor| Average { values: values_mut(tensor), decay: at.decay });
        let (ps, ms, vs) = (values_mut(&mut p), values_mut(&mut m), values_mut(&mut v));
        elementwise::adamw(&rule, at.step, at.g_scale, ps, ms, vs, g.values(), kept);
        let average = average.unwrap_or_else(|| p.clone());
        (p, m, v, average)
    }

    fn sgd_update(
        mut p: FloatTensor<Self>,
        mut velocity: FloatTensor<Self>,
        average: OptionalTensor<Self>,
        g: FloatTensor<Self>,
        rule: Sgd,
        at: StepInfo,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        default_unless_f32!(p, default::sgd::<Self>(p, velocity, average, g, rule, at));
        let mut average = average.into_option();
        let [g] = inputs([g]);
        let kept =
            average.as_mut().map(|tensor| Average { values: values_mut(tensor), decay: at.decay });
        elementwise::sgd(
            &rule,
            at.g_scale,
            values_mut(&mut p),
            values_mut(&mut velocity),
            g.values(),
            kept,
        );
        let average = average.unwrap_or_else(|| p.clone());
        (p, velocity, average)
    }
}
