//! What an attack is to do, and what came of it.

use super::{Method, Norm};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of the attacks' results: 2 since Square's schedule is that of the standard version.
pub const VERSION: u32 = 2;

/// The order in which the sizes of an attack are run, and which results carry over to the next
/// size.
///
/// The balls are nested: an adversarial image within a smaller change is within a larger one too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SizeOrder {
    /// An image misclassified after a smaller change counts as misclassified for a larger one.
    /// Every size is attacked with all stages: the robust images, which cost most, go through all
    /// stages each time.
    #[default]
    SmallestFirst,
    /// An image that is robust to a larger change counts as robust to a smaller one once the first
    /// stage has found nothing there either: each image goes through all stages about once. If the
    /// first stage succeeds on one, it counts as misclassified for the larger change too, with a
    /// warning.
    LargestFirst,
}

/// The settings of an attack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// How changes are measured.
    pub norm: Norm,
    /// The attack or sequence of attacks.
    pub method: Method,
    /// Largest changes, in units of the [0, 1] range; 0 is no attack.
    pub eps: Vec<f64>,
    /// The order of the sizes.
    pub order: SizeOrder,
    /// Gradient steps of PGD, APGD and FAB; the standard version of AutoAttack has 100.
    pub steps: usize,
    /// Random starts of PGD and APGD.
    pub restarts: u64,
    /// Queries of Square for each image; the standard version has 5,000.
    pub queries: usize,
    /// Images that go through the network at once.
    pub batch: usize,
    /// Seed of everything random.
    pub seed: u64,
}

impl Plan {
    /// The settings of the standard version: 100 steps, one start, 5,000 queries.
    ///
    /// ```
    /// use miyasawa::attack::{Method, Norm, Plan};
    /// let plan = Plan::new(Norm::Linf, Method::AutoAttack, vec![8.0 / 255.0]);
    /// assert_eq!((plan.steps, plan.queries), (100, 5000));
    /// ```
    pub fn new(norm: Norm, method: Method, eps: Vec<f64>) -> Self {
        let order = SizeOrder::default();
        Self {
            norm,
            method,
            eps,
            order,
            steps: 100,
            restarts: 1,
            queries: 5000,
            batch: 64,
            seed: 0,
        }
    }

    /// The header of this attack's journal: `subject` (a model, images, a defence) and every
    /// setting that an image's result depends on, with the attacks' [`VERSION`], but without the
    /// sizes, their order and the batch size.
    pub fn header(&self, subject: &serde_json::Value) -> serde_json::Value {
        let Self { norm, method, steps, restarts, queries, seed, .. } = self;
        serde_json::json!({
            "subject": subject, "norm": norm, "method": method, "steps": steps,
            "restarts": restarts, "queries": queries, "seed": seed, "version": VERSION,
        })
    }
}

/// The result for one size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttackRow {
    /// Largest change, in units of the [0, 1] range.
    pub eps: f64,
    /// Share of all images that are classified correctly and stay so under attack.
    pub robust_accuracy: f64,
    /// Its 95% interval ([`wilson`](crate::metrics::wilson)); none in documents of earlier
    /// versions.
    #[serde(default)]
    pub robust_interval: Option<[f64; 2]>,
    /// For each attack the number of images that it newly made misclassified, of those that this
    /// size was tried on (see [`SizeOrder`]).
    #[serde(rename = "broken_by")]
    pub misclassified_by: BTreeMap<String, usize>,
}

/// The result of an attack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttackReport {
    /// Number of images.
    pub count: usize,
    /// Share of the images that are classified correctly without an attack.
    pub clean_accuracy: f64,
    /// Its 95% interval ([`wilson`](crate::metrics::wilson)); none in documents of earlier
    /// versions.
    #[serde(default)]
    pub clean_interval: Option<[f64; 2]>,
    /// A row for every size, in rising order.
    pub rows: Vec<AttackRow>,
    /// Signs that gradients are masked and the true robustness is lower.
    pub warnings: Vec<String>,
}
