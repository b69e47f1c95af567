//! A figure of a set's images.

use super::summary::Description;
use crate::data::batch::decode::resized;
use crate::data::error::DataError;
use crate::data::options::TargetSize;
use crate::data::set::content::SetContent;
use crate::data::set::sampling::spread;
use crate::image::{Grid, GridRow, Image, ImageError};

/// The side that images of different sizes get in a [`Description::grid`].
const CELL: usize = 96;

impl Description {
    /// A figure with images of the first part: a row for each of at most `classes` classes,
    /// evenly spaced, with at most `columns` images.
    ///
    /// # Errors
    ///
    /// If a file cannot be read; within, if the figure would be too large. A class whose images
    /// are all corrupt is left out.
    pub fn grid(
        &self,
        classes: usize,
        columns: usize,
    ) -> Result<Result<Image, ImageError>, DataError> {
        let content = &self.parts()[0].1;
        let labels = content.labels();
        let mut rows = Vec::new();
        for class in spread(content.classes().len(), classes) {
            let of_class: Vec<usize> = (0..labels.len()).filter(|&i| labels[i] == class).collect();
            let mut images = Vec::new();
            for at in spread(of_class.len(), columns) {
                images.extend(show(content, of_class[at as usize])?);
            }
            if !images.is_empty() {
                rows.push((class, images));
            }
        }
        let shapes = || rows.iter().flat_map(|(_, images)| images).map(|p| (p.height(), p.width()));
        let mixed = shapes().any(|shape| Some(shape) != shapes().next());
        let side = shapes().map(|(height, width)| height.max(width)).max().unwrap_or(1);
        if mixed || side > 2 * CELL {
            for image in rows.iter_mut().flat_map(|(_, images)| images) {
                match image.center_fit(CELL, CELL) {
                    Ok(resized) => *image = resized,
                    Err(error) => return Ok(Err(error)),
                }
            }
        }
        let grid = Grid {
            rows: rows
                .iter()
                .map(|(class, images)| GridRow {
                    caption: content.classes()[*class as usize].clone(),
                    images: images.iter().collect(),
                })
                .collect(),
            scale: (CELL / side.max(1)).clamp(1, 8),
            ..Grid::default()
        };
        Ok(grid.draw())
    }
}

/// An image of the set, `None` if it is corrupt.
fn show(content: &SetContent, i: usize) -> Result<Option<Image>, DataError> {
    let (geometry, values) = match content {
        SetContent::Raw(data) => (data.geometry(), data.image(i).to_vec()),
        SetContent::Files(set) => {
            match set.decode(i, |decoded| resized(decoded, TargetSize::AsStored))? {
                Ok(image) => (image.geometry, image.values),
                Err(_) => return Ok(None),
            }
        }
    };
    Ok(Image::from_bytes(geometry.into(), &values).ok())
}
