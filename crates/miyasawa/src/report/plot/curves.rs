//! The course of a training run, from the lines of its log.

use super::{MAX_SIDE, PERCENT, Plot, Series, axis::shortest, render_png};
use crate::{atomic::write_atomic, report::ReportError};
use serde_json::Value;
use std::{
    io::{Cursor, Write},
    path::Path,
};

/// The largest number of points of a line: a panel cannot show more.
const MOST_POINTS: usize = 600;
/// Size of one panel, in pixels.
const PANEL: (u32, u32) = (560, 360);
/// Panels side by side: two stay legible where the image is shown in a page.
const COLUMNS: usize = 2;

/// Draws a run's losses, accuracy, PSNR, gradient norm and learning rate into a PNG file.
///
/// `lines` are those of the run's `metrics.jsonl`: one for every step and, marked `"event":
/// "eval"`, one for every evaluation. Missing quantities are not drawn; lines of other events are
/// skipped.
///
/// # Errors
/// If the file cannot be written.
pub fn curves(lines: &[Value], path: &Path) -> Result<(), ReportError> {
    save_plots(&panels(lines), path)
}

/// Draws plots into a PNG file, two or more side by side depending on their number.
///
/// # Errors
/// If the file cannot be written.
pub fn save_plots(plots: &[Plot], path: &Path) -> Result<(), ReportError> {
    let bytes = plots_png(plots)?;
    Ok(write_atomic(path, |file| file.write_all(&bytes))?)
}

/// As [`save_plots`]; returns the bytes of the file.
///
/// # Errors
/// If there are too many plots for one image.
pub fn plots_png(plots: &[Plot]) -> Result<Vec<u8>, ReportError> {
    // As many columns as needed for the rows to stay within the largest image.
    let columns =
        COLUMNS.max(plots.len().div_ceil((MAX_SIDE / PANEL.1) as usize)).min(plots.len()).max(1);
    let rows = plots.len().div_ceil(columns).max(1) as u32;
    let image = render_png(plots, columns, PANEL.0 * columns as u32, PANEL.1 * rows)?;
    let mut bytes = Vec::new();
    image.write_to(&mut Cursor::new(&mut bytes), image::ImageFormat::Png)?;
    Ok(bytes)
}

fn panels(lines: &[Value]) -> Vec<Plot> {
    let mut plots = Vec::new();
    let mut panel = |title: &str, y_label: &str, log_y: bool, series: Vec<Series>| {
        if series.iter().any(|s| !s.points.is_empty()) {
            plots.push(Plot { log_y, ..Plot::new(title, "step", y_label, series) });
        }
    };
    let percent = |points: Vec<(f64, f64)>| {
        points.into_iter().map(|(x, y)| (x, 100.0 * y)).collect::<Vec<_>>()
    };

    for (title, label, key) in
        [("Cross-entropy", "nats", "ce"), ("Denoising score matching", "loss", "dsm")]
    {
        let mut losses = raw_and_smooth(column(lines, key));
        let tested = tested(lines, key);
        if !tested.is_empty() {
            losses.push(Series::new("test, mean over \u{3c3}", tested));
        }
        panel(title, label, true, losses);
    }
    // The training comes last, so that a noise level has the same colour as in the panel of PSNR.
    let evaluated = evaluations(lines, "accuracy").into_iter();
    let mut accuracy: Vec<_> =
        evaluated.map(|(sigma, points)| Series::new(noise(sigma), percent(points))).collect();
    accuracy.push(Series::new("training", thin(&smooth(&percent(column(lines, "accuracy"))))));
    panel("Accuracy", "percent", false, accuracy);
    let psnr = evaluations(lines, "psnr").into_iter();
    panel(
        "PSNR of D(y)",
        "dB",
        false,
        psnr.map(|(sigma, points)| Series::new(noise(sigma), points)).collect(),
    );
    panel("Gradient norm before clipping", "", true, raw_and_smooth(column(lines, "grad_norm")));
    panel("Learning rate", "", false, vec![Series::new("", thin(&column(lines, "lr")))]);
    // Shares have the same axis in every run.
    plots
        .iter_mut()
        .filter(|plot| plot.y_label == "percent")
        .for_each(|plot| plot.y_range = Some(PERCENT));
    if plots.is_empty() {
        plots.push(Plot::new("Training", "step", "", Vec::new()));
    }
    plots
}

fn noise(sigma: f64) -> String {
    format!("\u{3c3} = {}", shortest(sigma))
}

