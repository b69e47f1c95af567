//! Changing the size of a plane of values.

use std::ops::Range;

/// Resamples a plane of `from` = (height, width) values to the size `to`.
///
/// Separable cubic convolution with a = -1/2 (R. Keys, "Cubic convolution interpolation for digital
/// image processing", 1981), its kernel stretched by the reduction when a side shrinks so that
/// nothing aliases, weights normalised at the border: the BICUBIC of Pillow, whose values are in
/// the tests. The result can overshoot the range of the values; the caller clips. A side that keeps
/// its length is copied exactly.
pub(crate) fn resample(plane: &[f32], from: (usize, usize), to: (usize, usize)) -> Vec<f32> {
    part(plane, from, to, (0..to.0, 0..to.1))
}

/// The rows and columns `window` of the result of [`resample`]; nothing else is computed.
fn part(
    plane: &[f32],
    from: (usize, usize),
    to: (usize, usize),
    window: (Range<usize>, Range<usize>),
) -> Vec<f32> {
    debug_assert_eq!(plane.len(), from.0 * from.1);
    let (rows, columns) = (Taps::new(from.0, to.0, window.0), Taps::new(from.1, to.1, window.1));
    let (used, width) = (rows.inputs(), columns.0.len());
    let mut wide: Vec<f32> = Vec::with_capacity(used.len() * width);
    for row in plane.chunks_exact(from.1).take(used.end).skip(used.start) {
        for (start, weights) in columns.iter() {
            wide.push(row[start..].iter().zip(weights).map(|(v, w)| v * w).sum());
        }
    }
    let mut out = vec![0.0; rows.0.len() * width];
    for ((start, weights), row) in rows.iter().zip(out.chunks_exact_mut(width)) {
        for (weight, source) in
            weights.iter().zip(wide.chunks_exact(width).skip(start - used.start))
        {
            for (out, value) in row.iter_mut().zip(source) {
                *out += weight * value;
            }
        }
    }
    out
}

/// Resamples planes (C, H, W) with their aspect ratio kept until they just cover the size `to`,
/// crops the centre and clips the result to [-1, 1]. Pixels that are cropped away are not computed:
/// there may be far more of them.
pub(crate) fn cover(
    planes: &[f32],
    channels: usize,
    (height, width): (usize, usize),
    to: (usize, usize),
) -> Vec<f32> {
    let scale = (to.0 as f64 / height as f64).max(to.1 as f64 / width as f64);
    let scaled = |side: usize, least: usize| ((side as f64 * scale).round() as usize).max(least);
    let size = (scaled(height, to.0), scaled(width, to.1));
    let (top, left) = ((size.0 - to.0) / 2, (size.1 - to.1) / 2);
    let window = (top..top + to.0, left..left + to.1);
    let planes = planes.chunks_exact(height * width).take(channels);
    let cut = planes.flat_map(|plane| part(plane, (height, width), size, window.clone()));
    cut.map(|value| value.clamp(-1.0, 1.0)).collect()
}

/// For each output position of a range, where its inputs begin and their weights.
struct Taps(Vec<(usize, Vec<f32>)>);

impl Taps {
    fn new(from: usize, to: usize, range: Range<usize>) -> Self {
        if from == to {
            return Self(range.map(|i| (i, vec![1.0])).collect());
        }
        let scale = from as f64 / to as f64;
        let stretch = scale.max(1.0);
        let taps = range.map(|i| {
            let centre = (i as f64 + 0.5) * scale;
            let start = (centre - 2.0 * stretch + 0.5).max(0.0) as usize;
            let end = ((centre + 2.0 * stretch + 0.5) as usize).min(from);
            let weights: Vec<f64> =
                (start..end).map(|x| keys((x as f64 + 0.5 - centre) / stretch)).collect();
            let sum: f64 = weights.iter().sum();
            (start, weights.iter().map(|w| (w / sum) as f32).collect())
        });
        Self(taps.collect())
    }

