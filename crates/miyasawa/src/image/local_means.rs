//! Means over neighbourhoods.

/// The mean of every square of pixels up to `reach` from its centre, as far as the image goes.
pub(crate) fn local_means(plane: &[f32], [height, width]: [usize; 2], reach: usize) -> Vec<f32> {
    let span = |i: usize, len: usize| (i.saturating_sub(reach), (i + reach + 1).min(len));
    let mut means = Vec::with_capacity(plane.len());
    let mut sums = vec![0.0f32; width];
    for y in 0..height {
        let (top, bottom) = span(y, height);
        // Each row anew: sums that are carried on would gather errors.
        sums.fill(0.0);
        for row in plane[top * width..bottom * width].chunks_exact(width) {
            sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
        means.extend((0..width).map(|x| {
            let (left, right) = span(x, width);
            let count = (bottom - top) * (right - left);
            sums[left..right].iter().sum::<f32>() / count as f32
        }));
    }
    means
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_end_at_the_border() {
        let plane: Vec<f32> = (0..5 * 9).map(|i| (i % 9) as f32).collect();
        let mean = local_means(&plane, [5, 9], 3);
        assert_eq!((mean[0], mean[4], mean[8]), (1.5, 4.0, 6.5));
    }
}
