//! The Square attack (Andriushchenko et al. 2020, "Square attack: a query-efficient black-box
//! adversarial attack via random search"): it uses logits only, so masked gradients do not protect
//! a defence from it.

use super::{Norm, examples::AdversarialExamples, examples::Examples, examples::misclassified};
use crate::classifier::Classifier;
use crate::random::example_rng;
use crate::random::stream;
use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// Share of the pixels in the first squares (the value that AutoAttack uses).
const FIRST_SHARE: f64 = 0.8;

/// Random search with squares that shrink.
#[derive(Clone, Debug)]
pub(super) struct Square {
    pub norm: Norm,
    pub eps: f64,
    pub queries: usize,
    pub seed: u64,
}

struct State {
    example: usize,
    label: usize,
    rng: ChaCha8Rng,
    best: Vec<f32>,
    candidate: Vec<f32>,
    margin: f64,
}

/// The share of the pixels in the square of query `i`: halved at fixed points (section 3 of the
/// paper, with the points of its implementation; the standard version of AutoAttack does not scale
/// them to the budget).
fn share(i: usize) -> f64 {
    let halvings =
        [10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000].iter().filter(|h| i > **h).count();
    FIRST_SHARE / f64::from(1u32 << halvings)
}

fn sign(rng: &mut impl Rng) -> f32 {
    if rng.random::<bool>() { 1.0 } else { -1.0 }
}

/// An image's geometry.
#[derive(Clone, Copy)]
struct Shape {
    channels: usize,
    height: usize,
    width: usize,
}

/// The position and size of a square.
#[derive(Clone, Copy)]
struct Window {
    top: usize,
    left: usize,
    side: usize,
}

impl Shape {
    fn window(self, side: usize, rng: &mut impl Rng) -> Window {
        Window {
            top: rng.random_range(0..=self.height - side),
            left: rng.random_range(0..=self.width - side),
            side,
        }
    }

    /// The positions of a window's values in one channel, row by row.
    fn positions(self, channel: usize, at: Window) -> impl Iterator<Item = usize> {
        (at.top..at.top + at.side).flat_map(move |y| {
            let row = (channel * self.height + y) * self.width + at.left;
            row..row + at.side
        })
    }

    /// Side of a square that covers this share of the pixels, at least `least` and within the
    /// image.
    fn side(self, share: f64, least: usize) -> usize {
        let side = (share * (self.height * self.width) as f64).sqrt().round() as usize;
        side.max(least).min(self.height).min(self.width)
    }

    /// As [`side`](Self::side), odd and at least 3 if the image is large enough.
    fn odd_side(self, share: f64) -> usize {
        let side = self.side(share, 3);
        let odd = side | 1;
        if odd <= self.height.min(self.width) { odd } else { side - 1 }
    }
}

/// Concentric rectangles of `height` by `width`, where rectangle `k` from the innermost adds
/// `1/k^2`, so that the middle is largest (eq. 2 of the paper).
fn bump(height: usize, width: usize) -> Vec<f64> {
    let mut out = vec![0.0; height * width];
    let (centre_y, centre_x) = (height / 2, width / 2);
    for k in 0..=centre_y.max(centre_x) {
        let rows = centre_y.saturating_sub(k)..(centre_y + k + 1).min(height);
        for y in rows {
            for x in centre_x.saturating_sub(k)..(centre_x + k + 1).min(width) {
                out[y * width + x] += 1.0 / ((k + 1) as f64).powi(2);
            }
        }
    }
    out
}

/// The L2 attack's pattern: one positive and one negative bump of the same length, side by side or
/// one above the other, of total length 1.
fn pattern(side: usize, upright: bool) -> Vec<f32> {
    let half = side / 2;
    let share = if half > 0 { 0.5f64.sqrt() } else { 1.0 };
    let scaled = |bump: Vec<f64>, size: f64| {
        let length = bump.iter().map(|v| v * v).sum::<f64>().sqrt();
        bump.into_iter().map(move |v| size * v / length)
    };
    let mut out: Vec<f64> = scaled(bump(half, side), share).collect();
    out.extend(scaled(bump(side - half, side), -share));
    let at = |i: usize| if upright { out[(i % side) * side + i / side] } else { out[i] };
    (0..side * side).map(|i| at(i) as f32).collect()
}

