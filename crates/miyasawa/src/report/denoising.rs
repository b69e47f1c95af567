//! A figure of denoised images of a data set.

use super::{ReportError, figures::drawn};
use crate::data::Dataset;
use crate::eval::noisy_batch;
use crate::image::{Grid, GridRow, Image};
use crate::infer::to_images;
use crate::model::{Predict, Query};
use burn::tensor::Device;

/// Images of a [`denoising_grid`].
pub const SHOWN: usize = 4;

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
