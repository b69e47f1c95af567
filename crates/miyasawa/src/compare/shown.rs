//! The quantities that a comparison shows: means over seeds with intervals, and the marked cells.

use super::{Comparison, RunResult};
use crate::eval::Quantity;
use crate::metrics::{Best, Estimate, distinct_best};
use crate::report::{PERCENT, rounded_range};

/// The meaning of the marks of a table.
const MARKED: &str =
    "Marked: exceeds every other model by more than the 95% interval of the difference.";
/// Why nothing is marked in results of an earlier version.
const UNKNOWN: &str =
    "Nothing is marked: an earlier version measured this, without standard errors.";

/// The caption about the marks of a table with these columns.
pub(super) fn caption(
    columns: &[Vec<Option<Estimate>>],
    marked: &[(usize, usize)],
) -> &'static str {
    let unknown = columns.iter().flatten().flatten().any(|value| value.interval().is_none());
    match (marked.is_empty(), unknown) {
        (false, _) => MARKED,
        (true, true) => UNKNOWN,
        (true, false) => "",
    }
}

/// Mean and spread of a quantity over a model's runs.
#[derive(Clone, Copy)]
pub(super) struct Spread {
    pub mean: f64,
    /// Sample standard deviation; `None` for a single run.
    deviation: Option<f64>,
    /// The mean with its 95% interval: that of a run, because all runs are measured on the same
    /// images, widened by the deviation between seeds.
    pub estimate: Estimate,
}

impl Spread {
    /// The spread of values without intervals.
    pub fn of_values(values: impl Iterator<Item = Option<f64>>) -> Option<Self> {
        Self::of_estimates(values.map(|value| Some(Estimate::within(value?, None))))
    }

    /// The spread of values with intervals.
    pub fn of_estimates(values: impl Iterator<Item = Option<Estimate>>) -> Option<Self> {
        let values: Vec<Estimate> = values.flatten().collect();
        let count = values.len() as f64;
        let mean = values.iter().map(|v| v.value).sum::<f64>() / count;
        let square = values.iter().map(|v| (v.value - mean).powi(2)).sum::<f64>();
        let deviation = (values.len() > 1).then(|| (square / (count - 1.0)).sqrt());
        let widest = values.iter().max_by(|a, b| a.half_width().total_cmp(&b.half_width()))?;
        let estimate =
            widest.widened(mean, deviation.map_or(0.0, |deviation| deviation / count.sqrt()));
        Some(Self { mean, deviation, estimate })
    }

    pub fn text(self, factor: f64, digits: usize, unit: &str) -> String {
        let mean = factor * self.mean;
        match self.deviation {
            Some(deviation) => {
                format!("{mean:.digits$}{unit} \u{b1} {:.digits$}", factor * deviation)
            }
            None => format!("{mean:.digits$}{unit}"),
        }
    }
}

/// How the report shows a quantity.
pub(super) struct ShownQuantity {
    pub title: &'static str,
    pub axis: &'static str,
    pub quantity: Quantity,
    /// Factor into the unit of the axis, digits, and unit.
    pub format: (f64, usize, &'static str),
    pub best: Best,
    /// The axis of its plots, the same for quantities of one kind.
    pub range: Option<(f64, f64)>,
}

/// The quantities of the report; the axes of PSNR and ECE span all measured values.
pub(super) fn quantities(comparison: &Comparison) -> [ShownQuantity; 5] {
    use Quantity::{Accuracy, Ece, Psnr, PsnrClassConditional, Ssim};
    let all = |quantities: &[Quantity]| {
        let mut values = Vec::new();
        for row in comparison.runs.iter().flat_map(|run| &run.rows) {
            values.extend(quantities.iter().filter_map(|of| Some(row.estimate(*of)?.value)));
        }
        values
    };
    let decibels = rounded_range(all(&[Psnr, PsnrClassConditional]), 5.0);
    let errors = rounded_range(all(&[Ece]).into_iter().chain([0.0]), 0.1);
    let shown = |title, axis, quantity, format, range| {
        let best = if quantity == Ece { Best::Lowest } else { Best::Highest };
        ShownQuantity { title, axis, quantity, format, best, range }
    };
    [
        shown("Accuracy", "accuracy, %", Accuracy, (100.0, 2, "%"), Some(PERCENT)),
        shown("PSNR of D(y)", "PSNR, dB", Psnr, (1.0, 2, ""), decibels),
        shown("PSNR of D(y, true class)", "PSNR, dB", PsnrClassConditional, (1.0, 2, ""), decibels),
        shown("SSIM of D(y)", "SSIM", Ssim, (1.0, 4, ""), Some((0.0, 1.0))),
        shown("Calibration error (ECE, 15 bins)", "ECE", Ece, (1.0, 4, ""), errors),
    ]
}

/// The best cell of each column after the first, if it is better than all others by more than the
/// interval of the difference.
pub(super) fn marked(columns: &[Vec<Option<Estimate>>], best: Best) -> Vec<(usize, usize)> {
    let of = |(column, values): (usize, &Vec<Option<Estimate>>)| {
        Some((distinct_best(values, best)?, column + 1))
    };
    columns.iter().enumerate().filter_map(of).collect()
}

impl Comparison {
    /// A quantity of a run at the noise level of this number with its 95% interval, as far as that
    /// is known.
    pub(super) fn estimate(&self, run: &RunResult, level: usize, of: Quantity) -> Option<Estimate> {
        let found = run.rows.get(level)?.estimate(of)?;
        // Earlier versions stored no interval, but the number of images determines it.
        let counted = || Estimate::share(found.value, run.count.unwrap_or(self.count)).interval();
        match (of, found.interval()) {
            (Quantity::Accuracy, None) => Some(Estimate::within(found.value, counted())),
            _ => Some(found),
        }
    }

