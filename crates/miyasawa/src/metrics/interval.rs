//! The precision of a measurement on n examples: 95% confidence intervals, standard errors, and
//! which of several measurements is the best beyond them.

use crate::normal::ln_binomial;
use serde::{Deserialize, Serialize};

/// The 97.5% quantile of the standard normal distribution: a 95% interval reaches this many
/// standard errors to either side.
pub const Z95: f64 = 1.959_963_984_540_054;

/// Which of several values is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Best {
    /// The largest.
    Highest,
    /// The smallest.
    Lowest,
}

/// A measured value with its 95% confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The value.
    pub value: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Estimate {
    /// A share of `count` examples with its [`wilson`] interval.
    pub fn share(share: f64, count: usize) -> Self {
        let [low, high] = wilson(share, count);
        Self { value: share, low, high }
    }

    /// A value with its standard error; a value alone if that is unknown.
    pub fn with_error(value: f64, error: Option<f64>) -> Self {
        let half = error.filter(|e| e.is_finite()).map_or(f64::INFINITY, |e| Z95 * e);
        Self { value, low: value - half, high: value + half }
    }

    /// A value with its interval; a value alone if that is unknown.
    pub fn within(value: f64, interval: Option<[f64; 2]>) -> Self {
        let [low, high] = interval.unwrap_or([f64::NEG_INFINITY, f64::INFINITY]);
        Self { value, low, high }
    }

    /// The ends, where they are known.
    pub fn interval(self) -> Option<[f64; 2]> {
        (self.low.is_finite() && self.high.is_finite()).then_some([self.low, self.high])
    }

    /// In other units.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        Self { value: factor * self.value, low: factor * self.low, high: factor * self.high }
    }

    /// Half of the interval's width.
    pub fn half_width(self) -> f64 {
        0.5 * (self.high - self.low)
    }

    /// Around another value, and wider by a further, independent standard error: the margins add up
    /// as squares.
    #[must_use]
    pub fn widened(self, value: f64, error: f64) -> Self {
        let margin = |of: f64| of.hypot(Z95 * error);
        Self {
            value,
            low: value - margin(self.value - self.low),
            high: value + margin(self.high - self.value),
        }
    }

    /// Whether the 95% interval of the difference `self - other` lies above 0.
    ///
    /// The interval is put together from both intervals as if the measurements were independent:
    /// Newcombe's hybrid score interval for shares (1998, "Interval estimation for the difference
    /// between independent proportions", method 10), the usual one for means. Measurements on the
    /// same examples vary together, so that it is rather too wide.
    pub fn exceeds(self, other: Self) -> bool {
        let margin = (self.value - self.low).hypot(other.high - other.value);
        self.value - other.value - margin > 0.0
    }
}

/// The best of several values, if its difference from every other exceeds the interval of that
/// difference ([`Estimate::exceeds`]). `None` where there is no second value to compare with.
pub fn distinct_best(values: &[Option<Estimate>], best: Best) -> Option<usize> {
    let beats = |a: Estimate, b: Estimate| match best {
        Best::Highest => a.exceeds(b),
        Best::Lowest => b.exceeds(a),
    };
    let known: Vec<(usize, Estimate)> =
        values.iter().enumerate().filter_map(|(i, v)| Some((i, (*v)?))).collect();
    let others = |i: usize| known.iter().filter(move |other| other.0 != i);
    let found = known.iter().find(|(i, value)| others(*i).all(|other| beats(*value, other.1)));
    found.filter(|_| known.len() > 1).map(|found| found.0)
}

