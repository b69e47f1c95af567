//! The normal distribution: density, tail, quantile and moments of clipped numbers; and the
//! logarithm of binomial coefficients.

use std::f64::consts::{FRAC_1_SQRT_2, TAU};

/// Number of standard deviations beyond which the mean of a tail is its asymptotic value.
const FAR: f64 = 6.0;

/// The standard normal density.
fn density(z: f64) -> f64 {
    (-0.5 * z * z).exp() / TAU.sqrt()
}

/// The probability that a standard normal variable exceeds `z`.
pub(crate) fn tail(z: f64) -> f64 {
    0.5 * libm::erfc(z * FRAC_1_SQRT_2)
}

/// The standard normal quantile.
///
/// ```
/// use miyasawa::certify::normal_quantile;
///
/// assert!((normal_quantile(0.975) - miyasawa::metrics::Z95).abs() < 1e-9);
/// assert_eq!(normal_quantile(1.0), f64::INFINITY);
/// ```
#[cfg(feature = "robustness")]
pub fn quantile(p: f64) -> f64 {
    -std::f64::consts::SQRT_2 * statrs::function::erf::erfc_inv(2.0 * p)
}

/// The mean and the variance of a number with the normal distribution `N(mu, sigma^2)`, clipped to
/// [-1, 1].
pub(crate) fn clipped_moments(mu: f64, sigma: f64) -> [f64; 2] {
    let (a, b) = ((-1.0 - mu) / sigma, (1.0 - mu) / sigma);
    // The shares below -1, above 1, and between.
    let (low, high) = (tail(-a), tail(b));
    let inside = 1.0 - low - high;
    let change = density(a) - density(b);
    let mean = high - low + mu * inside + sigma * change;
    let square = low
        + high
        + (mu * mu + sigma * sigma) * inside
        + 2.0 * mu * sigma * change
        + sigma * sigma * (a * density(a) - b * density(b));
    [mean, square - mean * mean]
}

/// The mean of `N(mu, sigma^2)` beyond 1: `mu + sigma*phi(z)/(1 - Phi(z))` with
/// `z = (1 - mu)/sigma`.
pub(crate) fn mean_beyond(mu: f64, sigma: f64) -> f64 {
    let z = (1.0 - mu) / sigma;
    // Far out both terms of the quotient are tiny.
    let ratio = if z > FAR { z + 1.0 / z } else { density(z) / tail(z) };
    mu + sigma * ratio
}

/// The logarithm of the number of ways to choose `k` of `n`, at most `n`.
pub(crate) fn ln_binomial(n: u64, k: u64) -> f64 {
    let ln_factorial = |n: u64| libm::lgamma(n as f64 + 1.0);
    ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_distribution() {
        // Without clipping the moments are those of the distribution.
        let [mean, variance] = clipped_moments(0.1, 0.05);
        assert!((mean - 0.1).abs() < 1e-12 && (variance - 0.0025).abs() < 1e-9);
        // Half of the numbers are clipped: E max(x, 0) of N(0, 1) is 1/sqrt(2 pi), its square's
        // mean 1/2.
        let [mean, variance] = clipped_moments(1.0, 0.1);
        assert!((mean - (1.0 - 0.1 * 0.398_942)).abs() < 1e-6, "{mean}");
        assert!((variance - 0.01 * (0.5 - 0.159_155)).abs() < 1e-7, "{variance}");
    }

    #[test]
    fn the_mean_of_a_tail_is_beyond_its_border() {
        // Half of N(1, 1) lies beyond 1: 1 + 2/sqrt(2 pi).
        assert!((mean_beyond(1.0, 1.0) - 1.797_884_560_802_865).abs() < 1e-12);
        assert_eq!(mean_beyond(-1.0, 0.01), -1.0 + 0.01 * (200.0 + 1.0 / 200.0));
    }

    #[test]
    fn tail_and_quantile_are_inverse() {
        for (p, z) in [
            (0.5, 0.0),
            (0.975, 1.959_963_985),
            (0.999_309_463, 3.198_577_514),
            (0.1, -1.281_551_566),
        ] {
            assert!((tail(-z) - p).abs() < 1e-9, "{z}: {}", tail(-z));
            // Expected values from scripts/certify_oracle.py (SciPy).
            #[cfg(feature = "robustness")]
            assert!((quantile(p) - z).abs() < 1e-6, "{p}: {}", quantile(p));
        }
    }

    #[test]
    fn binomials_are_those_of_pascals_triangle() {
        for (n, k, count) in [(0, 0, 1.0), (5, 2, 10.0), (50, 25, 126_410_606_437_752.0)] {
            let found = ln_binomial(n, k);
            assert!((found - f64::ln(count)).abs() < 1e-12, "{n} {k}: {found}");
        }
    }
}
