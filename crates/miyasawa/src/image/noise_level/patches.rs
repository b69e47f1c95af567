//! The noise level by the smallest eigenvalues of the covariance of patches.

use super::Planes;
use crate::eigen::jacobi;

/// Largest side of a patch.
const SIDE: usize = 5;
/// Patches for each of their values, at least: fewer spread the eigenvalues of white noise too far.
const PER_VALUE: usize = 12;
/// The most patches that are used, on a regular grid.
const PATCHES: usize = 12_000;

/// Patches are used if the means of their corners are this many standard deviations from the ends
/// of the range: passing over clipped values themselves would pass over large noise.
const INSIDE: f64 = 2.5;

/// Estimates the level that leaves as many of the smallest eigenvalues above their mean as below
/// it; nothing for an image that is too small. `flat` is the estimate from flat blocks, if any:
/// without it, patches with clipped noise are better than none.
pub(super) fn level(planes: &Planes, flat: Option<f64>) -> Option<f64> {
    let channels = planes.planes.len();
    let positions = |side: usize| {
        (planes.height + 1).saturating_sub(side) * (planes.width + 1).saturating_sub(side)
    };
    let side =
        (2..=SIDE).rev().find(|side| positions(*side) >= PER_VALUE * channels * side * side)?;
    let mut values = eigenvalues(planes, side, flat)?;
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

/// Whether a patch's corners are so far from the ends of the range that noise was not clipped.
fn is_inside(patch: &[f32], side: usize, limit: f32) -> bool {
    let half = side.div_ceil(2);
    let ends = [0, side - half];
    patch.chunks_exact(side * side).all(|plane| {
        ends.iter().all(|top| {
            ends.iter().all(|left| {
                let rows = plane.chunks_exact(side).skip(*top).take(half);
                let sum: f32 = rows.flat_map(|row| &row[*left..][..half]).sum();
                sum.abs() <= limit * (half * half) as f32
            })
        })
    })
}

/// The eigenvalues of the covariance of patches of `side` by `side` pixels: of those without
/// clipped noise where enough are left.
fn eigenvalues(planes: &Planes, side: usize, flat: Option<f64>) -> Option<Vec<f64>> {
    let (rows, columns) = (planes.height + 1 - side, planes.width + 1 - side);
    let stride = (1..).find(|n| rows.div_ceil(*n) * columns.div_ceil(*n) <= PATCHES)?;
    let positions = || {
        (0..rows)
            .step_by(stride)
            .flat_map(move |y| (0..columns).step_by(stride).map(move |x| (y, x)))
    };
    let len = planes.planes.len() * side * side;
    let mut patch = vec![0.0f32; len];
    let limit = (1.0 - INSIDE * flat.unwrap_or(0.0)) as f32;
    let fill = |patch: &mut [f32], (y, x): (usize, usize)| {
        let mut rows = patch.chunks_exact_mut(side);
        for plane in &planes.planes {
            for dy in 0..side {
                if let Some(row) = rows.next() {
                    row.copy_from_slice(&plane[(y + dy) * planes.width + x..][..side]);
                }
            }
        }
        !planes.clips || is_inside(patch, side, limit)
    };
    let (all, kept) = positions()
        .fold((0, 0), |(all, kept), at| (all + 1, kept + usize::from(fill(&mut patch, at))));
    let skip = kept >= 3 * len && 8 * kept > all;
    if !skip && flat.is_some() {
        return None;
    }
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
