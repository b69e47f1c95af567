//! Figures that a model draws.

use super::{Plot, ReportError, Series};
use crate::calibrate::CalibrationRow;
use crate::data::Dataset;
use crate::eval::noisy_batch;
use crate::explain::{Explanation, Path, Spectrum, Step};
use crate::infer::pictures;
use crate::metrics::ReliabilityBin;
use crate::model::{Ask, Predict};
use crate::picture::{Grid, GridRow, Picture};
use burn::tensor::Device;

/// Pictures of a [`denoising_grid`].
pub const SHOWN: usize = 4;

/// The side of a cell that small pictures are enlarged towards.
const CELL: usize = 96;

fn scale_for(side: usize) -> usize {
    (CELL / side.max(1)).clamp(1, 12)
}

/// Noisy, denoised and clean: three columns for each of a few pictures, a row for each noise level.
///
/// # Errors
/// If the figure cannot be drawn.
pub fn denoising_grid(
    model: &impl Predict,
    data: &Dataset,
    sigmas: &[f64],
    device: &Device,
) -> Result<Picture, ReportError> {
    let count = SHOWN.min(data.len());
    let few = data.subset(count).map_err(|e| ReportError::Draw(e.to_string()))?;
    let mut cells: Vec<Vec<Picture>> = Vec::new();
    for (level, &sigma) in sigmas.iter().enumerate() {
        let batch = noisy_batch(&few, [0, count], sigma, [0, level as u64], device);
        let found = model.predict(&batch.y, &batch.sigma, &Ask { denoise: true, ..Ask::default() });
        let cannot = || ReportError::Draw("the model does not denoise".to_owned());
        let denoised = pictures(found.denoised.ok_or_else(cannot)?);
        let (noisy, clean) = (pictures(batch.y), pictures(batch.x));
        let row = noisy.into_iter().zip(denoised).zip(clean).flat_map(|((n, d), c)| [n, d, c]);
        cells.push(row.collect());
    }
    let rows = sigmas
        .iter()
        .zip(&cells)
        .map(|(sigma, row)| GridRow { caption: format!("sigma {sigma}"), pictures: row.iter().collect() });
    let columns = ["noisy", "denoised", "clean"].into_iter().cycle().take(3 * count);
    let grid = Grid {
        rows: rows.collect(),
        columns: columns.map(str::to_owned).collect(),
        scale: scale_for(data.height().max(data.width())),
        ..Grid::default()
    };
    Ok(grid.draw()?)
}

/// One figure with a row for every class: the picture, `D(y)`, `D(y, c)`, their difference, the adversarial gradient
/// by autodiff, and how equal the last two are.
///
/// # Errors
/// If the figure cannot be drawn.
pub fn explanation(y: &Picture, found: &[Explanation], classes: &[String]) -> Result<Picture, ReportError> {
    // A row is divided by one number, so that its last two pictures look alike only if they are.
    let mut scaled = Vec::new();
    for one in found {
        let (difference, peak) = one.difference.amplified();
        let gradient: Vec<f32> = one.gradient.values().iter().map(|v| v / peak).collect();
        scaled.push((difference, Picture::new(one.gradient.shape(), gradient)?, peak));
    }
    let name = |label: usize| classes.get(label).map_or("?", String::as_str);
    let rows = found.iter().zip(&scaled).map(|(one, (difference, gradient, peak))| GridRow {
        caption: format!(
            "{}\np = {:.1}%\nx {:.0}",
            name(one.label),
            100.0 * one.probs.get(one.label).copied().unwrap_or(f32::NAN),
            1.0 / peak
        ),
        pictures: vec![y, &one.denoised, &one.given, difference, gradient],
    });
    let columns = ["y", "D(y)", "D(y, c)", "D(y, c) - D(y)", "sigma^2 grad log p(c | y)"];
    let worst = found.iter().fold(0.0f64, |worst, one| worst.max(one.relative_error));
    let grid = Grid {
        rows: rows.collect(),
        columns: columns.map(str::to_owned).to_vec(),
        note: format!(
            "The last two pictures of a row are enlarged as many times as it says; they differ by {worst:.1e} of the \
             largest value."
        ),
        scale: scale_for(y.height().max(y.width())) * if found.len() > 2 { 1 } else { 2 },
        ..Grid::default()
    };
    Ok(grid.draw()?)
}

