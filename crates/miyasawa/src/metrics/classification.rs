//! Accuracy, negative log-likelihood, calibration error and Brier score.

use super::interval::{absolute_deviation, wilson};

/// The 95% quantile of the standard normal distribution.
const ONE_SIDED: f64 = 1.644_853_626_951_472_7;

/// Number of bins of the expected calibration error.
pub const ECE_BINS: usize = 15;

/// Returns the index of the largest value; of equal ones the lowest. NaN is never the largest; 0 if
/// all values are NaN or there are none.
pub fn argmax(values: &[f32]) -> usize {
    let mut best = None;
    for (i, &value) in values.iter().enumerate().filter(|(_, value)| !value.is_nan()) {
        if best.is_none_or(|(_, largest)| value > largest) {
            best = Some((i, value));
        }
    }
    best.map_or(0, |(i, _)| i)
}

/// Returns the indices of the `k` largest values, the largest first; of equal ones the lowest
/// first, NaN last.
pub fn top(values: &[f32], k: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    let key = |i: usize| if values[i].is_nan() { f32::NEG_INFINITY } else { values[i] };
    order.sort_by(|&a, &b| key(b).total_cmp(&key(a)).then(a.cmp(&b)));
    order.truncate(k);
    order
}

/// Computes `log sum_c exp(z_c)` in float64.
pub fn log_sum_exp(logits: &[f32]) -> f64 {
    let largest = logits.iter().fold(f64::NEG_INFINITY, |m, z| m.max(f64::from(*z)));
    if !largest.is_finite() {
        return largest;
    }
    logits.iter().map(|z| (f64::from(*z) - largest).exp()).sum::<f64>().ln() + largest
}

/// The measures of a classifier on a set.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ClassificationMetrics {
    /// Number of examples.
    pub count: u64,
    /// Share of examples whose most probable class ([`argmax`]) is the true one, in [0, 1].
    pub accuracy: f64,
    /// Its 95% interval ([`wilson`]); none in documents of earlier versions.
    #[serde(default)]
    pub accuracy_interval: Option<[f64; 2]>,
    /// Mean of -log p(true class), in nats.
    pub nll: f64,
    /// Expected calibration error in [0, 1] (Guo et al. 2017, "On calibration of modern neural
    /// networks", eq. 3): the mean over examples of |accuracy - mean confidence| of their bin,
    /// confidence being the largest probability and the [`ECE_BINS`] bins ((m-1)/15, m/15].
    pub ece: f64,
    /// Its standard error, the bins and their mean confidence taken as exact; none in documents of
    /// earlier versions.
    #[serde(default)]
    pub ece_error: Option<f64>,
    /// The calibration error that a perfectly calibrated model with these confidences has by
    /// chance: its mean on this number of examples, and its 95% quantile.
    #[serde(default)]
    pub ece_by_chance: Option<[f64; 2]>,
    /// Mean over examples of the sum over classes of (p(c) - [c is true])^2, in [0, 2] (Brier
    /// 1950).
    pub brier: f64,
}

/// The examples whose largest probability lies in `(from, to]`.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ReliabilityBin {
    /// The lower end.
    pub from: f64,
    /// The upper end.
    pub to: f64,
    /// Number of examples, at least 1.
    pub count: u64,
    /// Mean of their largest probability.
    pub confidence: f64,
    /// Share of them that is classified correctly.
    pub accuracy: f64,
    /// Its 95% interval ([`wilson`]); none in documents of earlier versions.
    #[serde(default)]
    pub accuracy_interval: Option<[f64; 2]>,
}

/// Collects [`ClassificationMetrics`] batch by batch.
#[derive(Debug, Clone, Default)]
pub struct ClassificationMeter {
    count: u64,
    correct: u64,
    nll: f64,
    brier: f64,
    bins: [Bin; ECE_BINS],
    has_nan: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Bin {
    correct: u64,
    count: u64,
    confidence: f64,
    /// Sum of the squares of the residuals: [is correct] - confidence.
    squares: f64,
}

impl Bin {
    fn mean_confidence(&self) -> f64 {
        self.confidence / self.count as f64
    }

    fn accuracy(&self) -> f64 {
        self.correct as f64 / self.count as f64
    }

