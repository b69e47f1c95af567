//! A method as a sequence of stages, each on the images that are not misclassified yet.

use super::{
    Norm, Pgd,
    apgd::Apgd,
    examples::{AdversarialExamples, Examples},
    fab::Fab,
    loss::Loss,
    square::Square,
};
use crate::classifier::Classifier;
use crate::metrics::top;
use serde::{Deserialize, Serialize};

/// Number of target classes of AutoAttack's targeted attacks: the most probable wrong classes.
const TARGETS: usize = 9;

/// An attack or a sequence of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// The fast gradient method (Goodfellow et al. 2015): one step of the full length.
    Fgsm,
    /// Projected gradient descent (Madry et al. 2018).
    Pgd,
    /// The standard version of AutoAttack (Croce & Hein 2020): APGD on the cross-entropy, targeted
    /// APGD on DLR, targeted FAB, Square, in that order.
    AutoAttack,
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Fgsm => "fgsm",
            Self::Pgd => "pgd",
            Self::AutoAttack => "autoattack",
        })
    }
}

/// The settings that the stages share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub norm: Norm,
    pub eps: f64,
    pub steps: usize,
    pub queries: usize,
    pub seed: u64,
}

/// One run of one attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AttackStage {
    Fgsm,
    Pgd {
        restart: u64,
    },
    ApgdCe {
        restart: u64,
    },
    /// Targets the class of this rank on the clean image; 1 is the most probable wrong class.
    ApgdDlr {
        rank: usize,
        restart: u64,
    },
    Fab {
        rank: usize,
    },
    Square,
}

impl AttackStage {
    /// The stages of a method for `classes` classes and `restarts` random starts.
    pub fn for_method(method: Method, classes: usize, restarts: u64) -> Vec<Self> {
        let ranks = || 1..=TARGETS.min(classes.saturating_sub(1));
        match method {
            Method::Fgsm => vec![Self::Fgsm],
            // FGSM must find nothing more: if one step succeeds where many fail, gradients are
            // masked.
            Method::Pgd => {
                (0..restarts).map(|restart| Self::Pgd { restart }).chain([Self::Fgsm]).collect()
            }
            Method::AutoAttack => {
                let mut stages: Vec<Self> =
                    (0..restarts).map(|restart| Self::ApgdCe { restart }).collect();
                stages.extend(
                    (0..restarts).flat_map(|restart| {
                        ranks().map(move |rank| Self::ApgdDlr { rank, restart })
                    }),
                );
                stages.extend(ranks().map(|rank| Self::Fab { rank }));
                stages.push(Self::Square);
                stages
            }
        }
    }

    /// The name of the attack in reports.
    pub fn attack(self) -> &'static str {
        match self {
            Self::Fgsm => "fgsm",
            Self::Pgd { .. } => "pgd",
            Self::ApgdCe { .. } => "apgd-ce",
            Self::ApgdDlr { .. } => "apgd-t",
            Self::Fab { .. } => "fab-t",
            Self::Square => "square",
        }
    }

    /// A unique name of this stage, for the journal.
    pub fn name(self) -> String {
        match self {
            Self::Fgsm | Self::Square => self.attack().to_owned(),
            Self::Pgd { restart } | Self::ApgdCe { restart } => {
                format!("{}/{restart}", self.attack())
            }
            Self::ApgdDlr { rank, restart } => format!("{}/{rank}/{restart}", self.attack()),
            Self::Fab { rank } => format!("{}/{rank}", self.attack()),
        }
    }

    /// Runs the attack.
    pub fn run(
        self,
        classifier: &dyn Classifier,
        examples: &Examples<'_>,
        s: &Settings,
    ) -> AdversarialExamples {
        let Settings { norm, eps, steps, queries, seed } = *s;
        let apgd = |run| Apgd { norm, eps, steps, seed, run };
        match self {
            Self::Fgsm => Pgd::fast_gradient(norm, eps).attack(classifier, examples),
            Self::Pgd { restart } => {
                Pgd { restart, ..Pgd::new(norm, eps, steps, seed) }.attack(classifier, examples)
            }
            Self::ApgdCe { restart } => apgd(restart).attack(
                classifier,
                examples,
                &vec![Loss::CrossEntropy; examples.len()],
            ),
            Self::ApgdDlr { rank, restart } => {
                let goals = goals(classifier, examples, rank);
                let losses: Vec<Loss> =
                    goals.into_iter().map(|target| Loss::Dlr { target }).collect();
                // The runs with the cross-entropy are numbered from 0; these numbers start at 1000.
                apgd(1000 * rank as u64 + restart).attack(classifier, examples, &losses)
            }
            Self::Fab { rank } => {
                let goals = goals(classifier, examples, rank);
                Fab { norm, eps, steps }.attack(classifier, examples, &goals)
            }
            Self::Square => Square { norm, eps, queries, seed }.attack(classifier, examples),
        }
    }
}

/// The class of this rank among the wrong classes of each clean image.
fn goals(classifier: &dyn Classifier, examples: &Examples<'_>, rank: usize) -> Vec<usize> {
    let logits = classifier.logits(examples.images);
    let goal = |(z, label): (&[f32], &u32)| {
        let order = top(z, z.len());
        order.into_iter().filter(|c| *c != *label as usize).nth(rank - 1).unwrap_or(0)
    };
    logits.chunks(classifier.classes()).zip(examples.labels).map(goal).collect()
}
