//! Exact confidence bounds of a share.

use statrs::function::beta::beta_reg;

/// The `x` with `I_x(a, b) = p`, by bisection to the last bit: the incomplete beta function rises.
fn beta_quantile(p: f64, a: f64, b: f64) -> f64 {
    let (mut low, mut high) = (0.0f64, 1.0f64);
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if beta_reg(a, b, middle) < p { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// The one-sided Clopper-Pearson lower bound (Clopper & Pearson 1934): the share of which `hits` or
/// more of `n` have probability `alpha`. The true share is below it with a probability of at most
/// `alpha`.
///
/// # Panics
/// If `hits` exceeds `n`, `n` is 0, or `alpha` is not inside (0, 1).
pub fn lower_bound(hits: u64, n: u64, alpha: f64) -> f64 {
    check(hits, n, alpha);
    if hits == 0 { 0.0 } else { beta_quantile(alpha, hits as f64, (n - hits + 1) as f64) }
}

/// The one-sided Clopper-Pearson upper bound.
///
/// # Panics
/// As [`lower_bound`].
pub fn upper_bound(hits: u64, n: u64, alpha: f64) -> f64 {
    check(hits, n, alpha);
    if hits == n { 1.0 } else { beta_quantile(1.0 - alpha, (hits + 1) as f64, (n - hits) as f64) }
}

fn check(hits: u64, n: u64, alpha: f64) {
    assert!(n > 0 && hits <= n, "{hits} of {n} draws");
    assert!(alpha > 0.0 && alpha < 1.0, "alpha is {alpha}, expected a number inside (0, 1)");
}

/// The p-value of the two-sided binomial test in Cohen et al. 2019's prediction: the probability
/// that `n` draws between two equally probable classes split at least as unequally as `more` to
/// `n - more`.
pub fn split_p_value(more: u64, n: u64) -> f64 {
    if more == 0 {
        return 1.0;
    }
    // P(X >= more) for X ~ Binomial(n, 1/2).
    (2.0 * beta_reg(more as f64, (n - more + 1) as f64, 0.5)).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values from scripts/certify_oracle.py (SciPy).
    #[test]
    fn bounds_agree_with_scipy() {
        for (hits, n, alpha, low, high) in [
            (99u64, 100u64, 0.001, 0.911_373_111, 0.999_989_995_047),
            (10_000, 10_000, 0.001, 0.999_309_463, 1.0),
            (0, 100, 0.001, 0.0, 0.066_745_699),
            (5_200, 10_000, 0.001, 0.504_501_849, 0.535_471_238),
            (55, 100, 0.05, 0.462_889_601, 0.634_837_710),
        ] {
            assert!(
                (lower_bound(hits, n, alpha) - low).abs() < 1e-8,
                "{hits}/{n}: {}",
                lower_bound(hits, n, alpha)
            );
            assert!(
                (upper_bound(hits, n, alpha) - high).abs() < 1e-8,
                "{hits}/{n}: {}",
                upper_bound(hits, n, alpha)
            );
        }
        assert!(
            (split_p_value(60, 100) - 0.056_887_934).abs() < 1e-8,
            "{}",
            split_p_value(60, 100)
        );
    }

    /// The bound is the share at which the tail has probability alpha.
    #[test]
    fn bounds_invert_the_binomial() {
        let tail = |from: u64, n: u64, p: f64| -> f64 {
            let mut term = (1.0 - p).powi(n as i32);
            let mut sum = 0.0;
            for k in 0..=n {
                sum += if k >= from { term } else { 0.0 };
                term *= (n - k) as f64 / (k + 1) as f64 * p / (1.0 - p);
            }
            sum
        };
        for hits in 1..30 {
            let p = lower_bound(hits, 30, 0.01);
            assert!((tail(hits, 30, p) - 0.01).abs() < 1e-9, "{hits}");
            assert!((upper_bound(30 - hits, 30, 0.01) - (1.0 - p)).abs() < 1e-9);
        }
    }
}
