//! Images of a data set in [0, 1], and the accuracy under one attack.

use super::{Pgd, examples::Examples};
use crate::classifier::Classifier;
use crate::data::{Dataset, gather};
use crate::progress::Monitor;
use crate::random::evaluation_noise;
use crate::range::to_unit;
use rayon::prelude::*;

/// The images `indices` of a set with values in [0, 1].
pub fn unit_values(data: &Dataset, indices: &[usize]) -> Vec<f32> {
    let indices: Vec<u32> = indices.iter().map(|i| *i as u32).collect();
    let mut values = vec![0.0; indices.len() * data.image_len()];
    gather(data, &indices, &mut values);
    values.iter_mut().for_each(|v| *v = to_unit(*v));
    values
}

/// As [`unit_values`], with noise of level `sigma` (in units of the [-1, 1] range) added, not
/// clipped: the same noise as [`eval::noisy_batch`](crate::eval::noisy_batch) adds for this seed,
/// level and index.
pub fn noisy_unit_values(
    data: &Dataset,
    indices: &[usize],
    sigma: f64,
    [seed, level]: [u64; 2],
) -> Vec<f32> {
    let (mut values, len) = (unit_values(data, indices), data.image_len());
    values.par_chunks_mut(len).zip(indices).for_each(|(values, index)| {
        let noise = evaluation_noise(seed, level, *index, 1, len);
        // The range [0, 1] is half as wide.
        values
            .iter_mut()
            .zip(noise)
            .for_each(|(value, noise)| *value += 0.5 * sigma as f32 * noise);
    });
    values
}

/// Share of the images that are classified correctly and stay so under projected gradient descent;
/// with `eps` 0 the clean accuracy.
pub fn robust_accuracy(
    classifier: &dyn Classifier,
    data: &Dataset,
    attack: &Pgd,
    batch: usize,
) -> f64 {
    robust_accuracy_while(classifier, data, attack, batch, &mut ()).unwrap_or_default()
}

/// As [`robust_accuracy`]; `None` if the monitor, asked before every batch, stops it.
pub fn robust_accuracy_while(
    classifier: &dyn Classifier,
    data: &Dataset,
    attack: &Pgd,
    batch: usize,
    monitor: &mut dyn Monitor,
) -> Option<f64> {
    let mut correct = 0;
    let all: Vec<usize> = (0..data.len()).collect();
    for indices in all.chunks(batch.max(1)) {
        if monitor.stop() {
            return None;
        }
        let classes = classifier.predict(&unit_values(data, indices));
        let remaining: Vec<usize> = indices
            .iter()
            .zip(classes)
            .filter(|(i, class)| data.labels()[**i] as usize == *class)
            .map(|(i, _)| *i)
            .collect();
        if attack.eps <= 0.0 || remaining.is_empty() || classifier.classes() < 2 {
            correct += remaining.len();
            continue;
        }
        let x = unit_values(data, &remaining);
        let labels: Vec<u32> = remaining.iter().map(|i| data.labels()[*i]).collect();
        let source: Vec<u64> = remaining.iter().map(|i| data.source_index(*i) as u64).collect();
        let examples = Examples { images: &x, labels: &labels, indices: &source };
        correct +=
            attack.attack(classifier, &examples).iter().filter(|found| found.is_none()).count();
    }
    Some(correct as f64 / data.len() as f64)
}
