//! How long the steps of a run take.

use super::Trainer;
use crate::train::{
    error::TrainError,
    learner::{Learner, StepContext},
    objective::Objective,
    optimizer::Optimizer,
    reduce::LocalSum,
};
use std::time::Instant;

impl<M: Learner> Trainer<M> {
    /// The median time of a few steps of this run, which are thrown away.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// # let trainer = Trainer::builder()
    /// #     .configure(|c| {
    /// #         c.network.width = 8;
    /// #         c.network.blocks = vec![1];
    /// #         c.schedule.batch = 8;
    /// #         c.schedule.steps = Some(2);
    /// #         c.eval.limit = 8;
    /// #         c.eval.all_at_end = false;
    /// #     })
    /// #     .build()?;
    /// assert!(trainer.seconds_per_step()? > 0.0);
    /// # Ok::<(), miyasawa::train::TrainError>(())
    /// ```
    ///
    /// # Errors
    /// If images cannot be read.
    pub fn seconds_per_step(&self) -> Result<f64, TrainError> {
        // The first ones fill caches.
        let times = self.timed_steps(7)?.split_off(2);
        let mut times: Vec<f64> =
            times.into_iter().map(|[batch, optimizer]| batch + optimizer).collect();
        times.sort_by(f64::total_cmp);
        Ok(times[times.len() / 2])
    }

    /// Seconds of `count` steps, which are thrown away: of the batch, and of the optimiser, which
    /// takes the same time whatever the batch.
    pub(in crate::train) fn timed_steps(&self, count: u64) -> Result<Vec<[f64; 2]>, TrainError> {
        let device = self.device.clone().autodiff();
        let mut model = (self.init)(&device, self.config.seed, self.info.data.std);
        let mut objective = Objective::new(&self.config, self.image());
        let mut optimizer = Optimizer::new(self.config.optimizer.clone());
        let (micro_batch, mut times) = (self.micro_batch(), Vec::new());
        let mut loader = self.loader(0..self.images_of_step());
        for number in 0..count {
            let start = Instant::now();
            let batch = loader.batch(number)?;
            let step = StepContext { number, micro_batch, device: &device, frozen_norms: false };
            let mut found =
                model.gradients(&mut objective, &batch, step, &mut LocalSum::default())?;
            let batch = start.elapsed();
            let norm = found.norm();
            model = optimizer.step(model, &mut found.grads, norm, self.config.optimizer.lr);
            times.push([batch, start.elapsed() - batch].map(|time| time.as_secs_f64()));
        }
        Ok(times)
    }
}
