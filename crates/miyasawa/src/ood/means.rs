//! Means over several sets of out-of-distribution images.

use super::{OodRow, Score};
use serde::{Deserialize, Serialize};

/// The means of a score's measures over several sets, each with the weight 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeanRow {
    /// The score.
    pub score: Score,
    /// The noise level; `None` for a score over all levels.
    pub sigma: Option<f64>,
    /// Mean area under the ROC curve.
    pub auroc: f64,
    /// Mean average precision with the in-distribution images as the positive set.
    pub aupr: f64,
    /// Mean share of the others that pass the threshold which 95% of the in-distribution images do.
    pub fpr95: f64,
}

/// The means over sets of the rows that [`compare`](super::compare) makes of each: a row for every
/// score and level that all sets have.
///
/// ```
/// use miyasawa::metrics::detection;
/// use miyasawa::ood::{OodRow, Score, means};
///
/// let row = |outside: &[f64]| {
///     let detection = detection(&[2.0, 3.0], outside);
///     vec![OodRow { score: Score::Energy, sigma: Some(0.2), detection }]
/// };
/// let mean = means(&[row(&[0.0, 1.0]), row(&[4.0, 5.0])]);
/// assert_eq!((mean[0].auroc, mean[0].fpr95), (0.5, 0.5)); // of 1 and 0, of 0 and 1
/// ```
pub fn means(sets: &[Vec<OodRow>]) -> Vec<MeanRow> {
    let Some((first, _)) = sets.split_first() else { return Vec::new() };
    let of = |like: &OodRow| {
        let same = |row: &&OodRow| (row.score, row.sigma) == (like.score, like.sigma);
        let rows: Option<Vec<&OodRow>> = sets.iter().map(|set| set.iter().find(same)).collect();
        let rows = rows?;
        let mean = |value: fn(&OodRow) -> f64| {
            rows.iter().map(|row| value(row)).sum::<f64>() / rows.len() as f64
        };
        Some(MeanRow {
            score: like.score,
            sigma: like.sigma,
            auroc: mean(|row| row.detection.auroc),
            aupr: mean(|row| row.detection.aupr),
            fpr95: mean(|row| row.detection.fpr95),
        })
    };
    first.iter().filter_map(of).collect()
}

/// The row with the largest mean AUROC of each score: one noise level for all sets.
pub fn best_mean(rows: &[MeanRow]) -> Vec<MeanRow> {
    let mut out: Vec<MeanRow> = Vec::new();
    for row in rows {
        match out.iter_mut().find(|r| r.score == row.score) {
            Some(best) if row.auroc > best.auroc => *best = *row,
            Some(_) => {}
            None => out.push(*row),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::detection;

    fn row(score: Score, sigma: f64, outside: &[f64]) -> OodRow {
        let detection = detection(&[1.0, 2.0, 3.0, 4.0], outside);
        OodRow { score, sigma: Some(sigma), detection }
    }

    #[test]
    fn means_are_over_the_rows_that_all_sets_have() {
        let first = vec![
            row(Score::Energy, 0.1, &[0.0, 2.5]),
            row(Score::Energy, 0.2, &[0.0, 0.5]),
            row(Score::Vim, 0.1, &[9.0]),
        ];
        let second = vec![row(Score::Energy, 0.2, &[5.0]), row(Score::Energy, 0.1, &[2.5])];
        let found = means(&[first.clone(), second.clone()]);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].sigma, found[1].sigma), (Some(0.1), Some(0.2)));
        // Of 0.75 and 0.5; of 1 and 0.
        assert_eq!((found[0].auroc, found[1].auroc), (0.625, 0.5));
        let [a, b] = [&first[0], &second[1]].map(|row| row.detection);
        assert_eq!(found[0].aupr, (a.aupr + b.aupr) / 2.0);
        assert_eq!(found[0].fpr95, (a.fpr95 + b.fpr95) / 2.0);
        assert_eq!(best_mean(&found), found[..1]);
        assert_eq!(means(std::slice::from_ref(&first)).len(), 3);
        assert!(means(&[]).is_empty() && means(&[first, Vec::new()]).is_empty());
    }
}