    /// The inputs that are needed.
    fn inputs(&self) -> Range<usize> {
        let start = self.0.first().map_or(0, |(start, _)| *start);
        start..self.0.last().map_or(start, |(start, weights)| start + weights.len())
    }

    fn iter(&self) -> impl Iterator<Item = (usize, &[f32])> {
        self.0.iter().map(|(start, weights)| (*start, weights.as_slice()))
    }
}

/// Keys' cubic with a = -1/2.
fn keys(x: f64) -> f64 {
    let x = x.abs();
    if x < 1.0 {
        (1.5 * x - 2.5) * x * x + 1.0
    } else if x < 2.0 {
        ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_size_is_exact_and_a_constant_stays_constant() {
        let plane: Vec<f32> = (0..12).map(|i| (i as f32).sin()).collect();
        assert_eq!(resample(&plane, (3, 4), (3, 4)), plane);
        for to in [(1, 1), (7, 2), (2, 9), (40, 40)] {
            let out = resample(&[0.25; 12], (3, 4), to);
            assert_eq!(out.len(), to.0 * to.1);
            assert!(out.iter().all(|v| (v - 0.25).abs() < 1e-6));
        }
        assert_eq!(resample(&[0.5], (1, 1), (2, 2)), [0.5; 4]);
    }

    #[test]
    fn a_part_equals_that_of_the_entire_result() {
        let plane: Vec<f32> = (0..30).map(|i| (i as f32).sin()).collect();
        for to in [(2, 3), (7, 4), (5, 6), (11, 13)] {
            let entire = resample(&plane, (5, 6), to);
            let (rows, columns) = (to.0 / 3..to.0, to.1 / 2..to.1 - to.1 / 4);
            let expected: Vec<f32> =
                rows.clone().flat_map(|y| &entire[y * to.1..][columns.clone()]).copied().collect();
            assert_eq!(part(&plane, (5, 6), to, (rows, columns)), expected);
        }
    }

    #[test]
    fn a_line_of_pixels_is_no_more_work_than_its_middle() {
        // Covering 32x32 would take an image of 32x9600000.
        let (plane, to) = (vec![0.5; 300_000], (32, 32));
        assert_eq!(cover(&plane, 1, (1, 300_000), to), [0.5; 1024]);
        assert_eq!(cover(&plane, 1, (300_000, 1), to), [0.5; 1024]);
    }

    /// Image.fromarray(v).resize((w, h), Image.BICUBIC) of Pillow in mode F, v[y, x] = (7*y +
    /// 3*x*x) % 11.
    #[test]
    fn agrees_with_pillow() {
        let plane: Vec<f32> =
            (0..30).map(|i| ((7 * (i / 6) + 3 * (i % 6) * (i % 6)) % 11) as f32).collect();
        let check = |to: (usize, usize), expected: &[f32]| {
            let out = resample(&plane, (5, 6), to);
            assert_eq!(out.len(), expected.len());
            for (a, b) in out.iter().zip(expected) {
                assert!((a - b).abs() < 2e-5, "{a} {b}");
            }
        };
        check((2, 3), PILLOW_DOWN);
        check((7, 4), PILLOW_MIXED);
    }

    const PILLOW_DOWN: &[f32] = &[5.05241, 4.34586, 4.15686, 6.14862, 3.88356, 5.36188];

    #[rustfmt::skip]
    const PILLOW_MIXED: &[f32] = &[
        0.68575, 1.62933, 4.41184, 7.49871, 5.33725, 5.87411, 1.79305, 4.98045, 7.62138, 8.25892,
        2.26131, 2.75096, 4.0987, 5.00766, 7.6294, 3.05178, 6.4205, 1.08356, 4.43609, 5.46335,
        7.46803, 3.13828, 3.17807, 6.57789, 7.18073, 7.42384, 3.84192, 6.51053,
    ];
}
