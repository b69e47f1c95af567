//! How well a score separates two sets.

use super::interval::{Estimate, auroc_error, auroc_interval};

/// The performance of a score as a detector of the first set, "in", whose values should be larger.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Detection {
    /// Area under the ROC curve: the probability that a value of "in" exceeds one of "out", ties
    /// counting half; 0.5 is chance, below it the score is inverted.
    pub auroc: f64,
    /// Its standard error ([`auroc_error`]: Hanley & McNeil 1982); none in documents of earlier
    /// versions.
    #[serde(default)]
    pub auroc_error: Option<f64>,
    /// Its 95% interval ([`auroc_interval`]: Newcombe 2006, from the same standard error).
    #[serde(default)]
    pub auroc_interval: Option<[f64; 2]>,
    /// How many values of "in" and "out" it was measured on.
    #[serde(default)]
    pub counts: Option<[usize; 2]>,
    /// Average precision with "in" as the positive set: the sum over thresholds of the rise in
    /// recall times the precision.
    pub aupr: f64,
    /// Share of "out" that passes the largest threshold which 95% of "in" pass.
    pub fpr95: f64,
}

impl Detection {
    /// The area under the ROC curve with its interval.
    pub fn estimate(&self) -> Estimate {
        Estimate::within(self.auroc, self.auroc_interval)
    }
}

/// Measures how well a score separates two sets. NaN counts as the lowest value.
///
/// # Panics
/// If a set is empty.
pub fn detection(inside: &[f64], outside: &[f64]) -> Detection {
    assert!(
        !inside.is_empty() && !outside.is_empty(),
        "detection: both sets need at least one value"
    );
    let key = |v: f64| if v.is_nan() { f64::NEG_INFINITY } else { v };
    let mut all: Vec<(f64, bool)> = inside.iter().map(|v| (key(*v), true)).collect();
    all.extend(outside.iter().map(|v| (key(*v), false)));
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (n_in, n_out) = (inside.len() as f64, outside.len() as f64);
    let (mut true_positives, mut false_positives) = (0.0, 0.0);
    let (mut area, mut precision, mut fpr95) = (0.0, 0.0, None);
    let mut from = 0;
    while from < all.len() {
        // Equal values pass a threshold together.
        let equal = all[from..].iter().take_while(|v| v.0 == all[from].0).count();
        let hits = all[from..from + equal].iter().filter(|v| v.1).count() as f64;
        let misses = equal as f64 - hits;
        area += misses * (true_positives + 0.5 * hits);
        true_positives += hits;
        false_positives += misses;
        precision += hits / n_in * true_positives / (true_positives + false_positives);
        // A share of 0.95 may be a little less in binary.
        if fpr95.is_none() && true_positives >= 0.95 * n_in - 1e-9 {
            fpr95 = Some(false_positives / n_out);
        }
        from += equal;
    }
    // A sum of shares may come out a little above 1.
    let (auroc, counts) = (area / (n_in * n_out), [inside.len(), outside.len()]);
    Detection {
        auroc,
        auroc_error: Some(auroc_error(auroc, counts[0], counts[1])),
        auroc_interval: Some(auroc_interval(auroc, counts[0], counts[1])),
        counts: Some(counts),
        aupr: precision.min(1.0),
        fpr95: fpr95.unwrap_or(1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values from scripts/detection_oracle.py (scikit-learn): "in" (17*i*i + 5*i) % 41
    /// for 60 values, "out" (11*i*i + 3*i) % 37 - 6 for 45.
    #[test]
    fn agrees_with_scikit_learn() {
        let inside: Vec<f64> = (0..60).map(|i| f64::from((17 * i * i + 5 * i) % 41)).collect();
        let outside: Vec<f64> = (0..45).map(|i| f64::from((11 * i * i + 3 * i) % 37 - 6)).collect();
        let found = detection(&inside, &outside);
        let (auroc, aupr, fpr95) = (0.696_296_296_296, 0.759_106_953_098, 0.622_222_222_222);
        assert!((found.auroc - auroc).abs() < 1e-9, "{found:?}");
        assert!((found.aupr - aupr).abs() < 1e-9, "{found:?}");
        assert!((found.fpr95 - fpr95).abs() < 1e-9, "{found:?}");
        assert_eq!(
            (found.auroc_error, found.counts),
            (Some(auroc_error(found.auroc, 60, 45)), Some([60, 45]))
        );
        let [low, high] = found.auroc_interval.unwrap();
        assert!(low < found.auroc && found.auroc < high && high < 0.8, "{found:?}");
    }

    #[test]
    fn extremes_and_nan_have_defined_values() {
        let perfect = detection(&[2.0, 3.0], &[0.0, 1.0]);
        assert_eq!((perfect.auroc, perfect.aupr, perfect.fpr95), (1.0, 1.0, 0.0));
        let wrong = detection(&[0.0, 1.0], &[2.0, 3.0]);
        assert_eq!((wrong.auroc, wrong.fpr95), (0.0, 1.0));
        let same = detection(&[1.0; 4], &[1.0; 3]);
        assert_eq!((same.auroc, same.fpr95), (0.5, 1.0));
        assert_eq!(detection(&[1.0], &[f64::NAN]).auroc, 1.0);
        assert_eq!(detection(&[1.0, 2.0], &[f64::INFINITY, f64::NEG_INFINITY]).auroc, 0.5);
    }
}
