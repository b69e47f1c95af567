//! Which examples of a set are chosen or held out.

use rand::seq::SliceRandom;

use crate::data::error::DataError;
use crate::random::{example_rng, stream};

/// `limit` indices below `len`, evenly spaced: floor(i * len / limit) for every i. All of them if
/// `limit` is `len` or more.
pub(in crate::data) fn spread(len: usize, limit: usize) -> Vec<u32> {
    let limit = limit.min(len);
    (0..limit as u64).map(|i| (i * len as u64 / limit as u64) as u32).collect()
}

/// The indices of (the rest, `count` held-out examples), as
/// [`Dataset::split`](super::dataset::Dataset::split) defines them.
pub(in crate::data) fn stratified(
    name: &str,
    labels: &[u32],
    classes: usize,
    count: usize,
    seed: u64,
) -> Result<(Vec<u32>, Vec<u32>), DataError> {
    let total = labels.len();
    if count == 0 || count >= total {
        return Err(DataError::invalid(
            name,
            format!("between 1 and {} images to hold out", total.saturating_sub(1)),
            count.to_string(),
        ));
    }
    let mut of_class: Vec<Vec<u32>> = vec![Vec::new(); classes];
    for (i, &label) in labels.iter().enumerate() {
        of_class[label as usize].push(i as u32);
    }
    let mut quota: Vec<usize> = of_class.iter().map(|class| class.len() * count / total).collect();
    let mut by_remainder: Vec<usize> = (0..quota.len()).collect();
    by_remainder.sort_by_key(|&c| (std::cmp::Reverse(of_class[c].len() * count % total), c));
    let missing = count - quota.iter().sum::<usize>();
    for &class in by_remainder.iter().take(missing) {
        quota[class] += 1;
    }
    let mut held = vec![false; total];
    for (class, members) in of_class.iter_mut().enumerate() {
        members.shuffle(&mut example_rng(seed, 0, class as u64, stream::SPLIT));
        for &i in &members[..quota[class]] {
            held[i as usize] = true;
        }
    }
    let (held, rest) = (0..total as u32).partition(|&i| held[i as usize]);
    Ok((rest, held))
}
