//! Figures of a model's results.

use super::{COLUMN, DENSITY, ReportError};
use crate::explain::{Counterfactual, CounterfactualStep, Explanation, Spectrum};
use crate::image::{Grid, GridRow, Image};

/// The size of the captions on a page, in its pixels.
const TEXT: f32 = 15.0;
/// Width of the row captions and gaps, in pixels of a page.
const MARGIN: u32 = 130;

/// The grid settings for images with the longer side `side` in `columns` columns: the images are
/// enlarged to about `cell` pixels of a page, or as far as the page's width allows. Captions of
/// larger images are larger, because the page scales the figure down.
pub(super) fn drawn<'a>(side: usize, columns: usize, cell: u32) -> Grid<'a> {
    let room = (COLUMN - MARGIN) / columns.max(1) as u32;
    let cell = (DENSITY * cell.min(room)) as usize;
    let scale = (cell / side.max(1)).max(1);
    let larger = (scale * side) as f32 / cell.max(1) as f32;
    let text = DENSITY as f32 * TEXT * larger.max(1.0);
    Grid { scale, text, gap: 4 * DENSITY as usize, ..Grid::default() }
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
