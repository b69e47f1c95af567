//! Reliability diagrams.

use super::{Histogram, PERCENT, Plot, Series, SeriesStyle};
use crate::calibrate::CalibrationRow;
use crate::metrics::{Estimate, ReliabilityBin};

/// Reliability diagrams: accuracy against mean confidence, before and after temperature scaling. A
/// marker's area is the number of images in its bin; the bars below show these numbers before
/// scaling.
pub fn reliability(rows: &[CalibrationRow]) -> Vec<Plot> {
    let line = |name: String, bins: &[ReliabilityBin]| {
        let at = |b: &ReliabilityBin| {
            (100.0 * b.confidence, Estimate::share(b.accuracy, b.count as usize))
        };
        let points: Vec<_> =
            bins.iter().map(at).map(|(x, share)| (x, share.scaled(100.0))).collect();
        let counts = bins.iter().map(|b| b.count).collect();
        Series { counts, style: SeriesStyle::Points, ..Series::estimated(name, &points) }
    };
    rows.iter()
        .map(|row| {
            let before = format!("T = 1, ECE {:.3}", row.before.ece);
            let after = format!("T = {:.2}, ECE {:.3}", row.temperature, row.after.ece);
            let series = vec![
                Series::reference("perfect", vec![(0.0, 0.0), (100.0, 100.0)]),
                line(before, &row.reliability),
                line(after, &row.reliability_after),
            ];
            let title = row.condition();
            let mut plot = Plot::new(title, "confidence, %", "accuracy, %", series);
            (plot.x_range, plot.y_range) = (Some(PERCENT), Some(PERCENT));
            plot.x_ticks = Some((0..=5).map(|tick| 20.0 * f64::from(tick)).collect());
            let bins = row.reliability.iter().map(|b| (100.0 * b.from, 100.0 * b.to, b.count));
            plot.histogram = Some(Histogram { label: "images".to_owned(), bins: bins.collect() });
            plot
        })
        .collect()
}
