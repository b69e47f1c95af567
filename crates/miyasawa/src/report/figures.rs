//! Figures that a model draws.

use super::ReportError;
use crate::data::Dataset;
use crate::eval::noisy_batch;
use crate::infer::{Explanation, pictures};
use crate::model::{EnergyNetwork, JointModel};
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
pub fn denoising_grid<N: EnergyNetwork>(
    model: &JointModel<N>,
    data: &Dataset,
    sigmas: &[f64],
    device: &Device,
) -> Result<Picture, ReportError> {
    let count = SHOWN.min(data.len());
    let few = data.subset(count).map_err(|e| ReportError::Draw(e.to_string()))?;
    let mut cells: Vec<Vec<Picture>> = Vec::new();
    for (level, &sigma) in sigmas.iter().enumerate() {
        let batch = noisy_batch(&few, [0, count], sigma, [0, level as u64], device);
        let denoised = pictures(model.at(&batch.y, &batch.sigma).denoised());
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

/// One figure: the picture, `D(y)`, `D(y, c)`, their difference, the adversarial gradient computed by
/// itself, and how equal the last two are.
///
/// # Errors
/// If the figure cannot be drawn.
pub fn explanation(y: &Picture, found: &Explanation, class: &str) -> Result<Picture, ReportError> {
    // Both are divided by the same number, so that they look alike only if they are.
    let (difference, peak) = found.difference.amplified();
    let scaled: Vec<f32> = found.gradient.values().iter().map(|v| v / peak).collect();
    let gradient = Picture::new(found.gradient.shape(), scaled)?;
    let grid = Grid {
        rows: vec![GridRow {
            caption: String::new(),
            pictures: vec![y, &found.denoised, &found.given, &difference, &gradient],
        }],
        columns: vec![
            "y".to_owned(),
            "D(y)".to_owned(),
            format!("D(y, {class})"),
            "D(y, c) - D(y)".to_owned(),
            format!("sigma^2 grad log p({class} | y)"),
        ],
        note: format!(
            "The last two are enlarged {:.0} times; they differ by {:.1e} of the largest value.",
            1.0 / peak,
            found.relative_error
        ),
        scale: scale_for(y.height().max(y.width())) * 2,
        ..Grid::default()
    };
    Ok(grid.draw()?)
}