/// One quantity of the steps' lines. A value that is not a finite number is left out.
fn column(lines: &[Value], key: &str) -> Vec<(f64, f64)> {
    let steps = lines.iter().filter(|line| line.get("event").is_none());
    steps.filter_map(|line| point(line, line, key)).collect()
}

/// One quantity of the evaluations, the same for all noise levels.
fn tested(lines: &[Value], key: &str) -> Vec<(f64, f64)> {
    let evaluations =
        lines.iter().filter(|line| line.get("event").and_then(Value::as_str) == Some("eval"));
    evaluations.filter_map(|line| point(line, line, key)).collect()
}

fn point(line: &Value, row: &Value, key: &str) -> Option<(f64, f64)> {
    let value = row.get(key)?.as_f64().filter(|v| v.is_finite())?;
    Some((line.get("step")?.as_f64()?, value))
}

/// One quantity of the evaluations' rows for every noise level, in rising order.
fn evaluations(lines: &[Value], key: &str) -> Vec<(f64, Vec<(f64, f64)>)> {
    let mut levels: Vec<(f64, Vec<(f64, f64)>)> = Vec::new();
    for line in
        lines.iter().filter(|line| line.get("event").and_then(Value::as_str) == Some("eval"))
    {
        for row in line.get("rows").and_then(Value::as_array).into_iter().flatten() {
            let (Some(sigma), Some(point)) =
                (row.get("sigma").and_then(Value::as_f64), point(line, row, key))
            else {
                continue;
            };
            match levels.iter_mut().find(|level| level.0 == sigma) {
                Some(level) => level.1.push(point),
                None => levels.push((sigma, vec![point])),
            }
        }
    }
    levels.sort_by(|a, b| a.0.total_cmp(&b.0));
    levels
}

/// The values pale and thin, and their moving average over them.
fn raw_and_smooth(points: Vec<(f64, f64)>) -> Vec<Series> {
    let average = Series::new("moving average", thin(&smooth(&points)));
    vec![Series::faint(extremes(&points)), average]
}

/// The mean over a window of a fortieth of the run around each point. Centred, so that it shows no
/// lag.
fn smooth(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let half = (points.len() / 80).min(250);
    let mut sums = vec![0.0];
    sums.extend(points.iter().scan(0.0, |sum, p| {
        *sum += p.1;
        Some(*sum)
    }));
    let mean = |i: usize| {
        let (from, to) = (i.saturating_sub(half), (i + half + 1).min(points.len()));
        (sums[to] - sums[from]) / (to - from) as f64
    };
    points.iter().enumerate().map(|(i, p)| (p.0, mean(i))).collect()
}

/// Evenly spaced points, and the last.
fn thin(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let every = points.len().div_ceil(MOST_POINTS).max(1);
    let mut kept: Vec<_> = points.iter().step_by(every).copied().collect();
    if let Some(&last) = points.last().filter(|last| kept.last() != Some(last)) {
        kept.push(last);
    }
    kept
}