/// Points of a path that a figure shows.
const STATIONS: usize = 8;

/// A counterfactual path: evenly spaced points from the start to the end with their distance and probability, and what
/// changed, enlarged.
///
/// # Errors
/// If the figure cannot be drawn.
pub fn path(found: &Path, label: usize, class: &str) -> Result<Picture, ReportError> {
    let last = found.steps.len() - 1;
    let mut stations: Vec<usize> = (0..STATIONS).map(|i| i * last / (STATIONS - 1)).collect();
    stations.dedup();
    let steps: Vec<_> = stations.into_iter().map(|i| &found.steps[i]).collect();
    let start = &found.steps[0].picture;
    let mut changes = Vec::new();
    let mut largest = 1.0f32;
    for step in &steps {
        let change = step.picture.values().iter().zip(start.values()).map(|(a, b)| a - b).collect();
        let change = Picture::new(start.shape(), change)?;
        // All are divided by the last one's peak.
        largest = change.amplified().1;
        changes.push(change);
    }
    let changes = changes
        .into_iter()
        .map(|c| Picture::new(c.shape(), c.values().iter().map(|v| v / largest).collect()))
        .collect::<Result<Vec<_>, _>>()?;
    let heading = |step: &&Step| {
        format!("{:.2} {:.0}%", step.distance, 100.0 * step.probs.get(label).copied().unwrap_or(f32::NAN))
    };
    let grid = Grid {
        rows: vec![
            GridRow { caption: "y".to_owned(), pictures: steps.iter().map(|s| &s.picture).collect() },
            GridRow {
                caption: format!("change\nx {:.1}", 1.0 / largest),
                pictures: changes.iter().collect(),
            },
        ],
        columns: steps.iter().map(heading).collect(),
        note: format!(
            "Towards {class}, following D(y, c) - D(y): distance from the start in units of the [0, 1] range, and p({class} | y)."
        ),
        scale: scale_for(start.height().max(start.width())),
        ..Grid::default()
    };
    Ok(grid.draw()?)
}

/// The picture, its denoised version, and the leading eigenvectors of the denoiser's Jacobian with their eigenvalues.
///
/// # Errors
/// If the figure cannot be drawn.
pub fn eigenvectors(y: &Picture, denoised: &Picture, found: &Spectrum) -> Result<Picture, ReportError> {
    let mut shown = Vec::new();
    for vector in &found.vectors {
        let values = vector.iter().map(|v| *v as f32).collect();
        shown.push(Picture::new(y.shape(), values)?.amplified().0);
    }
    let columns = ["y".to_owned(), "D(y)".to_owned()].into_iter();
    let columns = columns.chain(found.values.iter().map(|value| format!("{value:.3}")));
    let grid = Grid {
        rows: vec![GridRow {
            caption: String::new(),
            pictures: [y, denoised].into_iter().chain(shown.iter()).collect(),
        }],
        columns: columns.collect(),
        note: format!(
            "Leading eigenvectors of the denoiser's Jacobian at noise level {} with their eigenvalues; the trace is {:.1} of \
             {} dimensions.",
            found.sigma,
            found.trace,
            y.values().len()
        ),
        scale: scale_for(y.height().max(y.width())),
        ..Grid::default()
    };
    Ok(grid.draw()?)
}

/// Reliability diagrams: the share of right answers against their mean confidence, before and after a temperature.
pub fn reliability(rows: &[CalibrationRow]) -> Vec<Plot> {
    let points = |bins: &[ReliabilityBin]| bins.iter().map(|b| (b.confidence, b.accuracy)).collect();
    rows.iter()
        .map(|row| {
            let title = match (row.noisy, row.eps > 0.0) {
                (true, _) => format!("noise {}", row.sigma),
                (false, true) => format!("attack, eps {:.4}", row.eps),
                (false, false) => "clean".to_owned(),
            };
            let title = format!(
                "{title}: ECE {:.3}, with T = {:.2} {:.3}",
                row.before.ece, row.temperature, row.after.ece
            );
            let series = vec![
                Series::new("perfect", vec![(0.0, 0.0), (1.0, 1.0)]),
                Series::new("as it is", points(&row.reliability)),
                Series::new("with temperature", points(&row.reliability_after)),
            ];
            let mut plot = Plot::new(title, "confidence", "accuracy", series);
            plot.y_range = Some((0.0, 1.0));
            plot
        })
        .collect()
}
