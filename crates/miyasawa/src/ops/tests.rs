//! One case table through every implementation: the CPU bodies in float32, the hand-written
//! reverses, and as the reference the default bodies in float64, differentiated by the framework.

use super::{backend::OptionalTensor, default, *};
use crate::verify::relative_error;
use burn::tensor::{DType, Device, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::cell::Cell;

/// Float32 kernels against float64, values and gradients.
const TOLERANCE: f64 = 2e-5;

/// The CPU, or the device that `MIYASAWA_TEST_DEVICE` names (in a build with that device).
fn tested_device() -> Device {
    let name = std::env::var("MIYASAWA_TEST_DEVICE").unwrap_or_else(|_| "cpu".to_owned());
    name.parse::<crate::device::DeviceSpec>().and_then(|spec| spec.open()).unwrap()
}

/// Inputs of an operation, by their shapes; ranks differ, so that they are kept flat.
struct Inputs {
    shapes: Vec<Vec<usize>>,
    values: Vec<Vec<f64>>,
    /// Whether rows lie apart in memory, as CUDA's allocations lay them out.
    pitched: Cell<bool>,
}

impl Inputs {
    fn random(shapes: &[&[usize]], seed: u64) -> Self {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let draw = |shape: &&[usize], rng: &mut ChaCha8Rng| {
            (0..shape.iter().product()).map(|_| rng.random_range(-2.0..2.0)).collect()
        };
        let values = shapes.iter().map(|shape| draw(shape, rng)).collect();
        let shapes = shapes.iter().map(|shape| shape.to_vec()).collect();
        Self { shapes, values, pitched: Cell::new(false) }
    }

    /// Tracked leaves of one type: float32 on the device under test, the float64 reference on the
    /// CPU.
    fn leaves(&self, dtype: DType) -> Vec<Tensor<1>> {
        let device = if dtype == DType::F32 { tested_device() } else { Device::flex() }.autodiff();
        self.values
            .iter()
            .map(|v| {
                let data = TensorData::new(v.clone(), [v.len()]);
                Tensor::<1>::from_data(data, (&device, dtype)).require_grad()
            })
            .collect()
    }

    fn shaped<const D: usize>(&self, leaves: &[Tensor<1>], i: usize) -> Tensor<D> {
        let shape: [usize; D] = self.shapes[i].clone().try_into().expect("the rank of the input");
        let tensor = leaves[i].clone().reshape(shape);
        if !self.pitched.get() {
            return tensor;
        }
        let row = shape[D - 1];
        let between = tensor.zeros_like().narrow(D - 1, 0, 1) + f32::NAN;
        Tensor::cat(vec![tensor, between], D - 1).narrow(D - 1, 0, row)
    }
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().try_to_vec::<f32>().unwrap()
}

/// The result and the gradients of `<result, cotangent>` for every input.
fn run<const D: usize>(
    inputs: &Inputs,
    dtype: DType,
    op: &dyn Fn(&[Tensor<1>]) -> Tensor<D>,
) -> Vec<Vec<f32>> {
    let leaves = inputs.leaves(dtype);
    let out = op(&leaves);
    let cotangent = Inputs::random(&[&out.dims()], 99);
    let cotangent: Tensor<D> = cotangent.shaped(&cotangent.leaves(dtype), 0);
    let grads = (out.clone() * cotangent.detach()).sum().backward();
    let mut all = vec![values(out)];
    for leaf in &leaves {
        // An input that the operation does not depend on has no gradient; the reference's is zero.
        all.push(leaf.grad(&grads).map_or_else(Vec::new, values));
    }
    all
}

/// The operation, on the CPU kernels and in float64, against its default body.
fn agree<const D: usize>(
    name: &str,
    inputs: &Inputs,
    op: &dyn Fn(&[Tensor<1>]) -> Tensor<D>,
    reference: &dyn Fn(&[Tensor<1>]) -> Tensor<D>,
) {
    let expected = run(inputs, DType::F64, reference);
    let cases =
        [(DType::F32, TOLERANCE, false), (DType::F32, TOLERANCE, true), (DType::F64, 1e-6, false)];
    for (dtype, tolerance, pitched) in cases {
        inputs.pitched.set(pitched);
        let found = run(inputs, dtype, op);
        inputs.pitched.set(false);
        for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
            if found.is_empty() {
                let largest = expected.iter().fold(0.0f32, |m, v| m.max(v.abs()));
                assert_eq!(
                    largest, 0.0,
                    "{name} {dtype:?} pitched {pitched}: input {i} has no gradient"
                );
                continue;
            }
            let error = relative_error(found, expected);
            let what = if i == 0 { "value".to_owned() } else { format!("gradient of input {i}") };
            assert!(
                error <= tolerance,
                "{name} {dtype:?} pitched {pitched} {:?}: {what} is off by {error:.1e}",
                inputs.shapes
            );
        }
    }
}