/// Wilson's score interval of 95% for a share of `count` examples (Wilson 1927, "Probable
/// inference, the law of succession, and statistical inference"): the shares from which the
/// observed one is at most [`Z95`] of their own standard errors away. It lies within [0, 1] and has
/// a width at shares of 0 and 1 too.
pub fn wilson(share: f64, count: usize) -> [f64; 2] {
    let (n, z2) = (count as f64, Z95 * Z95);
    let middle = (share + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z95 * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt() / (1.0 + z2 / n);
    // Rounding may leave a small difference at the ends, where the interval ends at the share.
    let low = if share <= 0.0 { 0.0 } else { middle - half };
    let high = if share >= 1.0 { 1.0 } else { middle + half };
    [low, high]
}

/// The standard error of an area under the ROC curve of `inside` against `outside` examples (Hanley
/// & McNeil 1982, "The meaning and use of the area under a receiver operating characteristic (ROC)
/// curve", eq. 1). It is 0 where a score separates the sets perfectly; [`auroc_interval`] has a
/// width there.
pub fn auroc_error(auroc: f64, inside: usize, outside: usize) -> f64 {
    hanley_mcneil(auroc, [inside as f64 - 1.0, outside as f64 - 1.0], (inside * outside) as f64)
        .sqrt()
}

fn hanley_mcneil(a: f64, [more_in, more_out]: [f64; 2], pairs: f64) -> f64 {
    let (q1, q2) = (a / (2.0 - a), 2.0 * a * a / (1.0 + a));
    ((a * (1.0 - a) + more_in * (q1 - a * a) + more_out * (q2 - a * a)) / pairs).max(0.0)
}

/// The 95% interval of an area under the ROC curve: as [`wilson`] does, the areas from which the
/// observed one is at most [`Z95`] of their own standard errors away, those being Hanley and
/// McNeil's with the mean size of both sets (Newcombe 2006, "Confidence intervals for an effect
/// size measure based on the Mann-Whitney statistic", part 2, method 5).
pub fn auroc_interval(auroc: f64, inside: usize, outside: usize) -> [f64; 2] {
    let more = 0.5 * (inside + outside) as f64 - 1.0;
    let pairs = (inside * outside) as f64;
    let within = |a: f64| (auroc - a).abs() <= Z95 * hanley_mcneil(a, [more, more], pairs).sqrt();
    // Bisection from the observed area, which is inside, to an end, which is outside or the limit
    // itself.
    let limit = |mut outer: f64| {
        let mut inner = auroc;
        if within(outer) {
            return outer;
        }
        for _ in 0..60 {
            let middle = 0.5 * (inner + outer);
            if within(middle) { inner = middle } else { outer = middle }
        }
        inner
    };
    [limit(0.0), limit(1.0)]
}

/// Mean and deviation of `|hits - n*p|` for `hits` of a binomial distribution (De Moivre's formula
/// for the mean).
pub(super) fn absolute_deviation(n: u64, p: f64) -> [f64; 2] {
    let p = p.clamp(0.0, 1.0);
    let variance = n as f64 * p * (1.0 - p);
    let above = (n as f64 * p).floor() as u64 + 1;
    if variance <= 0.0 || above > n {
        return [0.0, 0.0];
    }
    let log =
        ln_binomial(n, above) + above as f64 * p.ln() + (n - above + 1) as f64 * (1.0 - p).ln();
    let mean = 2.0 * above as f64 * log.exp();
    [mean, (variance - mean * mean).max(0.0).sqrt()]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values from scripts/intervals_oracle.py (SciPy).
    #[test]
    fn intervals_agree_with_scipy() {
        for (hits, n, expected) in [
            (88u32, 100usize, [0.801_879_005_733, 0.930_005_935_630]),
            (0, 100, [0.000_000_000_000, 0.036_993_498_207]),
            (50, 50, [0.928_652_400_867, 1.000_000_000_000]),
            (1, 7, [0.025_679_624_345, 0.513_127_829_274]),
            (4437, 5000, [0.878_339_135_091, 0.895_866_049_442]),
        ] {
            let found = wilson(f64::from(hits) / n as f64, n);
            assert!(
                found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9),
                "{hits}/{n}: {found:?}"
            );
        }
        for (auroc, inside, outside, error, expected) in [
            (0.893, 51, 58, 0.032_511_581_768, [0.811_476_603_228, 0.939_883_234_296]),
            (0.5, 100, 100, 0.040_926_763_859, [0.421_009_613_763, 0.578_990_386_237]),
            (1.0, 100, 100, 0.000_000_000_000, [0.980_448_940_792, 1.000_000_000_000]),
            (0.2, 30, 60, 0.045_919_951_822, [0.122_291_067_039, 0.316_599_182_798]),
        ] {
            let found =
                (auroc_error(auroc, inside, outside), auroc_interval(auroc, inside, outside));
            assert!((found.0 - error).abs() < 1e-9, "{auroc}: {found:?}");
            assert!(
                found.1.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9),
                "{auroc}: {found:?}"
            );
        }
        for (n, p, expected) in [
            (1, 0.9, [0.180_000_000_000, 0.240_000_000_000]),
            (7, 0.5, [1.093_750_000_000, 0.744_117_556_237]),
            (50, 0.93, [1.460_409_559_402, 1.059_341_266_451]),
            (200, 0.999, [0.327_459_531_791, 0.304_253_603_165]),
        ] {
            let found = absolute_deviation(n, p);
            assert!(
                found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9),
                "{n} {p}: {found:?}"
            );
        }
    }

    #[test]
    fn a_hundred_examples_are_ten_points_and_none_are_nothing() {
        let half = Estimate::share(0.5, 100).half_width();
        assert!((0.09..0.10).contains(&half), "{half}");
        assert_eq!(wilson(0.0, 10)[0], 0.0);
        assert_eq!(wilson(1.0, 10)[1], 1.0);
        assert!(wilson(1.0, 10)[0] < 0.75, "ten of ten do not show certainty");
        assert!(wilson(f64::NAN, 0).iter().all(|v| v.is_nan()));
    }

    #[test]
    fn the_best_is_named_only_where_the_difference_exceeds_its_interval() {
        let of = |shares: &[f64], n: usize, best| {
            let values: Vec<_> = shares.iter().map(|s| Some(Estimate::share(*s, n))).collect();
            distinct_best(&values, best)
        };
        // Newcombe's example, 56/70 against 48/80: the interval is 0.0524 to 0.3339.
        let (a, b) = (Estimate::share(0.8, 70), Estimate::share(0.6, 80));
        let margin = (a.value - a.low).hypot(b.high - b.value);
        assert!((0.2 - margin - 0.0524).abs() < 5e-5 && a.exceeds(b) && !b.exceeds(a));
        assert_eq!(of(&[0.85, 0.80], 100, Best::Highest), None, "five points on a hundred");
        assert_eq!(of(&[0.85, 0.80], 2000, Best::Highest), Some(0));
        assert_eq!(of(&[0.85, 0.80, 0.3], 100, Best::Highest), None, "the second is as good");
        assert_eq!(of(&[0.2, 0.8, 0.8], 100, Best::Lowest), Some(0));
        assert_eq!(of(&[0.9, 0.9], 1000, Best::Highest), None);
        assert_eq!(of(&[0.9], 1000, Best::Highest), None, "nothing to be better than");
        let unknown =
            [Some(Estimate::with_error(30.0, None)), Some(Estimate::with_error(20.0, Some(0.1)))];
        assert_eq!(distinct_best(&unknown, Best::Highest), None);
        let known = [Some(Estimate::with_error(30.0, Some(0.1))), None, unknown[1]];
        assert_eq!(distinct_best(&known, Best::Highest), Some(0));
        // Two seeds that differ by as much as the models do.
        let seeds = a.widened(a.value, 0.2);
        assert!(!seeds.exceeds(b) && seeds.low < a.low);
    }
}
