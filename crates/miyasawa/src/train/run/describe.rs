//! What a run will be.

use super::Trainer;
use crate::checkpoint::ModelInfo;
use crate::data::{Images, TestSet};
use crate::train::learner::Learner;
use crate::train::{config::TrainConfig, cost};

impl<M: Learner> Trainer<M> {
    /// What the model will be.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let trainer = Trainer::builder().configure(|c| c.schedule.steps = Some(3)).build()?;
    /// assert_eq!(trainer.info().data.classes.len(), 10);
    /// # Ok::<(), miyasawa::train::TrainError>(())
    /// ```
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// The configuration, with all that the data decided.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let trainer = Trainer::builder().configure(|c| c.schedule.steps = Some(3)).build()?;
    /// assert_eq!(trainer.config().schedule.steps, Some(3));
    /// # Ok::<(), miyasawa::train::TrainError>(())
    /// ```
    pub fn config(&self) -> &TrainConfig {
        &self.config
    }

    /// The images that are tested on, of one size.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let trainer = Trainer::builder().configure(|c| c.schedule.steps = Some(3)).build()?;
    /// assert_eq!(trainer.test_set().geometry(), Geometry::new(1, 8, 8));
    /// # Ok::<(), miyasawa::train::TrainError>(())
    /// ```
    pub fn test_set(&self) -> &Images {
        &self.test
    }

    /// What evaluation works on: the test set, or images of different sizes.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// use miyasawa::data::TestSet;
    /// let trainer = Trainer::builder().configure(|c| c.schedule.steps = Some(3)).build()?;
    /// assert!(matches!(trainer.measured(), TestSet::Set(_)));
    /// # Ok::<(), miyasawa::train::TrainError>(())
    /// ```
    pub fn measured(&self) -> &TestSet {
        &self.measured
    }

    /// Images of the training set.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let trainer = Trainer::builder().configure(|c| c.schedule.steps = Some(3)).build()?;
    /// assert!(trainer.training_images() > 1000);
    /// # Ok::<(), miyasawa::train::TrainError>(())
    /// ```
    pub fn training_images(&self) -> usize {
        self.train.len()
    }

    /// Optimiser steps of the run.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let trainer = Trainer::builder().configure(|c| c.schedule.steps = Some(3)).build()?;
    /// assert_eq!(trainer.total_steps(), 3);
    /// # Ok::<(), miyasawa::train::TrainError>(())
    /// ```
    pub fn total_steps(&self) -> u64 {
        cost::total_steps(&self.config, self.steps_per_epoch())
    }
}