impl Square {
    fn start(&self, shape: Shape, clean: &[f32], rng: &mut ChaCha8Rng) -> Vec<f32> {
        let mut x = clean.to_vec();
        match self.norm {
            Norm::Linf => {
                // Vertical stripes, one sign for each column and channel.
                for channel in 0..shape.channels {
                    for column in 0..shape.width {
                        let change = self.eps as f32 * sign(rng);
                        for row in 0..shape.height {
                            x[(channel * shape.height + row) * shape.width + column] += change;
                        }
                    }
                }
            }
            Norm::L2 => {
                // A grid of five by five patterns, in the middle.
                let side = (shape.height.min(shape.width) / 5).max(1);
                let offsets = |length: usize| (length % side / 2..=length - side).step_by(side);
                let mut change = vec![0.0f32; x.len()];
                for top in offsets(shape.height) {
                    for left in offsets(shape.width) {
                        let values = pattern(side, rng.random());
                        for channel in 0..shape.channels {
                            let sign = sign(rng);
                            let positions = shape.positions(channel, Window { top, left, side });
                            positions.zip(&values).for_each(|(at, v)| change[at] = sign * v);
                        }
                    }
                }
                let direction = self.norm.steepest(&change);
                x.iter_mut().zip(direction).for_each(|(x, d)| *x += self.eps as f32 * d);
            }
        }
        self.norm.confine(&mut x, clean, self.eps);
        x
    }

    fn propose(&self, shape: Shape, clean: &[f32], state: &mut State, share: f64) {
        let State { rng, best, candidate, .. } = state;
        candidate.clone_from(best);
        match self.norm {
            Norm::Linf => {
                let at = shape.window(shape.side(share, 1), rng);
                for channel in 0..shape.channels {
                    let change = 2.0 * self.eps as f32 * sign(rng);
                    shape.positions(channel, at).for_each(|i| candidate[i] += change);
                }
                self.norm.confine(candidate, clean, self.eps);
            }
            Norm::L2 => self.move_budget(shape, clean, rng, candidate, share),
        }
    }

    /// Removes the change in one window and moves its length, with the unused part of the budget,
    /// to another window (algorithm 3 of the paper). `x` holds the best point and becomes the next
    /// one.
    fn move_budget(
        &self,
        shape: Shape,
        clean: &[f32],
        rng: &mut ChaCha8Rng,
        x: &mut [f32],
        share: f64,
    ) {
        let side = shape.odd_side(share);
        let (to, from) = (shape.window(side, rng), shape.window(side, rng));
        let mut change: Vec<f32> = x.iter().zip(clean).map(|(x, c)| x - c).collect();
        let used = self.norm.length(&change).powi(2);
        let unused = (self.eps * self.eps - used).max(0.0) / shape.channels as f64;
        let values = pattern(side, rng.random());
        for channel in 0..shape.channels {
            let inside = |i: usize, at: Window| {
                let (y, x) = (i / shape.width % shape.height, i % shape.width);
                (at.top..at.top + side).contains(&y) && (at.left..at.left + side).contains(&x)
            };
            let square = |i: usize| f64::from(change[i]).powi(2);
            let there: f64 = shape.positions(channel, to).map(square).sum();
            // The union of both windows, each value once.
            let taken: f64 =
                shape.positions(channel, from).filter(|i| !inside(*i, to)).map(square).sum();
            let budget = (there + taken + unused).sqrt();
            let (old, sign) = (1.0 / there.sqrt().max(1e-12), f64::from(sign(rng)));
            let new: Vec<f64> = shape
                .positions(channel, to)
                .zip(&values)
                .map(|(i, v)| sign * f64::from(*v) + f64::from(change[i]) * old)
                .collect();
            let length = new.iter().map(|v| v * v).sum::<f64>().sqrt().max(1e-12);
            shape.positions(channel, from).for_each(|i| change[i] = 0.0);
            for (i, v) in shape.positions(channel, to).zip(new) {
                change[i] = (v / length * budget) as f32;
            }
        }
        // The change is rescaled to the full length, which undoes the clipping of earlier steps.
        let direction = self.norm.steepest(&change);
        for ((x, c), d) in x.iter_mut().zip(clean).zip(direction) {
            *x = c + self.eps as f32 * d;
        }
        self.norm.confine(x, clean, self.eps);
    }