/// `[batch, height, width, in, out, kernel, stride]`.
const CONVS: [[usize; 7]; 8] = [
    [2, 8, 8, 3, 8, 3, 1],
    [1, 7, 9, 1, 5, 3, 1],
    [2, 12, 10, 8, 16, 3, 2],
    [1, 7, 9, 4, 6, 3, 2],
    [3, 6, 5, 8, 16, 1, 2],
    [1, 1, 1, 8, 8, 3, 1],
    [1, 2, 3, 16, 4, 3, 2],
    [2, 9, 4, 17, 33, 3, 1],
];

fn conv_case([batch, height, width, cin, cout, kernel, stride]: [usize; 7]) -> ConvShape {
    conv_shape([batch, height, width, cin], [cout, cin, kernel, kernel], stride, kernel / 2)
}

fn conv_inputs(s: &ConvShape) -> ([usize; 4], [usize; 4], [usize; 4]) {
    let x = [s.batch, s.height, s.width, s.in_channels];
    let w = [s.out_channels, s.in_channels, s.kernel, s.kernel];
    (x, w, [s.batch, s.out_height(), s.out_width(), s.out_channels])
}

#[test]
fn convolutions_agree_with_their_default_bodies() {
    for case in CONVS {
        let s = conv_case(case);
        let (x, w, y) = conv_inputs(&s);
        let inputs = Inputs::random(&[&x, &w, &y], 1);
        agree::<4>(
            "conv2d",
            &inputs,
            &|l| conv2d(&inputs.shaped(l, 0), &inputs.shaped(l, 1), Some(&inputs.shaped(l, 2)), s),
            &|l| {
                let [x, w, a] = [0, 1, 2].map(|i| inputs.shaped::<4>(l, i).into_dispatch());
                Tensor::from_dispatch(default::conv2d::<Dispatch>(
                    x,
                    w,
                    OptionalTensor::Tensor(a),
                    s,
                ))
            },
        );
        let inputs = Inputs::random(&[&y, &w, &x], 2);
        agree::<4>(
            "conv2d_adjoint",
            &inputs,
            &|l| {
                conv2d_adjoint(
                    &inputs.shaped(l, 0),
                    &inputs.shaped(l, 1),
                    Some(&inputs.shaped(l, 2)),
                    s,
                )
            },
            &|l| {
                let [g, w, a] = [0, 1, 2].map(|i| inputs.shaped::<4>(l, i).into_dispatch());
                Tensor::from_dispatch(default::conv2d_adjoint::<Dispatch>(
                    g,
                    w,
                    OptionalTensor::Tensor(a),
                    s,
                ))
            },
        );
        // The reference for the third of the family is its definition: the gradient of <conv(x, w),
        // g>.
        let inputs = Inputs::random(&[&x, &w, &y], 3);
        let leaves = inputs.leaves(DType::F64);
        let (x, w, g) =
            (inputs.shaped(&leaves, 0), inputs.shaped(&leaves, 1), inputs.shaped(&leaves, 2));
        let grads = (conv2d(&x, &w, None, s) * g.clone()).sum().backward();
        let expected = values(leaves[1].grad(&grads).unwrap());
        let leaves = inputs.leaves(DType::F32);
        let found = conv2d_weight_grad(&inputs.shaped(&leaves, 0), &inputs.shaped(&leaves, 2), s);
        let error = relative_error(&values(found), &expected);
        assert!(error <= TOLERANCE, "conv2d_weight_grad {s:?}: {error:.1e}");
    }
}

