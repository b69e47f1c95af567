//! The operations on GPUs: the framework's, with fixed choices where it would choose by time or by
//! chance, so that the same step gives the same bytes on the same card.
//!
//! Convolutions whose operands may be rounded go to tensor cores where the device has them
//! (implicit matrix products, of one kind for every shape). Those in float32 stay the framework's
//! direct ones: tensor cores have no float32.

use super::backend::{JointOps, OptionalTensor};
use super::default;
use burn::backend::{Cube, TensorMetadata, ops::FloatTensorOps, tensor::FloatTensor};
use burn::tensor::{FloatDType, Shape};
use burn_cubecl::cubecl::ir::{ElemType, FloatKind};
use burn_cubecl::{ops, tensor::CubeTensor};
use cubek::{
    convolution::{
        AcceleratedTileKind, ConvAlgorithm, ConvolutionArgs, ConvolutionInputs, Strategy,
        components::ConvSetupError, launch_ref,
    },
    matmul::definition::{MatmulElems, MatmulGlobalElems},
    std::InputBinding,
};
use miyasawa_shapes::{ConvShape, Operands};

/// One kind for all convolutions: no choice is left that could differ between two runs.
const STRATEGY: Strategy = Strategy::Inferred {
    algorithm: ConvAlgorithm::SimpleSyncCyclic,
    tile_kind: AcceleratedTileKind::Cmma,
};

const F32: ElemType = ElemType::Float(FloatKind::F32);
const BF16: ElemType = ElemType::Float(FloatKind::BF16);

/// The type of operands in memory for a product on tensor cores: float32 for TF32, which they round
/// by themselves, and bfloat16. None where operands are not to be rounded.
fn stored(operands: Operands) -> Option<ElemType> {
    match operands {
        Operands::F32 => None,
        Operands::Tf32 => Some(F32),
        Operands::Bf16 => Some(BF16),
    }
}

fn input(x: &CubeTensor, stored: ElemType) -> InputBinding {
    let x = match stored == BF16 {
        true => Cube::float_cast(x.clone(), FloatDType::BF16),
        false => x.clone(),
    };
    InputBinding::new(x.binding(), stored)
}

fn empty(like: &CubeTensor, shape: [usize; 4]) -> CubeTensor {
    Cube::float_empty(Shape::from(shape), &like.device(), like.dtype().into())
}

/// `[out, in, k, k]` as `[out, k, k, in]`.
fn channels_last(w: &CubeTensor) -> CubeTensor {
    ops::permute_nchw_to_nhwc(w.clone())
}

/// The result in `out`, or none where operands are not rounded, the device has no tensor cores or
/// the shape does not fit them: a function of these, never of time.
fn on_tensor_cores(
    s: &ConvShape,
    out: impl FnOnce() -> CubeTensor,
    inputs: impl FnOnce(ElemType, CubeTensor) -> ConvolutionInputs,
) -> Option<CubeTensor> {
    let stored = stored(s.operands)?;
    let out = out();
    let client = out.client.clone();
    if client.properties().features.matmul.cmma.is_empty() {
        return None;
    }
    let args = ConvolutionArgs { stride: [s.stride; 2], padding: [s.padding; 2], dilation: [1; 2] };
    // Sums are in float32.
    let types =
        MatmulElems::from_globals(&MatmulGlobalElems { lhs: stored, rhs: stored, out: F32 });
    let launched: Result<(), ConvSetupError> =
        launch_ref(&STRATEGY, &client, inputs(stored, out.clone()), args, types);
    launched.ok().map(|()| out)
}

/// Rows and columns of a sum in two stages: the largest divisor of `len` up to 1024, and the rest.
fn stages(len: usize) -> [usize; 2] {
    let rows = (1..=len.min(1024)).rev().find(|rows| len.is_multiple_of(*rows)).unwrap_or(1);
    [rows, len / rows.max(1)]
}

/// The framework's sum of all values adds in the order in which blocks end.
fn sum(x: CubeTensor) -> CubeTensor {
    let [rows, columns] = stages(x.shape().num_elements());
    let x = Cube::float_reshape(x, Shape::from([rows, columns]));
    let of_rows = Cube::float_reshape(Cube::float_sum_dim(x, 1), Shape::from([1, rows]));
    Cube::float_reshape(Cube::float_sum_dim(of_rows, 1), Shape::from([1]))
}

impl JointOps for Cube {
    fn conv2d_nhwc(
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        addend: OptionalTensor<Self>,
        s: ConvShape,
    ) -> FloatTensor<Self> {
        let out = || empty(&x, [s.batch, s.out_height(), s.out_width(), s.out_channels]);
        let found = on_tensor_cores(&s, out, |stored, out| ConvolutionInputs::Forward {
            input: input(&x, stored),
            weight: input(&channels_last(&w), stored),
            bias: None,
            out: out.binding(),
        });
        match found {
            Some(y) => default::add::<Self>(y, addend),
            None => default::conv2d::<Self>(x, w, addend, s),
        }
    }

    fn conv2d_nhwc_adjoint(
        g: FloatTensor<Self>,
        w: FloatTensor<Self>,
        addend: OptionalTensor<Self>,
        s: ConvShape,
    ) -> FloatTensor<Self> {
        let out = || empty(&g, [s.batch, s.height, s.width, s.in_channels]);
        let launch = |stored, out: CubeTensor| ConvolutionInputs::BackwardData {
            out_grad: input(&g, stored),
            weights: input(&channels_last(&w), stored),
            in_grad: out.binding(),
        };
        // With a stride there is no such kernel.
        let found = if s.stride == 1 { on_tensor_cores(&s, out, launch) } else { None };
        match found {
            Some(x) => default::add::<Self>(x, addend),
            None => default::conv2d_adjoint::<Self>(g, w, addend, s),
        }
    }

    fn conv2d_nhwc_weight_grad(
        x: FloatTensor<Self>,
        g: FloatTensor<Self>,
        s: ConvShape,
    ) -> FloatTensor<Self> {
        let out = || empty(&x, [s.out_channels, s.kernel, s.kernel, s.in_channels]);
        let found = on_tensor_cores(&s, out, |stored, out| ConvolutionInputs::BackwardWeight {
            input: input(&x, stored),
            out_grad: input(&g, stored),
            weight_grad: out.binding(),
        });
        match found {
            Some(w) => ops::permute_nhwc_to_nchw(w),
            None => default::conv2d_weight_grad::<Self>(x, g, s),
        }
    }

    fn sum_in_order(x: FloatTensor<Self>) -> FloatTensor<Self> {
        sum(x)
    }

    fn sum_of_squares(x: FloatTensor<Self>) -> FloatTensor<Self> {
        sum(Cube::float_mul(x.clone(), x))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stages_of_a_sum_hold_every_value() {
        for (len, expected) in
            [(1, [1, 1]), (10, [10, 1]), (1031, [1, 1031]), (36_864, [1024, 36]), (0, [1, 0])]
        {
            assert_eq!(stages(len), expected);
        }
    }
}
