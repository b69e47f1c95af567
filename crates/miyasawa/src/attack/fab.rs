//! The fast adaptive boundary attack, targeted (Croce & Hein 2020, "Minimally distorted adversarial
//! examples with a fast adaptive boundary attack", algorithm 1; "Reliable evaluation...", section 5
//! for the targeted version).

use super::{
    Norm, examples::AdversarialExamples, examples::Examples, examples::misclassified,
    hyperplane::project,
};
use crate::classifier::Classifier;
use rayon::prelude::*;

/// Steps go this much beyond the boundary (the paper's eta).
const OVERSHOOT: f32 = 1.05;
/// Largest share of the way towards the clean image (alpha_max).
const LARGEST_BIAS: f64 = 0.1;
/// After a misclassified point the search continues from this share of its change (beta).
const BACK: f32 = 0.9;

/// Walks along the boundary of the nearest wrong class towards the clean image.
#[derive(Clone, Debug)]
pub(super) struct Fab {
    pub norm: Norm,
    pub eps: f64,
    pub steps: usize,
}

struct State {
    example: usize,
    label: usize,
    /// The class to reach.
    goal: usize,
    x: Vec<f32>,
}

impl Fab {
    /// The next point: between the projections of `x` and of the clean image on the linearised
    /// boundary.
    fn advance(&self, state: &mut State, clean: &[f32], logits: &[f32], gradient: &[f32]) {
        // The boundary f_goal = f_label, linearised at x: <gradient, z> = <gradient, x> -
        // difference.
        let difference = f64::from(logits[state.goal]) - f64::from(logits[state.label]);
        let at_x: f64 =
            gradient.iter().zip(&state.x).map(|(g, x)| f64::from(*g) * f64::from(*x)).sum();
        let c = at_x - difference;
        let near = project(self.norm, &state.x, gradient, c);
        let from_clean = project(self.norm, clean, gradient, c);
        let (a, b) = (
            self.norm.distance(&near, &state.x).max(1e-8),
            self.norm.distance(&from_clean, clean).max(1e-8),
        );
        let bias = (a / (a + b)).min(LARGEST_BIAS) as f32;
        for (((x, clean), near), from_clean) in
            state.x.iter_mut().zip(clean).zip(&near).zip(&from_clean)
        {
            let forward = *x + OVERSHOOT * (near - *x);
            let home = clean + OVERSHOOT * (from_clean - clean);
            *x = (forward * (1.0 - bias) + home * bias).clamp(0.0, 1.0);
        }
    }

    /// Attacks towards the class `goals[i]` of each example.
    pub fn attack(
        &self,
        classifier: &dyn Classifier,
        examples: &Examples<'_>,
        goals: &[usize],
    ) -> AdversarialExamples {
        let mut found: AdversarialExamples = vec![None; examples.len()];
        let state = |i: usize| State {
            example: i,
            label: examples.labels[i] as usize,
            goal: goals[i],
            x: examples.image(i).to_vec(),
        };
        let mut alive: Vec<State> = (0..examples.len()).map(state).collect();
        let points =
            |states: &[State]| states.iter().flat_map(|s| &s.x).copied().collect::<Vec<f32>>();
        let (classes, len) = (classifier.classes(), classifier.len());
        for _ in 0..self.steps {
            if alive.is_empty() {
                break;
            }
            // The logits, and the gradient of f_goal - f_label.
            let (logits, gradients) = classifier.gradient(&points(&alive), &|i, z| {
                let mut grad_logits = vec![0.0; z.len()];
                grad_logits[alive[i].goal] += 1.0;
                grad_logits[alive[i].label] -= 1.0;
                grad_logits
            });
            alive
                .par_iter_mut()
                .zip(logits.par_chunks(classes).zip(gradients.par_chunks(len)))
                .for_each(|(s, (z, g))| self.advance(s, examples.image(s.example), z, g));
            // Most steps end at misclassified points, for which no gradient is needed.
            let logits = classifier.logits(&points(&alive));
            for (s, z) in alive.iter_mut().zip(logits.chunks(classes)) {
                let clean = examples.image(s.example);
                if !misclassified(z, s.label) {
                    continue;
                }
                // Inside the ball the search ends; outside, the point moves back to the clean
                // image.
                if self.norm.distance(&s.x, clean) <= self.eps {
                    found[s.example] = Some(s.x.clone());
                } else {
                    s.x.iter_mut().zip(clean).for_each(|(x, c)| *x = c + BACK * (*x - c));
                }
            }
            alive.retain(|s| found[s.example].is_none());
        }
        found
    }
}
