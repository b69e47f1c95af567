//! Figures of a model's results.

use super::{COLUMN, DENSITY, Histogram, PERCENT, Plot, ReportError, Series, SeriesStyle};
use crate::calibrate::CalibrationRow;
use crate::data::Dataset;
use crate::eval::noisy_batch;
use crate::explain::{Counterfactual, CounterfactualStep, Explanation, Spectrum};
use crate::image::{Grid, GridRow, Image};
use crate::infer::to_images;
use crate::metrics::{Estimate, ReliabilityBin};
use crate::model::{Predict, Query};
use burn::tensor::Device;

/// Images of a [`denoising_grid`].
pub const SHOWN: usize = 4;

/// The size of the captions on a page, in its pixels.
const TEXT: f32 = 15.0;
/// Width of the row captions and gaps, in pixels of a page.
const MARGIN: u32 = 130;

/// The grid settings for images with the longer side `side` in `columns` columns: the images are
/// enlarged to about `cell` pixels of a page, or as far as the page's width allows. Captions of
/// larger images are larger, because the page scales the figure down.
fn drawn<'a>(side: usize, columns: usize, cell: u32) -> Grid<'a> {
    let room = (COLUMN - MARGIN) / columns.max(1) as u32;
    let cell = (DENSITY * cell.min(room)) as usize;
    let scale = (cell / side.max(1)).max(1);
    let larger = (scale * side) as f32 / cell.max(1) as f32;
    let text = DENSITY as f32 * TEXT * larger.max(1.0);
    Grid { scale, text, gap: 4 * DENSITY as usize, ..Grid::default() }
}

/// Draws noisy, denoised and clean images: three columns for each of a few images, a row for each
/// noise level.
///
/// # Errors
/// If the figure cannot be drawn.
pub fn denoising_grid(
    model: &impl Predict,
    data: &Dataset,
    sigmas: &[f64],
    device: &Device,
) -> Result<Image, ReportError> {
    let count = SHOWN.min(data.len());
    let few = data.subset(count).map_err(|e| ReportError::Draw(e.to_string()))?;
    let mut cells: Vec<Vec<Image>> = Vec::new();
    for (level, &sigma) in sigmas.iter().enumerate() {
        let batch = noisy_batch(&few, [0, count], sigma, [0, level as u64], device);
        let found =
            model.predict(&batch.y, &batch.sigma, &Query { denoise: true, ..Query::default() });
        let cannot = || ReportError::Draw("the model does not denoise".to_owned());
        let denoised = to_images(found.denoised.ok_or_else(cannot)?);
        let (noisy, clean) = (to_images(batch.y), to_images(batch.x));
        let row = noisy.into_iter().zip(denoised).zip(clean).flat_map(|((n, d), c)| [n, d, c]);
        cells.push(row.collect());
    }
    let rows = sigmas.iter().zip(&cells).map(|(sigma, row)| GridRow {
        caption: format!("sigma {sigma}"),
        images: row.iter().collect(),
    });
    let columns = ["noisy", "denoised", "clean"].into_iter().cycle().take(3 * count);
    let grid = Grid {
        rows: rows.collect(),
        columns: columns.map(str::to_owned).collect(),
        ..drawn(data.height().max(data.width()), 3 * SHOWN, 96)
    };
    Ok(grid.draw()?)
}

/// Draws a figure with a row for every class: the image, `D(y)`, `D(y, c)`, their difference and
/// the adversarial gradient by autodiff, with the relative error between the last two.
///
/// # Errors
/// If the figure cannot be drawn.
pub fn explanation(
    y: &Image,
    found: &[Explanation],
    classes: &[String],
) -> Result<Image, ReportError> {
    // Both images are divided by the same number, so that differences between them stay visible.
    let mut scaled = Vec::new();
    for one in found {
        let (difference, peak) = one.difference.amplified();
        let gradient: Vec<f32> = one.gradient.values().iter().map(|v| v / peak).collect();
        scaled.push((difference, Image::new(one.gradient.shape(), gradient)?, peak));
    }
    let name = |label: usize| classes.get(label).map_or("?", String::as_str);
    let rows = found.iter().zip(&scaled).map(|(one, (difference, gradient, peak))| GridRow {
        caption: format!(
            "{}\np = {:.1}%\nx {:.0}",
            name(one.label),
            100.0 * one.probs.get(one.label).copied().unwrap_or(f32::NAN),
            1.0 / peak
        ),
        images: vec![y, &one.denoised, &one.class_denoised, difference, gradient],
    });
    let columns = ["y", "D(y)", "D(y, c)", "D(y, c) - D(y)", "sigma^2 grad log p(c | y)"];
    let worst = found.iter().fold(0.0f64, |worst, one| worst.max(one.relative_error));
    let grid = Grid {
        rows: rows.collect(),
        columns: columns.map(str::to_owned).to_vec(),
        note: format!(
            "The values of the last two images of a row are multiplied by its factor; they differ \
             by {worst:.1e} of the largest value."
        ),
        ..drawn(y.height().max(y.width()), columns.len(), if found.len() > 2 { 96 } else { 192 })
    };
    Ok(grid.draw()?)
}

