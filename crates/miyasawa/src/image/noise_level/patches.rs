//! The noise level by the smallest eigenvalues of the covariance of patches.

use super::Planes;
use crate::eigen::jacobi;

/// Largest side of a patch.
const SIDE: usize = 7;
/// Patches for each of their values, at least: fewer spread the eigenvalues of white noise too far.
const PER_VALUE: usize = 12;
/// The most patches that are used, on a regular grid.
const PATCHES: usize = 12_000;

/// Estimates the level that leaves as many of the smallest eigenvalues above their mean as below
/// it; nothing for an image that is too small.
pub(super) fn level(planes: &Planes) -> Option<f64> {
    let channels = planes.planes.len();
    let positions = |side: usize| {
        (planes.height + 1).saturating_sub(side) * (planes.width + 1).saturating_sub(side)
    };
    let side =
        (2..=SIDE).rev().find(|side| positions(*side) >= PER_VALUE * channels * side * side)?;
    let mut values = eigenvalues(planes, side)?;
    values.sort_by(|a, b| b.total_cmp(a));
    // The largest eigenvalues, which are the image's, are removed one by one until the rest is
    // consistent with one level.
    let mut sum: f64 = values.iter().sum();
    for (i, value) in values.iter().enumerate() {
        let rest = &values[i..];
        let (mean, middle) = (sum / rest.len() as f64, rest.len() / 2);
        let median = if rest.len() % 2 == 1 {
            rest[middle]
        } else {
            0.5 * (rest[middle - 1] + rest[middle])
        };
        if mean <= median || rest.len() == 1 {
            return Some(mean.max(0.0).sqrt());
        }
        sum -= value;
    }
    None
}

/// The eigenvalues of the covariance of patches of `side` by `side` pixels: of those without
/// clipped values where enough are left.
fn eigenvalues(planes: &Planes, side: usize) -> Option<Vec<f64>> {
    let (rows, columns) = (planes.height + 1 - side, planes.width + 1 - side);
    let stride = (1..).find(|n| rows.div_ceil(*n) * columns.div_ceil(*n) <= PATCHES)?;
    let positions = || {
        (0..rows)
            .step_by(stride)
            .flat_map(move |y| (0..columns).step_by(stride).map(move |x| (y, x)))
    };
    let len = planes.planes.len() * side * side;
    let mut patch = vec![0.0f32; len];
    let fill = |patch: &mut [f32], (y, x): (usize, usize)| {
        let mut rows = patch.chunks_exact_mut(side);
        for plane in &planes.planes {
            for dy in 0..side {
                if let Some(row) = rows.next() {
                    row.copy_from_slice(&plane[(y + dy) * planes.width + x..][..side]);
                }
            }
        }
        !patch.iter().any(|value| planes.clipped(*value))
    };
    let (all, kept) = positions()
        .fold((0, 0), |(all, kept), at| (all + 1, kept + usize::from(fill(&mut patch, at))));
    let skip = kept >= 3 * len && 8 * kept > all;
    let (mut count, mut mean) = (0.0, vec![0.0; len]);
    let mut products = vec![vec![0.0f64; len]; len];
    let mut centred = vec![0.0f64; len];
    // About the first patch's mean, so that a large mean costs no digits.
    let mut about = None;
    for at in positions() {
        if !fill(&mut patch, at) && skip {
            continue;
        }
        let about =
            *about.get_or_insert(patch.iter().map(|v| f64::from(*v)).sum::<f64>() / len as f64);
        for ((centred, value), mean) in centred.iter_mut().zip(&patch).zip(&mut mean) {
            *centred = f64::from(*value) - about;
            *mean += *centred;
        }
        count += 1.0;
        for (i, (row, a)) in products.iter_mut().zip(&centred).enumerate() {
            row[..=i].iter_mut().zip(&centred).for_each(|(product, b)| *product += a * b);
        }
    }
    mean.iter_mut().for_each(|mean| *mean /= count);
    let entry = |i: usize, j: usize| products[i.max(j)][i.min(j)] / count - mean[i] * mean[j];
    let matrix = (0..len).map(|i| (0..len).map(|j| entry(i, j)).collect()).collect();
    Some(jacobi(matrix).0)
}
