//! The reverses for `Autodiff<B>`, each written in terms of the same operations on `B`.
//!
//! `Autodiff` differentiates once. That is enough for exact parameter gradients of a loss on the
//! score, because the adjoint of the network is itself made of tracked operations (see
//! ARCHITECTURE.md). The reverses of the reverses are not written.

use super::backend::{JointOps, OptionalTensor};
use burn::backend::{
    Autodiff, Backend,
    autodiff::{
        NodeId,
        checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
        grads::Gradients,
        ops::{Backward, Ops, OpsKind},
    },
    tensor::FloatTensor,
};
use miyasawa_shapes::{ConvShape, NormShape};

/// Registers the gradient for a parent that asks for one; `gradient` is not computed otherwise.
fn register_grad<B: Backend>(
    grads: &mut Gradients,
    parent: Option<NodeId>,
    gradient: impl FnOnce() -> FloatTensor<B>,
) {
    if let Some(parent) = parent {
        grads.register::<B>(parent, gradient());
    }
}

/// Implements `Backward` for a unit type with a state of tensors.
///
/// `reverse!(Name, parents, (state fields): (types), |dy, parents, grads| body)`; the backend is
/// `B`.
macro_rules! reverse {
    (
        $name:ident, [$($n:tt)+], $state:pat => $types:ty,
        |$dy:ident, $parents:ident, $grads:ident| $body:block
    ) => {
        #[derive(Debug)]
        struct $name;
        reverse!(@imp $name, [$($n)+], $state => $types, |$dy, $parents, $grads| $body);
    };
    (
        @imp $name:ident, [const N], $state:pat => $types:ty,
        |$dy:ident, $parents:ident, $grads:ident| $body:block
    ) => {
        impl<B: JointOps, const N: usize> Backward<B, N> for $name {
            type State = $types;
            fn backward(
                self,
                ops: Ops<Self::State, N>,
                $grads: &mut Gradients,
                _: &mut Checkpointer,
            ) {
                let $dy = $grads.consume::<B>(&ops.node);
                let parents = ops.parents.each_ref();
                let $parents = parents.map(|parent| parent.as_ref().map(|node| node.id));
                let $state = ops.state;
                $body
            }
        }
    };
    (
        @imp $name:ident, [$n:literal], $state:pat => $types:ty,
        |$dy:ident, $parents:ident, $grads:ident| $body:block
    ) => {
        impl<B: JointOps> Backward<B, $n> for $name {
            type State = $types;
            fn backward(
                self,
                ops: Ops<Self::State, $n>,
                $grads: &mut Gradients,
                _: &mut Checkpointer,
            ) {
                let $dy = $grads.consume::<B>(&ops.node);
                let parents = ops.parents.each_ref();
                let $parents = parents.map(|parent| parent.as_ref().map(|node| node.id));
                let $state = ops.state;
                $body
            }
        }
    };
}

/// Runs `$output` and records `$name` with `$state`, which is built only where a parent is tracked.
macro_rules! record {
    ($name:ident, [$($node:expr),+], $state:expr, $output:expr) => {
        match $name.prepare::<C>([$($node),+]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let state = $state;
                prep.finish(state, $output)
            }
            OpsKind::UnTracked(prep) => prep.finish($output),
        }
    };
}

type Two<B> = (FloatTensor<B>, FloatTensor<B>);
/// Two operands of a convolution and its shape.
type OfConv<B> = (FloatTensor<B>, FloatTensor<B>, ConvShape);
/// The shape of a norm, and whether it is that of a GELU.
type NormKind = (NormShape, bool);
type OfNorm<B> = (FloatTensor<B>, FloatTensor<B>, Two<B>, NormKind);
type OfNormAdjoint<B> = (Two<B>, Two<B>, FloatTensor<B>, NormKind);

reverse!(Conv, [const N], (x, w, s) => OfConv<B>, |dy, parents, grads| {
    let none = OptionalTensor::None;
    register_grad::<B>(grads, parents[0], || B::conv2d_nhwc_adjoint(dy.clone(), w, none, s));
    register_grad::<B>(grads, parents[1], || B::conv2d_nhwc_weight_grad(x, dy.clone(), s));
    register_grad::<B>(grads, parents.get(2).copied().flatten(), || dy);
});

