//! What must hold of the parts of a data set.

use crate::data::error::DataError;
use crate::image::Geometry;

/// Whether images of this shape can be held.
pub(in crate::data) fn check_geometry(name: &str, of: Geometry) -> Result<(), DataError> {
    if of.channels != 1 && of.channels != 3 {
        return Err(DataError::invalid(name, "1 or 3 channels", of.channels.to_string()));
    }
    if of.height == 0 || of.width == 0 {
        let found = format!("height {}, width {}", of.height, of.width);
        return Err(DataError::invalid(name, "images of at least 1x1", found));
    }
    Ok(())
}

/// Whether there are labels, each below the number of classes.
pub(in crate::data) fn check_labels(
    name: &str,
    labels: &[u32],
    classes: usize,
) -> Result<(), DataError> {
    let name = || name.to_owned();
    if labels.is_empty() || labels.len() > u32::MAX as usize {
        return Err(DataError::Empty { name: name(), found: labels.len() });
    }
    match labels.iter().position(|&label| label as usize >= classes) {
        Some(image) => {
            Err(DataError::LabelOutOfRange { name: name(), image, label: labels[image], classes })
        }
        None => Ok(()),
    }
}

pub(super) fn check_length(
    name: &str,
    geometry: Geometry,
    images: usize,
    found: usize,
) -> Result<(), DataError> {
    // A product beyond `usize` is no length; `Geometry::values` stops there.
    if geometry.values() < usize::MAX && geometry.values().checked_mul(images) == Some(found) {
        return Ok(());
    }
    Err(DataError::WrongLength { name: name.to_owned(), images, geometry, found })
}

#[cfg(test)]
mod tests {
    use super::super::Dataset;
    use super::*;

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|i| i.to_string()).collect()
    }

    #[test]
    fn construction_is_validated() {
        let shape = Geometry::new(1, 2, 2);
        let new = |shape, classes, pixels: usize, labels: Vec<u32>| {
            Dataset::new("x", shape, names(classes), vec![0; pixels], labels)
        };
        assert!(new(shape, 2, 8, vec![0, 1]).is_ok());
        let message = |r: Result<Dataset, DataError>| r.unwrap_err().to_string();
        assert_eq!(
            message(new(shape, 2, 8, vec![0, 2])),
            "data set x: expected labels below the number of classes, 2, found label 2 at image 1"
        );
        assert!(
            message(new(shape, 2, 7, vec![0, 1]))
                .contains("2 images of 1x2x2 values, found 7 values")
        );
        assert!(message(new(Geometry::new(2, 2, 2), 2, 8, vec![0])).contains("1 or 3 channels"));
        assert!(message(new(Geometry::new(1, 0, 2), 2, 0, vec![0])).contains("height 0"));
        assert!(message(new(shape, 2, 0, vec![])).contains("found 0"));
        assert!(message(new(Geometry::new(3, usize::MAX, 2), 2, 8, vec![0])).contains("8 values"));
    }
}
