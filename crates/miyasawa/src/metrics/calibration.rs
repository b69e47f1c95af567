//! Temperature scaling.

use super::log_sum_exp;

/// Fits the temperature `T` that makes `softmax(logits/T)` likeliest (Guo et al. 2017, "On
/// calibration of modern neural networks", section 4.2), between 0.01 and 100. `logits` holds
/// (labels.len(), classes).
///
/// Each label shares a part `1/(n + 2)` of its weight with all classes, as Platt (1999,
/// "Probabilistic outputs for support vector machines", section 2.2) smooths his targets: without
/// it a few hundred images that are all classified correctly would make the predictions certain,
/// and a later wrong one would cost the more. The loss is convex in `1/T`: golden-section search on
/// the logarithm finds the only minimum.
///
/// # Panics
/// If there are no labels or the lengths do not agree.
pub fn fit_temperature(logits: &[f32], labels: &[u32]) -> f64 {
    assert!(
        !labels.is_empty() && logits.len().is_multiple_of(labels.len()),
        "logits for every label"
    );
    let smoothing = 1.0 / (labels.len() as f64 + 2.0);
    let loss = |log_t: f64| mean_nll(logits, labels, log_t.exp(), smoothing);
    // Constant logits, which no temperature changes, keep a temperature of 1.
    let (mut low, mut high) = (0.01f64.ln(), 100f64.ln());
    let losses = [low, 0.0, high].map(loss);
    if losses[0] == losses[1] && losses[1] == losses[2] {
        return 1.0;
    }
    let ratio = 0.5 * (5f64.sqrt() - 1.0);
    let (mut a, mut b) = (high - ratio * (high - low), low + ratio * (high - low));
    let (mut at_a, mut at_b) = (loss(a), loss(b));
    while high - low > 1e-7 {
        if at_a <= at_b {
            (high, b, at_b) = (b, a, at_a);
            a = high - ratio * (high - low);
            at_a = loss(a);
        } else {
            (low, a, at_a) = (a, b, at_b);
            b = low + ratio * (high - low);
            at_b = loss(b);
        }
    }
    (0.5 * (low + high)).exp()
}

/// Mean of `-log softmax(logits/T)` at the labels, of whose weight the share `smoothing` goes to
/// all classes.
fn mean_nll(logits: &[f32], labels: &[u32], temperature: f64, smoothing: f64) -> f64 {
    let classes = logits.len() / labels.len();
    let nll = |(row, label): (&[f32], &u32)| {
        let log_probs = scaled_log_probs(row, classes, temperature);
        let all = log_probs.iter().map(|p| f64::from(*p)).sum::<f64>() / classes as f64;
        -(1.0 - smoothing) * f64::from(log_probs[*label as usize]) - smoothing * all
    };
    logits.chunks_exact(classes).zip(labels).map(nll).sum::<f64>() / labels.len() as f64
}

/// Computes `log softmax(logits/T)` of every row.
///
/// # Panics
/// If `classes` is 0.
pub fn scaled_log_probs(logits: &[f32], classes: usize, temperature: f64) -> Vec<f32> {
    let row = |row: &[f32]| -> Vec<f32> {
        let scaled: Vec<f32> = row.iter().map(|z| (f64::from(*z) / temperature) as f32).collect();
        let sum = log_sum_exp(&scaled);
        scaled.iter().map(|z| (f64::from(*z) - sum) as f32).collect()
    };
    logits.chunks_exact(classes).flat_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::example_rng;
    use rand::RngExt;

    /// Labels drawn from `softmax(logits/2)`: the fitted temperature must be near 2, and a minimum.
    #[test]
    fn the_temperature_of_the_labels_distribution_is_found() {
        let mut rng = example_rng(0, 0, 0, 97);
        let (mut logits, mut labels) = (Vec::new(), Vec::new());
        for _ in 0..4000 {
            let row: Vec<f32> = (0..5).map(|_| 6.0 * rng.random::<f32>()).collect();
            let probs = scaled_log_probs(&row, 5, 2.0);
            let mut left: f64 = rng.random();
            let label = probs.iter().position(|p| {
                left -= f64::from(*p).exp();
                left < 0.0
            });
            labels.push(label.unwrap_or(4) as u32);
            logits.extend(row);
        }
        let t = fit_temperature(&logits, &labels);
        assert!((t - 2.0).abs() < 0.15, "{t}");
        let nll = |t: f64| mean_nll(&logits, &labels, t, 0.0);
        assert!(nll(t) < nll(1.05 * t) && nll(t) < nll(t / 1.05));
    }

    #[test]
    fn all_correct_or_all_wrong_predictions_have_a_temperature() {
        let logits = [2.0, 0.0, 0.0, 2.0].repeat(50);
        let labels = [0, 1].repeat(50);
        // p of the true class becomes 1 - 1/(2*102).
        let t = fit_temperature(&logits, &labels);
        assert!((t - 2.0 / 203f64.ln()).abs() < 1e-3, "{t}");
        assert!(fit_temperature(&logits, &[1, 0].repeat(50)) > 99.0);
        assert_eq!(scaled_log_probs(&[3.0], 1, 2.0), [0.0]);
        assert_eq!(fit_temperature(&[0.5; 40], &[1; 20]), 1.0);
    }
}