reverse!(ConvAdjoint, [const N], (g, w, s) => OfConv<B>, |v, parents, grads| {
    register_grad::<B>(grads, parents[0], || B::conv2d_nhwc(v.clone(), w, OptionalTensor::None, s));
    register_grad::<B>(grads, parents[1], || B::conv2d_nhwc_weight_grad(v.clone(), g, s));
    register_grad::<B>(grads, parents.get(2).copied().flatten(), || v);
});

reverse!(ConvWeightGrad, [2], (x, g, s) => OfConv<B>, |u, parents, grads| {
    let none = OptionalTensor::None;
    register_grad::<B>(grads, parents[0], || B::conv2d_nhwc_adjoint(g, u.clone(), none, s));
    register_grad::<B>(grads, parents[1], || B::conv2d_nhwc(x, u.clone(), OptionalTensor::None, s));
});

reverse!(Gelu, [1], h => FloatTensor<B>, |dy, parents, grads| {
    register_grad::<B>(grads, parents[0], || B::gelu_exact_adjoint(h, dy));
});

reverse!(GeluAdjoint, [2], (h, g) => Two<B>, |v, parents, grads| {
    let (dg, dh) = B::gelu_exact_adjoint_reverse(h, g, v);
    register_grad::<B>(grads, parents[0], || dh);
    register_grad::<B>(grads, parents[1], || dg);
});

reverse!(Norm, [3], (x, gamma, (mean, rstd), (s, gelu)) => OfNorm<B>, |dy, parents, grads| {
    let (dx, d_gamma, d_beta) = B::group_norm_nhwc_reverse(x, gamma, mean, rstd, dy, s, gelu);
    register_grad::<B>(grads, parents[0], || dx);
    register_grad::<B>(grads, parents[1], || d_gamma);
    register_grad::<B>(grads, parents[2], || d_beta);
});

reverse!(NormAdjoint, [3], ((x, gamma), (mean, rstd), g, (s, gelu)) => OfNormAdjoint<B>,
    |v, parents, grads| {
    let (dg, d_gamma, dx) = B::group_norm_nhwc_adjoint_reverse(x, gamma, mean, rstd, g, v, s, gelu);
    register_grad::<B>(grads, parents[0], || dx);
    register_grad::<B>(grads, parents[1], || d_gamma);
    register_grad::<B>(grads, parents[2], || dg);
});

reverse!(Pool, [1], [height, width] => [usize; 2], |dy, parents, grads| {
    let none = OptionalTensor::None;
    register_grad::<B>(grads, parents[0], || B::mean_pool_nhwc_adjoint(dy, none, height, width));
});

reverse!(PoolAdjoint, [const N], () => (), |v, parents, grads| {
    register_grad::<B>(grads, parents[0], || B::mean_pool_nhwc(v.clone()));
    register_grad::<B>(grads, parents.get(1).copied().flatten(), || v);
});

impl<B: JointOps, C: CheckpointStrategy> JointOps for Autodiff<B, C> {
    fn conv2d_nhwc(
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        addend: OptionalTensor<Self>,
        s: ConvShape,
    ) -> FloatTensor<Self> {
        let (x, nx) = x.into_parts();
        let (w, nw) = w.into_parts();
        match addend.into_option().map(|addend| addend.into_parts()) {
            None => {
                record!(
                    Conv,
                    [nx, nw],
                    (x.clone(), w.clone(), s),
                    B::conv2d_nhwc(x, w, OptionalTensor::None, s)
                )
            }
            Some((a, na)) => {
                record!(
                    Conv,
                    [nx, nw, na],
                    (x.clone(), w.clone(), s),
                    B::conv2d_nhwc(x, w, OptionalTensor::Tensor(a), s)
                )
            }
        }
    }

