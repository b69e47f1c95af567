//! The leading eigenvectors of a symmetric map that is known by its products alone.

use crate::eigen::jacobi;

/// Eigenvalues in falling order of their absolute value, with the eigenvectors, each of length 1.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Eigen {
    pub values: Vec<f64>,
    pub vectors: Vec<Vec<f64>>,
    /// `|A v - lambda v|` of each: the eigenvalue is at most this far off.
    pub residuals: Vec<f64>,
}

/// Maps a block of vectors.
pub(super) type Apply<'a> = dyn FnMut(&[Vec<f64>]) -> Vec<Vec<f64>> + 'a;

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Adds to `basis` the part of `v` that is orthogonal to it, normalised; nothing if it is
/// negligible.
fn extend(basis: &mut Vec<Vec<f64>>, mut v: Vec<f64>) {
    let before = dot(&v, &v).sqrt();
    // Twice is enough (Parlett 1980, "The symmetric eigenvalue problem", section 6.9).
    for _ in 0..2 {
        for q in basis.iter() {
            let share = dot(&v, q);
            v.iter_mut().zip(q).for_each(|(v, q)| *v -= share * q);
        }
    }
    let length = dot(&v, &v).sqrt();
    if length > 1e-6 * before && length > 0.0 {
        v.iter_mut().for_each(|v| *v /= length);
        basis.push(v);
    }
}

/// The `count` leading eigenpairs of a symmetric map of vectors as long as those of `start`, from
/// the block Krylov space `start, A start, A^2 start, ...` of at most `size` dimensions (block
/// Lanczos with full orthogonalisation: Golub & Underwood 1977; the start is random, as Musco &
/// Musco 2015 analyse).
pub(super) fn leading(
    start: Vec<Vec<f64>>,
    count: usize,
    size: usize,
    apply: &mut Apply<'_>,
) -> Eigen {
    let length = start.first().map_or(0, Vec::len);
    let size = size.min(length);
    let mut basis: Vec<Vec<f64>> = Vec::new();
    for v in start {
        if basis.len() < size {
            extend(&mut basis, v);
        }
    }
    let mut mapped: Vec<Vec<f64>> = Vec::new();
    while mapped.len() < basis.len() {
        let new = apply(&basis[mapped.len()..]);
        for v in &new {
            if basis.len() < size {
                extend(&mut basis, v.clone());
            }
        }
        mapped.extend(new);
    }
    let m = basis.len();
    let projected: Vec<Vec<f64>> = (0..m)
        .map(|i| {
            (0..m)
                .map(|j| 0.5 * (dot(&basis[i], &mapped[j]) + dot(&basis[j], &mapped[i])))
                .collect()
        })
        .collect();
    let (values, rotations) = jacobi(projected);
    let mut order: Vec<usize> = (0..m).collect();
    order.sort_by(|a, b| values[*b].abs().total_cmp(&values[*a].abs()));
    let mut out = Eigen { values: Vec::new(), vectors: Vec::new(), residuals: Vec::new() };
    for &k in order.iter().take(count) {
        let combine = |vectors: &[Vec<f64>]| -> Vec<f64> {
            let at =
                |i: usize| vectors.iter().enumerate().map(|(j, v)| rotations[j][k] * v[i]).sum();
            (0..length).map(at).collect()
        };
        let (vector, image) = (combine(&basis), combine(&mapped));
        let residual: f64 =
            image.iter().zip(&vector).map(|(a, v)| (a - values[k] * v).powi(2)).sum();
        out.values.push(values[k]);
        out.vectors.push(vector);
        out.residuals.push(residual.sqrt());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::example_rng;
    use rand::RngExt;

    /// A matrix with known eigenvalues: the second difference of `n` points has `2 - 2 cos(k
    /// pi/(n + 1))`.
    #[test]
    fn leading_eigenpairs_of_a_known_matrix_are_found() {
        let n = 60;
        let products = std::cell::Cell::new(0);
        let mut apply = |block: &[Vec<f64>]| -> Vec<Vec<f64>> {
            products.set(products.get() + block.len());
            let at = |v: &Vec<f64>, i: usize| {
                2.0 * v[i]
                    - if i > 0 { v[i - 1] } else { 0.0 }
                    - if i + 1 < n { v[i + 1] } else { 0.0 }
            };
            // Cubed, so that the leading eigenvalues are well separated.
            let cube = |v: &Vec<f64>| {
                let mut v = v.clone();
                for _ in 0..3 {
                    v = (0..n).map(|i| at(&v, i)).collect();
                }
                v
            };
            block.iter().map(cube).collect()
        };
        let mut rng = example_rng(0, 0, 0, 96);
        let start: Vec<Vec<f64>> =
            (0..6).map(|_| (0..n).map(|_| rng.random::<f64>() - 0.5).collect()).collect();
        let found = leading(start.clone(), 4, 48, &mut apply);
        let exact =
            |k: f64| (2.0 - 2.0 * (k * std::f64::consts::PI / (n as f64 + 1.0)).cos()).powi(3);
        for (i, value) in found.values.iter().enumerate() {
            assert!((value - exact((n - i) as f64)).abs() < 1e-6, "{i}: {value}");
            assert!(
                found.residuals[i] < 0.1
                    && (dot(&found.vectors[i], &found.vectors[i]) - 1.0).abs() < 1e-9
            );
            assert!(dot(&found.vectors[i], &found.vectors[(i + 1) % 4]).abs() < 1e-9);
        }
        assert_eq!(products.get(), 48);
        // All dimensions: the trace is exact.
        let all = leading(start, n, n, &mut apply);
        let trace: f64 = (1..=n).map(|k| exact(k as f64)).sum();
        assert!((all.values.iter().sum::<f64>() - trace).abs() < 1e-6 * trace);
    }

    #[test]
    fn a_map_of_low_rank_ends_the_space_early() {
        let u = [0.6, 0.8, 0.0];
        let mut apply = |block: &[Vec<f64>]| -> Vec<Vec<f64>> {
            block.iter().map(|v| u.iter().map(|x| -3.0 * x * dot(&u, v)).collect()).collect()
        };
        let found = leading(vec![vec![1.0, 0.0, 0.0]], 3, 3, &mut apply);
        assert!((found.values[0] + 3.0).abs() < 1e-9, "{found:?}");
        assert!(found.values.len() <= 2);
    }
}
