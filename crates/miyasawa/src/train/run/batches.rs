//! The batches of a run, and the parts of them that go through the network at once.

use super::Trainer;
use crate::model::Kind;
use crate::train::{
    config::AssumedData,
    learner::Learner,
    loader::DataLoader,
    parts::{default_micro_batch, network_parts},
};
use std::ops::Range;

/// Images of a custom network that go through it at once, where the configuration does not say.
const CUSTOM_MICRO_BATCH: usize = 32;

impl<M: Learner> Trainer<M> {
    /// Channels, height and width of what the network learns from.
    pub(super) fn image(&self) -> [usize; 3] {
        let data = &self.info.data;
        [data.channels, data.height, data.width]
    }

    pub(super) fn batch_size(&self) -> usize {
        self.config.schedule.batch.min(self.train.len())
    }

    /// Images of a step that the cross-entropy alone learns from.
    pub(super) fn class_batch_size(&self) -> usize {
        self.config.classification.batch.min(self.train.len())
    }

    /// Images that go through the network at once.
    pub(super) fn micro_batch(&self) -> usize {
        let (batch, pixels) = (self.batch_size(), self.info.data.height * self.info.data.width);
        let network = &self.info.network;
        let chosen = self.config.schedule.micro_batch;
        chosen.unwrap_or_else(|| match network.kind() {
            Kind::Custom => batch.min(CUSTOM_MICRO_BATCH),
            _ => {
                let (width, batch_norm) = (network.width(), network.has_batch_norm());
                default_micro_batch(batch, width, pixels, batch_norm, &self.device)
            }
        })
    }

    /// The parts of a batch that go through the network at once: first image and count.
    pub(super) fn parts(&self) -> Vec<[usize; 2]> {
        let sizes = [self.batch_size(), self.class_batch_size()];
        network_parts(&self.info.network, sizes, self.micro_batch())
    }

    pub(super) fn steps_per_epoch(&self) -> u64 {
        (self.train.len() / self.batch_size()) as u64
    }

    /// The training images in numbers.
    pub(in crate::train) fn data(&self) -> AssumedData {
        let [channels, height, width] = self.image();
        AssumedData {
            images: self.train.len(),
            channels,
            height,
            width,
            classes: self.info.data.classes.len(),
        }
    }

    /// Where the batches come from. The step of a number takes the batch of that number unless
    /// batches were skipped. The images `own` of a batch are made.
    pub(super) fn loader(&self, own: Range<usize>) -> DataLoader {
        let sizes = [self.batch_size(), self.class_batch_size()];
        DataLoader::new(&self.train, &self.config, sizes, own)
    }

    /// Images of a step.
    pub(super) fn images_of_step(&self) -> usize {
        self.batch_size() + self.class_batch_size()
    }
}
