//! Adversarial training of a program that was built without attacks: none.

use super::{config::AdversarialConfig, learner::StepContext, parts::Batch};
use crate::model::{EnergyNetwork, JointModel, PlainClassifier};

/// The attack of a run, which this program does not have.
#[derive(Clone, Debug)]
pub enum Adversary {}

impl Adversary {
    /// None: the check of the configuration has refused an attack.
    pub fn new(_: &AdversarialConfig, _: u64) -> Option<Self> {
        None
    }

    pub(super) fn images<N: EnergyNetwork>(
        &self,
        _: &JointModel<N>,
        _: &Batch,
        _: [usize; 2],
        _: StepContext<'_>,
    ) -> Vec<f32> {
        match *self {}
    }

    pub(super) fn images_of_classifier(
        &self,
        _: &PlainClassifier,
        _: &Batch,
        _: [usize; 2],
        _: StepContext<'_>,
    ) -> Vec<f32> {
        match *self {}
    }
}
