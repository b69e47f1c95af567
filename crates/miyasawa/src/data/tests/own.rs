//! Sets of a program's own: arrays, and a reader that feeds training.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::train::{TrainConfig, Trainer};

fn classes(count: usize) -> Vec<String> {
    (0..count).map(|i| i.to_string()).collect()
}

#[test]
fn arrays_of_both_ranges_are_the_same_set_and_wrong_ones_are_refused() {
    let geometry = Geometry::new(1, 1, 3);
    let bytes = vec![0, 100, 255, 1, 2, 3];
    let set = Dataset::new("own", geometry, classes(2), bytes.clone(), vec![0, 1]).unwrap();
    let signed: Vec<f32> = bytes.iter().map(|v| crate::range::normalise(*v)).collect();
    let unit: Vec<f32> = bytes.iter().map(|v| f32::from(*v) / 255.0).collect();
    let from = |values: &[f32], range, labels: &[u32]| {
        Dataset::from_f32("own", geometry, classes(2), values, range, labels.to_vec())
    };
    assert_eq!(from(&signed, ValueRange::Signed, &[0, 1]).unwrap(), set);
    assert_eq!(from(&unit, ValueRange::Unit, &[0, 1]).unwrap(), set);
    // Rounding beyond the end of the range is the end; more is another range.
    let end = from(&[1.001, 1.0, 0.0], ValueRange::Unit, &[0]).unwrap();
    assert_eq!(end.pixels(), [255, 255, 0]);
    for (value, index) in [(f32::NAN, 1), (-0.5, 0), (200.0, 2)] {
        let mut values = unit.clone();
        values[3 + index] = value;
        match from(&values, ValueRange::Unit, &[0, 1]).unwrap_err() {
            DataError::ValueOutOfRange { image: 1, index: found, .. } => assert_eq!(found, index),
            other => panic!("{other}"),
        }
    }
    let error = |result: Result<Dataset, DataError>| result.unwrap_err();
    assert!(matches!(
        error(from(&unit[..5], ValueRange::Unit, &[0, 1])),
        DataError::WrongLength { images: 2, found: 5, .. }
    ));
    assert!(matches!(
        error(from(&unit, ValueRange::Unit, &[0, 2])),
        DataError::LabelOutOfRange { image: 1, label: 2, classes: 2, .. }
    ));
    assert!(matches!(error(from(&[], ValueRange::Unit, &[])), DataError::Empty { found: 0, .. }));
    let two = Dataset::new("own", Geometry::new(2, 1, 3), classes(1), bytes, vec![0]);
    assert!(matches!(error(two), DataError::Invalid { .. }));
}

/// Images that are encoded, or values, in turn; those in `wrong` cannot be read.
struct Own {
    wrong: Vec<usize>,
    reads: Arc<AtomicUsize>,
}

impl Own {
    fn new(wrong: &[usize]) -> (Self, Arc<AtomicUsize>) {
        let reads = Arc::new(AtomicUsize::new(0));
        (Self { wrong: wrong.to_vec(), reads: Arc::clone(&reads) }, reads)
    }
}

impl ImageReader for Own {
    fn len(&self) -> usize {
        12
    }

    fn label(&self, index: usize) -> u32 {
        index as u32 % 3
    }

    fn read(&self, index: usize) -> Result<ImageData, ReadError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        if self.wrong.contains(&index) {
            return Err("the line is dead".into());
        }
        let [red, green, blue] = [1, 2, 3].map(|k| (20 * index + k) as u8);
        Ok(match index % 2 {
            0 => ImageData::Encoded(png(2, 3, [red, green, blue])),
            _ => ImageData::Pixels {
                geometry: Geometry::new(3, 2, 3),
                values: [[red; 6], [green; 6], [blue; 6]].concat(),
            },
        })
    }
}

fn opened(wrong: &[usize], options: &OpenOptions) -> Result<Images, DataError> {
    Images::from_reader("own", classes(3), Own::new(wrong).0, options)
}

#[test]
fn a_reader_is_a_set_in_memory_and_as_a_stream() {
    let stream = |stream| OpenOptions { stream, ..OpenOptions::default() };
    let memory = opened(&[], &stream(Streaming::Never)).unwrap();
    let streamed = opened(&[], &stream(Streaming::Always)).unwrap();
    assert_eq!(memory.geometry(), Geometry::new(3, 2, 3));
    assert_eq!(streamed.clone().into_dataset().unwrap(), memory.clone().into_dataset().unwrap());
    assert_eq!(streamed.mean_std(), memory.mean_std());
    let data = memory.into_dataset().unwrap();
    assert_eq!((data.image(4)[0], data.image(5)[17]), (81, 103));
    assert_eq!(data.labels()[..4], [0, 1, 2, 0]);
    // Read when they are needed, and not before.
    let (own, reads) = Own::new(&[]);
    let lazy = OpenOptions { channels: Some(3), sample: 0, ..stream(Streaming::Always) };
    let set = Images::from_reader("own", classes(3), own, &lazy).unwrap();
    let before = reads.load(Ordering::Relaxed);
    set.load(&[7, 3]).unwrap();
    assert_eq!((before, reads.load(Ordering::Relaxed)), (1, 3));
    assert_eq!(set.stream().unwrap().path_of(7), Path::new("own/7"));
}

#[test]
fn what_a_reader_cannot_read_counts_as_corrupt() {
    for stream in [Streaming::Never, Streaming::Always] {
        let options =
            OpenOptions { stream, skip_corrupt: true, max_corrupt: 2, ..Default::default() };
        let set = opened(&[3, 8], &options).unwrap();
        assert_eq!(set.sample(usize::MAX).unwrap().len(), 10);
        let fewer = OpenOptions { max_corrupt: 0, ..options };
        let error = opened(&[3, 8], &fewer).and_then(Images::into_dataset).unwrap_err();
        assert!(matches!(error, DataError::Reader { image: 3, .. }), "{error}");
        assert!(error.to_string().contains("image 3 cannot be read: the line is dead"), "{error}");
    }
    let none = Images::from_reader("own", classes(2), Own::new(&[]).0, &OpenOptions::default());
    assert!(matches!(none.unwrap_err(), DataError::LabelOutOfRange { label: 2, .. }));
}

#[test]
fn a_reader_feeds_training() {
    let settings =
        ["network.width=8", "network.blocks=[1]", "schedule.batch=4", "schedule.steps=9"];
    let settings: Vec<String> = settings.iter().map(|s| (*s).to_owned()).collect();
    let config = TrainConfig::load(None, &settings).unwrap();
    let options =
        OpenOptions { stream: Streaming::Always, size: Some((8, 8)), ..Default::default() };
    let train = opened(&[5], &options).unwrap();
    let test = opened(&[], &options.for_test(train.geometry())).unwrap();
    let trainer = Trainer::with_data(config, train, test, &burn::tensor::Device::flex()).unwrap();
    assert_eq!(trainer.info().data.geometry(), Geometry::new(3, 8, 8));
    assert!(trainer.seconds_per_step().unwrap() > 0.0);
}