    /// Attacks with `queries` forward passes for each example.
    pub fn attack(
        &self,
        classifier: &dyn Classifier,
        examples: &Examples<'_>,
    ) -> AdversarialExamples {
        let [channels, height, width] = classifier.shape();
        let shape = Shape { channels, height, width };
        let mut found: AdversarialExamples = vec![None; examples.len()];
        let start = |i: usize| {
            let mut rng = example_rng(self.seed, 0, examples.indices[i], stream::SQUARE);
            let candidate = self.start(shape, examples.image(i), &mut rng);
            State {
                example: i,
                label: examples.labels[i] as usize,
                rng,
                best: candidate.clone(),
                candidate,
                margin: f64::INFINITY,
            }
        };
        let mut alive: Vec<State> = (0..examples.len()).into_par_iter().map(start).collect();
        for query in 0..self.queries {
            if alive.is_empty() {
                break;
            }
            let batch: Vec<f32> = alive.iter().flat_map(|s| &s.candidate).copied().collect();
            let logits = classifier.logits(&batch);
            for (s, z) in alive.iter_mut().zip(logits.chunks(classifier.classes())) {
                let margin = margin(z, s.label);
                if misclassified(z, s.label) {
                    found[s.example] = Some(std::mem::take(&mut s.candidate));
                } else if margin < s.margin {
                    s.margin = margin;
                    std::mem::swap(&mut s.best, &mut s.candidate);
                }
            }
            alive.retain(|s| found[s.example].is_none());
            let share = share(query);
            alive
                .par_iter_mut()
                .for_each(|s| self.propose(shape, examples.image(s.example), s, share));
        }
        found
    }
}

/// The logit of the true class minus the largest other logit.
fn margin(logits: &[f32], label: usize) -> f64 {
    let others = logits.iter().enumerate().filter(|(i, _)| *i != label);
    f64::from(logits[label]) - others.fold(f64::NEG_INFINITY, |m, (_, z)| m.max(f64::from(*z)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_shrink_as_in_the_standard_version() {
        // p_selection of the authors' AutoAttack, which calls Square with resc_schedule=False.
        let expected =
            [(1, 1.0), (10, 1.0), (11, 2.0), (50, 2.0), (51, 4.0), (201, 8.0), (501, 16.0)];
        let later = [
            (1001, 32.0),
            (2001, 64.0),
            (4001, 128.0),
            (4999, 128.0),
            (6001, 256.0),
            (8001, 512.0),
        ];
        for (query, parts) in expected.into_iter().chain(later) {
            assert_eq!(share(query), 0.8 / parts, "{query}");
        }
        // On 32x32: round(sqrt(p*1024)), at least 3, and one more where that is even.
        let shape = Shape { channels: 3, height: 32, width: 32 };
        let sides =
            [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0].map(|parts| shape.odd_side(0.8 / parts));
        assert_eq!(sides, [29, 21, 15, 11, 7, 5, 5, 3]);
        for least in 1..7 {
            let small = Shape { channels: 1, height: least, width: 6 };
            assert!(small.odd_side(0.8) % 2 == 1 && small.odd_side(0.8) <= least, "{least}");
        }
    }

    #[test]
    fn patterns_have_length_one_and_two_signs() {
        for side in 1..8 {
            for upright in [false, true] {
                let values = pattern(side, upright);
                let length: f64 = values.iter().map(|v| f64::from(*v).powi(2)).sum();
                assert!((length - 1.0).abs() < 1e-6, "{side}");
                assert_eq!(values.iter().any(|v| *v > 0.0), side > 1);
                assert!(
                    values.iter().any(|v| *v < 0.0) && values.iter().all(|v| *v != 0.0),
                    "{side}"
                );
            }
        }
        assert_eq!(pattern(3, false)[0], pattern(3, true)[0]);
        assert_eq!(pattern(3, false)[1], pattern(3, true)[3]);
    }

    #[test]
    fn proposals_stay_in_the_ball_and_use_it() {
        let shape = Shape { channels: 3, height: 7, width: 6 };
        let clean = vec![0.5f32; 3 * 42];
        for (norm, eps) in [(Norm::L2, 0.4), (Norm::Linf, 0.1)] {
            let attack = Square { norm, eps, queries: 100, seed: 0 };
            let mut rng = example_rng(0, 0, 0, stream::SQUARE);
            let best = attack.start(shape, &clean, &mut rng);
            assert!((norm.distance(&best, &clean) - eps).abs() < 1e-4);
            let mut state =
                State { example: 0, label: 0, rng, candidate: best.clone(), best, margin: 1.0 };
            for query in 0..100 {
                attack.propose(shape, &clean, &mut state, share(query));
                let length = norm.distance(&state.candidate, &clean);
                assert!(length <= eps + 1e-5 && length > 0.9 * eps, "{norm} {length}");
                state.best.clone_from(&state.candidate);
            }
        }
    }
}