    /// Variance of the sum of the residuals; of one example its square.
    fn variance(&self) -> f64 {
        let n = self.count as f64;
        let sum = self.correct as f64 - self.confidence;
        if self.count < 2 {
            self.squares
        } else {
            (self.squares - sum * sum / n).max(0.0) * n / (n - 1.0)
        }
    }
}

impl ClassificationMeter {
    /// An empty meter.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds examples: `log_probs` holds log p(c) as (labels.len(), classes), natural logarithms
    /// that are normalised.
    ///
    /// A NaN makes NLL, ECE and Brier score NaN, and its example wrong.
    ///
    /// # Panics
    ///
    /// If the lengths do not agree or a label is not below the number of classes.
    pub fn add(&mut self, log_probs: &[f32], labels: &[u32]) {
        if labels.is_empty() {
            assert!(log_probs.is_empty(), "log-probabilities without labels");
            return;
        }
        let classes = log_probs.len() / labels.len();
        assert!(
            classes > 0 && log_probs.len() == classes * labels.len(),
            "the number of log-probabilities"
        );
        for (row, &label) in log_probs.chunks_exact(classes).zip(labels) {
            let label = label as usize;
            assert!(label < classes, "label {label} of {classes} classes");
            self.count += 1;
            self.nll -= f64::from(row[label]);
            if row.iter().any(|value| value.is_nan()) {
                self.has_nan = true;
                continue;
            }
            let best = argmax(row);
            let correct = u64::from(best == label);
            self.correct += correct;
            for (class, &value) in row.iter().enumerate() {
                let truth = if class == label { 1.0 } else { 0.0 };
                self.brier += (f64::from(value).exp() - truth).powi(2);
            }
            let confidence = f64::from(row[best]).exp();
            // The bin ((m-1)/15, m/15]; rounding may leave a confidence just above 1.
            let bin = (confidence * ECE_BINS as f64).ceil() as usize;
            let bin = &mut self.bins[bin.clamp(1, ECE_BINS) - 1];
            bin.count += 1;
            bin.correct += correct;
            bin.confidence += confidence;
            bin.squares += (correct as f64 - confidence).powi(2);
        }
    }

    /// The reliability diagram, whose mean gap is the calibration error. Bins without examples are
    /// left out.
    pub fn reliability(&self) -> Vec<ReliabilityBin> {
        let filled = self.bins.iter().enumerate().filter(|(_, bin)| bin.count > 0);
        let width = 1.0 / ECE_BINS as f64;
        filled
            .map(|(i, bin)| ReliabilityBin {
                from: i as f64 * width,
                to: (i + 1) as f64 * width,
                count: bin.count,
                confidence: bin.mean_confidence(),
                accuracy: bin.accuracy(),
                accuracy_interval: Some(wilson(bin.accuracy(), bin.count as usize)),
            })
            .collect()
    }

