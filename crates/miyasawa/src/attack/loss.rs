//! The loss of the logits that attacks maximise, and its derivative.

use crate::metrics::{log_sum_exp, top};

/// A loss of an image's logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// `-log p(label)`.
    CrossEntropy,
    /// The targeted difference-of-logits ratio (Croce & Hein 2020, eq. 7), `-(z_y - z_t) / (z_1st -
    /// (z_3rd + z_4th)/2)`. With three classes the divisor is `z_1st - z_3rd`, with two there is
    /// none: the ratio of the only two logits' differences would be 1 everywhere.
    Dlr {
        /// The class to reach.
        target: usize,
    },
}

/// Keeps the divisor of equal logits from being 0, as the paper's implementation does.
const TINY: f64 = 1e-12;

impl Loss {
    /// The loss, or an increasing function of it: for the cross-entropy `log(exp(CE) - 1)`, the
    /// log-odds of all other classes together against the true class. Attacks only compare values,
    /// and the cross-entropy of a very confident classifier rounds to 0.
    pub fn value(self, logits: &[f32], label: usize) -> f64 {
        let z = |i: usize| f64::from(logits[i]);
        match self {
            Self::CrossEntropy => {
                let others: Vec<f32> = logits
                    .iter()
                    .enumerate()
                    .filter(|(i, _)| *i != label)
                    .map(|(_, z)| *z)
                    .collect();
                log_sum_exp(&others) - z(label)
            }
            Self::Dlr { target } => {
                let divisor: f64 = divisor(logits).iter().map(|(i, share)| share * z(*i)).sum();
                (z(target) - z(label)) / if logits.len() > 2 { divisor + TINY } else { 1.0 }
            }
        }
    }

    /// The derivative with respect to the logits, scaled so that the largest absolute value is 1.
    /// Attacks only use its direction, and a derivative of 1e-30 would underflow in the network's
    /// backward pass.
    pub fn grad_logits(self, logits: &[f32], label: usize) -> Vec<f32> {
        let z = |i: usize| f64::from(logits[i]);
        let mut grad_logits = vec![0.0f64; logits.len()];
        match self {
            Self::CrossEntropy => {
                // p_k - [k = label], divided by 1 - p_label: the other classes' softmax. Neither
                // underflows.
                let other = |i: &usize| *i != label;
                let largest =
                    (0..logits.len()).filter(other).fold(f64::NEG_INFINITY, |m, i| m.max(z(i)));
                let mut sum = 0.0;
                for i in (0..logits.len()).filter(other) {
                    grad_logits[i] = (z(i) - largest).exp();
                    sum += grad_logits[i];
                }
                if sum > 0.0 {
                    grad_logits.iter_mut().for_each(|w| *w /= sum);
                    grad_logits[label] = -1.0;
                }
            }
            Self::Dlr { target } => {
                let divisor = if logits.len() > 2 { divisor(logits) } else { Vec::new() };
                let value: f64 = divisor.iter().map(|(i, share)| share * z(*i)).sum::<f64>() + TINY;
                let value = if divisor.is_empty() { 1.0 } else { value };
                let difference = z(target) - z(label);
                grad_logits[target] += 1.0 / value;
                grad_logits[label] -= 1.0 / value;
                for (i, share) in divisor {
                    grad_logits[i] -= difference / (value * value) * share;
                }
            }
        }
        let largest = grad_logits.iter().fold(0.0f64, |m, w| m.max(w.abs()));
        let scale = if largest > 0.0 && largest.is_finite() { 1.0 / largest } else { 1.0 };
        grad_logits.into_iter().map(|w| (w * scale) as f32).collect()
    }
}

/// The logits of DLR's divisor with their shares.
fn divisor(logits: &[f32]) -> Vec<(usize, f64)> {
    match top(logits, 4)[..] {
        [first, _, third, fourth] => vec![(first, 1.0), (third, -0.5), (fourth, -0.5)],
        [first, _, third] => vec![(first, 1.0), (third, -1.0)],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `grad_logits` must be the derivative up to one positive factor.
    #[test]
    fn grad_logits_are_the_derivative() {
        for classes in [2usize, 3, 4, 7] {
            let logits: Vec<f32> =
                (0..classes).map(|i| ((i * 37) % 11) as f32 * 0.4 - 1.0).collect();
            for (label, target) in [(0, 1), (1, 0), (classes - 1, 0)] {
                for loss in [Loss::CrossEntropy, Loss::Dlr { target }] {
                    let grad_logits = loss.grad_logits(&logits, label);
                    let slopes: Vec<f64> = (0..classes)
                        .map(|i| {
                            let at = |step: f32| {
                                let mut z = logits.clone();
                                z[i] += step;
                                loss.value(&z, label)
                            };
                            (at(1e-3) - at(-1e-3)) / 2e-3
                        })
                        .collect();
                    let largest = slopes.iter().fold(0.0f64, |m, s| m.max(s.abs()));
                    for (gradient, slope) in grad_logits.iter().zip(&slopes) {
                        let error = (f64::from(*gradient) - slope / largest).abs();
                        assert!(error < 2e-3, "{classes} {loss:?} {grad_logits:?} {slopes:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_ratio_is_scale_invariant_and_a_confident_classifier_keeps_its_gradient() {
        let logits = [5.0f32, 1.0, 0.5, -2.0, 0.0];
        let scaled: Vec<f32> = logits.iter().map(|z| z * 1000.0).collect();
        let dlr = Loss::Dlr { target: 1 };
        assert!((dlr.value(&logits, 0) - dlr.value(&scaled, 0)).abs() < 1e-9);
        let grad_logits = Loss::CrossEntropy.grad_logits(&scaled, 0);
        assert!(grad_logits[0] == -1.0 && grad_logits[1] > 0.99, "{grad_logits:?}");
        assert_eq!(Loss::CrossEntropy.grad_logits(&[3.0], 0), [0.0]);
    }
}
