//! Muon: the momentum of a weight matrix, orthogonalised.
//!
//! Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks". A convolution's
//! weight is taken as the matrix `[out, in*k*k]`. The length of a step is that of Liu et al. 2025,
//! "Muon is scalable for LLM training": `0.2*sqrt(max(rows, columns))` gives the step of AdamW's
//! usual size, so that one learning rate and one decay serve all parameters.

use crate::ops;
use burn::tensor::Tensor;

/// The quintic iteration that lifts small singular values fast; it ends between about 0.7 and 1.2,
/// not at 1.
const COEFFICIENTS: [f64; 3] = [3.4445, -4.7750, 2.0315];
const ITERATIONS: usize = 5;

/// The direction of a step, by which the learning rate is to be multiplied, and the new momentum.
/// `shape` is that of the weight, whose gradient is `g`.
pub fn direction(
    g: Tensor<1>,
    momentum: Tensor<1>,
    keep: f64,
    shape: &[usize],
) -> (Tensor<1>, Tensor<1>) {
    let momentum = momentum * keep + g.clone() * (1.0 - keep);
    let ahead = momentum.clone() * keep + g * (1.0 - keep);
    let [rows, columns] = [shape[0], shape[1..].iter().product()];
    let scale = 0.2 * (rows.max(columns) as f64).sqrt();
    let direction = orthogonalized(ahead.reshape([rows, columns])) * scale;
    (direction.reshape([-1]), momentum)
}

/// `U V^T` of the singular value decomposition `U S V^T`, roughly: the singular values end near 1.
///
/// Every iterate is `Q*X` with `Q` a polynomial of `A = X*X^T`, so that only `Q` and `A`, which are
/// of the smaller side's size, are iterated: less than half the products where the other side is
/// nine times as long.
fn orthogonalized(g: Tensor<2>) -> Tensor<2> {
    let [rows, columns] = g.dims();
    let tall = rows > columns;
    let x = if tall { g.transpose() } else { g };
    let norm = ops::sum(&x.clone().powi_scalar(2)).sqrt() + 1e-7;
    let x = x / norm.unsqueeze::<2>();
    let [a, b, c] = COEFFICIENTS;
    let mut square = x.clone().matmul(x.clone().transpose());
    let mut factor = Tensor::<2>::eye(rows.min(columns), &x.device());
    for i in 1..=ITERATIONS {
        // The iteration multiplies by `a + part`, from the left the factor, from both sides the
        // square.
        let part = square.clone() * b + square.clone().matmul(square.clone()) * c;
        factor = factor.clone() * a + part.clone().matmul(factor);
        if i == ITERATIONS {
            break;
        }
        let half = square.clone() * a + part.clone().matmul(square);
        square = half.clone() * a + half.matmul(part);
    }
    let x = factor.matmul(x);
    if tall { x.transpose() } else { x }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;
    use burn::tensor::TensorData;

    fn values(t: Tensor<1>) -> Vec<f32> {
        t.into_data().try_to_vec::<f32>().unwrap()
    }

    /// The numbers come from scripts/optimizer_oracle.py (the same iteration in float64, and
    /// torch.optim.Muon, whose iteration is in bfloat16, within a hundredth).
    #[test]
    fn two_steps_agree_with_pytorch() {
        let device = Device::flex();
        let tensor = |v: [f32; 6]| Tensor::<1>::from_data(TensorData::from(v), &device);
        let mut momentum = tensor([0.0; 6]);
        let mut weight = vec![0.0f32; 6];
        for g in [[1.0, -2.0, 0.5, 0.25, 1.5, -1.0], [0.5, 0.5, -1.0, 2.0, -0.25, 0.0]] {
            let (step, next) = direction(tensor(g), momentum, 0.9, &[2, 1, 1, 3]);
            momentum = next;
            weight.iter_mut().zip(values(step)).for_each(|(w, step)| *w -= 0.1 * step);
        }
        let expected =
            [-0.031_095_61, 0.036_858_12, 0.028_382_7, -0.047_376_23, -0.025_757_43, 0.019_404_4];
        for (a, b) in weight.iter().zip(expected) {
            assert!((a - b).abs() < 1e-6, "{weight:?}, {expected:?}");
        }
    }

    #[test]
    fn singular_values_end_near_one_whatever_the_shape() {
        let device = Device::flex();
        for [rows, columns] in [[3, 7], [7, 3], [5, 5], [1, 4]] {
            let g: Vec<f32> =
                (0..rows * columns).map(|i| ((i * 37 % 11) as f32 - 5.0) * 0.01).collect();
            let x = orthogonalized(Tensor::from_data(TensorData::new(g, [rows, columns]), &device));
            let small = if rows > columns {
                x.clone().transpose().matmul(x)
            } else {
                x.clone().matmul(x.transpose())
            };
            let n = rows.min(columns);
            let trace: f32 = (0..n)
                .map(|i| small.clone().slice([i..i + 1, i..i + 1]).into_scalar::<f32>())
                .sum();
            assert!((0.4 * n as f32..1.5 * n as f32).contains(&trace), "{rows}x{columns}: {trace}");
        }
    }
}