/// Rounded operands are the same on the CPU kernels and in the default bodies, whose float64 sums
/// are the reference.
#[test]
fn products_in_bfloat16_agree_with_their_default_bodies() {
    for case in CONVS {
        let s = ConvShape { operands: Operands::Bf16, ..conv_case(case) };
        let (x, w, y) = conv_inputs(&s);
        let inputs = Inputs::random(&[&x, &w, &y], 5);
        let passes = |dtype| {
            let leaves = inputs.leaves(dtype);
            let [x, w, g] = [0, 1, 2].map(|i| inputs.shaped::<4>(&leaves, i));
            [
                conv2d(&x, &w, None, s),
                conv2d_adjoint(&g, &w, None, s),
                conv2d_weight_grad(&x, &g, s),
            ]
            .map(values)
        };
        let exact = values(conv2d(
            &inputs.shaped(&inputs.leaves(DType::F64), 0),
            &inputs.shaped(&inputs.leaves(DType::F64), 1),
            None,
            ConvShape { operands: Operands::F32, ..s },
        ));
        let (found, expected) = (passes(DType::F32), passes(DType::F64));
        for (found, expected) in found.iter().zip(&expected) {
            let error = relative_error(found, expected);
            assert!(error <= TOLERANCE, "{s:?}: {error:.1e}");
        }
        let error = relative_error(&found[0], &exact);
        assert!((1e-4..2e-2).contains(&error), "{s:?}: rounding moves the result by {error:.1e}");
    }
}

/// TF32 is a matter of tensor cores: the CPU computes in float32, whatever the algorithm.
#[test]
fn tf32_is_float32_on_the_cpu() {
    if tested_device() != Device::flex() {
        return;
    }
    for case in CONVS {
        let s = conv_case(case);
        let (x, w, y) = conv_inputs(&s);
        let inputs = Inputs::random(&[&x, &w, &y], 5);
        let leaves = inputs.leaves(DType::F32);
        let [x, w, g] = [0, 1, 2].map(|i| inputs.shaped::<4>(&leaves, i));
        let of = |operands| {
            let s = ConvShape { operands, ..s };
            let [y, dx] = [conv2d(&x, &w, None, s), conv2d_adjoint(&g, &w, None, s)];
            [y, dx, conv2d_weight_grad(&x, &g, s)].map(values)
        };
        assert_eq!(of(Operands::Tf32), of(Operands::F32), "{s:?}");
    }
}

#[test]
fn the_weight_gradient_has_the_reverses_of_a_bilinear_operation() {
    let s = conv_case(CONVS[3]);
    let (x, w, y) = conv_inputs(&s);
    let inputs = Inputs::random(&[&x, &w, &y], 4);
    // <weight_grad(x, g), u> = <conv(x, u), g>, so that both have the same gradients.
    let gradients = |op: &dyn Fn(Tensor<4>, Tensor<4>, Tensor<4>) -> Tensor<4>| {
        let leaves = inputs.leaves(DType::F64);
        let [x, u, g] = [0, 1, 2].map(|i| inputs.shaped::<4>(&leaves, i));
        let grads = op(x, u, g).sum().backward();
        leaves.iter().map(|leaf| values(leaf.grad(&grads).unwrap())).collect::<Vec<_>>()
    };
    let left = gradients(&|x, u, g| conv2d_weight_grad(&x, &g, s) * u);
    let right = gradients(&|x, u, g| conv2d(&x, &u, None, s) * g);
    for (i, (left, right)) in left.iter().zip(&right).enumerate() {
        let error = relative_error(left, right);
        assert!(error <= 1e-6, "input {i}: {error:.1e}");
    }
}

#[test]
fn gelu_agrees_with_its_default_body() {
    for len in [1usize, 7, 64, 1000] {
        let inputs = Inputs::random(&[&[len], &[len]], 5);
        agree::<1>("gelu", &inputs, &|l| gelu(&l[0]), &|l| {
            Tensor::from_dispatch(default::gelu::<Dispatch>(l[0].clone().into_dispatch()))
        });
        agree::<1>("gelu_adjoint", &inputs, &|l| gelu_adjoint(&l[0], &l[1]), &|l| {
            let [h, g] = [0, 1].map(|i: usize| l[i].clone().into_dispatch());
            Tensor::from_dispatch(default::gelu_adjoint::<Dispatch>(h, g))
        });
    }
}

