//! Structural similarity.

/// Standard deviation of the window.
const SIGMA: f64 = 1.5;

/// Half the window of 11x11, without its centre.
const RADIUS: usize = 5;

/// (K1 L)^2 and (K2 L)^2 with K1 = 0.01, K2 = 0.03 and the range L = 2.
const C1: f64 = 0.02 * 0.02;
const C2: f64 = 0.06 * 0.06;

/// Computes the structural similarity of two images (C, H, W) with values in [-1, 1]; 1 for equal
/// images.
///
/// Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to structural
/// similarity", 2004, eq. 13: Gaussian window of 11x11 with sigma 1.5, K1 = 0.01, K2 = 0.03,
/// averaged over all positions where the window lies inside the image, then over channels. Values
/// are shifted to [0, 2] first, because the paper compares intensities that are not negative; the
/// result is the same as on [0, 255]. In images with a side below 11 the window is the largest odd
/// square within the image, its weights normalised again: at 1x1 only the comparison of intensities
/// is left.
///
/// # Panics
///
/// If a side is 0 or the lengths are not C*H*W.
pub fn ssim(a: &[f32], b: &[f32], (channels, height, width): (usize, usize, usize)) -> f64 {
    let plane = height * width;
    assert!(plane > 0 && channels > 0, "images of {channels}x{height}x{width}");
    assert!(
        a.len() == channels * plane && b.len() == a.len(),
        "images of {channels}x{height}x{width}"
    );
    let kernel = kernel(RADIUS.min((height.min(width) - 1) / 2));
    let total: f64 = a
        .chunks_exact(plane)
        .zip(b.chunks_exact(plane))
        .map(|(a, b)| ssim_plane(a, b, (height, width), &kernel))
        .sum();
    total / channels as f64
}

fn kernel(radius: usize) -> Vec<f64> {
    let weights: Vec<f64> = (0..=2 * radius)
        .map(|i| (-(i as f64 - radius as f64).powi(2) / (2.0 * SIGMA * SIGMA)).exp())
        .collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

fn ssim_plane(a: &[f32], b: &[f32], (height, width): (usize, usize), kernel: &[f64]) -> f64 {
    let pairs = || a.iter().zip(b).map(|(&a, &b)| (f64::from(a) + 1.0, f64::from(b) + 1.0));
    let smooth = |values: Vec<f64>| blur(&values, width, kernel);
    let mean_a = smooth(pairs().map(|(a, _)| a).collect());
    let mean_b = smooth(pairs().map(|(_, b)| b).collect());
    // The variances occur only in their sum, which saves a fifth of the work.
    let squares = smooth(pairs().map(|(a, b)| a * a + b * b).collect());
    let product = smooth(pairs().map(|(a, b)| a * b).collect());
    debug_assert_eq!(mean_a.len(), (height + 1 - kernel.len()) * (width + 1 - kernel.len()));
    let total: f64 = mean_a
        .iter()
        .zip(&mean_b)
        .zip(squares.iter().zip(&product))
        .map(|((ma, mb), (squares, product))| {
            let (means, cross) = (ma * ma + mb * mb, ma * mb);
            let (variances, covariance) = (squares - means, product - cross);
            (2.0 * cross + C1) * (2.0 * covariance + C2) / ((means + C1) * (variances + C2))
        })
        .sum();
    total / mean_a.len() as f64
}

/// Weighted means over windows that lie inside the plane, rows first.
fn blur(values: &[f64], width: usize, kernel: &[f64]) -> Vec<f64> {
    let height = values.len() / width;
    let (rows, columns) = (height + 1 - kernel.len(), width + 1 - kernel.len());
    let mut out = vec![0.0; rows * columns];
    let mut line = vec![0.0; width];
    for (y, out) in out.chunks_exact_mut(columns).enumerate() {
        line.fill(0.0);
        for (weight, row) in kernel.iter().zip(values[y * width..].chunks_exact(width)) {
            line.iter_mut().zip(row).for_each(|(line, value)| *line += weight * value);
        }
        for (k, weight) in kernel.iter().enumerate() {
            out.iter_mut().zip(&line[k..]).for_each(|(out, value)| *out += weight * value);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The images of scripts/metrics_oracle.py.
    fn pair((channels, height, width): (usize, usize, usize)) -> (Vec<f32>, Vec<f32>) {
        let mut images = (Vec::new(), Vec::new());
        for c in 0..channels {
            for y in 0..height {
                for x in 0..width {
                    let smooth = (7 * x + 5 * y + 40 * c) % 190 + 20;
                    let rough = (13 * x * x + 29 * y * y + 17 * x * y + 3 * c) % 61;
                    images.0.push(crate::range::normalise(smooth as u8));
                    images.1.push(crate::range::normalise((smooth + rough - 20) as u8));
                }
            }
        }
        images
    }

    type Case = ((usize, usize, usize), f64);

    const ORACLE: [Case; 7] = [
        ((1, 32, 32), 0.702033256),
        ((3, 32, 32), 0.678105205),
        ((3, 12, 20), 0.641064667),
        ((1, 11, 11), 0.501204424),
        ((1, 7, 9), 0.490231507),
        ((1, 8, 8), 0.472223383),
        ((3, 2, 5), 0.918270633),
    ];

    /// scikit-image 0.26, structural_similarity(a + 1, b + 1, data_range=2, gaussian_weights=True,
    /// sigma=1.5, use_sample_covariance=False, channel_axis=0), from scripts/metrics_oracle.py.
    /// Below 11 pixels scikit-image does not go: the last three are direct sums by the script.
    #[test]
    fn agrees_with_scikit_image() {
        for (shape, expected) in ORACLE {
            let (a, b) = pair(shape);
            let found = ssim(&a, &b, shape);
            assert!((found - expected).abs() < 1e-6, "{shape:?}: {found} {expected}");
        }
    }

    #[test]
    fn equal_images_are_alike_and_one_pixel_is_defined() {
        let (a, _) = pair((3, 12, 20));
        assert!((ssim(&a, &a, (3, 12, 20)) - 1.0).abs() < 1e-12);
        let one = ssim(&[0.0], &[1.0], (1, 1, 1));
        assert!((one - (2.0 * 2.0 + C1) / (1.0 + 4.0 + C1)).abs() < 1e-12);
        assert_eq!(ssim(&[-1.0], &[-1.0], (1, 1, 1)), 1.0);
        assert!((0.0..1.0).contains(&ssim(&[0.0; 2], &[1.0; 2], (1, 1, 2))));
    }
}
