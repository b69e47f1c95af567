//! A batch's images: which ones, augmented, with their classes.

use super::pool::LoaderPool;
use crate::data::{Augment, DataError, Images, gather_augmented};
use crate::train::config::DataConfig;
use std::ops::Range;

/// The images of the batches of a run, without noise.
pub(super) struct Source {
    set: Images,
    /// Of the order and the augmentation.
    pub seed: u64,
    /// Images of a batch.
    pub batch: usize,
    /// The images of a batch that are made here: all, unless other processes make some.
    pub own: Range<usize>,
    augment: Augment,
    shuffle: Option<usize>,
    prefetch: u64,
    /// The epoch whose order is held.
    order: Option<(u64, Vec<u32>)>,
    pool: Option<LoaderPool>,
}

impl Source {
    /// Batches of `batch` images; workers are started where the set is streamed.
    pub fn new(
        set: &Images,
        data: &DataConfig,
        seed: u64,
        augment: Augment,
        batch: usize,
        own: Range<usize>,
    ) -> Self {
        let workers = data.workers.unwrap_or_else(rayon::current_num_threads);
        let stream = set.stream().filter(|_| !own.is_empty());
        let pool = stream.map(|stream| LoaderPool::start(stream, workers, augment, seed));
        let (shuffle, prefetch) = (data.shuffle_buffer, data.prefetch as u64);
        Self { set: set.clone(), seed, batch, own, augment, shuffle, prefetch, order: None, pool }
    }

    /// The images of step `step`, each of `image` values, and their classes.
    pub fn images(&mut self, step: u64, image: usize) -> Result<(Vec<f32>, Vec<u32>), DataError> {
        match self.set.in_memory().is_some() {
            true => Ok(self.copied(step, image)),
            false => self.streamed(step, image),
        }
    }

    /// The epoch of a step and the images of its batch.
    fn indices(&mut self, step: u64) -> (u64, Vec<u32>) {
        let per_epoch = (self.set.len() / self.batch) as u64;
        let (epoch, slot) = (step / per_epoch, (step % per_epoch) as usize);
        if self.order.as_ref().is_none_or(|(of, _)| *of != epoch) {
            self.order = Some((epoch, self.set.order(self.seed, epoch, self.shuffle)));
        }
        let order = self.order.as_ref().map(|(_, order)| order.as_slice()).unwrap_or_default();
        (epoch, order[slot * self.batch..][..self.batch].to_vec())
    }

    fn copied(&mut self, step: u64, image: usize) -> (Vec<f32>, Vec<u32>) {
        let (epoch, indices) = self.indices(step);
        let Some(data) = self.set.in_memory() else { return (Vec::new(), Vec::new()) };
        let mut x = vec![0.0; self.batch * image];
        let made = &mut x[self.own.start * image..self.own.end * image];
        let indices_made = &indices[self.own.clone()];
        gather_augmented(data, indices_made, &self.augment, self.seed, epoch, made);
        (x, indices.iter().map(|i| data.labels()[*i as usize]).collect())
    }

    fn streamed(&mut self, step: u64, image: usize) -> Result<(Vec<f32>, Vec<u32>), DataError> {
        let Some(mut pool) = self.pool.take() else {
            // Other processes make them all.
            return Ok((vec![0.0; self.batch * image], vec![0; self.batch]));
        };
        if !(pool.next_step.saturating_sub(self.prefetch + 1)..=pool.next_step).contains(&step)
            || !pool.has(step)
        {
            pool.restart(step);
        }
        while pool.next_step <= step + self.prefetch {
            let (epoch, indices) = self.indices(pool.next_step);
            pool.request(epoch, &indices, image, self.own.clone());
        }
        let batch = pool.collect(step);
        self.pool = Some(pool);
        batch
    }
}