    /// The accuracy of a run under the attack of this number with its 95% interval, as far as that
    /// is known.
    pub(super) fn robust_estimate(&self, run: &RunResult, number: usize) -> Option<Estimate> {
        let row = run.robust.get(number)?;
        let count = run.attacked.unwrap_or(self.config.attack.count.min(self.count));
        let counted = || Estimate::share(row.robust_accuracy, count).interval();
        Some(Estimate::within(row.robust_accuracy, row.robust_interval.or_else(counted)))
    }
}

/// The text on the conclusions that this many images and seeds allow.
pub(super) fn limits(comparison: &Comparison) -> String {
    let half = |count: usize| 100.0 * Estimate::share(0.5, count.max(1)).half_width();
    let attacked = comparison.runs.iter().find_map(|run| run.attacked);
    let attacked = attacked.map_or(String::new(), |n| {
        format!(", a robust accuracy on {n} images to within {:.1} points", half(n))
    });
    format!(
        "What can be concluded: a share of {} images is known to within {:.1} points at \
         most{attacked} (95%, Wilson's score interval), means such as PSNR to within 1.96 standard \
         errors over the images (bars in the plots). A cell is marked only if it exceeds every \
         other model's by more than the interval of the difference (Newcombe's hybrid score \
         interval, which treats the models as measured on different images and is therefore \
         conservative). Only models with several seeds have intervals that include the variation \
         between seeds.",
        comparison.count,
        half(comparison.count),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_that_differ_widen_the_interval() {
        let spread = |shares: &[f64]| {
            Spread::of_estimates(shares.iter().map(|s| Some(Estimate::share(*s, 5000)))).unwrap()
        };
        let (one, two) = (spread(&[0.82]), spread(&[0.80, 0.84]));
        assert!((two.mean - 0.82).abs() < 1e-12 && one.text(100.0, 1, "%") == "82.0%");
        assert_eq!(two.text(100.0, 1, "%"), "82.0% \u{b1} 2.8");
        assert!(two.estimate.half_width() > 2.0 * one.estimate.half_width());
        let other = Estimate::share(0.79, 5000);
        assert!(one.estimate.exceeds(other) && !two.estimate.exceeds(other));
        assert!(Spread::of_values([None].into_iter()).is_none());
        assert!(
            !Spread::of_values([Some(3.0)].into_iter()).unwrap().estimate.exceeds(other),
            "not known"
        );
    }

    #[test]
    fn cells_are_marked_only_beyond_the_interval() {
        let column = |shares: [f64; 2], n| shares.map(|s| Some(Estimate::share(s, n))).to_vec();
        let columns =
            [column([0.85, 0.80], 200), column([0.85, 0.80], 5000), column([0.80, 0.85], 5000)];
        assert_eq!(marked(&columns, Best::Highest), [(0, 2), (1, 3)]);
        assert_eq!(marked(&columns, Best::Lowest), [(1, 2), (0, 3)]);
    }
}