/// Number of points of a path that a figure shows.
const SHOWN_STEPS: usize = 8;

/// Draws a counterfactual path: evenly spaced points from the start to the end with their distance
/// and probability, and the amplified change.
///
/// # Errors
/// If the figure cannot be drawn.
pub fn path(found: &Counterfactual, label: usize, class: &str) -> Result<Image, ReportError> {
    let last = found.steps.len() - 1;
    let mut shown: Vec<usize> = (0..SHOWN_STEPS).map(|i| i * last / (SHOWN_STEPS - 1)).collect();
    shown.dedup();
    let steps: Vec<_> = shown.into_iter().map(|i| &found.steps[i]).collect();
    let start = &found.steps[0].image;
    let mut changes = Vec::new();
    let mut largest = 1.0f32;
    for step in &steps {
        let change = step.image.values().iter().zip(start.values()).map(|(a, b)| a - b).collect();
        let change = Image::new(start.shape(), change)?;
        // All are divided by the last one's peak.
        largest = change.amplified().1;
        changes.push(change);
    }
    let changes = changes
        .into_iter()
        .map(|c| Image::new(c.shape(), c.values().iter().map(|v| v / largest).collect()))
        .collect::<Result<Vec<_>, _>>()?;
    let heading = |step: &&CounterfactualStep| {
        format!(
            "{:.2} {:.0}%",
            step.distance,
            100.0 * step.probs.get(label).copied().unwrap_or(f32::NAN)
        )
    };
    let grid = Grid {
        rows: vec![
            GridRow { caption: "y".to_owned(), images: steps.iter().map(|s| &s.image).collect() },
            GridRow {
                caption: format!("change\nx {:.1}", 1.0 / largest),
                images: changes.iter().collect(),
            },
        ],
        columns: steps.iter().map(heading).collect(),
        note: format!(
            "Towards {class}, following D(y, c) - D(y): distance from the start in units of the \
             [0, 1] range, and p({class} | y)."
        ),
        ..drawn(start.height().max(start.width()), SHOWN_STEPS, 96)
    };
    Ok(grid.draw()?)
}

/// Draws the image, its denoised version, and the leading eigenvectors of the denoiser's Jacobian
/// with their eigenvalues.
///
/// # Errors
/// If the figure cannot be drawn.
pub fn eigenvectors(y: &Image, denoised: &Image, found: &Spectrum) -> Result<Image, ReportError> {
    let mut shown = Vec::new();
    for vector in &found.vectors {
        let values = vector.iter().map(|v| *v as f32).collect();
        shown.push(Image::new(y.shape(), values)?.amplified().0);
    }
    let columns = ["y".to_owned(), "D(y)".to_owned()].into_iter();
    let columns = columns.chain(found.values.iter().map(|value| format!("{value:.3}")));
    let grid = Grid {
        rows: vec![GridRow {
            caption: String::new(),
            images: [y, denoised].into_iter().chain(shown.iter()).collect(),
        }],
        columns: columns.collect(),
        note: format!(
            "Leading eigenvectors of the denoiser's Jacobian at noise level {} with their \
             eigenvalues; the trace is {:.1} of {} dimensions.",
            found.sigma,
            found.trace,
            y.values().len()
        ),
        ..drawn(y.height().max(y.width()), 2 + found.vectors.len(), 96)
    };
    Ok(grid.draw()?)
}

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