/// The lowest and the highest of each group of points, so that a thinned line keeps its spikes.
fn extremes(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= MOST_POINTS {
        return points.to_vec();
    }
    let size = points.len().div_ceil(MOST_POINTS / 2);
    let bounds = points.chunks(size).filter_map(|chunk| {
        let indices = || 0..chunk.len();
        let low = indices().min_by(|&a, &b| chunk[a].1.total_cmp(&chunk[b].1))?;
        let high = indices().max_by(|&a, &b| chunk[a].1.total_cmp(&chunk[b].1))?;
        Some([chunk[low.min(high)], chunk[low.max(high)]])
    });
    bounds.flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A log like a run's, with `steps` steps and an evaluation every quarter.
    fn log(steps: usize) -> Vec<Value> {
        let mut lines = Vec::new();
        for step in 1..=steps {
            let t = step as f64 / steps as f64;
            let wobble = 1.0 + 0.25 * ((step * 7919 % 997) as f64 / 997.0 - 0.5);
            lines.push(json!({
                "step": step, "epoch": 3.0 * t, "loss": 1.0,
                "ce": (2.2 * (-3.0 * t).exp() + 0.15) * wobble,
                "dsm": (0.9 * (-20.0 * t).exp() + 0.11) * wobble,
                "accuracy": (0.1 + 0.8 * t.powf(0.3)) * wobble.min(1.0),
                "lr": 2e-3 * 0.5 * (1.0 + (std::f64::consts::PI * t).cos()) * (20.0 * t).min(1.0),
                "grad_norm": (12.0 * (-30.0 * t).exp() + 0.4) * wobble, "images_per_second": 512.0,
            }));
            if step % (steps / 4).max(1) == 0 {
                let row = |sigma: f64| {
                    json!({
                        "sigma": sigma, "accuracy": 0.9 * t.powf(0.2) - 0.1 * sigma,
                        "nll": 0.4, "ece": 0.02,
                        "psnr": 31.0 - 15.0 * (sigma - 0.1) - 2.0 * (1.0 - t), "ssim": 0.9,
                        "psnr_given_label": 31.2, "psnr_noisy": 20.0,
                    })
                };
                let rows: Vec<_> = [1.0, 0.02, 0.1, 0.2, 0.4].into_iter().map(row).collect();
                lines.push(
                    json!({"event": "eval", "step": step, "rows": rows, "ce": 0.5, "dsm": 0.2}),
                );
            }
        }
        lines
    }

    #[test]
    fn a_run_gives_six_panels_and_a_image() {
        let lines = log(2000);
        let plots = panels(&lines);
        let titles: Vec<_> = plots.iter().map(|p| p.title.as_str()).collect();
        assert_eq!(
            titles,
            [
                "Cross-entropy",
                "Denoising score matching",
                "Accuracy",
                "PSNR of D(y)",
                "Gradient norm before clipping",
                "Learning rate"
            ]
        );
        assert!(plots.iter().flat_map(|p| &p.series).all(|s| s.points.len() <= MOST_POINTS + 1));
        for loss in &plots[..2] {
            let test = loss.series.last().unwrap();
            assert_eq!((test.name.as_str(), test.points.len()), ("test, mean over σ", 4));
        }
        let names: Vec<_> = plots[3].series.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["σ = 0.02", "σ = 0.1", "σ = 0.2", "σ = 0.4", "σ = 1"]);

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("curves.png");
        curves(&lines, &path).unwrap();
        assert_eq!(image::open(&path).unwrap().width(), 2 * PANEL.0);
    }

    #[test]
    fn a_classifier_has_no_panel_of_psnr() {
        let mut lines = log(8);
        for line in &mut lines {
            line.as_object_mut().unwrap().remove("dsm");
            for row in line.get_mut("rows").and_then(Value::as_array_mut).into_iter().flatten() {
                row["psnr"] = Value::Null;
            }
        }
        let plots = panels(&lines);
        assert!(plots.iter().all(|p| !p.title.contains("PSNR") && !p.title.contains("Denoising")));
        assert_eq!(plots.len(), 4);
    }

    #[test]
    fn odd_lines_do_no_harm() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("curves.png");
        let odd = [
            vec![],
            vec![
                json!(null),
                json!([1]),
                json!("x"),
                json!({"step": "one", "ce": 1.0}),
                json!({"ce": 1.0}),
            ],
            vec![json!({
                "step": 1, "ce": null, "dsm": 0.0, "accuracy": 0.0, "lr": 0.0,
                "grad_norm": null,
            })],
            vec![
                json!({"event": "eval", "step": 1}),
                json!({"event": "eval", "step": 1, "rows": [{}, 3]}),
            ],
            vec![json!({"event": "stopped", "step": 1, "ce": 1.0})],
        ];
        for lines in odd {
            curves(&lines, &path).unwrap();
        }
        let missing = dir.path().join("none").join("curves.png");
        let error = curves(&[], &missing).unwrap_err().to_string();
        assert!(error.contains("curves.png"), "{error}");
    }

    #[test]
    fn thinning_keeps_ends_and_spikes() {
        let mut points: Vec<_> = (0..10_000).map(|i| (f64::from(i), 1.0)).collect();
        points[4321].1 = 99.0;
        let kept = extremes(&points);
        assert!(kept.len() <= MOST_POINTS);
        assert!(kept.contains(&(4321.0, 99.0)));
        assert!(kept.windows(2).all(|w| w[0].0 <= w[1].0));
        assert_eq!(thin(&points).last(), points.last());
        assert_eq!(smooth(&points).len(), points.len());
        assert_eq!(smooth(&points)[0], points[0]);
        assert_eq!(smooth(&points[..79]), points[..79], "a short run is drawn as it is");
        assert!(thin(&[]).is_empty() && smooth(&[]).is_empty() && extremes(&[]).is_empty());
    }
}
