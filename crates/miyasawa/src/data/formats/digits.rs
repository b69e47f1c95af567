//! The handwritten digits that are part of the library.

use std::path::Path;

use super::idx;
use crate::data::error::DataError;
use crate::data::notes::Notes;
use crate::data::part::Part;
use crate::data::set::dataset::Dataset;
use crate::data::set::gzip;

// Made by scripts/digits.py; where they come from is in assets/README.md.
const IMAGES: &[u8] = include_bytes!("../../../assets/digits-images-idx3-ubyte.gz");
const LABELS: &[u8] = include_bytes!("../../../assets/digits-labels-idx1-ubyte.gz");

/// Digits held out as the test part.
const TEST: usize = 360;

/// Fixes which digits are held out. Never to change: results would not compare.
const SPLIT_SEED: u64 = 1998;

/// The 1,797 handwritten digits of 8x8 pixels of the UCI repository, 1,437 for training and 360 (a
/// fifth of each class) for testing. Their values 0 to 16 are scaled to 0 to 255.
pub(in crate::data) fn load(part: Part) -> Result<Dataset, DataError> {
    let (images_path, labels_path) =
        (Path::new("embedded digits"), Path::new("embedded digit labels"));
    let mut images = idx::parse(images_path, gzip::from_bytes(IMAGES), idx::IdxContent::Images)?;
    let labels = idx::parse(labels_path, gzip::from_bytes(LABELS), idx::IdxContent::Labels)?;
    for value in &mut images.values {
        *value = ((u32::from(*value) * 255 + 8) / 16) as u8;
    }
    let all = idx::dataset(
        "digits",
        (images_path, images),
        (labels_path, labels),
        None,
        &mut Notes::default(),
    )?;
    let (train, test) = all.split(TEST, SPLIT_SEED)?;
    Ok(match part {
        Part::Train => train,
        Part::Test => test,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digits_are_whole_and_split_as_documented() {
        let (train, test) = (load(Part::Train).unwrap(), load(Part::Test).unwrap());
        assert_eq!((train.len(), test.len()), (1437, 360));
        assert_eq!((train.channels(), train.height(), train.width()), (1, 8, 8));
        assert_eq!(train.classes().len(), 10);
        // scikit-learn's load_digits: class counts 178 182 177 183 181 182 181 179 174 180.
        let counts = |set: &Dataset| {
            let mut counts = [0; 10];
            set.labels().iter().for_each(|&l| counts[l as usize] += 1);
            counts
        };
        let (a, b) = (counts(&train), counts(&test));
        let both: Vec<i32> = a.iter().zip(&b).map(|(a, b)| a + b).collect();
        assert_eq!(both, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
        assert!(b.iter().all(|n| (35..=37).contains(n)));
        assert_eq!(train.pixels().iter().chain(test.pixels()).max(), Some(&255));
    }
}