#[test]
fn group_norm_agrees_with_its_default_body() {
    let shapes = [
        ([2, 4, 5, 16], 2),
        ([1, 3, 3, 5], 1),
        ([3, 2, 1, 24], 3),
        ([1, 7, 9, 8], 1),
        ([2, 1, 1, 16], 2),
    ];
    let by = [Statistics::default(), Statistics::Group { epsilon: 0.05 }, Statistics::Fixed];
    let cases = shapes.into_iter().flat_map(|shape| by.map(|by| (shape, by)));
    for ((([batch, height, width, channels], groups), by), gelu) in
        cases.flat_map(|case| [(case, false), (case, true)])
    {
        let (x, affine) = ([batch, height, width, channels], [batch, channels]);
        let s = norm_shape(x, groups, by);
        let inputs = Inputs::random(&[&x, &affine, &affine], 6);
        agree::<4>(
            "group_norm",
            &inputs,
            &|l| {
                let [gamma, beta] = [1, 2].map(|i| inputs.shaped(l, i));
                group_norm(&inputs.shaped(l, 0), &gamma, &beta, groups, by, gelu).0
            },
            &|l| {
                let x = inputs.shaped::<4>(l, 0).into_dispatch();
                let [gamma, beta] = [1, 2].map(|i| inputs.shaped::<2>(l, i).into_dispatch());
                Tensor::from_dispatch(default::group_norm::<Dispatch>(x, gamma, beta, s, gelu).0)
            },
        );
        let inputs = Inputs::random(&[&x, &affine, &x], 7);
        agree::<4>(
            "group_norm_adjoint",
            &inputs,
            &|l| {
                let (x, gamma) = (inputs.shaped(l, 0), inputs.shaped(l, 1));
                let (_, stats) = group_norm(&x, &gamma, &gamma, groups, by, gelu);
                group_norm_adjoint(&x, &gamma, &stats, &inputs.shaped(l, 2), gelu)
            },
            &|l| {
                // The reference's statistics are tracked: its gradient for x goes through them.
                let [x, g] = [0, 2].map(|i| inputs.shaped::<4>(l, i).into_dispatch());
                let gamma = inputs.shaped::<2>(l, 1).into_dispatch();
                let (_, mean, rstd) = default::group_norm::<Dispatch>(
                    x.clone(),
                    gamma.clone(),
                    gamma.clone(),
                    s,
                    gelu,
                );
                let found = Tensor::from_dispatch(default::group_norm_adjoint::<Dispatch>(
                    x, gamma, mean, rstd, g, s, gelu,
                ));
                // Without statistics and GELU nothing depends on x: it has a gradient of 0, not
                // none.
                found + inputs.shaped::<4>(l, 0) * 0.0
            },
        );
    }
}

#[test]
fn pooling_agrees_with_its_default_body() {
    for [batch, height, width, channels] in [[2, 4, 5, 16], [1, 1, 1, 3], [3, 7, 2, 5]] {
        let (x, pooled) = ([batch, height, width, channels], [batch, channels]);
        let inputs = Inputs::random(&[&x, &pooled], 8);
        agree::<2>("mean_pool", &inputs, &|l| mean_pool(&inputs.shaped(l, 0)), &|l| {
            Tensor::from_dispatch(default::mean_pool::<Dispatch>(
                inputs.shaped::<4>(l, 0).into_dispatch(),
            ))
        });
        let size = [height, width];
        agree::<4>(
            "mean_pool_adjoint",
            &inputs,
            &|l| mean_pool_adjoint(&inputs.shaped(l, 1), Some(&inputs.shaped(l, 0)), size),
            &|l| {
                let a = OptionalTensor::Tensor(inputs.shaped::<4>(l, 0).into_dispatch());
                let g = inputs.shaped::<2>(l, 1).into_dispatch();
                Tensor::from_dispatch(default::mean_pool_adjoint::<Dispatch>(g, a, height, width))
            },
        );
    }
}

#[test]
fn sums_agree_with_their_default_bodies() {
    for len in [1, 7, 1000, 1031, 36_864] {
        let inputs = Inputs::random(&[&[len]], 9);
        let found = values(sum_squares(&inputs.leaves(DType::F32)[0].clone().inner()));
        let reference =
            default::sum_squares::<Dispatch>(inputs.leaves(DType::F64)[0].clone().into_dispatch());
        let expected = values(Tensor::<1>::from_dispatch(reference));
        assert!(
            (found[0] - expected[0]).abs() <= 1e-6 * expected[0],
            "{len}: {found:?}, {expected:?}"
        );
        let found = values(sum(&inputs.leaves(DType::F32)[0].clone().inner()));
        let expected: f64 = inputs.values[0].iter().sum();
        let all: f64 = inputs.values[0].iter().map(|value| value.abs()).sum();
        assert!(
            (f64::from(found[0]) - expected).abs() <= 1e-6 * all,
            "{len}: {found:?}, {expected}"
        );
    }
}

#[test]
#[should_panic(expected = "3 channels meet weights for 4")]
fn mismatched_channels_are_reported() {
    conv_shape([1, 8, 8, 3], [8, 4, 3, 3], 1, 1);
}