    /// The measures so far; NaN if nothing was added.
    pub fn result(&self) -> ClassificationMetrics {
        let count = self.count as f64;
        let filled = || self.bins.iter().filter(|bin| bin.count > 0);
        let gap: f64 = filled().map(|bin| (bin.correct as f64 - bin.confidence).abs()).sum();
        let variance: f64 = filled().map(Bin::variance).sum();
        let chance = filled().map(|bin| absolute_deviation(bin.count, bin.mean_confidence()));
        let (mean, spread) =
            chance.fold((0.0, 0.0), |(m, v), [mean, deviation]| (m + mean, v + deviation.powi(2)));
        let limit = mean + ONE_SIDED * spread.sqrt();
        let unless_nan = |value: f64| if self.has_nan { f64::NAN } else { value / count };
        let known = !self.has_nan && self.count > 0;
        let accuracy = self.correct as f64 / count;
        ClassificationMetrics {
            count: self.count,
            accuracy,
            accuracy_interval: (self.count > 0).then(|| wilson(accuracy, self.count as usize)),
            ece_error: known.then(|| variance.sqrt() / count),
            ece_by_chance: known.then(|| [mean / count, limit / count]),
            nll: unless_nan(self.nll),
            ece: unless_nan(gap),
            brier: unless_nan(self.brier),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_the_lowest_index_and_nan_is_never_largest() {
        assert_eq!(argmax(&[1.0, 3.0, 3.0]), 1);
        assert_eq!(argmax(&[f32::NAN, -1.0, f32::NAN]), 1);
        assert_eq!(argmax(&[f32::NEG_INFINITY; 2]), 0);
        assert_eq!(argmax(&[]), 0);
        assert_eq!(top(&[1.0, f32::NAN, 3.0, 3.0], 9), [2, 3, 0, 1]);
    }

    /// 40 examples of 4 classes with logits ((13*i*i + 7*i*c + 5*c*c) % 17)/4 and labels (3*i) % 4,
    /// as in scripts/metrics_oracle.py.
    fn example() -> (Vec<f32>, Vec<u32>) {
        let mut log_probs = Vec::new();
        for i in 0..40 {
            let logits: Vec<f64> = (0..4)
                .map(|c| f64::from((13 * i * i + 7 * i * c + 5 * c * c) % 17) / 4.0)
                .collect();
            let log_sum = logits.iter().map(|v| v.exp()).sum::<f64>().ln();
            log_probs.extend(logits.iter().map(|v| (v - log_sum) as f32));
        }
        (log_probs, (0..40).map(|i| (3 * i) % 4).collect())
    }

    /// Expected values from scripts/metrics_oracle.py.
    #[test]
    fn agrees_with_the_oracle_whatever_the_batches() {
        let (log_probs, labels) = example();
        let mut meter = ClassificationMeter::new();
        meter.add(&log_probs, &labels);
        let result = meter.result();
        assert_eq!((result.count, result.accuracy), (40, 0.3));
        assert!((result.nll - 1.812813682).abs() < 1e-6, "{}", result.nll);
        assert!((result.ece - 0.268368967).abs() < 1e-6, "{}", result.ece);
        assert!((result.brier - 0.906401219).abs() < 1e-6, "{}", result.brier);
        let bins = meter.reliability();
        assert_eq!(bins.iter().map(|b| b.count).sum::<u64>(), 40);
        assert!(bins.iter().all(|b| b.from < b.confidence && b.confidence <= b.to + 1e-12));
        let gap: f64 =
            bins.iter().map(|b| b.count as f64 * (b.accuracy - b.confidence).abs()).sum();
        assert!((gap / 40.0 - result.ece).abs() < 1e-12, "the diagram and the error agree");
        let mut parts = ClassificationMeter::new();
        for (rows, labels) in log_probs.chunks(28).zip(labels.chunks(7)) {
            parts.add(rows, labels);
        }
        parts.add(&[], &[]);
        assert_eq!(parts.result(), result);
    }

    #[test]
    fn certainty_and_nan_are_handled() {
        let mut meter = ClassificationMeter::new();
        meter.add(&[0.0, f32::NEG_INFINITY], &[0]);
        let sure = meter.result();
        assert_eq!(
            (sure.count, sure.accuracy, sure.nll, sure.ece, sure.brier),
            (1, 1.0, 0.0, 0.0, 0.0)
        );
        assert_eq!(sure.accuracy_interval, Some(wilson(1.0, 1)));
        meter.add(&[f32::NAN, 0.0], &[1]);
        let result = meter.result();
        assert_eq!(result.accuracy, 0.5);
        assert!(result.nll.is_nan() && result.ece.is_nan() && result.brier.is_nan());
        assert!(result.ece_error.is_none() && result.ece_by_chance.is_none());
        let none = ClassificationMeter::new().result();
        assert!(none.accuracy.is_nan() && none.accuracy_interval.is_none());
    }

    /// Labels drawn from the probabilities themselves: the calibration error is due to chance, and
    /// its mean is the one that is reported.
    #[test]
    fn the_calibration_error_by_chance_is_reported() {
        use rand::RngExt;
        let (mut found, mut expected, mut errors, mut above) =
            (Vec::new(), Vec::new(), Vec::new(), 0);
        for trial in 0..400 {
            let mut rng = crate::random::example_rng(trial, 0, 0, 98);
            let mut meter = ClassificationMeter::new();
            for _ in 0..50 {
                let p: f32 = 0.55 + 0.44 * rng.random::<f32>();
                let label = u32::from(rng.random::<f32>() > p);
                meter.add(&[p.ln(), (1.0 - p).ln()], &[label]);
            }
            let result = meter.result();
            let [mean, limit] = result.ece_by_chance.unwrap();
            above += usize::from(result.ece > limit);
            found.push(result.ece);
            expected.push(mean);
            errors.push(result.ece_error.unwrap());
        }
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        assert!(
            (mean(&found) - mean(&expected)).abs() < 0.05 * mean(&found),
            "{} {}",
            mean(&found),
            mean(&expected)
        );
        assert!((8..=32).contains(&above), "{above} of 400 above the limit of 95%");
        let spread = (found.iter().map(|e| (e - mean(&found)).powi(2)).sum::<f64>() / 399.0).sqrt();
        // Errors by chance are folded at 0, which narrows them: the standard error is conservative.
        assert!((1.0..2.5).contains(&(mean(&errors) / spread)), "{} {spread}", mean(&errors));
    }
}