    fn conv2d_nhwc_adjoint(
        g: FloatTensor<Self>,
        w: FloatTensor<Self>,
        addend: OptionalTensor<Self>,
        s: ConvShape,
    ) -> FloatTensor<Self> {
        let (g, ng) = g.into_parts();
        let (w, nw) = w.into_parts();
        let state = |g: &FloatTensor<B>, w: &FloatTensor<B>| (g.clone(), w.clone(), s);
        match addend.into_option().map(|addend| addend.into_parts()) {
            None => {
                record!(
                    ConvAdjoint,
                    [ng, nw],
                    state(&g, &w),
                    B::conv2d_nhwc_adjoint(g, w, OptionalTensor::None, s)
                )
            }
            Some((a, na)) => {
                record!(
                    ConvAdjoint,
                    [ng, nw, na],
                    state(&g, &w),
                    B::conv2d_nhwc_adjoint(g, w, OptionalTensor::Tensor(a), s)
                )
            }
        }
    }

    fn conv2d_nhwc_weight_grad(
        x: FloatTensor<Self>,
        g: FloatTensor<Self>,
        s: ConvShape,
    ) -> FloatTensor<Self> {
        let (x, nx) = x.into_parts();
        let (g, ng) = g.into_parts();
        record!(
            ConvWeightGrad,
            [nx, ng],
            (x.clone(), g.clone(), s),
            B::conv2d_nhwc_weight_grad(x, g, s)
        )
    }

    fn gelu_exact(h: FloatTensor<Self>) -> FloatTensor<Self> {
        let (h, nh) = h.into_parts();
        record!(Gelu, [nh], h.clone(), B::gelu_exact(h))
    }

    fn gelu_exact_adjoint(h: FloatTensor<Self>, g: FloatTensor<Self>) -> FloatTensor<Self> {
        let (h, nh) = h.into_parts();
        let (g, ng) = g.into_parts();
        record!(GeluAdjoint, [nh, ng], (h.clone(), g.clone()), B::gelu_exact_adjoint(h, g))
    }

    fn group_norm_nhwc(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        s: NormShape,
        gelu: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        use burn::backend::AutodiffBackend;
        let (x, nx) = x.into_parts();
        let (gamma, ng) = gamma.into_parts();
        let (y, mean, rstd) =
            B::group_norm_nhwc(x.clone(), gamma.clone(), beta.primitive().clone(), s, gelu);
        let state = || (x, gamma, (mean.clone(), rstd.clone()), (s, gelu));
        let y = record!(Norm, [nx, ng, beta.node()], state(), y);
        (y, Self::from_inner(mean), Self::from_inner(rstd))
    }

    fn group_norm_nhwc_adjoint(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        rstd: FloatTensor<Self>,
        g: FloatTensor<Self>,
        s: NormShape,
        gelu: bool,
    ) -> FloatTensor<Self> {
        let (x, nx) = x.into_parts();
        let (gamma, n_gamma) = gamma.into_parts();
        let (g, ng) = g.into_parts();
        let (mean, rstd) = (mean.into_primitive(), rstd.into_primitive());
        let state =
            ((x.clone(), gamma.clone()), (mean.clone(), rstd.clone()), g.clone(), (s, gelu));
        let y = B::group_norm_nhwc_adjoint(x, gamma, mean, rstd, g, s, gelu);
        record!(NormAdjoint, [nx, n_gamma, ng], state, y)
    }

    fn mean_pool_nhwc(x: FloatTensor<Self>) -> FloatTensor<Self> {
        use burn::backend::TensorMetadata;
        let [_, height, width, _] = x.shape().dims();
        let (x, nx) = x.into_parts();
        record!(Pool, [nx], [height, width], B::mean_pool_nhwc(x))
    }

    fn mean_pool_nhwc_adjoint(
        g: FloatTensor<Self>,
        addend: OptionalTensor<Self>,
        height: usize,
        width: usize,
    ) -> FloatTensor<Self> {
        let (g, ng) = g.into_parts();
        match addend.into_option().map(|addend| addend.into_parts()) {
            None => {
                record!(
                    PoolAdjoint,
                    [ng],
                    (),
                    B::mean_pool_nhwc_adjoint(g, OptionalTensor::None, height, width)
                )
            }
            Some((a, na)) => {
                record!(
                    PoolAdjoint,
                    [ng, na],
                    (),
                    B::mean_pool_nhwc_adjoint(g, OptionalTensor::Tensor(a), height, width)
                )
            }
        }
    }
}
